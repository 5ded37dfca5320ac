/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/port.h"

#include <stdio.h>

#include "base/json.h"
#include "hub/chain/chain.h"
#include "hub/network/fixed_ip.h"
#include "hub/network/port_address.h"
#include "hub/network/port_guard.h"
#include "hub/network/qos.h"
#include "hub/network/security_group.h"

/*
 * Ports. Rows of port_ip and port_security_group hang on a port; they are written by the hooks, and read for a whole page
 * by one query. Documented extensions: network_id may be updated in place (the vNIC and its MAC stay, addresses are taken on
 * the new network), and a port with device_owner "network:uplink" names a node's NIC.
 */

static const char *const vnic_types[] = { "normal",    "direct",	  "macvtap",
					  "baremetal", "direct-physical", NULL };

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "network_id", "network_id", ATTR_UUID, ATTR_REQUIRED | ATTR_RW | ATTR_FILTER | ATTR_SORT },
	{ "mac_address", "mac_address", ATTR_MAC, ATTR_RW | ATTR_FILTER | ATTR_SORT },
	{ "admin_state_up", "admin_state_up", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "true" },
	{ "device_id", "device_id", ATTR_STR, ATTR_RW | ATTR_FILTER | ATTR_SORT, .dflt = "\"\"" },
	{ "device_owner", "device_owner", ATTR_STR, ATTR_RW | ATTR_FILTER | ATTR_SORT, .dflt = "\"\"" },
	{ "status", "status", ATTR_STR, ATTR_FILTER | ATTR_SORT },
	{ "fixed_ips", NULL, ATTR_LIST, ATTR_RW | ATTR_NULLABLE },
	{ "security_groups", NULL, ATTR_LIST, ATTR_RW | ATTR_NULLABLE },
	{ "allowed_address_pairs", "allowed_address_pairs", ATTR_LIST, ATTR_RW | ATTR_NULLABLE },
	{ "port_security_enabled", "port_security_enabled", ATTR_BOOL, ATTR_RW | ATTR_FILTER },
	{ "qos_policy_id", "qos_policy_id", ATTR_UUID, ATTR_RW | ATTR_FILTER | ATTR_NULLABLE },
	{ "extra_dhcp_opts", "extra_dhcp_opts", ATTR_LIST, ATTR_RW | ATTR_NULLABLE, .max = 16 },
	{ "dns_name", "dns_name", ATTR_STR, ATTR_RW | ATTR_FILTER, .max = 63, .dflt = "\"\"" },
	{ "dns_assignment", NULL, ATTR_ANY, 0 },
	PORT_GUARD_ATTRS,
	{ "binding:host_id", NULL, ATTR_STR, ATTR_RW | ATTR_ADMIN | ATTR_ADMIN_SEE | ATTR_NULLABLE },
	{ "binding:vnic_type", "vnic_type", ATTR_ENUM, ATTR_RW | ATTR_FILTER, .choices = vnic_types,
	  .dflt = "\"normal\"" },
	{ "binding:profile", "binding_profile", ATTR_OBJ,
	  ATTR_RW | ATTR_ADMIN | ATTR_ADMIN_SEE | ATTR_NULLABLE },
	{ "binding:vif_type", NULL, ATTR_ANY, ATTR_ADMIN_SEE },
	{ "binding:vif_details", NULL, ATTR_ANY, ATTR_ADMIN_SEE },
	NET_ATTR_TAGS,
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ "node_id", "node_id", ATTR_STR, ATTR_HIDDEN },
	{ 0 },
};

static bool is_uplink(const json_t *row)
{
	const char *owner = json_str(row, "device_owner");

	return owner && strcmp(owner, PORT_OWNER_UPLINK) == 0;
}

/* NULL lists and objects mean their empty value, as Neutron's converters have it. */
static void nulls_to_empty(json_t *row)
{
	static const char *const lists[] = { "allowed_address_pairs", "extra_dhcp_opts" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		if (json_is_null(json_object_get(row, lists[i])))
			(void)json_object_set_new(row, lists[i], json_array());
	if (json_is_null(json_object_get(row, "binding:profile")))
		(void)json_object_set_new(row, "binding:profile", json_object());
}

static int check_dhcp_opts(struct req *r, const json_t *row, struct err *e)
{
	json_t *opt;
	size_t i;

	json_array_foreach(json_object_get(row, "extra_dhcp_opts"), i, opt) {
		const json_t *value = json_object_get(opt, "opt_value");

		if (!json_str(opt, "opt_name") ||
		    (value && !json_is_string(value) && !json_is_null(value)))
			return neutron_err(e, NEUTRON_INVALID_FOR, "extra_dhcp_opts", "extra_dhcp_opts",
					   arena_printf(r->arena, "'%s' is not a valid DHCP option",
							net_json_text(r, opt)));
	}
	return 0;
}

/* Source: RFC 1123 2.1, as a label or labels joined by '.'. */
static int check_dns_name(struct req *r, const json_t *row, struct err *e)
{
	const char *name = json_str(row, "dns_name");
	char before = '.';

	for (const char *c = name; c && *c; before = *c++) {
		bool word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			    (*c >= '0' && *c <= '9');

		if (!word && !(*c == '-' && before != '.') &&
		    !(*c == '.' && before != '.' && before != '-'))
			return neutron_err(e, NEUTRON_INVALID_FOR, "dns_name", "dns_name",
					   arena_printf(r->arena, "'%s' not a valid PQDN or FQDN", name));
	}
	return 0;
}

/* On somebody else's shared network a port may not pretend to be another one.
 * Source: neutron policies create_port:mac_address and so on (ADMIN_OR_NET_OWNER). */
static int check_trust(struct req *r, const json_t *network, const json_t *given, struct err *e)
{
	static const char *const names[] = { "mac_address", "port_security_enabled" };
	const char *owner = json_str(network, "project_id"), *device = json_str(given, "device_owner");
	json_t *item;
	size_t i;

	if (r->auth.is_admin)
		return 0;
	if (device && strncmp(device, "network:", 8) == 0)
		return neutron_err(e, NEUTRON_NOT_ALLOWED, "device_owner", "create_port:device_owner");
	if (owner && r->auth.project_id && strcmp(owner, r->auth.project_id) == 0)
		return 0;
	for (i = 0; i < ARRAY_LEN(names); i++)
		if (json_object_get(given, names[i]))
			return neutron_err(e, NEUTRON_NOT_ALLOWED, names[i],
					   arena_printf(r->arena, "create_port:%s", names[i]));
	if (json_array_size(json_object_get(given, "allowed_address_pairs")))
		return neutron_err(e, NEUTRON_NOT_ALLOWED, "allowed_address_pairs",
				   "create_port:allowed_address_pairs");
	json_array_foreach(json_object_get(given, "fixed_ips"), i, item)
		if (json_object_get(item, "ip_address"))
			return neutron_err(e, NEUTRON_NOT_ALLOWED, "fixed_ips",
					   "create_port:fixed_ips:ip_address");
	return 0;
}

/* binding:host_id: a node's name or id; "" and null: none. Sets node_id in the row when the attribute is there. */
static int check_host(struct req *r, json_t *row, struct err *e)
{
	const json_t *v = json_object_get(row, "binding:host_id");
	const char *host = json_string_value(v), *node;
	int rc;

	if (!v)
		return 0;
	if (!host || !*host)
		return json_object_set_new(row, "node_id", json_null());
	rc = db_get_text(r->db, r->arena, &node, e,
			 "SELECT id FROM node WHERE (id = ? OR name = ?) AND revoked = 0", "ss",
			 host, host);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return neutron_err(e, NEUTRON_HOST_NOT_FOUND, "binding:host_id", host);
	return json_object_set_new(row, "node_id", json_string(node));
}

/* An uplink names one NIC of one node: it needs a provider network, and one of its kind is enough. */
static int check_uplink(struct req *r, const json_t *row, const char *id, const json_t *network,
			struct err *e)
{
	const char *node = json_str(row, "node_id"), *other;
	int rc;

	if (!is_uplink(row) || !node)
		return 0;
	if (!json_str(network, "provider:physical_network"))
		return neutron_err(e, NEUTRON_INVALID_INPUT, "network_id",
				   "a port with device_owner network:uplink needs a flat or vlan network");
	rc = db_get_text(r->db, r->arena, &other, e,
			 "SELECT id FROM port WHERE node_id = ? AND network_id = ? AND device_owner = ? AND id <> ?",
			 "ssss", node, json_str(row, "network_id"), PORT_OWNER_UPLINK, id);
	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "binding:host_id",
			       "Port %s is the uplink of this node on this network already.", other);
	return rc;
}

static int need_network(struct req *r, const char *id, json_t **ret, struct err *e)
{
	int rc = rest_need(r, &network_resource, id, ret, e);

	if (rc < 0 || json_bool(*ret, "shared", false))
		return rc;
	return net_own(r, *ret, "create_port", e);
}

static int check_mac(struct req *r, json_t *row, struct err *e)
{
	const char *network = json_str(row, "network_id"), *mac = json_str(row, "mac_address");
	char text[MAC_STR_SIZE];
	struct mac m;
	int rc;

	if (mac)
		return port_mac_check(r, network, mac, "", e);
	rc = port_mac_make(r, network, &m, e);
	return rc < 0 ? rc : json_object_set_new(row, "mac_address", json_string(mac_format(m, text)));
}

/* Pairs and groups are of no use, and misleading, on a port that lets everything pass. */
static int check_security(const json_t *row, struct err *e)
{
	if (json_bool(row, "port_security_enabled", true))
		return 0;
	if (json_array_size(json_object_get(row, "allowed_address_pairs")))
		return neutron_err(e, NEUTRON_PAIR_NEEDS_SECURITY, "allowed_address_pairs");
	if (json_array_size(json_object_get(row, "security_groups")))
		return neutron_err(e, NEUTRON_GROUP_NEEDS_SECURITY, "security_groups");
	return 0;
}

static const char *status_of(const json_t *row)
{
	if (!json_str(row, "node_id"))
		return "DOWN";
	return is_uplink(row) ? "ACTIVE" : "BUILD";
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	CLEANUP(json_freep) json_t *network = NULL;
	int rc = need_network(r, json_str(row, "network_id"), &network, e);

	if (rc < 0)
		return rc;
	nulls_to_empty(row);
	rc = check_trust(r, network, row, e);
	if (rc < 0)
		return rc;
	if (!json_object_get(row, "port_security_enabled"))
		(void)json_object_set_new(
			row, "port_security_enabled",
			json_boolean(!is_uplink(row) &&
				     json_bool(network, "port_security_enabled", true)));
	rc = check_host(r, row, e);
	if (rc == 0)
		rc = check_dns_name(r, row, e);
	if (rc == 0)
		rc = check_uplink(r, row, "", network, e);
	if (rc == 0)
		rc = check_mac(r, row, e);
	if (rc == 0)
		rc = qos_check(r, row, e);
	if (rc == 0)
		rc = port_guard_check(r, row, e);
	if (rc == 0)
		rc = check_dhcp_opts(r, row, e);
	if (rc == 0)
		rc = port_pairs_check(r, json_object_get(row, "allowed_address_pairs"),
				      json_str(row, "mac_address"), e);
	if (rc == 0)
		rc = check_security(row, e);
	return rc < 0 ? rc : json_object_set_new(row, "status", json_string(status_of(row)));
}

/* The groups of a new port: given, or the project's default group when port security is on. */
static int create_groups(struct req *r, const json_t *row, struct err *e)
{
	const json_t *given = json_object_get(row, "security_groups");
	const char *id = json_str(row, "id"), *group;
	int rc;

	if (json_is_array(given))
		return port_groups_set(r, id, given, e);
	if (!json_bool(row, "port_security_enabled", true))
		return 0;
	rc = default_group(r, json_str(row, "project_id"), &group, e);
	if (rc == 0)
		rc = db_exec(r->db, e,
			     "INSERT INTO port_security_group (port_id, security_group_id) VALUES (?, ?)",
			     "ss", id, group);
	return rc < 0 ? rc : 0;
}

static struct mac mac_of(const json_t *row)
{
	struct mac m = { 0 };

	if (mac_parse(str_of(json_str(row, "mac_address")), &m) < 0)
		return (struct mac){ 0 };
	return m;
}

/* The port's own node, and those whose rules know its addresses. */
static int touch(struct req *r, const char *port_id, const char *node_id, const char *network_id,
		 struct err *e)
{
	if (!node_id)
		return 0;
	req_touch_node(r, node_id);
	return port_touch_members(r, port_id, node_id, network_id, e);
}

static int touch_row(struct req *r, const json_t *row, struct err *e)
{
	return touch(r, json_str(row, "id"), json_str(row, "node_id"), json_str(row, "network_id"), e);
}

static int created(struct req *r, json_t *row, struct err *e)
{
	const json_t *ips = json_object_get(row, "fixed_ips");
	const char *id = json_str(row, "id"), *network = json_str(row, "network_id");
	int rc = 0;

	/* An uplink has no addresses of its own unless it is given some. */
	if (json_is_array(ips) || !is_uplink(row))
		rc = fixed_ips_assign(r, id, network, mac_of(row), json_is_array(ips) ? ips : NULL, e);
	if (rc == 0)
		rc = create_groups(r, row, e);
	return rc < 0 ? rc : touch_row(r, row, e);
}

/* Another network in place: the MAC must be free there, the addresses are given back. */
static int rewire(struct req *r, const json_t *old, const json_t *now, struct err *e)
{
	const char *id = json_str(old, "id"), *network = json_str(now, "network_id"),
		   *mac = json_str(now, "mac_address");
	CLEANUP(json_freep) json_t *found = NULL;
	int rc = need_network(r, network, &found, e);

	if (rc == 0)
		rc = check_uplink(r, now, id, found, e);
	if (rc == 0)
		rc = port_mac_check(r, network, mac, id, e);
	return rc < 0 ? rc : fixed_ips_release(r, id, json_str(old, "network_id"), e);
}

static int update_mac(struct req *r, const json_t *old, const json_t *changes, struct err *e)
{
	const char *mac = json_str(changes, "mac_address"), *was = json_str(old, "mac_address");

	if (!mac || strcmp(mac, was) == 0)
		return 0;
	if (json_str(old, "node_id"))
		return neutron_err(e, NEUTRON_PORT_BOUND, "mac_address", json_str(old, "id"), was, mac);
	return port_mac_check(r, json_str(old, "network_id"), mac, json_str(old, "id"), e);
}

/* Addresses and groups of an update. Returns 1 when they changed. */
static int update_children(struct req *r, const json_t *old, const json_t *now,
			   const json_t *changes, struct err *e)
{
	const json_t *ips = json_object_get(changes, "fixed_ips"),
		     *groups = json_object_get(changes, "security_groups");
	const char *id = json_str(old, "id"), *network = json_str(now, "network_id");
	bool moved = strcmp(network, json_str(old, "network_id")) != 0;
	int rc = moved ? rewire(r, old, now, e) : 0, changed = moved;

	if (rc == 0 && json_is_array(ips))
		rc = fixed_ips_replace(r, id, network, mac_of(now), ips, e);
	else if (rc == 0 && moved && !is_uplink(now))
		rc = fixed_ips_assign(r, id, network, mac_of(now), NULL, e);
	if (rc < 0)
		return rc;
	changed |= rc;
	if (groups) {
		CLEANUP(json_freep) json_t *none = json_array();

		changed = 1;
		rc = port_groups_set(r, id, json_is_null(groups) ? none : groups, e);
	}
	return rc < 0 ? rc : changed;
}

/* What the row will be, for the checks; the groups are those it has unless the update names others. */
static int check_update_security(struct req *r, const json_t *old, const json_t *now,
				 const json_t *changes, struct err *e)
{
	int n;

	if (json_bool(now, "port_security_enabled", true) || json_object_get(changes, "security_groups"))
		return check_security(now, e);
	n = port_groups_count(r, json_str(old, "id"), e);
	if (n > 0)
		return neutron_err(e, NEUTRON_SECURITY_HAS_GROUP, "port_security_enabled");
	return n < 0 ? n : check_security(now, e);
}

/* A port that is moved takes what it was allowed elsewhere along: the new network's owner has to agree to that as well. */
static int update_trust(struct req *r, const json_t *old, const json_t *now, const json_t *changes,
			struct err *e)
{
	const char *id = json_str(now, "network_id");
	CLEANUP(json_freep) json_t *network = NULL, *given = json_copy((json_t *)changes);
	int rc = rest_load(r, &network_resource, id, &network, e);

	/* A network that is not there is refused when the port is moved to it. */
	if (rc <= 0)
		return rc;
	if (strcmp(id, json_str(old, "network_id")) != 0) {
		(void)json_object_set(given, "allowed_address_pairs",
				      json_object_get(now, "allowed_address_pairs"));
		if (!json_bool(now, "port_security_enabled", true))
			(void)json_object_set_new(given, "port_security_enabled", json_false());
	}
	return check_trust(r, network, given, e);
}

/* What makes a port a member of its groups, where, and with which addresses. */
static bool moves_members(const json_t *old, const json_t *now, const json_t *changes)
{
	static const char *const columns[] = { "node_id", "network_id", "allowed_address_pairs" };

	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		if (!json_equal(json_object_get(old, columns[i]), json_object_get(now, columns[i])))
			return true;
	return json_object_get(changes, "fixed_ips") || json_object_get(changes, "security_groups");
}

/* Members are touched before and after: an address that goes concerns the rules that knew it. A name concerns the port's node alone. */
static int update_members(struct req *r, const json_t *old, const json_t *now,
			  const json_t *changes, struct err *e)
{
	bool moves = moves_members(old, now, changes);
	int rc = moves ? touch_row(r, old, e) : 0;

	if (rc == 0)
		rc = update_children(r, old, now, changes, e);
	return rc < 0 || !moves ? rc : touch_row(r, now, e);
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	CLEANUP(json_freep) json_t *now = json_copy((json_t *)old);
	int rc = net_begin(r, old, "update_port", e);

	if (rc < 0)
		return rc;
	nulls_to_empty(changes);
	rc = check_host(r, changes, e);
	if (rc < 0 || json_object_update(now, changes) < 0)
		return rc < 0 ? rc : err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = update_trust(r, old, now, changes, e);
	if (rc == 0)
		rc = update_mac(r, old, changes, e);
	if (rc == 0)
		rc = check_dns_name(r, changes, e);
	if (rc == 0)
		rc = qos_check(r, changes, e);
	if (rc == 0)
		rc = port_guard_check(r, changes, e);
	if (rc == 0)
		rc = check_dhcp_opts(r, changes, e);
	if (rc == 0)
		rc = port_pairs_check(r, json_object_get(changes, "allowed_address_pairs"),
				      json_str(now, "mac_address"), e);
	if (rc == 0)
		rc = check_update_security(r, old, now, changes, e);
	if (rc == 0)
		rc = update_members(r, old, now, changes, e);
	if (rc >= 0 && json_object_get(changes, "node_id"))
		rc = json_object_set_new(changes, "status", json_string(status_of(now)));
	return rc < 0 ? rc : 0;
}

static int updated(struct req *r, const json_t *old, json_t *row, struct err *e)
{
	req_touch_node(r, json_str(old, "node_id"));
	req_touch_node(r, json_str(row, "node_id"));
	return chain_port_moved(r, json_str(row, "id"), e);
}

/* The chain resources that hold the port; *ret_by NULL: none. */
static int find_holder(struct req *r, const char *id, const char **ret_by, struct err *e)
{
	*ret_by = NULL;
	return db_get_text(
		r->db, r->arena, ret_by, e,
		"SELECT 'Port Pair ' || id FROM sfc_port_pair WHERE ingress = ? OR egress = ? UNION ALL "
		"SELECT 'Flow Classifier ' || id FROM sfc_flow_classifier WHERE logical_source_port = ? OR "
		"logical_destination_port = ? LIMIT 1",
		"ssss", id, id, id, id);
}

/* A port that a server still has is detached by its deletion: its vNIC slot is free again. */
static int deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id"), *holder;
	int rc = net_begin(r, row, "delete_port", e);

	if (rc == 0)
		rc = find_holder(r, id, &holder, e);
	if (rc > 0)
		return neutron_err(e, NEUTRON_PORT_IN_USE_BY, NULL, id, holder);
	if (rc == 0)
		rc = touch_row(r, row, e);
	if (rc == 0)
		rc = db_exec(r->db, e, "DELETE FROM server_vif WHERE port_id = ?", "s", id);
	return rc < 0 ? rc : fixed_ips_release(r, id, json_str(row, "network_id"), e);
}

/* ---- how a port is shown ---- */

/* Many of these are made for each page: no format is parsed and no constant checked. Texts come from the store and are ASCII. */
static json_t *text_pair(const char *key_a, const char *a, const char *key_b, const char *b)
{
	json_t *o = json_object();

	(void)json_object_set_new_nocheck(o, key_a, json_string_nocheck(a));
	(void)json_object_set_new_nocheck(o, key_b, json_string_nocheck(b));
	return o;
}

#define DNS_DOMAIN ".openstacklocal."
#define HOST_SIZE 80

static void add_dns(json_t *row, const char *ip)
{
	const char *name = json_str(row, "dns_name");
	char host[HOST_SIZE], fqdn[HOST_SIZE + sizeof(DNS_DOMAIN)];
	bool named = name && *name;
	json_t *o;

	(void)snprintf(host, sizeof(host), "%s%.63s", named ? "" : "host-", named ? name : ip);
	for (char *c = host; !named && *c; c++)
		if (*c == '.' || *c == ':')
			*c = '-';
	(void)snprintf(fqdn, sizeof(fqdn), "%s" DNS_DOMAIN, host);
	o = text_pair("ip_address", ip, "hostname", host);
	(void)json_object_set_new(o, "fqdn", json_string(fqdn));
	(void)json_array_append_new(json_object_get(row, "dns_assignment"), o);
}

static void begin_row(json_t *row)
{
	bool bound = json_str(row, "node_id") != NULL;
	json_t *details = json_object();

	if (bound) {
		(void)json_object_set_new_nocheck(details, "port_filter", json_true());
		(void)json_object_set_new_nocheck(details, "connectivity", json_string_nocheck("l2"));
	}
	(void)json_object_set_new_nocheck(row, "fixed_ips", json_array());
	(void)json_object_set_new_nocheck(row, "security_groups", json_array());
	(void)json_object_set_new_nocheck(row, "dns_assignment", json_array());
	(void)json_object_set_new_nocheck(row, "binding:host_id", json_string_nocheck(""));
	(void)json_object_set_new_nocheck(row, "binding:vif_type",
					  json_string_nocheck(bound ? "demarc" : "unbound"));
	(void)json_object_set_new_nocheck(row, "binding:vif_details", details);
}

enum child_kind { CHILD_IP, CHILD_GROUP, CHILD_HOST };

static void add_child(json_t *row, int64_t kind, const char *a, const char *b)
{
	if (kind == CHILD_IP) {
		(void)json_array_append_new(json_object_get(row, "fixed_ips"),
					    text_pair("subnet_id", a, "ip_address", b));
		add_dns(row, b);
	} else if (kind == CHILD_GROUP) {
		(void)json_array_append_new(json_object_get(row, "security_groups"),
					    json_string_nocheck(a));
	} else {
		(void)json_object_set_new(row, "binding:host_id", json_string(a));
	}
}

static int expand_page(struct req *r, json_t *rows, struct err *e)
{
	CLEANUP(json_freep) json_t *ids = net_ids(rows);
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct net_page p;
	json_t *row;
	size_t i;
	int rc = net_page_begin(&p, rows, e);

	if (rc < 0)
		return rc;
	json_array_foreach(rows, i, row)
		begin_row(row);
	rc = db_query(r->db, &q, e,
		      "WITH page AS MATERIALIZED (SELECT value AS id FROM json_each(?)) "
		      "SELECT 0 AS kind, i.port_id, i.subnet_id, i.ip, i.ord FROM page CROSS JOIN port_ip i ON i.port_id = page.id "
		      "UNION ALL SELECT 1, g.port_id, g.security_group_id, NULL, 0 FROM page CROSS JOIN port_security_group g "
		      "ON g.port_id = page.id "
		      "UNION ALL SELECT 2, p.id, n.name, NULL, 0 FROM page CROSS JOIN port p ON p.id = page.id "
		      "JOIN node n ON n.id = p.node_id ORDER BY kind, ord",
		      "j", ids);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		row = net_page_row(&p, db_text(q, 1));
		if (row)
			add_child(row, db_int(q, 0), db_text(q, 2), db_text(q, 3));
	}
	net_page_done(&p);
	return rc;
}

static const struct rest_filter filters[] = {
	{ "tags", NET_TAGS_SQL("port") },
	{ "fixed_ips=ip_address", "id IN (SELECT port_id FROM port_ip WHERE ip = ?)" },
	{ "fixed_ips=subnet_id", "id IN (SELECT port_id FROM port_ip WHERE subnet_id = ?)" },
	{ "ip_address", "id IN (SELECT port_id FROM port_ip WHERE ip = ?)" },
	{ "subnet_id", "id IN (SELECT port_id FROM port_ip WHERE subnet_id = ?)" },
	{ "security_groups",
	  "id IN (SELECT port_id FROM port_security_group WHERE security_group_id = ?)" },
	{ "binding:host_id", "node_id IN (SELECT id FROM node WHERE name = ?)" },
	{ 0 },
};

const struct resource port_resource = {
	.service = "network",
	.singular = "port",
	.plural = "ports",
	.table = "port",
	.policy = "network:port",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.visible_sql = "project_id = :project OR network_id IN (SELECT id FROM network WHERE project_id = :project)",
	.not_found = "Port %s could not be found.",
	.check_create = check_create,
	.created = created,
	.check_update = check_update,
	.updated = updated,
	.deleting = deleting,
	.expand_page = expand_page,
	.filters = filters,
};

/* ---- for compute ---- */

/* Its groups' members change where it was and where it will be. */
static int bind_store(struct req *r, const json_t *port, const char *device, const char *owner,
		      const char *node_id, struct err *e)
{
	const char *port_id = json_str(port, "id");
	int rc = touch_row(r, port, e);

	if (rc == 0)
		rc = db_exec(r->db, e,
			     "UPDATE port SET device_id = ?, device_owner = ?, node_id = ?, status = ?, verified = NULL, "
			     "differences = '[]', observed = NULL, checked_us = NULL, revision_number = revision_number + 1 WHERE id = ?",
			     "sssss", device, owner, node_id, node_id ? "BUILD" : "DOWN", port_id);

	if (rc >= 0)
		rc = touch(r, port_id, node_id, json_str(port, "network_id"), e);
	return rc < 0 ? rc : chain_port_moved(r, port_id, e);
}

int port_bind(struct req *r, const char *port_id, const char *server_id, const char *node_id,
	      const char *az, struct err *e)
{
	CLEANUP(json_freep) json_t *port = NULL;
	const char *device, *owner = arena_printf(r->arena, "compute:%s", az && *az ? az : "nova");
	int rc = rest_load(r, &port_resource, port_id, &port, e);

	if (rc == 0)
		return neutron_err(e, NEUTRON_PORT_NOT_FOUND, "port_id", port_id);
	if (rc < 0)
		return rc;
	device = json_str(port, "device_id");
	if (device && *device && strcmp(device, server_id) != 0)
		return neutron_err(e, NEUTRON_PORT_ATTACHED, "port_id", port_id,
				   json_str(port, "network_id"), device);
	return bind_store(r, port, server_id, owner, node_id, e);
}

int port_unbind(struct req *r, const char *port_id, struct err *e)
{
	CLEANUP(json_freep) json_t *port = NULL;
	int rc = rest_load(r, &port_resource, port_id, &port, e);

	if (rc <= 0)
		return rc;
	return bind_store(r, port, "", "", NULL, e);
}
