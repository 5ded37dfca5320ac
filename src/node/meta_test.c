/* SPDX-License-Identifier: Apache-2.0 */
#include "node/meta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json.h"

#define ID "aaaaaaaa-0000-4000-8000-000000000001"

static char text_name[] = "vnf", text_mac[] = "02:00:00:00:00:01", text_ip[] = "10.0.0.5",
	    text_gw[] = "10.0.0.1", text_dns[] = "10.0.0.2",
	    text_sub[] = "bbbbbbbb-0000-4000-8000-000000000002", text_cidr[] = "10.0.0.0/24";

struct fixture {
	Demarc__V1__Server server;
	Demarc__V1__Image image;
	Demarc__V1__Port port;
	Demarc__V1__FixedIp ip, *ips[1];
	Demarc__V1__Network net;
	Demarc__V1__Subnet sub, *subs[1];
	char *dns[1];
	struct meta_nic nics[2];
};

static void build(struct fixture *f, struct meta_docs *d)
{
	static uint8_t user_data[] = "#!/bin/sh\n";

	demarc__v1__server__init(&f->server);
	demarc__v1__image__init(&f->image);
	demarc__v1__port__init(&f->port);
	demarc__v1__fixed_ip__init(&f->ip);
	demarc__v1__network__init(&f->net);
	demarc__v1__subnet__init(&f->sub);
	f->server.name = f->server.hostname = text_name;
	f->server.image = &f->image;
	f->server.user_data.data = user_data;
	f->server.user_data.len = sizeof(user_data) - 1;
	f->port.mac = text_mac;
	f->ip.ip = text_ip;
	f->ip.prefix_len = 24;
	f->ip.subnet_id = f->sub.id = text_sub;
	f->sub.cidr = text_cidr;
	f->sub.gateway_ip = text_gw;
	f->dns[0] = text_dns;
	f->sub.dns = f->dns;
	f->sub.n_dns = 1;
	f->subs[0] = &f->sub;
	f->net.subnets = f->subs;
	f->net.n_subnets = 1;
	f->ips[0] = &f->ip;
	f->port.fixed_ips = f->ips;
	f->port.n_fixed_ips = 1;
	f->nics[0] = (struct meta_nic){ 0 }; /* a detached slot */
	f->nics[1] = (struct meta_nic){ .id = ID, .tag = "wan", .port = &f->port, .network = &f->net };
	assert_int_equal(meta_build(ID, &f->server, f->nics, 2, d, NULL), 0);
}

static void test_lookup(void **state)
{
	static const struct {
		const char *path;
		int status;
		const char *text;
	} rows[] = {
		{ "/", 200, "2009-04-04\nlatest\nopenstack" },
		{ "/openstack", 200, "2018-08-27\nlatest" },
		{ "/openstack/latest/user_data", 200, "#!/bin/sh\n" },
		{ "/openstack/2018-08-27/user_data", 200, "#!/bin/sh\n" },
		{ "/latest/user-data", 200, "#!/bin/sh\n" },
		{ "/latest/meta-data/instance-id", 200, ID },
		{ "/2009-04-04/meta-data/hostname/", 200, "vnf" },
		{ "/latest/meta-data/local-ipv4", 200, "10.0.0.5" },
		{ "/latest", 200, "meta-data/\nuser-data" },
		{ "/latest/nothing", 404, NULL },
		{ "/never/meta-data", 404, NULL },
		{ "/latest/meta-dat", 404, NULL },
	};
	CLEANUP(meta_done) struct meta_docs d = { 0 };
	struct fixture f = { 0 };

	(void)state;
	build(&f, &d);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strbuf_done) struct strbuf b = { 0 };
		const char *type;
		int status = meta_lookup(&d, rows[i].path, &b, &type);

		if (status != rows[i].status ||
		    (rows[i].text && strcmp(strbuf_cstr(&b), rows[i].text) != 0))
			fail_msg("%s: %d %s", rows[i].path, status, strbuf_cstr(&b));
	}
}

static json_t *document(const struct meta_docs *d, const char *path)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	const char *type;

	assert_int_equal(meta_lookup(d, path, &b, &type), 200);
	assert_string_equal(type, "application/json");
	return json_loads(strbuf_cstr(&b), 0, NULL);
}

static void test_documents(void **state)
{
	CLEANUP(meta_done) struct meta_docs d = { 0 };
	CLEANUP(json_freep) json_t *meta = NULL;
	CLEANUP(json_freep) json_t *net = NULL;
	struct fixture f = { 0 };
	json_t *device, *network;

	(void)state;
	build(&f, &d);
	meta = document(&d, "/openstack/latest/meta_data.json");
	device = json_array_get(json_object_get(meta, "devices"), 0);
	assert_string_equal(json_str(device, "address"), "eth1");
	assert_string_equal(json_str(device, "mac"), text_mac);
	net = document(&d, "/openstack/latest/network_data.json");
	network = json_array_get(json_object_get(net, "networks"), 0);
	assert_string_equal(json_str(network, "link"), "eth1");
	assert_string_equal(json_str(network, "netmask"), "255.255.255.0");
	assert_string_equal(json_str(json_array_get(json_object_get(network, "routes"), 0), "gateway"),
			    text_gw);
	assert_string_equal(json_str(json_array_get(json_object_get(net, "services"), 0), "address"),
			    text_dns);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lookup),
					    cmocka_unit_test(test_documents) };

	return cmocka_run_group_tests_name("node-meta", tests, NULL, NULL);
}
