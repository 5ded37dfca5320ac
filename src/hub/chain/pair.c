/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "hub/chain/chain.h"

#define WEIGHT_MAX 65535

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "ingress", "ingress", ATTR_UUID, ATTR_REQUIRED | ATTR_CREATE | ATTR_FILTER },
	{ "egress", "egress", ATTR_UUID, ATTR_REQUIRED | ATTR_CREATE | ATTR_FILTER },
	{ "service_function_parameters", "service_function_parameters", ATTR_OBJ,
	  ATTR_CREATE | ATTR_NULLABLE, .max = 8 },
	{ "group_id", "group_id", ATTR_STR, ATTR_HIDDEN },
	{ 0 },
};

int chain_check_correlation(struct req *r, json_t *params, const char *field, const char *dflt,
			    struct err *e)
{
	const json_t *v = json_object_get(params, "correlation");
	const char *s = json_string_value(v);

	if (!v)
		return json_object_set_new(params, "correlation",
					   dflt ? json_string(dflt) : json_null());
	if (json_is_null(v) || (s && (strcmp(s, "mpls") == 0 || strcmp(s, "nsh") == 0)))
		return 0;
	if (s && str_eq_nocase(str_of(s), STR("none")))
		return json_object_set_new(params, "correlation", json_null());
	return neutron_err(e, NEUTRON_INVALID_FOR, field, field,
			   arena_printf(r->arena, "'%s' is not in [None, 'mpls', 'nsh']",
					net_json_text(r, v)));
}

static int check_weight(struct req *r, json_t *params, struct err *e)
{
	const json_t *v = json_object_get(params, "weight");
	int64_t weight = json_integer_value(v);

	if (!v)
		return json_object_set_new(params, "weight", json_integer(1));
	if ((json_is_string(v) && str_to_i64(str_of(json_string_value(v)), &weight) < 0) ||
	    (!json_is_string(v) && !json_is_integer(v)) || weight < 0 || weight > WEIGHT_MAX)
		return neutron_err(e, NEUTRON_INVALID_FOR, "service_function_parameters",
				   "service_function_parameters",
				   arena_printf(r->arena, "weight '%s' is not an integer from 0 to 65535",
						net_json_text(r, v)));
	return json_object_set_new(params, "weight", json_integer(weight));
}

static int check_params(struct req *r, json_t *row, struct err *e)
{
	json_t *params = json_object_get(row, "service_function_parameters");
	const char *key;
	json_t *v;
	int rc;

	if (!json_is_object(params)) {
		(void)json_object_set_new(row, "service_function_parameters", json_object());
		params = json_object_get(row, "service_function_parameters");
	}
	json_object_foreach(params, key, v) {
		if (strcmp(key, "correlation") != 0 && strcmp(key, "weight") != 0)
			return neutron_err(e, NEUTRON_INVALID_FOR, "service_function_parameters",
					   "service_function_parameters",
					   arena_printf(r->arena, "unknown key '%s'", key));
	}
	rc = chain_check_correlation(r, params, "service_function_parameters", NULL, e);
	return rc < 0 ? rc : check_weight(r, params, e);
}

/* The port as the caller sees it; in sfc's words when it is not there. */
static int need_port(struct req *r, const json_t *row, const char *name, json_t **ret, struct err *e)
{
	int rc = rest_need(r, &port_resource, json_str(row, name), ret, e);

	if (rc < 0 && e && e->fault == FAULT_NOT_FOUND)
		return neutron_err(e, NEUTRON_PAIR_PORT_NOT_FOUND, name, json_str(row, name));
	return rc;
}

/* A function's two ports belong to one server; a function that is not started yet has no device. */
static int check_ports(struct req *r, const json_t *row, struct err *e)
{
	CLEANUP(json_freep) json_t *in = NULL, *out = NULL;
	const char *ingress = json_str(row, "ingress"), *egress = json_str(row, "egress"), *other;
	int rc = need_port(r, row, "ingress", &in, e);

	if (rc == 0)
		rc = need_port(r, row, "egress", &out, e);
	if (rc == 0)
		rc = net_own(r, in, "create_port_pair", e);
	if (rc == 0)
		rc = net_own(r, out, "create_port_pair", e);
	if (rc < 0)
		return rc;
	if (!json_equal(json_object_get(in, "device_id"), json_object_get(out, "device_id")))
		return neutron_err(e, NEUTRON_PAIR_HOSTS, "egress", ingress, egress);
	rc = db_get_text(r->db, r->arena, &other, e,
			 "SELECT id FROM sfc_port_pair WHERE ingress IN (?1, ?2) OR egress IN (?1, ?2) LIMIT 1",
			 "ss", ingress, egress);
	return rc > 0 ? neutron_err(e, NEUTRON_PAIR_PORTS_IN_USE, "ingress", ingress, egress, other) :
			rc;
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	int rc = check_ports(r, row, e);

	return rc < 0 ? rc : check_params(r, row, e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	if (json_str(row, "group_id"))
		return neutron_err(e, NEUTRON_PAIR_IN_USE, NULL, json_str(row, "id"));
	return net_own(r, row, "delete_port_pair", e);
}

const struct resource port_pair_resource = {
	.service = "network",
	.singular = "port_pair",
	.plural = "port_pairs",
	.table = "sfc_port_pair",
	.policy = "network:port_pair",
	.attrs = attrs,
	.dflt_sort = "name,id",
	.not_found = "Port Pair %s not found.",
	.check_create = check_create,
	.deleting = deleting,
};
