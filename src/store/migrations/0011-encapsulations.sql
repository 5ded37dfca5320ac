-- SPDX-License-Identifier: Apache-2.0
-- All kinds of tunnels, pairs of VLAN tags, and ends of tunnels that are no nodes. A network with a number and without a NIC is an overlay,
-- whatever its type: a new type needs no migration.

ALTER TABLE network ADD COLUMN outer_segmentation_id INTEGER; -- of a VLAN network: the service tag around its tag
ALTER TABLE network ADD COLUMN nsh_path INTEGER; -- of vxlan-gpe, as the next two
ALTER TABLE network ADD COLUMN nsh_index INTEGER;
ALTER TABLE network ADD COLUMN nsh_md_type INTEGER;
DROP VIEW overlay_network;
CREATE VIEW overlay_network AS SELECT id FROM network WHERE physical_network IS NULL AND segmentation_id IS NOT NULL;
DROP INDEX network_tunnel;
CREATE UNIQUE INDEX network_tunnel ON network (network_type, segmentation_id) WHERE physical_network IS NULL;

-- What is not given is taken from the network when the end is made.
CREATE TABLE remote_vtep (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', project_id TEXT NOT NULL, network_id TEXT NOT NULL REFERENCES network(id) ON DELETE CASCADE, ip_address TEXT NOT NULL, tunnel_type TEXT NOT NULL, segmentation_id INTEGER NOT NULL, flood INTEGER NOT NULL DEFAULT 1, mac_addresses TEXT NOT NULL DEFAULT '[]', mpls_labels TEXT NOT NULL DEFAULT '[]', ovn_ingress_port INTEGER, ovn_egress_port INTEGER, revision_number INTEGER NOT NULL DEFAULT 1, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL,
  UNIQUE (network_id, ip_address), UNIQUE (ip_address, tunnel_type, segmentation_id));
CREATE TRIGGER overlay_remote_new AFTER INSERT ON remote_vtep BEGIN
  INSERT OR IGNORE INTO overlay_changed VALUES (NEW.network_id); END;
CREATE TRIGGER overlay_remote_gone AFTER DELETE ON remote_vtep BEGIN
  INSERT OR IGNORE INTO overlay_changed VALUES (OLD.network_id); END;
CREATE TRIGGER overlay_remote_other AFTER UPDATE ON remote_vtep BEGIN
  INSERT OR IGNORE INTO overlay_changed VALUES (NEW.network_id); END;
