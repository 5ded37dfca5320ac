-- SPDX-License-Identifier: Apache-2.0
-- What is looked for whenever a chain or a port changes must not take longer because there are many chains.

CREATE INDEX sfc_flow_classifier_chain ON sfc_flow_classifier (chain_id);
CREATE INDEX sfc_flow_classifier_source ON sfc_flow_classifier (source_ip_prefix);
CREATE INDEX sfc_flow_classifier_from ON sfc_flow_classifier (logical_source_port);
CREATE INDEX sfc_flow_classifier_to ON sfc_flow_classifier (logical_destination_port);
CREATE INDEX sfc_port_chain_node ON sfc_port_chain (node_id);
CREATE INDEX sfc_port_pair_group_serial ON sfc_port_pair_group (serial);
