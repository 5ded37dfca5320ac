-- SPDX-License-Identifier: Apache-2.0
-- Certificates of nodes. cert_*: the one in use; cert_next_*: issued and not yet used. cert_ca: hex SHA-256 of the CA that signed it, NULL: the
-- first one. cert_renew_us: from when on it is to be renewed; cert_offer_us: when the node is asked next.
ALTER TABLE node ADD COLUMN cert_ca TEXT;
ALTER TABLE node ADD COLUMN cert_renew_us INTEGER;
ALTER TABLE node ADD COLUMN cert_offer_us INTEGER;
UPDATE node SET cert_renew_us = 0, cert_offer_us = 0;
ALTER TABLE node ADD COLUMN cert_next_serial TEXT;
ALTER TABLE node ADD COLUMN cert_next_expires_us INTEGER;
ALTER TABLE node ADD COLUMN cert_next_renew_us INTEGER;
ALTER TABLE node ADD COLUMN cert_next_ca TEXT;
CREATE INDEX node_cert_offer ON node (cert_offer_us);
-- Node ids and serial numbers that are refused in the handshake, until no certificate that they name can be valid.
CREATE TABLE cert_refused (name TEXT PRIMARY KEY, until_us INTEGER NOT NULL);
-- A token is good for uses_max certificates, or for the node that it names to come back.
ALTER TABLE enrol_token ADD COLUMN uses_max INTEGER NOT NULL DEFAULT 1;
ALTER TABLE enrol_token ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE enrol_token ADD COLUMN for_node_id TEXT;
UPDATE enrol_token SET uses = 1 WHERE used_us IS NOT NULL;
CREATE TABLE enrol_use (token_id TEXT NOT NULL REFERENCES enrol_token(id) ON DELETE CASCADE, csr_sha256 TEXT NOT NULL, node_id TEXT NOT NULL, used_us INTEGER NOT NULL, PRIMARY KEY (token_id, csr_sha256));
INSERT INTO enrol_use SELECT id, csr_sha256, node_id, used_us FROM enrol_token WHERE used_us IS NOT NULL AND csr_sha256 IS NOT NULL AND node_id IS NOT NULL;
