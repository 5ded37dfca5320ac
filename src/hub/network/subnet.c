/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/subnet.h"

#include <inttypes.h>

#include "base/json.h"

#define DNS_MAX 5     /* Neutron's max_dns_nameservers */
#define ROUTES_MAX 20 /* Neutron's max_subnet_host_routes */

static const char *const v6_modes[] = { "slaac", "dhcpv6-stateful", "dhcpv6-stateless", NULL };

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "network_id", "network_id", ATTR_UUID, ATTR_REQUIRED | ATTR_CREATE | ATTR_FILTER | ATTR_SORT },
	{ "ip_version", "ip_version", ATTR_INT, ATTR_REQUIRED | ATTR_CREATE | ATTR_FILTER, 4, 6 },
	{ "cidr", "cidr", ATTR_STR, ATTR_REQUIRED | ATTR_CREATE | ATTR_FILTER | ATTR_SORT, .max = 64 },
	{ "gateway_ip", "gateway_ip", ATTR_STR, ATTR_RW | ATTR_FILTER | ATTR_NULLABLE, .max = 64 },
	{ "enable_dhcp", "enable_dhcp", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "true" },
	{ "allocation_pools", "allocation_pools", ATTR_LIST, ATTR_RW, .max = IPAM_POOLS_MAX },
	{ "dns_nameservers", "dns_nameservers", ATTR_LIST, ATTR_RW, .max = DNS_MAX, .dflt = "[]" },
	{ "host_routes", "host_routes", ATTR_LIST, ATTR_RW, .max = ROUTES_MAX, .dflt = "[]" },
	{ "ipv6_ra_mode", "ipv6_ra_mode", ATTR_ENUM, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE,
	  .choices = v6_modes },
	{ "ipv6_address_mode", "ipv6_address_mode", ATTR_ENUM,
	  ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE, .choices = v6_modes },
	{ "subnetpool_id", NULL, ATTR_ANY, 0 },
	{ "service_types", NULL, ATTR_ANY, 0 },
	NET_ATTR_TAGS,
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ 0 },
};

static int bad(struct err *e, struct req *r, const char *field, const char *fmt, const char *value)
{
	/* clang-format off: the format is one of this file's literals */
	const char *reason = arena_printf(r->arena, fmt, value);
	/* clang-format on */

	return neutron_err(e, NEUTRON_INVALID_FOR, field, field, reason ? reason : "out of memory");
}

static int parse_ip(struct req *r, const char *field, const json_t *v, struct ip_addr *ret,
		    struct err *e)
{
	const char *s = json_string_value(v);

	if (s && ip_parse(str_of(s), ret) == 0)
		return 0;
	return bad(e, r, field, "'%s' is not a valid IP address", s ? s : net_json_text(r, v));
}

static int parse_cidr(struct req *r, json_t *row, struct ip_cidr *ret, struct err *e)
{
	const char *s = json_str(row, "cidr");
	char canonical[CIDR_STR_SIZE];
	int64_t version = json_int(row, "ip_version", 0);

	if (!s || !strchr(s, '/') || cidr_parse(str_of(s), ret) < 0)
		return bad(e, r, "cidr", "'%s' is not a valid IP subnet", s ? s : "null");
	if (!ipam_is_canonical(*ret)) {
		(void)cidr_format((struct ip_cidr){ cidr_network(*ret), ret->prefix_len }, canonical);
		return neutron_err(e, NEUTRON_INVALID_FOR, "cidr", "cidr",
				   arena_printf(r->arena,
						"'%s' isn't a recognized IP subnet cidr, '%s' is recommended",
						s, canonical));
	}
	if (version != ret->addr.family)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "ip_version",
				   arena_printf(r->arena,
						"cidr '%s' does not match the ip_version '%" PRId64 "'",
						s, version));
	if (ret->prefix_len == 0)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "cidr",
				   "0 is not allowed as CIDR prefix length");
	return json_object_set_new(row, "cidr", json_string(cidr_format(*ret, canonical)));
}

static int check_overlap(struct req *r, const char *network_id, struct ip_cidr c, const char *text,
			 struct err *e)
{
	struct subnets all;
	int rc = subnets_load(r, network_id, &all, e);

	for (size_t i = 0; rc == 0 && i < all.len; i++)
		if (cidr_overlaps(all.all[i].cidr, c))
			return neutron_err(
				e, NEUTRON_INVALID_INPUT, "cidr",
				arena_printf(r->arena,
					     "Requested subnet with cidr: %s for network: %s overlaps with another subnet",
					     text, network_id));
	if (rc == 0 && all.len >= NETWORK_SUBNETS_MAX)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "network_id",
				   "a network has at most 32 subnets");
	return rc;
}

/* Gateway of the row: given, null (none), or the first host. *ret.family 0: none. */
static int check_gateway(struct req *r, json_t *row, struct ip_cidr c, struct ip_addr *ret,
			 struct err *e)
{
	const json_t *v = json_object_get(row, "gateway_ip");
	struct ip_addr first, last;
	char text[IP_STR_SIZE];
	int rc = 0;

	ipam_hosts(c, &first, &last);
	*ret = (struct ip_addr){ 0 };
	if (json_is_null(v))
		return 0;
	if (!v)
		*ret = first;
	else
		rc = parse_ip(r, "gateway_ip", v, ret, e);
	if (rc < 0)
		return rc;
	if (ret->family != c.addr.family)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "gateway_ip",
				   "gateway_ip does not match the ip_version");
	if (ip_cmp(*ret, first) < 0 || ip_cmp(*ret, last) > 0)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "gateway_ip",
				   "Gateway is not valid on subnet");
	return json_object_set_new(row, "gateway_ip", json_string(ip_format(*ret, text)));
}

static int parse_pools(struct req *r, const json_t *list, struct ip_pool *ret, struct err *e)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *start = json_str(item, "start"), *end = json_str(item, "end");

		if (!start || !end || json_object_size(item) != 2 ||
		    ip_parse(str_of(start), &ret[i].first) < 0 ||
		    ip_parse(str_of(end), &ret[i].last) < 0)
			return neutron_err(e, NEUTRON_POOL_INVALID, "allocation_pools",
					   net_json_text(r, item));
	}
	return 0;
}

static json_t *pools_json(const struct ip_pool *pools, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		char first[IP_STR_SIZE], last[IP_STR_SIZE];

		(void)json_array_append_new(list, json_pack("{s:s, s:s}", "start",
							    ip_format(pools[i].first, first), "end",
							    ip_format(pools[i].last, last)));
	}
	return list;
}

static const char *pool_text(struct req *r, const struct ip_pool *p)
{
	char first[IP_STR_SIZE], last[IP_STR_SIZE];

	return arena_printf(r->arena, "%s-%s", ip_format(p->first, first), ip_format(p->last, last));
}

static int pools_error(struct req *r, enum ipam_pool_fault f, const struct ip_pool *pool,
		       const struct ip_pool *other, const char *cidr, struct ip_addr gateway,
		       struct err *e)
{
	char gw[IP_STR_SIZE];

	switch (f) {
	case IPAM_POOL_OK:
		return 0;
	case IPAM_POOL_INVALID:
		return neutron_err(e, NEUTRON_POOL_INVALID, "allocation_pools", pool_text(r, pool));
	case IPAM_POOL_OUTSIDE:
		return neutron_err(e, NEUTRON_POOL_OUTSIDE, "allocation_pools", pool_text(r, pool),
				   cidr);
	case IPAM_POOL_OVERLAPS:
		return neutron_err(e, NEUTRON_POOL_OVERLAPS, "allocation_pools",
				   pool_text(r, other), pool_text(r, pool), cidr);
	case IPAM_POOL_HAS_GATEWAY:
		return neutron_err(e, NEUTRON_POOL_HAS_GATEWAY, "allocation_pools",
				   ip_format(gateway, gw), pool_text(r, pool));
	}
	return 0;
}

/* The row's pools: given (checked), or all hosts but the gateway. */
static int check_pools(struct req *r, json_t *row, struct ip_cidr c, struct ip_addr gateway,
		       struct err *e)
{
	const json_t *list = json_object_get(row, "allocation_pools");
	struct ip_pool pools[IPAM_POOLS_MAX];
	enum ipam_pool_fault fault;
	size_t n, at = 0, other = 0;
	int rc;

	if (!json_is_array(list)) {
		n = ipam_default_pools(c, gateway, pools);
		return json_object_set_new(row, "allocation_pools", pools_json(pools, n));
	}
	n = json_array_size(list);
	if (n > IPAM_POOLS_MAX)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "allocation_pools",
				   "a subnet has at most 32 allocation pools");
	rc = parse_pools(r, list, pools, e);
	if (rc < 0)
		return rc;
	fault = ipam_check_pools(c, gateway, pools, n, &at, &other);
	rc = pools_error(r, fault, &pools[at], &pools[other], json_str(row, "cidr"), gateway, e);
	return rc < 0 ? rc : json_object_set_new(row, "allocation_pools", pools_json(pools, n));
}

static int check_dns(struct req *r, const json_t *row, uint8_t family, struct err *e)
{
	const json_t *list = json_object_get(row, "dns_nameservers");
	json_t *item;
	size_t i, k;

	json_array_foreach(list, i, item) {
		struct ip_addr a;
		int rc = parse_ip(r, "dns_nameservers", item, &a, e);

		if (rc < 0)
			return rc;
		if (a.family != family)
			return neutron_err(e, NEUTRON_INVALID_INPUT, "dns_nameservers",
					   arena_printf(r->arena,
							"dns_nameserver '%s' does not match the ip_version",
							json_string_value(item)));
		for (k = 0; k < i; k++)
			if (json_equal(json_array_get(list, k), item))
				return bad(e, r, "dns_nameservers", "Duplicate nameserver '%s'",
					   json_string_value(item));
	}
	return 0;
}

static int check_routes(struct req *r, const json_t *row, uint8_t family, struct err *e)
{
	const json_t *list = json_object_get(row, "host_routes");
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *dst = json_str(item, "destination"), *hop = json_str(item, "nexthop");
		struct ip_cidr c;
		struct ip_addr a;

		if (!dst || !hop || json_object_size(item) != 2)
			return bad(e, r, "host_routes", "Invalid data format for hostroute: '%s'",
				   net_json_text(r, item));
		if (cidr_parse(str_of(dst), &c) < 0 || !strchr(dst, '/'))
			return bad(e, r, "host_routes", "'%s' is not a valid IP subnet", dst);
		if (ip_parse(str_of(hop), &a) < 0)
			return bad(e, r, "host_routes", "'%s' is not a valid IP address", hop);
		if (a.family != family || c.addr.family != family)
			return neutron_err(e, NEUTRON_INVALID_INPUT, "host_routes",
					   "host_routes do not match the ip_version");
	}
	return 0;
}

static int check_modes(const json_t *row, uint8_t family, struct err *e)
{
	const char *ra = json_str(row, "ipv6_ra_mode"), *addr = json_str(row, "ipv6_address_mode");

	if (!ra && !addr)
		return 0;
	if (family == IP_V4)
		return neutron_err(
			e, NEUTRON_INVALID_INPUT, ra ? "ipv6_ra_mode" : "ipv6_address_mode",
			"ipv6_ra_mode or ipv6_address_mode cannot be set when ip_version is 4");
	if (!json_bool(row, "enable_dhcp", true))
		return neutron_err(
			e, NEUTRON_INVALID_INPUT, "enable_dhcp",
			"ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False");
	if (ra && addr && strcmp(ra, addr) != 0)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "ipv6_address_mode",
				   "ipv6_ra_mode and ipv6_address_mode must be the same when both are set");
	return 0;
}

static int check_network(struct req *r, const char *network_id, struct err *e)
{
	CLEANUP(json_freep) json_t *network = NULL;
	int rc = rest_need(r, &network_resource, network_id, &network, e);

	return rc < 0 ? rc : net_own(r, network, "create_subnet", e);
}

/* What create and update check of a whole row. */
static int check_row(struct req *r, json_t *row, struct ip_cidr c, struct err *e)
{
	struct ip_addr gateway;
	int rc = check_modes(row, c.addr.family, e);

	if (rc == 0)
		rc = check_gateway(r, row, c, &gateway, e);
	if (rc == 0)
		rc = check_pools(r, row, c, gateway, e);
	if (rc == 0)
		rc = check_dns(r, row, c.addr.family, e);
	return rc < 0 ? rc : check_routes(r, row, c.addr.family, e);
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	const char *network_id = json_str(row, "network_id");
	struct ip_cidr c = { 0 };
	int rc = check_network(r, network_id, e);

	if (rc >= 0)
		rc = parse_cidr(r, row, &c, e);
	if (rc >= 0)
		rc = check_overlap(r, network_id, c, json_str(row, "cidr"), e);
	return rc < 0 ? rc : check_row(r, row, c, e);
}

static int created(struct req *r, json_t *row, struct err *e)
{
	return net_touch_network(r, json_str(row, "network_id"), e);
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	CLEANUP(json_freep) json_t *now = json_copy((json_t *)old);
	static const char *const checked[] = { "gateway_ip", "allocation_pools" };
	struct ip_cidr c = { 0 };
	int rc = net_begin(r, old, "update_subnet", e);

	if (rc < 0)
		return rc;
	if (json_object_update(now, changes) < 0 || cidr_parse(str_of(json_str(old, "cidr")), &c) < 0)
		return err_set(e, FAULT_INTERNAL, NULL, "subnet row is not whole");
	rc = check_row(r, now, c, e);
	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(checked); i++)
		if (json_object_get(changes, checked[i]))
			rc = json_object_set(changes, checked[i], json_object_get(now, checked[i]));
	if (rc < 0 || !json_object_get(changes, "allocation_pools"))
		return rc;
	/* Other pools: the cursor begins again, and passes what is taken once. */
	rc = db_exec(r->db, e, "DELETE FROM subnet_free WHERE subnet_id = ?", "s", json_str(old, "id"));
	return rc < 0 ? rc :
			db_exec(r->db, e, "UPDATE subnet SET alloc_next = '' WHERE id = ?", "s",
				json_str(old, "id"));
}

static int updated(struct req *r, const json_t *old, json_t *row, struct err *e)
{
	return net_touch_network(r, json_str(row, "network_id"), e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id");
	int64_t one;
	int rc = net_begin(r, row, "delete_subnet", e);

	if (rc == 0)
		rc = db_get_int(r->db, &one, e, "SELECT 1 FROM port_ip WHERE subnet_id = ? LIMIT 1",
				"s", id);
	if (rc > 0)
		return neutron_err(e, NEUTRON_SUBNET_IN_USE, NULL, id);
	return rc < 0 ? rc : net_touch_network(r, json_str(row, "network_id"), e);
}

static int expand(struct req *r, json_t *row, struct err *e)
{
	json_object_set_new(row, "subnetpool_id", json_null());
	json_object_set_new(row, "service_types", json_array());
	return 0;
}

static const struct rest_filter filters[] = {
	{ "tags", NET_TAGS_SQL("subnet") },
	{ "subnetpool_id", "? IS NULL" }, /* there are none */
	{ 0 },
};

const struct resource subnet_resource = {
	.service = "network",
	.singular = "subnet",
	.plural = "subnets",
	.table = "subnet",
	.policy = "network:subnet",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.visible_sql = "project_id = :project OR network_id IN (SELECT id FROM network WHERE shared = 1)",
	.not_found = "Subnet %s could not be found.",
	.check_create = check_create,
	.created = created,
	.check_update = check_update,
	.updated = updated,
	.deleting = deleting,
	.expand = expand,
	.filters = filters,
};

static int subnet_read(struct req *r, struct db_rows *q, struct subnet *s, struct err *e)
{
	CLEANUP(json_freep) json_t *pools = db_json(q, 2);
	const char *mode = db_text(q, 4);

	s->id = arena_strdup(r->arena, db_text(q, 0));
	s->n_pools = json_array_size(pools);
	s->slaac = mode && strcmp(mode, "dhcpv6-stateful") != 0;
	(void)str_copy(s->alloc_next, sizeof(s->alloc_next), str_of(db_text(q, 3)));
	if (cidr_parse(str_of(db_text(q, 1)), &s->cidr) < 0 || s->n_pools > IPAM_POOLS_MAX)
		return err_set(e, FAULT_INTERNAL, NULL, "subnet row is not whole");
	return parse_pools(r, pools, s->pools, e);
}

int subnets_load(struct req *r, const char *network_id, struct subnets *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT id, cidr, allocation_pools, alloc_next, ipv6_address_mode FROM subnet "
			  "WHERE network_id = ? ORDER BY created_us, id",
			  "s", network_id);

	ret->len = 0;
	ret->all = arena_alloc(r->arena, NETWORK_SUBNETS_MAX * sizeof(*ret->all));
	if (!ret->all)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	while (rc >= 0 && ret->len < NETWORK_SUBNETS_MAX && (rc = db_step(q, e)) == 1)
		rc = subnet_read(r, q, &ret->all[ret->len++], e);
	return rc < 0 ? rc : 0;
}

const struct subnet *subnets_find(const struct subnets *s, const char *id)
{
	for (size_t i = 0; i < s->len; i++)
		if (strcmp(s->all[i].id, id) == 0)
			return &s->all[i];
	return NULL;
}
