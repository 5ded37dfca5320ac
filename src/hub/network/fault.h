/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_FAULT_H
#define DEMARC_HUB_NETWORK_FAULT_H

/*
 * Neutron's errors in Neutron's words. One row per error: name, fault, "type" in the body, text. Every argument is
 * a string (%s), so that the type of an error can be told from its text when the body is made: an error object
 * carries no type, and the generic handlers raise the same errors through resource.not_found.
 * Source: neutron-lib exceptions, neutron extensions (securitygroup, l3, portsecurity), networking-sfc extensions.
 */

#include <jansson.h>

#include "base/err.h"
#include "hub/rest.h"

#define NEUTRON_TABLE(X)                                                                                                                  \
	X(NETWORK_NOT_FOUND, NOT_FOUND, "NetworkNotFound", "Network %s could not be found.")                                              \
	X(SUBNET_NOT_FOUND, NOT_FOUND, "SubnetNotFound", "Subnet %s could not be found.")                                                 \
	X(PORT_NOT_FOUND, NOT_FOUND, "PortNotFound", "Port %s could not be found.")                                                       \
	X(RULE_NOT_FOUND, NOT_FOUND, "SecurityGroupRuleNotFound",                                                                         \
	  "Security group rule %s does not exist")                                                                                        \
	X(GROUP_NOT_FOUND, NOT_FOUND, "SecurityGroupNotFound", "Security group %s does not exist")                                        \
	X(TAG_NOT_FOUND, NOT_FOUND, "TagNotFound", "Tag %s could not be found.")                                                          \
	X(EXTENSION_NOT_FOUND, NOT_FOUND, "ExtensionNotFound", "Extension with alias %s does not exist")                                  \
	X(AGENT_NOT_FOUND, NOT_FOUND, "AgentNotFound", "Agent %s could not be found.")                                                    \
	X(NETWORK_IN_USE, IN_USE, "NetworkInUse",                                                                                         \
	  "Unable to complete operation on network %s. There are one or more ports still in use on the network.")                         \
	X(SUBNET_IN_USE, IN_USE, "SubnetInUse",                                                                                           \
	  "Unable to complete operation on subnet %s: One or more ports have an IP allocation from this subnet.")                         \
	X(PORT_IN_USE_BY, IN_USE, "ServicePortInUse",                                                                                     \
	  "Port %s cannot be deleted directly via the port API: it is used by %s.")                                                       \
	X(PORT_ATTACHED, IN_USE, "PortInUse",                                                                                             \
	  "Unable to complete operation on port %s for network %s. Port already has an attached device %s.")                              \
	X(PORT_BOUND, IN_USE, "PortBound",                                                                                                \
	  "Unable to complete operation on port %s, port is already bound, port type: demarc, old_mac %s, new_mac %s.")                   \
	X(HOST_NOT_FOUND, BAD_REQUEST, "HostNotFound", "Host %s could not be found.")                                                     \
	X(SECURITY_HAS_GROUP, CONFLICT, "PortSecurityPortHasSecurityGroup",                                                               \
	  "Port has security group associated. Cannot disable port security or IP address until security group is removed.")              \
	X(MAC_IN_USE, IN_USE, "MacAddressInUse",                                                                                          \
	  "Unable to complete operation for network %s. The mac address %s is in use.")                                                   \
	X(IP_IN_USE, CONFLICT, "IpAddressAlreadyAllocated",                                                                               \
	  "IP address %s already allocated in subnet %s")                                                                                 \
	X(IP_NOT_ON_NETWORK, BAD_REQUEST, "InvalidIpForNetwork",                                                                          \
	  "IP address %s is not a valid IP for any of the subnets on the specified network.")                                             \
	X(IP_NOT_ON_SUBNET, BAD_REQUEST, "InvalidIpForSubnet",                                                                            \
	  "IP address %s is not a valid IP for the specified subnet.")                                                                    \
	X(IP_NONE_LEFT, CONFLICT, "IpAddressGenerationFailure",                                                                           \
	  "No more IP addresses available on network %s.")                                                                                \
	X(MAC_NONE_LEFT, UNAVAILABLE, "MacAddressGenerationFailure",                                                                      \
	  "Unable to generate unique mac on network %s.")                                                                                 \
	X(VLAN_IN_USE, IN_USE, "VlanIdInUse",                                                                                             \
	  "Unable to create the network. The VLAN %s on physical network %s is in use.")                                                  \
	X(TUNNEL_IN_USE, IN_USE, "TunnelIdInUse",                                                                                         \
	  "Unable to create the network. The tunnel ID %s is in use.")                                                                    \
	X(NO_NETWORK_LEFT, UNAVAILABLE, "NoNetworkAvailable",                                                                             \
	  "Unable to create the network. No tenant network is available for allocation.")                                                 \
	X(FLAT_IN_USE, IN_USE, "FlatNetworkInUse",                                                                                        \
	  "Unable to create the flat network. Physical network %s is in use.")                                                            \
	X(POOL_INVALID, BAD_REQUEST, "InvalidAllocationPool", "The allocation pool %s is not valid.")                                     \
	X(POOL_OUTSIDE, BAD_REQUEST, "OutOfBoundsAllocationPool",                                                                         \
	  "The allocation pool %s spans beyond the subnet cidr %s.")                                                                      \
	X(POOL_OVERLAPS, CONFLICT, "OverlappingAllocationPools",                                                                          \
	  "Found overlapping allocation pools: %s %s for subnet %s.")                                                                     \
	X(POOL_HAS_GATEWAY, CONFLICT, "GatewayConflictWithAllocationPools",                                                               \
	  "Gateway ip %s conflicts with allocation pool %s.")                                                                             \
	X(TOO_MANY_FIXED_IPS, BAD_REQUEST, "InvalidInput",                                                                                \
	  "Invalid input for operation: Exceeded maximum amount of fixed ips per port.")                                                  \
	X(TOO_MANY_PAIRS, BAD_REQUEST, "AllowedAddressPairExhausted",                                                                     \
	  "The number of allowed address pair exceeds the maximum %s.")                                                                   \
	X(PAIR_DUPLICATE, BAD_REQUEST, "DuplicateAddressPairInRequest",                                                                   \
	  "Request contains duplicate address pair: mac_address %s ip_address %s.")                                                       \
	X(PAIR_NEEDS_SECURITY, CONFLICT, "AddressPairAndPortSecurityRequired",                                                            \
	  "Port Security must be enabled in order to have allowed address pairs on a port.")                                              \
	X(GROUP_NEEDS_SECURITY, CONFLICT, "PortSecurityAndIPRequiredForSecurityGroups",                                                   \
	  "Port security must be enabled and port must have an IP address in order to use security groups.")                              \
	X(GROUP_IN_USE, IN_USE, "SecurityGroupInUse", "Security Group %s in use.")                                                        \
	X(GROUP_DEFAULT_REMOVE, IN_USE, "SecurityGroupCannotRemoveDefault",                                                               \
	  "Insufficient rights for removing default security group.")                                                                     \
	X(GROUP_DEFAULT_UPDATE, IN_USE, "SecurityGroupCannotUpdateDefault",                                                               \
	  "Updating default security group not allowed.")                                                                                 \
	X(GROUP_DEFAULT_EXISTS, IN_USE, "SecurityGroupDefaultAlreadyExists",                                                              \
	  "Default security group already exists.")                                                                                       \
	X(RULE_EXISTS, IN_USE, "SecurityGroupRuleExists",                                                                                 \
	  "Security group rule already exists. Rule id is %s.")                                                                           \
	X(RULE_PORT_RANGE, BAD_REQUEST, "SecurityGroupInvalidPortRange",                                                                  \
	  "For TCP/UDP protocols, port_range_min must be <= port_range_max")                                                              \
	X(RULE_PORT_VALUE, BAD_REQUEST, "SecurityGroupInvalidPortValue", "Invalid value for port %s")                                     \
	X(RULE_PORTS_OTHER, BAD_REQUEST, "SecurityGroupInvalidProtocolForPort",                                                           \
	  "Ports cannot be specified for protocol %s. Ports are only supported for dccp, sctp, tcp, udp, udplite.")                       \
	X(RULE_ICMP_VALUE, BAD_REQUEST, "SecurityGroupInvalidIcmpValue",                                                                  \
	  "Invalid value for ICMP %s (%s) %s. It must be 0 to 255.")                                                                      \
	X(RULE_ICMP_TYPE, BAD_REQUEST, "SecurityGroupMissingIcmpType",                                                                    \
	  "ICMP code (port-range-max) %s is provided but ICMP type (port-range-min) is missing.")                                         \
	X(RULE_PROTOCOL, BAD_REQUEST, "SecurityGroupRuleInvalidProtocol",                                                                 \
	  "Security group rule protocol %s not supported. Only protocol values %s and integer representations [0 to 255] are supported.") \
	X(RULE_PROTOCOL_FAMILY, BAD_REQUEST, "SecurityGroupEthertypeConflictWithProtocol",                                                \
	  "Invalid ethertype %s for protocol %s.")                                                                                        \
	X(RULE_TWO_REMOTES, BAD_REQUEST, "SecurityGroupMultipleRemoteEntites",                                                            \
	  "Only one of remote_ip_prefix, remote_group_id or remote_address_group_id may be provided.")                                    \
	X(RULE_NEEDS_PROTOCOL, BAD_REQUEST, "SecurityGroupProtocolRequiredWithPorts",                                                     \
	  "Must also specify protocol if port range is given.")                                                                           \
	X(RULE_PREFIX_FAMILY, BAD_REQUEST, "SecurityGroupRuleParameterConflict",                                                          \
	  "Conflicting value ethertype %s for CIDR %s")                                                                                   \
	X(RULE_PREFIX, BAD_REQUEST, "SecurityGroupInvalidCidr",                                                                           \
	  "'%s' is not a valid IP address or CIDR.")                                                                                      \
	X(REVISION, PRECONDITION, "RevisionNumberConstraintFailed",                                                                       \
	  "Constrained to %s, but current revision is %s")                                                                                \
	X(NOT_ALLOWED, FORBIDDEN, "PolicyNotAuthorized", "rule:%s is disallowed by policy")                                               \
	X(PAIR_NOT_FOUND, NOT_FOUND, "PortPairNotFound", "Port Pair %s not found.")                                                       \
	X(PPG_NOT_FOUND, NOT_FOUND, "PortPairGroupNotFound", "Port Pair Group %s not found.")                                             \
	X(CLASSIFIER_NOT_FOUND, NOT_FOUND, "FlowClassifierNotFound", "Flow Classifier %s not found.")                                     \
	X(CHAIN_NOT_FOUND, NOT_FOUND, "PortChainNotFound", "Port Chain %s not found.")                                                    \
	X(PAIR_PORT_NOT_FOUND, NOT_FOUND, "PortPairPortNotFound", "Port Pair port %s not found.")                                         \
	X(PAIR_HOSTS, BAD_REQUEST, "PortPairIngressEgressDifferentHost",                                                                  \
	  "Port Pair ingress port %s and egress port %s not in the same host.")                                                           \
	X(PAIR_PORTS_IN_USE, BAD_REQUEST, "PortPairIngressEgressInUse",                                                                   \
	  "Port Pair with ingress port %s and egress port %s is already used by another Port Pair %s.")                                   \
	X(PAIR_IN_USE, IN_USE, "PortPairInUse", "Port Pair %s in use.")                                                                   \
	X(PPG_IN_USE, IN_USE, "PortPairGroupInUse", "Port Pair Group %s in use.")                                                         \
	X(PPG_IN_CHAIN, IN_USE, "InvalidPortPairGroups",                                                                                  \
	  "Port Pair Group(s) %s in use by Port Chain %s.")                                                                               \
	X(PPG_NONE, BAD_REQUEST, "PortPairGroupNotSpecified",                                                                             \
	  "Port Pair Group is not specified in Port Chain.")                                                                              \
	X(PPG_CORRELATION, BAD_REQUEST, "InconsistentCorrelations",                                                                       \
	  "Port Pair Group attempted creation included Port Pairs with inconsistent correlation types.")                                  \
	X(CLASSIFIER_IN_USE, IN_USE, "FlowClassifierInUse", "Flow Classifier %s in use.")                                                 \
	X(CLASSIFIER_NEEDS_PORT, BAD_REQUEST, "FlowClassifierBadRequest",                                                                 \
	  "Flow Classifier %s needs a logical source port: only an admin's chain takes the traffic of all ports.")                        \
	X(CLASSIFIER_CONFLICT, BAD_REQUEST, "FlowClassifierInConflict",                                                                   \
	  "Flow Classifier conflicts with another Flow Classifier %s.")                                                                   \
	X(CLASSIFIER_PORT_NOT_FOUND, NOT_FOUND, "FlowClassifierPortNotFound",                                                             \
	  "Flow Classifier Neutron Port %s not found.")                                                                                   \
	X(CLASSIFIER_PORT_RANGE, BAD_REQUEST, "FlowClassifierInvalidPortRange",                                                           \
	  "Invalid IP protocol port range. min_port_range=%s must be lesser or equal to max_port_range=%s.")                              \
	X(CLASSIFIER_PORT_VALUE, BAD_REQUEST, "FlowClassifierInvalidPortValue",                                                           \
	  "Flow Classifier has invalid port value %s.")                                                                                   \
	X(CLASSIFIER_PROTOCOL, BAD_REQUEST, "FlowClassifierInvalidProtocol",                                                              \
	  "Flow Classifier does not support protocol %s. Supported protocol values are ['tcp', 'udp', 'icmp'].")                          \
	X(CLASSIFIER_ETHERTYPE, BAD_REQUEST, "FlowClassifierInvalidEthertype",                                                            \
	  "Flow Classifier does not support ethertype %s. Supported ethertype values are ['IPv4', 'IPv6'].")                              \
	X(CLASSIFIER_NEEDS_PROTOCOL, BAD_REQUEST, "FlowClassifierProtocolRequiredWithPorts",                                              \
	  "IP protocol must be TCP or UDP, if port range is given.")                                                                      \
	X(CLASSIFIER_PREFIX, BAD_REQUEST, "FlowClassifierIpPrefixFormatConflictWithEthertype",                                            \
	  "IP prefix %s format conflicts with ethertype %s.")                                                                             \
	X(CHAIN_CLASSIFIER_CONFLICT, BAD_REQUEST, "PortChainFlowClassifierInConflict",                                                    \
	  "Flow Classifier %s conflicts with Flow Classifier %s in port chain %s.")                                                       \
	X(CHAIN_NODES, BAD_REQUEST, "PortChainPortsOnDifferentNodes",                                                                     \
	  "All functions of Port Chain %s must be on one node, but %s.")                                                                  \
	X(CHAIN_ID, BAD_REQUEST, "PortChainChainIdInConflict",                                                                            \
	  "Chain id %s conflicts with Chain id in port chain %s.")                                                                        \
	X(ADDRESS_GROUP_NOT_FOUND, NOT_FOUND, "AddressGroupNotFound",                                                                     \
	  "Address group %s could not be found.")                                                                                         \
	X(ADDRESS_GROUP_IN_USE, IN_USE, "AddressGroupInUse",                                                                              \
	  "Address group %s is in use on one or more rules: %s.")                                                                         \
	X(ADDRESSES_NOT_FOUND, NOT_FOUND, "AddressesNotFound",                                                                            \
	  "Addresses %s not found in the address group %s.")                                                                              \
	X(ADDRESSES_EXIST, BAD_REQUEST, "AddressesAlreadyExist",                                                                          \
	  "Addresses %s already exist in the address group %s.")                                                                          \
	X(GROUP_MIXED, CONFLICT, "SecurityGroupConflict",                                                                                 \
	  "Error: cannot apply both stateful and stateless security groups on the same port while attempting to do the operation.")       \
	X(FW_RULE_NOT_FOUND, NOT_FOUND, "FirewallRuleNotFound", "Firewall rule %s could not be found.")                                   \
	X(FW_POLICY_NOT_FOUND, NOT_FOUND, "FirewallPolicyNotFound",                                                                       \
	  "Firewall policy %s could not be found.")                                                                                       \
	X(FW_GROUP_NOT_FOUND, NOT_FOUND, "FirewallGroupNotFound",                                                                         \
	  "Firewall group %s could not be found.")                                                                                        \
	X(FW_RULE_IN_USE, IN_USE, "FirewallRuleInUse", "Firewall rule %s is being used.")                                                 \
	X(FW_POLICY_IN_USE, IN_USE, "FirewallPolicyInUse", "Firewall policy %s is being used.")                                           \
	X(FW_GROUP_IN_USE, IN_USE, "FirewallGroupInUse", "Firewall group %s is still active.")                                            \
	X(FW_PORT_IN_USE, IN_USE, "FirewallGroupPortInUse",                                                                               \
	  "Port(s) %s already associated with other firewall group(s).")                                                                  \
	X(FW_PORT_PROJECT, CONFLICT, "FirewallGroupPortInvalidProject",                                                                   \
	  "Operation cannot be performed as port %s is in an invalid project %s.")                                                        \
	X(FW_RULE_NOT_SHARED, CONFLICT, "FirewallRuleSharingConflict",                                                                    \
	  "Operation cannot be performed since firewall policy %s is shared but firewall rule %s is not shared.")                         \
	X(FW_POLICY_NOT_SHARED, CONFLICT, "FirewallPolicySharingConflict",                                                                \
	  "Operation cannot be performed since firewall group is shared but firewall policy %s is not shared.")                           \
	X(FW_RULE_NOT_IN, BAD_REQUEST, "FirewallRuleNotAssociatedWithPolicy",                                                             \
	  "Firewall rule %s is not associated with firewall policy %s.")                                                                  \
	X(FW_RULE_TWICE, CONFLICT, "FirewallRuleAlreadyAssociated",                                                                       \
	  "Operation cannot be performed since firewall rule %s is already associated with firewall policy %s.")                          \
	X(FW_RULE_MISSING, BAD_REQUEST, "FirewallRuleInfoMissing",                                                                        \
	  "Missing rule info argument for insert/remove rule operation.")                                                                 \
	X(FW_RULE_PROTOCOL, BAD_REQUEST, "FirewallRuleInvalidProtocol",                                                                   \
	  "Firewall rule protocol %s is not supported. Only names of IANA protocols and integers from 0 to 255 are.")                     \
	X(FW_RULE_ICMP, BAD_REQUEST, "FirewallRuleInvalidICMPParameter",                                                                  \
	  "%s are not allowed when protocol is set to ICMP.")                                                                             \
	X(FW_RULE_PORTS, BAD_REQUEST, "FirewallRuleWithPortWithoutProtocolInvalid",                                                       \
	  "Source/destination port requires a protocol that has ports: dccp, sctp, tcp, udp or udplite.")                                 \
	X(FW_RULE_PORT_VALUE, BAD_REQUEST, "FirewallRuleInvalidPortValue", "Invalid value for port %s.")                                  \
	X(FW_RULE_FAMILY, BAD_REQUEST, "FirewallIpAddressConflict",                                                                       \
	  "Invalid input - IP addresses do not agree with IP Version: %s.")                                                               \
	X(QOS_NOT_FOUND, NOT_FOUND, "QosPolicyNotFound", "QoS policy %s could not be found.")                                             \
	X(QOS_RULE_NOT_FOUND, NOT_FOUND, "QosRuleNotFound",                                                                               \
	  "QoS rule %s for policy %s could not be found.")                                                                                \
	X(QOS_RULE_ABSENT, NOT_FOUND, "QosRuleNotFound", "QoS rule %s could not be found.")                                               \
	X(QOS_TYPE_NOT_FOUND, NOT_FOUND, "QosRuleTypeNotFound", "QoS rule type %s could not be found.")                                   \
	X(QOS_IN_USE, IN_USE, "QosPolicyInUse", "QoS Policy %s is used by %s.")                                                           \
	X(QOS_DEFAULT, CONFLICT, "QoSPolicyDefaultAlreadyExists",                                                                         \
	  "A default QoS policy exists for the project: %s.")                                                                             \
	X(QOS_CONFLICT, CONFLICT, "QoSRulesConflict", "A %s of policy %s conflicts with rule %s.")                                        \
	/* Catch-all rows come last: the first row that fits the text wins. */                                                            \
	X(INVALID_FOR, BAD_REQUEST, "HTTPBadRequest", "Invalid input for %s. Reason: %s.")                                                \
	X(INVALID_INPUT, BAD_REQUEST, "InvalidInput", "Invalid input for operation: %s.")

enum neutron_fault {
#define X(name, fault, type, text) NEUTRON_##name,
	NEUTRON_TABLE(X)
#undef X
};

/* Sets *e to the row's fault and text; the arguments are const char *, as many as the row has %s. `field` may be NULL. */
WARN_UNUSED int neutron_err(struct err *e, enum neutron_fault f, const char *field, ...);
/* {"NeutronError": {"type", "message", "detail"}}: module.error_body. */
json_t *neutron_error_body(const struct req *r, int status, const struct err *e);
/* The type of an error: by its text, else by its fault. Static. */
const char *neutron_error_type(const struct err *e);

#endif
