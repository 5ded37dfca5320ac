/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Packets as fast as they can be made: live frames of BPF_PROG_TEST_RUN, which enter an interface as frames from a NIC do (at its peer's
 * XDP hook), or with --skb a packet socket, which is what a function's own stack gives. Reports what was sent, what arrived
 * at a sink and what it cost.
 */

#include "source.h"
#include "bench.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "source.skel.h"

#define CHUNK_MIN 4096
#define CHUNK_MAX (1 << 20)
#define CHUNK_SECONDS 0.25
#define BATCH 64
#define SETTLE_NS 3000000

struct run {
	struct frame_spec frame;
	struct meter meter;
	uint64_t n_flows, first, count, rate, batch;
	double seconds;
	uint64_t n_sent;
	double spent_s;
	int sink; /* map of counters, -1: none */
};

struct counts {
	uint64_t pkts, bytes;
};

static struct counts arrived(int sink)
{
	struct counts *c = calloc((size_t)libbpf_num_possible_cpus(), sizeof(*c)), sum = { 0, 0 };
	uint32_t zero = 0;

	if (!c || (sink >= 0 && bpf_map_lookup_elem(sink, &zero, c)))
		fail("sink", strerror(errno));
	for (int i = 0; sink >= 0 && i < libbpf_num_possible_cpus(); i++) {
		sum.pkts += c[i].pkts;
		sum.bytes += c[i].bytes;
	}
	free(c);
	return sum;
}

/* What is still in queues arrives: until the count stands still for a while, a quarter of a second at most. */
static struct counts arrived_at_last(int sink)
{
	struct timespec pause = { 0, SETTLE_NS };
	struct counts was, is = arrived(sink);

	for (int i = 0, still = 0; sink >= 0 && i < 80 && still < 3; i++) {
		nanosleep(&pause, NULL);
		was = is;
		is = arrived(sink);
		still = was.pkts == is.pkts ? still + 1 : 0;
	}
	return is;
}

/* ---- live frames ---- */

/* Nobody looks at the checksums: a NIC would have. RFC 7348. */
static void vxlan_outer(struct bench_source *c, const struct run *r, struct mac nic)
{
	static const uint8_t fixed[BENCH_OUTER] = {
		[12] = 8,	  [14] = 0x45,	      [22] = 64, [23] = IPPROTO_UDP, [34] = 0xc0,
		[36] = 4789 >> 8, [37] = 4789 & 0xff, [42] = 8,	 [48] = BENCH_VNI
	};
	uint16_t total = htons((uint16_t)(BENCH_OUTER - 14 + r->frame.size)),
		 udp = htons((uint16_t)(BENCH_OUTER - 34 + r->frame.size));
	uint32_t from = htonl(BENCH_FAR), to = htonl(BENCH_NEAR);

	memcpy(c->outer, fixed, BENCH_OUTER);
	memcpy(c->outer, nic.b, 6);
	memcpy(c->outer + 6, r->frame.smac.b, 6);
	memcpy(c->outer + 16, &total, 2);
	memcpy(c->outer + 26, &from, 4);
	memcpy(c->outer + 30, &to, 4);
	memcpy(c->outer + 38, &udp, 2);
	c->outer_size = BENCH_OUTER;
}

static struct bench_source config_of(int argc, char **argv, const struct run *r)
{
	const char *flags = option(argc, argv, "tcp", ""), *vxlan = option(argc, argv, "vxlan", "");
	struct bench_source c = {
		.ifindex = if_nametoindex(option(argc, argv, "dev", NULL)),
		.n_flows = (uint32_t)(r->first + r->n_flows),
		.first = (uint32_t)r->first,
		.next = (uint32_t)r->first,
		.saddr = r->frame.saddr,
		.daddr = r->frame.daddr,
		.proto = *flags ? IPPROTO_TCP : IPPROTO_UDP,
		.tcp_flags = *flags ? (uint8_t)number("tcp", flags, 255) : 0,
		.seq = (uint32_t)number("seq", option(argc, argv, "seq", "0"), UINT32_MAX),
		.ack = (uint32_t)number("ack", option(argc, argv, "ack", "0"), UINT32_MAX),
		.backwards = has_flag(argc, argv, "backwards"),
		.spoof = has_flag(argc, argv, "spoof"),
	};

	if (!c.ifindex)
		fail("dev", "no such interface");
	memcpy(c.smac, r->frame.smac.b, 6);
	memcpy(c.dmac, r->frame.dmac.b, 6);
	if (*vxlan)
		vxlan_outer(&c, r, mac_arg("vxlan", vxlan));
	return c;
}

static uint32_t next_chunk(const struct run *r, uint64_t sent, double active_s)
{
	double n = active_s > 0 ? (double)sent / active_s * CHUNK_SECONDS : CHUNK_MIN;

	n = MIN_OF(MAX_OF(n, (double)CHUNK_MIN), (double)CHUNK_MAX);
	return r->count ? (uint32_t)MIN_OF(r->count - sent, (uint64_t)CHUNK_MAX) : (uint32_t)n;
}

static void send_live(struct run *r, const struct bench_source *c)
{
	struct source_bpf *skel = source_bpf__open_and_load();
	uint8_t frame[FRAME_BYTES_MAX] = { 0 };
	uint32_t size = (uint32_t)r->frame.size + c->outer_size;
	struct xdp_md ctx = { .data_end = size };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = size, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		    .batch_size = (uint32_t)r->batch);
	struct bench_source now = *c;
	uint32_t zero = 0;
	int fd;

	if (!skel)
		fail("source", strerror(errno));
	fd = bpf_map__fd(skel->maps.source);
	if (bpf_map_update_elem(fd, &zero, c, BPF_ANY))
		fail("source", strerror(errno));
	while (r->count ? now.n_sent < r->count : (double)now.active_ns * 1e-9 < r->seconds) {
		o.repeat = (int)next_chunk(r, now.n_sent, (double)now.active_ns * 1e-9);
		meter_start(&r->meter);
		if (bpf_prog_test_run_opts(bpf_program__fd(skel->progs.send), &o))
			fail("BPF_PROG_TEST_RUN", strerror(errno));
		meter_stop(&r->meter);
		if (bpf_map_lookup_elem(fd, &zero, &now))
			fail("source", strerror(errno));
	}
	r->n_sent = now.n_sent;
	r->spent_s = (double)now.active_ns * 1e-9;
	source_bpf__destroy(skel);
}

/* ---- packet socket ---- */

static int packet_socket(const char *dev)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(dev) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)))
		fail(dev, strerror(errno));
	return fd;
}

static void send_skb(struct run *r, const char *dev)
{
	static uint8_t frame[BATCH][FRAME_BYTES_MAX];
	struct mmsghdr msg[BATCH] = { 0 };
	struct iovec iov[BATCH];
	int fd = packet_socket(dev);
	uint64_t began = now_ns(), flow = 0;

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ frame[i], r->frame.size };
		msg[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	meter_start(&r->meter);
	while (r->count ? r->n_sent < r->count : r->spent_s < r->seconds) {
		struct timespec tick = { 0, 50000 };
		int n;

		r->spent_s = (double)(now_ns() - began) * 1e-9;
		if (r->rate && (double)r->n_sent > r->spent_s * (double)r->rate) {
			clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
			continue;
		}
		for (int i = 0; i < BATCH; i++)
			frame_udp(frame[i], &r->frame, (uint32_t)(r->first + flow++ % r->n_flows));
		n = sendmmsg(fd, msg, BATCH, 0);
		r->n_sent += n > 0 ? (uint64_t)n : 0;
	}
	meter_stop(&r->meter);
	close(fd);
}

/* ---- */

static void report(const struct run *r, struct counts before, struct counts after)
{
	uint64_t other = 0;

	for (size_t i = 0; i < r->meter.n; i++)
		other += r->meter.other_ns[i];
	printf("{\"sent\": %llu, \"seconds\": %.6f, \"arrived\": %llu, \"arrived_bytes\": %llu, ",
	       (unsigned long long)r->n_sent, r->spent_s,
	       (unsigned long long)(after.pkts - before.pkts),
	       (unsigned long long)(after.bytes - before.bytes));
	printf("\"own_ns\": %llu, \"other_ns\": %llu, \"metered_s\": %.6f}\n",
	       (unsigned long long)r->meter.own_ns, (unsigned long long)other,
	       (double)r->meter.wall_ns * 1e-9);
}

int cmd_source(int argc, char **argv)
{
	const char *sink = option(argc, argv, "sink", "");
	struct run r = {
		.frame = { mac_arg("smac", option(argc, argv, "smac", NULL)),
			   mac_arg("dmac", option(argc, argv, "dmac", NULL)),
			   ipv4_arg("saddr", option(argc, argv, "saddr", NULL)),
			   ipv4_arg("daddr", option(argc, argv, "daddr", NULL)),
			   number("size", option(argc, argv, "size", "60"),
				  FRAME_BYTES_MAX - BENCH_OUTER) },
		.n_flows = number("flows", option(argc, argv, "flows", "1"), 1U << 30),
		.first = number("first", option(argc, argv, "first", "0"), 1U << 30),
		.count = number("count", option(argc, argv, "count", "0"), 1U << 30),
		.batch = number("batch", option(argc, argv, "batch", "64"), BATCH),
		.rate = number("rate", option(argc, argv, "rate", "0"), 1U << 30),
		.seconds = (double)number("seconds", option(argc, argv, "seconds", "500"), 600000) * 1e-3,
		.sink = *sink ? bpf_obj_get(sink) : -1,
	};
	struct counts before;

	if (r.frame.size < 60 || !r.n_flows || (*sink && r.sink < 0))
		fail("source", "--size of 60 at least, --flows of 1 at least, and a pinned --sink");
	meter_init(&r.meter, option(argc, argv, "meter", ""));
	before = arrived_at_last(r.sink);
	if (has_flag(argc, argv, "skb")) {
		send_skb(&r, option(argc, argv, "dev", NULL));
	} else {
		struct bench_source c = config_of(argc, argv, &r);

		send_live(&r, &c);
	}
	report(&r, before, arrived_at_last(r.sink));
	return 0;
}
