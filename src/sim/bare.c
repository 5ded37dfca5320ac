/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "http/pki.h"
#include "link/dial.h"
#include "sim/sim.h"

/*
 * The physical limit: mutual TLS 1.3 handshakes and nothing else, of the same client code, with certificates of the same kind, between
 * as many processes as there are processors. Nothing is sent after the handshake, no frame, no row, no timer.
 */

#define AT_ONCE 64
#define HANDSHAKE_S 120

struct bare {
	char ca[300], ca_key[300], cert[300], key[300], node_key[300], scratch[256];
	char *node_pem, *node_key_pem, *ca_pem;
	int listen_fd, port;
	unsigned n_cpus;
};

/* ---- certificates ---- */

static void paths(struct bare *b, const char *dir)
{
	(void)snprintf(b->scratch, sizeof(b->scratch), "%.200s", dir);
	(void)snprintf(b->ca, sizeof(b->ca), "%s/bare-ca.crt", b->scratch);
	(void)snprintf(b->ca_key, sizeof(b->ca_key), "%s/bare-ca.key", b->scratch);
	(void)snprintf(b->cert, sizeof(b->cert), "%s/bare.crt", b->scratch);
	(void)snprintf(b->key, sizeof(b->key), "%s/bare.key", b->scratch);
	(void)snprintf(b->node_key, sizeof(b->node_key), "%s/bare-node.key", b->scratch);
}

static int make_certs(struct bare *b, struct err *e)
{
	static const char *const names[] = { "DNS:localhost" };
	CLEANUP(free_charp) char *csr = NULL;
	char serial[48];
	size_t size;
	int rc = pki_make_ca(b->ca, b->ca_key, "bare", 2, e);

	if (rc == 0)
		rc = pki_make_server(b->ca, b->ca_key, b->cert, b->key, names, 1, 2, e);
	if (rc == 0)
		rc = pki_make_csr(b->node_key, "node", &csr, e);
	if (rc == 0)
		rc = pki_sign_client(b->ca, b->ca_key, str_of(csr), "node", 2, &b->node_pem, serial, e);
	if (rc == 0)
		rc = file_read(b->node_key, 16384, &b->node_key_pem, &size, e);
	if (rc == 0)
		rc = file_read(b->ca, 16384, &b->ca_pem, &size, e);
	return rc;
}

/* ---- the server: poll(2) is enough for AT_ONCE connections of each client process ---- */

#define SERVED_MAX 1024

struct served {
	SSL *ssl[SERVED_MAX];
	struct pollfd p[SERVED_MAX + 1];
	size_t n;
};

static SSL_CTX *server_ctx(const struct bare *b)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_use_certificate_chain_file(ctx, b->cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, b->key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_load_verify_locations(ctx, b->ca, NULL) != 1)
		_exit(1);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_num_tickets(ctx, 0);
	return ctx;
}

static void take_new(struct served *v, SSL_CTX *ctx, int listen_fd)
{
	int fd;

	while (v->n < SERVED_MAX && (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		SSL *ssl = SSL_new(ctx);

		if (!ssl || SSL_set_fd(ssl, fd) != 1)
			_exit(1);
		v->ssl[v->n] = ssl;
		v->p[++v->n] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
}

/* True when it is over: the client has gone after its handshake, or failed. */
static bool serve_one(SSL *ssl)
{
	char byte;
	int n, why;

	if (!SSL_is_init_finished(ssl) && (n = SSL_accept(ssl)) != 1) {
		why = SSL_get_error(ssl, n);
		return why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
	}
	n = SSL_read(ssl, &byte, 1);
	return n > 0 || SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ;
}

static _Noreturn void server_main(const struct bare *b)
{
	SSL_CTX *ctx = server_ctx(b);
	struct served *v = calloc(1, sizeof(*v));

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!v)
		_exit(1);
	for (;;) {
		v->p[0] = (struct pollfd){ .fd = b->listen_fd,
					   .events = v->n < SERVED_MAX ? POLLIN : 0 };
		if (poll(v->p, v->n + 1, -1) < 0 && errno != EINTR)
			_exit(1);
		if (v->p[0].revents)
			take_new(v, ctx, b->listen_fd);
		for (size_t i = 0; i < v->n;) {
			if (!v->p[i + 1].revents || !serve_one(v->ssl[i])) {
				i++;
				continue;
			}
			ERR_clear_error();
			(void)close(v->p[i + 1].fd);
			SSL_free(v->ssl[i]);
			v->ssl[i] = v->ssl[--v->n];
			v->p[i + 1] = v->p[v->n + 1];
		}
	}
}

static int open_port(struct bare *b, struct err *e)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);

	b->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (b->listen_fd < 0 || bind(b->listen_fd, (struct sockaddr *)&a, size) < 0 ||
	    listen(b->listen_fd, 4096) < 0 ||
	    getsockname(b->listen_fd, (struct sockaddr *)&a, &size) < 0)
		return err_errno(e, errno, "a port for bare handshakes");
	b->port = ntohs(a.sin_port);
	return 0;
}

/* ---- the client ---- */

static int dial_one(const struct bare *b, struct dial_tls *t, unsigned i, struct dial **ret)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)b->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
			   from = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(0x7f020100u + i % 250) };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)) {
		(void)close(fd);
		return -errno;
	}
	return dial_begin(t, fd, ret, NULL);
}

static _Noreturn void client_main(const struct bare *b, unsigned n)
{
	struct dial_config c = { str_of(b->ca_pem), str_of(b->node_pem), str_of(b->node_key_pem), NULL };
	struct url u = { .host = "localhost", .port = "1" };
	struct dial *d[AT_ONCE] = { 0 };
	struct pollfd p[AT_ONCE];
	struct dial_tls *t = NULL;
	unsigned begun = 0, done = 0;
	struct err e = { 0 };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dial_tls_new(&c, &t, &e) < 0)
		_exit(1);
	while (done < n) {
		for (size_t i = 0; i < AT_ONCE; i++) {
			if (!d[i] && begun < n && dial_one(b, t, begun++, &d[i]) < 0)
				_exit(1);
			p[i] = (struct pollfd){ .fd = d[i] ? dial_fd(d[i]) : -1,
						.events = d[i] ? dial_wants(d[i]) : 0 };
		}
		(void)poll(p, AT_ONCE, 1000);
		for (size_t i = 0; i < AT_ONCE; i++) {
			int rc = d[i] && p[i].revents ? dial_step(d[i], &u, &e) : 0;

			if (rc < 0)
				_exit(1);
			if (rc == 0)
				continue;
			dial_close(MOVE_PTR(d[i]));
			done++;
		}
	}
	_exit(0);
}

/* ---- together ---- */

static int wait_clients(const pid_t *pids, unsigned n, struct err *e)
{
	int64_t until = clock_mono_ns() + HANDSHAKE_S * NS_PER_S;
	int failed = 0;

	for (unsigned i = 0; i < n; i++) {
		int status = 0;

		while (waitpid(pids[i], &status, WNOHANG) == 0) {
			if (clock_mono_ns() > until || sim_interrupted)
				(void)kill(pids[i], SIGKILL);
			sim_pause_us(1000);
		}
		failed |= status;
	}
	return failed ? err_set(e, FAULT_INTERNAL, NULL, "bare handshakes failed") : 0;
}

static int measure(struct bare *b, unsigned n, double *ret_s, double *ret_cpu_s, struct err *e)
{
	pid_t servers[SIM_WORKERS_MAX], clients[SIM_WORKERS_MAX];
	int64_t t0 = clock_mono_ns();
	int rc;

	for (unsigned i = 0; i < b->n_cpus; i++) {
		servers[i] = fork();
		if (servers[i] == 0)
			server_main(b);
	}
	for (unsigned i = 0; i < b->n_cpus; i++) {
		clients[i] = fork();
		if (clients[i] == 0)
			client_main(b, n / b->n_cpus + (i < n % b->n_cpus));
	}
	rc = wait_clients(clients, b->n_cpus, e);
	*ret_s = (double)(clock_mono_ns() - t0) / 1e9;
	*ret_cpu_s = 0;
	for (unsigned i = 0; i < b->n_cpus; i++) {
		*ret_cpu_s += process_cost(servers[i]).cpu_s;
		(void)kill(servers[i], SIGKILL);
		(void)waitpid(servers[i], NULL, 0);
	}
	return rc;
}

int bare_handshakes(struct sim *s, unsigned n, double *ret_s, double *ret_cpu_s, struct err *e)
{
	struct bare b = { .listen_fd = -1 };
	int rc;

	b.n_cpus = MIN_OF((unsigned)sysconf(_SC_NPROCESSORS_ONLN), SIM_WORKERS_MAX);
	paths(&b, s->o.scratch);
	rc = make_certs(&b, e);
	if (rc == 0)
		rc = open_port(&b, e);
	if (rc == 0)
		rc = measure(&b, n, ret_s, ret_cpu_s, e);
	close_fdp(&b.listen_fd);
	free(b.node_pem);
	free(b.node_key_pem);
	free(b.ca_pem);
	return rc;
}
