/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel_lab.h"

#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

void link_mac(int index, uint8_t ret[6])
{
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_non_null(if_indextoname((unsigned int)index, r.ifr_name));
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &r), 0);
	memcpy(ret, r.ifr_hwaddr.sa_data, 6);
	close(fd);
}

const uint8_t tunnel_tlv[12] = { 0xff, 0xf6, 7, 5, 1, 2, 3, 4, 5 };

struct dp_tunnel tunnel_of(const struct tunnel_ends *e, uint16_t net, enum dp_tunnel_type type, bool v6)
{
	struct dp_tunnel t = { .port = e->port,
			       .net = net,
			       .type = type,
			       .id = TUNNEL_ID,
			       .underlay = e->nic,
			       .underlay_vlan = { e->vlan },
			       .underlay_mtu = 1500 };

	t.local = ip_of(v6 ? "2001:db8::1" : "192.0.2.1");
	t.remote = ip_of(v6 ? "2001:db8::2" : "192.0.2.2");
	memcpy(t.smac.b, e->near, 6);
	memcpy(t.dmac.b, e->far, 6);
	if (type == DP_TUNNEL_VXLAN_GPE) {
		t.nsh_path = 77;
		t.nsh_index = 254;
		memset(t.nsh_context, 0xab, 16);
	}
	if (type >= DP_TUNNEL_MPLS_UDP) {
		t.n_labels = 1;
		t.labels[0] = 1000;
	}
	return t;
}

size_t tunnel_head(enum dp_tunnel_type t, bool v6)
{
	static const size_t body[] = { [DP_TUNNEL_VXLAN] = 16,	 [DP_TUNNEL_VXLAN_GPE] = 16 + 24,
				       [DP_TUNNEL_GRE] = 8,	 [DP_TUNNEL_NVGRE] = 8,
				       [DP_TUNNEL_GENEVE] = 16,	 [DP_TUNNEL_MPLS_UDP] = 16,
				       [DP_TUNNEL_MPLS_GRE] = 12 };

	if (t == DP_TUNNEL_MPLS)
		return 14 + 8;
	return 14u + (v6 ? 40 : 20) + body[t];
}

struct frame tunnel_answer(const struct tunnel_ends *e, const struct frame *out, size_t head,
			   const struct frame *in, bool v6)
{
	struct frame f = *out;
	uint8_t addr[16];
	size_t at = v6 ? 22 : 26, n = v6 ? 16 : 4, size;

	memcpy(f.b, e->near, 6);
	memcpy(f.b + 6, e->far, 6);
	memcpy(f.b + head, in->b, in->len);
	f.len = head + in->len;
	if (f.b[12] == 0x88)
		return f;
	memcpy(addr, f.b + at, n);
	memcpy(f.b + at, f.b + at + n, n);
	memcpy(f.b + at + n, addr, n);
	size = f.len - (v6 ? 54 : 14);
	f.b[v6 ? 18 : 16] = (uint8_t)(size >> 8);
	f.b[v6 ? 19 : 17] = (uint8_t)size;
	return f;
}

const struct tunnel_wrong tunnel_wrongs[] = {
	{ "RFC 7348: no I bit", DP_TUNNEL_VXLAN, 8, 0, DROP_TUNNEL },
	{ "another VNI", DP_TUNNEL_VXLAN, 14, 9, DROP_TUNNEL_UNKNOWN },
	{ "GPE: version 1", DP_TUNNEL_VXLAN_GPE, 8, 0x1c, DROP_TUNNEL },
	{ "GPE: no NSH inside", DP_TUNNEL_VXLAN_GPE, 11, 1, DROP_TUNNEL },
	{ "RFC 8300: version 1", DP_TUNNEL_VXLAN_GPE, 16, 0x4f, DROP_TUNNEL },
	{ "RFC 8300: metadata type 1 of another length", DP_TUNNEL_VXLAN_GPE, 17, 0xc5, DROP_TUNNEL },
	{ "RFC 8300: metadata type 3", DP_TUNNEL_VXLAN_GPE, 18, 3, DROP_TUNNEL },
	{ "RFC 8300: payload is not Ethernet", DP_TUNNEL_VXLAN_GPE, 19, 1, DROP_TUNNEL },
	{ "RFC 8926: version 1", DP_TUNNEL_GENEVE, 8, 0x40, DROP_TUNNEL },
	{ "RFC 8926: critical options", DP_TUNNEL_GENEVE, 9, 0x40, DROP_TUNNEL },
	{ "RFC 8926: options longer than the packet", DP_TUNNEL_GENEVE, 8, 0x3f, DROP_MALFORMED },
	{ "RFC 8926: payload is not Ethernet", DP_TUNNEL_GENEVE, 10, 8, DROP_TUNNEL },
	{ "RFC 2784: version 1", DP_TUNNEL_GRE, 1, 1, DROP_TUNNEL },
	{ "RFC 2784: reserved bit", DP_TUNNEL_GRE, 0, 0x28, DROP_TUNNEL },
	{ "RFC 2890: another key", DP_TUNNEL_GRE, 7, 0, DROP_TUNNEL_UNKNOWN },
	{ "RFC 3032: TTL 0", DP_TUNNEL_MPLS_UDP, 11, 0, DROP_TUNNEL },
	{ "RFC 3032: another label", DP_TUNNEL_MPLS_UDP, 13, 0xff, DROP_TUNNEL_UNKNOWN },
	{ "RFC 3032: TTL 0", DP_TUNNEL_MPLS, 3, 0, DROP_TUNNEL },
	{ "RFC 3032: no bottom of the stack", DP_TUNNEL_MPLS, 6, 0x20, DROP_TUNNEL },
	{ "RFC 3032: another label", DP_TUNNEL_MPLS, 5, 0xff, DROP_TUNNEL_UNKNOWN },
	{ "another neighbour", DP_TUNNEL_MPLS, -3, 0x77, DROP_TUNNEL_UNKNOWN },
};
const size_t n_tunnel_wrongs = ARRAY_LEN(tunnel_wrongs);

void tunnel_spoil(struct frame *f, const struct tunnel_wrong *w, bool v6)
{
	int l4 = w->type == DP_TUNNEL_MPLS ? 14 : v6 ? 54 : 34;

	f->b[l4 + w->at] = w->value;
}
