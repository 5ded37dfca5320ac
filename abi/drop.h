/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_DROP_H
#define DEMARC_ABI_DROP_H

/* Why a packet ends here. Row: constant, name in counters and API, sentence for `demarc trace`.
 * Append only: the position is the index of the counter. */
#define DROP_TABLE(X)                                                                              \
	X(NONE, "none", "not dropped")                                                             \
	X(INTERNAL, "internal", "the datapath could not read its own state")                       \
	X(MALFORMED, "malformed", "a header is truncated or its length is wrong")                  \
	X(NO_PORT, "no_port", "no port is configured on this interface")                           \
	X(VLAN, "vlan", "the frame carries a VLAN tag that the port does not have")                \
	X(ADMIN_DOWN, "admin_down", "the port is administratively down")                           \
	X(SPOOF_MAC, "spoof_mac", "the source MAC is not one of the port's")                       \
	X(SPOOF_IPV4, "spoof_ipv4", "the IPv4 source is not one of the port's addresses")          \
	X(SPOOF_IPV6, "spoof_ipv6", "the IPv6 source is not one of the port's addresses")          \
	X(SPOOF_ARP, "spoof_arp", "the ARP sender is not one of the port's addresses")             \
	X(SPOOF_ND, "spoof_nd", "the neighbour discovery message claims a foreign address")        \
	X(DHCP_SERVER, "dhcp_server", "a function may not answer DHCP")                            \
	X(RA, "ra", "a function may not send router advertisements or redirects")                  \
	X(ETHERTYPE, "ethertype", "a port with security sends only IP and ARP")                    \
	X(SG_EGRESS, "sg_egress", "no egress rule of the sender's security groups allows it")      \
	X(SG_INGRESS, "sg_ingress", "no ingress rule of the receiver's security groups allows it") \
	X(CT_INVALID, "ct_invalid", "the segment belongs to no connection and cannot open one")    \
	X(ICMP_ERROR, "icmp_error", "the ICMP error belongs to no known connection")               \
	X(FRAGMENT, "fragment", "the first fragment of this datagram was not seen")                \
	X(CHAIN_CLOSED, "chain_closed", "the next hop is dead and its policy is fail-closed")      \
	X(CHAIN_EMPTY, "chain_empty", "the next hop has no port pair")                             \
	X(CHAIN_BCAST, "chain_bcast", "a transparent hop may not flood its network")               \
	X(L2_HAIRPIN, "l2_hairpin", "the destination is behind the port it came from")             \
	X(L2_UNKNOWN, "l2_unknown", "nobody in the network can have this destination MAC")         \
	X(NO_OUTPUT, "no_output", "the output port is gone")                                       \
	X(OUT_DOWN, "out_down", "the output port is administratively down")                        \
	X(L2_LOOP, "l2_loop", "the source MAC was just seen elsewhere in the network: a loop")     \
	X(REDIRECT, "redirect", "the kernel refused to change or send the frame")                  \
	X(FIREWALL, "firewall", "no rule of a native firewall in the chain allows it")             \
	X(METER, "meter", "over the rate of a bandwidth limit")                                    \
	X(SOURCE_GUARD, "source_guard", "the source address was not given to a host of this port") \
	X(ND_FRAGMENT, "nd_fragment", "neighbour discovery may not be fragmented (RFC 6980)")      \
	X(STORM, "storm", "over the port's limit of broadcast, multicast and unknown unicast")     \
	X(FRAG_TINY, "frag_tiny", "the first fragment lacks part of the headers")                  \
	X(FRAG_OVERLAP, "frag_overlap", "the fragment overlaps another one of its datagram")       \
	X(HALF_OPEN, "half_open", "too many half-open connections to the port or of the source")   \
	X(SOURCE_RATE, "source_rate", "the source opens too many connections a second")            \
	X(SYN_COOKIE, "syn_cookie", "under a SYN flood, and not the answer to a cookie")           \
	X(ACL, "acl", "a list of rules denies it")                                                 \
	X(MTU, "mtu", "the packet does not fit into the tunnel")                                   \
	X(ECN, "ecn", "congestion was marked on a packet whose ends cannot hear of it (RFC 6040)") \
	X(TUNNEL, "tunnel", "the header of a tunnel is malformed")                                 \
	X(TUNNEL_UNKNOWN, "tunnel_unknown", "no tunnel with this far end and id")                  \
	X(VLAN_STACK, "vlan_stack", "the frame carries more than two VLAN tags")                   \
	X(NAT_PORTS, "nat_ports", "no port is left to translate the source to")                    \
	X(NAT_FULL, "nat_full", "there is no room to remember a translation")                      \
	X(NAT_TWICE, "nat_twice", "both ends of an IPv6 connection cannot be translated")          \
	X(ROUTING_HEADER, "routing_header", "a routing header of type 0 sends it on (RFC 5095)")   \
	X(REJECT, "reject", "a list of rules rejects it: its sender is told")                      \
	X(REJECT_LIMIT, "reject_limit", "a list rejects it, and its port was told often enough")   \
	X(BINDING_QUOTA, "binding_quota", "the hosts of the port have as many addresses as they may")

enum drop_reason {
#define X(name, id, text) DROP_##name,
	DROP_TABLE(X)
#undef X
		DROP_N
};

#endif
