/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Very many nodes without functions in one process, for tests of the hub's front door: TLS, WebSocket, hello, heartbeats, intents
 * acknowledged at once. What the nodes do with an intent is not here (demarc-sim has it); what they cost the hub is the same.
 *
 *   many-nodes CA CA_KEY PORT N                certificates for N nodes are made at start, ids are 00000000-0000-4000-8000-<i>
 *     MANY_NODES_RESUME set: with session tickets; MANY_NODES_BARE set: up after the handshake
 *     in:  connect RATE | drop | steady SECONDS | wait REVISION | fetch BYTES IMAGE | quit    RATE: new attempts a second, 0: all at once
 *     out: up N SECONDS ATTEMPTS CPU_S | dropped N SECONDS | steady N PINGS P99_US | acked N FIRST_S LAST_S |
 *          half, then fetched N FIRST_S LAST_S SHA256 BYTES      FIRST_S: of the first node that has the whole image; BYTES: that came
 *   many-nodes bare CERT KEY CA PORT THREADS   a server that does the mutual handshakes and nothing else; its CPU at the end
 *
 * One thread, epoll; 127.0.0.1 to 127.0.0.50 by turns as source, so that ports do not run out.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/types.h"
#include "link/backoff.h"
#include "link/frame.h"
#include "link/link.h"
#include "link/wsc.h"

#define SOURCES 50u
#define DIAL_MS 30000
#define CHUNK_BYTES (64u << 10) /* as the agent asks for them */
#define CHUNKS_AHEAD 8

enum state { WAITING, CONNECTING, TLS, UPGRADING, HELLO, UP };

struct node {
	unsigned index;
	enum state state;
	int fd;
	SSL *ssl;
	SSL_SESSION *session;
	X509 *cert;
	char key[WSC_KEY_SIZE];
	struct wsc_reader reader;
	struct strbuf in, out;
	struct backoff backoff;
	int64_t at_ns, since_ns, ping_ns, next_ping_ns; /* at: of the next attempt */
	uint32_t heartbeat_ms;
	uint64_t revision;
	uint64_t have, asked; /* bytes of the image */
	EVP_MD_CTX *md;
};

static struct {
	int epoll, port;
	SSL_CTX *ctx;
	EVP_PKEY *key;
	X509 *ca;
	struct node *nodes;
	unsigned n, n_up, n_acked;
	uint64_t n_attempts, n_pings;
	uint64_t want_revision;
	int64_t first_ack_ns, last_ack_ns;
	uint32_t *pong_us;
	size_t n_pongs;
	bool active, resume, bare;
	const char *image_id; /* that is being fetched, or NULL */
	uint64_t image_bytes, n_received;
	unsigned n_fetched;
	int64_t first_fetched_ns, last_fetched_ns;
	unsigned char sha256[32];
} all;

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what)
{
	fprintf(stderr, "many-nodes: %s: %s\n", what, strerror(errno));
	ERR_print_errors_fp(stderr);
	exit(1);
}

static unsigned number_of(const char *text)
{
	uint64_t n;

	if (str_to_u64(str_of(text), 1u << 20, &n) < 0)
		die(text);
	return (unsigned)n;
}

/* ---- certificates ---- */

static void node_id(unsigned i, char ret[static 40])
{
	snprintf(ret, 40, "00000000-0000-4000-8000-%012x", i);
}

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	if (!x || X509_add_ext(cert, x, -1) != 1)
		die("extension");
	X509_EXTENSION_free(x);
}

static X509 *make_cert(unsigned i, EVP_PKEY *ca_key)
{
	X509 *cert = X509_new();
	char id[40];

	node_id(i, id);
	if (!cert || X509_set_version(cert, 2) != 1)
		die("certificate");
	ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)i + 1000000);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
				   (const unsigned char *)id, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(all.ca));
	X509_set_pubkey(cert, all.key);
	add_extension(cert, NID_basic_constraints, "critical,CA:FALSE");
	add_extension(cert, NID_key_usage, "critical,digitalSignature");
	add_extension(cert, NID_ext_key_usage, "clientAuth");
	if (X509_sign(cert, ca_key, EVP_sha256()) == 0)
		die("sign");
	return cert;
}

static void load_ca(const char *cert_file, const char *key_file, EVP_PKEY **ret_key)
{
	FILE *c = fopen(cert_file, "re"), *k = fopen(key_file, "re");

	all.ca = c ? PEM_read_X509(c, NULL, NULL, NULL) : NULL;
	*ret_key = k ? PEM_read_PrivateKey(k, NULL, NULL, NULL) : NULL;
	if (!all.ca || !*ret_key)
		die("CA");
	fclose(c);
	fclose(k);
}

static int on_session(SSL *ssl, SSL_SESSION *s)
{
	struct node *n = SSL_get_app_data(ssl);

	SSL_SESSION_free(n->session);
	n->session = SSL_SESSION_dup(s); /* the library spoils that of a connection that is just closed */
	return 0;
}

static void make_nodes(const char *ca, const char *ca_key_file, unsigned n)
{
	static const unsigned char alpn[] = "\x08http/1.1\x0b" LINK_PROTOCOL;
	EVP_PKEY *ca_key;

	load_ca(ca, ca_key_file, &ca_key);
	all.key = EVP_EC_gen("P-256");
	all.ctx = SSL_CTX_new(TLS_client_method());
	all.nodes = calloc(n, sizeof(*all.nodes));
	all.n = n;
	if (!all.key || !all.ctx || !all.nodes)
		die("memory");
	SSL_CTX_set_min_proto_version(all.ctx, TLS1_3_VERSION);
	SSL_CTX_set_mode(all.ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_alpn_protos(all.ctx, alpn, sizeof(alpn) - 1);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(all.ctx), all.ca);
	SSL_CTX_set_verify(all.ctx, SSL_VERIFY_PEER, NULL);
	if (all.resume) {
		SSL_CTX_set_session_cache_mode(all.ctx, SSL_SESS_CACHE_CLIENT |
								SSL_SESS_CACHE_NO_INTERNAL_STORE);
		SSL_CTX_sess_set_new_cb(all.ctx, on_session);
	}
	for (unsigned i = 0; i < n; i++) {
		all.nodes[i] = (struct node){ .index = i, .fd = -1 };
		all.nodes[i].cert = make_cert(i, ca_key);
	}
	EVP_PKEY_free(ca_key);
}

/* ---- one node ---- */

static void lost(struct node *n, uint32_t retry_ms)
{
	uint32_t random;

	if (n->state == UP)
		all.n_up--;
	if (n->ssl)
		SSL_free(n->ssl);
	n->ssl = NULL;
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
	wsc_reader_done(&n->reader);
	strbuf_done(&n->in);
	strbuf_done(&n->out);
	n->state = WAITING;
	random_bytes(&random, sizeof(random));
	n->at_ns = clock_mono_ns() + (int64_t)backoff_next_ms(&n->backoff, random, retry_ms) * NS_PER_MS;
}

static void watch(const struct node *n, bool out)
{
	struct epoll_event ev = { .events = EPOLLIN | (out ? EPOLLOUT : 0u), .data.u32 = n->index };

	if (epoll_ctl(all.epoll, EPOLL_CTL_MOD, n->fd, &ev) < 0)
		die("epoll");
}

static void dial(struct node *n)
{
	struct sockaddr_in from = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK + n->index % SOURCES) },
			   to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)all.port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.u32 = n->index };
	int on = 1;

	all.n_attempts++;
	n->since_ns = clock_mono_ns();
	n->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (n->fd < 0)
		die("socket");
	setsockopt(n->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(n->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		die("bind");
	if (connect(n->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		lost(n, 0);
		return;
	}
	n->state = CONNECTING;
	if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, n->fd, &ev) < 0)
		die("epoll");
}

static void start_tls(struct node *n)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
		lost(n, 0);
		return;
	}
	n->ssl = SSL_new(all.ctx);
	if (!n->ssl || SSL_set_fd(n->ssl, n->fd) != 1 ||
	    SSL_use_certificate(n->ssl, n->cert) != 1 || SSL_use_PrivateKey(n->ssl, all.key) != 1)
		die("TLS");
	SSL_set_app_data(n->ssl, n);
	SSL_set_connect_state(n->ssl);
	if (n->session)
		SSL_set_session(n->ssl, n->session);
	n->state = TLS;
}

/* A hub that is busy says so in the clear, before it spends anything on TLS. */
static uint32_t plain_retry_ms(const struct node *n)
{
	char text[512];
	ssize_t size = recv(n->fd, text, sizeof(text), MSG_PEEK | MSG_DONTWAIT);

	return size > 0 ? wsc_retry_after_ms((struct str){ text, (size_t)size }) : 0;
}

static void send_all(struct node *n)
{
	size_t done = 0;

	while (done < n->out.len) {
		int rc = SSL_write(n->ssl, n->out.ptr + done, (int)(n->out.len - done));
		if (rc <= 0)
			break;
		done += (size_t)rc;
	}
	memmove(n->out.ptr, n->out.ptr + done, n->out.len - done);
	n->out.len -= done;
	watch(n, n->out.len > 0);
	if (!n->out.len)
		strbuf_done(&n->out);
}

static void send_frame(struct node *n, const Demarc__V1__Frame *f)
{
	CLEANUP(free_voidp) uint8_t *data = NULL;
	size_t size;

	if (frame_encode(f, &data, &size) < 0)
		die("frame");
	wsc_frame_add(&n->out, WSC_BINARY, data, size);
	send_all(n);
}

static void say_hello(struct node *n)
{
	static char release[] = "many", boot[] = "boot", host[] = "host", runtime[] = "none",
		    nic[] = "lan", kernel[] = "6.1.0", digest[] = "";
	char *nics[] = { nic }, id[40];
	Demarc__V1__Inventory inventory = DEMARC__V1__INVENTORY__INIT;
	Demarc__V1__NodeHello hello = DEMARC__V1__NODE_HELLO__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	node_id(n->index, id);
	inventory.hostname = host;
	inventory.vcpus = 4;
	inventory.memory_mb = 4096;
	inventory.disk_gb = 100;
	inventory.nics = nics;
	inventory.n_nics = 1;
	inventory.kernel = kernel;
	inventory.container_runtime = runtime;
	hello.node_id = id;
	hello.release = release;
	hello.boot_id = boot;
	hello.run_id = boot;
	hello.intent_digest = digest;
	hello.intent_revision = n->revision;
	hello.inventory = &inventory;
	f.body_case = DEMARC__V1__FRAME__BODY_NODE_HELLO;
	f.node_hello = &hello;
	send_frame(n, &f);
	n->state = HELLO;
}

/* ---- an image ---- */

static void ask_more(struct node *n)
{
	Demarc__V1__ChunkRequest r = DEMARC__V1__CHUNK_REQUEST__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	r.image_id = (char *)(uintptr_t)all.image_id;
	f.body_case = DEMARC__V1__FRAME__BODY_CHUNK_REQUEST;
	f.chunk_request = &r;
	while (n->asked < all.image_bytes && n->asked < n->have + CHUNKS_AHEAD * CHUNK_BYTES) {
		r.offset = n->asked;
		r.size = (uint32_t)MIN_OF((uint64_t)CHUNK_BYTES, all.image_bytes - n->asked);
		n->asked += r.size;
		send_frame(n, &f);
	}
}

static void fetched(struct node *n)
{
	unsigned char sum[32];

	EVP_DigestFinal_ex(n->md, sum, NULL);
	EVP_MD_CTX_free(n->md);
	n->md = NULL;
	all.last_fetched_ns = clock_mono_ns();
	if (all.n_fetched++ == 0) {
		all.first_fetched_ns = all.last_fetched_ns;
		memcpy(all.sha256, sum, sizeof(sum));
	}
	if (memcmp(all.sha256, sum, sizeof(sum)) != 0)
		die("two nodes got different images");
}

static void take_chunk(struct node *n, const Demarc__V1__Chunk *c)
{
	const uint64_t half = all.n * all.image_bytes / 2;

	if (*c->error)
		die(c->error);
	if (all.n_received < half && all.n_received + c->data.len >= half)
		printf("half\n");
	all.n_received += c->data.len;
	if (!n->md || c->offset != n->have) /* asked for before the connection was lost */
		return;
	EVP_DigestUpdate(n->md, c->data.data, c->data.len);
	n->have += c->data.len;
	if (n->have == all.image_bytes)
		fetched(n);
	else
		ask_more(n);
}

static void take_hello(struct node *n, const Demarc__V1__HubHello *h)
{
	int64_t now = clock_mono_ns();

	if (n->state != HELLO)
		return;
	n->state = UP;
	all.n_up++;
	backoff_reset(&n->backoff);
	n->heartbeat_ms = h->heartbeat_ms;
	n->next_ping_ns = now + (int64_t)n->heartbeat_ms * NS_PER_MS;
	n->asked = n->have;
	if (n->md) /* goes on where it stopped */
		ask_more(n);
}

static void take_intent(struct node *n, const Demarc__V1__Intent *i)
{
	Demarc__V1__IntentAck ack = DEMARC__V1__INTENT_ACK__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	int64_t now = clock_mono_ns();

	if (i->more)
		return;
	if (n->revision < all.want_revision && i->revision >= all.want_revision) {
		all.n_acked++;
		all.last_ack_ns = now;
		if (!all.first_ack_ns)
			all.first_ack_ns = now;
	}
	n->revision = i->revision;
	ack.revision = i->revision;
	f.body_case = DEMARC__V1__FRAME__BODY_INTENT_ACK;
	f.intent_ack = &ack;
	send_frame(n, &f);
}

/* Returns false when the connection is gone. */
static bool take_frame(struct node *n, struct str bytes)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *f = NULL;
	struct err e;

	if (frame_decode(FRAME_FROM_HUB, bytes.ptr, bytes.len, &f, &e) < 0)
		die(e.msg);
	if (f->body_case == DEMARC__V1__FRAME__BODY_HUB_HELLO) {
		take_hello(n, f->hub_hello);
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_INTENT) {
		take_intent(n, f->intent);
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_CHUNK) {
		take_chunk(n, f->chunk);
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_GOODBYE) {
		lost(n, f->goodbye->retry_after_ms);
		return false;
	} else if (f->body_case == DEMARC__V1__FRAME__BODY_PONG && all.pong_us) {
		all.pong_us[all.n_pongs++ % (1u << 20)] =
			(uint32_t)((clock_mono_ns() - n->ping_ns) / NS_PER_US);
	}
	return true;
}

static void take_bytes(struct node *n)
{
	struct str rest = { n->in.ptr, n->in.len }, payload;
	enum wsc_event ev;

	if (n->state == UPGRADING) {
		const char *end = memmem(rest.ptr, rest.len, "\r\n\r\n", 4);
		struct err e;
		if (!end)
			return;
		size_t size = (size_t)(end + 4 - rest.ptr);
		if (wsc_check_answer((struct str){ rest.ptr, size }, n->key, LINK_PROTOCOL, &e) < 0) {
			lost(n, wsc_retry_after_ms((struct str){ rest.ptr, size }));
			return;
		}
		rest = (struct str){ rest.ptr + size, rest.len - size };
		wsc_reader_init(&n->reader, LINK_FRAME_MAX);
		say_hello(n);
	}
	do {
		ev = wsc_reader_next(&n->reader, &rest, &payload);
		if (ev == WSC_EV_CLOSE || ev == WSC_EV_ERROR) {
			lost(n, 0);
			return;
		}
		if (ev == WSC_EV_MESSAGE && !take_frame(n, payload))
			return;
	} while (ev != WSC_EV_MORE);
	strbuf_done(&n->in);
}

static void upgrade(struct node *n)
{
	static const struct url u = { .host = "127.0.0.1", .port = "443" };

	wsc_request(&n->out, &u, LINK_PATH, LINK_PROTOCOL, n->key);
	n->state = UPGRADING;
	send_all(n);
}

static void handshake(struct node *n)
{
	uint32_t retry_ms = SSL_get_state(n->ssl) == TLS_ST_CW_CLNT_HELLO ? plain_retry_ms(n) : 0;
	int rc;

	if (retry_ms) {
		lost(n, retry_ms);
		return;
	}
	ERR_clear_error();
	rc = SSL_do_handshake(n->ssl);
	if (rc == 1 && all.bare) {
		n->state = UP;
		all.n_up++;
		watch(n, false);
		return;
	}
	if (rc == 1) {
		upgrade(n);
		return;
	}
	rc = SSL_get_error(n->ssl, rc);
	if (rc == SSL_ERROR_WANT_READ || rc == SSL_ERROR_WANT_WRITE)
		watch(n, rc == SSL_ERROR_WANT_WRITE);
	else
		lost(n, 0);
}

static void read_all(struct node *n)
{
	char buf[16384];
	int rc = 0;

	ERR_clear_error();
	while (n->fd >= 0 && (rc = SSL_read(n->ssl, buf, sizeof(buf))) > 0) {
		strbuf_add(&n->in, buf, (size_t)rc);
		take_bytes(n);
	}
	if (n->fd < 0)
		return;
	rc = SSL_get_error(n->ssl, rc);
	if (rc != SSL_ERROR_WANT_READ && rc != SSL_ERROR_WANT_WRITE)
		lost(n, 0);
}

static void on_event(struct node *n, uint32_t events)
{
	if (n->fd < 0)
		return;
	if (n->state == CONNECTING)
		start_tls(n);
	if (n->state == TLS)
		handshake(n);
	else if (n->state > TLS && (events & EPOLLOUT) && n->out.len)
		send_all(n);
	if (n->state > TLS && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		read_all(n);
}

static void ping(struct node *n, int64_t now)
{
	Demarc__V1__Ping p = DEMARC__V1__PING__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	f.body_case = DEMARC__V1__FRAME__BODY_PING;
	f.ping = &p;
	n->ping_ns = now;
	n->next_ping_ns = now + (int64_t)n->heartbeat_ms * NS_PER_MS;
	all.n_pings++;
	send_frame(n, &f);
}

static void tick(void)
{
	int64_t now = clock_mono_ns();

	for (unsigned i = 0; i < all.n; i++) {
		struct node *n = &all.nodes[i];

		if (n->state == WAITING && all.active && now >= n->at_ns)
			dial(n);
		else if (n->state == UP && n->heartbeat_ms && now >= n->next_ping_ns)
			ping(n, now);
		else if (n->state != WAITING && n->state != UP && now - n->since_ns > DIAL_MS * NS_PER_MS)
			lost(n, 0);
	}
}

static void step(int timeout_ms)
{
	static int64_t ticked_ns;
	struct epoll_event evs[256];
	int n = epoll_wait(all.epoll, evs, ARRAY_LEN(evs), timeout_ms);

	for (int i = 0; i < n; i++)
		on_event(&all.nodes[evs[i].data.u32], evs[i].events);
	if (clock_mono_ns() - ticked_ns < 10 * NS_PER_MS)
		return;
	ticked_ns = clock_mono_ns();
	tick();
}

/* ---- commands ---- */

static double since(int64_t ns)
{
	return (double)(clock_mono_ns() - ns) / 1e9;
}

static void do_connect(uint64_t rate)
{
	int64_t start = clock_mono_ns(), said = start;
	double cpu = cpu_s();

	all.active = true;
	all.n_attempts = 0;
	for (unsigned i = 0; i < all.n; i++)
		all.nodes[i].at_ns = start + (rate ? (int64_t)(NS_PER_S / (int64_t)rate) * i : 0);
	while (all.n_up < all.n) {
		step(10);
		if (clock_mono_ns() - said > 5 * NS_PER_S) {
			said = clock_mono_ns();
			fprintf(stderr, "many-nodes: %u up after %.1f s\n", all.n_up, since(start));
		}
	}
	printf("up %u %.3f %llu %.2f\n", all.n_up, since(start), (unsigned long long)all.n_attempts,
	       cpu_s() - cpu);
}

static void do_drop(void)
{
	int64_t start = clock_mono_ns();

	all.active = false;
	for (unsigned i = 0; i < all.n; i++)
		if (all.nodes[i].state != WAITING)
			lost(&all.nodes[i], 0);
	printf("dropped %u %.3f\n", all.n, since(start));
}

static int u32_cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void do_steady(uint64_t seconds)
{
	int64_t start = clock_mono_ns();
	size_t n;

	all.n_pings = 0;
	all.n_pongs = 0;
	all.pong_us = calloc(1u << 20, sizeof(uint32_t));
	while (since(start) < (double)seconds)
		step(5);
	n = MIN_OF(all.n_pongs, (size_t)1 << 20);
	if (n)
		qsort(all.pong_us, n, sizeof(uint32_t), u32_cmp);
	printf("steady %u %llu %u\n", all.n_up, (unsigned long long)all.n_pings,
	       n ? all.pong_us[n * 99 / 100] : 0);
	free(all.pong_us);
	all.pong_us = NULL;
}

static void do_wait(uint64_t revision)
{
	int64_t start = clock_mono_ns();

	all.want_revision = revision;
	all.n_acked = 0;
	all.first_ack_ns = all.last_ack_ns = 0;
	for (unsigned i = 0; i < all.n; i++)
		all.n_acked += all.nodes[i].revision >= revision;
	while (all.n_acked < all.n)
		step(5);
	printf("acked %u %.3f %.3f\n", all.n_acked, (double)(all.first_ack_ns - start) / 1e9,
	       (double)(all.last_ack_ns - start) / 1e9);
}

static void do_fetch(struct str words)
{
	int64_t start = clock_mono_ns();
	struct str image, bytes = str_cut(words, ' ', &image);
	char id[40], hex[65];

	if (str_copy(id, sizeof(id), image) < 0 || str_to_u64(bytes, UINT64_MAX, &all.image_bytes) < 0)
		die("fetch");
	all.image_id = id;
	all.n_fetched = 0;
	all.n_received = 0;
	for (unsigned i = 0; i < all.n; i++) {
		struct node *n = &all.nodes[i];

		n->have = n->asked = 0;
		n->md = EVP_MD_CTX_new();
		EVP_DigestInit_ex(n->md, EVP_sha256(), NULL);
		if (n->state == UP)
			ask_more(n);
	}
	while (all.n_fetched < all.n)
		step(5);
	hex_of(all.sha256, sizeof(all.sha256), hex);
	printf("fetched %u %.3f %.3f %s %llu\n", all.n_fetched,
	       (double)(all.first_fetched_ns - start) / 1e9,
	       (double)(all.last_fetched_ns - start) / 1e9, hex, (unsigned long long)all.n_received);
	all.image_id = NULL;
}

static bool do_line(char *text)
{
	struct str rest, word = str_cut((struct str){ text, strcspn(text, "\n") }, ' ', &rest);
	uint64_t number = 0;

	if (str_eq_c(word, "fetch")) {
		do_fetch(rest);
		return true;
	}
	if (rest.len && str_to_u64(rest, UINT64_MAX, &number) < 0)
		return false;
	if (str_eq_c(word, "connect"))
		do_connect(number);
	else if (str_eq_c(word, "drop"))
		do_drop();
	else if (str_eq_c(word, "steady"))
		do_steady(number);
	else if (str_eq_c(word, "wait"))
		do_wait(number);
	else
		return false;
	return true;
}

static int run_nodes(char **argv)
{
	char text[128];
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	all.resume = getenv("MANY_NODES_RESUME") != NULL;
	all.bare = getenv("MANY_NODES_BARE") != NULL;
	all.port = (int)number_of(argv[3]);
	all.epoll = epoll_create1(EPOLL_CLOEXEC);
	make_nodes(argv[1], argv[2], number_of(argv[4]));
	printf("ready\n");
	for (;;) { /* the nodes live on between commands */
		while (poll(&input, 1, 0) == 0)
			step(5);
		if (!fgets(text, sizeof(text), stdin) || !do_line(text))
			return 0;
	}
}

/* ---- the bare server ---- */

static SSL_CTX *bare_ctx;
static int bare_port;

static int bare_listen(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)bare_port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 65535) < 0)
		die("listen");
	return fd;
}

static void bare_accept(int ep, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	SSL *ssl = fd < 0 ? NULL : SSL_new(bare_ctx);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = ssl };

	if (fd < 0)
		return;
	if (!ssl || SSL_set_fd(ssl, fd) != 1)
		die("TLS");
	SSL_set_accept_state(ssl);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

/* A client that goes takes its connection along; what it says is not read by anybody. */
static void bare_step(SSL *ssl)
{
	char bytes[64];
	int rc;

	ERR_clear_error();
	rc = SSL_is_init_finished(ssl) ? SSL_read(ssl, bytes, sizeof(bytes)) : SSL_do_handshake(ssl);
	if (rc > 0 || SSL_get_error(ssl, rc) == SSL_ERROR_WANT_READ)
		return;
	close(SSL_get_fd(ssl));
	SSL_free(ssl);
}

static void *bare_main(void *arg)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), listener = bare_listen();
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL }, evs[64];

	epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
	for (;;) {
		int n = epoll_wait(ep, evs, ARRAY_LEN(evs), -1);
		for (int i = 0; i < n; i++) {
			if (evs[i].data.ptr)
				bare_step(evs[i].data.ptr);
			else
				bare_accept(ep, listener);
		}
	}
	return arg;
}

static int run_bare(char **argv)
{
	unsigned n = number_of(argv[6]);
	char text[16];

	bare_port = (int)number_of(argv[5]);
	bare_ctx = SSL_CTX_new(TLS_server_method());
	if (!bare_ctx || SSL_CTX_use_certificate_chain_file(bare_ctx, argv[2]) != 1 ||
	    SSL_CTX_use_PrivateKey_file(bare_ctx, argv[3], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_load_verify_locations(bare_ctx, argv[4], NULL) != 1)
		die("TLS");
	SSL_CTX_set_verify(bare_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_mode(bare_ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_num_tickets(bare_ctx, 1);
	SSL_CTX_set_session_id_context(bare_ctx, (const unsigned char *)"b", 1);
	SSL_CTX_set_session_cache_mode(bare_ctx, SSL_SESS_CACHE_OFF);
	for (unsigned i = 0; i < n; i++) {
		pthread_t t;
		if (pthread_create(&t, NULL, bare_main, NULL))
			die("thread");
	}
	printf("ready\n");
	while (fgets(text, sizeof(text), stdin))
		printf("cpu %.2f\n", cpu_s());
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 7 && strcmp(argv[1], "bare") == 0)
		return run_bare(argv);
	if (argc == 5)
		return run_nodes(argv);
	fprintf(stderr,
		"usage: many-nodes CA CA_KEY PORT N | many-nodes bare CERT KEY CA PORT THREADS\n");
	return 64;
}
