-- SPDX-License-Identifier: Apache-2.0
-- Networks of a tunnel type reach from node to node: each node with a VTEP has the MACs behind the others in its intent.

ALTER TABLE node ADD COLUMN vtep TEXT; -- address on the node's underlay; NULL: no tunnels
CREATE UNIQUE INDEX network_tunnel ON network (network_type, segmentation_id) WHERE network_type IN ('vxlan', 'gre', 'geneve');
CREATE VIEW overlay_network AS SELECT id FROM network WHERE network_type IN ('vxlan', 'gre', 'geneve');
-- Networks whose ends have changed in this transaction: every node on them is compiled again before it commits, and the row goes. Whatever
-- changes a port or a node, nobody has to remember that other nodes know of it.
CREATE TABLE overlay_changed (network_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TRIGGER overlay_port_new AFTER INSERT ON port WHEN NEW.node_id IS NOT NULL BEGIN
  INSERT OR IGNORE INTO overlay_changed SELECT id FROM overlay_network WHERE id = NEW.network_id; END;
CREATE TRIGGER overlay_port_gone AFTER DELETE ON port WHEN OLD.node_id IS NOT NULL BEGIN
  INSERT OR IGNORE INTO overlay_changed SELECT id FROM overlay_network WHERE id = OLD.network_id; END;
CREATE TRIGGER overlay_port_moved AFTER UPDATE OF node_id, network_id, mac_address ON port
  WHEN OLD.node_id IS NOT NEW.node_id OR OLD.network_id <> NEW.network_id OR OLD.mac_address <> NEW.mac_address BEGIN
  INSERT OR IGNORE INTO overlay_changed SELECT id FROM overlay_network WHERE id IN (OLD.network_id, NEW.network_id); END;
CREATE TRIGGER overlay_vtep AFTER UPDATE OF vtep ON node WHEN OLD.vtep IS NOT NEW.vtep BEGIN
  INSERT OR IGNORE INTO overlay_changed SELECT DISTINCT p.network_id FROM port p JOIN overlay_network n ON n.id = p.network_id
    WHERE p.node_id = NEW.id; END;
