/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/intent_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/types.h"
#include "link/frame.h"
#include "model/tcp_flags.h"

/*
 * Stateless rules of ports: the policies of the firewall groups that the node's ports are in, cut into parts; and the address groups
 * that a rule of those or of a security group names.
 */

#define ACL_PART_RULES 1024
/* Of a firewall group: the list of what goes to its ports, and of what comes from them. Without a policy a direction is not filtered;
 * a group that is administratively down has a list without rules, named as the group itself. */
#define ACL_OF(policy) "CASE WHEN g.admin_state_up THEN g." policy " ELSE g.id END"
#define GROUP_PORTS_HERE                                                                           \
	" FROM port p JOIN firewall_group_port m ON m.port_id = p.id "                             \
	"JOIN firewall_group g ON g.id = m.group_id WHERE p.node_id = ?1"
#define ACLS_HERE                                                                                  \
	"(SELECT " ACL_OF("ingress_policy_id") " AS id" GROUP_PORTS_HERE                           \
					       " UNION SELECT " ACL_OF("egress_policy_id")         \
						       GROUP_PORTS_HERE ")"

/* ---- which lists a port has ---- */

static int port_acl_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));
	int rc = 0;

	(void)e;
	if (!o)
		return 0;
	if (!db_is_null(q, 1))
		rc = INTENT_APPEND(b, o->port->n_acl_in_ids, o->port->acl_in_ids, intent_text(b, q, 1));
	if (rc == 0 && !db_is_null(q, 2))
		rc = INTENT_APPEND(b, o->port->n_acl_out_ids, o->port->acl_out_ids,
				   intent_text(b, q, 2));
	return rc;
}

int intent_build_port_acls(struct intent_build *b, size_t first, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e,
			  "SELECT p.id, " ACL_OF("ingress_policy_id") ", " ACL_OF("egress_policy_id")
				  GROUP_PORTS_HERE " ORDER BY p.id",
			  "s", b->node_id);

	return rc < 0 ? rc : intent_each(b, q, port_acl_row, &first, e);
}

/* ---- address groups ---- */

/* "10.0.0.0/8" or a bare address: address in network order, prefix length. */
static int cidr_pack(const char *text, uint8_t ret[static 17], size_t *ret_size)
{
	struct ip_cidr c;

	if (cidr_parse(str_of(text), &c) < 0) {
		if (ip_parse(str_of(text), &c.addr) < 0)
			return -EINVAL;
		c.prefix_len = ip_max_prefix(&c.addr);
	}
	*ret_size = c.addr.family == IP_V4 ? 5 : 17;
	memcpy(ret, c.addr.b, *ret_size - 1);
	ret[*ret_size - 1] = c.prefix_len;
	return 0;
}

struct addresses {
	struct strbuf v4, v6; /* bytes of the group that is being read */
	Demarc__V1__Object *object;
};

static int bytes_take(struct intent_build *b, struct strbuf *from, ProtobufCBinaryData *ret)
{
	size_t size = from->len;

	if (from->error)
		return -ENOMEM;
	ret->len = size;
	ret->data = arena_alloc(b->arena, size + 1);
	if (!ret->data)
		return -ENOMEM;
	if (size)
		memcpy(ret->data, from->ptr, size);
	strbuf_done(from);
	*from = (struct strbuf){ 0 };
	return 0;
}

static int addresses_end(struct intent_build *b, struct addresses *a)
{
	if (!a->object)
		return 0;
	if (bytes_take(b, &a->v4, &a->object->address_group->cidrs4) < 0)
		return -ENOMEM;
	return bytes_take(b, &a->v6, &a->object->address_group->cidrs6);
}

static int addresses_begin(struct intent_build *b, struct addresses *a, const char *id)
{
	a->object = intent_object_add(b, "address_group", id);
	if (!a->object)
		return -ENOMEM;
	a->object->address_group = ARENA_NEW(b->arena, Demarc__V1__AddressGroup);
	if (!a->object->address_group)
		return -ENOMEM;
	demarc__v1__address_group__init(a->object->address_group);
	a->object->body_case = DEMARC__V1__OBJECT__BODY_ADDRESS_GROUP;
	return 0;
}

/* An empty group has one row, without an address. */
static int address_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	struct addresses *a = ctx;
	uint8_t packed[17];
	size_t size;

	if (!a->object || strcmp(a->object->id, db_text(q, 0)) != 0) {
		if (addresses_end(b, a) < 0 || addresses_begin(b, a, db_text(q, 0)) < 0)
			return -ENOMEM;
	}
	if (db_is_null(q, 1))
		return 0;
	if (cidr_pack(db_text(q, 1), packed, &size) < 0)
		return err_set(e, FAULT_INTERNAL, "address", "address group %s holds '%s'",
			       a->object->id, db_text(q, 1));
	strbuf_add(size == 5 ? &a->v4 : &a->v6, (const char *)packed, size);
	return 0;
}

int intent_build_address_groups(struct intent_build *b, struct err *e)
{
	struct addresses a = { 0 };
	struct db_rows *q = NULL;
	int rc = db_query(
		b->db, &q, e,
		"WITH acls AS MATERIALIZED " ACLS_HERE ", used AS (SELECT r.remote_address_group_id AS id "
		"FROM port p JOIN port_security_group m ON m.port_id = p.id JOIN security_group_rule r "
		"ON r.security_group_id = m.security_group_id WHERE p.node_id = ?1 AND r.remote_address_group_id IS NOT NULL "
		"UNION SELECT f.source_address_group_id FROM firewall_rule f CROSS JOIN firewall_policy_rule o ON o.rule_id = f.id "
		"WHERE o.policy_id IN acls AND f.enabled AND f.source_address_group_id IS NOT NULL "
		"UNION SELECT f.destination_address_group_id FROM firewall_rule f CROSS JOIN firewall_policy_rule o ON o.rule_id = f.id "
		"WHERE o.policy_id IN acls AND f.enabled AND f.destination_address_group_id IS NOT NULL) "
		"SELECT u.id, a.address FROM used u LEFT JOIN address_group_address a ON a.address_group_id = u.id "
		"ORDER BY u.id, a.address",
		"s", b->node_id);

	if (rc >= 0)
		rc = intent_each(b, q, address_row, &a, e);
	if (rc >= 0 && addresses_end(b, &a) < 0)
		rc = -ENOMEM;
	strbuf_done(&a.v4);
	strbuf_done(&a.v6);
	return rc;
}

/* ---- lists ---- */

struct lists {
	struct intent_vec acls; /* the objects "acl" and what was before them: parts come behind, and are not in order */
	size_t first;
	Demarc__V1__Object *acl;
	Demarc__V1__AclPart *part; /* that takes the next rule, or NULL */
};

/* The policy's revision follows every change of its rules. */
#define ACL_FORMAT                                                                                 \
	"1" /* another one when rules are compiled in another way: parts are built again then */

static int acl_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	Demarc__V1__Object *o = intent_object_add(b, "acl", db_text(q, 0));

	(void)ctx;
	(void)e;
	if (!o)
		return -ENOMEM;
	o->acl = ARENA_NEW(b->arena, Demarc__V1__Acl);
	if (!o->acl)
		return -ENOMEM;
	demarc__v1__acl__init(o->acl);
	o->acl->version = arena_printf(b->arena, ACL_FORMAT ".%lld",
				       (long long)(db_is_null(q, 1) ? 0 : db_int(q, 1)));
	o->body_case = DEMARC__V1__OBJECT__BODY_ACL;
	return o->acl->version ? 0 : -ENOMEM;
}

static int parts_keep(struct intent_build *b, Demarc__V1__Acl *acl, const Demarc__V1__Acl *stored)
{
	for (size_t i = 0; i < stored->n_part_ids; i++) {
		Demarc__V1__Object *o = intent_object_keep(b, "acl_part", stored->part_ids[i]);

		if (!o || INTENT_APPEND(b, acl->n_part_ids, acl->part_ids, o->id) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Takes the parts of a list that is stored as it is now. Returns 1, or 0: its parts are to be built. */
static int list_keep(struct intent_build *b, const Demarc__V1__Object *o, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	Demarc__V1__Object *stored;
	const void *body;
	size_t size;
	int rc = db_query(b->db, &q, e,
			  "SELECT body FROM intent_object WHERE node_id = ? AND kind = 'acl' AND id = ? AND deleted = 0",
			  "ss", b->node_id, o->id);

	if (rc >= 0)
		rc = db_step(q, e);
	if (rc <= 0)
		return rc;
	body = db_blob(q, 0, &size);
	stored = (Demarc__V1__Object *)frame_unpack(&demarc__v1__object__descriptor, body, size);
	rc = stored && stored->body_case == DEMARC__V1__OBJECT__BODY_ACL &&
	     strcmp(stored->acl->version, o->acl->version) == 0;
	if (rc && parts_keep(b, o->acl, stored->acl) < 0)
		rc = -ENOMEM;
	if (stored)
		demarc__v1__object__free_unpacked(stored, NULL);
	return rc;
}

/* Ids of the lists whose rules are not as they are stored. */
static int lists_changed(struct intent_build *b, const struct lists *l, json_t *ret, struct err *e)
{
	for (size_t i = l->first; i < l->acls.n; i++) {
		const Demarc__V1__Object *o = l->acls.items[i];
		int rc = list_keep(b, o, e);

		if (rc < 0)
			return rc == -ENOMEM ? intent_no_memory(e) : rc;
		if (rc == 0 && json_array_append_new(ret, json_string(o->id)) < 0)
			return intent_no_memory(e);
	}
	return 0;
}

/* Part n of a list has a name-based UUID, so that it stays the same object. Source: RFC 9562 5.8 (version 8). */
static void part_id(const char *acl, size_t n, char ret[static UUID_STR_SIZE])
{
	uint8_t sum[SHA256_DIGEST_LENGTH],
		number[4] = { (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n };
	struct strbuf name = { 0 };
	struct uuid u;

	strbuf_adds(&name, acl);
	strbuf_add(&name, (const char *)number, sizeof(number));
	(void)SHA256((const uint8_t *)name.ptr, name.len, sum);
	strbuf_done(&name);
	memcpy(u.b, sum, sizeof(u.b));
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x80);
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	(void)uuid_format(u, ret);
}

static int part_add(struct intent_build *b, struct lists *l)
{
	Demarc__V1__Acl *acl = l->acl->acl;
	char id[UUID_STR_SIZE];
	Demarc__V1__Object *o;

	part_id(l->acl->id, acl->n_part_ids, id);
	o = intent_object_add(b, "acl_part", id);
	l->part = ARENA_NEW(b->arena, Demarc__V1__AclPart);
	if (!o || !l->part)
		return -ENOMEM;
	demarc__v1__acl_part__init(l->part);
	o->acl_part = l->part;
	o->body_case = DEMARC__V1__OBJECT__BODY_ACL_PART;
	return INTENT_APPEND(b, acl->n_part_ids, acl->part_ids, o->id);
}

static int rule_address(struct intent_build *b, struct db_rows *q, int col, ProtobufCBinaryData *ret)
{
	if (db_is_null(q, col))
		return 0;
	ret->data = arena_alloc(b->arena, 17);
	return ret->data ? cidr_pack(db_text(q, col), ret->data, &ret->len) : -ENOMEM;
}

/* "80" or "80:90" */
static int rule_ports(struct db_rows *q, int col, protobuf_c_boolean *ret_has, uint32_t *ret_min,
		      uint32_t *ret_max)
{
	struct str last, first = str_cut(str_of(db_text(q, col)), ':', &last);
	uint64_t min, max;

	if (db_is_null(q, col))
		return 0;
	if (str_to_u64(first, 65535, &min) < 0)
		return -EINVAL;
	max = min;
	if (last.len && str_to_u64(last, 65535, &max) < 0)
		return -EINVAL;
	*ret_has = true;
	*ret_min = (uint32_t)min;
	*ret_max = (uint32_t)max;
	return 0;
}

static int rule_flags(struct db_rows *q, int col, Demarc__V1__AclRule *r)
{
	uint8_t mask, value;

	if (db_is_null(q, col))
		return 0;
	if (tcp_flags_parse(str_of(db_text(q, col)), &mask, &value) < 0)
		return -EINVAL;
	r->tcp_flags_mask = mask;
	r->tcp_flags = value;
	return 0;
}

static int rule_id(struct intent_build *b, const char *text, ProtobufCBinaryData *ret)
{
	struct uuid u;

	if (uuid_parse(str_of(text), &u) < 0)
		return -EINVAL;
	ret->len = sizeof(u.b);
	ret->data = arena_alloc(b->arena, ret->len);
	if (!ret->data)
		return -ENOMEM;
	memcpy(ret->data, u.b, ret->len);
	return 0;
}

static Demarc__V1__AclAction rule_action(const char *text)
{
	if (strcmp(text, "allow") == 0)
		return DEMARC__V1__ACL_ACTION__ACL_ALLOW;
	return strcmp(text, "reject") == 0 ? DEMARC__V1__ACL_ACTION__ACL_REJECT :
					     DEMARC__V1__ACL_ACTION__ACL_DENY;
}

#define RULE_COLUMNS                                                                                                  \
	"o.policy_id, f.id, f.action, f.ip_version, f.protocol, f.source_ip_address, f.destination_ip_address, "      \
	"f.source_address_group_id, f.destination_address_group_id, f.source_port, f.destination_port, f.icmp_type, " \
	"f.icmp_code, f.tcp_flags, f.dscp, f.vlan"

/* Columns from 1. -EINVAL: a value that the API does not store. */
static int rule_fill(struct intent_build *b, struct db_rows *q, Demarc__V1__AclRule *r)
{
	int rc = rule_id(b, db_text(q, 1), &r->id);

	r->action = rule_action(db_text(q, 2));
	r->family = (uint32_t)db_int(q, 3);
	if (rc == 0)
		rc = intent_protocol(db_text(q, 4), r->family, &r->protocol);
	if (rc == 0)
		rc = rule_address(b, q, 5, &r->source);
	if (rc == 0)
		rc = rule_address(b, q, 6, &r->destination);
	r->source_group_id = intent_text(b, q, 7);
	r->destination_group_id = intent_text(b, q, 8);
	if (rc == 0)
		rc = rule_ports(q, 9, &r->has_source_ports, &r->source_port_min, &r->source_port_max);
	if (rc == 0)
		rc = rule_ports(q, 10, &r->has_destination_ports, &r->destination_port_min,
				&r->destination_port_max);
	r->has_icmp_type = !db_is_null(q, 11);
	r->icmp_type = (uint32_t)db_int(q, 11);
	r->has_icmp_code = !db_is_null(q, 12);
	r->icmp_code = (uint32_t)db_int(q, 12);
	if (rc == 0)
		rc = rule_flags(q, 13, r);
	r->has_dscp = !db_is_null(q, 14);
	r->dscp = (uint32_t)db_int(q, 14);
	r->vlan = (uint32_t)db_int(q, 15);
	return rc;
}

static int rule_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	struct lists *l = ctx;
	Demarc__V1__AclRule *r = ARENA_NEW(b->arena, Demarc__V1__AclRule);
	int rc;

	if (!r)
		return -ENOMEM;
	if (!l->acl || strcmp(l->acl->id, db_text(q, 0)) != 0) {
		l->acl = intent_find(&l->acls, l->first, db_text(q, 0));
		l->part = NULL;
	}
	if (!l->acl)
		return 0;
	if ((!l->part || l->part->n_rules == ACL_PART_RULES) && part_add(b, l) < 0)
		return -ENOMEM;
	demarc__v1__acl_rule__init(r);
	rc = rule_fill(b, q, r);
	if (rc == -EINVAL)
		return err_set(e, FAULT_INTERNAL, "firewall_rule",
			       "firewall rule %s cannot be compiled", db_text(q, 1));
	return rc < 0 ? rc : INTENT_APPEND(b, l->part->n_rules, l->part->rules, r);
}

int intent_build_acls(struct intent_build *b, struct err *e)
{
	CLEANUP(json_freep) json_t *changed = json_array();
	struct lists l = { .first = b->objects.n };
	struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e,
			  "SELECT a.id, p.revision_number FROM " ACLS_HERE
			  " a LEFT JOIN firewall_policy p ON p.id = a.id WHERE a.id IS NOT NULL ORDER BY a.id",
			  "s", b->node_id);

	if (rc >= 0)
		rc = intent_each(b, q, acl_row, NULL, e);
	l.acls = b->objects;
	if (rc >= 0)
		rc = lists_changed(b, &l, changed, e);
	if (rc < 0 || json_array_size(changed) == 0)
		return rc;
	rc = db_query(b->db, &q, e,
		      "SELECT " RULE_COLUMNS
		      " FROM firewall_policy_rule o JOIN firewall_rule f ON f.id = o.rule_id "
		      "WHERE o.policy_id IN (SELECT value FROM json_each(?)) AND f.enabled "
		      "ORDER BY o.policy_id, o.ord",
		      "j", changed);
	return rc < 0 ? rc : intent_each(b, q, rule_row, &l, e);
}
