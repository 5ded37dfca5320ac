/* SPDX-License-Identifier: Apache-2.0 */
/* Create, patch, delete, tags and actions. Source: Glance API reference, "Images"; RFC 6902. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/types.h"
#include "hub/compute/input.h"
#include "hub/hub.h"
#include "hub/image/image.h"

#define PATCH_OPS_MAX 256
#define IMAGES_PER_PROJECT_MAX 10000

/* ---- create ---- */

static int read_create(struct req *r, struct image_edit *edit, struct err *e)
{
	const char *name;
	json_t *value;

	if (!json_is_object(r->body))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "The request body must be a JSON object.");
	json_object_foreach(r->body, name, value) {
		/* What clients send for "not set". */
		if (json_is_null(value) && strcmp(name, "name") != 0)
			continue;
		if (image_edit_set(r, edit, name, value, true, e) < 0)
			return -e->num;
	}
	return image_edit_check(edit, true, e);
}

static int choose_id(struct req *r, const struct image_edit *edit, const char **ret, struct err *e)
{
	const char *given = json_str(edit->base, "id");
	char buf[UUID_STR_SIZE];
	int64_t there;
	int rc;

	if (!given) {
		*ret = arena_strdup(r->arena, uuid_format(uuid_random(), buf));
		return *ret ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	}
	if (input_uuid(r->arena, "id", given, ret, e) < 0)
		return -e->num;
	rc = db_get_int(r->db, &there, e, "SELECT 1 FROM image WHERE id = ?", "s", *ret);
	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "id", "Image ID %s already exists!", *ret);
	return rc;
}

static json_t *tags_of(const struct image_edit *edit)
{
	json_t *out = json_array(), *tag, *other;
	size_t i, k;

	json_array_foreach(json_object_get(edit->base, "tags"), i, tag) {
		bool repeated = false;

		json_array_foreach(out, k, other)
			repeated |= json_equal(tag, other);
		if (!repeated)
			json_array_append(out, tag);
	}
	return out;
}

static int insert(struct req *r, const struct image_edit *edit, const char *id, struct err *e)
{
	const char *owner = json_str(edit->base, "owner"), *vis = json_str(edit->base, "visibility");
	CLEANUP(json_freep) json_t *tags = tags_of(edit);
	int64_t now = clock_wall_us();
	int rc;

	owner = owner ? owner : r->auth.project_id;
	if (!owner)
		return err_set(e, FAULT_FORBIDDEN, NULL, "A project scoped token is needed.");
	rc = db_exec(r->db, e,
		     "INSERT INTO image (id, name, project_id, visibility, disk_format, "
		     "container_format, min_disk, min_ram, protected, os_hidden, tags, properties, "
		     "created_us, updated_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		     "ssssssiibbjjii", id, json_str(edit->base, "name"), owner, vis ? vis : "shared",
		     json_str(edit->base, "disk_format"), json_str(edit->base, "container_format"),
		     json_int(edit->base, "min_disk", 0), json_int(edit->base, "min_ram", 0),
		     (int)json_bool(edit->base, "protected", false),
		     (int)json_bool(edit->base, "os_hidden", false), tags, edit->properties, now, now);
	return rc < 0 ? rc : 0;
}

static int activate_native(struct req *r, const char *id, struct err *e)
{
	int rc = db_exec(r->db, e,
			 "UPDATE image SET status = 'active', size = 0 WHERE id = ? AND status = 'queued'",
			 "s", id);

	return MIN_OF(rc, 0);
}

static int check_quota(struct req *r, struct err *e)
{
	int64_t n = 0;
	int rc = db_get_int(r->db, &n, e, "SELECT COUNT(*) FROM image WHERE project_id = ?", "s",
			    r->auth.project_id);

	if (rc >= 0 && n >= IMAGES_PER_PROJECT_MAX)
		return err_set(e, FAULT_QUOTA, NULL, "The project has its %d images: delete one first.",
			       IMAGES_PER_PROJECT_MAX);
	return MIN_OF(rc, 0);
}

int image_create(struct req *r, struct err *e)
{
	CLEANUP(image_edit_done) struct image_edit edit = { json_object(), json_object() };
	const char *id;
	int rc = read_create(r, &edit, e);

	if (rc == 0)
		rc = check_quota(r, e);
	if (rc == 0)
		rc = choose_id(r, &edit, &id, e);
	if (rc == 0)
		rc = insert(r, &edit, id, e);
	if (rc == 0 && image_edit_is_native(&edit))
		rc = activate_native(r, id, e);
	if (rc < 0)
		return rc;
	http_reply_header(r->http, &r->out, "Location",
			  arena_printf(r->arena, "%s/image/v2/images/%s", req_base_url(r), id));
	return image_reply(r, id, e);
}

/* ---- patch ---- */

/* "/name" with "~1" for '/' and "~0" for '~' (RFC 6901); only one level. */
static int pointer_name(struct req *r, const char *path, const char **ret, struct err *e)
{
	char *out, *p;

	if (path[0] != '/' || strchr(path + 1, '/'))
		return err_set(e, FAULT_BAD_REQUEST, "path",
			       "Invalid JSON pointer for this resource: '%.64s'", path);
	out = p = arena_strdup(r->arena, path + 1);
	if (!out)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (const char *s = out; *s; s++) {
		if (*s != '~') {
			*p++ = *s;
			continue;
		}
		s++;
		if (*s != '0' && *s != '1')
			return err_set(e, FAULT_BAD_REQUEST, "path",
				       "Pointer `%.64s` contains \"~\" not part of a recognized escape "
				       "sequence.",
				       path);
		*p++ = *s == '0' ? '~' : '/';
	}
	*p = '\0';
	*ret = out;
	return 0;
}

/* 2.1: {"op": "add", "path": …}; 2.0: {"add": path}. */
static int op_of(const json_t *change, const char **ret_op, const char **ret_path, struct err *e)
{
	static const char *const ops[] = { "add", "replace", "remove" };
	const char *op = json_str(change, "op");

	*ret_path = json_str(change, "path");
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		if (!op && json_str(change, ops[i])) {
			*ret_op = ops[i];
			*ret_path = json_str(change, ops[i]);
			return 0;
		}
		if (op && *ret_path && strcmp(op, ops[i]) == 0) {
			*ret_op = op;
			return 0;
		}
	}
	return err_set(e, FAULT_BAD_REQUEST, "op",
		       "Operations must be JSON objects with a path and one of add, replace, remove.");
}

static int apply_one(struct req *r, struct image_edit *edit, const json_t *change, struct err *e)
{
	const char *op = NULL, *path = NULL, *name = NULL;
	const json_t *value = json_object_get(change, "value");

	if (op_of(change, &op, &path, e) < 0 || pointer_name(r, path, &name, e) < 0)
		return -e->num;
	if (strcmp(op, "remove") == 0)
		return image_edit_remove(edit, name, e);
	if (!value)
		return err_set(e, FAULT_BAD_REQUEST, "value",
			       "Operation \"%s\" requires a member named \"value\".", op);
	if (strcmp(op, "replace") == 0 && !image_edit_has(edit, name))
		return err_set(e, FAULT_CONFLICT, name, "Property %.64s does not exist.", name);
	return image_edit_set(r, edit, name, value, false, e);
}

static int apply(struct req *r, struct image_edit *edit, struct err *e)
{
	struct str type = http_header(r->http, "content-type"), rest;
	const json_t *change;
	size_t i;

	type = str_trim(str_cut(type, ';', &rest));
	if (!str_eq_nocase(type, STR("application/openstack-images-v2.1-json-patch")) &&
	    !str_eq_nocase(type, STR("application/openstack-images-v2.0-json-patch")))
		return err_set(e, FAULT_MEDIA_TYPE, NULL,
			       "Send application/openstack-images-v2.1-json-patch.");
	if (!json_is_array(r->body) || json_array_size(r->body) > PATCH_OPS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "Request body must be a JSON array of operation objects.");
	json_array_foreach(r->body, i, change)
		if (apply_one(r, edit, change, e) < 0)
			return -e->num;
	return image_edit_check(edit, false, e);
}

/* Formats are part of the data once there is data. */
static int check_formats(const struct image *old, const struct image_edit *edit, struct err *e)
{
	static const char *const names[] = { "disk_format", "container_format" };
	const char *const was[] = { old->disk_format, old->container_format };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *now = json_str(edit->base, names[i]);

		if (strcmp(old->status, "queued") != 0 &&
		    strcmp(now ? now : "", was[i] ? was[i] : "") != 0)
			return err_set(e, FAULT_FORBIDDEN, names[i],
				       "Attribute %s can be only replaced for a queued image.",
				       names[i]);
	}
	return 0;
}

static int save(struct req *r, const struct image *old, const struct image_edit *edit, struct err *e)
{
	CLEANUP(json_freep) json_t *tags = tags_of(edit);
	int rc = db_exec(r->db, e,
			 "UPDATE image SET name = ?, project_id = ?, visibility = ?, disk_format = ?, "
			 "container_format = ?, min_disk = ?, min_ram = ?, protected = ?, "
			 "os_hidden = ?, tags = ?, properties = ?, updated_us = ? WHERE id = ?",
			 "sssssiibbjjis", json_str(edit->base, "name"), json_str(edit->base, "owner"),
			 json_str(edit->base, "visibility"), json_str(edit->base, "disk_format"),
			 json_str(edit->base, "container_format"),
			 json_int(edit->base, "min_disk", 0), json_int(edit->base, "min_ram", 0),
			 (int)json_bool(edit->base, "protected", false),
			 (int)json_bool(edit->base, "os_hidden", false), tags, edit->properties,
			 clock_wall_us(), old->id);

	return rc < 0 ? rc : 0;
}

/* Probe and restart policy of running functions may come from the image. */
static int touch_users(struct req *r, const char *image_id, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT DISTINCT node_id FROM server WHERE image_id = ? AND node_id IS NOT "
			  "NULL",
			  "s", image_id);

	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		req_touch_node(r, db_text(q, 0));
		rc = 0;
	}
	return rc;
}

int image_patch(struct req *r, struct err *e)
{
	CLEANUP(image_edit_done) struct image_edit edit = { NULL, NULL };
	struct image old;
	int rc = image_need(r, true, &old, e);

	if (rc < 0)
		return rc;
	edit.base = image_view(&old);
	if (json_parse(str_of(old.properties), &edit.properties, e) < 0)
		return -e->num;
	rc = apply(r, &edit, e);
	if (rc == 0)
		rc = check_formats(&old, &edit, e);
	if (rc == 0)
		rc = save(r, &old, &edit, e);
	if (rc == 0 && image_edit_is_native(&edit))
		rc = activate_native(r, old.id, e);
	if (rc == 0)
		rc = touch_users(r, old.id, e);
	return rc < 0 ? rc : image_reply(r, old.id, e);
}

/* ---- delete ---- */

static void unlink_file(struct hub *h, void *arg)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", h->image_dir, (const char *)arg);
	unlink(path);
}

/* A node may still have to fetch the image of a server that is there. */
static int check_unused(struct req *r, const char *id, struct err *e)
{
	const char *server;
	int rc = db_get_text(r->db, r->arena, &server, e,
			     "SELECT name || ' (' || id || ')' FROM server WHERE image_id = ? LIMIT 1",
			     "s", id);

	if (rc > 0)
		return err_set(e, FAULT_IN_USE, NULL,
			       "Image %s could not be deleted because it is in use: server %.256s runs "
			       "it.",
			       id, server);
	return rc;
}

int image_delete(struct req *r, struct err *e)
{
	struct image i;
	int rc = image_need(r, true, &i, e);

	if (rc < 0)
		return rc;
	if (i.protected_)
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "Image %s is protected and cannot be deleted.", i.id);
	rc = check_unused(r, i.id, e);
	if (rc == 0)
		rc = db_exec(r->db, e, "DELETE FROM image WHERE id = ?", "s", i.id);
	if (rc >= 0 && req_after_commit(r, unlink_file, (void *)i.id) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	return MIN_OF(rc, 0);
}

/* ---- actions and tags ---- */

static int set_status(struct req *r, const char *from, const char *to, struct err *e)
{
	struct image i;
	int rc = image_need(r, true, &i, e);

	if (rc < 0 || strcmp(i.status, to) == 0)
		return rc;
	if (strcmp(i.status, from) != 0)
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "Not allowed to change the status of an image from '%s' to '%s'.",
			       i.status, to);
	rc = db_exec(r->db, e, "UPDATE image SET status = ?, updated_us = ? WHERE id = ?", "sis",
		     to, clock_wall_us(), i.id);
	return MIN_OF(rc, 0);
}

int image_deactivate(struct req *r, struct err *e)
{
	return set_status(r, "active", "deactivated", e);
}

int image_reactivate(struct req *r, struct err *e)
{
	return set_status(r, "deactivated", "active", e);
}

static int save_tags(struct req *r, const struct image *i, const json_t *tags, struct err *e)
{
	int rc = db_exec(r->db, e, "UPDATE image SET tags = ?, updated_us = ? WHERE id = ?", "jis",
			 tags, clock_wall_us(), i->id);

	return MIN_OF(rc, 0);
}

static ssize_t tag_index(const json_t *tags, const char *tag)
{
	for (size_t i = 0; i < json_array_size(tags); i++)
		if (strcmp(json_string_value(json_array_get(tags, i)), tag) == 0)
			return (ssize_t)i;
	return -1;
}

int image_tag_put(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *tags = NULL;
	const char *tag = req_param(r, "tag");
	struct image i;
	int rc = image_need(r, true, &i, e);

	if (rc < 0 || json_parse(str_of(i.tags), &tags, e) < 0)
		return -e->num;
	if (strlen(tag) > IMAGE_TAG_SIZE)
		return err_set(e, FAULT_BAD_REQUEST, "tag", "A tag has at most %d bytes",
			       IMAGE_TAG_SIZE);
	if (tag_index(tags, tag) >= 0)
		return 0;
	if (json_array_size(tags) >= IMAGE_TAGS_MAX)
		return err_set(e, FAULT_TOO_LARGE, "tag",
			       "The limit has been exceeded on the number of allowed image tags. "
			       "Attempted: %zu, Maximum: %d",
			       json_array_size(tags) + 1, IMAGE_TAGS_MAX);
	json_array_append_new(tags, json_string(tag));
	return save_tags(r, &i, tags, e);
}

int image_tag_delete(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *tags = NULL;
	struct image i;
	ssize_t at;
	int rc = image_need(r, true, &i, e);

	if (rc < 0 || json_parse(str_of(i.tags), &tags, e) < 0)
		return -e->num;
	at = tag_index(tags, req_param(r, "tag"));
	if (at < 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "Tag %.64s not found on image %s.",
			       req_param(r, "tag"), i.id);
	json_array_remove(tags, (size_t)at);
	return save_tags(r, &i, tags, e);
}
