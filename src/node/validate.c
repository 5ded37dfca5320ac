/* SPDX-License-Identifier: Apache-2.0 */
#include "node/validate.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/types.h"
#include "model/endpoint.h"
#include "model/group.h"
#include "model/nsh.h"
#include "model/overlay.h"
#include "node/vnic.h"

/* Limits of one object; generous against what the API accepts, tight against memory. */
#define NAME_MAX_BYTES 1024
#define TEXT_MAX_BYTES 4096
#define SUBNETS_MAX 64
#define ADDRESS_PAIRS_MAX 32
#define PORT_SGS_MAX 8
#define RULES_MAX 256
#define PORT_ACLS_MAX 4
#define ACL_PARTS_MAX 10
#define ACL_PART_RULES_MAX 1024
#define ADDRESS_GROUP_MAX 10000 /* of each family */
#define REMOTES_MAX 4096	/* other nodes on one network */
#define MACS_MAX 16384		/* behind one of them */
#define METADATA_MAX 128
#define USER_DATA_MAX (64u << 10) /* bytes: what base64 of 64 KiB can hold, and more */
#define COLLECTORS_MAX 16
#define ACTIVE_MAX_S 86400
#define HOPS_MAX 16
#define PAIRS_MAX 16
#define CLASSIFIERS_MAX 16
#define WORDS_MAX 16
#define RATE_MAX (1ULL << 42) /* of any unit: more than the API can name */
#define MTU_MIN 68	      /* RFC 791 */
#define MTU_MAX 9216
#define MEMORY_MB_MAX (1u << 22)
#define IMAGE_BYTES_MAX (1ULL << 40)

static int bad(struct err *e, const char *field, const char *what, const char *value)
{
	return err_set(e, FAULT_BAD_REQUEST, field, "'%.64s' is not %s", value, what);
}

static int in_list(struct err *e, const char *list, size_t i)
{
	char at[64];

	(void)snprintf(at, sizeof(at), "%s[%zu]", list, i);
	return err_in(e, at);
}

static int need_id(const char *id, const char *field, struct err *e)
{
	struct uuid u;

	/* Only the dashed form: ids become file names and are compared as strings. */
	if (strlen(id) != UUID_STR_SIZE - 1 || uuid_parse(str_of(id), &u) < 0)
		return bad(e, field, "a UUID", id);
	for (const char *p = id; *p; p++)
		if (*p >= 'A' && *p <= 'F')
			return bad(e, field, "a lower-case UUID", id);
	return 0;
}

static int optional_id(const char *id, const char *field, struct err *e)
{
	return *id ? need_id(id, field, e) : 0;
}

static int text(const char *s, size_t max, const char *field, struct err *e)
{
	if (strlen(s) > max)
		return err_set(e, FAULT_BAD_REQUEST, field, "longer than %zu bytes", max);
	if (!str_is_utf8(str_of(s)))
		return err_set(e, FAULT_BAD_REQUEST, field, "not UTF-8");
	return 0;
}

static int count(size_t n, size_t max, const char *field, struct err *e)
{
	return n > max ? err_set(e, FAULT_BAD_REQUEST, field, "%zu entries, at most %zu", n, max) : 0;
}

static int cidr_or_empty(const char *s, const char *field, struct err *e)
{
	struct ip_cidr c;

	return *s && cidr_parse(str_of(s), &c) < 0 ? bad(e, field, "a CIDR", s) : 0;
}

static int ip_or_empty(const char *s, const char *field, struct err *e)
{
	struct ip_addr a;

	return *s && ip_parse(str_of(s), &a) < 0 ? bad(e, field, "an IP address", s) : 0;
}

static int mac_or_empty(const char *s, const char *field, struct err *e)
{
	struct mac m;

	return *s && mac_parse(str_of(s), &m) < 0 ? bad(e, field, "a MAC address", s) : 0;
}

static int family(uint32_t f, bool may_be_zero, const char *field, struct err *e)
{
	if (f == IP_V4 || f == IP_V6 || (f == 0 && may_be_zero))
		return 0;
	return err_set(e, FAULT_BAD_REQUEST, field, "%u is neither 4 nor 6", f);
}

static int at_most(uint64_t v, uint64_t max, const char *field, struct err *e)
{
	return v > max ? err_set(e, FAULT_BAD_REQUEST, field, "%llu is more than %llu",
				 (unsigned long long)v, (unsigned long long)max) :
			 0;
}

/* Runs checks in order until one fails. */
#define FIRST_ERROR(...)                                                                           \
	do {                                                                                       \
		if (__VA_ARGS__)                                                                   \
			return -e_num(e);                                                          \
	} while (0)

static int e_num(const struct err *e)
{
	return e->num ? e->num : 22;
}

/* ---- network ---- */

static int subnet(const Demarc__V1__Subnet *s, struct err *e)
{
	struct ip_cidr c;

	FIRST_ERROR(need_id(s->id, "id", e) || ip_or_empty(s->gateway_ip, "gateway_ip", e) ||
		    count(s->n_dns, 16, "dns", e) ||
		    count(s->n_host_routes, VNIC_ROUTES_MAX, "host_routes", e));
	if (cidr_parse(str_of(s->cidr), &c) < 0)
		return bad(e, "cidr", "a CIDR", s->cidr);
	for (size_t i = 0; i < s->n_dns; i++)
		FIRST_ERROR(ip_or_empty(s->dns[i], "dns", e));
	for (size_t i = 0; i < s->n_host_routes; i++)
		if (!*s->host_routes[i]->destination || !*s->host_routes[i]->nexthop ||
		    cidr_or_empty(s->host_routes[i]->destination, "destination", e) ||
		    ip_or_empty(s->host_routes[i]->nexthop, "nexthop", e))
			return err_set(e, FAULT_BAD_REQUEST, "host_routes",
				       "route %zu does not parse", i);
	return 0;
}

static int macs(const ProtobufCBinaryData *b, struct err *e)
{
	if (b->len % 6 != 0)
		return err_set(e, FAULT_BAD_REQUEST, "macs", "%zu bytes are not MACs", b->len);
	return count(b->len / 6, MACS_MAX, "macs", e);
}

static int vtep(const Demarc__V1__Vtep *t, struct err *e)
{
	struct ip_addr a;

	if (ip_parse(str_of(t->address), &a) < 0)
		return bad(e, "address", "an IP address", t->address);
	return macs(&t->macs, e);
}

static int ovn_port(const Demarc__V1__OvnPort *p, struct err *e)
{
	if (!p->key)
		return err_set(e, FAULT_BAD_REQUEST, "key",
			       "a logical port of OVN has a key of 1 to %d", OVERLAY_OVN_PORT_MAX);
	FIRST_ERROR(at_most(p->key, OVERLAY_OVN_PORT_MAX, "key", e) || macs(&p->macs, e));
	return 0;
}

static int foreign(const Demarc__V1__ForeignVtep *f, struct err *e)
{
	if (!f->at)
		return err_set(e, FAULT_BAD_REQUEST, "at", "an end of tunnels needs an address");
	FIRST_ERROR(vtep(f->at, e) || text(f->type, 32, "type", e) ||
		    count(f->n_labels, OVERLAY_LABELS_MAX, "labels", e) ||
		    at_most(f->ovn_ingress_port, UINT16_MAX, "ovn_ingress_port", e) ||
		    at_most(f->ovn_egress_port, UINT16_MAX, "ovn_egress_port", e) ||
		    count(f->n_ovn_ports, OVERLAY_OVN_PORTS_MAX, "ovn_ports", e));
	for (size_t i = 0; i < f->n_ovn_ports; i++)
		if (ovn_port(f->ovn_ports[i], e) < 0)
			return in_list(e, "ovn_ports", i);
	return 0;
}

static int nsh(const Demarc__V1__Nsh *v, struct err *e)
{
	if (!v)
		return 0;
	FIRST_ERROR(at_most(v->path, OVERLAY_NSH_PATH_MAX, "nsh.path", e) ||
		    at_most(v->index, OVERLAY_NSH_INDEX_MAX, "nsh.index", e) ||
		    at_most(v->md_type, 2, "nsh.md_type", e));
	if (v->md_type == 2 ? v->context.len % 4 || v->context.len > NSH_CONTEXT_MAX :
			      v->context.len && v->context.len != NSH_FIXED_SIZE)
		return err_set(e, FAULT_BAD_REQUEST, "nsh.context",
			       "%zu bytes are no context of metadata type %u", v->context.len,
			       v->md_type ? v->md_type : 1);
	return 0;
}

static int overlay(const Demarc__V1__Overlay *o, struct err *e)
{
	if (!o)
		return 0;
	FIRST_ERROR(text(o->type, 32, "type", e) || ip_or_empty(o->local, "local", e) ||
		    nsh(o->nsh, e) || count(o->n_remotes, REMOTES_MAX, "remotes", e) ||
		    count(o->n_foreign, REMOTES_MAX, "foreign", e));
	for (size_t i = 0; i < o->n_remotes; i++)
		if (vtep(o->remotes[i], e) < 0)
			return in_list(e, "remotes", i);
	for (size_t i = 0; i < o->n_foreign; i++)
		if (foreign(o->foreign[i], e) < 0)
			return in_list(e, "foreign", i);
	return 0;
}

static int tags(const Demarc__V1__TagPair *t, struct err *e)
{
	if (!t)
		return 0;
	FIRST_ERROR(text(t->physical_network, 64, "tags.physical_network", e) ||
		    at_most(t->outer, 4094, "tags.outer", e) ||
		    at_most(t->inner, 4094, "tags.inner", e));
	if (!t->outer || !t->inner)
		return err_set(e, FAULT_BAD_REQUEST, "tags", "a pair of tags is two, 1..4094 each");
	return 0;
}

static int network(const Demarc__V1__Network *n, struct err *e)
{
	FIRST_ERROR(text(n->name, NAME_MAX_BYTES, "name", e) ||
		    text(n->physical_network, 64, "physical_network", e) ||
		    at_most(n->segmentation_id, 4094, "segmentation_id", e) || tags(n->tags, e) ||
		    count(n->n_subnets, SUBNETS_MAX, "subnets", e));
	if (n->mtu != 0 && (n->mtu < MTU_MIN || n->mtu > MTU_MAX))
		return err_set(e, FAULT_BAD_REQUEST, "mtu", "%u is not within %d..%d", n->mtu,
			       MTU_MIN, MTU_MAX);
	for (size_t i = 0; i < n->n_subnets; i++)
		if (subnet(n->subnets[i], e) < 0)
			return in_list(e, "subnets", i);
	return overlay(n->overlay, e) < 0 ? err_in(e, "overlay") : 0;
}

/* ---- port ---- */

static int ids(char **v, size_t n, size_t max, const char *field, struct err *e)
{
	FIRST_ERROR(count(n, max, field, e));
	for (size_t i = 0; i < n; i++)
		FIRST_ERROR(need_id(v[i], field, e));
	return 0;
}

static int fixed_ip(const Demarc__V1__FixedIp *f, struct err *e)
{
	struct ip_addr a;

	FIRST_ERROR(optional_id(f->subnet_id, "subnet_id", e));
	if (ip_parse(str_of(f->ip), &a) < 0)
		return bad(e, "ip", "an IP address", f->ip);
	return at_most(f->prefix_len, ip_max_prefix(&a), "prefix_len", e);
}

static int address_pair(const Demarc__V1__AddressPair *p, struct err *e)
{
	struct ip_cidr c;
	struct ip_addr a;

	FIRST_ERROR(mac_or_empty(p->mac, "mac", e));
	if (cidr_parse(str_of(p->cidr), &c) < 0 && ip_parse(str_of(p->cidr), &a) < 0)
		return bad(e, "cidr", "a CIDR", p->cidr);
	return 0;
}

static int limit(const Demarc__V1__Limit *l, const char *field, struct err *e)
{
	if (!l)
		return 0;
	FIRST_ERROR(at_most(l->kbps, RATE_MAX, field, e) ||
		    at_most(l->burst_kbit, RATE_MAX, field, e) || at_most(l->pps, RATE_MAX, field, e) ||
		    at_most(l->burst_packets, RATE_MAX, field, e));
	return 0;
}

static int port(const Demarc__V1__Port *p, struct err *e)
{
	struct mac m;

	FIRST_ERROR(
		text(p->name, NAME_MAX_BYTES, "name", e) || need_id(p->network_id, "network_id", e) ||
		optional_id(p->server_id, "server_id", e) ||
		count(p->n_fixed_ips, VNIC_ADDRS_MAX, "fixed_ips", e) ||
		count(p->n_allowed_address_pairs, ADDRESS_PAIRS_MAX - VNIC_ADDRS_MAX,
		      "allowed_address_pairs", e) ||
		count(p->n_security_group_ids, PORT_SGS_MAX, "security_group_ids", e) ||
		ids(p->acl_in_ids, p->n_acl_in_ids, PORT_ACLS_MAX, "acl_in_ids", e) ||
		ids(p->acl_out_ids, p->n_acl_out_ids, PORT_ACLS_MAX, "acl_out_ids", e) ||
		limit(p->limit_from, "limit_from", e) || limit(p->limit_to, "limit_to", e) ||
		count(p->n_guards, WORDS_MAX, "guards", e) ||
		count(p->n_helpers, WORDS_MAX, "helpers", e) ||
		at_most(p->storm_pps, RATE_MAX, "storm_pps", e) || at_most(p->dscp, 63, "dscp", e));
	if (mac_parse(str_of(p->mac), &m) < 0 ? !p->uplink || *p->mac :
						mac_is_multicast(m) || mac_is_zero(m))
		return bad(e, "mac", "a unicast MAC address", p->mac);
	for (size_t i = 0; i < p->n_fixed_ips; i++)
		if (fixed_ip(p->fixed_ips[i], e) < 0)
			return in_list(e, "fixed_ips", i);
	for (size_t i = 0; i < p->n_allowed_address_pairs; i++)
		if (address_pair(p->allowed_address_pairs[i], e) < 0)
			return in_list(e, "allowed_address_pairs", i);
	for (size_t i = 0; i < p->n_security_group_ids; i++)
		FIRST_ERROR(need_id(p->security_group_ids[i], "security_group_ids", e));
	return 0;
}

/* ---- security group ---- */

static int rule(const Demarc__V1__SecurityRule *r, struct err *e)
{
	FIRST_ERROR(optional_id(r->id, "id", e) || family(r->family, false, "family", e) ||
		    at_most(r->protocol, 255, "protocol", e) ||
		    at_most(r->port_min, 65535, "port_min", e) ||
		    at_most(r->port_max, 65535, "port_max", e) ||
		    cidr_or_empty(r->remote_cidr, "remote_cidr", e) ||
		    optional_id(r->remote_group_id, "remote_group_id", e) ||
		    optional_id(r->remote_address_group_id, "remote_address_group_id", e));
	return 0;
}

static int security_group(const Demarc__V1__SecurityGroup *g, struct err *e)
{
	FIRST_ERROR(count(g->n_rules, RULES_MAX, "rules", e) ||
		    count(g->n_member_ips, GROUP_MEMBERS_MAX, "member_ips", e) ||
		    count(g->n_member_cidrs, GROUP_MEMBERS_MAX - g->n_member_ips, "member_cidrs", e));
	for (size_t i = 0; i < g->n_rules; i++)
		if (rule(g->rules[i], e) < 0)
			return in_list(e, "rules", i);
	for (size_t i = 0; i < g->n_member_ips; i++) {
		struct ip_addr a;

		if (ip_parse(str_of(g->member_ips[i]), &a) < 0)
			return bad(e, "member_ips", "an IP address", g->member_ips[i]);
	}
	for (size_t i = 0; i < g->n_member_cidrs; i++) {
		struct ip_cidr c;

		if (cidr_parse(str_of(g->member_cidrs[i]), &c) < 0)
			return bad(e, "member_cidrs", "a CIDR", g->member_cidrs[i]);
	}
	return 0;
}

/* ---- address group, list of rules ---- */

/* Rows of an address and its prefix length. */
static int packed_cidrs(ProtobufCBinaryData v, size_t address_size, size_t max, const char *field,
			struct err *e)
{
	size_t row = address_size + 1;

	if (v.len % row != 0)
		return err_set(e, FAULT_BAD_REQUEST, field, "%zu bytes are not rows of %zu", v.len, row);
	FIRST_ERROR(count(v.len / row, max, field, e));
	for (size_t i = address_size; i < v.len; i += row)
		FIRST_ERROR(at_most(v.data[i], address_size * 8, field, e));
	return 0;
}

static int address_group(const Demarc__V1__AddressGroup *g, struct err *e)
{
	FIRST_ERROR(packed_cidrs(g->cidrs4, 4, ADDRESS_GROUP_MAX, "cidrs4", e) ||
		    packed_cidrs(g->cidrs6, 16, ADDRESS_GROUP_MAX, "cidrs6", e));
	return 0;
}

static int port_range(bool has, uint32_t min, uint32_t max, const char *field, struct err *e)
{
	if (has && (min > max || max > 65535))
		return err_set(e, FAULT_BAD_REQUEST, field, "%u:%u is not a range of ports", min, max);
	return 0;
}

static int acl_address(ProtobufCBinaryData v, const char *group_id, uint32_t of_family,
		       const char *field, struct err *e)
{
	bool v4 = v.len == 5;

	if (v.len == 0)
		return optional_id(group_id, field, e);
	if (*group_id)
		return err_set(e, FAULT_BAD_REQUEST, field, "an address and a group");
	if (of_family && v4 != (of_family == IP_V4))
		return err_set(e, FAULT_BAD_REQUEST, field, "not of the rule's family");
	return packed_cidrs(v, v4 ? 4 : 16, 1, field, e);
}

static int acl_rule(const Demarc__V1__AclRule *r, struct err *e)
{
	if (r->id.len != 16)
		return err_set(e, FAULT_BAD_REQUEST, "id", "not 16 bytes");
	FIRST_ERROR(at_most((uint64_t)r->action, DEMARC__V1__ACL_ACTION__ACL_REJECT, "action", e) ||
		    family(r->family, true, "family", e) || at_most(r->protocol, 255, "protocol", e) ||
		    acl_address(r->source, r->source_group_id, r->family, "source", e) ||
		    acl_address(r->destination, r->destination_group_id, r->family, "destination", e) ||
		    port_range(r->has_source_ports, r->source_port_min, r->source_port_max,
			       "source_ports", e) ||
		    port_range(r->has_destination_ports, r->destination_port_min,
			       r->destination_port_max, "destination_ports", e) ||
		    at_most(r->icmp_type, 255, "icmp_type", e) ||
		    at_most(r->icmp_code, 255, "icmp_code", e) ||
		    at_most(r->tcp_flags_mask, 255, "tcp_flags_mask", e) ||
		    at_most(r->tcp_flags, 255, "tcp_flags", e) || at_most(r->dscp, 63, "dscp", e) ||
		    at_most(r->vlan, 4094, "vlan", e));
	return 0;
}

static int acl(const Demarc__V1__Acl *a, struct err *e)
{
	return ids(a->part_ids, a->n_part_ids, ACL_PARTS_MAX, "part_ids", e);
}

static int acl_part(const Demarc__V1__AclPart *p, struct err *e)
{
	FIRST_ERROR(count(p->n_rules, ACL_PART_RULES_MAX, "rules", e));
	for (size_t i = 0; i < p->n_rules; i++)
		if (acl_rule(p->rules[i], e) < 0)
			return in_list(e, "rules", i);
	return 0;
}

/* ---- server ---- */

static int image(const Demarc__V1__Image *i, struct err *e)
{
	uint8_t sum[64];

	FIRST_ERROR(need_id(i->id, "image.id", e) || text(i->name, NAME_MAX_BYTES, "image.name", e) ||
		    at_most(i->size_bytes, IMAGE_BYTES_MAX, "image.size_bytes", e) ||
		    text(i->disk_format, 32, "image.disk_format", e) ||
		    text(i->container_format, 32, "image.container_format", e) ||
		    text(i->native_kind, 32, "image.native_kind", e));
	if (!*i->sha512)
		return 0; /* no function can be made of it; the server's status says so */
	if (str_from_hex(str_of(i->sha512), sum, sizeof(sum)) < 0)
		return bad(e, "image.sha512", "a SHA-512 in hex", i->sha512);
	for (const char *p = i->sha512; *p; p++) /* it becomes a file name: one spelling only */
		if (*p >= 'A' && *p <= 'F')
			return bad(e, "image.sha512", "in lower case", i->sha512);
	return 0;
}

static int hostname(const char *s, struct err *e)
{
	size_t n = strlen(s);

	if (n > 63) /* HOST_NAME_MAX - 1 */
		return bad(e, "hostname", "a host name of at most 63 bytes", s);
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		      (*s >= '0' && *s <= '9') || *s == '-' || *s == '.' || *s == '_'))
			return bad(e, "hostname", "a host name", s);
	return 0;
}

static int probe(const char *s, struct err *e)
{
	struct str value, kind = str_cut(str_of(s), ':', &value);
	uint64_t number;

	if (!*s || strcmp(s, "process") == 0)
		return 0;
	if (str_eq_c(kind, "tcp") && str_to_u64(value, 65535, &number) == 0 && number > 0)
		return 0;
	if (str_eq_c(kind, "exec") && value.len)
		return text(s, TEXT_MAX_BYTES, "probe", e);
	return bad(e, "probe", "'process', 'tcp:PORT' or 'exec:COMMAND'", s);
}

static int server(const Demarc__V1__Server *s, struct err *e)
{
	if (!s->image)
		return err_set(e, FAULT_BAD_REQUEST, "image", "a server needs an image");
	FIRST_ERROR(text(s->name, NAME_MAX_BYTES, "name", e) || hostname(s->hostname, e) ||
		    text(s->project_id, 64, "project_id", e) || image(s->image, e) ||
		    at_most(s->vcpus, 1024, "vcpus", e) ||
		    at_most(s->memory_mb, MEMORY_MB_MAX, "memory_mb", e) ||
		    at_most(s->disk_gb, 1u << 20, "disk_gb", e) ||
		    count(s->n_vifs, VNICS_MAX, "vifs", e) ||
		    count(s->n_metadata, METADATA_MAX, "metadata", e) ||
		    at_most(s->user_data.len, USER_DATA_MAX, "user_data", e) ||
		    text(s->public_key, 16384, "public_key", e) ||
		    text(s->key_name, NAME_MAX_BYTES, "key_name", e) ||
		    text(s->availability_zone, NAME_MAX_BYTES, "availability_zone", e) ||
		    text(s->flavor_name, NAME_MAX_BYTES, "flavor_name", e) || probe(s->probe, e));
	for (size_t i = 0; i < s->n_vifs; i++)
		if (optional_id(s->vifs[i]->port_id, "port_id", e) ||
		    text(s->vifs[i]->tag, 64, "tag", e))
			return in_list(e, "vifs", i);
	for (size_t i = 0; i < s->n_metadata; i++)
		if (text(s->metadata[i]->key, 255, "key", e) ||
		    text(s->metadata[i]->value, TEXT_MAX_BYTES, "value", e))
			return in_list(e, "metadata", i);
	return 0;
}

/* ---- chain ---- */

static int classifier(const Demarc__V1__Classifier *c, struct err *e)
{
	FIRST_ERROR(optional_id(c->id, "id", e) || family(c->family, true, "family", e) ||
		    at_most(c->protocol, 255, "protocol", e) ||
		    at_most(c->source_port_min, 65535, "source_port_min", e) ||
		    at_most(c->source_port_max, 65535, "source_port_max", e) ||
		    at_most(c->destination_port_min, 65535, "destination_port_min", e) ||
		    at_most(c->destination_port_max, 65535, "destination_port_max", e) ||
		    cidr_or_empty(c->source_cidr, "source_cidr", e) ||
		    cidr_or_empty(c->destination_cidr, "destination_cidr", e) ||
		    optional_id(c->logical_source_port, "logical_source_port", e) ||
		    optional_id(c->logical_destination_port, "logical_destination_port", e));
	return 0;
}

static int hop(const Demarc__V1__Hop *h, struct err *e)
{
	FIRST_ERROR(need_id(h->group_id, "group_id", e) || text(h->name, NAME_MAX_BYTES, "name", e) ||
		    count(h->n_pairs, PAIRS_MAX, "pairs", e));
	for (size_t i = 0; i < h->n_pairs; i++) {
		const Demarc__V1__Pair *p = h->pairs[i];

		if (need_id(p->id, "id", e) || need_id(p->ingress_port_id, "ingress_port_id", e) ||
		    need_id(p->egress_port_id, "egress_port_id", e) ||
		    at_most(p->weight, 65535, "weight", e))
			return in_list(e, "pairs", i);
	}
	return 0;
}

static int chain(const Demarc__V1__Chain *c, struct err *e)
{
	FIRST_ERROR(text(c->name, NAME_MAX_BYTES, "name", e) || text(c->change_id, 64, "change_id", e) ||
		    count(c->n_classifiers, CLASSIFIERS_MAX, "classifiers", e) ||
		    count(c->n_hops, HOPS_MAX, "hops", e));
	for (size_t i = 0; i < c->n_classifiers; i++)
		if (classifier(c->classifiers[i], e) < 0)
			return in_list(e, "classifiers", i);
	for (size_t i = 0; i < c->n_hops; i++)
		if (hop(c->hops[i], e) < 0)
			return in_list(e, "hops", i);
	return 0;
}

/* ---- objects ---- */

static int telemetry(const Demarc__V1__Telemetry *t, struct err *e)
{
	struct endpoint where;

	FIRST_ERROR(count(t->n_ipfix_collectors, COLLECTORS_MAX, "ipfix_collectors", e));
	for (size_t i = 0; i < t->n_ipfix_collectors; i++)
		if (endpoint_parse(str_of(t->ipfix_collectors[i]), 1, &where) < 0)
			return bad(e, "ipfix_collectors", "an address and port",
				   t->ipfix_collectors[i]);
	return t->ipfix_active_s <= ACTIVE_MAX_S ?
		       0 :
		       err_set(e, FAULT_BAD_REQUEST, "ipfix_active_s", "more than %d", ACTIVE_MAX_S);
}

static int body(const Demarc__V1__Object *o, struct err *e)
{
	switch (o->body_case) {
	case DEMARC__V1__OBJECT__BODY_NETWORK:
		return network(o->network, e);
	case DEMARC__V1__OBJECT__BODY_PORT:
		return port(o->port, e);
	case DEMARC__V1__OBJECT__BODY_SECURITY_GROUP:
		return security_group(o->security_group, e);
	case DEMARC__V1__OBJECT__BODY_SERVER:
		return server(o->server, e);
	case DEMARC__V1__OBJECT__BODY_CHAIN:
		return chain(o->chain, e);
	case DEMARC__V1__OBJECT__BODY_ADDRESS_GROUP:
		return address_group(o->address_group, e);
	case DEMARC__V1__OBJECT__BODY_ACL:
		return acl(o->acl, e);
	case DEMARC__V1__OBJECT__BODY_ACL_PART:
		return acl_part(o->acl_part, e);
	case DEMARC__V1__OBJECT__BODY_TELEMETRY:
		return telemetry(o->telemetry, e);
	case DEMARC__V1__OBJECT__BODY__NOT_SET:
	case _DEMARC__V1__OBJECT__BODY__CASE_IS_INT_SIZE:
		return 0;
	}
	return 0;
}

static const struct {
	const char *kind;
	Demarc__V1__Object__BodyCase body;
} kinds[] = {
	{ "network", DEMARC__V1__OBJECT__BODY_NETWORK },
	{ "port", DEMARC__V1__OBJECT__BODY_PORT },
	{ "security_group", DEMARC__V1__OBJECT__BODY_SECURITY_GROUP },
	{ "server", DEMARC__V1__OBJECT__BODY_SERVER },
	{ "chain", DEMARC__V1__OBJECT__BODY_CHAIN },
	{ "address_group", DEMARC__V1__OBJECT__BODY_ADDRESS_GROUP },
	{ "acl", DEMARC__V1__OBJECT__BODY_ACL },
	{ "acl_part", DEMARC__V1__OBJECT__BODY_ACL_PART },
	{ "telemetry", DEMARC__V1__OBJECT__BODY_TELEMETRY },
};

static int kind_agrees(const Demarc__V1__Object *o, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		bool named = strcmp(o->kind, kinds[i].kind) == 0;

		if (named && !o->deleted && o->body_case != kinds[i].body)
			return err_set(e, FAULT_BAD_REQUEST, "body",
				       "object of kind %s without its body", o->kind);
		if (!named && o->body_case == kinds[i].body)
			return err_set(e, FAULT_BAD_REQUEST, "kind",
				       "'%.32s' with the body of a %s", o->kind, kinds[i].kind);
	}
	return 0;
}

int validate_object(const Demarc__V1__Object *o, struct err *e)
{
	struct err scratch = { 0 };
	int r;

	if (!e)
		e = &scratch;
	e->num = 0;
	if (!*o->kind || strlen(o->kind) > 64)
		return bad(e, "kind", "a kind", o->kind);
	r = need_id(o->id, "id", e);
	if (r == 0)
		r = kind_agrees(o, e);
	if (r == 0 && !o->deleted)
		r = body(o, e);
	if (r < 0 && strlen(o->id) == UUID_STR_SIZE - 1 && !strchr(e->field, '/')) {
		char at[80];

		(void)snprintf(at, sizeof(at), "%.20s/%.36s", o->kind, o->id);
		return err_in(e, at);
	}
	return r;
}
