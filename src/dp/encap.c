/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/encap.h"

#include <string.h>

#include "base/cleanup.h"
#include "qinq.h"

#define PROTO_UDP 17
#define PROTO_GRE 47
#define TTL_DEFAULT 64
#define MTU_MIN 576

/* A header under construction. */
struct out {
	uint8_t *b;
	size_t len;
};

static void put8(struct out *o, unsigned int v)
{
	o->b[o->len++] = (uint8_t)v;
}
static void put16(struct out *o, unsigned int v)
{
	put8(o, v >> 8);
	put8(o, v);
}
static void put32(struct out *o, uint32_t v)
{
	put16(o, v >> 16);
	put16(o, v & 0xffff);
}
static void put(struct out *o, const void *p, size_t n)
{
	memcpy(o->b + o->len, p, n);
	o->len += n;
}

/* RFC 791; identification 0 with "do not fragment" set is an atomic datagram (RFC 6864). */
static void put_ipv4(struct out *o, const struct dp_tunnel *t, uint8_t proto)
{
	put16(o, 0x4500 | (t->tos & 0xfcu));
	put16(o, 0);
	put16(o, 0);
	put16(o, 0x4000);
	put8(o, t->ttl ? t->ttl : TTL_DEFAULT);
	put8(o, proto);
	put16(o, 0);
	put(o, t->local.b, 4);
	put(o, t->remote.b, 4);
}

static void put_ipv6(struct out *o, const struct dp_tunnel *t, uint8_t proto)
{
	put32(o, 0x60000000u | (uint32_t)(t->tos & 0xfcu) << 20);
	put16(o, 0);
	put8(o, proto);
	put8(o, t->ttl ? t->ttl : TTL_DEFAULT);
	put(o, t->local.b, 16);
	put(o, t->remote.b, 16);
}

/* Checksum 0: RFC 7348 section 5, and over IPv6 RFC 6935 for tunnels. */
static void put_udp(struct out *o, const struct dp_tunnel *t, uint16_t port)
{
	put16(o, 0);
	put16(o, t->udp_port ? t->udp_port : port);
	put16(o, 0);
	put16(o, 0);
}

/* RFC 7348 section 5. */
static void put_vxlan(struct out *o, uint32_t vni)
{
	put32(o, 0x08000000);
	put32(o, vni << 8);
}

/* RFC 8300 sections 2.2 to 2.5. TTL 63; the payload is Ethernet. */
static void put_nsh(struct out *o, const struct dp_tunnel *t)
{
	bool md2 = t->nsh_md_type == 2;
	size_t words = md2 ? 2 + t->nsh_context_len / 4u : 6;

	put16(o, (unsigned int)(63 << 6 | words));
	put8(o, md2 ? 2 : 1);
	put8(o, 3);
	put32(o, t->nsh_path << 8 | t->nsh_index);
	put(o, t->nsh_context, md2 ? t->nsh_context_len : 16);
}

/* draft-ietf-nvo3-vxlan-gpe section 3: P and I bits, next protocol NSH (4). */
static void put_gpe(struct out *o, const struct dp_tunnel *t)
{
	put32(o, 0x0c000004);
	put32(o, t->id << 8);
	put_nsh(o, t);
}

/* RFC 2890: K bit; protocol 0x6558 is an Ethernet frame. RFC 7637: 24 bits of subnet, 8 of flow. */
static void put_gre(struct out *o, const struct dp_tunnel *t, bool nvgre)
{
	if (!nvgre && !t->id) {
		put32(o, 0x00006558);
		return;
	}
	put32(o, 0x20006558);
	put32(o, nvgre ? t->id << 8 : t->id);
}

/* RFC 8926 sections 3.4 and 3.5. OVN finds the frame's receiver by the option's ports; the O bit is 0, C says that one is critical. */
static void put_geneve(struct out *o, const struct dp_tunnel *t)
{
	bool ovn = t->ovn_out_port;

	put32(o, ovn ? GENEVE_OVN_WORDS << 24 | 0x00406558 : 0x00006558);
	put32(o, t->id << 8);
	if (!ovn)
		return;
	put32(o, GENEVE_OVN_CLASS << 16 | GENEVE_OVN_TYPE << 8 | 1);
	put32(o, (uint32_t)t->ovn_in_port << 16 | t->ovn_out_port);
}

/* RFC 3032 section 5. The VLAN tag is part of the header here: segments of a large packet get it with the labels. */
static void put_mpls(struct out *o, const struct dp_tunnel *t)
{
	if (t->underlay_vlan.id) {
		put16(o, VLAN_TPID_CUSTOMER);
		put16(o, t->underlay_vlan.id);
	}
	put16(o, 0x8847);
}

/* RFC 3032 section 2.1: label, traffic class 0, bottom bit, TTL. The one given by `id` is at the bottom. */
static void put_labels(struct out *o, const struct dp_tunnel *t)
{
	for (size_t i = 0; i < t->n_labels; i++)
		put32(o, t->labels[i] << 12 | 64);
	put32(o, t->id << 12 | 1 << 8 | 64);
}

static void put_body(struct out *o, const struct dp_tunnel *t)
{
	switch (t->type) {
	case DP_TUNNEL_VXLAN:
		put_udp(o, t, PORT_VXLAN);
		put_vxlan(o, t->id);
		break;
	case DP_TUNNEL_VXLAN_GPE:
		put_udp(o, t, PORT_VXLAN_GPE);
		put_gpe(o, t);
		break;
	case DP_TUNNEL_GRE:
	case DP_TUNNEL_NVGRE:
		put_gre(o, t, t->type == DP_TUNNEL_NVGRE);
		break;
	case DP_TUNNEL_GENEVE:
		put_udp(o, t, PORT_GENEVE);
		put_geneve(o, t);
		break;
	case DP_TUNNEL_MPLS_UDP:
		put_udp(o, t, PORT_MPLS);
		put_labels(o, t);
		break;
	case DP_TUNNEL_MPLS_GRE:
		put32(o, 0x00008847); /* RFC 4023 section 3 */
		put_labels(o, t);
		break;
	case DP_TUNNEL_MPLS:
		put_labels(o, t);
		break;
	case DP_TUNNEL_NONE:
		break;
	}
}

static bool is_gre(enum dp_tunnel_type t)
{
	return t == DP_TUNNEL_GRE || t == DP_TUNNEL_NVGRE || t == DP_TUNNEL_MPLS_GRE;
}

static bool is_mpls(enum dp_tunnel_type t)
{
	return t == DP_TUNNEL_MPLS_UDP || t == DP_TUNNEL_MPLS_GRE || t == DP_TUNNEL_MPLS;
}

static int bad(struct err *e, const char *field, const char *what)
{
	return err_set(e, FAULT_BAD_REQUEST, field, "%s", what);
}

static int check_nsh(const struct dp_tunnel *t, struct err *e)
{
	if (t->type != DP_TUNNEL_VXLAN_GPE)
		return 0;
	if (!t->nsh_path || t->nsh_path > 0xffffff)
		return bad(e, "nsh_path", "a service path is 1..16777215");
	if (!t->nsh_index)
		return bad(e, "nsh_index",
			   "a service index of 0 is dropped by everybody (RFC 8300 section 2.3)");
	if (t->nsh_path_in > 0xffffff)
		return bad(e, "nsh_path_in", "a service path is 1..16777215; 0: as it is sent");
	if (!t->nsh_path_in != !t->nsh_index_in)
		return bad(e, "nsh_index_in", "the far end's service path and index go together");
	if (t->nsh_md_type > 2)
		return bad(e, "nsh_md_type", "metadata is of type 1 or 2");
	if (t->nsh_context_len % 4 || t->nsh_context_len > sizeof(t->nsh_context))
		return bad(e, "nsh_context", "metadata of type 2 is a multiple of 4 bytes, at most 64");
	return 0;
}

static int check_ovn(const struct dp_tunnel *t, struct err *e)
{
	if (t->ovn_out_port && t->type != DP_TUNNEL_GENEVE)
		return bad(e, "ovn_out_port", "only geneve tunnels have OVN's option");
	if (t->ovn_in_port > GENEVE_OVN_IN_MAX)
		return bad(e, "ovn_in_port", "an ingress port of OVN is 0..32767");
	if (t->ovn_from > GENEVE_OVN_IN_MAX)
		return bad(e, "ovn_from", "the key of a logical port of OVN is 1..32767");
	if (t->ovn_from && !t->ovn_out_port)
		return bad(e, "ovn_from",
			   "a tunnel of one logical port sends its key: give ovn_out_port");
	return 0;
}

static int check_id(const struct dp_tunnel *t, struct err *e)
{
	uint32_t max = t->type == DP_TUNNEL_GRE ? UINT32_MAX :
		       is_mpls(t->type)		? 0xfffff :
						  0xffffff;

	if (t->id > max)
		return err_set(e, FAULT_BAD_REQUEST, "id", "the id of a %s tunnel is at most %u",
			       encap_name(t->type), max);
	if (is_mpls(t->type) && t->id < 16)
		return bad(e, "id", "labels below 16 are reserved (RFC 3032 section 2.1)");
	if (t->n_labels > ARRAY_LEN(t->labels))
		return bad(e, "labels", "a stack has at most 4 labels");
	for (size_t i = 0; i < t->n_labels; i++)
		if (t->labels[i] < 16 || t->labels[i] > 0xfffff)
			return bad(e, "labels", "a label is 16..1048575");
	return 0;
}

static int check(const struct dp_tunnel *t, struct err *e)
{
	int r;

	if (t->type <= DP_TUNNEL_NONE || t->type >= (int)TUNNEL_N)
		return bad(e, "type", "there is no such type of tunnel");
	if (!t->local.family || t->local.family != t->remote.family)
		return bad(e, "remote", "both ends of a tunnel need an address of the same family");
	if (t->underlay.num <= 0)
		return bad(e, "underlay", "a tunnel needs the interface that it leaves by");
	if (t->underlay_mtu < MTU_MIN)
		return bad(e, "underlay_mtu", "an underlay of less than 576 bytes carries no tunnel");
	r = check_id(t, e);
	if (!r)
		r = check_ovn(t, e);
	return r ? r : check_nsh(t, e);
}

static uint16_t sum_of(const uint8_t *b, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i += 2)
		sum += (uint32_t)(b[i] << 8 | b[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void put_ip(struct out *o, const struct dp_tunnel *t)
{
	uint8_t proto = is_gre(t->type) ? PROTO_GRE : PROTO_UDP;
	bool v6 = t->local.family == IP_V6;

	put16(o, v6 ? 0x86dd : 0x0800);
	if (v6)
		put_ipv6(o, t, proto);
	else
		put_ipv4(o, t, proto);
}

/* What is filled in at each packet. */
static void encap_ip(const struct dp_tunnel *t, struct encap_rec *ret)
{
	ret->vlan = t->underlay_vlan.id;
	ret->family = t->local.family;
	ret->flags = is_gre(t->type) ? ENCAP_GRE : ENCAP_UDP;
	if (!t->tos)
		ret->flags |= ENCAP_TOS;
	if (ret->family == IP_V4)
		ret->sum = sum_of(ret->hdr + ENCAP_IP, 20);
}

int encap_build(const struct dp_tunnel *t, struct encap_rec *ret, struct err *e)
{
	struct out o = { .b = ret->hdr };
	size_t tag = 0;
	int r = check(t, e);

	if (r)
		return r;
	memset(ret, 0, sizeof(*ret));
	put(&o, t->dmac.b, 6);
	put(&o, t->smac.b, 6);
	if (t->type == DP_TUNNEL_MPLS) {
		put_mpls(&o, t);
		tag = o.len - ENCAP_IP; /* does not count against the MTU */
	} else {
		put_ip(&o, t);
	}
	put_body(&o, t);
	ret->ifindex = (__u32)t->underlay.num;
	ret->size = (__u16)o.len;
	ret->mtu = (__u16)(t->underlay_mtu - (o.len - tag - ENCAP_IP) - ENCAP_IP);
	ret->mtu_link = ret->mtu;
	if (t->type != DP_TUNNEL_MPLS)
		encap_ip(t, ret);
	return 0;
}

void encap_key(const struct dp_tunnel *t, struct tunnel_key *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->type = (__u8)t->type;
	ret->family = t->local.family;
	ret->vlan = t->underlay_vlan.id;
	ret->id = t->id;
	if (t->type == DP_TUNNEL_MPLS) {
		ret->family = 0;
		memcpy(ret->local, t->smac.b, 6);
		memcpy(ret->remote, t->dmac.b, 6);
		return;
	}
	memcpy(ret->local, t->local.b, 16);
	memcpy(ret->remote, t->remote.b, 16);
	if (!t->ovn_from)
		return;
	ret->type = TUNNEL_OVN_PORT;
	memset(ret->local, 0, sizeof(ret->local));
	ret->local[0] = t->ovn_from;
}

uint32_t encap_path_in(const struct dp_tunnel *t)
{
	if (t->type != DP_TUNNEL_VXLAN_GPE)
		return 0;
	return t->nsh_path_in ? t->nsh_path_in << 8 | t->nsh_index_in : t->nsh_path << 8 | t->nsh_index;
}

const char *encap_name(enum dp_tunnel_type type)
{
	static const char *const name[TUNNEL_N] = {
#define X(id, text, what) [TUNNEL_##id] = text,
		TUNNEL_TABLE(X)
#undef X
	};

	return type > DP_TUNNEL_NONE && type < (int)TUNNEL_N ? name[type] : "none";
}
