/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/port_address.h"

#include "base/json.h"
#include "hub/network/port.h"
#include "hub/session.h"

#define MAC_TRIES 16

/* Source: neutron.conf base_mac. */
static const uint8_t mac_prefix[3] = { 0xfa, 0x16, 0x3e };

static int mac_taken(struct req *r, const char *network_id, const char *mac, const char *except_id,
		     struct err *e)
{
	int64_t one;

	return db_get_int(r->db, &one, e,
			  "SELECT 1 FROM port WHERE network_id = ? AND mac_address = ? AND id <> ?",
			  "sss", network_id, mac, except_id);
}

int port_mac_make(struct req *r, const char *network_id, struct mac *ret, struct err *e)
{
	for (int i = 0; i < MAC_TRIES; i++) {
		char text[MAC_STR_SIZE];
		int rc;

		memcpy(ret->b, mac_prefix, 3);
		random_bytes(ret->b + 3, 3);
		rc = mac_taken(r, network_id, mac_format(*ret, text), "", e);
		if (rc <= 0)
			return rc;
	}
	return neutron_err(e, NEUTRON_MAC_NONE_LEFT, NULL, network_id);
}

int port_mac_check(struct req *r, const char *network_id, const char *mac, const char *except_id,
		   struct err *e)
{
	int rc = mac_taken(r, network_id, mac, except_id, e);

	return rc > 0 ? neutron_err(e, NEUTRON_MAC_IN_USE, "mac_address", network_id, mac) : rc;
}

static int pair_bad(struct req *r, const json_t *pair, struct err *e)
{
	return neutron_err(e, NEUTRON_INVALID_FOR, "allowed_address_pairs", "allowed_address_pairs",
			   arena_printf(r->arena, "'%s' is not a valid allowed address pair",
					net_json_text(r, pair)));
}

/* A bare address stays bare, as Neutron shows it. */
static int pair_check(struct req *r, json_t *pair, const char *port_mac, struct err *e)
{
	const char *ip = json_str(pair, "ip_address"), *mac = json_str(pair, "mac_address");
	size_t n = 1 + (json_object_get(pair, "mac_address") != NULL);
	char mac_text[MAC_STR_SIZE], ip_text[CIDR_STR_SIZE];
	struct ip_cidr c;
	struct ip_addr a;
	struct mac m;

	if (!json_is_object(pair) || !ip || json_object_size(pair) != n ||
	    mac_parse(str_of(mac ? mac : port_mac), &m) < 0)
		return pair_bad(r, pair, e);
	if (ip_parse(str_of(ip), &a) == 0)
		(void)ip_format(a, ip_text);
	else if (cidr_parse(str_of(ip), &c) == 0)
		(void)cidr_format((struct ip_cidr){ cidr_network(c), c.prefix_len }, ip_text);
	else
		return pair_bad(r, pair, e);
	(void)json_object_set_new(pair, "ip_address", json_string(ip_text));
	(void)json_object_set_new(pair, "mac_address", json_string(mac_format(m, mac_text)));
	return 0;
}

int port_pairs_check(struct req *r, json_t *list, const char *mac, struct err *e)
{
	json_t *pair;
	size_t i, k;

	if (json_array_size(list) > PORT_PAIRS_MAX)
		return neutron_err(e, NEUTRON_TOO_MANY_PAIRS, "allowed_address_pairs", "24");
	json_array_foreach(list, i, pair) {
		int rc = pair_check(r, pair, mac, e);

		if (rc < 0)
			return rc;
		for (k = 0; k < i; k++)
			if (json_equal(json_array_get(list, k), pair))
				return neutron_err(e, NEUTRON_PAIR_DUPLICATE, "allowed_address_pairs",
						   json_str(pair, "mac_address"),
						   json_str(pair, "ip_address"));
	}
	return 0;
}

/* Stateful and stateless groups exclude each other on a port. Source: neutron, "stateful-security-group". */
static int check_mixed(struct req *r, const char *port_id, struct err *e)
{
	int64_t kinds = 0;
	int rc = db_get_int(r->db, &kinds, e,
			    "SELECT count(DISTINCT g.stateful) FROM port_security_group m JOIN security_group g "
			    "ON g.id = m.security_group_id WHERE m.port_id = ?",
			    "s", port_id);

	if (rc > 0 && kinds > 1)
		return neutron_err(e, NEUTRON_GROUP_MIXED, "security_groups");
	return rc < 0 ? rc : 0;
}

int port_groups_set(struct req *r, const char *port_id, const json_t *ids, struct err *e)
{
	json_t *item;
	size_t i;
	int rc = db_exec(r->db, e, "DELETE FROM port_security_group WHERE port_id = ?", "s", port_id);

	if (rc >= 0 && (!json_is_array(ids) || json_array_size(ids) > PORT_GROUPS_MAX))
		return neutron_err(e, NEUTRON_INVALID_FOR, "security_groups", "security_groups",
				   "it must be a list of at most 8 security group ids");
	json_array_foreach(ids, i, item) {
		CLEANUP(json_freep) json_t *group = NULL;
		const char *id = json_string_value(item);

		rc = rest_need(r, &security_group_resource, id ? id : net_json_text(r, item), &group, e);
		if (rc >= 0)
			rc = db_exec(r->db, e,
				     "INSERT OR IGNORE INTO port_security_group (port_id, security_group_id) VALUES (?, ?)",
				     "ss", port_id, id);
		if (rc < 0)
			break;
	}
	return rc < 0 ? rc : check_mixed(r, port_id, e);
}

int port_groups_count(struct req *r, const char *port_id, struct err *e)
{
	int64_t n = 0;
	int rc = db_get_int(r->db, &n, e, "SELECT count(*) FROM port_security_group WHERE port_id = ?",
			    "s", port_id);

	return rc < 0 ? rc : (int)n;
}

/* Rules may name address groups that the node did not need before. */
static void touch_groups(void *req, const char *node_id)
{
	req_touch_node_parts(req, node_id, INTENT_GROUPS | INTENT_ADDRESSES);
}

int port_touch_members(struct req *r, const char *port_id, const char *node_id,
		       const char *network_id, struct err *e)
{
	return intent_nodes_of_member(r->db, port_id, node_id, network_id, touch_groups, r, e);
}
