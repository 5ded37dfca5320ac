-- SPDX-License-Identifier: Apache-2.0
-- Ids are text: UUIDs with dashes, except projects, users, domains and roles (32 hex digits), as OpenStack's clients expect.
-- Times are microseconds since 1970 UTC. JSON columns hold compact text. Append new migrations; never edit a released one.

CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- identity
CREATE TABLE domain (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL DEFAULT '', enabled INTEGER NOT NULL DEFAULT 1, tags TEXT NOT NULL DEFAULT '[]', options TEXT NOT NULL DEFAULT '{}');
CREATE TABLE project (id TEXT PRIMARY KEY, name TEXT NOT NULL, domain_id TEXT NOT NULL REFERENCES domain(id), parent_id TEXT, description TEXT NOT NULL DEFAULT '', enabled INTEGER NOT NULL DEFAULT 1, is_domain INTEGER NOT NULL DEFAULT 0, tags TEXT NOT NULL DEFAULT '[]', options TEXT NOT NULL DEFAULT '{}', UNIQUE (domain_id, name));
CREATE TABLE user (id TEXT PRIMARY KEY, name TEXT NOT NULL, domain_id TEXT NOT NULL REFERENCES domain(id), password_hash TEXT, password_changed_us INTEGER NOT NULL DEFAULT 0, default_project_id TEXT, email TEXT, description TEXT, enabled INTEGER NOT NULL DEFAULT 1, options TEXT NOT NULL DEFAULT '{}', UNIQUE (domain_id, name));
CREATE TABLE role (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT, options TEXT NOT NULL DEFAULT '{}');
CREATE TABLE assignment (user_id TEXT NOT NULL REFERENCES user(id) ON DELETE CASCADE, target_kind TEXT NOT NULL CHECK (target_kind IN ('project', 'domain', 'system')), target_id TEXT NOT NULL, role_id TEXT NOT NULL REFERENCES role(id) ON DELETE CASCADE, inherited INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (user_id, target_kind, target_id, role_id, inherited)) WITHOUT ROWID;
-- Tokens are signed, not stored. A revocation names an audit id, or everything of a user or project issued before a time.
CREATE TABLE revocation (kind TEXT NOT NULL, id TEXT NOT NULL, before_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;

-- image
CREATE TABLE image (id TEXT PRIMARY KEY, name TEXT, project_id TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'queued', visibility TEXT NOT NULL DEFAULT 'shared', size INTEGER, virtual_size INTEGER, checksum TEXT, os_hash_algo TEXT, os_hash_value TEXT, disk_format TEXT, container_format TEXT, min_disk INTEGER NOT NULL DEFAULT 0, min_ram INTEGER NOT NULL DEFAULT 0, protected INTEGER NOT NULL DEFAULT 0, os_hidden INTEGER NOT NULL DEFAULT 0, tags TEXT NOT NULL DEFAULT '[]', properties TEXT NOT NULL DEFAULT '{}', created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE INDEX image_project ON image (project_id);

-- compute
CREATE TABLE flavor (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, ram INTEGER NOT NULL, vcpus INTEGER NOT NULL, disk INTEGER NOT NULL DEFAULT 0, ephemeral INTEGER NOT NULL DEFAULT 0, swap INTEGER NOT NULL DEFAULT 0, rxtx_factor REAL NOT NULL DEFAULT 1.0, is_public INTEGER NOT NULL DEFAULT 1, disabled INTEGER NOT NULL DEFAULT 0, description TEXT, extra_specs TEXT NOT NULL DEFAULT '{}');
CREATE TABLE keypair (user_id TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL DEFAULT 'ssh', public_key TEXT NOT NULL, fingerprint TEXT NOT NULL, created_us INTEGER NOT NULL, PRIMARY KEY (user_id, name)) WITHOUT ROWID;
CREATE TABLE server (id TEXT PRIMARY KEY, name TEXT NOT NULL, hostname TEXT NOT NULL, project_id TEXT NOT NULL, user_id TEXT NOT NULL, image_id TEXT NOT NULL, flavor TEXT NOT NULL, key_name TEXT, public_key TEXT, metadata TEXT NOT NULL DEFAULT '{}', tags TEXT NOT NULL DEFAULT '[]', user_data TEXT, config_drive INTEGER NOT NULL DEFAULT 0, availability_zone TEXT NOT NULL DEFAULT '', description TEXT, node_id TEXT REFERENCES node(id),
  power TEXT NOT NULL DEFAULT 'running' CHECK (power IN ('running', 'stopped')), reboot_generation INTEGER NOT NULL DEFAULT 0, -- wanted
  vm_state TEXT NOT NULL DEFAULT 'building', task_state TEXT, power_state INTEGER NOT NULL DEFAULT 0, fault TEXT, healthy INTEGER NOT NULL DEFAULT 0, seen_version INTEGER NOT NULL DEFAULT 0, n_restarts INTEGER NOT NULL DEFAULT 0, -- observed by the node
  created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, launched_us INTEGER);
CREATE INDEX server_project ON server (project_id, created_us);
CREATE INDEX server_node ON server (node_id);
CREATE INDEX server_image ON server (image_id);
-- vNIC i of the request is row idx = i for the life of the server: a detach frees the slot, it does not renumber.
CREATE TABLE server_vif (server_id TEXT NOT NULL REFERENCES server(id) ON DELETE CASCADE, idx INTEGER NOT NULL, port_id TEXT NOT NULL UNIQUE REFERENCES port(id), tag TEXT, delete_port INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (server_id, idx)) WITHOUT ROWID;

-- network
CREATE TABLE network (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, admin_state_up INTEGER NOT NULL DEFAULT 1, shared INTEGER NOT NULL DEFAULT 0, external INTEGER NOT NULL DEFAULT 0, mtu INTEGER NOT NULL DEFAULT 1500, port_security_enabled INTEGER NOT NULL DEFAULT 1, network_type TEXT NOT NULL DEFAULT 'local', physical_network TEXT, segmentation_id INTEGER, tags TEXT NOT NULL DEFAULT '[]', revision_number INTEGER NOT NULL DEFAULT 1, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE INDEX network_project ON network (project_id);
CREATE TABLE subnet (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, network_id TEXT NOT NULL REFERENCES network(id), ip_version INTEGER NOT NULL, cidr TEXT NOT NULL, gateway_ip TEXT, enable_dhcp INTEGER NOT NULL DEFAULT 1, allocation_pools TEXT NOT NULL DEFAULT '[]', alloc_next TEXT NOT NULL DEFAULT '', dns_nameservers TEXT NOT NULL DEFAULT '[]', host_routes TEXT NOT NULL DEFAULT '[]', ipv6_ra_mode TEXT, ipv6_address_mode TEXT, tags TEXT NOT NULL DEFAULT '[]', revision_number INTEGER NOT NULL DEFAULT 1, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE INDEX subnet_network ON subnet (network_id);
-- Address allocation: below subnet.alloc_next (a key of model/ipam.h) every pool address is taken but these; '': not begun.
CREATE TABLE subnet_free (subnet_id TEXT NOT NULL REFERENCES subnet(id) ON DELETE CASCADE, key TEXT NOT NULL, PRIMARY KEY (subnet_id, key)) WITHOUT ROWID;
CREATE TABLE port (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, network_id TEXT NOT NULL REFERENCES network(id), mac_address TEXT NOT NULL, admin_state_up INTEGER NOT NULL DEFAULT 1, device_id TEXT NOT NULL DEFAULT '', device_owner TEXT NOT NULL DEFAULT '', status TEXT NOT NULL DEFAULT 'DOWN', allowed_address_pairs TEXT NOT NULL DEFAULT '[]', port_security_enabled INTEGER NOT NULL DEFAULT 1, extra_dhcp_opts TEXT NOT NULL DEFAULT '[]', dns_name TEXT NOT NULL DEFAULT '', node_id TEXT REFERENCES node(id), vnic_type TEXT NOT NULL DEFAULT 'normal', binding_profile TEXT NOT NULL DEFAULT '{}', tags TEXT NOT NULL DEFAULT '[]', revision_number INTEGER NOT NULL DEFAULT 1, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL,
  verified INTEGER, differences TEXT NOT NULL DEFAULT '[]', observed TEXT, seen_version INTEGER NOT NULL DEFAULT 0, checked_us INTEGER, -- observed by the node; verified NULL: not yet checked
  UNIQUE (network_id, mac_address));
CREATE INDEX port_project ON port (project_id, created_us, id);
CREATE INDEX port_created ON port (created_us, id);
CREATE INDEX port_device ON port (device_id);
CREATE INDEX port_node ON port (node_id);
CREATE TABLE port_ip (port_id TEXT NOT NULL REFERENCES port(id) ON DELETE CASCADE, subnet_id TEXT NOT NULL REFERENCES subnet(id), ip TEXT NOT NULL, ord INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (subnet_id, ip)) WITHOUT ROWID;
CREATE INDEX port_ip_port ON port_ip (port_id);
CREATE TABLE security_group (id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, stateful INTEGER NOT NULL DEFAULT 1, tags TEXT NOT NULL DEFAULT '[]', revision_number INTEGER NOT NULL DEFAULT 1, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE INDEX security_group_project ON security_group (project_id, name);
CREATE TABLE security_group_rule (id TEXT PRIMARY KEY, description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, security_group_id TEXT NOT NULL REFERENCES security_group(id) ON DELETE CASCADE, direction TEXT NOT NULL, ethertype TEXT NOT NULL, protocol TEXT, port_range_min INTEGER, port_range_max INTEGER, remote_ip_prefix TEXT, remote_group_id TEXT REFERENCES security_group(id) ON DELETE CASCADE, revision_number INTEGER NOT NULL DEFAULT 0, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE INDEX security_group_rule_group ON security_group_rule (security_group_id);
CREATE INDEX security_group_rule_remote ON security_group_rule (remote_group_id);
CREATE TABLE port_security_group (port_id TEXT NOT NULL REFERENCES port(id) ON DELETE CASCADE, security_group_id TEXT NOT NULL REFERENCES security_group(id), PRIMARY KEY (port_id, security_group_id)) WITHOUT ROWID;
CREATE INDEX port_security_group_group ON port_security_group (security_group_id);

-- service function chains (networking-sfc)
CREATE TABLE sfc_port_pair (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, ingress TEXT NOT NULL REFERENCES port(id), egress TEXT NOT NULL REFERENCES port(id), service_function_parameters TEXT NOT NULL DEFAULT '{}', group_id TEXT REFERENCES sfc_port_pair_group(id), ord INTEGER NOT NULL DEFAULT 0, UNIQUE (ingress, egress));
CREATE INDEX sfc_port_pair_egress ON sfc_port_pair (egress);
CREATE INDEX sfc_port_pair_in_group ON sfc_port_pair (group_id, ord);
CREATE TABLE sfc_port_pair_group (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, port_pair_group_parameters TEXT NOT NULL DEFAULT '{}', tap_enabled INTEGER NOT NULL DEFAULT 0, on_failure TEXT NOT NULL DEFAULT 'drop' CHECK (on_failure IN ('drop', 'bypass')), serial INTEGER NOT NULL DEFAULT 0);
CREATE TABLE sfc_flow_classifier (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, ethertype TEXT NOT NULL DEFAULT 'IPv4', protocol TEXT, source_port_range_min INTEGER, source_port_range_max INTEGER, destination_port_range_min INTEGER, destination_port_range_max INTEGER, source_ip_prefix TEXT, destination_ip_prefix TEXT, logical_source_port TEXT REFERENCES port(id), logical_destination_port TEXT REFERENCES port(id), l7_parameters TEXT NOT NULL DEFAULT '{}', chain_id TEXT REFERENCES sfc_port_chain(id), ord INTEGER NOT NULL DEFAULT 0);
CREATE TABLE sfc_port_chain (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, chain_serial INTEGER NOT NULL UNIQUE, chain_parameters TEXT NOT NULL DEFAULT '{}', mode TEXT NOT NULL DEFAULT 'move' CHECK (mode IN ('move', 'keep')), change_id TEXT, node_id TEXT REFERENCES node(id), status TEXT, seen_version INTEGER NOT NULL DEFAULT 0);
CREATE TABLE sfc_chain_group (chain_id TEXT NOT NULL REFERENCES sfc_port_chain(id) ON DELETE CASCADE, ord INTEGER NOT NULL, group_id TEXT NOT NULL REFERENCES sfc_port_pair_group(id), PRIMARY KEY (chain_id, ord)) WITHOUT ROWID;
CREATE INDEX sfc_chain_group_group ON sfc_chain_group (group_id);
-- One row per change of a chain; the node's report completes it.
CREATE TABLE chain_change (id TEXT PRIMARY KEY, chain_id TEXT NOT NULL, project_id TEXT NOT NULL, what TEXT NOT NULL, mode TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'pending', reason TEXT NOT NULL DEFAULT '', requested_us INTEGER NOT NULL, confirmed_us INTEGER, flipped_us INTEGER, build_us INTEGER, flows_moved INTEGER, flows_kept INTEGER, flows_draining INTEGER, path INTEGER, hops TEXT NOT NULL DEFAULT '[]');
CREATE INDEX chain_change_chain ON chain_change (chain_id, requested_us);

-- sites and nodes
CREATE TABLE site (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL DEFAULT '', location TEXT NOT NULL DEFAULT '', created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE TABLE node (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, site_id TEXT NOT NULL REFERENCES site(id), enabled INTEGER NOT NULL DEFAULT 1, revoked INTEGER NOT NULL DEFAULT 0, cert_serial TEXT, cert_expires_us INTEGER, intent_revision INTEGER NOT NULL DEFAULT 0, acked_revision INTEGER NOT NULL DEFAULT 0, report_seq INTEGER NOT NULL DEFAULT 0, release TEXT NOT NULL DEFAULT '', features TEXT NOT NULL DEFAULT '[]', inventory TEXT NOT NULL DEFAULT '{}', boot_id TEXT, last_seen_us INTEGER, address TEXT, status TEXT NOT NULL DEFAULT '{}', created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL);
CREATE TABLE enrol_token (id TEXT PRIMARY KEY, site_id TEXT NOT NULL REFERENCES site(id) ON DELETE CASCADE, node_name TEXT NOT NULL, secret_sha256 TEXT NOT NULL UNIQUE, expires_us INTEGER NOT NULL, used_us INTEGER, node_id TEXT, csr_sha256 TEXT, created_us INTEGER NOT NULL);
-- What each node is to hold, encoded (proto Object body). Written in the transaction of the API change that caused it.
CREATE TABLE intent_object (node_id TEXT NOT NULL REFERENCES node(id) ON DELETE CASCADE, kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL, PRIMARY KEY (node_id, kind, id)) WITHOUT ROWID;
CREATE INDEX intent_object_version ON intent_object (node_id, version);
CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, time_us INTEGER NOT NULL, node_id TEXT, site_id TEXT, project_id TEXT, kind TEXT NOT NULL, severity TEXT NOT NULL, resource TEXT NOT NULL DEFAULT '', text TEXT NOT NULL);
