/* SPDX-License-Identifier: Apache-2.0 */
#include "link/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "link/link.h"

static Demarc__V1__Frame ping_frame(Demarc__V1__Ping *p)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	demarc__v1__ping__init(p);
	p->nonce = 42;
	f.body_case = DEMARC__V1__FRAME__BODY_PING;
	f.ping = p;
	return f;
}

static void test_round_trip(void **state)
{
	Demarc__V1__Ping p;
	Demarc__V1__Frame f = ping_frame(&p), *out = NULL;
	CLEANUP(free_voidp) uint8_t *buf = NULL;
	size_t size;

	(void)state;
	f.request = 7;
	assert_int_equal(frame_encode(&f, &buf, &size), 0);
	assert_int_equal(frame_decode(FRAME_FROM_NODE, buf, size, &out, NULL), 0);
	assert_int_equal(out->request, 7);
	assert_int_equal(out->body_case, DEMARC__V1__FRAME__BODY_PING);
	assert_int_equal(out->ping->nonce, 42);
	assert_string_equal(frame_kind_name(out), "ping");
	frame_free(out);
}

static void test_direction(void **state)
{
	Demarc__V1__Intent intent = DEMARC__V1__INTENT__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT, *out = NULL;
	CLEANUP(free_voidp) uint8_t *buf = NULL;
	size_t size;
	struct err e;

	(void)state;
	f.body_case = DEMARC__V1__FRAME__BODY_INTENT;
	f.intent = &intent;
	assert_int_equal(frame_encode(&f, &buf, &size), 0);
	assert_int_equal(frame_decode(FRAME_FROM_NODE, buf, size, &out, &e), -EPROTO);
	assert_int_equal(e.fault, FAULT_PROTOCOL);
	assert_null(out);
	assert_int_equal(frame_decode(FRAME_FROM_HUB, buf, size, &out, &e), 0);
	frame_free(out);
}

static void test_garbage_and_sizes(void **state)
{
	static const uint8_t garbage[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					   0xff, 0xff, 0xff, 0xff, 0xff };
	CLEANUP(free_voidp) uint8_t *big = calloc(1, LINK_FRAME_MAX + 1);
	Demarc__V1__Frame *out = NULL;
	struct err e;

	(void)state;
	assert_int_equal(frame_decode(FRAME_FROM_NODE, garbage, sizeof(garbage), &out, &e), -EPROTO);
	assert_int_equal(frame_decode(FRAME_FROM_NODE, big, LINK_FRAME_MAX + 1, &out, &e), -EMSGSIZE);
	assert_null(out);
}

/* Two bytes on the wire for each empty ServerStatus: half a million structs in one frame, 60 MiB if nobody counted. */
static void test_memory_is_bounded(void **state)
{
	const size_t n = LINK_FRAME_MAX / 2 - 8, inner = 2 * n;
	CLEANUP(free_voidp) uint8_t *buf = malloc(LINK_FRAME_MAX);
	Demarc__V1__Frame *out = NULL;
	size_t at = 0;
	struct err e;

	(void)state;
	buf[at++] = 0xb2; /* field 22 (report), length-prefixed */
	buf[at++] = 0x01;
	for (size_t v = inner;; v >>= 7) {
		buf[at++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		if (v <= 0x7f)
			break;
	}
	for (size_t i = 0; i < n; i++) {
		buf[at++] = 0x1a; /* field 3 (servers) */
		buf[at++] = 0x00;
	}
	assert_int_equal(frame_decode(FRAME_FROM_NODE, buf, at, &out, &e), -EPROTO);
	assert_null(out);
}

static void test_text_must_be_utf8(void **state)
{
	char bad[] = "bad\xff", good[] = "g\xc3\xbct";
	Demarc__V1__Goodbye bye = DEMARC__V1__GOODBYE__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT, *out = NULL;
	struct err e;

	(void)state;
	f.body_case = DEMARC__V1__FRAME__BODY_GOODBYE;
	f.goodbye = &bye;
	for (int i = 0; i < 2; i++) {
		CLEANUP(free_voidp) uint8_t *buf = NULL;
		size_t size;

		bye.reason = i ? good : bad;
		assert_int_equal(frame_encode(&f, &buf, &size), 0);
		assert_int_equal(frame_decode(FRAME_FROM_HUB, buf, size, &out, &e), i ? 0 : -EPROTO);
	}
	frame_free(out);
}

/* A frame of a later release: field 900 in place of a known body. */
static void test_unknown_kind_is_kept_apart(void **state)
{
	static const uint8_t later[] = { 0x08, 0x03, 0xa2, 0x38, 0x02, 'h', 'i' };
	Demarc__V1__Frame *out = NULL;

	(void)state;
	assert_int_equal(frame_decode(FRAME_FROM_NODE, later, sizeof(later), &out, NULL), 0);
	assert_int_equal(out->body_case, DEMARC__V1__FRAME__BODY__NOT_SET);
	assert_int_equal(out->request, 3);
	assert_int_equal(out->base.n_unknown_fields, 1);
	frame_free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_direction),
		cmocka_unit_test(test_garbage_and_sizes),
		cmocka_unit_test(test_memory_is_bounded),
		cmocka_unit_test(test_text_must_be_utf8),
		cmocka_unit_test(test_unknown_kind_is_kept_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
