-- SPDX-License-Identifier: Apache-2.0
-- Address groups, and the stateless rules of ports (FWaaS v2). Addresses are CIDRs in canonical text.
CREATE TABLE address_group (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, revision_number INTEGER NOT NULL DEFAULT 1, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE INDEX address_group_project ON address_group (project_id);
CREATE TABLE address_group_address (address_group_id TEXT NOT NULL REFERENCES address_group(id) ON DELETE CASCADE, address TEXT NOT NULL, PRIMARY KEY (address_group_id, address)) WITHOUT ROWID;
ALTER TABLE security_group_rule ADD COLUMN remote_address_group_id TEXT REFERENCES address_group(id);
CREATE INDEX security_group_rule_addresses ON security_group_rule (remote_address_group_id);

-- Ports are "80" or "80:90"; tcp_flags "syn,!ack".
CREATE TABLE firewall_rule (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, shared INTEGER NOT NULL DEFAULT 0, enabled INTEGER NOT NULL DEFAULT 1, action TEXT NOT NULL DEFAULT 'deny' CHECK (action IN ('allow', 'deny', 'reject')), ip_version INTEGER NOT NULL DEFAULT 4 CHECK (ip_version IN (4, 6)), protocol TEXT, source_ip_address TEXT, destination_ip_address TEXT, source_port TEXT, destination_port TEXT,
  source_address_group_id TEXT REFERENCES address_group(id), destination_address_group_id TEXT REFERENCES address_group(id), icmp_type INTEGER, icmp_code INTEGER, tcp_flags TEXT, dscp INTEGER, vlan INTEGER,
  revision_number INTEGER NOT NULL DEFAULT 1, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE INDEX firewall_rule_project ON firewall_rule (project_id, created_us);
CREATE INDEX firewall_rule_source ON firewall_rule (source_address_group_id);
CREATE INDEX firewall_rule_destination ON firewall_rule (destination_address_group_id);
CREATE TABLE firewall_policy (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, shared INTEGER NOT NULL DEFAULT 0, audited INTEGER NOT NULL DEFAULT 0, revision_number INTEGER NOT NULL DEFAULT 1, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE INDEX firewall_policy_project ON firewall_policy (project_id);
-- ord counts from 1 without gaps.
CREATE TABLE firewall_policy_rule (policy_id TEXT NOT NULL REFERENCES firewall_policy(id) ON DELETE CASCADE, rule_id TEXT NOT NULL REFERENCES firewall_rule(id), ord INTEGER NOT NULL, PRIMARY KEY (policy_id, rule_id)) WITHOUT ROWID;
CREATE INDEX firewall_policy_rule_order ON firewall_policy_rule (policy_id, ord);
CREATE INDEX firewall_policy_rule_rule ON firewall_policy_rule (rule_id);
CREATE TABLE firewall_group (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, shared INTEGER NOT NULL DEFAULT 0, admin_state_up INTEGER NOT NULL DEFAULT 1, ingress_policy_id TEXT REFERENCES firewall_policy(id), egress_policy_id TEXT REFERENCES firewall_policy(id), revision_number INTEGER NOT NULL DEFAULT 1, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE INDEX firewall_group_project ON firewall_group (project_id);
CREATE INDEX firewall_group_ingress ON firewall_group (ingress_policy_id);
CREATE INDEX firewall_group_egress ON firewall_group (egress_policy_id);
CREATE TABLE firewall_group_port (port_id TEXT PRIMARY KEY REFERENCES port(id) ON DELETE CASCADE, group_id TEXT NOT NULL REFERENCES firewall_group(id) ON DELETE CASCADE) WITHOUT ROWID;
CREATE INDEX firewall_group_port_group ON firewall_group_port (group_id);
