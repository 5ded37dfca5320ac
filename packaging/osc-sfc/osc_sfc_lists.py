# SPDX-License-Identifier: Apache-2.0
"""Lets `openstack sfc …` name its own resources.

The sfc commands of python-neutronclient 8 (Debian 12) look resources up through methods of the network client that only
networking-sfc's plug-in adds; without it every command that names a port pair, a group, a classifier or a chain ends with
"'Client' object has no attribute 'list_port_pairs'". This plug-in adds those methods, through the client's own entry point
"neutronclient.extension", and nothing else. It works from anywhere on PYTHONPATH.
"""

from neutronclient.common import extension


class PortPair(extension.NeutronClientExtension):
    resource = "port_pair"
    resource_plural = "port_pairs"
    object_path = "/sfc/port_pairs"
    resource_path = "/sfc/port_pairs/%s"
    versions = ["2.0"]


class PortPairList(extension.ClientExtensionList, PortPair):
    shell_command = "port-pair-list"
    list_columns = ["id", "name"]


class PortPairGroup(extension.NeutronClientExtension):
    resource = "port_pair_group"
    resource_plural = "port_pair_groups"
    object_path = "/sfc/port_pair_groups"
    resource_path = "/sfc/port_pair_groups/%s"
    versions = ["2.0"]


class PortPairGroupList(extension.ClientExtensionList, PortPairGroup):
    shell_command = "port-pair-group-list"
    list_columns = ["id", "name"]


class FlowClassifier(extension.NeutronClientExtension):
    resource = "flow_classifier"
    resource_plural = "flow_classifiers"
    object_path = "/sfc/flow_classifiers"
    resource_path = "/sfc/flow_classifiers/%s"
    versions = ["2.0"]


class FlowClassifierList(extension.ClientExtensionList, FlowClassifier):
    shell_command = "flow-classifier-list"
    list_columns = ["id", "name"]


class PortChain(extension.NeutronClientExtension):
    resource = "port_chain"
    resource_plural = "port_chains"
    object_path = "/sfc/port_chains"
    resource_path = "/sfc/port_chains/%s"
    versions = ["2.0"]


class PortChainList(extension.ClientExtensionList, PortChain):
    shell_command = "port-chain-list"
    list_columns = ["id", "name"]
