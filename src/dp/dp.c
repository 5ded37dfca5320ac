/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/dp.h"
#include "dp/internal.h"
#include "dp/tables.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "dp.skel.h"
#include "nat.h"
#include "tunnel.h"

#define MAX_FLOWS_DEFAULT 262144
#define MIN_FLOWS 1024
#define MAX_PORTS_DEFAULT 1024

static const char *const map_name[M_N] = {
#define X(name, id) [M_##name] = #id,
	DP_MAP_TABLE(X)
#undef X
};

/* The last thing libbpf complained about: it belongs in our error, not on stderr. */
static _Thread_local char libbpf_said[256];

static int libbpf_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	if (level == LIBBPF_WARN)
		vsnprintf(libbpf_said, sizeof(libbpf_said), fmt, args);
	return 0;
}

static const char *libbpf_last(void)
{
	libbpf_said[strcspn(libbpf_said, "\n")] = 0;
	return libbpf_said;
}

/* ---- map helpers ---- */

/*
 * Size of the values of those maps of which a packet may hold an element while it is replaced or removed: bpf/held.h. What is the same is not
 * written again, and what is written is counted afterwards.
 */
static const size_t held[M_N] = {
	[M_PORTS] = sizeof(struct port_rec),
	[M_ATTACHED] = sizeof(struct attach_rec),
	[M_NETS] = sizeof(struct net_rec),
	[M_FDB] = sizeof(struct fdb_rec),
	[M_ADDRS] = sizeof(struct addr_rec),
	[M_PATHS] = sizeof(struct path_rec),
	[M_PATH_HOPS] = sizeof(struct path_hop),
	[M_PATH_PORTS] = sizeof(struct path_port),
	[M_PORT_CHAIN] = sizeof(struct port_chain),
	[M_PORT_CLASS] = sizeof(struct port_classifiers),
	[M_TUNNELS] = sizeof(struct tunnel_rec),
	[M_VTEPS] = sizeof(__u32),
	[M_NAT_TARGETS] = sizeof(struct nat_target),
	[M_LIMITS] = sizeof(struct limit_rec),
	[M_STACKS] = sizeof(__u32),
};

static void count_write(struct dp *dp, enum dp_map m)
{
	if (held[m])
		__atomic_add_fetch(&dp->g->writes, 1, __ATOMIC_SEQ_CST);
}

static bool is_there(struct dp *dp, enum dp_map m, const void *key, const void *value)
{
	char was[sizeof(struct port_classifiers)];

	return held[m] && !dp_get(dp, m, key, was) && !memcmp(was, value, held[m]);
}

int dp_put(struct dp *dp, enum dp_map m, const void *key, const void *value, struct err *e)
{
	if (m == M_PORT_CHAIN || m == M_PORT_CLASS)
		__atomic_store_n(&dp->g->chained, 1, __ATOMIC_SEQ_CST);
	if (is_there(dp, m, key, value))
		return 0;
	if (bpf_map_update_elem(dp->map[m], key, value, BPF_ANY)) {
		if (errno == E2BIG)
			return err_set(e, FAULT_QUOTA, NULL, "the datapath's table `%s` is full",
				       map_name[m]);
		return err_errno(e, errno, "datapath table `%s`", map_name[m]);
	}
	count_write(dp, m);
	return 0;
}

int dp_get(struct dp *dp, enum dp_map m, const void *key, void *ret_value)
{
	return bpf_map_lookup_elem(dp->map[m], key, ret_value) ? -errno : 0;
}

void dp_unset(struct dp *dp, enum dp_map m, const void *key)
{
	if (!bpf_map_delete_elem(dp->map[m], key))
		count_write(dp, m);
}

int dp_keys(struct dp *dp, enum dp_map m, size_t key_size, void **ret, struct err *e)
{
	size_t n = 0, cap = 64;
	char *v = malloc(cap * key_size), *more;
	void *prev = NULL;

	while (v && !bpf_map_get_next_key(dp->map[m], prev, v + n * key_size)) {
		prev = NULL;
		if (++n == cap) {
			cap *= 2;
			more = realloc(v, cap * key_size);
			if (!more)
				free(v);
			v = more;
		}
		if (v)
			prev = v + (n - 1) * key_size;
	}
	if (!v)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory for %zu keys", cap);
	*ret = v;
	return (int)n;
}

void dp_gen_bump(struct dp *dp)
{
	if (!__atomic_add_fetch(&dp->g->gen, 1, __ATOMIC_SEQ_CST)) /* 0 marks a reserved record */
		__atomic_add_fetch(&dp->g->gen, 1, __ATOMIC_SEQ_CST);
}

/* CLOCK_MONOTONIC itself, not the loop's clock: it is compared with times written by the kernel. */
uint64_t kernel_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

void ip_words(const struct ip_addr *a, __u32 ret[4])
{
	memcpy(ret, a->b, 16);
}

void cidr_words(const struct ip_cidr *c, __u32 ret_ip[4], __u32 ret_mask[4])
{
	struct ip_cidr host = *c;
	struct ip_addr mask = { .family = c->addr.family };

	for (unsigned int i = 0; i < c->prefix_len && i < 128; i++)
		mask.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	ip_words(&host.addr, ret_ip);
	ip_words(&mask, ret_mask);
	for (int i = 0; i < 4; i++)
		ret_ip[i] &= ret_mask[i];
}

/* ---- opening ---- */

static void remove_pins(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *f;
	char path[DP_PATH_SIZE * 2];

	if (!d)
		return;
	while ((f = readdir(d))) {
		if (f->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, f->d_name);
		(void)unlink(path);
	}
	closedir(d);
	(void)rmdir(dir);
}

/* Says what to do, where the kernel would only say "invalid argument". */
static int check_bpffs(const char *dir, struct err *e)
{
	struct statfs fs;

	if (statfs(dir, &fs))
		return err_errno(e, errno, "pin directory %s", dir);
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	(void)rmdir(dir);
	return err_set(e, FAULT_UNAVAILABLE, "pin_dir",
		       "%s is not in a BPF file system: mount -t bpf bpf /sys/fs/bpf", dir);
}

static int set_dirs(struct dp *dp, const char *pin_dir, struct err *e)
{
	int r;

	if (strlen(pin_dir) >= sizeof(dp->pin_dir))
		return err_set(e, FAULT_BAD_REQUEST, "pin_dir", "pin directory is too long");
	snprintf(dp->pin_dir, sizeof(dp->pin_dir), "%s", pin_dir);
	snprintf(dp->dir, sizeof(dp->dir), "%s/v%d", pin_dir, ABI_VERSION);
	r = dir_make(dp->pin_dir, 0700, e);
	if (!r)
		r = check_bpffs(dp->pin_dir, e);
	return r ? r : dir_make(dp->dir, 0700, e);
}

/*
 * A connection takes two records. An eighth of the table is left for what has no slot of its own: records made again
 * beside a living partner.
 */
static uint32_t slots_for(uint32_t records)
{
	return records / 2 - records / 16;
}

/* A pinned map keeps the size it was made with: dp_remove() first to change it. */
static uint32_t pinned_entries(const char *path, uint32_t wanted)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	CLEANUP(close_fdp) int fd = bpf_obj_get(path);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return wanted;
	return info.max_entries;
}

static struct bpf_map *map_of(struct dp *dp, enum dp_map m)
{
	return bpf_object__find_map_by_name(dp->skel->obj, map_name[m]);
}

static int set_map(struct dp *dp, enum dp_map m, uint32_t entries, struct err *e)
{
	struct bpf_map *map = map_of(dp, m);
	char path[DP_PATH_SIZE];
	int r;

	if (!map)
		return err_set(e, FAULT_INTERNAL, NULL, "no map `%s`", map_name[m]);
	snprintf(path, sizeof(path), "%s/%s", dp->dir, map_name[m]);
	if (!entries)
		entries = bpf_map__max_entries(map);
	r = bpf_map__set_max_entries(map, pinned_entries(path, entries));
	if (!r)
		r = bpf_map__set_pin_path(map, path);
	return r ? err_errno(e, r, "map `%s`", map_name[m]) : 0;
}

static int set_maps(struct dp *dp, const struct dp_config *c, struct err *e)
{
	uint32_t flows = c->max_flows ? c->max_flows : MAX_FLOWS_DEFAULT;
	uint32_t ports = c->max_ports ? c->max_ports : MAX_PORTS_DEFAULT;
	char path[DP_PATH_SIZE];
	int r = 0;

	flows = flows < MIN_FLOWS ? MIN_FLOWS : flows;
	for (enum dp_map m = 0; m < M_N && !r; m++) {
		uint32_t n = 0;

		if (m == M_FLOW4)
			n = flows;
		else if (m == M_FLOW6)
			n = flows / 2;
		else if (m == M_CONNS4)
			n = slots_for(flows);
		else if (m == M_CONNS6)
			n = slots_for(flows / 2);
		else if (m == M_PORTS || m == M_ATTACHED || m == M_LIMITS || m == M_PORT_COUNTS)
			n = ports;
		r = set_map(dp, m, n, e);
	}
	if (r)
		return r;
	snprintf(path, sizeof(path), "%s/globals", dp->dir);
	r = bpf_map__set_pin_path(dp->skel->maps.bss, path);
	return r ? err_errno(e, r, "globals") : 0;
}

int pin_prog(struct dp *dp, int fd, const char *name, struct err *e)
{
	char path[DP_PATH_SIZE], fresh[DP_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/prog_%s", dp->dir, name);
	snprintf(fresh, sizeof(fresh), "%s/new_%s", dp->dir, name);
	(void)unlink(fresh);
	if (bpf_obj_pin(fd, fresh))
		return err_errno(e, errno, "pin %s", fresh);
	if (rename(fresh, path))
		return err_errno(e, errno, "pin %s", path);
	return 0;
}

static int load(struct dp *dp, struct err *e)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int r = dp_bpf__load(dp->skel);

	if (r)
		return err_set(e, FAULT_UNAVAILABLE, NULL,
			       "the kernel does not take the datapath: %s (%s)", libbpf_last(),
			       strerror(-r));
	for (enum dp_map m = 0; m < M_N; m++)
		dp->map[m] = bpf_map__fd(map_of(dp, m));
	dp->prog_fd = bpf_program__fd(dp->skel->progs.dp_ingress);
	dp->walk_fd = bpf_program__fd(dp->skel->progs.dp_walk);
	if (bpf_obj_get_info_by_fd(dp->prog_fd, &info, &len))
		return err_errno(e, errno, "program information");
	dp->prog_id = info.id;
	r = pin_prog(dp, dp->prog_fd, "ingress", e);
	if (!r)
		r = pin_prog(dp, dp->walk_fd, "walk", e);
	return r;
}

static bool dp_has_keys(struct dp *dp, enum dp_map m)
{
	struct port_key first;

	return !bpf_map_get_next_key(dp->map[m], NULL, &first);
}

static int map_memory(struct dp *dp, struct err *e)
{
	void *p = mmap(NULL, ABI_CHAINS * sizeof(union chain_ptr), PROT_READ | PROT_WRITE,
		       MAP_SHARED, dp->map[M_CHAINS], 0);

	if (p == MAP_FAILED)
		return err_errno(e, errno, "map the chains");
	dp->chains = p;
	dp->g = &dp->skel->bss->dp_globals;
	if (!dp->g->gen)
		dp->g->gen = 1;
	dp->g->abi = ABI_VERSION;
	dp->g->slots4 = bpf_map__max_entries(map_of(dp, M_CONNS4));
	dp->g->slots6 = bpf_map__max_entries(map_of(dp, M_CONNS6));
	dp->g->trace_token = 0; /* a trace died with its process */
	if (dp_has_keys(dp, M_PORT_CHAIN) || dp_has_keys(dp, M_PORT_CLASS))
		dp->g->chained = 1; /* an older release does not say */
	return 0;
}

/*
 * HZ is nowhere to be read, but jiffies start at (unsigned int)(-300 * HZ) and run with the monotonic clock
 * (include/linux/jiffies.h), so that one pair of readings tells it.
 */
static int find_hz(struct dp *dp, struct err *e)
{
	static const __u32 hz[] = { 100, 250, 300, 1000 };
	struct walk_args a = { .op = WALK_CLOCK };
	__u64 best = ~0ULL;
	int r = dp_walk_run(dp, &a, e);

	for (size_t i = 0; i < ARRAY_LEN(hz) && !r; i++) {
		__u64 want = (__u32)(-300 * (int)hz[i]) + a.n_records / 1000000 * hz[i] / 1000;
		__u64 off = want > a.n_conns ? want - a.n_conns : a.n_conns - want;

		if (off >= best)
			continue;
		best = off;
		dp->g->hz = hz[i];
	}
	return r;
}

static void xdp_take_over(struct dp *dp, int ifx)
{
	struct attach_rec a;

	if (dp_get(dp, M_ATTACHED, &ifx, &a) || !(a.flags & PORT_XDP))
		return;
	if (xdp_program(dp) < 0 || xdp_attach(dp, ifx))
		xdp_detach(dp, ifx);
}

/* Moves every filter to the program just loaded. An interface that is gone is the sweep's business. */
static int take_over(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_ATTACHED, sizeof(__u32), &keys, e);

	for (int i = 0; i < n; i++) {
		__u32 ifx = ((__u32 *)keys)[i];
		int r = port_is_pseudo(ifx) ? 0 : tc_attach(dp, (int)ifx, e);

		if (r && r != -ENODEV && r != -EINVAL)
			return r;
		xdp_take_over(dp, (int)ifx);
	}
	return n < 0 ? n : 0;
}

static int open_steps(struct dp *dp, const struct dp_config *c, struct err *e)
{
	int r = policy_open(dp, e);

	if (!r)
		r = set_dirs(dp, c->pin_dir, e);

	if (r)
		return r;
	dp->skel = dp_bpf__open();
	if (!dp->skel)
		return err_errno(e, errno, "read the datapath's object");
	r = set_maps(dp, c, e);
	if (!r)
		r = load(dp, e);
	if (!r)
		r = map_memory(dp, e);
	if (!r)
		r = find_hz(dp, e);
	if (!r)
		r = observe_open(dp, e);
	return r ? r : take_over(dp, e);
}

/* A first start that failed leaves nothing; after any other one the pins are what forwards. */
static void undo_open(struct dp *dp)
{
	char path[DP_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/prog_ingress", dp->dir);
	if (!dp->dir[0] || !access(path, F_OK))
		return;
	remove_pins(dp->dir);
	(void)rmdir(dp->pin_dir);
}

int dp_open(const struct dp_config *c, struct dp **ret, struct err *e)
{
	struct dp *dp = calloc(1, sizeof(*dp));
	int r;

	if (!dp)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	libbpf_set_print(libbpf_print);
	libbpf_said[0] = 0;
	dp->n_cpus = libbpf_num_possible_cpus();
	r = dp->n_cpus < 0 ? err_errno(e, dp->n_cpus, "number of CPUs") : open_steps(dp, c, e);
	if (r) {
		undo_open(dp);
		dp_close(dp);
		return r;
	}
	*ret = dp;
	return 0;
}

void dp_close(struct dp *dp)
{
	if (!dp)
		return;
	observe_close(dp);
	if (dp->chains)
		munmap(dp->chains, ABI_CHAINS * sizeof(union chain_ptr));
	xdp_close(dp);
	if (dp->skel)
		dp_bpf__destroy(dp->skel);
	policy_close(dp);
	names_done(&dp->names);
	free(dp);
}

/* ---- removal ---- */

static void detach_pinned(const char *dir)
{
	char path[DP_PATH_SIZE * 2];
	__u32 key, *prev = NULL;

	snprintf(path, sizeof(path), "%s/attached", dir);
	CLEANUP(close_fdp) int fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	while (!bpf_map_get_next_key(fd, prev, &key)) {
		if (!port_is_pseudo(key))
			tc_detach((int)key);
		prev = &key;
	}
}

/* Each ABI has its directory v<number>. */
int dp_remove(const char *pin_dir, struct err *e)
{
	DIR *d = opendir(pin_dir);
	struct dirent *f;
	char dir[DP_PATH_SIZE];

	if (!d)
		return errno == ENOENT ? 0 : err_errno(e, errno, "pin directory %s", pin_dir);
	libbpf_set_print(libbpf_print);
	while ((f = readdir(d))) {
		if (f->d_name[0] != 'v' || strlen(f->d_name) > 16)
			continue;
		snprintf(dir, sizeof(dir), "%.250s/%.16s", pin_dir, f->d_name);
		detach_pinned(dir);
		remove_pins(dir);
	}
	closedir(d);
	xdp_remove_all(pin_dir);
	if (rmdir(pin_dir) && errno != ENOENT)
		return err_errno(e, errno, "pin directory %s", pin_dir);
	return 0;
}
