/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/fixed_ip.h"

#include "base/json.h"
#include "hub/network/subnet.h"

struct pass {
	struct req *r;
	const char *port_id, *network_id;
	struct mac mac;
	struct subnets subnets;
	int64_t ord; /* place in the port's list */
	struct err *e;
};

static int pass_begin(struct pass *p, struct req *r, const char *port_id, const char *network_id,
		      struct mac mac, struct err *e)
{
	*p = (struct pass){ .r = r, .port_id = port_id, .network_id = network_id, .mac = mac, .e = e };
	return subnets_load(r, network_id, &p->subnets, e);
}

static int is_taken(struct pass *p, const struct subnet *s, const char *ip)
{
	int64_t one;

	return db_get_int(p->r->db, &one, p->e,
			  "SELECT 1 FROM port_ip WHERE subnet_id = ? AND ip = ?", "ss", s->id, ip);
}

static int insert(struct pass *p, const struct subnet *s, struct ip_addr a)
{
	char ip[IP_STR_SIZE];
	int rc = db_exec(p->r->db, p->e,
			 "INSERT INTO port_ip (port_id, subnet_id, ip, ord) VALUES (?, ?, ?, ?)",
			 "sssi", p->port_id, s->id, ip_format(a, ip), p->ord++);

	return rc < 0 ? rc : 0;
}

/* An address the client names. */
static int take_given(struct pass *p, const struct subnet *s, struct ip_addr a)
{
	char ip[IP_STR_SIZE], key[IPAM_KEY_SIZE];
	int rc = is_taken(p, s, ip_format(a, ip));

	if (rc > 0)
		return neutron_err(p->e, NEUTRON_IP_IN_USE, "fixed_ips", ip, s->id);
	if (rc == 0)
		rc = db_exec(p->r->db, p->e, "DELETE FROM subnet_free WHERE subnet_id = ? AND key = ?",
			     "ss", s->id, ipam_key(a, key));
	return rc < 0 ? rc : insert(p, s, a);
}

/* From the free list. Returns 1 when it had one. */
static int take_returned(struct pass *p, const struct subnet *s)
{
	const char *key;
	struct ip_addr a;
	int rc = db_get_text(p->r->db, p->r->arena, &key, p->e,
			     "SELECT key FROM subnet_free WHERE subnet_id = ? ORDER BY key LIMIT 1",
			     "s", s->id);

	if (rc <= 0)
		return rc;
	rc = db_exec(p->r->db, p->e, "DELETE FROM subnet_free WHERE subnet_id = ? AND key = ?",
		     "ss", s->id, key);
	if (rc < 0)
		return rc;
	if (ipam_of_key(str_of(key), s->cidr.addr.family, &a) < 0)
		return err_set(p->e, FAULT_INTERNAL, NULL, "free address of subnet %s is not whole",
			       s->id);
	rc = insert(p, s, a);
	return rc < 0 ? rc : 1;
}

static int cursor_store(struct pass *p, struct subnet *s, struct ip_addr taken)
{
	struct ip_addr next = taken;
	int rc;

	(void)ipam_after(taken, &next);
	(void)ipam_key(next, s->alloc_next);
	rc = db_exec(p->r->db, p->e, "UPDATE subnet SET alloc_next = ? WHERE id = ?", "ss",
		     s->alloc_next, s->id);
	return rc < 0 ? rc : 0;
}

/* From the cursor on; passes addresses that clients took by name. Returns 0 when the pools are at their end. */
static int take_next(struct pass *p, struct subnet *s)
{
	struct ip_addr from = { 0 }, a;
	char ip[IP_STR_SIZE];
	int rc;

	if (s->alloc_next[0] && ipam_of_key(str_of(s->alloc_next), s->cidr.addr.family, &from) < 0)
		return err_set(p->e, FAULT_INTERNAL, NULL, "cursor of subnet %s is not whole", s->id);
	while (ipam_next(s->pools, s->n_pools, from, &a)) {
		rc = is_taken(p, s, ip_format(a, ip));
		if (rc == 0)
			rc = cursor_store(p, s, a);
		else if (rc > 0 && ipam_after(a, &from))
			continue;
		else
			return rc < 0 ? rc : 0;
		if (rc == 0)
			rc = insert(p, s, a);
		return rc < 0 ? rc : 1;
	}
	return 0;
}

/* Returns 1 when the subnet had an address, 0 when it is full. */
static int take_any(struct pass *p, struct subnet *s)
{
	int rc;

	/* The caller has found the subnet. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	if (s->slaac && s->cidr.prefix_len == 64) {
		rc = take_given(p, s, ipam_eui64(s->cidr, p->mac));
		return rc < 0 ? rc : 1;
	}
	rc = take_returned(p, s);
	return rc ? rc : take_next(p, s);
}

static int none_left(struct pass *p)
{
	return neutron_err(p->e, NEUTRON_IP_NONE_LEFT, "fixed_ips", p->network_id);
}

/* One address of each family; every SLAAC subnet gives one more, as its router advertises to all. */
static int take_default(struct pass *p)
{
	static const uint8_t families[] = { IP_V4, IP_V6 };

	for (size_t f = 0; f < ARRAY_LEN(families); f++) {
		bool wanted = false, got = false;

		for (size_t i = 0; i < p->subnets.len; i++) {
			struct subnet *s = &p->subnets.all[i];
			int rc;

			if (s->cidr.addr.family != families[f] || (got && !s->slaac))
				continue;
			wanted = true;
			rc = take_any(p, s);
			if (rc < 0)
				return rc;
			got |= rc > 0;
		}
		if (wanted && !got)
			return none_left(p);
	}
	return 0;
}

static struct subnet *subnet_of(struct pass *p, const char *id)
{
	return (struct subnet *)subnets_find(&p->subnets, id);
}

static bool is_host(const struct subnet *s, struct ip_addr a)
{
	struct ip_addr first, last;

	ipam_hosts(s->cidr, &first, &last);
	return a.family == s->cidr.addr.family && ip_cmp(a, first) >= 0 && ip_cmp(a, last) <= 0;
}

/* One element of the request's list, checked: *ret_subnet is set; *ret_ip has family 0 when it names no address. */
static int parse_item(struct pass *p, const json_t *item, struct subnet **ret_subnet,
		      struct ip_addr *ret_ip)
{
	const char *subnet_id = json_str(item, "subnet_id"), *ip = json_str(item, "ip_address");
	size_t n = (subnet_id != NULL) + (ip != NULL);

	*ret_ip = (struct ip_addr){ 0 };
	*ret_subnet = subnet_id ? subnet_of(p, subnet_id) : NULL;
	if (!json_is_object(item) || n == 0 || json_object_size(item) != n)
		return neutron_err(p->e, NEUTRON_INVALID_FOR, "fixed_ips", "fixed_ips",
				   arena_printf(p->r->arena,
						"'%s' is not a subnet_id, an ip_address or both",
						net_json_text(p->r, item)));
	if (subnet_id && !*ret_subnet)
		return neutron_err(
			p->e, NEUTRON_INVALID_INPUT, "fixed_ips",
			arena_printf(p->r->arena,
				     "Failed to create port on network %s, because fixed_ips included invalid subnet %s",
				     p->network_id, subnet_id));
	if (!ip)
		return 0;
	if (ip_parse(str_of(ip), ret_ip) < 0)
		return neutron_err(p->e, NEUTRON_INVALID_FOR, "fixed_ips", "fixed_ips",
				   arena_printf(p->r->arena, "'%s' is not a valid IP address", ip));
	for (size_t i = 0; !*ret_subnet && i < p->subnets.len; i++)
		if (is_host(&p->subnets.all[i], *ret_ip))
			*ret_subnet = &p->subnets.all[i];
	if (!*ret_subnet)
		return neutron_err(p->e, NEUTRON_IP_NOT_ON_NETWORK, "fixed_ips", ip);
	if (!is_host(*ret_subnet, *ret_ip))
		return neutron_err(p->e, NEUTRON_IP_NOT_ON_SUBNET, "fixed_ips", ip);
	return 0;
}

static int take_item(struct pass *p, struct subnet *s, struct ip_addr a)
{
	int rc = a.family ? take_given(p, s, a) : take_any(p, s);

	if (rc == 0 && !a.family)
		return none_left(p);
	return rc < 0 ? rc : 0;
}

int fixed_ips_assign(struct req *r, const char *port_id, const char *network_id, struct mac mac,
		     const json_t *wanted, struct err *e)
{
	struct pass p;
	int rc = pass_begin(&p, r, port_id, network_id, mac, e);
	json_t *item;
	size_t i;

	if (rc < 0)
		return rc;
	if (!wanted)
		return take_default(&p);
	if (json_array_size(wanted) > PORT_FIXED_IPS_MAX)
		return neutron_err(e, NEUTRON_TOO_MANY_FIXED_IPS, "fixed_ips");
	json_array_foreach(wanted, i, item) {
		struct subnet *s;
		struct ip_addr a;

		rc = parse_item(&p, item, &s, &a);
		if (rc == 0)
			rc = take_item(&p, s, a);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int release_one(struct pass *p, const char *subnet_id, struct ip_addr a)
{
	const struct subnet *s = subnet_of(p, subnet_id);
	char key[IPAM_KEY_SIZE], ip[IP_STR_SIZE];
	int rc = db_exec(p->r->db, p->e, "DELETE FROM port_ip WHERE subnet_id = ? AND ip = ?", "ss",
			 subnet_id, ip_format(a, ip));

	if (rc < 0)
		return rc;
	if (!s || strcmp(ipam_key(a, key), s->alloc_next) >= 0 ||
	    !ipam_in_pools(s->pools, s->n_pools, a))
		return 0;
	rc = db_exec(p->r->db, p->e, "INSERT OR IGNORE INTO subnet_free (subnet_id, key) VALUES (?, ?)",
		     "ss", subnet_id, key);
	return rc < 0 ? rc : 0;
}

struct held {
	const char *subnet_id;
	struct ip_addr ip;
	bool keep;
};

/* The port's addresses; at most PORT_FIXED_IPS_MAX + a SLAAC address per subnet. */
#define HELD_MAX (PORT_FIXED_IPS_MAX + NETWORK_SUBNETS_MAX)
static int held_load(struct pass *p, struct held *ret, size_t *ret_n)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(p->r->db, &q, p->e,
			  "SELECT subnet_id, ip FROM port_ip WHERE port_id = ? ORDER BY ord", "s",
			  p->port_id);

	*ret_n = 0;
	while (rc >= 0 && *ret_n < HELD_MAX && (rc = db_step(q, p->e)) == 1) {
		struct held *h = &ret[(*ret_n)++];

		*h = (struct held){ .subnet_id = arena_strdup(p->r->arena, db_text(q, 0)) };
		if (ip_parse(str_of(db_text(q, 1)), &h->ip) < 0)
			return err_set(p->e, FAULT_INTERNAL, NULL,
				       "address of port %s is not whole", p->port_id);
	}
	return rc < 0 ? rc : 0;
}

/* The held address that the wanted item is content with, or NULL. */
static struct held *held_find(struct held *all, size_t n, const struct subnet *s, struct ip_addr a)
{
	for (size_t i = 0; i < n; i++)
		/* The caller has found the subnet. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
		if (!all[i].keep && strcmp(all[i].subnet_id, s->id) == 0 &&
		    (!a.family || ip_eq(all[i].ip, a)))
			return &all[i];
	return NULL;
}

static int keep(struct pass *p, struct held *h)
{
	char ip[IP_STR_SIZE];
	int rc = db_exec(p->r->db, p->e, "UPDATE port_ip SET ord = ? WHERE subnet_id = ? AND ip = ?",
			 "iss", p->ord++, h->subnet_id, ip_format(h->ip, ip));

	return rc < 0 ? rc : 0;
}

struct wish {
	struct subnet *subnet;
	struct ip_addr ip;
	struct held *held; /* already there */
};

/* Named addresses choose among the held first, so that {subnet_id} does not take what another item names. */
static int wishes_match(struct pass *p, const json_t *wanted, struct wish *wishes,
			struct held *held, size_t n_held)
{
	json_t *item;
	size_t i;

	for (int named = 1; named >= 0; named--) {
		json_array_foreach(wanted, i, item) {
			struct wish *w = &wishes[i];
			int rc = named ? parse_item(p, item, &w->subnet, &w->ip) : 0;

			if (rc < 0)
				return rc;
			if ((w->ip.family != 0) == named)
				w->held = held_find(held, n_held, w->subnet, w->ip);
			if (w->held)
				w->held->keep = true;
		}
	}
	return 0;
}

int fixed_ips_replace(struct req *r, const char *port_id, const char *network_id, struct mac mac,
		      const json_t *wanted, struct err *e)
{
	struct pass p;
	struct held held[HELD_MAX];
	struct wish wishes[PORT_FIXED_IPS_MAX] = { 0 };
	size_t n_held = 0, n = json_array_size(wanted);
	int rc = pass_begin(&p, r, port_id, network_id, mac, e), changed = 0;

	if (n > PORT_FIXED_IPS_MAX)
		return neutron_err(e, NEUTRON_TOO_MANY_FIXED_IPS, "fixed_ips");
	if (rc == 0)
		rc = held_load(&p, held, &n_held);
	if (rc == 0)
		rc = wishes_match(&p, wanted, wishes, held, n_held);
	for (size_t i = 0; rc == 0 && i < n_held; i++) {
		if (held[i].keep)
			continue;
		rc = release_one(&p, held[i].subnet_id, held[i].ip);
		changed = 1;
	}
	for (size_t i = 0; rc == 0 && i < n; i++) {
		changed |= wishes[i].held == NULL;
		rc = wishes[i].held ? keep(&p, wishes[i].held) :
				      take_item(&p, wishes[i].subnet, wishes[i].ip);
	}
	return rc < 0 ? rc : changed;
}

int fixed_ips_release(struct req *r, const char *port_id, const char *network_id, struct err *e)
{
	struct pass p;
	struct held held[HELD_MAX];
	size_t n = 0;
	int rc = pass_begin(&p, r, port_id, network_id, (struct mac){ 0 }, e);

	if (rc == 0)
		rc = held_load(&p, held, &n);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = release_one(&p, held[i].subnet_id, held[i].ip);
	return rc;
}
