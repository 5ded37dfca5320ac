/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/site/site.h"

#include "base/clock.h"
#include "base/json.h"
#include "model/endpoint.h"

#define COLLECTORS_MAX 4
#define IPFIX_PORT 4739

json_t *site_time(int64_t us)
{
	char text[TIME_STR_SIZE];

	return us ? json_string(time_format_us(us, text)) : json_null();
}

static const struct attr attrs[] = {
	{ "id", "id", ATTR_UUID, ATTR_FILTER | ATTR_SORT },
	{ "name", "name", ATTR_STR, ATTR_REQUIRED | ATTR_RW | ATTR_FILTER | ATTR_SORT, 1, 63 },
	{ "description", "description", ATTR_STR, ATTR_RW, .dflt = "\"\"" },
	{ "location", "location", ATTR_STR, ATTR_RW | ATTR_FILTER, .dflt = "\"\"" },
	{ "ipfix_collectors", "ipfix_collectors", ATTR_LIST, ATTR_RW, 0, COLLECTORS_MAX, .dflt = "[]" },
	{ "ipfix_active_s", "ipfix_active_s", ATTR_INT, ATTR_RW, 1, 3600, .dflt = "60" },
	{ "n_nodes", NULL, ATTR_ANY, 0 },
	{ "created_at", "created_us", ATTR_TIME_S, ATTR_SORT },
	{ "updated_at", "updated_us", ATTR_TIME_S, ATTR_SORT },
	{ 0 },
};

/* A site is an availability zone, and "zone:node" names a node in it: no ':' then, and names stay unique. */
static int check_name(struct req *r, const json_t *row, const char *id, struct err *e)
{
	const char *name = json_str(row, "name");
	int64_t one;
	int rc;

	if (!name)
		return 0;
	for (const char *c = name; *c; c++)
		if (*c == ':' || *c == '/' || (unsigned char)*c <= ' ')
			return err_set(e, FAULT_BAD_REQUEST, "name",
				       "A site's name has no spaces, ':' or '/'.");
	rc = db_get_int(r->db, &one, e, "SELECT 1 FROM site WHERE name = ? AND id <> ?", "ss", name, id);
	return rc > 0 ? err_set(e, FAULT_CONFLICT, "name", "A site named %s exists.", name) : rc;
}

static int check_collectors(const json_t *row, struct err *e)
{
	struct endpoint where;
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(row, "ipfix_collectors"), i, v) {
		const char *text = json_string_value(v);

		if (!text || endpoint_parse(str_of(text), IPFIX_PORT, &where) < 0)
			return err_set(e, FAULT_BAD_REQUEST, "ipfix_collectors",
				       "A collector is ADDRESS:PORT or [IPV6]:PORT, not '%.60s'.",
				       text ? text : "");
	}
	return 0;
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	int rc = check_collectors(row, e);

	return rc < 0 ? rc : check_name(r, row, "", e);
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	int rc = check_collectors(changes, e);

	return rc < 0 ? rc : check_name(r, changes, json_str(old, "id"), e);
}

/* Its nodes are told where to send their flow records. */
static int updated(struct req *r, const json_t *old, json_t *row, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e, "SELECT id FROM node WHERE site_id = ?", "s",
			  json_str(old, "id"));

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		req_touch_node(r, db_text(q, 0));
	return rc < 0 ? rc : 0;
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	int64_t n;
	int rc = db_get_int(r->db, &n, e, "SELECT count(*) FROM node WHERE site_id = ?", "s",
			    json_str(row, "id"));

	if (rc > 0 && n > 0)
		return err_set(e, FAULT_IN_USE, NULL, "Site %s has %lld node(s): delete them first.",
			       json_str(row, "name"), (long long)n);
	return rc < 0 ? rc : 0;
}

static int expand_page(struct req *r, json_t *rows, struct err *e)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		int64_t n = 0;
		int rc = db_get_int(r->db, &n, e, "SELECT count(*) FROM node WHERE site_id = ?",
				    "s", json_str(row, "id"));

		if (rc < 0)
			return rc;
		json_object_set_new(row, "n_nodes", json_integer(n));
	}
	return 0;
}

const struct resource site_resource = {
	.service = "demarc",
	.singular = "site",
	.plural = "sites",
	.table = "site",
	.policy = "demarc:site",
	.attrs = attrs,
	.dflt_sort = "name",
	.visible_sql = "1",
	.not_found = "Site %s could not be found.",
	.by_name = true,
	.check_create = check_create,
	.check_update = check_update,
	.updated = updated,
	.deleting = deleting,
	.expand_page = expand_page,
};
