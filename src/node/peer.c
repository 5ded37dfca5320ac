/* SPDX-License-Identifier: Apache-2.0 */
#include "node/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "link/peer.h"
#include "link/peer_sock.h"

#define PEM_MAX (256u << 10)
#define BAD_MAX 16u
#define PATH_BYTES 4096

/* A process, for one node and one image. */
struct proc {
	uv_process_t process;
	struct peers *peers;
	bool open; /* the handle: from the start until it has closed */
	int status;
	void (*ended)(struct proc *c); /* it has gone, and may be used again */
	int64_t until_ns;
	char node_id[UUID_STR_SIZE];
};

/* IDLE -> ASKED -> RUNNING -> IDLE; images_peer_end() at its end. */
enum take_state { TAKE_IDLE, TAKE_ASKED, TAKE_RUNNING };
struct take {
	enum take_state state;
	struct proc proc;
	char image_id[64], sha512[129];
	uint64_t size, have;
	int fd, sock; /* the file; ours until it runs */
	struct peer_end end;
	uint64_t request;
	int64_t asked_ns, look_ns;
	uint64_t seen; /* bytes at the last look */
	char refused[PEER_ASKS_MAX][UUID_STR_SIZE];
	size_t n_refused;
};

struct peers {
	struct node *n;
	struct ip_addr ip;
	uint64_t rate;
	bool is_on, hub_knows, closing;
	unsigned n_open;
	struct proc gives[PEER_GIVES_MAX];
	struct take take;
	char bad[BAD_MAX][UUID_STR_SIZE]; /* gave wrong bytes; the oldest is forgotten */
	unsigned n_bad;
};

static char *text(const char *s)
{
	return (char *)(uintptr_t)s; /* protobuf-c's strings are not const; nothing here writes to them */
}

/* ---- ends, as they are told ---- */

static void end_put(const struct peer_end *end, char ip[static IP_STR_SIZE], Demarc__V1__PeerEnd *ret)
{
	demarc__v1__peer_end__init(ret);
	ret->address = text(ip_format(end->ip, ip));
	ret->port = end->port;
	ret->seq = end->seq;
}

static int end_get(const Demarc__V1__PeerEnd *pb, struct peer_end *ret)
{
	if (!pb || pb->port == 0 || pb->port > UINT16_MAX || ip_parse(str_of(pb->address), &ret->ip) < 0)
		return -EINVAL;
	ret->port = (uint16_t)pb->port;
	ret->seq = pb->seq;
	return 0;
}

static bool is_uuid(const char *s)
{
	struct uuid u;

	return strlen(s) == UUID_STR_SIZE - 1 && uuid_parse(str_of(s), &u) == 0;
}

/* ---- processes ---- */

static int add_pem(json_t *o, const char *key, const char *file, struct err *e)
{
	char *pem = NULL;
	size_t size;
	int r = file_read(file, PEM_MAX, &pem, &size, e);

	if (r < 0)
		return r;
	json_object_set_new(o, key, json_string(pem));
	explicit_bzero(pem, size);
	free(pem);
	return 0;
}

/* In memory of its own, because the key is in it. */
static int config_fd(const struct peers *p, json_t *o, struct err *e)
{
	const struct link_identity *id = p->n->identity;
	const char *cert = p->n->on_next ? id->next_file : id->cert_file;
	CLEANUP(close_fdp) int fd = memfd_create("demarc-peer", MFD_CLOEXEC);
	char *config;
	size_t size;
	bool ok;

	if (fd < 0)
		return err_errno(e, errno, "memory for a process");
	if (add_pem(o, "ca", id->ca_file, e) < 0 || add_pem(o, "cert", cert, e) < 0 ||
	    add_pem(o, "key", p->n->on_next ? id->next_file : id->key_file, e) < 0)
		return -EIO;
	json_object_set_new(o, "user", json_string(p->n->cfg.user));
	config = json_text(o);
	size = config ? strlen(config) : 0;
	ok = size && write(fd, config, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0;
	if (config)
		explicit_bzero(config, size);
	free(config);
	return ok ? MOVE_FD(fd) : err_set(e, FAULT_NO_MEMORY, NULL, "memory for a process");
}

static void on_closed(uv_handle_t *h)
{
	struct proc *c = h->data;
	struct peers *p = c->peers;

	c->open = false;
	p->n_open--;
	if (c->ended)
		c->ended(c);
	if (p->n_open == 0 && p->closing)
		free(p);
}

static void on_exit_proc(uv_process_t *h, int64_t status, int term_signal)
{
	struct proc *c = h->data;

	c->status = term_signal ? -1 : (int)status;
	uv_close((uv_handle_t *)h, on_closed);
}

static int spawn(struct proc *c, int config, int sock, int file, struct err *e)
{
	struct peers *p = c->peers;
	char path[PATH_BYTES], arg0[] = "demarc-peer", arg1[] = PEER_CHILD_ARG;
	char *args[] = { arg0, arg1, NULL }, *env[] = { NULL };
	size_t size = sizeof(path);
	uv_stdio_container_t stdio[] = {
		{ .flags = UV_IGNORE },
		{ .flags = UV_IGNORE },
		{ .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
		[PEER_CONFIG_FD] = { .flags = UV_INHERIT_FD, .data.fd = config },
		[PEER_SOCKET_FD] = { .flags = UV_INHERIT_FD, .data.fd = sock },
		[PEER_FILE_FD] = { .flags = UV_INHERIT_FD, .data.fd = file },
	};
	uv_process_options_t o = { .exit_cb = on_exit_proc,
				   .args = args,
				   .env = env,
				   .stdio = stdio,
				   .stdio_count = ARRAY_LEN(stdio) };
	int r = uv_exepath(path, &size);

	if (r < 0)
		return err_set(e, FAULT_INTERNAL, NULL, "process: %s", uv_strerror(r));
	o.file = path;
	c->process.data = c;
	r = uv_spawn(p->n->loop, &c->process, &o);
	c->open = true;
	p->n_open++;
	if (r == 0)
		return 0;
	c->ended = NULL;
	uv_close((uv_handle_t *)&c->process, on_closed); /* uv_spawn() leaves an initialised handle */
	return err_set(e, FAULT_INTERNAL, NULL, "process: %s", uv_strerror(r));
}

/* o: what it is for; has who, keys and rights added. */
static int run(struct proc *c, json_t *o, const char *node_id, int sock, int file,
	       void (*ended)(struct proc *c), struct err *e)
{
	CLEANUP(close_fdp) int config = -1;

	c->ended = ended;
	(void)str_copy(c->node_id, sizeof(c->node_id), str_of(node_id));
	json_object_set_new(o, "node_id", json_string(node_id));
	config = config_fd(c->peers, o, e);
	return config < 0 ? config : spawn(c, config, sock, file, e);
}

static void stop(struct proc *c)
{
	if (c->open && !uv_is_closing((uv_handle_t *)&c->process))
		(void)uv_process_kill(&c->process, SIGKILL); /* gone already: its end is on its way */
}

/* ---- giving ---- */

static void on_given(struct proc *c)
{
	log_info("image_given", "node=%s end=\"%s\"", c->node_id, peer_end_text(c->status));
}

static int give(struct peers *p, const Demarc__V1__PeerGive *g, struct peer_end *ret, struct err *e)
{
	CLEANUP(json_freep) json_t *o = json_object();
	CLEANUP(close_fdp) int sock = -1;
	CLEANUP(close_fdp) int file = -1;
	struct peer_end other;
	struct proc *c = p->gives;
	uint64_t size = 0;

	while (c < p->gives + PEER_GIVES_MAX && c->open)
		c++;
	if (!p->is_on || !p->n->identity)
		return err_set(e, FAULT_UNAVAILABLE, NULL, "the node gives no images");
	if (c == p->gives + PEER_GIVES_MAX)
		return err_set(e, FAULT_UNAVAILABLE, NULL, "the node gives as many images as it may");
	if (!is_uuid(g->node_id) || end_get(g->end, &other) < 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "not a valid introduction");
	file = images_packed(p->n->images, g->sha512, &size);
	if (file < 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "the node does not have the image");
	sock = peer_sock_bind(p->ip, ret, e);
	if (sock < 0 || peer_sock_connect(sock, ret, &other, e) < 0)
		return -EIO;
	json_object_set_new(o, "give", json_true());
	json_object_set_new(o, "sha512", json_string(g->sha512));
	json_object_set_new(o, "size", json_integer((json_int_t)size));
	json_object_set_new(o, "have", json_integer(0));
	json_object_set_new(o, "rate", json_integer((json_int_t)p->rate));
	c->until_ns = clock_mono_ns() + PEER_GIVE_MS * NS_PER_MS;
	return run(c, o, g->node_id, sock, file, on_given, e);
}

static void take_give(struct peers *p, uint64_t request, const Demarc__V1__PeerGive *g)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__PeerGiven given = DEMARC__V1__PEER_GIVEN__INIT;
	Demarc__V1__PeerEnd pb;
	struct peer_end end = { 0 };
	char ip[IP_STR_SIZE];
	struct err e = { 0 };

	if (give(p, g, &end, &e) < 0) {
		given.error = e.msg;
	} else {
		end_put(&end, ip, &pb);
		given.end = &pb;
	}
	f.request = request;
	f.body_case = DEMARC__V1__FRAME__BODY_PEER_GIVEN;
	f.peer_given = &given;
	(void)!link_client_send(p->n->link, &f); /* lost: the taker asks the hub, the process hears nothing and ends */
}

/* ---- taking ---- */

static void drop_ends(struct take *t)
{
	close_fdp(&t->fd);
	close_fdp(&t->sock);
	t->fd = t->sock = -1;
}

static void take_done(struct take *t, const char *why)
{
	struct node *n = t->proc.peers->n;

	log_info("image_from_node", "image=%s node=%s end=%s", t->image_id,
		 t->state == TAKE_RUNNING ? t->proc.node_id : "-", LOGQ(why));
	t->state = TAKE_IDLE;
	drop_ends(t);
	if (!n->stopping)
		images_peer_end(n->images, t->sha512, t->proc.node_id);
}

static void on_taken(struct proc *c)
{
	take_done(&c->peers->take, peer_end_text(c->status));
}

/* Says who is not wanted: those that gave wrong bytes, and those that have refused. */
static int ask(struct peers *p, struct take *t)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__PeerAsk a = DEMARC__V1__PEER_ASK__INIT;
	Demarc__V1__PeerEnd end;
	char ip[IP_STR_SIZE], *not_ids[BAD_MAX];

	for (size_t i = 0; i < t->n_refused; i++)
		not_ids[a.n_not_node_ids++] = t->refused[i];
	for (unsigned i = 0; i < MIN_OF(p->n_bad, BAD_MAX) && a.n_not_node_ids < ARRAY_LEN(not_ids); i++)
		not_ids[a.n_not_node_ids++] = p->bad[i];
	end_put(&t->end, ip, &end);
	a.not_node_ids = not_ids;
	a.image_id = t->image_id;
	a.end = &end;
	p->n->next_request += 2;
	f.request = t->request = p->n->next_request | 1;
	f.body_case = DEMARC__V1__FRAME__BODY_PEER_ASK;
	f.peer_ask = &a;
	return link_client_send(p->n->link, &f);
}

static int take(void *ctx, const struct image_part *part)
{
	struct peers *p = ctx;
	struct take *t = &p->take;
	struct node *n = p->n;
	struct err e = { 0 };
	int r;

	if (!n->link || !link_client_is_up(n->link))
		return -ENOTCONN;
	if (!p->hub_knows)
		return -EOPNOTSUPP;
	if (t->state != TAKE_IDLE || t->proc.open)
		return -EBUSY;
	t->sock = peer_sock_bind(p->ip, &t->end, &e);
	if (t->sock < 0) {
		log_limited(LOG_WARN_, "image_from_node", "error=%s", LOGQ(e.msg));
		return -EOPNOTSUPP;
	}
	t->n_refused = 0;
	t->size = part->size;
	t->have = part->have;
	t->proc.node_id[0] = '\0';
	t->fd = fcntl(part->fd, F_DUPFD_CLOEXEC, 0);
	(void)str_copy(t->image_id, sizeof(t->image_id), str_of(part->id));
	(void)str_copy(t->sha512, sizeof(t->sha512), str_of(part->sha512));
	r = t->fd < 0 ? -errno : ask(p, t);
	if (r < 0) {
		drop_ends(t);
		return r;
	}
	t->asked_ns = clock_mono_ns();
	t->state = TAKE_ASKED;
	return 0;
}

static bool is_wanted(const struct peers *p, const char *node_id)
{
	for (unsigned i = 0; i < MIN_OF(p->n_bad, BAD_MAX); i++)
		if (strcmp(p->bad[i], node_id) == 0)
			return false;
	return is_uuid(node_id) && strcmp(node_id, p->n->id) != 0;
}

static int take_from(struct peers *p, struct take *t, const Demarc__V1__PeerTake *m, struct err *e)
{
	CLEANUP(json_freep) json_t *o = json_object();
	struct peer_end other;
	int r;

	if (!is_wanted(p, m->node_id) || end_get(m->end, &other) < 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "not a valid introduction");
	r = peer_sock_connect(t->sock, &t->end, &other, e);
	if (r < 0)
		return r;
	json_object_set_new(o, "give", json_false());
	json_object_set_new(o, "sha512", json_string(t->sha512));
	json_object_set_new(o, "size", json_integer((json_int_t)t->size));
	json_object_set_new(o, "have", json_integer((json_int_t)t->have));
	r = run(&t->proc, o, m->node_id, t->sock, t->fd, on_taken, e);
	if (r < 0)
		return r;
	close_fdp(&t->sock); /* the process has it */
	t->sock = -1;
	t->state = TAKE_RUNNING;
	t->seen = t->have;
	t->look_ns = clock_mono_ns();
	t->proc.until_ns = t->look_ns + PEER_TAKE_MS * NS_PER_MS;
	return 0;
}

/* The node that was asked does not give: the next one, if that is not too many. */
static bool ask_next(struct peers *p, struct take *t, const char *node_id)
{
	if (!is_uuid(node_id) || t->n_refused + 1 >= PEER_ASKS_MAX)
		return false;
	(void)str_copy(t->refused[t->n_refused++], UUID_STR_SIZE, str_of(node_id));
	t->asked_ns = clock_mono_ns();
	return ask(p, t) == 0;
}

static void take_take(struct peers *p, uint64_t request, const Demarc__V1__PeerTake *m)
{
	struct take *t = &p->take;
	struct err e = { 0 };

	if (t->state != TAKE_ASKED || request != t->request)
		return; /* late */
	if (*m->error) {
		if (!ask_next(p, t, m->node_id))
			take_done(t, m->error);
	} else if (take_from(p, t, m, &e) < 0) {
		take_done(t, e.msg);
	}
}

/* In so long something has to come, else the hub is faster. */
static bool is_too_slow(struct take *t, int64_t now)
{
	struct stat st;
	uint64_t have = fstat(t->fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
	bool is_slow;

	if (now - t->look_ns < PEER_LOOK_MS * NS_PER_MS)
		return false;
	is_slow = have < t->size && have < t->seen + PEER_LEAST_BYTES;
	t->seen = have;
	t->look_ns = now;
	return is_slow;
}

static void take_stop(void *ctx)
{
	struct take *t = &((struct peers *)ctx)->take;

	if (t->state == TAKE_RUNNING)
		stop(&t->proc);
	else if (t->state == TAKE_ASKED)
		take_done(t, "not wanted any more");
}

static void take_was_bad(void *ctx, const char *node_id)
{
	struct peers *p = ctx;

	if (is_wanted(p, node_id))
		(void)str_copy(p->bad[p->n_bad++ % BAD_MAX], UUID_STR_SIZE, str_of(node_id));
}

/* ---- the agent ---- */

void peers_frame(struct node *n, const Demarc__V1__Frame *f)
{
	if (f->body_case == DEMARC__V1__FRAME__BODY_PEER_GIVE)
		take_give(n->peers, f->request, f->peer_give);
	else if (f->body_case == DEMARC__V1__FRAME__BODY_PEER_TAKE)
		take_take(n->peers, f->request, f->peer_take);
}

void peers_tick(struct node *n)
{
	struct peers *p = n->peers;
	struct take *t = &p->take;
	int64_t now = clock_mono_ns();

	for (struct proc *c = p->gives; c < p->gives + PEER_GIVES_MAX; c++)
		if (now >= c->until_ns)
			stop(c);
	if (t->state == TAKE_ASKED && now - t->asked_ns >= PEER_ANSWER_MS * NS_PER_MS)
		take_done(t, "no answer");
	else if (t->state == TAKE_RUNNING && (now >= t->proc.until_ns || is_too_slow(t, now)))
		stop(&t->proc);
}

void peers_link_up(struct node *n, const Demarc__V1__HubHello *h)
{
	n->peers->hub_knows = false;
	for (size_t i = 0; i < h->n_features; i++)
		n->peers->hub_knows |= strcmp(h->features[i], PEER_FEATURE) == 0;
}

bool peers_are_on(const struct node *n)
{
	return n->peers && n->peers->is_on;
}

static int read_settings(struct peers *p, struct err *e)
{
	const struct config *c = &p->n->cfg;
	uint64_t mb = PEER_RATE_MB;

	if (*c->peer_copy_rate &&
	    (str_to_u64(str_of(c->peer_copy_rate), PEER_RATE_MAX, &mb) < 0 || mb == 0))
		return err_set(e, FAULT_BAD_REQUEST, "peer_copy_rate",
			       "'%s' is not a number of MB/s from 1 to %u", c->peer_copy_rate,
			       PEER_RATE_MAX);
	p->rate = mb * 1000000u;
	p->is_on = *c->peer_copy && strcmp(c->peer_copy, "no") != 0;
	if (p->is_on && ip_parse(str_of(c->peer_copy), &p->ip) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "peer_copy",
			       "'%s' is neither \"no\" nor the address that other nodes of the site reach this one at",
			       c->peer_copy);
	return 0;
}

int peers_open(struct node *n, struct err *e)
{
	static const struct images_peer_ops ops = { take, take_stop, take_was_bad };
	struct peers *p = calloc(1, sizeof(*p));
	struct err why = { 0 };
	int r;

	if (!p)
		return err_set(e, FAULT_NO_MEMORY, NULL, "images of other nodes");
	n->peers = p;
	p->n = n;
	p->take.fd = p->take.sock = -1;
	p->take.proc.peers = p;
	for (unsigned i = 0; i < PEER_GIVES_MAX; i++)
		p->gives[i].peers = p;
	r = read_settings(p, e);
	if (r == 0 && p->is_on && peer_sock_probe(&why) < 0) {
		log_warn("peer_copy_off", "reason=%s", LOGQ(why.msg));
		p->is_on = false;
	}
	if (r == 0 && p->is_on)
		images_peers(n->images, &ops, p);
	return r;
}

void peers_close(struct node *n)
{
	struct peers *p = n->peers;

	if (!p)
		return;
	n->peers = NULL;
	p->closing = true;
	if (p->take.state == TAKE_ASKED)
		take_done(&p->take, "the agent ends");
	stop(&p->take.proc);
	for (unsigned i = 0; i < PEER_GIVES_MAX; i++)
		stop(&p->gives[i]);
	if (p->n_open == 0)
		free(p);
}
