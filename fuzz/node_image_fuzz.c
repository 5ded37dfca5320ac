/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a node gets its images: chunks in any order, of any size, never asked for, of other bytes; servers that come and go, a link that does, workers that
 * take their time. Whatever happened, once the hub answers what it is asked every image becomes whole.
 */
#include "fuzz.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "node/image.h"
#include "node/oci.h"
#include "script.h"

#define IMAGES 4u
#define CHUNK_BYTES (64u << 10)
#define BYTES (3 * CHUNK_BYTES + 100)
#define ASKS 64u
#define ROUNDS_MAX 400u /* until all is well, at the end */

static const uint64_t sizes[IMAGES] = { 100, CHUNK_BYTES, BYTES, BYTES };

struct ask {
	unsigned image;
	uint64_t offset;
	uint32_t size;
};

/* What another node gives: a descriptor of its own, as its process has. */
struct taking {
	unsigned image;
	int fd; /* -1: none */
	uint64_t have;
};

static struct world {
	uv_loop_t loop;
	struct taking taking;
	bool no_peers;
	struct script script;
	struct images *images;
	struct ask asks[ASKS]; /* the newest */
	unsigned n_asks;
	uint64_t asked_to[IMAGES]; /* the end of what was ever asked for */
	bool link_down, unpack_fails;
	bool wanted[IMAGES];
	uv_work_t *work[IMAGES];
	uv_work_cb run[IMAGES];
	uv_after_work_cb done[IMAGES];
	unsigned n_work;
} w;
static char sums[IMAGES][129], ids[IMAGES][40], dir[64];
static uint8_t bytes[IMAGES][BYTES];

/* ---- workers, unpacking ---- */

int __wrap_uv_queue_work(uv_loop_t *loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb done);
int __wrap_uv_run(uv_loop_t *loop, uv_run_mode mode);
int __wrap_oci_unpack(const char *archive, const char *scratch, const char *rootfs, uint64_t limit,
		      json_t **ret, struct err *e);
int __wrap_syncfs(int fd);

int __wrap_uv_queue_work(uv_loop_t *loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb done)
{
	FUZZ_CHECK(loop == &w.loop && w.n_work < IMAGES);
	for (unsigned i = 0; i < w.n_work; i++)
		FUZZ_CHECK(w.work[i] != work);
	w.work[w.n_work] = work;
	w.run[w.n_work] = run;
	w.done[w.n_work++] = done;
	return 0;
}

static void work_ends(unsigned n)
{
	uv_work_t *work = w.work[n];
	uv_work_cb run = w.run[n];
	uv_after_work_cb done = w.done[n];

	w.n_work--;
	w.work[n] = w.work[w.n_work];
	w.run[n] = w.run[w.n_work];
	w.done[n] = w.done[w.n_work];
	run(work);
	done(work, 0);
}

int __wrap_uv_run(uv_loop_t *loop, uv_run_mode mode)
{
	FUZZ_CHECK(loop == &w.loop && mode == UV_RUN_ONCE && w.n_work);
	work_ends(0);
	return 0;
}

int __wrap_oci_unpack(const char *archive, const char *scratch, const char *rootfs, uint64_t limit,
		      json_t **ret, struct err *e)
{
	CLEANUP(free_charp) char *data = NULL;
	size_t size;
	unsigned i = 0;

	(void)scratch;
	(void)rootfs;
	FUZZ_CHECK(limit == 1);
	while (i < IMAGES && !strstr(archive, sums[i]))
		i++;
	FUZZ_CHECK(i < IMAGES && file_read(archive, BYTES + 1, &data, &size, e) == 0);
	FUZZ_CHECK(size == sizes[i] && memcmp(data, bytes[i], size) == 0); /* nothing else gets here */
	if (w.unpack_fails)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "not an image");
	*ret = json_object();
	return 0;
}

int __wrap_syncfs(int fd)
{
	FUZZ_CHECK(fd >= 0);
	return 0;
}

/* ---- the node around it ---- */

static unsigned image_of(const char *id)
{
	unsigned i = 0;

	while (i < IMAGES && strcmp(ids[i], id) != 0)
		i++;
	FUZZ_CHECK(i < IMAGES);
	return i;
}

static int ask(void *ctx, const char *image_id, uint64_t offset, uint32_t size)
{
	unsigned i = image_of(image_id);

	FUZZ_CHECK(ctx == &w && size && size <= CHUNK_BYTES && offset + size <= sizes[i]);
	if (w.link_down)
		return -ENOTCONN;
	w.asks[w.n_asks++ % ASKS] = (struct ask){ i, offset, size };
	w.asked_to[i] = MAX_OF(w.asked_to[i], offset + size);
	return 0;
}

static void changed(void *ctx)
{
	FUZZ_CHECK(ctx == &w);
}

static void event(void *ctx, const char *kind, const char *severity, const char *image_id,
		  const char *text)
{
	FUZZ_CHECK(ctx == &w && *kind && *severity && *text);
	(void)image_of(image_id);
}

static const struct images_ops ops = { ask, changed, event };

/* ---- another node ---- */

static int peer_take(void *ctx, const struct image_part *p)
{
	unsigned i = image_of(p->id);

	FUZZ_CHECK(ctx == &w && w.taking.fd < 0 && p->have < p->size && p->size == sizes[i]);
	FUZZ_CHECK(strcmp(p->sha512, sums[i]) == 0);
	if (w.link_down)
		return -ENOTCONN;
	if (w.no_peers)
		return -EOPNOTSUPP;
	w.taking = (struct taking){ .image = i, .fd = dup(p->fd), .have = p->have };
	FUZZ_CHECK(w.taking.fd >= 0 && lseek(w.taking.fd, 0, SEEK_CUR) == (off_t)p->have);
	return 0;
}

static void peer_ends(void)
{
	unsigned i = w.taking.image;

	if (w.taking.fd < 0)
		return;
	close_fdp(&w.taking.fd);
	w.taking.fd = -1;
	images_peer_end(w.images, sums[i], "node");
}

static void peer_stop(void *ctx)
{
	FUZZ_CHECK(ctx == &w && w.taking.fd >= 0);
	close_fdp(&w.taking.fd);
	w.taking.fd = -1;
}

static void peer_was_bad(void *ctx, const char *node_id)
{
	FUZZ_CHECK(ctx == &w && strcmp(node_id, "node") == 0);
}

static const struct images_peer_ops peer_ops = { peer_take, peer_stop, peer_was_bad };

static void peer_gives(size_t size, bool is_bad)
{
	static const uint8_t bad[CHUNK_BYTES];
	struct taking *t = &w.taking;

	if (t->fd < 0)
		return;
	size = MIN_OF(MIN_OF(size, sizeof(bad)), (size_t)(sizes[t->image] - t->have));
	FUZZ_CHECK(write(t->fd, is_bad ? bad : bytes[t->image] + t->have, size) == (ssize_t)size);
	t->have += size;
	w.asked_to[t->image] = MAX_OF(w.asked_to[t->image], t->have);
}

/* What a pass of the reconciler does. Returns whether every image is ready. */
static bool pass(void)
{
	Demarc__V1__Image pb = DEMARC__V1__IMAGE__INIT;
	struct image_view v;
	bool ready = true;

	images_mark(w.images);
	for (unsigned i = 0; i < IMAGES; i++) {
		if (!w.wanted[i])
			continue;
		pb.id = ids[i];
		pb.sha512 = sums[i];
		pb.size_bytes = sizes[i];
		images_want(w.images, &pb, 1, &v);
		FUZZ_CHECK(v.percent <= 100 && v.dir && v.error);
		FUZZ_CHECK(v.state != IMAGE_FAILED || *v.error);
		ready &= v.state == IMAGE_READY;
	}
	images_sweep(w.images);
	return ready;
}

/* ---- the hub ---- */

static void chunk(const struct ask *a, uint64_t skip, size_t size, bool is_bad, const char *error)
{
	static uint8_t bad[CHUNK_BYTES + 1];
	Demarc__V1__Chunk c = DEMARC__V1__CHUNK__INIT;
	char path[256];
	struct stat st;

	if (w.link_down)
		return;
	c.image_id = ids[a->image];
	c.offset = a->offset + skip;
	c.error = (char *)(uintptr_t)error;
	c.data.len = MIN_OF(size, sizeof(bad));
	if (c.offset > sizes[a->image] || c.data.len > sizes[a->image] - c.offset)
		is_bad = true;
	c.data.data = is_bad ? bad : bytes[a->image] + c.offset;
	images_chunk(w.images, &c);
	(void)snprintf(path, sizeof(path), "%s/images/%s.part", dir, sums[a->image]);
	FUZZ_CHECK(stat(path, &st) < 0 || (uint64_t)st.st_size <= w.asked_to[a->image]);
}

static void hub_answers(unsigned n)
{
	const struct ask *a = &w.asks[n % ASKS];

	if (n < w.n_asks && n + ASKS >= w.n_asks)
		chunk(a, 0, a->size, false, "");
}

/* Of what was never asked, or asked and answered, or of other bytes. */
static void hub_lies(void)
{
	static const size_t lengths[] = { 0, 1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1 };
	static const uint64_t offsets[] = { 0,	   1,	      100, CHUNK_BYTES, 2 * CHUNK_BYTES,
					    BYTES, UINT64_MAX };
	unsigned how = script_number(&w.script);
	struct ask a = { .image = how % IMAGES };

	a.offset = script_pick(&w.script, offsets, ARRAY_LEN(offsets));
	chunk(&a, 0, lengths[script_number(&w.script) % ARRAY_LEN(lengths)], how / IMAGES % 2,
	      how / IMAGES / 2 % 4 == 3 ? "no server of this node uses the image" : "");
}

static void link_comes(bool is_up)
{
	if (is_up && w.link_down) {
		w.n_asks = 0;
		w.link_down = false;
		images_link_up(w.images);
	}
	w.link_down = !is_up;
}

static void step(void)
{
	static const uint64_t s[] = { 0, 1, 2, 30, 61 };
	uint8_t what = script_char(&w.script);
	unsigned n;

	if (what == 'w') {
		n = script_number(&w.script);
		w.wanted[n % IMAGES] = !w.wanted[n % IMAGES];
		(void)pass();
	} else if (what == 'p') {
		(void)pass();
	} else if (what == 'a') {
		n = script_number(&w.script);
		hub_answers(w.n_asks - 1 - n);
	} else if (what == 'l') {
		hub_lies();
	} else if (what == 'D' || what == 'U') {
		link_comes(what == 'U');
	} else if (what == 't') {
		clock_warp((int64_t)script_pick(&w.script, s, ARRAY_LEN(s)) * NS_PER_S);
		images_tick(w.images);
	} else if (what == 'k' && w.n_work) {
		work_ends(script_number(&w.script) % w.n_work);
	} else if (what == 'g') {
		n = script_number(&w.script);
		peer_gives(n % 4 ? n % 4 * 1000 : CHUNK_BYTES, n / 4 % 4 == 3);
	} else if (what == 'e') {
		peer_ends();
	} else if (what == 'n') {
		w.no_peers = !w.no_peers;
	} else if (what == 'f') {
		w.unpack_fails = !w.unpack_fails;
	}
}

/* ---- begin and end of the world ---- */

static void leave(void)
{
	(void)!tree_remove(dir, NULL);
}

static void make_images(void)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned size;

	for (unsigned i = 0; i < IMAGES; i++) {
		for (size_t k = 0; k < BYTES; k++)
			bytes[i][k] = (uint8_t)(k * 7 + (k >> 8) + i);
		FUZZ_CHECK(EVP_Digest(bytes[i], sizes[i], sum, &size, EVP_sha512(), NULL) == 1);
		hex_of(sum, size, sums[i]);
		(void)snprintf(ids[i], sizeof(ids[i]), "1111111%u-2222-3333-4444-555555555555", i);
	}
	(void)snprintf(dir, sizeof(dir), "%s/demarc-fuzz-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	FUZZ_CHECK(mkdtemp(dir));
	(void)atexit(leave);
}

static void begin(const uint8_t *data, size_t size)
{
	char path[128];
	struct err e;

	if (!*dir)
		make_images();
	log_init("fuzz", LOG_ERROR_);
	clock_freeze(1000 * NS_PER_S, 0);
	w = (struct world){ .script = { data, data + size }, .taking = { .fd = -1 } };
	(void)snprintf(path, sizeof(path), "%s/images", dir);
	FUZZ_CHECK(tree_remove(path, &e) == 0);
	FUZZ_CHECK(images_open(&w.loop, dir, &ops, &w, &w.images, &e) == 0);
	if (size && *data == 'g') /* a node that takes from others */
		images_peers(w.images, &peer_ops, &w);
}

/* All is well again: it must not take for ever until all is there. */
static void heal(void)
{
	unsigned rounds = 0, asked = 0;

	w.unpack_fails = false;
	link_comes(true);
	while (!pass()) {
		FUZZ_CHECK(++rounds < ROUNDS_MAX);
		asked = w.n_asks;
		for (unsigned n = asked > ASKS ? asked - ASKS : 0; n < asked; n++)
			hub_answers(n);
		while (w.n_work)
			work_ends(0);
		peer_ends();
		clock_warp(10 * NS_PER_S);
		images_tick(w.images);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin(data, size);
	while (!script_is_over(&w.script))
		step();
	heal();
	images_close(w.images);
	FUZZ_CHECK(w.n_work == 0);
	return 0;
}
