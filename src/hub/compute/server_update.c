/* SPDX-License-Identifier: Apache-2.0 */
/* PUT /servers/{id}, metadata and tags. Source: Nova API reference, "Update Server", "Servers metadata", "Server tags". */
#include "hub/compute/server_update.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/compute/input.h"
#include "hub/compute/server.h"

static const struct input_key update_keys[] = {
	{ "name" }, { "OS-DCF:diskConfig" }, { "description", 19 }, { "hostname", 90 }, { NULL },
};

static int read_update(struct req *r, struct server *s, struct err *e)
{
	json_t *body;

	if (input_body(r, "server", &body, e) < 0 ||
	    input_only(body, "server", update_keys, r->micro, e) < 0 ||
	    input_str(body, "name", 1, 255, &s->name, e) < 0 ||
	    input_str_null(body, "description", 255, &s->description, e) < 0 ||
	    server_check_hostname(body, &s->hostname, e) < 0)
		return -e->num;
	if (str_trim(str_of(s->name)).len == 0)
		return input_bad(e, "name", json_object_get(body, "name"),
				 "A name has at least one character that is not a space");
	return 0;
}

int server_update(struct req *r, struct err *e)
{
	struct server s;
	json_t *view;
	int rc = server_need(r, &s, e);

	if (rc == 0)
		rc = read_update(r, &s, e);
	if (rc == 0)
		rc = db_exec(r->db, e,
			     "UPDATE server SET name = ?, description = ?, hostname = ? WHERE id = ?",
			     "ssss", s.name, s.description, s.hostname, s.id);
	if (rc < 0 || server_touch(r, &s, e) < 0 || server_need(r, &s, e) < 0)
		return -e->num;
	rc = server_view(r, &s, &view, e);
	if (rc == 0)
		req_reply(r, json_pack("{s:o}", "server", view));
	return rc;
}

/* ---- metadata ---- */

static int meta_need(struct req *r, struct server *s, json_t **ret, struct err *e)
{
	int rc = server_need(r, s, e);

	return rc < 0 ? rc : json_parse(str_of(s->metadata), ret, e);
}

static int meta_save(struct req *r, const struct server *s, const json_t *meta, struct err *e)
{
	int rc = server_check_metadata(meta, e);

	if (rc == 0)
		rc = db_exec(r->db, e, "UPDATE server SET metadata = ? WHERE id = ?", "js", meta, s->id);
	return rc < 0 ? rc : server_touch(r, s, e);
}

static int meta_missing(struct err *e)
{
	return err_set(e, FAULT_NOT_FOUND, NULL, "Metadata item was not found");
}

int server_meta_list(struct req *r, struct err *e)
{
	struct server s;
	json_t *meta;
	int rc = meta_need(r, &s, &meta, e);

	if (rc == 0)
		req_reply(r, json_pack("{s:o}", "metadata", meta));
	return rc;
}

/* POST adds to what is there, PUT puts the body in its place. */
static int meta_write(struct req *r, bool replace, struct err *e)
{
	CLEANUP(json_freep) json_t *meta = NULL;
	struct server s;
	json_t *body;
	int rc = meta_need(r, &s, &meta, e);

	if (rc == 0)
		rc = input_body(r, "metadata", &body, e);
	if (rc < 0)
		return rc;
	if (replace)
		json_object_clear(meta);
	json_object_update(meta, body);
	req_reply(r, json_pack("{s:O}", "metadata", meta));
	return meta_save(r, &s, meta, e);
}

int server_meta_add(struct req *r, struct err *e)
{
	return meta_write(r, false, e);
}

int server_meta_replace(struct req *r, struct err *e)
{
	return meta_write(r, true, e);
}

int server_meta_show(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *meta = NULL;
	const char *key = req_param(r, "key");
	struct server s;
	int rc = meta_need(r, &s, &meta, e);

	if (rc < 0)
		return rc;
	if (!json_object_get(meta, key))
		return meta_missing(e);
	req_reply(r, json_pack("{s:{s:O}}", "meta", key, json_object_get(meta, key)));
	return 0;
}

int server_meta_set(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *meta = NULL;
	struct server s;
	json_t *body;
	int rc = meta_need(r, &s, &meta, e);

	if (rc == 0)
		rc = input_body(r, "meta", &body, e);
	if (rc < 0)
		return rc;
	if (json_object_size(body) != 1 || !json_object_get(body, req_param(r, "key")))
		return err_set(e, FAULT_BAD_REQUEST, "meta", "Request body and URI mismatch");
	json_object_update(meta, body);
	req_reply(r, json_pack("{s:O}", "meta", body));
	return meta_save(r, &s, meta, e);
}

int server_meta_delete(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *meta = NULL;
	struct server s;
	int rc = meta_need(r, &s, &meta, e);

	if (rc < 0)
		return rc;
	if (json_object_del(meta, req_param(r, "key")) < 0)
		return meta_missing(e);
	return meta_save(r, &s, meta, e);
}

/* ---- tags (2.26) ---- */

static int tags_need(struct req *r, struct server *s, json_t **ret, struct err *e)
{
	int rc;

	if (r->micro < 26)
		return err_set(e, FAULT_NOT_FOUND, NULL, "The resource could not be found.");
	rc = server_need(r, s, e);
	return rc < 0 ? rc : json_parse(str_of(s->tags), ret, e);
}

static int tags_save(struct req *r, const struct server *s, const json_t *tags, struct err *e)
{
	int rc = input_tags(tags, "tags", SERVER_TAG_SIZE, SERVER_TAGS_MAX, e);

	if (rc == 0)
		rc = db_exec(r->db, e, "UPDATE server SET tags = ?, updated_us = ? WHERE id = ?",
			     "jis", tags, clock_wall_us(), s->id);
	return rc < 0 ? rc : 0;
}

static ssize_t tag_index(const json_t *tags, const char *tag)
{
	for (size_t i = 0; i < json_array_size(tags); i++)
		if (strcmp(json_string_value(json_array_get(tags, i)), tag) == 0)
			return (ssize_t)i;
	return -1;
}

static int tag_missing(struct req *r, const struct server *s, struct err *e)
{
	return err_set(e, FAULT_NOT_FOUND, NULL, "Server %s has no tag '%.60s'", s->id,
		       req_param(r, "tag"));
}

int server_tags_list(struct req *r, struct err *e)
{
	struct server s;
	json_t *tags;
	int rc = tags_need(r, &s, &tags, e);

	if (rc == 0)
		req_reply(r, json_pack("{s:o}", "tags", tags));
	return rc;
}

int server_tags_replace(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *old = NULL;
	struct server s;
	json_t *tags;
	int rc = tags_need(r, &s, &old, e);

	if (rc < 0)
		return rc;
	tags = json_object_get(r->body, "tags");
	if (!tags || json_object_size(r->body) != 1)
		return err_set(e, FAULT_BAD_REQUEST, "tags",
			       "Invalid input for field/attribute body. 'tags' is a required "
			       "property");
	rc = tags_save(r, &s, tags, e);
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "tags", tags));
	return rc;
}

int server_tags_clear(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *tags = NULL;
	struct server s;
	int rc = tags_need(r, &s, &tags, e);

	if (rc < 0)
		return rc;
	json_array_clear(tags);
	return tags_save(r, &s, tags, e);
}

int server_tag_show(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *tags = NULL;
	struct server s;
	int rc = tags_need(r, &s, &tags, e);

	if (rc == 0 && tag_index(tags, req_param(r, "tag")) < 0)
		return tag_missing(r, &s, e);
	return rc;
}

int server_tag_put(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *tags = NULL;
	struct server s;
	int rc = tags_need(r, &s, &tags, e);

	if (rc < 0 || tag_index(tags, req_param(r, "tag")) >= 0)
		return rc;
	json_array_append_new(tags, json_string(req_param(r, "tag")));
	r->status = 201;
	return tags_save(r, &s, tags, e);
}

int server_tag_delete(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *tags = NULL;
	struct server s;
	ssize_t i;
	int rc = tags_need(r, &s, &tags, e);

	if (rc < 0)
		return rc;
	i = tag_index(tags, req_param(r, "tag"));
	if (i < 0)
		return tag_missing(r, &s, e);
	json_array_remove(tags, (size_t)i);
	return tags_save(r, &s, tags, e);
}
