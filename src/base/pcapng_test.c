/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pcapng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

static const char frame[] = "\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\x00payload";

static struct pcapng_frame a_frame(uint16_t vlan)
{
	return (struct pcapng_frame){ .time_us = 1700000000123456,
				      .vlan = vlan,
				      .size = 1400,
				      .head = { frame, sizeof(frame) - 1 } };
}

static enum pcapng_kind take(struct str *rest, uint64_t *ret_lost)
{
	struct pcapng_block block;

	assert_int_equal(pcapng_next(*rest, &block), 1);
	*rest = (struct str){ rest->ptr + block.size, rest->len - block.size };
	*ret_lost = block.lost;
	return block.kind;
}

static void test_what_is_written_is_read(void **state)
{
	struct strbuf b CLEANUP(strbuf_done) = { 0 };
	struct pcapng_frame plain = a_frame(0), tagged = a_frame(7);
	struct str rest;
	uint64_t lost;

	pcapng_add_header(&b, "web");
	pcapng_add_frame(&b, &plain);
	pcapng_add_frame(&b, &tagged);
	pcapng_add_lost(&b, 1, 1ull << 40);
	rest = (struct str){ b.ptr, b.len };
	assert_int_equal(take(&rest, &lost), PCAPNG_SECTION);
	assert_int_equal(take(&rest, &lost), PCAPNG_INTERFACE);
	assert_int_equal(take(&rest, &lost), PCAPNG_FRAME);
	assert_int_equal(take(&rest, &lost), PCAPNG_FRAME);
	assert_int_equal(take(&rest, &lost), PCAPNG_STATISTICS);
	assert_int_equal(lost, 1ull << 40);
	assert_int_equal(rest.len, 0);
}

static void test_the_tag_is_put_back(void **state)
{
	struct strbuf b CLEANUP(strbuf_done) = { 0 };
	struct pcapng_frame f = a_frame(7);

	pcapng_add_frame(&b, &f);
	assert_int_equal((uint8_t)b.ptr[20], sizeof(frame) - 1 + 4); /* captured */
	assert_memory_equal(b.ptr + 28, frame, 12);
	assert_memory_equal(b.ptr + 40, "\x81\0\0\x07\x08\x00payload", 13);
}

static void test_frames_that_are_none(void **state)
{
	static const char long_one[PCAPNG_FRAME_MAX];
	struct strbuf b CLEANUP(strbuf_done) = { 0 };
	struct pcapng_frame f = a_frame(0);

	f.head.len = 13;
	pcapng_add_frame(&b, &f);
	f.head = (struct str){ long_one, sizeof(long_one) };
	pcapng_add_frame(&b, &f);
	assert_int_equal(b.len, 0);
	f.head.len -= 4;
	f.vlan = 1;
	pcapng_add_frame(&b, &f);
	assert_in_range(b.len, PCAPNG_FRAME_MAX, PCAPNG_BLOCK_MAX);
}

static void test_a_block_that_is_not_all_there(void **state)
{
	struct strbuf b CLEANUP(strbuf_done) = { 0 };
	struct pcapng_frame f = a_frame(0);
	struct pcapng_block block;

	pcapng_add_frame(&b, &f);
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(pcapng_next((struct str){ b.ptr, n }, &block), 0);
	assert_int_equal(pcapng_next((struct str){ b.ptr, b.len }, &block), 1);
}

static void test_what_is_no_block(void **state)
{
	static const struct str bad[] = {
		STR("\x09\0\0\0\x10\0\0\0........"),	   /* kind */
		STR("\x06\0\0\0\x08\0\0\0........"),	   /* too short */
		STR("\x06\0\0\0\x0d\0\0\0........"),	   /* not a multiple of four */
		STR("\x06\0\0\0\0\0\x01\0........"),	   /* too long */
		STR("\x06\0\0\0\x10\0\0\0....\x14\0\0\0"), /* its end says otherwise */
	};
	struct pcapng_block block;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(pcapng_next(bad[i], &block), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_the_tag_is_put_back),
		cmocka_unit_test(test_frames_that_are_none),
		cmocka_unit_test(test_a_block_that_is_not_all_there),
		cmocka_unit_test(test_what_is_no_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
