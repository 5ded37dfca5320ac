-- SPDX-License-Identifier: Apache-2.0
-- What a port guards beyond port security: hosts behind it, connections toward it, transfers that its control connections announce.

ALTER TABLE port ADD COLUMN guards TEXT NOT NULL DEFAULT '[]';
ALTER TABLE port ADD COLUMN helpers TEXT NOT NULL DEFAULT '[]';
ALTER TABLE port ADD COLUMN storm_pps INTEGER NOT NULL DEFAULT 0;
ALTER TABLE port ADD COLUMN connection_limits TEXT NOT NULL DEFAULT '{}';
