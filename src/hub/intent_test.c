/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "link/frame.h"
#include "model/group.h"

/* One site with two nodes; a server with a freed slot, an uplink, a group with a remote group, a chain of two hops. */

#define NODE "00000000-0000-4000-8000-000000000001"
#define OTHER "00000000-0000-4000-8000-000000000002"

static const char *const rows[] = {
	"INSERT INTO site (id, name, created_us, updated_us) VALUES ('s1', 'home', 0, 0)",
	"INSERT INTO site (id, name, created_us, updated_us) VALUES ('s2', 'away', 0, 0)",
	"INSERT INTO node (id, name, site_id, created_us, updated_us) VALUES ('" NODE
	"', 'n1', 's1', 0, 0)",
	"INSERT INTO node (id, name, site_id, created_us, updated_us) VALUES ('" OTHER
	"', 'n2', 's1', 0, 0)",
	"INSERT INTO node (id, name, site_id, created_us, updated_us) VALUES ('n3', 'n3', 's2', 0, 0)",
	"INSERT INTO image (id, name, project_id, size, os_hash_algo, os_hash_value, disk_format, container_format, properties, "
	"created_us, updated_us) VALUES ('im', 'fw', 'p', 77, 'sha512', 'abcd', 'raw', 'docker', "
	"'{\"demarc:probe\":\"tcp:80\",\"demarc:restart\":\"never\"}', 0, 0)",
	"INSERT INTO network (id, name, project_id, mtu, network_type, physical_network, segmentation_id, created_us, updated_us) "
	"VALUES ('lan', 'LAN', 'p', 1450, 'vlan', 'lan', 12, 0, 0)",
	"INSERT INTO network (id, name, project_id, created_us, updated_us) VALUES ('mid', 'middle', 'p', 0, 0)",
	"INSERT INTO network (id, name, project_id, created_us, updated_us) VALUES ('far', 'elsewhere', 'p', 0, 0)",
	"INSERT INTO subnet (id, project_id, network_id, ip_version, cidr, gateway_ip, dns_nameservers, host_routes, created_us, "
	"updated_us) VALUES ('sub', 'p', 'lan', 4, '10.0.0.0/24', '10.0.0.1', '[\"9.9.9.9\"]', "
	"'[{\"destination\":\"10.9.0.0/16\",\"nexthop\":\"10.0.0.9\"}]', 0, 0)",
	"INSERT INTO subnet (id, project_id, network_id, ip_version, cidr, created_us, updated_us) "
	"VALUES ('sub6', 'p', 'lan', 6, 'fd00::/64', 0, 0)",
	"INSERT INTO server (id, name, hostname, project_id, user_id, image_id, flavor, metadata, user_data, node_id, created_us, "
	"updated_us) VALUES ('srv', 'fw', 'fw', 'p', 'u', 'im', '{\"original_name\":\"small\",\"vcpus\":2,\"ram\":256,\"disk\":1}', "
	"'{\"z\":\"1\",\"a\":\"2\",\"demarc:restart\":\"on-failure\"}', 'aGVsbG8=', '" NODE "', 5, 5)",
	"INSERT INTO port (id, network_id, project_id, mac_address, device_id, device_owner, node_id, allowed_address_pairs, "
	"created_us, updated_us) VALUES ('p1', 'lan', 'p', '02:00:00:00:00:01', 'srv', 'compute:home', '" NODE
	"', "
	"'[{\"ip_address\":\"10.0.0.200\",\"mac_address\":\"02:00:00:00:00:aa\"}]', 0, 0)",
	"INSERT INTO port (id, network_id, project_id, mac_address, device_id, device_owner, node_id, created_us, updated_us) "
	"VALUES ('p2', 'mid', 'p', '02:00:00:00:00:02', 'srv', 'compute:home', '" NODE "', 0, 0)",
	"INSERT INTO port (id, network_id, project_id, mac_address, device_owner, node_id, created_us, updated_us) "
	"VALUES ('up', 'lan', 'p', '02:00:00:00:00:03', 'network:uplink', '" NODE "', 0, 0)",
	"INSERT INTO port (id, network_id, project_id, mac_address, node_id, created_us, updated_us) "
	"VALUES ('px', 'lan', 'p', '02:00:00:00:00:04', '" OTHER "', 0, 0)",
	"INSERT INTO port (id, network_id, project_id, mac_address, node_id, created_us, updated_us) "
	"VALUES ('py', 'lan', 'p', '02:00:00:00:00:05', 'n3', 0, 0)",
	"INSERT INTO port_ip (port_id, subnet_id, ip, ord) VALUES ('p1', 'sub6', 'fd00::5', 1)",
	"INSERT INTO port_ip (port_id, subnet_id, ip, ord) VALUES ('p1', 'sub', '10.0.0.5', 0)",
	"INSERT INTO port_ip (port_id, subnet_id, ip, ord) VALUES ('px', 'sub', '10.0.0.6', 0)",
	"INSERT INTO port_ip (port_id, subnet_id, ip, ord) VALUES ('py', 'sub', '10.0.0.7', 0)",
	"INSERT INTO server_vif (server_id, idx, port_id, tag) VALUES ('srv', 0, 'p1', 'inside')",
	"INSERT INTO server_vif (server_id, idx, port_id) VALUES ('srv', 2, 'p2')",
	"INSERT INTO security_group (id, name, project_id, created_us, updated_us) VALUES ('g1', 'default', 'p', 0, 0)",
	"INSERT INTO security_group (id, name, project_id, created_us, updated_us) VALUES ('g2', 'web', 'p', 0, 0)",
	"INSERT INTO security_group_rule (id, project_id, security_group_id, direction, ethertype, protocol, port_range_min, "
	"port_range_max, remote_group_id, created_us, updated_us) "
	"VALUES ('r1', 'p', 'g1', 'ingress', 'IPv4', 'tcp', 80, 81, 'g2', 0, 0)",
	"INSERT INTO security_group_rule (id, project_id, security_group_id, direction, ethertype, protocol, port_range_min, "
	"created_us, updated_us) VALUES ('r2', 'p', 'g1', 'egress', 'IPv6', 'icmp', 128, 0, 0)",
	"INSERT INTO port_security_group VALUES ('p1', 'g1')",
	"INSERT INTO port_security_group VALUES ('px', 'g2')",
	"INSERT INTO port_security_group VALUES ('py', 'g2')",
	"INSERT INTO sfc_port_pair_group (id, name, project_id, on_failure) VALUES ('pg1', 'fw', 'p', 'bypass')",
	"INSERT INTO sfc_port_pair_group (id, name, project_id) VALUES ('pg2', 'nat', 'p')",
	"INSERT INTO sfc_port_pair (id, project_id, ingress, egress, group_id, service_function_parameters) "
	"VALUES ('pp1', 'p', 'p1', 'p2', 'pg1', '{\"weight\":3}')",
	"INSERT INTO sfc_port_pair (id, project_id, ingress, egress, group_id) VALUES ('pp2', 'p', 'px', 'px', 'pg1')",
	"INSERT INTO sfc_port_pair (id, project_id, ingress, egress, group_id) VALUES ('pp3', 'p', 'p2', 'p1', 'pg2')",
	"INSERT INTO sfc_port_chain (id, name, project_id, chain_serial, chain_parameters, mode, change_id) "
	"VALUES ('ch', 'chain', 'p', 1, '{\"symmetric\":true}', 'keep', 'chg')",
	"INSERT INTO sfc_chain_group VALUES ('ch', 0, 'pg2')",
	"INSERT INTO sfc_chain_group VALUES ('ch', 1, 'pg1')",
	"INSERT INTO sfc_flow_classifier (id, project_id, protocol, destination_port_range_min, destination_port_range_max, "
	"source_ip_prefix, logical_source_port, chain_id) VALUES ('fc', 'p', 'tcp', 80, 80, '10.0.0.0/24', 'up', 'ch')",
};

struct fixture {
	char folder[64];
	struct store *store;
	struct db *db;
};

static void sql(struct fixture *f, const char *text)
{
	struct err e = { 0 };

	if (db_exec(f->db, &e, text, "") < 0)
		fail_msg("%s: %s", text, e.msg);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[96];
	struct err e;

	snprintf(f->folder, sizeof(f->folder), "/tmp/demarc-intent-test-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(path, sizeof(path), "%s/hub.db", f->folder);
	assert_int_equal(store_open(path, &f->store, &e), 0);
	assert_int_equal(db_open(f->store, &f->db, &e), 0);
	assert_int_equal(db_begin(f->db, DB_WRITE, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		sql(f, rows[i]);
	assert_int_equal(db_commit(f->db, &e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct err e;
	int rc;

	db_close(f->db);
	store_close(f->store);
	rc = tree_remove(f->folder, &e);
	free(f);
	return rc;
}

static int compile(struct fixture *f)
{
	struct err e = { 0 };
	int rc;

	assert_int_equal(db_begin(f->db, DB_WRITE, &e), 0);
	rc = intent_compile(f->db, NODE, &e);
	if (rc < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(db_commit(f->db, &e), 0);
	return rc;
}

static int64_t number(struct fixture *f, const char *text)
{
	int64_t n = -1;
	struct err e;

	assert_int_equal(db_get_int(f->db, &n, &e, text, ""), 1);
	return n;
}

static Demarc__V1__Object *object(struct fixture *f, const char *kind, const char *id)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct err e;
	const void *body;
	size_t size;

	assert_int_equal(db_query(f->db, &q, &e,
				  "SELECT body FROM intent_object WHERE kind = ? AND id = ? AND deleted = 0",
				  "ss", kind, id),
			 0);
	assert_int_equal(db_step(q, &e), 1);
	body = db_blob(q, 0, &size);
	return (Demarc__V1__Object *)frame_unpack(&demarc__v1__object__descriptor, body, size);
}

static void done(Demarc__V1__Object *o)
{
	demarc__v1__object__free_unpacked(o, NULL);
}

/* ---- tests ---- */

static void what_is_in_it(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(compile(f), 1);
	assert_int_equal(number(f, "SELECT intent_revision FROM node WHERE id = '" NODE "'"), 1);
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object"),
			 9); /* 2 networks, 3 ports, 2 groups, 1 server, 1 chain */
	assert_int_equal(
		number(f, "SELECT count(*) FROM intent_object WHERE version = 1 AND deleted = 0"), 9);
	assert_int_equal(
		number(f, "SELECT count(*) FROM intent_object WHERE kind = 'port' AND id IN ('p1', 'p2', 'up')"),
		3);
	assert_int_equal(
		number(f, "SELECT count(*) FROM intent_object WHERE kind = 'network' AND id IN ('lan', 'mid')"),
		2);
}

static void second_compile_changes_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(compile(f), 1);
	assert_int_equal(compile(f), 0);
	assert_int_equal(number(f, "SELECT intent_revision FROM node WHERE id = '" NODE "'"), 1);
}

static void network_and_port(void **state)
{
	struct fixture *f = *state;
	Demarc__V1__Object *n, *p, *u;

	compile(f);
	n = object(f, "network", "lan");
	assert_string_equal(n->network->name, "LAN");
	assert_int_equal(n->network->mtu, 1450);
	assert_string_equal(n->network->physical_network, "lan");
	assert_int_equal(n->network->segmentation_id, 12);
	assert_int_equal(n->network->n_subnets, 2);
	assert_string_equal(n->network->subnets[0]->gateway_ip, "10.0.0.1");
	assert_string_equal(n->network->subnets[0]->dns[0], "9.9.9.9");
	assert_string_equal(n->network->subnets[0]->host_routes[0]->nexthop, "10.0.0.9");
	assert_string_equal(n->network->subnets[1]->gateway_ip, "");
	p = object(f, "port", "p1");
	assert_string_equal(p->port->server_id, "srv");
	assert_int_equal(p->port->n_fixed_ips, 2);
	assert_string_equal(p->port->fixed_ips[0]->ip, "10.0.0.5");
	assert_int_equal(p->port->fixed_ips[0]->prefix_len, 24);
	assert_int_equal(p->port->fixed_ips[1]->prefix_len, 64);
	assert_string_equal(p->port->allowed_address_pairs[0]->cidr, "10.0.0.200");
	assert_string_equal(p->port->security_group_ids[0], "g1");
	assert_false(p->port->uplink);
	u = object(f, "port", "up");
	assert_true(u->port->uplink);
	assert_string_equal(u->port->server_id, "");
	done(n);
	done(p);
	done(u);
}

static const char *const tunnel_rows[] = {
	"UPDATE network SET network_type = 'vxlan-gpe', segmentation_id = 77, nsh_path = 9, nsh_index = 250, nsh_md_type = 2, nsh_tlvs = "
	"'[{\"class\":258,\"type\":3,\"value\":\"aa\"}]' WHERE id = 'mid'",
	"INSERT INTO remote_vtep (id, project_id, network_id, ip_address, tunnel_type, segmentation_id, flood, mac_addresses, created_us, "
	"updated_us) VALUES ('v2', 'p', 'mid', '2001:db8::9', 'mpls-udp', 100, 0, '[\"02:00:00:00:09:02\",\"02:00:00:00:09:01\"]', 0, 0)",
	"UPDATE remote_vtep SET mpls_labels = '[16,17]' WHERE id = 'v2'",
	"INSERT INTO remote_vtep (id, project_id, network_id, ip_address, tunnel_type, segmentation_id, ovn_ingress_port, ovn_egress_port, "
	"created_us, updated_us) VALUES ('v1', 'p', 'mid', '192.0.2.9', 'geneve', 5, 3, 4, 0, 0)",
	"UPDATE remote_vtep SET ovn_ports = '[{\"mac_address\":\"02:00:00:00:09:03\",\"tunnel_key\":7}]' WHERE id = 'v1'",
	"UPDATE network SET outer_segmentation_id = 100 WHERE id = 'lan'",
};

static void tunnels_and_tags(void **state)
{
	struct fixture *f = *state;
	const Demarc__V1__Overlay *v;
	const Demarc__V1__ForeignVtep *end;
	Demarc__V1__Object *mid, *lan;

	for (size_t i = 0; i < ARRAY_LEN(tunnel_rows); i++)
		sql(f, tunnel_rows[i]);
	assert_int_equal(number(f, "SELECT count(*) FROM overlay_changed WHERE network_id = 'mid'"), 1);
	compile(f);
	mid = object(f, "network", "mid");
	v = mid->network->overlay;
	assert_string_equal(v->type, "vxlan-gpe");
	assert_int_equal(v->id, 77);
	assert_int_equal(v->nsh->path, 9);
	assert_int_equal(v->nsh->index, 250);
	assert_int_equal(v->nsh->md_type, 2);
	assert_int_equal(v->nsh->context.len, 8);
	assert_memory_equal(v->nsh->context.data, "\x01\x02\x03\x01\xaa\0\0\0", 8);
	assert_int_equal(v->n_foreign, 2);
	end = v->foreign[0];
	assert_string_equal(end->at->address, "192.0.2.9");
	assert_string_equal(end->type, "geneve");
	assert_int_equal(end->ovn_ingress_port, 3);
	assert_int_equal(end->ovn_egress_port, 4);
	assert_int_equal(end->n_ovn_ports, 1);
	assert_int_equal(end->ovn_ports[0]->key, 7);
	assert_int_equal(end->ovn_ports[0]->macs.len, 6);
	assert_int_equal(end->ovn_ports[0]->macs.data[5], 3);
	assert_int_equal(end->at->macs.len, 0);
	assert_false(end->no_flood);
	end = v->foreign[1];
	assert_string_equal(end->at->address, "2001:db8::9");
	assert_int_equal(end->id, 100);
	assert_true(end->no_flood);
	assert_int_equal(end->n_labels, 2);
	assert_int_equal(end->labels[1], 17);
	assert_int_equal(end->at->macs.len, 12);
	assert_int_equal(end->at->macs.data[11], 1);
	/* What a node that knows no pairs makes of it is a network without a NIC. */
	lan = object(f, "network", "lan");
	assert_string_equal(lan->network->physical_network, "");
	assert_int_equal(lan->network->segmentation_id, 0);
	assert_string_equal(lan->network->tags->physical_network, "lan");
	assert_int_equal(lan->network->tags->outer, 100);
	assert_int_equal(lan->network->tags->inner, 12);
	done(mid);
	done(lan);
}

#define TOLD                                                                                       \
	"SELECT count(*) FROM event WHERE kind = 'encapsulation_unsupported' AND node_id = '" NODE "'"

static void a_node_without_the_feature_is_told_of(void **state)
{
	struct fixture *f = *state;
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(tunnel_rows); i++)
		sql(f, tunnel_rows[i]);
	compile(f);
	assert_int_equal(number(f, TOLD), 0); /* it has not said yet what it can do */
	sql(f, "UPDATE node SET release = '0.0.9', features = '[\"acl\"]' WHERE id = '" NODE "'");
	assert_int_equal(intent_tell_unsupported(f->db, NODE, NULL, &e), 0);
	assert_int_equal(number(f, TOLD), 2);
	assert_int_equal(number(f, TOLD
				" AND resource = 'network/mid' AND severity = 'warning' AND text LIKE "
				"'%0.0.9%n1%remote VTEPs%middle%update%' AND project_id = 'p'"),
			 1);
	sql(f, "UPDATE network SET mtu = 1300 WHERE id = 'lan'");
	assert_int_equal(compile(f), 1);
	assert_int_equal(number(f, TOLD), 2); /* once */
	sql(f, "DELETE FROM event");
	sql(f, "UPDATE network SET mtu = 1301 WHERE id = 'lan'");
	assert_int_equal(compile(f), 1);
	assert_int_equal(number(f, TOLD " AND text LIKE '%pairs of VLAN tags%'"), 1);
	sql(f, "DELETE FROM event");
	sql(f, "UPDATE node SET features = '[\"encapsulations\"]' WHERE id = '" NODE "'");
	assert_int_equal(intent_tell_unsupported(f->db, NODE, NULL, &e), 0);
	assert_int_equal(number(f, TOLD), 0);
}

static void groups(void **state)
{
	struct fixture *f = *state;
	Demarc__V1__Object *g1, *g2;

	compile(f);
	g1 = object(f, "security_group", "g1");
	assert_int_equal(g1->security_group->n_rules, 2);
	assert_int_equal(g1->security_group->rules[0]->protocol, 6);
	assert_int_equal(g1->security_group->rules[0]->port_max, 81);
	assert_string_equal(g1->security_group->rules[0]->remote_group_id, "g2");
	assert_true(g1->security_group->rules[1]->egress);
	assert_int_equal(g1->security_group->rules[1]->protocol, 58);
	assert_int_equal(g1->security_group->rules[1]->port_min, 128);
	assert_int_equal(g1->security_group->rules[1]->port_max, 256);
	assert_int_equal(g1->security_group->n_member_ips, 0);
	g2 = object(f, "security_group", "g2");
	assert_int_equal(g2->security_group->n_rules, 0);
	assert_int_equal(g2->security_group->n_member_ips, 1); /* py is at another site */
	assert_string_equal(g2->security_group->member_ips[0], "10.0.0.6");
	assert_int_equal(g2->security_group->n_member_cidrs, 0);
	done(g1);
	done(g2);
}

/* 10,240 ports at the other node, with an address of each family that is as long as addresses get. */
static void fill_group(struct fixture *f)
{
	sql(f, "WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < 10239) "
	       "INSERT INTO port (id, network_id, project_id, mac_address, node_id, created_us, updated_us) "
	       "SELECT 'm' || i, 'lan', 'p', printf('02:00:00:01:%02x:%02x', i / 256, i % 256), '" OTHER
	       "', 0, 0 FROM n");
	sql(f, "INSERT INTO port_security_group SELECT id, 'g2' FROM port WHERE id LIKE 'm%'");
	sql(f, "INSERT INTO port_ip (port_id, subnet_id, ip, ord) SELECT id, 'sub', "
	       "printf('110.110.1%02d.1%02d', substr(id, 2) / 100, substr(id, 2) % 100), 0 FROM port WHERE id LIKE 'm%'");
	sql(f, "INSERT INTO port_ip (port_id, subnet_id, ip, ord) SELECT id, 'sub6', "
	       "printf('fd00:1111:2222:3333:4444:5555:6666:%04x', 4096 + substr(id, 2)), 1 FROM port WHERE id LIKE 'm%'");
	sql(f, "DELETE FROM port_security_group WHERE port_id = 'px'");
}

static void ten_thousand_members(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	Demarc__V1__Object *g2;

	fill_group(f);
	compile(f);
	g2 = object(f, "security_group", "g2");
	assert_int_equal(g2->security_group->n_member_ips, GROUP_MEMBERS_MAX);
	done(g2);
	/* One more is the request's fault, not the node's. */
	sql(f, "INSERT INTO port_security_group VALUES ('px', 'g2')");
	assert_int_equal(db_begin(f->db, DB_WRITE, &e), 0);
	assert_true(intent_compile(f->db, NODE, &e) < 0);
	db_rollback(f->db);
	assert_int_equal(e.fault, FAULT_CONFLICT);
	assert_string_equal(e.field, "remote_group_id");
	assert_non_null(strstr(e.msg, "g2 would have 20481 addresses"));
	assert_non_null(strstr(e.msg, "remote_ip_prefix"));
}

static void collect(void *ctx, const char *node_id)
{
	strbuf_addf(ctx, "%s ", node_id);
}

static void members_on_overlays(void **state)
{
	struct fixture *f = *state;
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	Demarc__V1__Object *g2;
	struct err e;

	/* py, at another site, is on an overlay that the node is not on: its address is of no use here. */
	sql(f, "UPDATE network SET network_type = 'vxlan', segmentation_id = 9 WHERE id = 'far'");
	sql(f, "UPDATE port SET network_id = 'far' WHERE id = 'py'");
	compile(f);
	g2 = object(f, "security_group", "g2");
	assert_int_equal(g2->security_group->n_member_ips, 1);
	done(g2);
	assert_int_equal(intent_nodes_of_member(f->db, "py", "n3", "far", collect, &b, &e), 0);
	assert_int_equal(b.len, 0);
	sql(f, "UPDATE port SET network_id = 'far' WHERE id = 'p2'");
	compile(f);
	g2 = object(f, "security_group", "g2");
	assert_int_equal(g2->security_group->n_member_ips, 2);
	done(g2);
	assert_int_equal(intent_nodes_of_member(f->db, "py", "n3", "far", collect, &b, &e), 0);
	assert_non_null(strstr(b.ptr, NODE));
}

#define RULE(n) "00000000-0000-4000-8000-0000000001" n

static const char *const policy_rows[] = {
	"INSERT INTO address_group (id, project_id, created_us, updated_us) VALUES ('ag1', 'p', 0, 0)",
	"INSERT INTO address_group (id, project_id, created_us, updated_us) VALUES ('ag2', 'p', 0, 0)",
	"INSERT INTO address_group (id, project_id, created_us, updated_us) VALUES ('ag3', 'p', 0, 0)",
	"INSERT INTO address_group_address VALUES ('ag1', '10.0.0.0/8'), ('ag1', 'fd00::/64'), ('ag3', '10.1.0.0/16')",
	"UPDATE security_group SET stateful = 0 WHERE id = 'g1'",
	"UPDATE security_group_rule SET remote_address_group_id = 'ag2' WHERE id = 'r2'",
	"INSERT INTO firewall_rule (id, project_id, action, source_address_group_id, destination_port, created_us, updated_us) "
	"VALUES ('" RULE("01") "', 'p', 'allow', 'ag1', '80', 0, 0)",
	"INSERT INTO firewall_rule (id, project_id, enabled, source_address_group_id, created_us, updated_us) "
	"VALUES ('" RULE("02") "', 'p', 0, 'ag3', 0, 0)",
	"INSERT INTO firewall_rule (id, project_id, ip_version, destination_ip_address, created_us, updated_us) "
	"VALUES ('" RULE("03") "', 'p', 6, 'fd00::1', 0, 0)",
	"INSERT INTO firewall_policy (id, project_id, created_us, updated_us) VALUES ('fp', 'p', 0, 0)",
	"INSERT INTO firewall_policy (id, project_id, created_us, updated_us) VALUES ('a-empty', 'p', 0, 0)",
	"INSERT INTO firewall_policy_rule VALUES ('fp', '" RULE("03") "', 1), ('fp', '" RULE(
		"02") "', 2), ('fp', '" RULE("01") "', 3)",
	("INSERT INTO firewall_group (id, project_id, ingress_policy_id, egress_policy_id, created_us, updated_us) "
	 "VALUES ('fg', 'p', 'fp', 'a-empty', 0, 0)"),
	"INSERT INTO firewall_group_port VALUES ('p1', 'fg')",
	"INSERT INTO firewall_group (id, project_id, admin_state_up, created_us, updated_us) VALUES ('off', 'p', 0, 0, 0)",
	"INSERT INTO firewall_group_port VALUES ('up', 'off')",
};

static void policy(void **state)
{
	struct fixture *f = *state;
	Demarc__V1__Object *p1, *up, *list, *part, *ag1, *ag2, *g1;
	const Demarc__V1__AclRule *r;

	for (size_t i = 0; i < ARRAY_LEN(policy_rows); i++)
		sql(f, policy_rows[i]);
	compile(f);
	p1 = object(f, "port", "p1");
	assert_int_equal(p1->port->n_acl_in_ids, 1);
	assert_string_equal(p1->port->acl_in_ids[0], "fp");
	assert_string_equal(p1->port->acl_out_ids[0], "a-empty");
	up = object(f, "port", "up");
	assert_string_equal(up->port->acl_in_ids[0], "off");
	assert_string_equal(up->port->acl_out_ids[0], "off");
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object WHERE kind = 'acl'"), 3);
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object WHERE kind = 'acl_part'"), 1);
	list = object(f, "acl", "fp");
	assert_int_equal(list->acl->n_part_ids, 1);
	part = object(f, "acl_part", list->acl->part_ids[0]);
	assert_int_equal(part->acl_part->n_rules, 2); /* one is disabled */
	r = part->acl_part->rules[0];
	assert_int_equal(r->id.data[15], 3);
	assert_int_equal(r->family, 6);
	assert_int_equal(r->destination.len, 17);
	assert_int_equal(r->destination.data[16], 128);
	assert_int_equal(r->action, DEMARC__V1__ACL_ACTION__ACL_DENY);
	r = part->acl_part->rules[1];
	assert_string_equal(r->source_group_id, "ag1");
	assert_int_equal(r->destination_port_min, 80);
	assert_int_equal(r->destination_port_max, 80);
	ag1 = object(f, "address_group", "ag1");
	assert_int_equal(ag1->address_group->cidrs4.len, 5);
	assert_int_equal(ag1->address_group->cidrs6.data[16], 64);
	ag2 = object(f, "address_group", "ag2");
	assert_int_equal(ag2->address_group->cidrs4.len, 0);
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object WHERE kind = 'address_group'"),
			 2);
	g1 = object(f, "security_group", "g1");
	assert_true(g1->security_group->stateless);
	assert_string_equal(g1->security_group->rules[1]->remote_address_group_id, "ag2");
	done(p1);
	done(up);
	done(list);
	done(part);
	done(ag1);
	done(ag2);
	done(g1);
}

static void a_long_list_has_parts(void **state)
{
	struct fixture *f = *state;
	Demarc__V1__Object *list, *last;

	for (size_t i = 0; i < ARRAY_LEN(policy_rows); i++)
		sql(f, policy_rows[i]);
	sql(f, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2048) "
	       "INSERT INTO firewall_rule (id, project_id, created_us, updated_us) "
	       "SELECT printf('10000000-0000-4000-8000-%012x', i), 'p', 0, 0 FROM n");
	sql(f, "INSERT INTO firewall_policy_rule SELECT 'a-empty', id, row_number() OVER (ORDER BY id) "
	       "FROM firewall_rule WHERE id LIKE '1%'");
	compile(f);
	list = object(f, "acl", "a-empty");
	assert_int_equal(list->acl->n_part_ids, 2);
	last = object(f, "acl_part", list->acl->part_ids[1]);
	assert_int_equal(last->acl_part->n_rules, 1024);
	assert_int_equal(last->acl_part->rules[1023]->id.data[14], 8); /* 2048 */
	done(list);
	done(last);
	sql(f, "UPDATE firewall_rule SET action = 'allow' WHERE id LIKE '1%800'");
	assert_int_equal(compile(f), 0); /* by hand: no other revision, nobody looks */
	sql(f, "UPDATE firewall_policy SET revision_number = 2 WHERE id = 'a-empty'");
	assert_int_equal(compile(f), 1);
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object WHERE version = 2"), 2);
	assert_int_equal(
		number(f, "SELECT count(*) FROM intent_object WHERE version = 2 AND kind = 'acl_part'"),
		1);
	sql(f, "UPDATE port SET name = 'x' WHERE id = 'p1'");
	assert_int_equal(compile(f), 1);
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object WHERE deleted"), 0);
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object WHERE version = 3"), 1);
	/* What was kept is what is built from nothing. */
	sql(f, "CREATE TEMP TABLE kept AS SELECT kind, id, body FROM intent_object");
	sql(f, "DELETE FROM intent_object");
	assert_int_equal(compile(f), 1);
	assert_int_equal(
		number(f, "SELECT count(*) FROM kept k JOIN intent_object o USING (kind, id, body)"),
		number(f, "SELECT count(*) FROM kept"));
}

static void subnets_of_pairs_are_members(void **state)
{
	struct fixture *f = *state;
	Demarc__V1__Object *g2;

	sql(f, "UPDATE port SET allowed_address_pairs = '[{\"ip_address\":\"10.2.0.0/16\"},{\"ip_address\":\"10.0.0.9\"},"
	       "{\"ip_address\":\"10.2.0.0/16\"}]' WHERE id = 'px'");
	compile(f);
	g2 = object(f, "security_group", "g2");
	assert_int_equal(g2->security_group->n_member_ips, 2);
	assert_int_equal(g2->security_group->n_member_cidrs, 1);
	assert_string_equal(g2->security_group->member_cidrs[0], "10.2.0.0/16");
	done(g2);
}

static void server(void **state)
{
	struct fixture *f = *state;
	Demarc__V1__Object *o;
	Demarc__V1__Server *s;

	compile(f);
	o = object(f, "server", "srv");
	s = o->server;
	assert_string_equal(s->flavor_name, "small");
	assert_int_equal(s->vcpus, 2);
	assert_int_equal(s->memory_mb, 256);
	assert_int_equal(s->n_vifs, 3);
	assert_string_equal(s->vifs[0]->port_id, "p1");
	assert_string_equal(s->vifs[0]->tag, "inside");
	assert_string_equal(s->vifs[1]->port_id, "");
	assert_string_equal(s->vifs[2]->port_id, "p2");
	assert_string_equal(s->image->sha512, "abcd");
	assert_int_equal(s->image->size_bytes, 77);
	assert_int_equal(s->user_data.len, 5);
	assert_memory_equal(s->user_data.data, "hello", 5);
	assert_int_equal(s->n_metadata, 3);
	assert_string_equal(s->metadata[0]->key, "a");
	assert_string_equal(s->probe, "tcp:80");
	assert_int_equal(s->restart, DEMARC__V1__RESTART_POLICY__RESTART_ON_FAILURE);
	assert_int_equal(s->power, DEMARC__V1__POWER__POWER_RUNNING);
	done(o);
}

static void chain(void **state)
{
	struct fixture *f = *state;
	Demarc__V1__Object *o;
	Demarc__V1__Chain *c;

	compile(f);
	o = object(f, "chain", "ch");
	c = o->chain;
	assert_string_equal(c->change_id, "chg");
	assert_int_equal(c->mode, DEMARC__V1__FLIP_MODE__FLIP_KEEP);
	assert_true(c->symmetric);
	assert_int_equal(c->n_hops, 2);
	assert_string_equal(c->hops[0]->group_id, "pg2");
	assert_int_equal(c->hops[0]->on_failure, DEMARC__V1__ON_FAILURE__ON_FAILURE_DROP);
	assert_string_equal(c->hops[1]->group_id, "pg1");
	assert_int_equal(c->hops[1]->on_failure, DEMARC__V1__ON_FAILURE__ON_FAILURE_BYPASS);
	assert_int_equal(c->hops[1]->n_pairs, 1); /* pp2 is on another node */
	assert_string_equal(c->hops[1]->pairs[0]->egress_port_id, "p2");
	assert_int_equal(c->hops[1]->pairs[0]->weight, 3);
	assert_int_equal(c->n_classifiers, 1);
	assert_true(c->classifiers[0]->has_destination_ports);
	assert_false(c->classifiers[0]->has_source_ports);
	assert_string_equal(c->classifiers[0]->logical_source_port, "up");
	done(o);
}

static void only_what_differs_gets_a_version(void **state)
{
	struct fixture *f = *state;

	compile(f);
	sql(f, "UPDATE server SET power = 'stopped' WHERE id = 'srv'");
	assert_int_equal(compile(f), 1);
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object WHERE version = 2"), 1);
	assert_int_equal(number(f, "SELECT version FROM intent_object WHERE kind = 'server'"), 2);
}

static void what_is_gone_leaves_a_tombstone(void **state)
{
	struct fixture *f = *state;

	compile(f);
	sql(f, "UPDATE port SET node_id = NULL WHERE id = 'up'");
	assert_int_equal(compile(f), 1);
	assert_int_equal(
		number(f, "SELECT deleted FROM intent_object WHERE kind = 'port' AND id = 'up'"), 1);
	assert_int_equal(
		number(f, "SELECT length(body) FROM intent_object WHERE kind = 'port' AND id = 'up'"),
		0);
	assert_int_equal(compile(f), 0);
	sql(f, "UPDATE port SET node_id = '" NODE "' WHERE id = 'up'");
	assert_int_equal(compile(f), 1);
	assert_int_equal(
		number(f, "SELECT version FROM intent_object WHERE id = 'up' AND deleted = 0"), 3);
}

static void unknown_node_is_nothing(void **state)
{
	struct fixture *f = *state;
	struct err e;

	assert_int_equal(intent_compile(f->db, "no such node", &e), 0);
}

/* What a part leaves is what the whole would have made of it. */
static void a_part_alone(void **state)
{
	struct fixture *f = *state;
	struct err e;

	assert_int_equal(compile(f), 1);
	sql(f, "UPDATE security_group_rule SET port_range_max = 90 WHERE id = 'r1'");
	sql(f, "UPDATE port SET mac_address = 'fa:16:3e:00:00:99' WHERE id = 'p1'");
	assert_int_equal(db_begin(f->db, DB_WRITE, &e), 0);
	assert_int_equal(intent_compile_parts(f->db, NODE, INTENT_GROUPS | INTENT_ADDRESSES, &e), 1);
	assert_int_equal(intent_compile_parts(f->db, NODE, INTENT_GROUPS | INTENT_ADDRESSES, &e), 0);
	assert_int_equal(db_commit(f->db, &e), 0);
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object WHERE version = 2"), 1);
	assert_int_equal(number(f, "SELECT version FROM intent_object WHERE id = 'g1'"), 2);
	assert_int_equal(compile(f), 1); /* the port */
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object WHERE version = 3"), 1);
	/* What is gone leaves a tombstone, and what is not asked for stays. */
	sql(f, "DELETE FROM port_security_group WHERE port_id = 'p1'");
	assert_int_equal(db_begin(f->db, DB_WRITE, &e), 0);
	assert_int_equal(intent_compile_parts(f->db, NODE, INTENT_GROUPS, &e), 1);
	assert_int_equal(db_commit(f->db, &e), 0);
	assert_int_equal(number(f, "SELECT count(*) FROM intent_object WHERE deleted = 1"), 2);
	assert_int_equal(
		number(f, "SELECT count(*) FROM intent_object WHERE deleted = 1 AND kind = 'security_group'"),
		2);
}

/* Each kind of object belongs to a part: or a partial compilation would never see it. */
static void every_kind_has_a_part(void **state)
{
	struct fixture *f = *state;
	struct err e;

	for (unsigned part = 1; part < INTENT_ALL; part <<= 1) {
		assert_int_equal(db_begin(f->db, DB_WRITE, &e), 0);
		sql(f, "UPDATE node SET intent_revision = 1 WHERE id = '" NODE
		       "' AND intent_revision = 0");
		assert_true(intent_compile_parts(f->db, NODE, part, &e) >= 0);
		assert_int_equal(db_commit(f->db, &e), 0);
	}
	assert_int_equal(compile(f), 0);
}

static void which_nodes(void **state)
{
	struct fixture *f = *state;
	struct err e;
	struct strbuf b = { 0 };

	assert_int_equal(intent_nodes_of_network(f->db, "mid", collect, &b, &e), 0);
	assert_string_equal(strbuf_cstr(&b), NODE " ");
	b.len = 0;
	assert_int_equal(intent_nodes_of_group(f->db, "g2", collect, &b, &e), 0);
	assert_non_null(strstr(b.ptr, NODE)); /* its g1 names g2 */
	assert_non_null(strstr(b.ptr, OTHER));
	b.len = 0;
	assert_int_equal(intent_nodes_of_chain_port(f->db, "up", collect, &b, &e), 0);
	assert_non_null(strstr(b.ptr, NODE)); /* as logical source port */
	assert_non_null(strstr(b.ptr, OTHER));
	strbuf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_in_it, setup, teardown),
		cmocka_unit_test_setup_teardown(second_compile_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(network_and_port, setup, teardown),
		cmocka_unit_test_setup_teardown(tunnels_and_tags, setup, teardown),
		cmocka_unit_test_setup_teardown(a_node_without_the_feature_is_told_of, setup, teardown),
		cmocka_unit_test_setup_teardown(groups, setup, teardown),
		cmocka_unit_test_setup_teardown(ten_thousand_members, setup, teardown),
		cmocka_unit_test_setup_teardown(members_on_overlays, setup, teardown),
		cmocka_unit_test_setup_teardown(policy, setup, teardown),
		cmocka_unit_test_setup_teardown(a_long_list_has_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(subnets_of_pairs_are_members, setup, teardown),
		cmocka_unit_test_setup_teardown(server, setup, teardown),
		cmocka_unit_test_setup_teardown(chain, setup, teardown),
		cmocka_unit_test_setup_teardown(only_what_differs_gets_a_version, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_gone_leaves_a_tombstone, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_node_is_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_part_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(every_kind_has_a_part, setup, teardown),
		cmocka_unit_test_setup_teardown(which_nodes, setup, teardown),
	};

	return cmocka_run_group_tests_name("intent", tests, NULL, NULL);
}
