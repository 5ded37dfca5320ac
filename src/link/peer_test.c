/* SPDX-License-Identifier: Apache-2.0 */
#include "link/peer_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "link/peer.h"
#include "link/peer_sock.h"

#define IMAGE (2 * (uint64_t)PEER_PIECE_MAX + 5)

static void test_what_is_asked_for_comes_out_of_it(void **state)
{
	uint8_t sha512[PEER_SHA512_SIZE], request[PEER_REQUEST_SIZE], answer[PEER_ANSWER_SIZE];
	struct peer_piece p;
	uint64_t at = 0;

	memset(sha512, 'h', sizeof(sha512));
	for (unsigned n = 0; n < 3; n++, at += p.size) {
		const struct peer_piece piece = peer_piece_at(at, IMAGE);

		peer_request_put(sha512, piece, request);
		assert_int_equal(peer_request_get(request, sha512, IMAGE, &p), 0);
		assert_true(p.offset == at && p.size == piece.size);
		peer_answer_put(p, answer);
		assert_int_equal(peer_answer_get(answer, piece), 0);
	}
	assert_true(at == IMAGE);
	assert_int_equal(peer_piece_at(IMAGE, IMAGE).size, 0);
	assert_int_equal(peer_piece_at(IMAGE + 1, IMAGE).size, 0);
}

static void test_no_other_image_and_nothing_beyond_it(void **state)
{
	static const struct peer_piece wrong[] = { { 0, 0 },
						   { 0, PEER_PIECE_MAX + 1 },
						   { IMAGE, 1 },
						   { IMAGE - 1, 2 },
						   { UINT64_MAX, 1 },
						   { UINT64_MAX, UINT32_MAX },
						   { UINT64_MAX - 4, 5 } };
	uint8_t sha512[PEER_SHA512_SIZE] = { 1 }, request[PEER_REQUEST_SIZE];
	struct peer_piece p;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		peer_request_put(sha512, wrong[i], request);
		assert_int_equal(peer_request_get(request, sha512, IMAGE, &p), -EPROTO);
	}
	peer_request_put(sha512, (struct peer_piece){ 0, 4 }, request);
	assert_int_equal(peer_request_get(request, sha512, 3, &p), -EPROTO);
	request[PEER_SHA512_SIZE - 1]++;
	assert_int_equal(peer_request_get(request, sha512, IMAGE, &p), -ENOENT);
}

static void test_an_answer_is_to_what_was_asked(void **state)
{
	uint8_t answer[PEER_ANSWER_SIZE];

	peer_answer_put((struct peer_piece){ 65536, 100 }, answer);
	assert_int_equal(peer_answer_get(answer, (struct peer_piece){ 65536, 100 }), 0);
	assert_int_equal(peer_answer_get(answer, (struct peer_piece){ 0, 100 }), -EPROTO);
	assert_int_equal(peer_answer_get(answer, (struct peer_piece){ 65536, 99 }), -EPROTO);
}

static struct peer_end end_of(const char *ip, uint16_t port)
{
	struct peer_end end = { .port = port };

	assert_int_equal(ip_parse(str_of(ip), &end.ip), 0);
	return end;
}

/* Refused before anything is done with the descriptor, which is none. */
static void test_ends_that_are_no_other_host(void **state)
{
	static const char *const wrong[] = {
		"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1",
		"::",	   "::1",	"ff02::1",   "fe80::1",		"::ffff:192.0.2.2"
	};
	const struct peer_end own4 = end_of("192.0.2.1", 1), own6 = end_of("2001:db8::1", 1);
	struct peer_end other;
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		other = end_of(wrong[i], 1);
		memset(&e, 0, sizeof(e));
		assert_true(peer_sock_connect(-1, other.ip.family == IP_V4 ? &own4 : &own6, &other,
					      &e) < 0);
		assert_int_equal(e.fault, FAULT_BAD_REQUEST);
	}
	other = end_of("2001:db8::2", 1);
	assert_true(peer_sock_connect(-1, &own4, &other, &e) < 0 && e.fault == FAULT_BAD_REQUEST);
	other = end_of("192.0.2.2", 0);
	assert_true(peer_sock_connect(-1, &own4, &other, &e) < 0 && e.fault == FAULT_BAD_REQUEST);
}

static void test_every_end_has_a_text(void **state)
{
	for (int i = 0; i < PEER_END_KINDS; i++)
		assert_true(*peer_end_text(i) != '\0');
	assert_string_equal(peer_end_text(-1), "it was killed");
	assert_string_equal(peer_end_text(99), "it was killed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_asked_for_comes_out_of_it),
		cmocka_unit_test(test_no_other_image_and_nothing_beyond_it),
		cmocka_unit_test(test_an_answer_is_to_what_was_asked),
		cmocka_unit_test(test_ends_that_are_no_other_host),
		cmocka_unit_test(test_every_end_has_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
