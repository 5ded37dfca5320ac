/* SPDX-License-Identifier: Apache-2.0 */
#include "node/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

#define ID "aaaaaaaa-0000-4000-8000-000000000001"

static char text_id[] = ID, text_mac[] = "02:00:00:00:00:01", kind_port[] = "port",
	    kind_server[] = "server", kind_network[] = "network", kind_chain[] = "chain",
	    kind_new[] = "widget";

/* Judges after one string field was replaced; `why` must be in the field's name or the message. */
static void refused(const Demarc__V1__Object *o, const char *why)
{
	struct err e = { 0 };

	if (validate_object(o, &e) >= 0)
		fail_msg("accepted, though %s is wrong", why);
	if (!strstr(e.field, why) && !strstr(e.msg, why))
		fail_msg("%s is not named: %s: %s", why, e.field, e.msg);
}

static void test_port(void **state)
{
	static const struct {
		const char *mac, *network, *ip;
		const char *why;
	} rows[] = {
		{ "ff:ff:ff:ff:ff:ff", ID, "10.0.0.1", "mac" },
		{ "00:00:00:00:00:00", ID, "10.0.0.1", "mac" },
		{ "", ID, "10.0.0.1", "mac" },
		{ text_mac, "../../etc", "10.0.0.1", "network_id" },
		{ text_mac, "AAAAAAAA-0000-4000-8000-000000000001", "10.0.0.1", "network_id" },
		{ text_mac, ID, "10.0.0.256", "fixed_ips[0]" },
		{ text_mac, ID, "", "fixed_ips[0]" },
	};
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__Port p = DEMARC__V1__PORT__INIT;
	Demarc__V1__FixedIp f = DEMARC__V1__FIXED_IP__INIT, *ips[] = { &f };
	char ip[] = "10.0.0.1";

	(void)state;
	o.kind = kind_port;
	o.id = text_id;
	o.body_case = DEMARC__V1__OBJECT__BODY_PORT;
	o.port = &p;
	p.n_fixed_ips = 1;
	p.fixed_ips = ips;
	p.mac = text_mac;
	p.network_id = text_id;
	f.ip = ip;
	assert_int_equal(validate_object(&o, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		p.mac = (char *)(uintptr_t)rows[i].mac;
		p.network_id = (char *)(uintptr_t)rows[i].network;
		f.ip = (char *)(uintptr_t)rows[i].ip;
		refused(&o, rows[i].why);
	}
}

static void test_server(void **state)
{
	static const struct {
		const char *hostname, *probe, *sha, *why;
	} rows[] = {
		{ "host name", "", "", "hostname" }, { "h", "tcp:0", "", "probe" },
		{ "h", "tcp:70000", "", "probe" },   { "h", "exec:", "", "probe" },
		{ "h", "ping", "", "probe" },	     { "h", "", "../../x", "sha512" },
	};
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__Server s = DEMARC__V1__SERVER__INIT;
	Demarc__V1__Image image = DEMARC__V1__IMAGE__INIT;

	(void)state;
	o.kind = kind_server;
	o.id = text_id;
	o.body_case = DEMARC__V1__OBJECT__BODY_SERVER;
	o.server = &s;
	refused(&o, "image");
	s.image = &image;
	image.id = text_id;
	assert_int_equal(validate_object(&o, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		s.hostname = (char *)(uintptr_t)rows[i].hostname;
		s.probe = (char *)(uintptr_t)rows[i].probe;
		image.sha512 = (char *)(uintptr_t)rows[i].sha;
		refused(&o, rows[i].why);
	}
}

static void test_kinds(void **state)
{
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__Network n = DEMARC__V1__NETWORK__INIT;
	char traversal[] = "../../../../../../../../../../etc/pas";

	(void)state;
	o.id = text_id;
	o.kind = kind_new;
	assert_int_equal(validate_object(&o, NULL), 0); /* a newer hub's: kept, left alone */
	o.kind = kind_port;
	refused(&o, "body");
	o.deleted = true;
	assert_int_equal(validate_object(&o, NULL), 0);
	o.deleted = false;
	o.kind = kind_chain;
	o.body_case = DEMARC__V1__OBJECT__BODY_NETWORK;
	o.network = &n;
	refused(&o, "body");
	o.kind = kind_network;
	assert_int_equal(validate_object(&o, NULL), 0);
	n.segmentation_id = 4095;
	refused(&o, "segmentation_id");
	n.segmentation_id = 0;
	n.mtu = 20;
	refused(&o, "mtu");
	o.id = traversal;
	refused(&o, "id");
}

static void test_counts(void **state)
{
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__Chain c = DEMARC__V1__CHAIN__INIT;
	Demarc__V1__Hop h = DEMARC__V1__HOP__INIT, *hops[17];

	(void)state;
	o.id = text_id;
	o.kind = kind_chain;
	o.body_case = DEMARC__V1__OBJECT__BODY_CHAIN;
	o.chain = &c;
	h.group_id = text_id;
	c.hops = hops;
	for (size_t i = 0; i < 17; i++)
		hops[i] = &h;
	c.n_hops = 16;
	assert_int_equal(validate_object(&o, NULL), 0);
	c.n_hops = 17;
	refused(&o, "hops");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_port),
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_counts),
	};

	return cmocka_run_group_tests_name("node-validate", tests, NULL, NULL);
}
