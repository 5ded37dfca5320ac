/* SPDX-License-Identifier: Apache-2.0 */
#include "http/tickets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "http/test_client.h"
#include "http/tls.h"

#define DAY_S 86400
#define T0 1800000000LL /* seconds, 2027 */

/* ---- which keys there are ---- */

static void a_key_seals_for_a_day_and_opens_for_another(void **state)
{
	struct ticket_ring r = { .n = 0 };
	struct ticket_key first;

	assert_int_equal(ticket_ring_turn(&r, T0), 1);
	first = r.keys[0];
	for (int64_t s = 0; s < DAY_S; s += 3600)
		assert_int_equal(ticket_ring_turn(&r, T0 + s), 0);
	assert_int_equal(ticket_ring_turn(&r, T0 + DAY_S), 1);
	assert_int_equal(r.n, 2);
	assert_memory_not_equal(r.keys[0].aes, first.aes, sizeof(first.aes));
	assert_memory_not_equal(r.keys[0].mac, first.mac, sizeof(first.mac));
	/* What it sealed a second before that may be used a second before this. */
	assert_int_equal(ticket_ring_turn(&r, T0 + 2 * DAY_S - 1), 0);
	assert_ptr_equal(ticket_ring_find(&r, first.name), &r.keys[1]);
	assert_int_equal(ticket_ring_turn(&r, T0 + 2 * DAY_S), 1);
	assert_null(ticket_ring_find(&r, first.name));
	assert_int_equal(r.n, 2);
}

/* A week without a hub: the tickets have died by themselves, the key goes a day later. */
static void nobody_turned_it_for_a_week(void **state)
{
	struct ticket_ring r = { .n = 0 };

	assert_int_equal(ticket_ring_turn(&r, T0), 1);
	assert_int_equal(ticket_ring_turn(&r, T0 + 7 * DAY_S), 1);
	assert_int_equal(r.n, 2);
	assert_int_equal(r.keys[0].made_s, T0 + 7 * DAY_S);
	assert_int_equal(ticket_ring_turn(&r, T0 + 8 * DAY_S), 1);
	assert_int_equal(r.n, 2);
	assert_int_equal(r.keys[1].made_s, T0 + 7 * DAY_S);
}

static void a_clock_that_was_ahead(void **state)
{
	struct ticket_ring r = { .n = 0 };

	assert_int_equal(ticket_ring_turn(&r, T0 + 1000LL * DAY_S), 1);
	assert_int_equal(ticket_ring_turn(&r, T0), 1);
	assert_int_equal(r.n, 1);
	assert_int_equal(ticket_ring_turn(&r, T0 + DAY_S), 1);
	assert_int_equal(r.n, 2); /* not in a thousand days */
}

static void the_ring_is_bounded(void **state)
{
	struct ticket_ring r = { .n = 0 };

	for (int i = 0; i < 20; i++) {
		assert_int_equal(ticket_ring_turn(&r, T0 + i * (int64_t)DAY_S), 1);
		assert_in_range(r.n, 1, TICKET_KEYS_MAX);
	}
}

static void damaged_texts_are_refused(void **state)
{
	CLEANUP(strbuf_done) struct strbuf good = { 0 };
	struct ticket_ring r = { .n = 0 }, back;

	assert_int_equal(ticket_ring_turn(&r, T0), 1);
	assert_int_equal(ticket_ring_turn(&r, T0 + DAY_S), 1);
	ticket_ring_text(&r, &good);
	assert_int_equal(ticket_ring_parse((struct str){ good.ptr, good.len }, &back), 0);
	assert_memory_equal(&back, &r, sizeof(r));
	/* Cut anywhere: a whole number of keys, or nothing. */
	for (size_t n = 0; n < good.len; n++)
		if (ticket_ring_parse((struct str){ good.ptr, n }, &back) == 0)
			assert_int_equal(back.n, n >= good.len - 1 ? 2 : 1);
	for (size_t i = 0; i < good.len; i++) {
		char was = good.ptr[i];

		good.ptr[i] = 'x';
		assert_int_equal(ticket_ring_parse((struct str){ good.ptr, good.len }, &back), -EINVAL);
		good.ptr[i] = was;
	}
	assert_int_equal(ticket_ring_parse(STR(""), &back), -EINVAL);
	assert_int_equal(ticket_ring_parse(STR("demarc-tickets 1\n"), &back), -EINVAL);
	assert_int_equal(ticket_ring_parse(STR("demarc-tickets 1\n7 00\n"), &back), -EINVAL);
}

/* ---- through TLS, in memory ---- */

struct hub {
	struct http_config c;
	OSSL_LIB_CTX *lib;
	struct ticket_keys *keys;
	SSL_CTX *ctx;
};

static void hub_start(struct hub *h, const char *file)
{
	struct err e;

	*h = (struct hub){ .c = { .cert_file = test_pki.cert, .key_file = test_pki.key } };
	h->lib = tls_lib_new();
	assert_int_equal(tls_server_new(&h->c, h->lib, &h->ctx, &e), 0);
	assert_int_equal(ticket_keys_new(file, false, &h->keys, &e), 0);
	assert_int_equal(ticket_keys_use(h->keys, h->lib, h->ctx, &e), 0);
	assert_ptr_equal(ticket_keys_of(h->ctx), h->keys);
}

static void hub_stop(struct hub *h)
{
	ticket_keys_free(h->keys); /* the context has them still */
	SSL_CTX_free(h->ctx);
	OSSL_LIB_CTX_free(h->lib);
}

/* A whole connection; *session is used, and replaced by the one that came with it. True: it was resumed. */
static bool visit(struct hub *h, SSL_SESSION **session)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *client = SSL_new(ctx), *server = SSL_new(h->ctx);
	BIO *a, *b;
	bool resumed;
	char byte;

	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(client, a, a);
	SSL_set_bio(server, b, b);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	if (*session)
		SSL_set_session(client, *session);
	for (int i = 0; i < 10; i++) {
		(void)SSL_do_handshake(client);
		(void)SSL_do_handshake(server);
	}
	assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
	(void)SSL_read(client, &byte, 1); /* the ticket */
	resumed = SSL_session_reused(client) == 1;
	SSL_SESSION_free(*session);
	*session = SSL_get1_session(client);
	SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(client);
	SSL_free(server);
	SSL_CTX_free(ctx);
	return resumed;
}

static const unsigned char *key_name(const SSL_SESSION *session)
{
	const unsigned char *ticket = NULL;
	size_t size = 0;

	SSL_SESSION_get0_ticket(session, &ticket, &size);
	assert_true(size > 16);
	return ticket;
}

static void stored(const char *file, struct ticket_ring *ret)
{
	CLEANUP(free_charp) char *text = NULL;
	struct err e;
	size_t size;

	assert_int_equal(file_read(file, 4096, &text, &size, &e), 0);
	assert_int_equal(ticket_ring_parse((struct str){ text, size }, ret), 0);
}

/* A new key while connections hold tickets of the one before; then a restart; then the old one has gone. */
static void a_new_key_is_no_storm(void **state)
{
	SSL_SESSION *old = NULL, *newer = NULL, *copy;
	struct ticket_ring ring;
	char file[128];
	struct stat st;
	struct hub h;
	struct err e;

	(void)snprintf(file, sizeof(file), "%s/keys", test_pki.folder);
	clock_freeze(1, T0 * 1000000);
	hub_start(&h, file);
	assert_false(visit(&h, &old));
	copy = SSL_SESSION_dup(old);
	assert_true(visit(&h, &copy));
	clock_warp(DAY_S * NS_PER_S);
	assert_int_equal(ticket_keys_turn(h.keys, &e), 0);
	SSL_SESSION_free(copy);
	copy = SSL_SESSION_dup(old);
	assert_true(visit(&h, &copy)); /* sealed by the former key, answered with the new one's */
	newer = SSL_SESSION_dup(copy);
	assert_memory_not_equal(key_name(old), key_name(newer), 16);
	hub_stop(&h);

	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	hub_start(&h, file);
	SSL_SESSION_free(copy);
	copy = SSL_SESSION_dup(old);
	assert_true(visit(&h, &copy));
	clock_warp(DAY_S * NS_PER_S);
	assert_int_equal(ticket_keys_turn(h.keys, &e), 0);
	assert_false(visit(&h, &old)); /* a full handshake, not an error */
	assert_true(visit(&h, &newer));
	hub_stop(&h);
	stored(file, &ring);
	assert_int_equal(ring.n, 2);
	SSL_SESSION_free(old);
	SSL_SESSION_free(newer);
	SSL_SESSION_free(copy);
}

/* The first hub is of a release whose tickets do not say where they come from. */
static void tickets_do_not_beget_tickets_for_good(void **state)
{
	SSL_SESSION *session = NULL;
	char file[128];
	struct hub h;
	struct err e;

	(void)snprintf(file, sizeof(file), "%s/line", test_pki.folder);
	clock_freeze(1, T0 * 1000000);
	hub_start(&h, file);
	assert_int_equal(SSL_CTX_set_session_ticket_cb(h.ctx, NULL, NULL, NULL), 1);
	assert_false(visit(&h, &session));
	assert_true(visit(&h, &session));
	hub_stop(&h);
	hub_start(&h, file);
	for (int lines = 0; lines < 2; lines++) {
		for (int day = 0; day < 8; day++) {
			assert_int_equal(visit(&h, &session), lines == 0 || day > 0);
			clock_warp(DAY_S * NS_PER_S - (day == 7));
			assert_int_equal(ticket_keys_turn(h.keys, &e), 0);
			if (day < 7)
				continue;
			assert_true(visit(&h, &session)); /* a moment before */
			clock_warp(1);
		}
	}
	assert_false(visit(&h, &session));
	hub_stop(&h);
	SSL_SESSION_free(session);
}

/* It would die with the process, and every node's ticket with it. */
static void a_key_that_cannot_be_stored_does_not_seal(void **state)
{
	CLEANUP(free_charp) char *text = NULL;
	SSL_SESSION *session = NULL;
	char folder[128], file[160];
	struct ticket_ring before;
	struct hub h;
	struct err e;
	size_t size;

	(void)snprintf(folder, sizeof(folder), "%s/gone", test_pki.folder);
	(void)snprintf(file, sizeof(file), "%s/keys", folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	clock_freeze(1, T0 * 1000000);
	hub_start(&h, file);
	assert_int_equal(file_read(file, 4096, &text, &size, &e), 0);
	assert_int_equal(ticket_ring_parse((struct str){ text, size }, &before), 0);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(folder), 0);
	clock_warp(DAY_S * NS_PER_S);
	assert_true(ticket_keys_turn(h.keys, &e) < 0);
	assert_false(visit(&h, &session));
	assert_memory_equal(key_name(session), before.keys[0].name, 16);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(ticket_keys_turn(h.keys, &e), 0);
	assert_true(visit(&h, &session));
	assert_memory_not_equal(key_name(session), before.keys[0].name, 16);
	hub_stop(&h);
	SSL_SESSION_free(session);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void a_damaged_file_is_made_again(void **state)
{
	struct ticket_keys *k;
	struct ticket_ring r;
	char file[128];
	struct err e;

	(void)snprintf(file, sizeof(file), "%s/damaged", test_pki.folder);
	clock_freeze(1, T0 * 1000000);
	assert_int_equal(file_write_atomic(file, 0600, STR("demarc-tickets 1\nnot a key\n"), &e), 0);
	assert_int_equal(ticket_keys_new(file, false, &k, &e), 0);
	stored(file, &r);
	assert_int_equal(r.n, 1);
	/* Who has left the file writes to it no more. */
	ticket_keys_leave(k);
	assert_int_equal(unlink(file), 0);
	clock_warp(DAY_S * NS_PER_S);
	assert_int_equal(ticket_keys_turn(k, &e), 0);
	assert_int_equal(access(file, F_OK), -1);
	ticket_keys_free(k);
	assert_true(ticket_keys_new("/nonexistent/keys", false, &k, &e) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_seals_for_a_day_and_opens_for_another),
		cmocka_unit_test(nobody_turned_it_for_a_week),
		cmocka_unit_test(a_clock_that_was_ahead),
		cmocka_unit_test(the_ring_is_bounded),
		cmocka_unit_test(damaged_texts_are_refused),
		cmocka_unit_test(a_new_key_is_no_storm),
		cmocka_unit_test(tickets_do_not_beget_tickets_for_good),
		cmocka_unit_test(a_key_that_cannot_be_stored_does_not_seal),
		cmocka_unit_test(a_damaged_file_is_made_again),
	};

	return cmocka_run_group_tests_name("http-tickets", tests, test_pki_make, test_pki_remove);
}
