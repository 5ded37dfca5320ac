/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A numbered UDP stream, for showing what a change of a chain does to traffic.
 *
 *   stream send --to ADDR --port P --rate PPS --seconds S [--size BYTES] [--flows N]
 *   stream recv --port P [--idle-ms MS] [--ready-file FILE]
 *
 * The sender numbers its packets per flow (a flow is a source port). The receiver prints, when nothing came for the
 * idle time, one JSON line: received, lost (numbers never seen below the highest of each flow), duplicated, reordered (numbers
 * lower than one seen before), longest silence. SIGTERM ends either side early with its report. Both are bounded: 600 s, 256 flows.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

#define MAGIC 0x64736d31u /* "dsm1" */
#define FLOWS_MAX 256
#define SECONDS_MAX 600
#define RATE_MAX 2000000
#define BATCH 64
#define FRAME_MAX 1400

struct packet {
	uint32_t magic;
	uint32_t flow;
	uint64_t seq;
	uint64_t sent_ns;
} __attribute__((packed));

struct options {
	struct sockaddr_in to;
	uint64_t port, rate, seconds, size, flows, idle_ms;
	const char *ready_file;
};

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	stopping = 1;
}

/* ---- sender ---- */

struct sender {
	int fd[FLOWS_MAX];
	uint64_t seq[FLOWS_MAX];
	uint64_t n_sent, n_errors;
	char buf[BATCH][FRAME_MAX];
};

static int sender_open(struct sender *s, const struct options *o)
{
	for (uint64_t i = 0; i < o->flows; i++) {
		s->fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (s->fd[i] < 0 || connect(s->fd[i], (const struct sockaddr *)&o->to, sizeof(o->to)))
			return -errno;
	}
	return 0;
}

static void sender_burst(struct sender *s, const struct options *o, uint64_t flow, unsigned n)
{
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];

	memset(msgs, 0, sizeof(msgs));
	for (unsigned i = 0; i < n; i++) {
		struct packet p = { MAGIC, (uint32_t)flow, s->seq[flow] + i, (uint64_t)clock_mono_ns() };

		memcpy(s->buf[i], &p, sizeof(p));
		iov[i] = (struct iovec){ s->buf[i], o->size };
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	for (unsigned done = 0; done < n && !stopping;) {
		int rc = sendmmsg(s->fd[flow], msgs + done, n - done, 0);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc < 0) { /* ICMP errors surface here: counted, the packet is sent again */
			s->n_errors++;
			continue;
		}
		done += (unsigned)rc;
		s->seq[flow] += (unsigned)rc;
		s->n_sent += (unsigned)rc;
	}
}

/* Every half millisecond, what the rate says is due; each tick serves one flow. */
static int run_send(const struct options *o)
{
	static struct sender s;
	int rc = sender_open(&s, o);
	int64_t start = clock_mono_ns();
	int64_t end = start + (int64_t)o->seconds * NS_PER_S;
	uint64_t flow = 0;

	if (rc < 0) {
		fprintf(stderr, "stream: cannot open the flows: %s\n", strerror(-rc));
		return 1;
	}
	for (int64_t now = start; now < end && !stopping; now = clock_mono_ns()) {
		uint64_t due = (uint64_t)(now - start) * o->rate / (uint64_t)NS_PER_S;

		if (s.n_sent >= due) {
			struct timespec tick = { 0, 500000 };

			clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
			continue;
		}
		sender_burst(&s, o, flow, (unsigned)MIN_OF(due - s.n_sent, (uint64_t)BATCH));
		flow = (flow + 1) % o->flows;
	}
	printf("{\"sent\": %llu, \"seconds\": %.3f, \"pps\": %.0f, \"errors\": %llu}\n",
	       (unsigned long long)s.n_sent, (double)(clock_mono_ns() - start) / NS_PER_S,
	       (double)s.n_sent * NS_PER_S / (double)(clock_mono_ns() - start),
	       (unsigned long long)s.n_errors);
	return 0;
}

/* ---- receiver ---- */

struct flow {
	uint64_t next; /* highest number seen + 1 */
	uint64_t unique;
	uint8_t *seen; /* bit per number */
	size_t seen_bytes;
};

struct receiver {
	struct flow flows[FLOWS_MAX];
	uint64_t n_received, n_duplicated, n_reordered, n_foreign;
	int64_t last_ns, longest_gap_ns;
};

static int flow_mark(struct flow *f, uint64_t seq, bool *ret_again)
{
	size_t byte = seq / 8;

	if (byte >= f->seen_bytes) {
		size_t size = MAX_OF(f->seen_bytes * 2, byte + 65536);
		uint8_t *p;

		if (seq > (uint64_t)RATE_MAX * SECONDS_MAX || !(p = realloc(f->seen, size)))
			return -ENOMEM;
		memset(p + f->seen_bytes, 0, size - f->seen_bytes);
		f->seen = p;
		f->seen_bytes = size;
	}
	*ret_again = f->seen[byte] & (1u << (seq % 8));
	f->seen[byte] |= (uint8_t)(1u << (seq % 8));
	return 0;
}

static void receive_one(struct receiver *r, const void *buf, size_t size, int64_t now)
{
	struct packet p;
	bool again;

	if (size < sizeof(p))
		return;
	memcpy(&p, buf, sizeof(p));
	if (p.magic != MAGIC || p.flow >= FLOWS_MAX || flow_mark(&r->flows[p.flow], p.seq, &again)) {
		r->n_foreign++;
		return;
	}
	if (r->last_ns)
		r->longest_gap_ns = MAX_OF(r->longest_gap_ns, now - r->last_ns);
	r->last_ns = now;
	r->n_received++;
	if (again) {
		r->n_duplicated++;
		return;
	}
	r->flows[p.flow].unique++;
	if (p.seq < r->flows[p.flow].next)
		r->n_reordered++;
	else
		r->flows[p.flow].next = p.seq + 1;
}

static void receiver_report(const struct receiver *r)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < FLOWS_MAX; i++)
		lost += r->flows[i].next - r->flows[i].unique;
	printf("{\"received\": %llu, \"lost\": %llu, \"duplicated\": %llu, \"reordered\": %llu, \"longest_gap_ms\": %.2f}\n",
	       (unsigned long long)r->n_received, (unsigned long long)lost,
	       (unsigned long long)r->n_duplicated, (unsigned long long)r->n_reordered,
	       (double)r->longest_gap_ns / NS_PER_MS);
}

static int receiver_socket(const struct options *o)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)o->port) };
	int size = 64 << 20;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)))
		return -errno;
	return bind(fd, (struct sockaddr *)&any, sizeof(any)) ? -errno : fd;
}

static void receive_batch(struct receiver *r, int fd)
{
	static char buf[BATCH][FRAME_MAX];
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	int n;

	memset(msgs, 0, sizeof(msgs));
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ buf[i], FRAME_MAX };
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(fd, msgs, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		receive_one(r, buf[i], msgs[i].msg_len, clock_mono_ns());
}

static int run_recv(const struct options *o)
{
	static struct receiver r;
	int fd CLEANUP(close_fdp) = receiver_socket(o);
	int64_t end = clock_mono_ns() + SECONDS_MAX * NS_PER_S;

	if (fd < 0) {
		fprintf(stderr, "stream: cannot listen on UDP port %llu: %s\n",
			(unsigned long long)o->port, strerror(-fd));
		return 1;
	}
	if (o->ready_file)
		close(open(o->ready_file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	while (!stopping && clock_mono_ns() < end) {
		struct pollfd p = { fd, POLLIN, 0 };
		int rc = poll(&p, 1, (int)o->idle_ms);

		if (rc > 0)
			receive_batch(&r, fd);
		else if (rc == 0 && r.n_received)
			break;
	}
	receiver_report(&r);
	return 0;
}

/* ---- options ---- */

static int number(const char *name, const char *text, uint64_t max, uint64_t *ret)
{
	if (str_to_u64(str_of(text), max, ret) == 0)
		return 0;
	fprintf(stderr, "stream: --%s takes a whole number up to %llu, not \"%s\"\n", name,
		(unsigned long long)max, text);
	return -EINVAL;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "to", 1, NULL, 't' },	     { "port", 1, NULL, 'p' },
		{ "rate", 1, NULL, 'r' },    { "seconds", 1, NULL, 's' },
		{ "size", 1, NULL, 'z' },    { "flows", 1, NULL, 'f' },
		{ "idle-ms", 1, NULL, 'i' }, { "ready-file", 1, NULL, 'd' },
		{ NULL, 0, NULL, 0 }
	};
	static const struct {
		int key;
		const char *name;
		uint64_t max;
		size_t at;
	} numbers[] = {
		{ 'p', "port", 65535, offsetof(struct options, port) },
		{ 'r', "rate", RATE_MAX, offsetof(struct options, rate) },
		{ 's', "seconds", SECONDS_MAX, offsetof(struct options, seconds) },
		{ 'z', "size", FRAME_MAX, offsetof(struct options, size) },
		{ 'f', "flows", FLOWS_MAX, offsetof(struct options, flows) },
		{ 'i', "idle-ms", 600000, offsetof(struct options, idle_ms) },
	};

	*o = (struct options){
		.port = 5201, .rate = 50000, .seconds = 10, .size = 64, .flows = 1, .idle_ms = 1500
	};
	for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (c == '?')
			return -EINVAL;
		if (c == 't' && inet_pton(AF_INET, optarg, &o->to.sin_addr) != 1) {
			fprintf(stderr, "stream: --to takes an IPv4 address, not \"%s\"\n", optarg);
			return -EINVAL;
		}
		if (c == 'd')
			o->ready_file = optarg;
		for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
			if (numbers[i].key == c && number(numbers[i].name, optarg, numbers[i].max,
							  (uint64_t *)((char *)o + numbers[i].at)))
				return -EINVAL;
	}
	o->size = MAX_OF(o->size, sizeof(struct packet));
	o->flows = MAX_OF(o->flows, (uint64_t)1);
	o->to.sin_family = AF_INET;
	o->to.sin_port = htons((uint16_t)o->port);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct options o;

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	if (argc < 2 || parse(argc - 1, argv + 1, &o)) {
		fprintf(stderr,
			"usage: stream send --to ADDR [--port P] [--rate PPS] [--seconds S] [--size BYTES] [--flows N]\n"
			"       stream recv [--port P] [--idle-ms MS] [--ready-file FILE]\n");
		return 2;
	}
	if (strcmp(argv[1], "send") == 0)
		return run_send(&o);
	if (strcmp(argv[1], "recv") == 0)
		return run_recv(&o);
	fprintf(stderr, "stream: \"%s\" is neither send nor recv\n", argv[1]);
	return 2;
}
