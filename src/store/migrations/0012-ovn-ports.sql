-- SPDX-License-Identifier: Apache-2.0
-- Logical ports of OVN behind a remote VTEP: {mac_address, tunnel_key}.

ALTER TABLE remote_vtep ADD COLUMN ovn_ports TEXT NOT NULL DEFAULT '[]';
