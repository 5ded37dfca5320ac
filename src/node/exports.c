/* SPDX-License-Identifier: Apache-2.0 */
#include "node/exports.h"

#include <errno.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "dp/observe.h"
#include "node/fabric.h"
#include "node/ipfix.h"

#define TEMPLATES_NS (60 * NS_PER_S) /* RFC 7011 section 8.4: again, because UDP loses */
#define ETH_BYTES 14		     /* octets are counted from the IP header on */
#define MEMORY_MAX 65536	     /* flows of which a part was reported */
#define MEMORY_BUCKETS 16384
#define DROP_REASONS_MAX 128
#define HEADERS_V4 28 /* IP and UDP */
#define HEADERS_V6 48

struct collector {
	struct endpoint spec;
	int fd;
	int64_t templates_ns; /* when they are due */
	int64_t drops_ns;     /* the same */
	uint64_t messages, octets, records, unsent;
	struct ipfix x;
};

/* What was reported of a record whose counters go on. */
struct flow_id {
	struct ip_addr src, dst;
	uint16_t sport, dport;
	uint16_t vlan;
	uint8_t proto, pad[3]; /* no hole: compared and hashed as bytes */
	int in;
};
struct memory {
	struct memory *next;
	struct flow_id id;
	uint64_t pkts, bytes;
	int64_t until_ns;
};

struct exports {
	struct node *node;
	struct export_spec configured, wanted; /* wanted: with the intent's */
	struct collector *collectors;	       /* wanted.n */
	size_t n_memory;
	struct memory *memory[MEMORY_BUCKETS];
	int64_t swept_ns;
	uint64_t held;
	int64_t since_ns; /* flows are told from then on */
	uint64_t missed;  /* older flows that ended before their counters were known */
};

/* ---- settings ---- */

int export_spec_parse(const char *text, struct export_spec *ret, struct err *e)
{
	struct str rest = str_of(text);
	struct export_spec s = { 0 };

	while (rest.len) {
		struct str one = str_trim(str_cut(rest, ',', &rest));

		if (s.n == EXPORT_COLLECTORS_MAX)
			return err_set(e, FAULT_BAD_REQUEST, "ipfix", "more than %d collectors",
				       EXPORT_COLLECTORS_MAX);
		if (endpoint_parse(one, IPFIX_PORT, &s.collectors[s.n]) < 0)
			return err_set(e, FAULT_BAD_REQUEST, "ipfix",
				       "'" STR_FMT "' is not ADDRESS[:PORT] or [IPV6][:PORT]",
				       STR_ARG(one));
		s.n++;
	}
	*ret = s;
	return 0;
}

/* ---- one collector ---- */

/* Nothing is received: a filter that takes no byte drops whatever comes. */
static int deaf(int fd)
{
	struct sock_filter none = { BPF_RET | BPF_K, 0, 0, 0 };
	struct sock_fprog prog = { 1, &none };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

static socklen_t address_of(const struct endpoint *s, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (s->ip.family == IP_V4) {
		v4->sin_family = AF_INET;
		v4->sin_port = be16_of(s->port).raw;
		memcpy(&v4->sin_addr, s->ip.b, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = be16_of(s->port).raw;
	memcpy(&v6->sin6_addr, s->ip.b, 16);
	return sizeof(*v6);
}

/* Without a route now there may be one later: each refresh of the templates tries again. */
static void collector_connect(struct collector *c)
{
	bool v6 = c->spec.ip.family == IP_V6;
	int on = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO;
	struct sockaddr_storage to;
	socklen_t size = address_of(&c->spec, &to);

	if (c->fd >= 0)
		return;
	c->fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return;
	(void)setsockopt(c->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
			 v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &on, sizeof(on));
	if (deaf(c->fd) < 0 || connect(c->fd, (struct sockaddr *)&to, size) < 0)
		close_fdp(&c->fd);
}

static size_t path_room(const struct collector *c)
{
	bool v6 = c->spec.ip.family == IP_V6;
	int mtu = 0;
	socklen_t size = sizeof(mtu);

	if (getsockopt(c->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size) < 0 ||
	    mtu < IPFIX_MESSAGE_MIN)
		return IPFIX_MESSAGE_MIN;
	return (size_t)(mtu - (v6 ? HEADERS_V6 : HEADERS_V4));
}

static void on_message(void *ctx, const uint8_t *message, size_t size, size_t n_records)
{
	struct collector *c = ctx;
	ssize_t sent = -1;

	for (int i = 0; i < 2 && sent < 0 && c->fd >= 0; i++) { /* the first error may be about an earlier one */
		sent = send(c->fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno != ECONNREFUSED)
			break;
	}
	if (sent < 0) {
		c->unsent += n_records;
		if (errno == EMSGSIZE)
			c->templates_ns = 0; /* looks at the path again */
		return;
	}
	c->messages++;
	c->octets += size;
	c->records += n_records;
}

static void send_interfaces(struct node *n, struct collector *c)
{
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "port", &pos));) {
		struct ipfix_interface i = { 0 };
		char name[IF_NAMESIZE];
		ifindex index;
		vlan_id vlan;

		if (!fabric_port_place(n, o->id, &index, &vlan) || !index.num)
			continue;
		i.index = (uint32_t)index.num;
		if (if_indextoname(i.index, name))
			(void)str_copy(i.name, sizeof(i.name), str_of(name));
		(void)str_copy(i.description, sizeof(i.description), str_of(o->id));
		ipfix_interface(&c->x, &i);
	}
}

static void send_stats(struct node *n, struct collector *c, uint64_t missed)
{
	struct dp_losses lost;

	dp_losses(n->dp, &lost);
	ipfix_stats(&c->x, &(struct ipfix_stats){ .process = (uint32_t)getpid(),
						  .messages = c->messages,
						  .records = c->records,
						  .octets = c->octets,
						  .lost_flows = lost.flows + missed + c->unsent,
						  .lost_pkts = lost.pkts,
						  .lost_octets = lost.bytes });
}

/* Before a record: the export time, and templates when they are due. */
static struct ipfix *ready(struct node *n, struct collector *c)
{
	int64_t now = clock_mono_ns();

	c->x.now_s = (uint32_t)(clock_wall_us() / 1000000);
	if (now < c->templates_ns)
		return &c->x;
	c->templates_ns = now + TEMPLATES_NS;
	collector_connect(c);
	ipfix_resize(&c->x, path_room(c));
	ipfix_templates(&c->x);
	send_interfaces(n, c);
	send_stats(n, c, n->exports->missed);
	return &c->x;
}

/* What flows do not tell: most of what is dropped has no record. Each active timeout, whatever has been counted. */
static void send_drops(struct exports *x)
{
	size_t n = MIN_OF(dp_n_drop_reasons(), (size_t)DROP_REASONS_MAX);
	int64_t now = clock_mono_ns();
	uint64_t totals[DROP_REASONS_MAX];

	for (size_t i = 0; i < x->wanted.n; i++) {
		struct collector *c = &x->collectors[i];

		if (now < c->drops_ns || dp_drop_totals(x->node->dp, totals, n, NULL) < 0)
			continue;
		c->drops_ns = now + x->wanted.active_s * NS_PER_S;
		for (size_t reason = 1; reason < n; reason++) {
			struct ipfix_drops d = { .process = (uint32_t)getpid(),
						 .forwarding = dp_drop_forwarding(reason),
						 .pkts = totals[reason] };

			(void)str_copy(d.reason, sizeof(d.reason), str_of(dp_drop_reason_name(reason)));
			if (d.pkts)
				ipfix_drops(ready(x->node, c), &d);
		}
	}
}

/* ---- what was reported before ---- */

static struct flow_id id_of(const struct dp_flow *f)
{
	struct flow_id id;

	memset(&id, 0, sizeof(id));
	id.src.family = id.dst.family = f->src.family;
	memcpy(id.src.b, f->src.b, 16);
	memcpy(id.dst.b, f->dst.b, 16);
	id.sport = f->sport;
	id.dport = f->dport;
	id.vlan = f->vlan.id;
	id.proto = f->proto;
	id.in = f->in.num;
	return id;
}

static struct memory **place(struct exports *x, const struct flow_id *id)
{
	const uint8_t *p = (const uint8_t *)id;
	uint32_t h = 2166136261u; /* FNV-1a */
	struct memory **m;

	for (size_t i = 0; i < sizeof(*id); i++)
		h = (h ^ p[i]) * 16777619u;
	m = &x->memory[h % MEMORY_BUCKETS];
	while (*m && memcmp(&(*m)->id, id, sizeof(*id)) != 0)
		m = &(*m)->next;
	return m;
}

static void forget(struct exports *x, struct memory **m)
{
	struct memory *gone = *m;

	*m = gone->next;
	free(gone);
	x->n_memory--;
}

/* False: there is no room, and the flow will be reported as a whole when it ends. */
static bool remember(struct exports *x, struct memory **m, const struct flow_id *id,
		     const struct dp_flow *f)
{
	if (!*m && x->n_memory < MEMORY_MAX) {
		*m = calloc(1, sizeof(**m));
		x->n_memory += *m != NULL;
		if (*m)
			(*m)->id = *id;
	}
	if (!*m) {
		x->held++;
		return false;
	}
	(*m)->pkts = f->pkts;
	(*m)->bytes = f->bytes;
	(*m)->until_ns = f->now_ns;
	return true;
}

/* Each told flow is told again within an active timeout; what was not has ended unseen. */
static void memory_sweep(struct exports *x)
{
	int64_t now = clock_mono_ns(), old = now - 3 * x->wanted.active_s * NS_PER_S;

	if (now - x->swept_ns < TEMPLATES_NS)
		return;
	x->swept_ns = now;
	for (size_t i = 0; i < MEMORY_BUCKETS; i++)
		for (struct memory **m = &x->memory[i]; *m;) {
			if ((*m)->until_ns < old)
				forget(x, m);
			else
				m = &(*m)->next;
		}
}

/* ---- flows ---- */

static uint64_t wall_ms(int64_t mono_ns)
{
	return (uint64_t)(clock_wall_us() / 1000 - (clock_mono_ns() - mono_ns) / NS_PER_MS);
}

static uint8_t end_of(uint8_t kind)
{
	switch ((enum dp_flow_kind)kind) {
	case DP_FLOW_LISTED:
	case DP_FLOW_NEW:
	case DP_FLOW_ACTIVE:
		return IPFIX_END_ACTIVE;
	case DP_FLOW_IDLE:
		return IPFIX_END_IDLE;
	case DP_FLOW_END:
	case DP_FLOW_REPLACED:
		return IPFIX_END_OF_FLOW;
	case DP_FLOW_SHED:
		return IPFIX_END_RESOURCES;
	case DP_FLOW_FORCED:
		return IPFIX_END_FORCED;
	}
	return IPFIX_END_FORCED;
}

static struct ipfix_flow record_of(const struct dp_flow *f, const struct memory *before)
{
	uint64_t pkts = f->pkts - (before ? before->pkts : 0);
	uint64_t bytes = f->bytes - (before ? before->bytes : 0);
	int64_t start = before ? MAX_OF(f->created_ns, before->until_ns) : f->created_ns;

	return (struct ipfix_flow){
		.src = f->src,
		.dst = f->dst,
		.post_src = f->post_src,
		.post_dst = f->post_dst,
		.sport = f->sport,
		.dport = f->dport,
		.post_sport = f->post_sport,
		.post_dport = f->post_dport,
		.vlan = f->vlan.id,
		.tcp_flags = f->tcp_flags,
		.protocol = f->proto,
		.end = end_of(f->kind),
		.forwarding = f->dropped ? dp_drop_forwarding(f->reason) : IPFIX_FORWARDED,
		.biflow = f->opener ? 1 : 2,
		.firewall = f->dropped ? 3 : 0,
		.nat = f->nat_src || f->nat_dst,
		.octets = bytes - MIN_OF(bytes, ETH_BYTES * pkts),
		.pkts = pkts,
		.start_ms = wall_ms(start),
		.end_ms = wall_ms(MAX_OF(f->last_ns, start)),
		.in = (uint32_t)f->in.num,
		.out = f->dropped ? 0 : (uint32_t)f->out.num,
		.smac = f->smac,
		.dmac = f->dmac,
	};
}

/* Between IPv6 addresses only the general kind of event has a number. */
static uint8_t nat_event_of(const struct dp_flow *f, bool create)
{
	if (f->src.family == IP_V6)
		return create ? IPFIX_NAT_CREATE : IPFIX_NAT_DELETE;
	return create ? IPFIX_NAT44_CREATE : IPFIX_NAT44_DELETE;
}

static void nat_event(struct exports *x, const struct dp_flow *f, bool create)
{
	struct ipfix_flow r = record_of(f, NULL);
	struct ipfix_nat v = { .src = r.src,
			       .dst = r.dst,
			       .post_src = r.post_src,
			       .post_dst = r.post_dst,
			       .sport = r.sport,
			       .dport = r.dport,
			       .post_sport = r.post_sport,
			       .post_dport = r.post_dport,
			       .protocol = r.protocol,
			       .event = nat_event_of(f, create),
			       .time_ms = create ? r.start_ms : r.end_ms };

	if (!f->opener || !r.nat)
		return; /* a session is one event, not two */
	for (size_t i = 0; i < x->wanted.n; i++)
		ipfix_nat(ready(x->node, &x->collectors[i]), &v);
}

static void on_flow(void *ctx, const struct dp_flow *f)
{
	struct exports *x = ctx;
	struct flow_id id = id_of(f);
	struct memory **m = place(x, &id);
	bool icmp_query = (f->proto == 1 || f->proto == 58) && f->sport;
	bool last = f->kind == DP_FLOW_IDLE || f->kind == DP_FLOW_END || f->kind == DP_FLOW_SHED;
	struct ipfix_flow r;

	if (f->kind == DP_FLOW_NEW) {
		nat_event(x, f, true);
		return;
	}
	if (*m && ((*m)->pkts > f->pkts || (*m)->bytes > f->bytes))
		forget(x, m); /* of a record that ended untold */
	if (!*m && f->created_ns < x->since_ns) {
		/* What it carried was reported by another run, or belongs to a time before the first one. */
		x->missed += last;
		if (!last)
			(void)remember(x, m, &id, f);
		return;
	}
	r = record_of(f, *m);
	if (icmp_query) /* the identifier is no port, and collectors read a type there */
		r.sport = r.dport = r.post_sport = r.post_dport = 0;
	if (!last && !remember(x, m, &id, f))
		return;
	if (last && *m)
		forget(x, m);
	for (size_t i = 0; r.pkts && i < x->wanted.n; i++)
		ipfix_flow(ready(x->node, &x->collectors[i]), &r);
	if (f->kind != DP_FLOW_ACTIVE)
		nat_event(x, f, false);
}

/* ---- all of it ---- */

static void collectors_close(struct exports *x)
{
	for (size_t i = 0; i < x->wanted.n && x->collectors; i++) {
		ipfix_flush(&x->collectors[i].x);
		close_fdp(&x->collectors[i].fd);
	}
	free(x->collectors);
	x->collectors = NULL;
	x->wanted.n = 0;
}

static uint32_t domain_of(const struct node *n)
{
	struct uuid id = { 0 };

	(void)!uuid_parse(str_of(n->id), &id);
	return (uint32_t)id.b[0] << 24 | (uint32_t)id.b[1] << 16 | (uint32_t)id.b[2] << 8 | id.b[3];
}

static void collectors_open(struct exports *x, const struct export_spec *s)
{
	x->collectors = s->n ? calloc(s->n, sizeof(*x->collectors)) : NULL;
	x->wanted = *s;
	if (!x->collectors)
		x->wanted.n = 0;
	for (size_t i = 0; i < x->wanted.n; i++) {
		struct collector *c = &x->collectors[i];
		char ip[IP_STR_SIZE];

		c->spec = s->collectors[i];
		c->fd = -1;
		ipfix_open(&c->x, domain_of(x->node), IPFIX_MESSAGE_MIN, on_message, c);
		log_info("ipfix_collector", "address=%s port=%u active=%u",
			 ip_format(c->spec.ip, ip), c->spec.port, s->active_s);
	}
	dp_flows_tell(x->node->dp, s->active_s, x->wanted.n ? on_flow : NULL, x);
}

static bool spec_has(const struct export_spec *s, const struct endpoint *c)
{
	for (size_t i = 0; i < s->n; i++)
		if (ip_eq(s->collectors[i].ip, c->ip) && s->collectors[i].port == c->port)
			return true;
	return false;
}

static bool spec_eq(const struct export_spec *a, const struct export_spec *b)
{
	for (size_t i = 0; i < a->n; i++)
		if (!spec_has(b, &a->collectors[i]))
			return false;
	return a->n == b->n && a->active_s == b->active_s;
}

/* Nothing was told until now: what flows have carried so far is not known to be unreported. */
static void start_anew(struct exports *x)
{
	for (size_t i = 0; i < MEMORY_BUCKETS; i++)
		while (x->memory[i])
			forget(x, &x->memory[i]);
	x->since_ns = clock_mono_ns();
}

/* Those of the configuration and these. The same as before is no change. */
static void exports_set(struct node *n, const struct export_spec *s)
{
	struct exports *x = n->exports;
	struct export_spec all = x->configured;

	all.active_s = s->active_s ? s->active_s : all.active_s;
	for (size_t i = 0; i < s->n && all.n < EXPORT_COLLECTORS_MAX; i++)
		if (!spec_has(&all, &s->collectors[i]))
			all.collectors[all.n++] = s->collectors[i];
	if (spec_eq(&all, &x->wanted))
		return;
	if (!x->wanted.n)
		start_anew(x);
	collectors_close(x);
	collectors_open(x, &all);
}

void exports_intent(struct node *n)
{
	struct export_spec s = { 0 };
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "telemetry", &pos));) {
		const Demarc__V1__Telemetry *t = o->telemetry;

		s.active_s = t->ipfix_active_s ? t->ipfix_active_s : s.active_s;
		for (size_t i = 0; i < t->n_ipfix_collectors && s.n < EXPORT_COLLECTORS_MAX; i++)
			if (endpoint_parse(str_of(t->ipfix_collectors[i]), IPFIX_PORT,
					   &s.collectors[s.n]) == 0)
				s.n++;
	}
	exports_set(n, &s);
}

void exports_tick(struct node *n)
{
	struct exports *x = n->exports;

	send_drops(x);
	for (size_t i = 0; i < x->wanted.n; i++)
		ipfix_flush(ready(n, &x->collectors[i]));
	memory_sweep(x);
}

void exports_figures(struct node *n, struct export_figures *ret)
{
	struct exports *x = n->exports;
	struct dp_losses lost;

	dp_losses(n->dp, &lost);
	*ret = (struct export_figures){ .lost_flows = lost.flows + x->missed, .held = x->held };
	for (size_t i = 0; i < x->wanted.n; i++) {
		const struct collector *c = &x->collectors[i];

		ret->messages += c->messages;
		ret->records += c->records;
		ret->octets += c->octets;
		ret->unsent += c->unsent;
	}
}

static int active_of(const struct config *c, unsigned int *ret, struct err *e)
{
	uint64_t s = EXPORT_ACTIVE_S;

	if (*c->ipfix_active && (str_to_u64(str_of(c->ipfix_active), EXPORT_ACTIVE_MAX_S, &s) < 0 || !s))
		return err_set(e, FAULT_BAD_REQUEST, "ipfix_active",
			       "'%s' is not a number of seconds from 1 to %d", c->ipfix_active,
			       EXPORT_ACTIVE_MAX_S);
	*ret = (unsigned int)s;
	return 0;
}

int exports_open(struct node *n, struct err *e)
{
	struct exports *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return err_set(e, FAULT_NO_MEMORY, NULL, "exporter");
	n->exports = x;
	x->node = n;
	r = export_spec_parse(n->cfg.ipfix, &x->configured, e);
	if (r == 0)
		r = active_of(&n->cfg, &x->configured.active_s, e);
	if (r == 0) {
		start_anew(x);
		collectors_open(x, &x->configured);
		exports_intent(n);
	}
	return r;
}

void exports_close(struct node *n)
{
	struct exports *x = n->exports;

	if (!x)
		return;
	if (n->dp)
		dp_flows_tell(n->dp, 0, NULL, NULL);
	collectors_close(x);
	start_anew(x);
	free(x);
	n->exports = NULL;
}
