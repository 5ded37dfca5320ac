/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_STAGE_H
#define DEMARC_ABI_STAGE_H

/*
 * The stages a packet passes, in order. Row: constant, name as `demarc trace` prints it, files in bpf/, what it decides.
 * docs/DATAPATH.md shows the table.
 */
#define STAGE_TABLE(X)                                                                                                    \
	X(PARSE, "parse", "parse.h, frag.h",                                                                              \
	  "headers, IPv6 extension headers (8 at most), ports of later fragments, the packet inside an ICMP error")       \
	X(PORT, "port", "port.h", "the port's network; frames to the NIC's own MAC go to the host")                       \
	X(SPOOF, "anti-spoof", "spoof.h",                                                                                 \
	  "MAC, IPv4, IPv6, ARP, ND; no DHCP answers, no router advertisements or redirects from functions")              \
	X(GUARD, "first-hop guard", "first_hop.h",                                                                        \
	  "ports with foreign hosts behind them: RA guard, DHCP snooping, source guard")                                  \
	X(LEARN, "learn", "port.h",                                                                                       \
	  "who is behind uplinks and unsecured ports; a loop through a bridging function ends here")                      \
	X(ARP, "arp", "arp.h", "requests for a fixed IP of a port are answered on the spot")                              \
	X(ND, "nd", "nd.h", "solicitations for a fixed IP of a port are answered on the spot")                            \
	X(FLOOD, "flood", "l2.h",                                                                                         \
	  "broadcast and multicast: every member of the network; rules and limits per receiver, the sender's limit once") \
	X(FLOW, "flow", "conntrack.h", "the record there was: its path, output, state")                                   \
	X(NAT, "nat", "nat_stage.h",                                                                                      \
	  "the destination, by rules of the port it came from, and after l2 the source, by those of the port it goes to") \
	X(CLASSIFY, "classify", "chain.h",                                                                                \
	  "the first classifier of the port that matches: chain and direction")                                           \
	X(CHAIN, "chain", "chain.h", "path, next hop, port pair")                                                         \
	X(L2, "l2", "l2.h",                                                                                               \
	  "not steered: by destination MAC; unknown: its connection's way, the only way out, or flooding")                \
	X(CONNTRACK, "conntrack", "conntrack.h", "new, established or reply; next TCP state")                             \
	X(ACL, "acl", "acl.h, classify.h",                                                                                \
	  "lists of rules of both ports, each packet's direction by itself")                                              \
	X(NATIVE, "native function", "police.h",                                                                          \
	  "functions of the chain that are stages of the datapath: ACL, firewall, policer, mirror")                       \
	X(SG, "security group", "sg.h, classify.h",                                                                       \
	  "rules of the direction that opened the connection, on both ports")                                             \
	X(LIMIT, "connection limit", "half_open.h, cookie.h",                                                             \
	  "half-open connections to a port, and new ones of a source: dropped, or answered with a SYN cookie")            \
	X(QOS, "qos", "police.h", "limits, marks and mirrors of both ports")                                              \
	X(STORE, "store", "conntrack.h, table.h, lone.h",                                                                 \
	  "the record, and the partner's where it cannot wait; room for them")                                            \
	X(OUTPUT, "output", "output.h", "packet type, MAC rewrite, VLAN, redirect")

enum stage {
#define X(name, text, files, decides) STAGE_##name,
	STAGE_TABLE(X)
#undef X
		STAGE_N
};

/*
 * What a stage can report in a trace. Row: constant, stage, text; each {} is the next of at most three
 * numbers, {x} prints it in hex, {p} a port of the trace's output, {v} a VLAN or a pair of them, {r} a drop reason, {n} a kind
 * of native function.
 */
#define EVENT_TABLE(X)                                                                             \
	X(PARSE_IP, PARSE, "IPv{}, protocol {}, {} bytes")                                         \
	X(PARSE_PORTS, PARSE, "source port {}, destination port {}")                               \
	X(PARSE_ARP, PARSE, "ARP, {} bytes")                                                       \
	X(PARSE_OTHER, PARSE, "ethertype 0x{x}, {} bytes")                                         \
	X(PARSE_PIECE, PARSE, "fragment {x}, bytes {} to {}")                                      \
	X(PARSE_FRAG, PARSE, "fragment {x}, ports {} and {} of its first fragment")                \
	X(PORT_OK, PORT, "ifindex {}, network {}, flags 0x{x}")                                    \
	X(PORT_HOST, PORT, "addressed to the node itself: goes to the host's own stack")           \
	X(SPOOF_OK, SPOOF, "source MAC and address belong to the port")                            \
	X(SPOOF_OFF, SPOOF, "port security is off: not checked")                                   \
	X(GUARD_BOUND, GUARD, "DHCP gives an address to a host behind ifindex {}")                 \
	X(ARP_REPLY, ARP, "answered here for the port with ifindex {}")                            \
	X(ARP_PASS, ARP, "not answered here")                                                      \
	X(ND_REPLY, ND, "answered here for the port with ifindex {}")                              \
	X(ND_PASS, ND, "not answered here")                                                        \
	X(FLOOD_TO, FLOOD, "copy to ifindex {}, VLAN {v}")                                         \
	X(FLOOD_HOST, FLOOD, "copy to the host's own stack")                                       \
	X(FLOW_HIT, FLOW, "record is current: the fast path sends it to ifindex {} (path {})")     \
	X(FLOW_DROP, FLOW, "record is current: the fast path drops it ({r})")                      \
	X(FLOW_STALE, FLOW, "record must be checked again (output was ifindex {}, path {})")       \
	X(FLOW_MISS, FLOW, "no record: first packet of a flow")                                    \
	X(FLOW_RELATED, FLOW, "ICMP error of the flow to ifindex {}")                              \
	X(NAT_DST, NAT, "rule {} gives it another destination, port {}")                           \
	X(NAT_SRC, NAT, "rule {} gives it another source, port {}")                                \
	X(NAT_KEPT, NAT, "translated as its connection is")                                        \
	X(CLASS_HIT, CLASSIFY, "classifier {} of chain {}, direction {}")                          \
	X(CLASS_MISS, CLASSIFY, "no classifier of this port matches")                              \
	X(CLASS_KEPT, CLASSIFY, "established before chain {}: stays outside")                      \
	X(CHAIN_FROM, CHAIN, "from hop {} of path {}, direction {}")                               \
	X(CHAIN_HOP, CHAIN, "hop {} of path {} -> ifindex {}")                                     \
	X(CHAIN_MAC, CHAIN, "destination MAC becomes the one of ifindex {}")                       \
	X(CHAIN_NATIVE, CHAIN, "hop {} of path {}: native {n}")                                    \
	X(NATIVE, NATIVE, "{n}, enters by port {} and leaves by port {}")                          \
	X(CHAIN_END, CHAIN, "leaves path {} (hop {}): normal forwarding")                          \
	X(L2_PORT, L2, "destination MAC is the one of ifindex {}")                                 \
	X(L2_LEARNED, L2, "destination MAC was learned on ifindex {}, VLAN {v}")                   \
	X(L2_PINNED, L2, "unknown destination MAC: follows its connection to ifindex {}")          \
	X(L2_SOLE, L2, "unknown destination MAC: ifindex {} is the only way out")                  \
	X(L2_FLOOD, L2, "unknown destination MAC: flooded to uplinks and unsecured ports")         \
	X(CT_NEW, CONNTRACK, "opens a connection")                                                 \
	X(CT_RELATED, CONNTRACK, "opens a connection that a control connection announced")         \
	X(CT_EST, CONNTRACK, "belongs to a connection, TCP state {}")                              \
	X(CT_REPLY, CONNTRACK, "reply of a connection, TCP state {}")                              \
	X(CT_INVALID, CONNTRACK, "no segment that the connection can have now, TCP state {}")      \
	X(ACL_PERMIT, ACL, "rule {} of list {} permits it (port {})")                              \
	X(ACL_DENY, ACL, "rule {} of list {} denies it (port {}); 0: no rule matches")             \
	X(ACL_REJECT, ACL, "rule {} of list {} rejects it (port {})")                              \
	X(SG_OFF, SG, "no port security on either side")                                           \
	X(SG_RULE, SG, "rule {} of group {} allows it")                                            \
	X(SG_EXEMPT, SG, "address configuration is always allowed")                                \
	X(SG_NONE, SG, "no rule of ifindex {} allows it")                                          \
	X(LIMIT_COOKIE, LIMIT, "too many are half open: answered with a SYN cookie")               \
	X(OUT_PORT, OUTPUT, "to ifindex {p}, VLAN {v}")                                            \
	X(REJECT_RESET, OUTPUT, "answered with a TCP reset")                                       \
	X(REJECT_ICMP, OUTPUT, "answered with ICMP type {}, code {}")                              \
	X(REJECT_SILENT, OUTPUT, "such a packet is not answered")                                  \
	X(OUT_DROP, OUTPUT, "dropped: {r}")

enum trace_event {
#define X(name, stage, text) EV_##name,
	EVENT_TABLE(X)
#undef X
		EV_N
};

#endif
