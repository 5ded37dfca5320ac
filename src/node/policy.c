/* SPDX-License-Identifier: Apache-2.0 */
#include "node/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "model/group.h"

_Static_assert(GROUP_MEMBERS_MAX <= DP_ADDR_GROUP_MAX, "members may be an address group as well");

static bool refused(const char *what, const char *id, const struct err *e)
{
	log_limited(LOG_WARN_, "datapath_refused", "%s=%s error=\"%s\"", what, id, e->msg);
	return false;
}

/* ---- address groups ---- */

/* What came was checked: whole rows, prefixes that fit. */
size_t policy_cidrs(ProtobufCBinaryData rows, uint8_t family, struct ip_cidr *ret)
{
	size_t size = family == IP_V4 ? 4 : 16, n = 0;

	for (size_t at = 0; at + size < rows.len; at += size + 1) {
		struct ip_cidr *c = &ret[n++];

		*c = (struct ip_cidr){ .addr.family = family, .prefix_len = rows.data[at + size] };
		memcpy(c->addr.b, rows.data + at, size);
	}
	return n;
}

static bool set_address_group(struct node *n, const intent_object *o)
{
	const Demarc__V1__AddressGroup *g = o->address_group;
	size_t room = g->cidrs4.len / 5 + g->cidrs6.len / 17, len;
	CLEANUP(free_voidp) struct ip_cidr *v = calloc(room + 1, sizeof(*v));
	struct err e = { 0 };

	if (!v)
		return false;
	len = policy_cidrs(g->cidrs4, IP_V4, v);
	len += policy_cidrs(g->cidrs6, IP_V6, v + len);
	if (dp_addr_group_set(n->dp, local_number(n->local, LOCAL_ADDRESS_GROUP, o->id), v, len, &e) < 0)
		return refused("address_group", o->id, &e);
	return true;
}

/* ---- members of security groups ---- */

static const Demarc__V1__SecurityGroup *security_group(struct node *n, const char *id)
{
	const intent_object *o = intent_find(n->intent, "security_group", id);

	return o && o->body_case == DEMARC__V1__OBJECT__BODY_SECURITY_GROUP ? o->security_group : NULL;
}

static bool any_stateless(struct node *n)
{
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "security_group", &pos));)
		if (o->security_group->stateless)
			return true;
	return false;
}

/* Members are an address group as well where the datapath's own list of them does not do: subnets, and rules of lists. */
static bool needs_group(struct node *n, const Demarc__V1__SecurityGroup *g)
{
	return g && (g->n_member_cidrs || any_stateless(n));
}

uint32_t policy_members(struct node *n, const char *sg_id)
{
	if (!needs_group(n, security_group(n, sg_id)))
		return 0;
	return local_number(n->local, LOCAL_ADDRESS_GROUP, sg_id);
}

static bool set_members(struct node *n, const intent_object *o)
{
	const Demarc__V1__SecurityGroup *g = o->security_group;
	CLEANUP(free_voidp)
	struct ip_cidr *v = calloc(g->n_member_ips + g->n_member_cidrs + 1, sizeof(*v));
	uint32_t number = policy_members(n, o->id);
	struct err e = { 0 };
	size_t len = 0;

	if (!number)
		return true;
	if (!v)
		return false;
	for (size_t i = 0; i < g->n_member_ips; i++, len++) {
		(void)!ip_parse(str_of(g->member_ips[i]), &v[len].addr); /* was checked when it came */
		v[len].prefix_len = ip_max_prefix(&v[len].addr);
	}
	for (size_t i = 0; i < g->n_member_cidrs; i++, len++)
		(void)!cidr_parse(str_of(g->member_cidrs[i]), &v[len]);
	if (dp_addr_group_set(n->dp, number, v, len, &e) < 0)
		return refused("security_group", o->id, &e);
	return true;
}

/* ---- lists ---- */

/* The intent holds the address as rows of one. */
static struct ip_cidr address_of(ProtobufCBinaryData b)
{
	struct ip_cidr c = { 0 };

	if (b.len)
		(void)policy_cidrs(b, b.len == 5 ? IP_V4 : IP_V6, &c);
	return c;
}

static uint32_t group_of(struct local *l, const char *id)
{
	return *id ? local_number(l, LOCAL_ADDRESS_GROUP, id) : 0;
}

/* Enough of the id to find the rule again; 0 means that none decided. */
static uint32_t number_of(const uint8_t id[static 16])
{
	uint32_t n = (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];

	return n ? n : 1;
}

uint32_t policy_rule_number(const char *id)
{
	struct uuid u;

	return uuid_parse(str_of(id), &u) < 0 ? 0 : number_of(u.b);
}

void policy_rule(struct local *l, const Demarc__V1__AclRule *r, struct dp_acl_rule *ret)
{
	*ret = (struct dp_acl_rule){
		.id = number_of(r->id.data),
		.deny = r->action != DEMARC__V1__ACL_ACTION__ACL_ALLOW,
		.reject = r->action == DEMARC__V1__ACL_ACTION__ACL_REJECT,
		.family = (uint8_t)r->family,
		.proto = (uint8_t)r->protocol,
		.src = address_of(r->source),
		.dst = address_of(r->destination),
		.src_group = group_of(l, r->source_group_id),
		.dst_group = group_of(l, r->destination_group_id),
		.has_sport = r->has_source_ports,
		.sport_min = (uint16_t)r->source_port_min,
		.sport_max = (uint16_t)r->source_port_max,
		.has_dport = r->has_destination_ports,
		.dport_min = (uint16_t)r->destination_port_min,
		.dport_max = (uint16_t)r->destination_port_max,
		.has_icmp = r->has_icmp_type,
		.has_icmp_code = r->has_icmp_code,
		.icmp_type = (uint8_t)r->icmp_type,
		.icmp_code = (uint8_t)r->icmp_code,
		.tcp_flags_mask = (uint8_t)r->tcp_flags_mask,
		.tcp_flags = (uint8_t)r->tcp_flags,
		.has_dscp = r->has_dscp,
		.dscp = (uint8_t)r->dscp,
		.vlan = { (uint16_t)r->vlan },
	};
}

static const Demarc__V1__AclPart *part_of(struct node *n, const char *id)
{
	const intent_object *o = intent_find(n->intent, "acl_part", id);

	return o && o->body_case == DEMARC__V1__OBJECT__BODY_ACL_PART ? o->acl_part : NULL;
}

/* A list is its parts, in their order; a part that is missing would let later rules decide, so such a list stays as it was. */
static bool set_acl(struct node *n, const intent_object *o)
{
	CLEANUP(free_voidp) struct dp_acl_rule *v = NULL;
	const Demarc__V1__Acl *a = o->acl;
	size_t room = 0, len = 0;
	struct err e = { 0 };

	for (size_t i = 0; i < a->n_part_ids; i++) {
		const Demarc__V1__AclPart *part = part_of(n, a->part_ids[i]);

		if (!part) {
			(void)!err_set(&e, FAULT_NOT_FOUND, "part_ids", "part %zu is missing", i);
			return refused("acl", o->id, &e);
		}
		room += part->n_rules;
	}
	v = calloc(room + 1, sizeof(*v));
	if (!v)
		return false;
	for (size_t i = 0; i < a->n_part_ids; i++) {
		const Demarc__V1__AclPart *part = part_of(n, a->part_ids[i]);

		for (size_t k = 0; k < part->n_rules; k++, len++)
			policy_rule(n->local, part->rules[k], &v[len]);
	}
	if (dp_acl_set(n->dp, local_number(n->local, LOCAL_ACL, o->id), v, len, &e) < 0)
		return refused("acl", o->id, &e);
	return true;
}

/* ---- stateless security groups: a list for each direction and set of groups, all of whose rules permit ---- */

#define PASS_ID "stateless" /* the group of ports whose lists decide: everything passes */
#define KEY_SIZE (8 + DP_PORT_SGS_MAX * UUID_STR_SIZE)

static bool set_pass(struct node *n)
{
	struct dp_sg_rule rules[4] = { 0 };
	struct err e = { 0 };

	if (!any_stateless(n))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		rules[i].egress = i & 1;
		rules[i].family = i & 2 ? IP_V6 : IP_V4;
	}
	if (dp_sg_set(n->dp, local_number(n->local, LOCAL_SG, PASS_ID), rules, ARRAY_LEN(rules),
		      NULL, 0, &e) < 0)
		return refused("security_group", PASS_ID, &e);
	return true;
}

/* The API keeps stateful and stateless groups apart on a port. */
static bool is_stateless(struct node *n, const Demarc__V1__Port *p)
{
	for (size_t i = 0; i < p->n_security_group_ids; i++) {
		const Demarc__V1__SecurityGroup *g = security_group(n, p->security_group_ids[i]);

		if (!g || !g->stateless)
			return false;
	}
	return p->port_security && p->n_security_group_ids > 0;
}

/* What the list is known by: direction and groups. */
static void list_key(const Demarc__V1__Port *p, bool egress, char ret[static KEY_SIZE])
{
	size_t len = (size_t)snprintf(ret, KEY_SIZE, "%s", egress ? "from" : "to");

	for (size_t i = 0; i < p->n_security_group_ids && len < KEY_SIZE; i++)
		len += (size_t)snprintf(ret + len, KEY_SIZE - len, ":%s", p->security_group_ids[i]);
}

/* Both are permitted, so a rule of a group is one of the list as it is. */
static void permit_of(struct node *n, const Demarc__V1__SecurityRule *r, struct dp_acl_rule *ret)
{
	struct ip_cidr remote = { 0 };
	uint32_t group = 0;
	bool icmp = r->protocol == 1 || r->protocol == 58;

	if (*r->remote_cidr)
		(void)!cidr_parse(str_of(r->remote_cidr), &remote);
	if (*r->remote_group_id)
		group = local_number(n->local, LOCAL_ADDRESS_GROUP, r->remote_group_id);
	if (*r->remote_address_group_id)
		group = local_number(n->local, LOCAL_ADDRESS_GROUP, r->remote_address_group_id);
	*ret = (struct dp_acl_rule){
		.id = policy_rule_number(r->id),
		.family = (uint8_t)r->family,
		.proto = (uint8_t)(r->family == IP_V6 && r->protocol == 1 ? 58 : r->protocol),
		.has_dport = r->has_ports && !icmp,
		.dport_min = (uint16_t)r->port_min,
		.dport_max = (uint16_t)r->port_max,
		.has_icmp = r->has_ports && icmp,
		.icmp_type = (uint8_t)r->port_min,
		.has_icmp_code = r->has_ports && icmp && r->port_max < 256,
		.icmp_code = (uint8_t)r->port_max,
	};
	*(r->egress ? &ret->dst : &ret->src) = remote;
	*(r->egress ? &ret->dst_group : &ret->src_group) = group;
}

/* Returns the list's number; 0: it could not be written. */
static uint16_t set_permits(struct node *n, const Demarc__V1__Port *p, bool egress)
{
	CLEANUP(free_voidp)
	struct dp_acl_rule *v = calloc(DP_PORT_SGS_MAX * DP_SG_RULES_MAX, sizeof(*v));
	char key[KEY_SIZE];
	struct err e = { 0 };
	size_t len = 0;
	uint32_t number;

	if (!v)
		return 0;
	for (size_t i = 0; i < p->n_security_group_ids; i++) {
		const Demarc__V1__SecurityGroup *g = security_group(n, p->security_group_ids[i]);

		for (size_t k = 0; k < g->n_rules; k++)
			if (g->rules[k]->egress == egress) {
				permit_of(n, g->rules[k], &v[len]);
				len++;
			}
	}
	list_key(p, egress, key);
	number = local_number(n->local, LOCAL_ACL, key);
	if (number && dp_acl_set(n->dp, number, v, len, &e) < 0)
		(void)refused("security_group", key, &e);
	return (uint16_t)number;
}

/* ---- ports ---- */

static void list_add(uint16_t number, uint16_t ret[static DP_PORT_ACLS_MAX])
{
	for (size_t i = 0; i < DP_PORT_ACLS_MAX; i++)
		if (ret[i] == 0) {
			ret[i] = number;
			return;
		}
}

static void set_lists(struct node *n, char **ids, size_t n_ids, uint16_t ret[static DP_PORT_ACLS_MAX])
{
	for (size_t i = 0; i < n_ids; i++)
		list_add((uint16_t)local_number(n->local, LOCAL_ACL, ids[i]), ret);
}

void policy_port(struct node *n, const Demarc__V1__Port *p, struct dp_port *ret)
{
	set_lists(n, p->acl_in_ids, p->n_acl_in_ids, ret->acl_to);
	set_lists(n, p->acl_out_ids, p->n_acl_out_ids, ret->acl_from);
	if (!is_stateless(n, p)) {
		for (size_t i = 0; i < p->n_security_group_ids && ret->n_sgs < DP_PORT_SGS_MAX; i++)
			ret->sgs[ret->n_sgs++] =
				local_number(n->local, LOCAL_SG, p->security_group_ids[i]);
		return;
	}
	list_add(set_permits(n, p, false), ret->acl_to);
	list_add(set_permits(n, p, true), ret->acl_from);
	ret->sgs[ret->n_sgs++] = local_number(n->local, LOCAL_SG, PASS_ID);
}

/* ---- passes ---- */

bool policy_pass(struct node *n)
{
	const intent_object *o;
	bool good = true;

	for (size_t pos = 0; (o = intent_next(n->intent, "address_group", &pos));)
		good &= set_address_group(n, o);
	for (size_t pos = 0; (o = intent_next(n->intent, "security_group", &pos));)
		good &= set_members(n, o);
	good &= set_pass(n);
	for (size_t pos = 0; (o = intent_next(n->intent, "acl", &pos));)
		good &= set_acl(n, o);
	return good;
}

static bool has_list(struct node *n, const char *key)
{
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "port", &pos));)
		for (int egress = 0; egress < 2; egress++) {
			char own[KEY_SIZE];

			list_key(o->port, egress, own);
			if (is_stateless(n, o->port) && strcmp(own, key) == 0)
				return true;
		}
	return false;
}

static bool keep_acl(void *ctx, const char *id)
{
	struct node *n = ctx;

	return intent_find(n->intent, "acl", id) || (strchr(id, ':') && has_list(n, id));
}

static bool keep_address_group(void *ctx, const char *id)
{
	struct node *n = ctx;

	return intent_find(n->intent, "address_group", id) || needs_group(n, security_group(n, id));
}

void policy_prune(struct node *n)
{
	local_prune(n->local, LOCAL_ACL, keep_acl, n);
	local_prune(n->local, LOCAL_ADDRESS_GROUP, keep_address_group, n);
}

bool policy_keeps_group(struct node *n, const char *id)
{
	return strcmp(id, PASS_ID) == 0 && any_stateless(n);
}

/* ---- which rule it was ---- */

static bool security_rule_of(struct node *n, uint32_t number, char ret[static UUID_STR_SIZE])
{
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "security_group", &pos));)
		for (size_t i = 0; i < o->security_group->n_rules; i++) {
			const char *id = o->security_group->rules[i]->id;

			if (policy_rule_number(id) == number) {
				(void)str_copy(ret, UUID_STR_SIZE, str_of(id));
				return true;
			}
		}
	return false;
}

static bool acl_rule_of(struct node *n, uint32_t number, char ret[static UUID_STR_SIZE])
{
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "acl_part", &pos));)
		for (size_t i = 0; i < o->acl_part->n_rules; i++) {
			const uint8_t *id = o->acl_part->rules[i]->id.data;
			struct uuid u;

			if (number_of(id) == number) {
				memcpy(u.b, id, sizeof(u.b));
				(void)uuid_format(u, ret);
				return true;
			}
		}
	return false;
}

char *policy_rule_id(struct node *n, uint32_t number, char ret[static UUID_STR_SIZE])
{
	ret[0] = '\0';
	if (number && !acl_rule_of(n, number, ret))
		(void)security_rule_of(n, number, ret);
	return ret;
}
