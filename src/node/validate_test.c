/* SPDX-License-Identifier: Apache-2.0 */
#include "node/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/types.h"
#include "model/group.h"
#include "model/overlay.h"

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

static void test_limits(void **state)
{
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__Port p = DEMARC__V1__PORT__INIT;
	Demarc__V1__Limit l = DEMARC__V1__LIMIT__INIT;
	char mac[] = "02:00:00:00:00:01";

	(void)state;
	o.id = p.network_id = text_id;
	o.kind = kind_port;
	o.body_case = DEMARC__V1__OBJECT__BODY_PORT;
	o.port = &p;
	p.mac = mac;
	p.limit_from = p.limit_to = &l;
	l.kbps = 1ULL << 31;
	assert_int_equal(validate_object(&o, NULL), 0);
	p.dscp = 64;
	refused(&o, "dscp");
	p.dscp = 0;
	l.pps = UINT64_MAX;
	refused(&o, "limit_from");
	p.limit_from = NULL;
	refused(&o, "limit_to");
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

static void wrong_ovn_ports(const Demarc__V1__Object *o, Demarc__V1__ForeignVtep *f)
{
	Demarc__V1__OvnPort port = DEMARC__V1__OVN_PORT__INIT, *ports[] = { &port };
	uint8_t macs[7] = { 2 };

	f->n_ovn_ports = 1;
	f->ovn_ports = ports;
	refused(o, "ovn_ports[0].key");
	port.key = 0x8000;
	refused(o, "key");
	port.key = 0x7fff;
	port.macs = (ProtobufCBinaryData){ sizeof(macs), macs };
	refused(o, "macs");
	port.macs.len = 6;
	assert_int_equal(validate_object(o, NULL), 0);
	f->n_ovn_ports = OVERLAY_OVN_PORTS_MAX + 1;
	refused(o, "ovn_ports");
	f->n_ovn_ports = 0;
}

static void test_tunnels(void **state)
{
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__Network n = DEMARC__V1__NETWORK__INIT;
	Demarc__V1__TagPair tags = DEMARC__V1__TAG_PAIR__INIT;
	Demarc__V1__Overlay v = DEMARC__V1__OVERLAY__INIT;
	Demarc__V1__Nsh nsh = DEMARC__V1__NSH__INIT;
	Demarc__V1__ForeignVtep f = DEMARC__V1__FOREIGN_VTEP__INIT, *ends[] = { &f };
	Demarc__V1__Vtep at = DEMARC__V1__VTEP__INIT;
	char address[] = "192.0.2.1", wrong[] = "192.0.2", unheard[] = "l2tp";
	uint8_t macs[7] = { 2 };
	uint32_t labels[5] = { 16 };

	(void)state;
	o.kind = kind_network;
	o.id = text_id;
	o.body_case = DEMARC__V1__OBJECT__BODY_NETWORK;
	o.network = &n;
	n.tags = &tags;
	tags.inner = 7;
	refused(&o, "tags");
	tags.outer = 4095;
	refused(&o, "tags.outer");
	tags.outer = 100;
	assert_int_equal(validate_object(&o, NULL), 0);
	n.overlay = &v;
	v.type = unheard; /* a newer hub's: kept, and told when it is to be made */
	v.n_foreign = 1;
	v.foreign = ends;
	refused(&o, "foreign[0].at");
	f.at = &at;
	at.address = wrong;
	refused(&o, "address");
	at.address = address;
	assert_int_equal(validate_object(&o, NULL), 0);
	at.macs = (ProtobufCBinaryData){ sizeof(macs), macs };
	refused(&o, "macs");
	at.macs.len = 6;
	f.n_labels = ARRAY_LEN(labels);
	f.labels = labels;
	refused(&o, "labels");
	f.n_labels = 4;
	f.ovn_egress_port = 65536;
	refused(&o, "ovn_egress_port");
	f.ovn_egress_port = 1;
	wrong_ovn_ports(&o, &f);
	v.nsh = &nsh;
	nsh.path = 1 << 24;
	refused(&o, "nsh.path");
	nsh.path = 1;
	nsh.index = 256;
	refused(&o, "nsh.index");
	nsh.index = 255;
	nsh.context = (ProtobufCBinaryData){ sizeof(macs), macs };
	refused(&o, "nsh.context");
	nsh.md_type = 2;
	refused(&o, "nsh.context");
	nsh.context.len = 4;
	assert_int_equal(validate_object(&o, NULL), 0);
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

/* What the hub may send is what the node takes, to the last address. */
static void test_members(void **state)
{
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__SecurityGroup g = DEMARC__V1__SECURITY_GROUP__INIT;
	static char *ips[GROUP_MEMBERS_MAX + 1];
	char kind[] = "security_group", ip[] = "fd00::1", cidr[] = "10.0.0.0/8", *cidrs[] = { cidr };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ips); i++)
		ips[i] = ip;
	o.id = text_id;
	o.kind = kind;
	o.body_case = DEMARC__V1__OBJECT__BODY_SECURITY_GROUP;
	o.security_group = &g;
	g.member_ips = ips;
	g.member_cidrs = cidrs;
	g.n_member_ips = GROUP_MEMBERS_MAX;
	assert_int_equal(validate_object(&o, NULL), 0);
	g.n_member_cidrs = 1;
	refused(&o, "member_cidrs");
	g.n_member_ips = GROUP_MEMBERS_MAX + 1;
	refused(&o, "member_ips");
}

static void test_address_group(void **state)
{
	uint8_t rows[] = { 10, 0, 0, 0, 8, 192, 0, 2, 1, 33 }, six[17] = { 0xfd, [16] = 129 };
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__AddressGroup g = DEMARC__V1__ADDRESS_GROUP__INIT;
	char kind[] = "address_group";

	(void)state;
	o.id = text_id;
	o.kind = kind;
	o.body_case = DEMARC__V1__OBJECT__BODY_ADDRESS_GROUP;
	o.address_group = &g;
	assert_int_equal(validate_object(&o, NULL), 0);
	g.cidrs4 = (ProtobufCBinaryData){ 5, rows };
	assert_int_equal(validate_object(&o, NULL), 0);
	g.cidrs4.len = 10;
	refused(&o, "cidrs4");
	rows[9] = 32;
	assert_int_equal(validate_object(&o, NULL), 0);
	g.cidrs4.len = 9;
	refused(&o, "cidrs4");
	g.cidrs4.len = 0;
	g.cidrs6 = (ProtobufCBinaryData){ 17, six };
	refused(&o, "cidrs6");
	six[16] = 128;
	assert_int_equal(validate_object(&o, NULL), 0);
	g.cidrs6.len = 5;
	refused(&o, "cidrs6");
}

static void test_acl_rule(void **state)
{
	uint8_t id[16] = { 1 }, net[17] = { 10, 0, 0, 0, 8 };
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__AclPart p = DEMARC__V1__ACL_PART__INIT;
	Demarc__V1__AclRule good = DEMARC__V1__ACL_RULE__INIT, r, *rules[] = { &r };
	char kind[] = "acl_part";
	struct {
		void *field;
		uint32_t bad;
		const char *why;
	} rows[] = { { &r.family, 5, "family" },
		     { &r.protocol, 256, "protocol" },
		     { &r.icmp_type, 256, "icmp_type" },
		     { &r.icmp_code, 256, "icmp_code" },
		     { &r.tcp_flags_mask, 256, "tcp_flags_mask" },
		     { &r.tcp_flags, 256, "tcp_flags" },
		     { &r.dscp, 64, "dscp" },
		     { &r.vlan, 4095, "vlan" },
		     { &r.action, 3, "action" },
		     { &r.source_port_min, 2, "source_ports" },
		     { &r.destination_port_max, 65536, "destination_ports" } };

	(void)state;
	o.id = text_id;
	o.kind = kind;
	o.body_case = DEMARC__V1__OBJECT__BODY_ACL_PART;
	o.acl_part = &p;
	p.rules = rules;
	p.n_rules = 1;
	good.id = (ProtobufCBinaryData){ 16, id };
	good.family = IP_V4;
	good.has_source_ports = good.has_destination_ports = true;
	good.source_port_min = good.source_port_max = 1;
	good.source = (ProtobufCBinaryData){ 5, net };
	r = good;
	assert_int_equal(validate_object(&o, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		memcpy(rows[i].field, &rows[i].bad, sizeof(rows[i].bad));
		refused(&o, rows[i].why);
		refused(&o, "rules[0]");
		r = good;
	}
	r.id.len = 15;
	refused(&o, "id");
	r = good;
	r.source.len = 17;
	refused(&o, "source");
	r = good;
	r.source_group_id = text_id;
	refused(&o, "source");
	r.source.len = 0;
	assert_int_equal(validate_object(&o, NULL), 0);
}

static void test_long_part(void **state)
{
	uint8_t id[16] = { 1 };
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__AclPart p = DEMARC__V1__ACL_PART__INIT;
	Demarc__V1__AclRule r = DEMARC__V1__ACL_RULE__INIT, *rules[1025];
	char kind[] = "acl_part";

	(void)state;
	o.id = text_id;
	o.kind = kind;
	o.body_case = DEMARC__V1__OBJECT__BODY_ACL_PART;
	o.acl_part = &p;
	r.id = (ProtobufCBinaryData){ 16, id };
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		rules[i] = &r;
	p.rules = rules;
	p.n_rules = 1024;
	assert_int_equal(validate_object(&o, NULL), 0);
	p.n_rules = 1025;
	refused(&o, "rules");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_port),	 cmocka_unit_test(test_server),
		cmocka_unit_test(test_kinds),	 cmocka_unit_test(test_counts),
		cmocka_unit_test(test_members),	 cmocka_unit_test(test_address_group),
		cmocka_unit_test(test_acl_rule), cmocka_unit_test(test_long_part),
		cmocka_unit_test(test_limits),	 cmocka_unit_test(test_tunnels),
	};

	return cmocka_run_group_tests_name("node-validate", tests, NULL, NULL);
}
