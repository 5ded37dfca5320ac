-- SPDX-License-Identifier: Apache-2.0
-- Who else may use a shared image or a private flavor.
CREATE TABLE image_member (image_id TEXT NOT NULL REFERENCES image(id) ON DELETE CASCADE, member_id TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'accepted', 'rejected')), created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, PRIMARY KEY (image_id, member_id)) WITHOUT ROWID;
CREATE INDEX image_member_member ON image_member (member_id);
CREATE TABLE flavor_access (flavor_id TEXT NOT NULL REFERENCES flavor(id) ON DELETE CASCADE, project_id TEXT NOT NULL, PRIMARY KEY (flavor_id, project_id)) WITHOUT ROWID;
