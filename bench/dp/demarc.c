/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The datapath under measurement, through its public API (dp/dp.h), as the node's agent uses it: opened once, aged every second. Takes
 * lines on stdin and answers each with one line, "ok", "ok {JSON}" or "error TEXT":
 *
 *   net N
 *   port IFINDEX net=N [mac=M] [security] [uplink [xdp]] [nopeer] [xdpout] [native] [addr=CIDR]... [sg=ID]... [acl=ID]
 *        [nat=ID] [meter=ID] [meter_from=ID] [half_open=N]      more half-open connections towards the port than that: SYN cookies
 *   acl ID rules=N [deny]             N rules, of which the last permits (deny: denies) everything
 *   sg ID rules=N [closed]            N rules each way, of which the last lets everything (closed: nothing) in and out
 *   nat ID to=A                       a list whose one rule gives every source this address
 *   meter ID bps=N                    a policer
 *   tunnel IFINDEX net=N type=TYPE id=N local=A remote=A underlay=IFINDEX smac=M dmac=M
 *   chain N src=IFINDEX dst=IFINDEX hops=[KIND@]IN:OUT,... mode=move|keep
 *   drops | maps | memory
 *   flows PORT                        records with this port at either end: how many, in all segments of chains, and their packets and bytes
 *   remove                            takes everything away and ends
 */

#include "bench.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "bounds.h"
#include "dp/dp.h"
#include "dp/observe.h"

#define LINE_MAX_BYTES 4096
#define AGE_MS 1000
#define ACTIVE_S 60

struct bench {
	struct dp *dp;
	const char *pin;
	bool removed;
	uint64_t n_told, bytes_told;
	char said[256]; /* what a verb answers besides "ok" */
};

/* The words of a line after its verb. */
struct words {
	struct str v[64];
	size_t n;
};

static struct str word_value(struct str word, const char *key)
{
	struct str rest, name = str_cut(word, '=', &rest);

	return str_eq_c(name, key) && name.len < word.len ? rest : (struct str){ NULL, 0 };
}

static struct str value_of(const struct words *w, const char *key)
{
	for (size_t i = 1; i < w->n; i++) {
		struct str s = word_value(w->v[i], key);

		if (s.ptr)
			return s;
	}
	return (struct str){ NULL, 0 };
}

static bool has_word(const struct words *w, const char *word)
{
	for (size_t i = 1; i < w->n; i++)
		if (str_eq_c(w->v[i], word))
			return true;
	return false;
}

static int number_of(struct str s, const char *name, uint64_t max, uint64_t *ret, struct err *e)
{
	if (str_to_u64(s, max, ret))
		return err_set(e, FAULT_BAD_REQUEST, name, "not a whole number in range");
	return 0;
}

static int value_number(const struct words *w, const char *key, uint64_t max, uint64_t *ret,
			struct err *e)
{
	return number_of(value_of(w, key), key, max, ret, e);
}

/* ---- verbs: 0, or a negative errno with *e set ---- */

static int do_net(struct bench *b, const struct words *w, struct err *e)
{
	uint64_t net;
	int r = number_of(w->v[0], "net", 65535, &net, e);

	return r ? r : dp_net_set(b->dp, &(struct dp_net){ .net = (uint16_t)net, .mtu = 1500 }, e);
}

static int port_addr(struct dp_port *p, struct str text, struct err *e)
{
	struct dp_addr *a = &p->addrs[p->n_addrs];

	if (p->n_addrs == DP_PORT_ADDRS_MAX || cidr_parse(text, &a->ip))
		return err_set(e, FAULT_BAD_REQUEST, "addr", "not an address, or one too many");
	a->own = true;
	a->mac = p->mac;
	p->n_addrs++;
	return 0;
}

static int port_sg(struct dp_port *p, struct str text, struct err *e)
{
	uint64_t id;
	int r = number_of(text, "sg", UINT32_MAX, &id, e);

	if (r)
		return r;
	if (p->n_sgs == DP_PORT_SGS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "sg", "one too many");
	p->sgs[p->n_sgs++] = (uint32_t)id;
	return 0;
}

static int port_acl(struct dp_port *p, struct str text, struct err *e)
{
	uint64_t id;
	int r = number_of(text, "acl", UINT16_MAX, &id, e);

	if (!r)
		p->acl_from[0] = p->acl_to[0] = (uint16_t)id;
	return r;
}

static int port_nat(struct dp_port *p, struct str text, struct err *e)
{
	uint64_t id;
	int r = number_of(text, "nat", DP_NAT_LISTS_MAX, &id, e);

	if (!r)
		p->nat = (uint16_t)id;
	return r;
}

static int port_meter(struct dp_port *p, struct str text, struct err *e)
{
	uint64_t id;
	int r = number_of(text, "meter", DP_METERS_MAX, &id, e);

	if (!r)
		p->meter_to = (uint16_t)id;
	return r;
}

static int port_meter_from(struct dp_port *p, struct str text, struct err *e)
{
	uint64_t id;
	int r = number_of(text, "meter_from", DP_METERS_MAX, &id, e);

	if (!r)
		p->meter_from = (uint16_t)id;
	return r;
}

static int port_half_open(struct dp_port *p, struct str text, struct err *e)
{
	uint64_t n;
	int r = number_of(text, "half_open", UINT32_MAX, &n, e);

	if (!r)
		p->limits = (struct dp_limits){ .half_open = (uint32_t)n, .syn_cookies = true };
	return r;
}

static int port_word(struct dp_port *p, struct str word, struct err *e)
{
	static const struct {
		const char *key;
		int (*set)(struct dp_port *p, struct str text, struct err *e);
	} keys[] = {
		{ "addr", port_addr },
		{ "sg", port_sg },
		{ "acl", port_acl },
		{ "nat", port_nat },
		{ "meter", port_meter },
		{ "half_open", port_half_open },
		{ "meter_from", port_meter_from },
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct str text = word_value(word, keys[i].key);

		if (text.ptr)
			return keys[i].set(p, text, e);
	}
	return 0;
}

static int do_port(struct bench *b, const struct words *w, struct err *e)
{
	struct dp_port p = { 0 };
	struct dp_nic nic;
	struct str mac = value_of(w, "mac");
	uint64_t ifx, net;
	int r = number_of(w->v[0], "ifindex", INT32_MAX, &ifx, e);

	if (!r)
		r = value_number(w, "net", 65535, &net, e);
	if (r)
		return r;
	if (mac.ptr && mac_parse(mac, &p.mac))
		return err_set(e, FAULT_BAD_REQUEST, "mac", "not a MAC address");
	p.ifindex = (ifindex){ (int)ifx };
	p.net = (uint16_t)net;
	p.flags = (uint16_t)((has_word(w, "security") ? DP_PORT_SECURITY : 0) |
			     (has_word(w, "uplink") ? DP_PORT_UPLINK : 0) |
			     (has_word(w, "nopeer") ? DP_PORT_NO_PEER : 0) |
			     (has_word(w, "xdpout") ? DP_PORT_XDP_OUT : 0) |
			     (has_word(w, "native") ? DP_PORT_NATIVE : 0));
	for (size_t i = 1; i < w->n && !r; i++)
		r = port_word(&p, w->v[i], e);
	if (!r && has_word(w, "xdp"))
		r = dp_nic_hook(b->dp, p.ifindex, DP_HOOK_XDP, &nic, e);
	return r ? r : dp_port_set(b->dp, &p, e);
}

/* A net of 172.16.0.0/12, in which no address of the benchmark is. */
static struct ip_cidr other_net(size_t i, uint8_t prefix_len)
{
	struct ip_cidr c = { { IP_V4, { 172, (uint8_t)(16 + (i >> 16)), (uint8_t)(i >> 8), (uint8_t)i } },
			     prefix_len };

	c.addr = cidr_network(c);
	return c;
}

/* Rules that no packet of the benchmark matches: UDP to or from one host each. */
static struct dp_sg_rule other_rule(size_t i, bool egress)
{
	struct dp_sg_rule r = { .egress = egress,
				.family = IP_V4,
				.proto = 17,
				.has_ports = true,
				.port_min = (uint16_t)(1000 + i % 100),
				.port_max = (uint16_t)(1000 + i % 100) };

	r.remote = other_net(i, 32);
	return r;
}

static int do_sg(struct bench *b, const struct words *w, struct err *e)
{
	struct dp_sg_rule *rules CLEANUP(free_voidp) = NULL;
	uint64_t id, n;
	int r = number_of(w->v[0], "group", UINT32_MAX, &id, e);

	if (!r)
		r = value_number(w, "rules", 100000, &n, e);
	if (r || !n)
		return r ? r : err_set(e, FAULT_BAD_REQUEST, "rules", "at least one");
	rules = calloc(2 * n, sizeof(*rules));
	if (!rules)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (size_t i = 0; i < n - 1; i++) {
		rules[i] = other_rule(i, true);
		rules[n + i] = other_rule(i, false);
	}
	rules[n - 1] = has_word(w, "closed") ? other_rule(n, true) :
					       (struct dp_sg_rule){ .egress = true, .family = IP_V4 };
	rules[2 * n - 1] = has_word(w, "closed") ? other_rule(n, false) :
						   (struct dp_sg_rule){ .family = IP_V4 };
	return dp_sg_set(b->dp, (uint32_t)id, rules, 2 * n, NULL, 0, e);
}

/* A mixture, as lists are: hosts and nets, either end, ports and ranges; none of them matches the traffic. Nft.rule() has the same. */
static struct dp_acl_rule other_acl_rule(size_t i)
{
	struct dp_acl_rule r = {
		.id = (uint32_t)(i + 1), .deny = true, .family = IP_V4, .proto = i % 2 ? 6 : 17
	};

	r.has_dport = true;
	r.dport_min = r.dport_max = (uint16_t)(1000 + i % 100);
	switch (i % 4) {
	case 0:
		r.src = other_net(i, 32);
		break;
	case 1:
		r.dst = other_net(i, 24);
		r.dport_max = (uint16_t)(r.dport_min + i % 50);
		break;
	case 2:
		r.src = other_net(i, 24);
		r.dst = other_net(i * 7, 32);
		break;
	case 3:
		r.src = other_net(i, 28);
		r.has_sport = true;
		r.sport_min = (uint16_t)(2000 + i % 300);
		r.sport_max = (uint16_t)(r.sport_min + 20);
		break;
	}
	return r;
}

static int do_acl(struct bench *b, const struct words *w, struct err *e)
{
	struct dp_acl_rule *rules CLEANUP(free_voidp) = NULL;
	uint64_t id, n;
	int r = number_of(w->v[0], "acl", UINT16_MAX, &id, e);

	if (!r)
		r = value_number(w, "rules", DP_ACL_RULES_MAX, &n, e);
	if (r || !n)
		return r ? r : err_set(e, FAULT_BAD_REQUEST, "rules", "at least one");
	rules = calloc(n, sizeof(*rules));
	if (!rules)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (size_t i = 0; i < n - 1; i++)
		rules[i] = other_acl_rule(i);
	rules[n - 1] =
		(struct dp_acl_rule){ .id = (uint32_t)n, .deny = has_word(w, "deny"), .family = IP_V4 };
	return dp_acl_set(b->dp, (uint32_t)id, rules, n, e);
}

static int do_nat(struct bench *b, const struct words *w, struct err *e)
{
	struct dp_nat_rule rule = { .id = 1 };
	uint64_t id;
	int r = number_of(w->v[0], "nat", DP_NAT_LISTS_MAX, &id, e);

	if (!r && ip_parse(value_of(w, "to"), &rule.to))
		r = err_set(e, FAULT_BAD_REQUEST, "to", "not an address");
	return r ? r : dp_nat_set(b->dp, (uint32_t)id, &rule, 1, e);
}

static int do_meter(struct bench *b, const struct words *w, struct err *e)
{
	uint64_t id, bps;
	int r = number_of(w->v[0], "meter", DP_METERS_MAX, &id, e);

	if (!r)
		r = value_number(w, "bps", UINT64_MAX / 2, &bps, e);
	return r ? r :
		   dp_meter_set(b->dp, &(struct dp_meter){ .id = (uint16_t)id, .rate_bps = bps }, e);
}

static enum dp_tunnel_type type_of(struct str name)
{
	static const char *const names[] = {
		[DP_TUNNEL_VXLAN] = "vxlan", [DP_TUNNEL_VXLAN_GPE] = "vxlan_gpe", [DP_TUNNEL_GRE] = "gre", [DP_TUNNEL_GENEVE] = "geneve", [DP_TUNNEL_MPLS_UDP] = "mpls_udp"
	};

	for (size_t i = 1; i < ARRAY_LEN(names); i++)
		if (names[i] && str_eq_c(name, names[i]))
			return (enum dp_tunnel_type)i;
	return DP_TUNNEL_NONE;
}

static int do_tunnel(struct bench *b, const struct words *w, struct err *e)
{
	struct dp_tunnel t = { .type = type_of(value_of(w, "type")),
			       .underlay_mtu = 1500,
			       .nsh_path = 1,
			       .nsh_index = 255 };
	uint64_t port, net, id, underlay;
	int r = number_of(w->v[0], "tunnel", INT32_MAX, &port, e);

	if (!r)
		r = value_number(w, "net", 65535, &net, e);
	if (!r)
		r = value_number(w, "id", UINT32_MAX, &id, e);
	if (!r)
		r = value_number(w, "underlay", INT32_MAX, &underlay, e);
	if (r)
		return r;
	if (ip_parse(value_of(w, "local"), &t.local) || ip_parse(value_of(w, "remote"), &t.remote) ||
	    mac_parse(value_of(w, "smac"), &t.smac) || mac_parse(value_of(w, "dmac"), &t.dmac))
		return err_set(e, FAULT_BAD_REQUEST, "tunnel", "not an address");
	t.port = (ifindex){ (int)port };
	t.net = (uint16_t)net;
	t.id = (uint32_t)id;
	t.underlay = (ifindex){ (int)underlay };
	if (t.type != DP_TUNNEL_VXLAN_GPE)
		t.nsh_path = t.nsh_index = 0;
	return dp_tunnel_set(b->dp, &t, e);
}

static uint8_t kind_of(struct str name)
{
	static const char *const names[] = {
		[DP_NATIVE_ACL] = "acl", [DP_NATIVE_FIREWALL] = "firewall", [DP_NATIVE_POLICER] = "policer", [DP_NATIVE_MIRROR] = "mirror"
	};

	for (uint8_t i = 1; i < ARRAY_LEN(names); i++)
		if (str_eq_c(name, names[i]))
			return i;
	return DP_NATIVE_NONE;
}

/* [KIND@]IN:OUT */
static int hop_of(struct str text, struct dp_hop *ret, struct err *e)
{
	struct str after, kind = str_cut(text, '@', &after);
	struct str out, in = str_cut(after.len ? after : text, ':', &out);
	uint64_t i, o;
	int r = number_of(in, "hops", INT32_MAX, &i, e);

	if (!r)
		r = number_of(out, "hops", INT32_MAX, &o, e);
	if (r)
		return r;
	*ret = (struct dp_hop){ .n_pairs = 1 };
	ret->pairs[0] = (struct dp_pair){
		{ (int)i }, { (int)o }, 1, true, after.len ? kind_of(kind) : DP_NATIVE_NONE
	};
	return 0;
}

static int do_chain(struct bench *b, const struct words *w, struct err *e)
{
	struct dp_path p = { .symmetric = true, .n_classifiers = 1 };
	struct str rest = value_of(w, "hops");
	enum dp_flip_mode mode = str_eq_c(value_of(w, "mode"), "keep") ? DP_FLIP_KEEP : DP_FLIP_MOVE;
	uint64_t chain, src, dst;
	int r = number_of(w->v[0], "chain", 1023, &chain, e);

	if (!r)
		r = value_number(w, "src", INT32_MAX, &src, e);
	if (!r)
		r = value_number(w, "dst", INT32_MAX, &dst, e);
	while (!r && rest.len && p.n_hops < DP_CHAIN_HOPS_MAX)
		r = hop_of(str_cut(rest, ',', &rest), &p.hops[p.n_hops++], e);
	if (r)
		return r;
	p.chain = (uint16_t)chain;
	p.classifiers[0] = (struct dp_classifier){ .src_port = { (int)src }, .dst_port = { (int)dst } };
	r = dp_chain_set(b->dp, &p, mode, NULL, e);
	return r < 0 ? r : 0;
}

/* Both directions of what has this port. */
static int do_flows(struct bench *b, const struct words *w, struct err *e)
{
	struct dp_flow_query q = { .all_segments = true, .limit = 1 };
	struct dp_flow_totals t;
	struct dp_flow one;
	uint64_t port;
	int r = number_of(w->v[0], "port", 65535, &port, e);

	q.port = (uint16_t)port;
	if (!r)
		r = dp_flows(b->dp, &q, &one, &t, e);
	if (r < 0)
		return r;
	snprintf(b->said, sizeof(b->said),
		 "{\"records\": %llu, \"pkts\": %llu, \"bytes\": %llu, \"told\": %llu}",
		 (unsigned long long)t.matched, (unsigned long long)t.pkts,
		 (unsigned long long)t.bytes, (unsigned long long)b->n_told);
	return 0;
}

static int do_remove(struct bench *b, const struct words *w, struct err *e)
{
	dp_close(b->dp);
	b->dp = NULL;
	b->removed = true;
	return dp_remove(b->pin, e);
}

/* ---- reports ---- */

static void print_drops(struct bench *b)
{
	uint64_t n[256];
	struct err e;
	size_t max = MIN_OF(dp_n_drop_reasons(), ARRAY_LEN(n));
	const char *comma = "";

	if (dp_drop_totals(b->dp, n, max, &e) < 0) {
		printf("error %s\n", e.msg);
		return;
	}
	printf("ok {");
	for (size_t i = 0; i < max; i++) {
		if (!n[i])
			continue;
		printf("%s\"%s\": %llu", comma, dp_drop_reason_name(i), (unsigned long long)n[i]);
		comma = ", ";
	}
	printf("}\n");
}

static void print_maps(struct bench *b)
{
	struct dp_map_count c[64];
	struct err e;
	int n = dp_map_counts(b->dp, c, ARRAY_LEN(c), &e);

	printf("ok {");
	for (int i = 0; i < n; i++)
		printf("%s\"%s\": %llu", i ? ", " : "", c[i].name, (unsigned long long)c[i].n_entries);
	printf("}\n");
}

/* Bytes that the kernel holds for a map: "memlock:" in its fdinfo, a tab and the number. */
static uint64_t map_bytes(int fd)
{
	uint64_t bytes = 0;
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		struct str text, name = str_cut(str_of(line), '\t', &text);

		if (str_eq_c(name, "memlock:") &&
		    !str_to_u64(str_cut(text, '\n', &name), UINT64_MAX, &bytes))
			break;
	}
	if (f)
		fclose(f);
	return bytes;
}

/* Of everything that is there once per IPv4 flow, for each record that the table can hold. */
static void print_memory(struct bench *b)
{
	static const char *const maps[] = { "flow4", "conns4" };
	uint64_t bytes = 0, entries = 0;

	for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
		struct bpf_map_info info = { 0 };
		uint32_t size = sizeof(info);
		char path[256];
		int fd;

		snprintf(path, sizeof(path), "%s/v%d/%s", b->pin, ABI_VERSION, maps[i]);
		fd = bpf_obj_get(path);
		if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size)) {
			printf("error %s: %s\n", path, strerror(errno));
			return;
		}
		bytes += map_bytes(fd);
		if (!i)
			entries = info.max_entries;
		close(fd);
	}
	printf("ok {\"bytes\": %.1f, \"held\": %llu, \"records\": %llu}\n",
	       (double)bytes / (double)entries, (unsigned long long)bytes, (unsigned long long)entries);
}

/* ---- lines ---- */

static const struct {
	const char *name;
	int (*run)(struct bench *b, const struct words *w, struct err *e);
	void (*print)(struct bench *b);
} verbs[] = {
	{ "net", do_net, NULL },       { "port", do_port, NULL },
	{ "sg", do_sg, NULL },	       { "acl", do_acl, NULL },
	{ "nat", do_nat, NULL },       { "meter", do_meter, NULL },
	{ "chain", do_chain, NULL },   { "tunnel", do_tunnel, NULL },
	{ "remove", do_remove, NULL }, { "drops", NULL, print_drops },
	{ "maps", NULL, print_maps },  { "memory", NULL, print_memory },
	{ "flows", do_flows, NULL },
};

static void answer(struct bench *b, struct str line)
{
	struct str rest, verb = str_cut(line, ' ', &rest);
	struct words w = { .n = 0 };
	struct err e = { 0 };

	*b->said = '\0';
	while (rest.len && w.n < ARRAY_LEN(w.v))
		w.v[w.n++] = str_cut(rest, ' ', &rest);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (!str_eq_c(verb, verbs[i].name))
			continue;
		if (verbs[i].print)
			verbs[i].print(b);
		else if (verbs[i].run(b, &w, &e) < 0)
			printf("error %s %s\n", e.field, e.msg);
		else
			printf("ok%s%s\n", *b->said ? " " : "", b->said);
		return;
	}
	printf("error no such verb: " STR_FMT "\n", STR_ARG(verb));
}

/* Whole lines out of what was read; what is left moves to the front. */
static size_t answer_lines(struct bench *b, char *buf, size_t size)
{
	struct str all = { buf, size };
	char *end;

	while (!b->removed && all.len && (end = memchr(all.ptr, '\n', all.len))) {
		struct str rest;

		answer(b, str_cut(all, '\n', &rest));
		all = rest;
	}
	memmove(buf, all.ptr, all.len);
	return all.len;
}

static void serve(struct bench *b)
{
	char buf[LINE_MAX_BYTES];
	size_t have = 0;
	uint64_t next_age = now_ns();

	while (!b->removed) {
		struct pollfd p = { 0, POLLIN, 0 };
		uint64_t now = now_ns();
		struct err e;
		ssize_t n;

		if (now >= next_age) {
			if (dp_age(b->dp, &e) < 0)
				fail("age", e.msg);
			next_age = now + AGE_MS * 1000000ULL;
		}
		if (poll(&p, 1, AGE_MS / 4) <= 0)
			continue;
		n = read(0, buf + have, sizeof(buf) - have);
		if (n <= 0)
			return;
		have = answer_lines(b, buf, have + (size_t)n);
	}
}

/* As the node's exporter takes them: flows that ended, and those that have lived a minute. */
static void count_flow(void *ctx, const struct dp_flow *f)
{
	struct bench *b = ctx;

	b->n_told++;
	b->bytes_told += f->bytes;
}

int cmd_demarc(int argc, char **argv)
{
	struct bench b = { .pin = option(argc, argv, "pin", NULL) };
	struct dp_config c = {
		.pin_dir = b.pin,
		.max_flows = (uint32_t)number("flows", option(argc, argv, "flows", "0"), 1 << 26),
	};
	struct err e;

	if (dp_open(&c, &b.dp, &e))
		fail("open", e.msg);
	dp_flows_tell(b.dp, ACTIVE_S, count_flow, &b);
	printf("ok\n");
	serve(&b);
	if (b.dp)
		dp_close(b.dp);
	return 0;
}
