/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/tags.h"

#include "base/json.h"
#include "hub/network/net.h"

#define TAGS_MAX 50	/* Neutron's limit */
#define TAG_SIZE_MAX 60 /* characters of Neutron; bytes here */

static int load(struct req *r, const char *rule, json_t **ret, struct err *e)
{
	int rc = rest_need(r, r->route->resource, req_param(r, "id"), ret, e);

	if (rc == 0 && rule)
		rc = net_own(r, *ret, rule, e);
	return rc;
}

static int store(struct req *r, const json_t *tags, struct err *e)
{
	const char *sql = arena_printf(
		r->arena, "UPDATE %s SET tags = ?, revision_number = revision_number + 1 WHERE id = ?",
		r->route->resource->table);
	int rc = sql ? db_exec(r->db, e, sql, "js", tags, req_param(r, "id")) :
		       err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");

	return rc < 0 ? rc : 0;
}

/* Where the tag stands, or -1. */
static ssize_t position(const json_t *tags, const char *tag)
{
	json_t *item;
	size_t i;

	json_array_foreach(tags, i, item)
		if (strcmp(json_string_value(item), tag) == 0)
			return (ssize_t)i;
	return -1;
}

static int check_tag(struct req *r, const json_t *v, struct err *e)
{
	size_t size = json_string_length(v);

	if (json_is_string(v) && size > 0 && size <= TAG_SIZE_MAX && !strchr(json_string_value(v), ','))
		return 0;
	return neutron_err(e, NEUTRON_INVALID_INPUT, "tags",
			   arena_printf(r->arena, "'%.80s' is not a tag of 1 to 60 characters without ','",
					net_json_text(r, v)));
}

int tags_list(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL;
	int rc = load(r, NULL, &row, e);

	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "tags", json_object_get(row, "tags")));
	return rc;
}

int tags_replace(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL, *tags = json_array();
	json_t *list = NULL, *item;
	size_t i;
	int rc = json_need_list(r->body, "tags", &list, e);

	if (rc == 0)
		rc = load(r, "update_tags", &row, e);
	json_array_foreach(list, i, item) {
		if (rc == 0)
			rc = check_tag(r, item, e);
		if (rc == 0 && position(tags, json_string_value(item)) < 0)
			(void)json_array_append(tags, item);
	}
	if (rc == 0 && json_array_size(tags) > TAGS_MAX)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "tags", "a resource has at most 50 tags");
	if (rc == 0)
		rc = store(r, tags, e);
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "tags", tags));
	return rc;
}

int tags_clear(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL, *none = json_array();
	int rc = load(r, "delete_tags", &row, e);

	return rc < 0 ? rc : store(r, none, e);
}

int tag_show(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL;
	const char *tag = req_param(r, "tag");
	int rc = load(r, NULL, &row, e);

	if (rc == 0 && position(json_object_get(row, "tags"), tag) < 0)
		return neutron_err(e, NEUTRON_TAG_NOT_FOUND, NULL, tag);
	return rc;
}

int tag_add(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL, *tag = json_string(req_param(r, "tag"));
	json_t *tags;
	int rc = check_tag(r, tag, e);

	if (rc == 0)
		rc = load(r, "update_tags", &row, e);
	if (rc < 0)
		return rc;
	tags = json_object_get(row, "tags");
	if (position(tags, json_string_value(tag)) >= 0)
		return 0;
	if (json_array_size(tags) >= TAGS_MAX)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "tags", "a resource has at most 50 tags");
	(void)json_array_append(tags, tag);
	return store(r, tags, e);
}

int tag_remove(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL;
	const char *tag = req_param(r, "tag");
	json_t *tags;
	ssize_t at;
	int rc = load(r, "delete_tags", &row, e);

	if (rc < 0)
		return rc;
	tags = json_object_get(row, "tags");
	at = position(tags, tag);
	if (at < 0)
		return neutron_err(e, NEUTRON_TAG_NOT_FOUND, NULL, tag);
	(void)json_array_remove(tags, (size_t)at);
	return store(r, tags, e);
}
