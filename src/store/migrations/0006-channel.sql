-- SPDX-License-Identifier: Apache-2.0
-- What lets a node that comes back as it left be told so by one read: the digest of its intent with the revision it is of, and one of
-- all that its hello said.
ALTER TABLE node ADD COLUMN intent_digest TEXT NOT NULL DEFAULT '';
ALTER TABLE node ADD COLUMN digest_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN hello_digest TEXT NOT NULL DEFAULT '';
-- Nodes that have not acknowledged their newest intent are looked for every few seconds.
CREATE INDEX node_behind ON node (id) WHERE intent_revision > acked_revision;
