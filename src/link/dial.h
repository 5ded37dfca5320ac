/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_DIAL_H
#define DEMARC_LINK_DIAL_H

/*
 * One outbound TLS connection, made with a deadline: resolve, connect (each address in turn), HTTP CONNECT when there is a
 * proxy, TLS 1.3, certificate and name of the peer verified. Never listens. Blocking up to the deadline;
 * the result can then be polled. Thread: one at a time.
 */

#include <openssl/ssl.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "link/url.h"

struct dial_tls; /* what all connections of one identity share */
struct dial;

struct dial_config {
	struct str ca_pem;	      /* trusted; empty when pinned */
	struct str cert_pem, key_pem; /* own; empty: none */
	const char *pin_sha256; /* hex of the DER of a CA that the peer's own chain must lead to; NULL: ca_pem decides */
};
/* Faults: BAD_REQUEST (a PEM text is not valid), INTERNAL. */
WARN_UNUSED int dial_tls_new(const struct dial_config *c, struct dial_tls **ret, struct err *e);
/* Another identity with the trust and settings of `like`, and the same rules. tickets: sessions are resumed. */
WARN_UNUSED int dial_tls_like(const struct dial_tls *like, struct str cert_pem, struct str key_pem,
			      bool tickets, struct dial_tls **ret, struct err *e);
void dial_tls_free(struct dial_tls *t);
DEFINE_CLEANUP(struct dial_tls *, dial_tls_free)

/* Milliseconds after which the peer of the last dial_open() that failed wants to be asked again; 0: it did not say. A busy hub says
 * it in the clear, before TLS: nobody has proved anything yet. */
uint32_t dial_retry_ms(const struct dial_tls *t);
/* The last handshake that was finished was a resumption: no certificate went over the line. */
bool dial_resumed(const struct dial_tls *t);
bool dial_has_ticket(const struct dial_tls *t); /* the next connection may be resumed */
/* Adds the newest session with its ticket, DER with its secret. 1; 0: none came since the last call; -ENOMEM. */
WARN_UNUSED int dial_ticket_take(struct dial_tls *t, struct strbuf *b);
/* One that dial_ticket_take() gave, in this process or another. The peer says whether it takes it. -EINVAL: it is none, or too old. */
WARN_UNUSED int dial_ticket_set(struct dial_tls *t, struct str der);

/* proxy may be NULL. cancel_fd: gives up when it has an error or its other end was closed; -1: none.
 * Faults: UNAVAILABLE (no address, no connection), TIMEOUT, FORBIDDEN (certificate), PROTOCOL (proxy, TLS). */
WARN_UNUSED int dial_open(struct dial_tls *t, const struct url *u, const struct url *proxy,
			  int64_t deadline_ns, int cancel_fd, struct dial **ret, struct err *e);
/* The same in steps, for a loop that has many: fd is a non-blocking socket whose connection is under way, and taken over, whatever
 * comes back. dial_step(): 1 the connection is there; 0: again when the descriptor is as dial_wants() says; < 0 as dial_open(). */
WARN_UNUSED int dial_begin(struct dial_tls *t, int fd, struct dial **ret, struct err *e);
WARN_UNUSED int dial_step(struct dial *d, const struct url *u, struct err *e);
void dial_close(struct dial *d); /* takes NULL */
DEFINE_CLEANUP(struct dial *, dial_close)

int dial_fd(const struct dial *d);
/* Never block. > 0 bytes; 0 the peer closed (read only); -EAGAIN: wait for dial_wants(); other < 0: broken. */
ssize_t dial_read(struct dial *d, void *buf, size_t size);
ssize_t dial_write(struct dial *d, const void *buf, size_t size);
short dial_wants(const struct dial *d); /* POLLIN or POLLOUT: what the last -EAGAIN waits for */
bool dial_has_pending(const struct dial *d); /* decrypted bytes wait inside: poll(2) would not tell */
/* All of it, or until the deadline. */
WARN_UNUSED int dial_write_all(struct dial *d, const void *buf, size_t size, int64_t deadline_ns,
			       struct err *e);
/* Reads once, waiting until the deadline. 0: closed by the peer. */
WARN_UNUSED ssize_t dial_read_wait(struct dial *d, void *buf, size_t size, int64_t deadline_ns,
				   struct err *e);
/* The peer's chain as one PEM text, for what is pinned to be kept: the CA that the pin named. Caller frees. */
WARN_UNUSED int dial_pinned_pem(const struct dial *d, char **ret, struct err *e);

#endif
