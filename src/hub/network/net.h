/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_NET_H
#define DEMARC_HUB_NETWORK_NET_H

/* What the files of the network API share: ownership, revisions, page queries, touched nodes. Worker threads. */

#include "hub/network/fault.h"
#include "hub/rest.h"

/* Attributes that all Neutron resources have; the framework keeps the last three rows. */
#define NET_ATTR_ID                                                                                \
	{                                                                                          \
		"id", "id", ATTR_UUID, ATTR_FILTER | ATTR_SORT                                     \
	}
#define NET_ATTR_NAME                                                                              \
	{                                                                                          \
		"name", "name", ATTR_STR, ATTR_RW | ATTR_FILTER | ATTR_SORT, .dflt = "\"\""        \
	}
#define NET_ATTR_DESCRIPTION                                                                       \
	{                                                                                          \
		"description", "description", ATTR_STR, ATTR_RW | ATTR_FILTER, .dflt = "\"\""      \
	}
#define NET_ATTR_PROJECT                                                                           \
	{                                                                                          \
		"project_id", "project_id", ATTR_STR, ATTR_CREATE | ATTR_FILTER | ATTR_SORT,       \
			.alias = "tenant_id"                                                       \
	}
#define NET_ATTR_TAGS                                                                              \
	{                                                                                          \
		"tags", "tags", ATTR_LIST, 0                                                       \
	}
#define NET_ATTR_REVISION                                                                          \
	{                                                                                          \
		"revision_number", "revision_number", ATTR_INT, ATTR_FILTER                        \
	}
#define NET_ATTR_TIMES                                                                             \
	{ "created_at", "created_us", ATTR_TIME_S, ATTR_SORT },                                    \
	{                                                                                          \
		"updated_at", "updated_us", ATTR_TIME_S, ATTR_SORT                                 \
	}

/* check_update and deleting: the row is the caller's, or the caller is admin. rule: "update_network". */
WARN_UNUSED int net_own(struct req *r, const json_t *row, const char *rule, struct err *e);
/* If-Match "revision_number=N" against the row's. Source: Neutron API, "Revisions". */
WARN_UNUSED int net_if_match(struct req *r, const json_t *row, struct err *e);
/* Filter "tags": all of a comma-separated list are there. Source: Neutron API, "Filtering by tags". */
#define NET_TAGS_SQL(table)                                                                                                    \
	"(SELECT count(DISTINCT t.value) = length(v) - length(replace(v, ',', '')) + 1 FROM (SELECT ? AS v), json_each(" table \
	".tags) t WHERE instr(',' || v || ',', ',' || t.value || ','))"

/* Both: what every check_update and deleting begins with. */
WARN_UNUSED int net_begin(struct req *r, const json_t *row, const char *rule, struct err *e);

/* ["id", …] of a page, for "IN (SELECT value FROM json_each(?))". New reference. */
json_t *net_ids(const json_t *rows);
/* Rows of a page by id, for expand_page hooks that join one query's answer to them. */
struct net_page {
	const json_t *rows;
	json_t *by_id; /* id -> row, borrowed rows */
};
WARN_UNUSED int net_page_begin(struct net_page *p, json_t *rows, struct err *e);
void net_page_done(struct net_page *p);
json_t *net_page_row(const struct net_page *p, const char *id); /* borrowed; NULL: not of this page */

void net_touch(void *req, const char *node_id); /* req_touch_node as a callback */
WARN_UNUSED int net_touch_network(struct req *r, const char *network_id, struct err *e);
/* The nodes that hold the group's rules. */
WARN_UNUSED int net_touch_group(struct req *r, const char *group_id, struct err *e);
/* The nodes of groups that have a rule naming the group as remote: its member addresses changed. */
WARN_UNUSED int net_touch_remote(struct req *r, const char *group_id, struct err *e);

/* Strings that say what is wrong with JSON input, in Neutron's words. */
const char *net_json_text(struct req *r, const json_t *j); /* compact text in the arena */

#endif
