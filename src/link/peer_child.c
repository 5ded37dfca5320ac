/* SPDX-License-Identifier: Apache-2.0 */
#include "link/peer.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "base/types.h"
#include "link/peer_wire.h"
#include "link/sandbox.h"

#define CONFIG_MAX (1u << 20)

struct peer {
	SSL *ssl;
	bool give;
	char node_id[UUID_STR_SIZE];
	uint8_t sha512[PEER_SHA512_SIZE];
	uint64_t size, have, rate;
};

const char *peer_end_text(int status)
{
	static const char *const texts[PEER_END_KINDS] = {
		[PEER_DONE] = "done",
		[PEER_CONFIG] = "it was not started rightly",
		[PEER_TLS] = "no handshake",
		[PEER_STRANGER] = "the other end is not the node that the hub named",
		[PEER_CLOSED] = "the other end closed, or said nothing",
		[PEER_GARBAGE] = "the other end does not follow the protocol",
		[PEER_FILE] = "the file cannot be read or written",
	};

	return status >= 0 && status < PEER_END_KINDS ? texts[status] : "it was killed";
}

/* ---- configuration, and what is given up ---- */

static int read_config(json_t **ret)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	char buf[4096];
	ssize_t n;
	int rc;

	while (b.len < CONFIG_MAX && (n = read(PEER_CONFIG_FD, buf, sizeof(buf))) > 0)
		strbuf_add(&b, buf, (size_t)n);
	rc = b.error ? b.error : json_parse((struct str){ b.ptr, b.len }, ret, NULL);
	if (b.ptr)
		explicit_bzero(b.ptr, b.len); /* the private key was in it */
	explicit_bzero(buf, sizeof(buf));
	(void)close(PEER_CONFIG_FD);
	return rc;
}

static int take_config(const json_t *o, struct peer *p)
{
	int64_t size = json_int(o, "size", -1), have = json_int(o, "have", -1);

	p->give = json_bool(o, "give", false);
	p->rate = (uint64_t)MAX_OF(json_int(o, "rate", 1), (int64_t)1);
	if (size < 0 || have < 0 || have > size ||
	    str_copy(p->node_id, sizeof(p->node_id), str_of(json_str(o, "node_id"))) < 0 || !*p->node_id)
		return -EINVAL;
	p->size = (uint64_t)size;
	p->have = (uint64_t)have;
	return str_from_hex(str_of(json_str(o, "sha512")), p->sha512, sizeof(p->sha512));
}

/* A taker that somebody has taken over fills no disk. */
static int bound_file(const struct peer *p)
{
	const struct rlimit l = { p->size, p->size };

	(void)signal(SIGXFSZ, SIG_IGN);
	return p->give ? 0 : setrlimit(RLIMIT_FSIZE, &l);
}

/* ---- TLS ---- */

static int use_identity(SSL_CTX *ctx, const json_t *o)
{
	struct str cert_pem = str_of(json_str(o, "cert")), key_pem = str_of(json_str(o, "key"));
	BIO *cert_bio = BIO_new_mem_buf(cert_pem.ptr, (int)cert_pem.len);
	BIO *key_bio = BIO_new_mem_buf(key_pem.ptr, (int)key_pem.len);
	X509 *cert = cert_bio ? PEM_read_bio_X509(cert_bio, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL) : NULL;
	bool ok = cert && key && SSL_CTX_use_certificate(ctx, cert) == 1 &&
		  SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;

	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(cert_bio);
	BIO_free(key_bio);
	return ok ? 0 : -EINVAL;
}

static int trust(SSL_CTX *ctx, struct str pem)
{
	BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	X509 *cert;
	int n = 0;

	while (bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		n += X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	ERR_clear_error(); /* the end of the text is an error too */
	return n ? 0 : -EINVAL;
}

/* Both ends are nodes: what either shows is a certificate for clients, which the hub's own is not. */
static int start_tls(struct peer *p, const json_t *o)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	bool ok = ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
		  SSL_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) == 1 &&
		  SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
		  trust(ctx, str_of(json_str(o, "ca"))) == 0 && use_identity(ctx, o) == 0;

	if (ok) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
		p->ssl = SSL_new(ctx);
	}
	SSL_CTX_free(ctx);
	return p->ssl && SSL_set_fd(p->ssl, PEER_SOCKET_FD) == 1 ? 0 : -EINVAL;
}

static bool is_named(const struct peer *p)
{
	X509 *cert = SSL_get1_peer_certificate(p->ssl);
	char cn[UUID_STR_SIZE + 1] = "";
	int len = cert ? X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn,
						   sizeof(cn)) :
			 -1;

	X509_free(cert);
	return len == (int)strlen(p->node_id) && strcmp(cn, p->node_id) == 0;
}

static int shake(const struct peer *p)
{
	if ((p->give ? SSL_accept(p->ssl) : SSL_connect(p->ssl)) != 1)
		return PEER_TLS;
	return is_named(p) ? PEER_DONE : PEER_STRANGER;
}

/* All of it. 0: closed before the first byte; 1; -EPIPE: closed, or silent for too long. */
static int read_all(const struct peer *p, void *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		int n = SSL_read(p->ssl, (char *)data + done, (int)(size - done));

		if (n <= 0 && done == 0 && SSL_get_error(p->ssl, n) == SSL_ERROR_ZERO_RETURN)
			return 0;
		if (n <= 0)
			return -EPIPE;
		done += (size_t)n;
	}
	return 1;
}

static bool write_all(const struct peer *p, const void *data, size_t size)
{
	return SSL_write(p->ssl, data, (int)size) == (int)size;
}

/* ---- the giver ---- */

static int read_piece(struct peer_piece piece, uint8_t *ret)
{
	uint32_t done = 0;

	while (done < piece.size) {
		ssize_t n = pread(PEER_FILE_FD, ret + done, piece.size - done,
				  (off_t)(piece.offset + done));

		if (n <= 0)
			return -EIO;
		done += (uint32_t)n;
	}
	return 0;
}

/* When the next piece may go: a clock that runs ahead by what was sent. */
static void pause_for(const struct peer *p, uint32_t size, int64_t *due_ns)
{
	int64_t now = clock_mono_ns(), left = *due_ns - now;
	const struct timespec t = { left / NS_PER_S, left % NS_PER_S };

	*due_ns = MAX_OF(*due_ns, now) + (int64_t)(size * (uint64_t)NS_PER_S / p->rate);
	if (left > 0)
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static int give(const struct peer *p)
{
	static uint8_t answer[PEER_ANSWER_SIZE + PEER_PIECE_MAX];
	uint8_t request[PEER_REQUEST_SIZE];
	struct peer_piece piece;
	int64_t due_ns = 0;
	int rc;

	while ((rc = read_all(p, request, sizeof(request))) == 1) {
		if (peer_request_get(request, p->sha512, p->size, &piece) < 0)
			return PEER_GARBAGE;
		pause_for(p, piece.size, &due_ns);
		peer_answer_put(piece, answer);
		if (read_piece(piece, answer + PEER_ANSWER_SIZE) < 0)
			return PEER_FILE;
		if (!write_all(p, answer, PEER_ANSWER_SIZE + piece.size))
			return PEER_CLOSED;
	}
	return rc == 0 ? PEER_DONE : PEER_CLOSED;
}

/* ---- the taker ---- */

static bool ask(const struct peer *p, uint64_t *asked)
{
	struct peer_piece piece = peer_piece_at(*asked, p->size);
	uint8_t request[PEER_REQUEST_SIZE];

	if (piece.size == 0)
		return true;
	peer_request_put(p->sha512, piece, request);
	*asked += piece.size;
	return write_all(p, request, sizeof(request));
}

static int store(const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = write(PEER_FILE_FD, data, size);

		if (n <= 0)
			return -EIO;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static int take_next(struct peer *p)
{
	static uint8_t bytes[PEER_PIECE_MAX];
	struct peer_piece piece = peer_piece_at(p->have, p->size);
	uint8_t head[PEER_ANSWER_SIZE];

	if (read_all(p, head, sizeof(head)) != 1)
		return PEER_CLOSED;
	if (peer_answer_get(head, piece) < 0)
		return PEER_GARBAGE;
	if (read_all(p, bytes, piece.size) != 1)
		return PEER_CLOSED;
	p->have += piece.size;
	return store(bytes, piece.size) < 0 ? PEER_FILE : PEER_DONE;
}

static int take(struct peer *p)
{
	uint64_t asked = p->have;
	bool ok = true;
	int end = PEER_DONE;

	for (unsigned i = 0; ok && i < PEER_AHEAD; i++)
		ok = ask(p, &asked);
	while (ok && end == PEER_DONE && p->have < p->size) {
		end = take_next(p);
		ok = ask(p, &asked);
	}
	return ok ? end : PEER_CLOSED;
}

/* ---- */

int peer_child_main(void)
{
	CLEANUP(json_freep) json_t *o = NULL;
	const struct timeval silent = { .tv_sec = PEER_SILENT_S };
	struct peer p = { 0 };
	int end;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)syscall(SYS_close_range, PEER_FILE_FD + 1, ~0u, 0);
	if (read_config(&o) < 0 || take_config(o, &p) < 0 || bound_file(&p) < 0 ||
	    setsockopt(PEER_SOCKET_FD, SOL_SOCKET, SO_RCVTIMEO, &silent, sizeof(silent)) < 0 ||
	    setsockopt(PEER_SOCKET_FD, SOL_SOCKET, SO_SNDTIMEO, &silent, sizeof(silent)) < 0 ||
	    sandbox_enter(json_str(o, "user"), NULL) < 0 || start_tls(&p, o) < 0)
		return PEER_CONFIG;
	end = shake(&p);
	if (end == PEER_DONE)
		end = p.give ? give(&p) : take(&p);
	(void)SSL_shutdown(p.ssl);
	SSL_free(p.ssl);
	_exit(end); /* what runs at an exit may need system calls that are refused here */
}
