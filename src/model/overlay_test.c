/* SPDX-License-Identifier: Apache-2.0 */
#include "model/overlay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void names_are_found(void **state)
{
	(void)state;
	assert_int_equal(overlay_type_find("mpls-gre")->kind, OVERLAY_MPLS_GRE);
	assert_int_equal(overlay_type_find("vxlan")->kind, OVERLAY_VXLAN);
	assert_null(overlay_type_find("vlan"));
	assert_null(overlay_type_find("vxlan_gpe"));
	assert_null(overlay_type_find(""));
	assert_null(overlay_type_find(NULL));
}

/* Counted from the headers' figures. Source: RFC 7348, 8926, 2890, 8300, 7637, 7510, 4023, 3032. */
static void what_an_inner_packet_lacks(void **state)
{
	static const struct {
		const char *name;
		unsigned context;
		int bytes;
	} rows[] = {
		{ "vxlan", 0, 50 },	 { "geneve", 0, 50 },	 { "gre", 0, 42 },
		{ "vxlan-gpe", 16, 74 }, { "vxlan-gpe", 0, 58 }, { "nvgre", 0, 42 },
		{ "mpls-udp", 0, 46 },	 { "mpls-gre", 0, 42 },	 { "mpls", 0, 18 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(overlay_overhead(overlay_type_find(rows[i].name), rows[i].context),
				 rows[i].bytes);
}

static void addresses_of_one_host(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{ "192.0.2.1", true },	{ "2001:db8::1", true }, { "224.0.0.1", false },
		{ "127.0.0.1", false }, { "0.0.0.0", false },	 { "255.255.255.255", false },
		{ "::1", false },	{ "ff02::1", false },	 { "fe80::1", false },
	};
	struct ip_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(ip_parse(str_of(rows[i].text), &a), 0);
		assert_int_equal(overlay_is_vtep(&a), rows[i].good);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_found),
		cmocka_unit_test(addresses_of_one_host),
		cmocka_unit_test(what_an_inner_packet_lacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
