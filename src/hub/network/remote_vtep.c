/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/remote_vtep.h"

#include "base/json.h"
#include "hub/network/provider.h"

#define OVN_EGRESS_MAX                                                                             \
	0xffff /* groups of ports are above ports: ovn-architecture(7), "Tunnel Encapsulations" */

/* Without "local", "flat" and "vlan". */
static const char *const tunnel_types[] = {
#define X(id, name, min, max, size, flags) name,
	OVERLAY_TABLE(X)
#undef X
		NULL
};

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "network_id", "network_id", ATTR_UUID, ATTR_REQUIRED | ATTR_CREATE | ATTR_FILTER },
	{ "ip_address", "ip_address", ATTR_IP, ATTR_REQUIRED | ATTR_RW | ATTR_FILTER },
	{ "tunnel_type", "tunnel_type", ATTR_ENUM, ATTR_RW | ATTR_FILTER, .choices = tunnel_types },
	{ "segmentation_id", "segmentation_id", ATTR_INT, ATTR_RW | ATTR_FILTER, 1, UINT32_MAX },
	{ "flood", "flood", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "true" },
	{ "mac_addresses", "mac_addresses", ATTR_LIST, ATTR_RW, .max = REMOTE_VTEP_MACS_MAX,
	  .dflt = "[]" },
	{ "mpls_labels", "mpls_labels", ATTR_LIST, ATTR_RW, .max = OVERLAY_LABELS_MAX, .dflt = "[]" },
	{ "ovn_ingress_port", "ovn_ingress_port", ATTR_INT, ATTR_RW | ATTR_NULLABLE, 0,
	  OVERLAY_OVN_PORT_MAX },
	{ "ovn_egress_port", "ovn_egress_port", ATTR_INT, ATTR_RW | ATTR_NULLABLE, 1, OVN_EGRESS_MAX },
	{ "ovn_ports", "ovn_ports", ATTR_LIST, ATTR_RW, .max = OVERLAY_OVN_PORTS_MAX, .dflt = "[]" },
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ 0 },
};

static int wrong(struct req *r, struct err *e, const char *field, const char *what, const json_t *v)
{
	return neutron_err(e, NEUTRON_INVALID_FOR, field, field,
			   arena_printf(r->arena, "'%.80s' %s", net_json_text(r, v), what));
}

static int check_mac(struct req *r, const json_t *v, const char *field,
		     char ret_text[static MAC_STR_SIZE], struct err *e)
{
	const char *s = json_string_value(v);
	struct mac mac;

	if (!s || mac_parse(str_of(s), &mac) < 0 || mac_is_zero(mac) || mac_is_multicast(mac))
		return wrong(r, e, field, "is not the MAC address of one station", v);
	(void)mac_format(mac, ret_text);
	return 0;
}

/* The list becomes its canonical form. */
static int check_macs(struct req *r, json_t *row, struct err *e)
{
	CLEANUP(json_freep) json_t *out = json_array();
	char text[MAC_STR_SIZE];
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(row, "mac_addresses"), i, v) {
		if (check_mac(r, v, "mac_addresses", text, e) < 0)
			return -e->num;
		if (json_array_append_new(out, json_string(text)) < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for addresses");
	}
	return json_object_set(row, "mac_addresses", out);
}

static int check_ovn_port(struct req *r, const json_t *v, json_t *seen, json_t *out, struct err *e)
{
	const json_t *key = json_object_get(v, "tunnel_key");
	char text[MAC_STR_SIZE];

	if (json_object_size(v) != 2 || !json_object_get(v, "mac_address") || !json_is_integer(key) ||
	    json_integer_value(key) < 1 || json_integer_value(key) > OVERLAY_OVN_PORT_MAX)
		return wrong(r, e, "ovn_ports",
			     "is not a port: give its mac_address and its tunnel_key of 1 to 32767", v);
	if (check_mac(r, json_object_get(v, "mac_address"), "ovn_ports", text, e) < 0)
		return -e->num;
	if (json_object_get(seen, text))
		return wrong(r, e, "ovn_ports", "has a MAC address that is in the lists already", v);
	if (json_object_set_new(seen, text, json_true()) < 0 ||
	    json_array_append_new(out,
				  json_pack("{s:s, s:O}", "mac_address", text, "tunnel_key", key)) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for ports");
	return 0;
}

/* As check_macs(), whose list is canonical. */
static int check_ovn_ports(struct req *r, json_t *row, struct err *e)
{
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(json_freep) json_t *seen = json_object();
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(row, "mac_addresses"), i, v)
		if (json_object_set_new(seen, json_string_value(v), json_true()) < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for ports");
	json_array_foreach(json_object_get(row, "ovn_ports"), i, v)
		if (check_ovn_port(r, v, seen, out, e) < 0)
			return -e->num;
	return json_object_set(row, "ovn_ports", out);
}

/* A frame has one end to go to. */
static int check_macs_free(struct req *r, const json_t *row, const char *except_id, struct err *e)
{
	const char *network = json_str(row, "network_id"), *mac = NULL;
	int rc = db_get_text(
		r->db, r->arena, &mac, e,
		"SELECT m.value FROM (SELECT value FROM json_each(?1) UNION ALL SELECT value ->> 'mac_address' FROM json_each(?4)) m "
		"WHERE m.value IN (SELECT mac_address FROM port WHERE network_id = ?2) OR m.value IN (SELECT o.value "
		"FROM remote_vtep v, json_each(v.mac_addresses) o WHERE v.network_id = ?2 AND v.id <> ?3) OR m.value IN "
		"(SELECT o.value ->> 'mac_address' FROM remote_vtep v, json_each(v.ovn_ports) o WHERE v.network_id = ?2 AND v.id <> ?3) LIMIT 1",
		"jssj", json_object_get(row, "mac_addresses"), network, except_id,
		json_object_get(row, "ovn_ports"));

	return rc > 0 ? neutron_err(e, NEUTRON_MAC_IN_USE, "mac_addresses", network, mac) : rc;
}

static int check_labels(struct req *r, const struct overlay_type *t, const json_t *row, struct err *e)
{
	const json_t *labels = json_object_get(row, "mpls_labels");
	bool mpls = strncmp(t->name, "mpls", 4) == 0;
	json_t *v;
	size_t i;

	if (json_array_size(labels) && !mpls)
		return wrong(r, e, "mpls_labels",
			     "is of a tunnel_type mpls, mpls-udp or mpls-gre only", labels);
	json_array_foreach(labels, i, v)
		if (!json_is_integer(v) || json_integer_value(v) < t->id_min ||
		    json_integer_value(v) > t->id_max)
			return wrong(r, e, "mpls_labels", "is not a label of 16 to 1048575", v);
	return 0;
}

static int check_ovn(struct req *r, const struct overlay_type *t, const json_t *row, struct err *e)
{
	static const char *const names[] = { "ovn_egress_port", "ovn_ingress_port", "ovn_ports" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const json_t *v = json_object_get(row, names[i]);

		if (!json_is_integer(v) && !json_array_size(v))
			continue;
		if (t->kind != OVERLAY_GENEVE)
			return wrong(r, e, names[i], "is of a tunnel_type geneve only", v);
		if (!json_is_integer(json_object_get(row, "ovn_egress_port")))
			return wrong(r, e, names[i], "needs an ovn_egress_port beside it", v);
	}
	return 0;
}

/* One end of one number: what comes from it belongs to one network. */
static int check_free(struct req *r, const json_t *row, const char *except_id, struct err *e)
{
	const char *ip = json_str(row, "ip_address"), *other = NULL;
	int rc = db_get_text(r->db, r->arena, &other, e, "SELECT name FROM node WHERE vtep = ?",
			     "s", ip);

	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "ip_address",
			       "%s is the VTEP of the node %s, which has its tunnels already.", ip,
			       other);
	if (rc == 0)
		rc = db_get_text(r->db, r->arena, &other, e,
				 "SELECT id FROM remote_vtep WHERE id <> ?1 AND ip_address = ?2 AND (network_id = ?3 OR "
				 "(tunnel_type = ?4 AND segmentation_id = ?5)) LIMIT 1",
				 "ssssi", except_id, ip, json_str(row, "network_id"),
				 json_str(row, "tunnel_type"), json_int(row, "segmentation_id", 0));
	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "ip_address",
			       "Remote VTEP %s has this address on this network, or with this tunnel_type and segmentation_id.",
			       other);
	return rc;
}

static int check(struct req *r, json_t *row, const char *except_id, struct err *e)
{
	const struct overlay_type *t = overlay_type_find(json_str(row, "tunnel_type"));
	struct ip_addr ip;
	int rc;

	if (ip_parse(str_of(json_str(row, "ip_address")), &ip) < 0 || !overlay_is_vtep(&ip))
		return wrong(r, e, "ip_address", "is not the address of one host",
			     json_object_get(row, "ip_address"));
	rc = provider_id_check(r, t, json_int(row, "segmentation_id", 0), "segmentation_id", e);
	if (rc == 0)
		rc = check_macs(r, row, e);
	if (rc == 0)
		rc = check_ovn_ports(r, row, e);
	if (rc == 0)
		rc = check_labels(r, t, row, e);
	if (rc == 0)
		rc = check_ovn(r, t, row, e);
	if (rc == 0)
		rc = check_macs_free(r, row, except_id, e);
	return rc < 0 ? rc : check_free(r, row, except_id, e);
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	CLEANUP(json_freep) json_t *network = NULL;
	int rc = rest_need(r, &network_resource, json_str(row, "network_id"), &network, e);

	if (rc < 0)
		return rc;
	if (!provider_overlay(network))
		return wrong(r, e, "network_id",
			     "has no tunnels: give the id of a network whose provider:network_type is one of tunnels, such as vxlan",
			     json_object_get(row, "network_id"));
	if (!json_str(row, "tunnel_type"))
		(void)json_object_set(row, "tunnel_type",
				      json_object_get(network, "provider:network_type"));
	if (!json_is_integer(json_object_get(row, "segmentation_id")))
		(void)json_object_set(row, "segmentation_id",
				      json_object_get(network, "provider:segmentation_id"));
	return check(r, row, "", e);
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	static const char *const canonical[] = { "mac_addresses", "ovn_ports" };
	CLEANUP(json_freep) json_t *now = json_copy((json_t *)old);
	int rc = net_begin(r, old, "update_remote_vtep", e);

	if (rc < 0)
		return rc;
	if (json_object_update(now, changes) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = check(r, now, json_str(old, "id"), e);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(canonical); i++)
		if (json_object_get(changes, canonical[i]))
			(void)json_object_set(changes, canonical[i],
					      json_object_get(now, canonical[i]));
	return rc;
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	return net_begin(r, row, "delete_remote_vtep", e);
}

/* Which nodes have to know is seen by triggers, as for all ends of overlays. */
const struct resource remote_vtep_resource = {
	.service = "network",
	.singular = "remote_vtep",
	.plural = "remote_vteps",
	.table = "remote_vtep",
	.policy = "network:remote_vtep",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.not_found = "Remote VTEP %s could not be found.",
	.check_create = check_create,
	.check_update = check_update,
	.deleting = deleting,
};
