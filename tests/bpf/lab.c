/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/clock.h"
#include "dp/internal.h"

struct err lab_err;

static void front_bring(void);
static void before_send(const struct frame *f);
static struct lab *open_lab;
static unsigned int claimed, seen; /* families */
static struct front {
	bool on;   /* DEMARC_HOOK=xdp */
	int stats; /* while it is open the kernel counts runs of programs */
	uint64_t runs;
} front;

/* At the end of the process. */
static void front_was_there(void)
{
	if (front.on && !front.runs) {
		print_error("no frame has been to the XDP program\n");
		_exit(1);
	}
}

static void front_start(void)
{
	const char *hook = getenv("DEMARC_HOOK");

	front.on = net_xdp = hook && !strcmp(hook, "xdp");
	net_before_send = before_send;
	if (!front.on)
		return;
	front.stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (front.stats < 0)
		abort();
	(void)atexit(front_was_there);
}

void lab_need_root(void)
{
	struct stat st;

	if (geteuid()) {
		printf("1..0 # SKIP needs root\n");
		exit(0);
	}
	if (stat("/sys/fs/bpf", &st) || access("/sys/fs/bpf", W_OK)) {
		printf("1..0 # SKIP no writable /sys/fs/bpf\n");
		exit(0);
	}
	front_start();
	net_start();
}

int lab_ok(int r, struct err *e, const char *what, const char *file, int line)
{
	if (r < 0) {
		print_error("%s: %d: %s %s\n", what, r, e->field, e->msg);
		_fail(file, line);
	}
	return r;
}

static void open_dp(struct lab *l)
{
	struct dp_config c = { .pin_dir = l->pin, .max_flows = 8192, .max_ports = 128 };
	char path[128];

	OK(dp_open(&c, &l->dp, &lab_err));
	snprintf(path, sizeof(path), "%s/v%d/prog_ingress", l->pin, ABI_VERSION);
	l->prog = bpf_obj_get(path);
	assert_true(l->prog >= 0);
	l->xdp = -1;
}

int lab_xdp(struct lab *l)
{
	char path[128];

	if (l->xdp < 0) {
		assert_true(xdp_program(l->dp) >= 0);
		snprintf(path, sizeof(path), "%s/v%d/prog_xdp", l->pin, ABI_VERSION);
		l->xdp = bpf_obj_get(path);
		assert_true(l->xdp >= 0);
	}
	return l->xdp;
}

static void close_progs(struct lab *l)
{
	close(l->prog);
	if (l->xdp >= 0)
		close(l->xdp);
}

void lab_open(struct lab *l)
{
	static int n;

	memset(l, 0, sizeof(*l));
	snprintf(l->pin, sizeof(l->pin), "/sys/fs/bpf/demarc-test-%d-%d", (int)getpid(), n++);
	open_dp(l);
	open_lab = l;
}

void lab_reopen(struct lab *l)
{
	close_progs(l);
	dp_close(l->dp);
	open_dp(l);
}

uint64_t lab_runs(int prog)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(prog, &info, &len), 0);
	return info.run_cnt;
}

/* What the one did is not seen by the other. */
static void front_told(struct lab *l)
{
	uint64_t first = lab_runs(lab_xdp(l)), then = lab_runs(l->prog);

	front.runs += first;
	print_message("# %llu frames to the XDP program, %llu to the tc program\n",
		      (unsigned long long)first, (unsigned long long)then);
}

void lab_close(struct lab *l)
{
	open_lab = NULL;
	if (front.on)
		front_told(l);
	close_progs(l);
	dp_close(l->dp);
	OK(dp_remove(l->pin, &lab_err));
	if (claimed & ~seen)
		fail_msg("a test covers a family of which it has no packet: see COVERS()");
	assert_int_equal(access(l->pin, F_OK), -1);
	assert_int_equal(errno, ENOENT);
}

struct ip_addr ip_of(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(str_of(text), &a), 0);
	return a;
}

struct ip_cidr cidr_of(const char *text)
{
	struct ip_cidr c;

	assert_int_equal(cidr_parse(str_of(text), &c), 0);
	return c;
}

void lab_port(struct lab *l, struct tport *p, uint16_t net, uint16_t flags, uint32_t sg, ...)
{
	struct dp_port d = { .ifindex = { p->host }, .net = net, .flags = flags };
	struct dp_net n = { .net = net, .mtu = 1500 };
	const char *text;
	va_list ap;

	memcpy(d.mac.b, p->mac, 6);
	if (sg)
		d.sgs[d.n_sgs++] = sg;
	va_start(ap, sg);
	while ((text = va_arg(ap, const char *))) {
		d.addrs[d.n_addrs].ip = cidr_of(text);
		d.addrs[d.n_addrs].own = true;
		d.addrs[d.n_addrs++].mac = d.mac;
	}
	va_end(ap);
	OK(dp_net_set(l->dp, &n, &lab_err));
	OK(dp_port_set(l->dp, &d, &lab_err));
}

void lab_uplink(struct lab *l, struct tport *p, uint16_t net, uint16_t vlan)
{
	struct dp_port d = { .ifindex = { p->host }, .net = net, .flags = DP_PORT_UPLINK, .vlan = { vlan } };
	struct dp_net n = { .net = net, .mtu = 1500, .uplink = { p->host }, .uplink_vlan = { vlan } };

	OK(dp_net_set(l->dp, &n, &lab_err));
	OK(dp_port_set(l->dp, &d, &lab_err));
}

void lab_far_end(struct tport *p, uint32_t command, uint32_t value)
{
	ns_enter(p->ns);
	net_offload("eth0", command, value);
	ns_home();
}

static int map_of(const struct lab *l, const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/%s", l->pin, ABI_VERSION, name);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

/* A veth says so itself since Linux 6.3; in BPF_PROG_TEST_RUN nothing is really sent. */
static void takes_xdp(struct lab *l, int index)
{
	struct attach_rec a;
	int fd = map_of(l, "attached");

	assert_int_equal(bpf_map_lookup_elem(fd, &index, &a), 0);
	a.flags |= PORT_XDP_OUT;
	assert_int_equal(bpf_map_update_elem(fd, &index, &a, BPF_EXIST), 0);
	close(fd);
}

void lab_nic(struct lab *l, struct tport *p, int index, const uint8_t mac[6])
{
	struct dp_nic n;

	tport_make(p, index, mac, -1, "eth0");
	lab_far_end(p, ETHTOOL_SGRO, 1);
	lab_far_end(p, ETHTOOL_SFLAGS, 0);
	OK(dp_nic_hook(l->dp, (ifindex){ index }, DP_HOOK_XDP, &n, &lab_err));
	assert_true(n.xdp);
	takes_xdp(l, index);
}

/* ---- what a test covers ---- */

void lab_claims(unsigned int families)
{
	claimed = families;
	seen = 0;
}

void lab_saw(const struct frame *f)
{
	size_t at = 12;

	while (at + 4 < f->len &&
	       ((f->b[at] == 0x81 && !f->b[at + 1]) || (f->b[at] == 0x88 && f->b[at + 1] == 0xa8)))
		at += 4;
	if (f->b[at] == 8)
		seen |= V4; /* ARP is its, too */
	else if (f->b[at] == 0x86 && f->b[at + 1] == 0xdd)
		seen |= V6;
}

static void before_send(const struct frame *f)
{
	lab_saw(f);
	front_bring();
}

/* ---- the XDP program in front ---- */

/* Frames to a tunnel leave by its NIC; those of a function in the datapath by another port. */
static uint16_t front_flags(const struct port_key *k, uint16_t flags)
{
	if (k->ifindex < DP_PSEUDO_PORT)
		return PORT_XDP | PORT_XDP_OUT;
	return flags & PORT_TUNNEL ? PORT_XDP_OUT : 0;
}

static void front_attach(struct lab *l, int ifx)
{
	uint32_t id = 0;
	int r;

	if (bpf_xdp_query_id(ifx, XDP_FLAGS_DRV_MODE, &id) || id)
		return;
	r = bpf_xdp_attach(ifx, lab_xdp(l), XDP_FLAGS_DRV_MODE, NULL);
	assert_true(!r || r == -ERANGE); /* its frames are too long */
}

/* Every port that was set since: as if it were a NIC that runs XDP programs, and takes frames from others. */
static void front_bring(void)
{
	struct port_key k, *last = NULL;
	struct port_rec p;
	int fd;

	if (!front.on || !open_lab)
		return;
	fd = map_of(open_lab, "ports");
	while (!bpf_map_get_next_key(fd, last, &k)) {
		uint16_t flags;

		last = &k;
		if (bpf_map_lookup_elem(fd, &k, &p))
			continue;
		flags = front_flags(&k, p.flags);
		if ((p.flags & flags) == flags)
			continue;
		p.flags |= flags;
		assert_int_equal(bpf_map_update_elem(fd, &k, &p, BPF_EXIST), 0);
		if (k.ifindex < DP_PSEUDO_PORT)
			front_attach(open_lab, (int)k.ifindex);
	}
	close(fd);
}

/* What tc puts on is beside the frame, BPF_PROG_TEST_RUN does not show it. */
static void front_untag(struct frame *f)
{
	unsigned int type = (unsigned int)(f->b[12] << 8 | f->b[13]);

	if (type != 0x8100 && type != 0x88a8)
		return;
	memmove(f->b + 12, f->b + 16, f->len - 16);
	f->len -= 4;
}

/* The verdict in tc's words; < 0: the frame goes on to the tc program, as it came. */
static int front_run(struct lab *l, int port, const struct frame *f, struct frame *out)
{
	int v = lab_run_xdp(l, port, f, out);

	assert_int_not_equal(v, XDP_ABORTED);
	if (v == XDP_PASS) {
		assert_int_equal(out->len, f->len);
		assert_memory_equal(out->b, f->b, f->len);
		return -1;
	}
	if (v == XDP_DROP)
		return TC_ACT_SHOT;
	front_untag(out);
	return TC_ACT_REDIRECT;
}

static int run_tc(struct lab *l, int port, const struct frame *f, struct frame *out)
{
	struct frame scratch;
	struct __sk_buff ctx = { .ifindex = (uint32_t)port };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f->b, .data_size_in = (uint32_t)f->len,
		    .data_out = out ? out->b : scratch.b, .data_size_out = FRAME_MAX,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(l->prog, &o), 0);
	if (out)
		out->len = o.data_size_out;
	return (int)o.retval;
}

int lab_run(struct lab *l, int port, const struct frame *f, struct frame *out)
{
	struct frame after;
	int v;

	before_send(f);
	if (!front.on)
		return run_tc(l, port, f, out);
	v = front_run(l, port, f, &after);
	if (v < 0)
		return run_tc(l, port, f, out);
	if (out)
		*out = after;
	return v;
}

int lab_run_xdp(struct lab *l, int port, const struct frame *f, struct frame *out)
{
	struct frame scratch;
	struct xdp_md ctx = { .data_end = (uint32_t)f->len, .ingress_ifindex = (uint32_t)port };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f->b, .data_size_in = (uint32_t)f->len,
		    .data_out = out ? out->b : scratch.b, .data_size_out = FRAME_MAX,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);

	lab_saw(f);
	assert_int_equal(bpf_prog_test_run_opts(lab_xdp(l), &o), 0);
	if (out)
		out->len = o.data_size_out;
	return (int)o.retval;
}

uint64_t lab_dropped(struct lab *l, enum drop_reason reason)
{
	uint64_t now[DROP_N], n;

	OK(dp_drop_totals(l->dp, now, DROP_N, &lab_err));
	n = now[reason] - l->drops[reason];
	l->drops[reason] = now[reason];
	return n;
}

void lab_no_drops(struct lab *l)
{
	for (int i = 0; i < DROP_N; i++)
		if (lab_dropped(l, (enum drop_reason)i))
			fail_msg("unexpected drop: %s", dp_drop_reason_name((size_t)i));
}

bool lab_record(struct lab *l, int port, const struct frame *f, struct flow_rec *ret)
{
	bool v6 = f->b[12] == 0x86;
	struct flow_key k = { .ifindex = (uint32_t)port, .family = v6 ? 6 : 4 };
	const uint8_t *l4 = f->b + (v6 ? 54 : 34);
	char path[128];
	bool found;
	int fd;

	k.proto = v6 ? f->b[20] : f->b[23];
	memcpy(k.addr, f->b + (v6 ? 22 : 26), v6 ? 32 : 8);
	memcpy(&k.sport, l4 + (k.proto == 6 || k.proto == 17 ? 0 : 4), 2);
	memcpy(&k.dport, l4 + 2, 2);
	if (k.proto == 1 || k.proto == 58)
		k.dport = htons((uint16_t)(l4[0] << 8));
	snprintf(path, sizeof(path), "%s/v%d/%s", l->pin, ABI_VERSION, v6 ? "flow6" : "flow4");
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	found = !bpf_map_lookup_elem(fd, &k, ret);
	close(fd);
	return found;
}

#define IDLE_MAX 20000

/* The keys first: an update moves its record within the map. */
static void idle_in(struct lab *l, const char *map)
{
	static struct flow_key keys[IDLE_MAX];
	struct flow_rec r;
	char path[128];
	size_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/%s", l->pin, ABI_VERSION, map);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	while (!bpf_map_get_next_key(fd, n ? &keys[n - 1] : NULL, &keys[n]))
		assert_true(++n < IDLE_MAX);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(bpf_map_lookup_elem(fd, &keys[i], &r), 0);
		r.last -= r.timeout + 1000;
		assert_int_equal(bpf_map_update_elem(fd, &keys[i], &r, BPF_EXIST), 0);
	}
	close(fd);
}

static int64_t jiffy_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t); /* moves with the jiffies */
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

void lab_next_jiffy(void)
{
	for (int i = 0; i < 2; i++) {
		int64_t was = jiffy_ns();

		while (jiffy_ns() == was)
			sched_yield();
	}
}

void lab_idle(struct lab *l)
{
	idle_in(l, "flow4");
	idle_in(l, "flow6");
}

uint64_t lab_entries(struct lab *l, const char *map)
{
	struct dp_map_count c[64];
	int n = OK(dp_map_counts(l->dp, c, 64, &lab_err));

	for (int i = 0; i < n; i++)
		if (!strcmp(c[i].name, map))
			return c[i].n_entries;
	fail_msg("no map %s", map);
	return 0;
}

bool lab_passes(struct tport *from, const struct frame *f, struct tport *to, struct frame *got)
{
	struct frame scratch;

	tport_send(from, f);
	return tport_recv(to, got ? got : &scratch, 200);
}

void lab_spawn(char *const argv[])
{
	int status;
	pid_t pid;

	assert_int_equal(posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		fail_msg("%s %s: status %d", argv[0], argv[1], status);
}

void lab_ip(const char *words)
{
	char name[] = "ip", buf[256], *argv[24] = { name };
	int n = 1;

	snprintf(buf, sizeof(buf), "%s", words);
	for (char *at = buf; *at && n < 23;) {
		argv[n++] = at;
		at += strcspn(at, " ");
		if (*at)
			*at++ = 0;
	}
	lab_spawn(argv);
}

static FILE *pcap;

void lab_pcap(const struct frame *f)
{
	uint32_t rec[4] = { 1, 0, (uint32_t)f->len, (uint32_t)f->len };

	if (!pcap)
		return;
	fwrite(rec, sizeof(rec), 1, pcap);
	fwrite(f->b, f->len, 1, pcap);
}

static bool is_named(const char *name, const char *names)
{
	size_t n = strlen(name);

	for (const char *at = names; (at = strstr(at, name)); at += n)
		if ((at == names || at[-1] == ',') && (!at[n] || at[n] == ','))
			return true;
	return false;
}

int lab_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n)
{
	/* Magic number, version 2.4, Ethernet: draft-ietf-opsawg-pcap section 4. */
	static const uint32_t head[6] = { 0xa1b2c3d4, 4 << 16 | 2, 0, 0, FRAME_MAX, 1 };
	struct CMUnitTest *some;
	size_t n_some = 0;
	int failed;

	lab_need_root();
	if (argc > 1) {
		pcap = fopen(argv[1], "wb");
		if (!pcap)
			return 1;
		fwrite(head, sizeof(head), 1, pcap);
	}
	some = calloc(n, sizeof(*some));
	if (!some)
		return 1;
	for (size_t i = 0; i < n; i++)
		if (argc < 3 || is_named(tests[i].name, argv[2]))
			some[n_some++] = tests[i];
	failed = n_some ? _cmocka_run_group_tests("tests", some, n_some, NULL, NULL) : 1;
	free(some);
	if (pcap)
		fclose(pcap);
	return failed;
}
