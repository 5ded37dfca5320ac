-- SPDX-License-Identifier: Apache-2.0
-- Where the nodes of a site send flow records: a JSON list of "address:port", and the active timeout in seconds.
ALTER TABLE site ADD COLUMN ipfix_collectors TEXT NOT NULL DEFAULT '[]';
ALTER TABLE site ADD COLUMN ipfix_active_s INTEGER NOT NULL DEFAULT 60;
