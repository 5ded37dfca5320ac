-- SPDX-License-Identifier: Apache-2.0
-- Who else is at a site is asked for each image that a node wants.

CREATE INDEX node_site ON node (site_id);
