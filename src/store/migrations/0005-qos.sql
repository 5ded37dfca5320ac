-- SPDX-License-Identifier: Apache-2.0
-- QoS policies. A rule is unique in its policy by kind and direction; a port without a policy has that of its network.
CREATE TABLE qos_policy (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, shared INTEGER NOT NULL DEFAULT 0, is_default INTEGER NOT NULL DEFAULT 0, tags TEXT NOT NULL DEFAULT '[]', revision_number INTEGER NOT NULL DEFAULT 1, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE INDEX qos_policy_project ON qos_policy (project_id);
CREATE TABLE qos_bandwidth_limit_rule (id TEXT PRIMARY KEY, policy_id TEXT NOT NULL REFERENCES qos_policy(id) ON DELETE CASCADE, max_kbps INTEGER NOT NULL, max_burst_kbps INTEGER NOT NULL DEFAULT 0, direction TEXT NOT NULL DEFAULT 'egress', UNIQUE (policy_id, direction));
CREATE TABLE qos_packet_rate_limit_rule (id TEXT PRIMARY KEY, policy_id TEXT NOT NULL REFERENCES qos_policy(id) ON DELETE CASCADE, max_kpps INTEGER NOT NULL, max_burst_kpps INTEGER NOT NULL DEFAULT 0, direction TEXT NOT NULL DEFAULT 'egress', UNIQUE (policy_id, direction));
CREATE TABLE qos_dscp_marking_rule (id TEXT PRIMARY KEY, policy_id TEXT NOT NULL UNIQUE REFERENCES qos_policy(id) ON DELETE CASCADE, dscp_mark INTEGER NOT NULL);
ALTER TABLE network ADD COLUMN qos_policy_id TEXT REFERENCES qos_policy(id);
ALTER TABLE port ADD COLUMN qos_policy_id TEXT REFERENCES qos_policy(id);
CREATE INDEX network_qos ON network (qos_policy_id);
CREATE INDEX port_qos ON port (qos_policy_id);
