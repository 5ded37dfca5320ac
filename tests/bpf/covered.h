/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_TESTS_BPF_COVERED_H
#define DEMARC_TESTS_BPF_COVERED_H

/*
 * What the datapath is to do, and which test shows it. A test says with COVERS(), its first statement, what it covers and with packets of which
 * families; docs/TESTS.md is made of that, and tools/check-docs fails when a row has an empty cell that UNCOVERED_TABLE does not name.
 */

/* Row: constant, part, what. */
#define FEATURE_TABLE(X)                                                                             \
	X(RECORD, "flow record", "known packets: output, counters, both directions of a connection") \
	X(RECORD_CPUS, "flow record", "first packets of one flow on two processors")                 \
	X(AGEING, "flow record", "ageing, timeouts per protocol")                                    \
	X(SHEDDING, "flow record", "a full table sheds what is least worth")                         \
	X(GENERATION, "flow record", "a change reaches flows that are under way")                    \
	X(VERDICT, "flow record", "a refusal is remembered, with its reason")                        \
	X(WAYS, "flow record", "what a CPU keeps of ports, MACs and groups is what they say")        \
	X(REUSE, "flow record", "what a lookup found becomes another key's meanwhile")               \
	X(UNICAST, "switching", "known and unknown destinations, MACs that move, loops")             \
	X(MULTICAST, "switching", "broadcast and multicast, with the rules of who receives")         \
	X(NEIGHBOURS, "switching", "ARP and neighbour discovery are answered here")                  \
	X(ACL_PROTOCOL, "lists of rules", "protocol and family")                                     \
	X(ACL_ADDRESS, "lists of rules", "prefixes")                                                 \
	X(ACL_PORTS, "lists of rules", "ranges of ports")                                            \
	X(ACL_ICMP, "lists of rules", "ICMP type and code")                                          \
	X(ACL_TCP_FLAGS, "lists of rules", "TCP flags")                                              \
	X(ACL_DSCP, "lists of rules", "DSCP")                                                        \
	X(ACL_VLAN, "lists of rules", "VLAN")                                                        \
	X(ACL_GROUP, "lists of rules", "address groups")                                             \
	X(ACL_MEMBERS, "lists of rules", "10,000 members of a group, one more is one entry")         \
	X(ACL_RULES, "lists of rules", "10,000 rules")                                               \
	X(ACL_ORDER, "lists of rules", "the first rule that matches")                                \
	X(ACL_STATELESS, "lists of rules", "answers, broadcast and errors are judged by themselves") \
	X(ACL_CHANGE, "lists of rules", "changes under traffic lose nothing")                        \
	X(REJECT, "lists of rules", "rejected: resets and unreachables, and how many")               \
	X(SG_STATEFUL, "security groups", "answers pass, nothing else comes in")                     \
	X(SG_RULES, "security groups", "ports and prefixes")                                         \
	X(SG_REMOTE, "security groups", "remote groups, remote address groups")                      \
	X(SG_PAIRS, "security groups", "allowed address pairs")                                      \
	X(TCP_WINDOW, "stateful firewall", "TCP windows, scaled as well; resets")                    \
	X(TCP_STATES, "stateful firewall", "TCP states")                                             \
	X(TCP_FLAGS, "stateful firewall", "illegal TCP flags")                                       \
	X(TCP_PICK_UP, "stateful firewall", "connections older than the agent")                      \
	X(UDP_STATES, "stateful firewall", "UDP")                                                    \
	X(ICMP_ECHO, "stateful firewall", "ICMP echo")                                               \
	X(ICMP_ERRORS, "stateful firewall", "ICMP errors of a flow")                                 \
	X(NFT, "stateful firewall", "the same packets through nftables")                             \
	X(FTP, "helpers", "FTP, active and passive")                                                 \
	X(TFTP, "helpers", "TFTP")                                                                   \
	X(SIP, "helpers", "SIP")                                                                     \
	X(HALF_OPEN, "limits", "half-open connections of a port")                                    \
	X(SOURCE_LIMIT, "limits", "half-open and new connections of a source")                       \
	X(SYN_COOKIES, "limits", "SYN cookies")                                                      \
	X(SYN_FLOOD, "limits", "a flood makes no records, and established connections go on")        \
	X(FRAGMENTS, "fragments", "the first decides, the others follow")                            \
	X(FRAG_OVERLAP, "fragments", "overlapping, tiny and malformed ones")                         \
	X(FRAG_BOUND, "fragments", "how many datagrams at once")                                     \
	X(VLAN_TAG, "encapsulations", "VLAN")                                                        \
	X(QINQ, "encapsulations", "QinQ")                                                            \
	X(VXLAN, "encapsulations", "VXLAN")                                                          \
	X(NSH, "encapsulations", "VXLAN-GPE with NSH, metadata of type 1, service paths")            \
	X(NSH_2, "encapsulations", "NSH, metadata of type 2")                                        \
	X(GRE, "encapsulations", "GRE with a key")                                                   \
	X(NVGRE, "encapsulations", "NVGRE")                                                          \
	X(GENEVE, "encapsulations", "Geneve")                                                        \
	X(GENEVE_OVN, "encapsulations", "Geneve with OVN's option")                                  \
	X(MPLS_UDP, "encapsulations", "MPLS over UDP")                                               \
	X(MPLS_GRE, "encapsulations", "MPLS over GRE")                                               \
	X(MPLS_ETH, "encapsulations", "MPLS over Ethernet")                                          \
	X(OUTER, "encapsulations", "outer addresses of this family")                                 \
	X(TUNNEL_REFUSED, "encapsulations", "outer headers that are wrong, unknown or cut")          \
	X(ECN, "encapsulations", "ECN and DSCP (RFC 6040)")                                          \
	X(PMTUD, "encapsulations", "too big: the sender is told")                                    \
	X(UNDERLAY, "encapsulations", "a router finds an outer packet too large")                    \
	X(MSS, "encapsulations", "MSS clamp")                                                        \
	X(OFFLOAD, "encapsulations", "checksum and segmentation offload kept")                       \
	X(BULK, "encapsulations", "bulk TCP between containers, and through functions that change")  \
	X(DISSECTED, "encapsulations", "what is sent, as tshark and scapy read it")                  \
	X(OVERLAY, "encapsulations", "ends that come from intent, outer addresses of this family")   \
	X(REMOTE_END, "encapsulations", "ends that are no nodes: the kernel, Open vSwitch")          \
	X(SPOOF, "guards", "anti-spoofing of addresses")                                             \
	X(INSPECTION, "guards", "ARP and neighbour discovery inspected")                             \
	X(RA_GUARD, "guards", "router advertisements")                                               \
	X(DHCP_SNOOPING, "guards", "DHCP snooping, rogue servers")                                   \
	X(SOURCE_GUARD, "guards", "source guard, first come")                                        \
	X(BINDINGS, "guards", "addresses given back, declined, kept over a reboot")                  \
	X(DELEGATED, "guards", "prefixes that DHCPv6 delegates")                                     \
	X(HELD_MAC, "guards", "a MAC is where its addresses are")                                    \
	X(QUOTA, "guards", "how many addresses the hosts of a port have")                            \
	X(STORM, "guards", "storm control")                                                          \
	X(NATIVE_ACL, "native functions", "ACL")                                                     \
	X(NATIVE_FIREWALL, "native functions", "stateful firewall")                                  \
	X(NATIVE_POLICER, "native functions", "policer")                                             \
	X(NATIVE_MIRROR, "native functions", "mirror")                                               \
	X(NATIVE_CHAIN, "native functions", "among containers, and eight in a row")                  \
	X(NATIVE_API, "native functions", "made, inserted, removed, traced as servers of a chain")   \
	X(CHAIN_PATH, "chains", "steered both ways, groups of pairs, dead hops")                     \
	X(CHAIN_CHANGE, "chains", "changed while packets are inside")                                \
	X(NAT, "translation", "of sources, destinations and ports")                                  \
	X(NAT_ERRORS, "translation", "ICMP errors through it")                                       \
	X(DSCP_MARK, "QoS", "DSCP marks")                                                            \
	X(METER, "QoS", "bandwidth limits of ports")                                                 \
	X(FLOWS_TOLD, "analytics", "what the exporter is told: ends and their reasons, intervals")   \
	X(NAT_EVENTS, "analytics", "translations that begin and end (RFC 8158)")                     \
	X(IPFIX, "analytics", "IPFIX, read by nfdump and tshark")                                    \
	X(LIVE_FLOWS, "analytics", "live flows, volumes, top talkers")                               \
	X(RTT, "analytics", "round-trip times, retransmissions")                                     \
	X(CAPTURE, "analytics", "capture, sampled mirror to pcap")                                   \
	X(METRICS, "analytics", "counters for Prometheus")                                           \
	X(DROPS, "trace and drops", "drops are told, with the reason")                               \
	X(TRACE, "trace and drops", "a trace says what would happen, and changes nothing")           \
	X(EVERYTHING, "all of it", "at once, between two nodes")                                     \
	X(BAD_HEADERS, "bad input", "headers and lengths that are wrong or cut")                     \
	X(BAD_EXTENSIONS, "bad input", "extension headers, IP options")                              \
	X(BAD_NESTED, "bad input", "packets in packets, errors about errors")

/* Row: feature, cells that stay empty, why. */
#define UNCOVERED_TABLE(X)                                                                              \
	X(BULK, XDP, "between containers there is no NIC, and the kernel hands segments over whole")    \
	X(OVERLAY, XDP, "the agent writes ends, and both hooks read the same maps: `xdptunnel`")        \
	X(REMOTE_END, XDP, "the agent writes these ends as well: `xdptunnel`")                          \
	X(DELEGATED, V4, "IPv4 delegates no prefixes")                                                  \
	X(NATIVE_API, V6, "an image and its ports are of no family; what they do is in the rows above") \
	X(NATIVE_API, XDP, "what they do is in the rows above, with both hooks")                        \
	X(METRICS, V6, "counters of ports and drops are of no family")                                  \
	X(METRICS, XDP, "the agent reads the same counters, whichever hook counted")                    \
	X(EVERYTHING, XDP, "a chain of containers is on it: their veths have the tc program")           \
	X(RA_GUARD, V4, "IPv4 knows no router advertisements")                                          \
	X(IPFIX, XDP,                                                                                   \
	  "messages are made by the agent of what the row above tells it, whichever hook counted")      \
	X(TRACE, XDP, "a trace asks the tc program, which XDP must not contradict: `xdpsame`")

enum feature {
#define X(name, part, what) F_##name,
	FEATURE_TABLE(X)
#undef X
};

#endif
