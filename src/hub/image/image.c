/* SPDX-License-Identifier: Apache-2.0 */
/* image v2: routes, policy, rows and how they are shown. Source: Glance API reference, "Images". */
#include "hub/image/image.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "hub/compute/input.h"

const char *const image_disk_formats[] = { "raw", "qcow2", "aki", "ari", NULL };
const char *const image_container_formats[] = { "bare", "docker", "native", NULL };
const char *const image_visibilities[] = { "public", "private", "shared", "community", NULL };

void image_of_row(struct db_rows *q, struct image *ret)
{
	const char **const text[] = {
		&ret->id,	    &ret->name,
		&ret->project_id,   &ret->status,
		&ret->visibility,   &ret->checksum,
		&ret->os_hash_algo, &ret->os_hash_value,
		&ret->disk_format,  &ret->container_format,
		&ret->tags,	    &ret->properties,
	};
	int col = 0;

	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		*text[i] = db_text(q, col++);
	ret->size = db_int(q, col++);
	ret->virtual_size = db_int(q, col++);
	ret->min_disk = db_int(q, col++);
	ret->min_ram = db_int(q, col++);
	ret->created_us = db_int(q, col++);
	ret->updated_us = db_int(q, col++);
	ret->protected_ = db_int(q, col++);
	ret->os_hidden = db_int(q, col++);
}

static void to_arena(struct arena *a, struct image *i)
{
	const char **const text[] = {
		&i->id,		  &i->name,
		&i->project_id,	  &i->status,
		&i->visibility,	  &i->checksum,
		&i->os_hash_algo, &i->os_hash_value,
		&i->disk_format,  &i->container_format,
		&i->tags,	  &i->properties,
	};

	for (size_t k = 0; k < ARRAY_LEN(text); k++)
		*text[k] = arena_strdup(a, *text[k]);
}

static bool owned(const struct req *r, const struct image *i)
{
	return r->auth.is_admin ||
	       (r->auth.project_id && strcmp(i->project_id, r->auth.project_id) == 0);
}

/* 1 or 0. A shared image is there for its members, whether they accepted it or not. */
static int visible(struct req *r, const struct image *i, struct err *e)
{
	int64_t there;

	if (owned(r, i) || strcmp(i->visibility, "public") == 0 ||
	    strcmp(i->visibility, "community") == 0)
		return 1;
	if (strcmp(i->visibility, "shared") != 0 || !r->auth.project_id)
		return 0;
	return db_get_int(r->db, &there, e,
			  "SELECT 1 FROM image_member WHERE image_id = ? AND member_id = ?", "ss",
			  i->id, r->auth.project_id);
}

int image_find(struct req *r, const char *id, struct image *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e, IMAGE_SELECT " WHERE i.id = ?", "s", id);

	if (rc == 0)
		rc = db_step(q, e);
	if (rc <= 0)
		return rc;
	image_of_row(q, ret);
	rc = visible(r, ret, e);
	if (rc <= 0)
		return rc;
	to_arena(r->arena, ret);
	return arena_failed(r->arena) ? err_set(e, FAULT_NO_MEMORY, NULL, "out of memory") : 1;
}

int image_need(struct req *r, bool change, struct image *ret, struct err *e)
{
	const char *id = req_param(r, "id");
	int rc = image_find(r, id, ret, e);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "No image found with ID %.64s", id);
	if (change && !owned(r, ret))
		return err_set(e, FAULT_FORBIDDEN, NULL, "You are not permitted to modify this image.");
	return 0;
}

static void put_size(json_t *v, const char *key, int64_t size)
{
	json_object_set_new(v, key, size < 0 ? json_null() : json_integer(size));
}

static json_t *parsed(const char *text, json_t *otherwise)
{
	json_t *j = NULL;

	if (!text || json_parse(str_of(text), &j, NULL) < 0)
		return otherwise;
	json_decref(otherwise);
	return j;
}

static void put_paths(json_t *v, const char *id)
{
	char path[128];

	snprintf(path, sizeof(path), "/v2/images/%s", id);
	put_str(v, "self", path);
	snprintf(path, sizeof(path), "/v2/images/%s/file", id);
	put_str(v, "file", path);
	put_str(v, "schema", "/v2/schemas/image");
}

json_t *image_view(const struct image *i)
{
	json_t *v = parsed(i->properties, json_object());

	put_str(v, "id", i->id);
	put_str(v, "name", i->name);
	put_str(v, "status", i->status);
	put_str(v, "visibility", i->visibility);
	put_str(v, "owner", i->project_id);
	put_str(v, "disk_format", i->disk_format);
	put_str(v, "container_format", i->container_format);
	put_size(v, "size", i->size);
	put_size(v, "virtual_size", i->virtual_size);
	put_str(v, "checksum", i->checksum);
	put_str(v, "os_hash_algo", i->os_hash_algo);
	put_str(v, "os_hash_value", i->os_hash_value);
	put_int(v, "min_disk", i->min_disk);
	put_int(v, "min_ram", i->min_ram);
	put_bool(v, "protected", i->protected_);
	put_bool(v, "os_hidden", i->os_hidden);
	json_object_set_new(v, "tags", parsed(i->tags, json_array()));
	put_time(v, "created_at", i->created_us);
	put_time(v, "updated_at", i->updated_us);
	put_paths(v, i->id);
	return v;
}

int image_reply(struct req *r, const char *id, struct err *e)
{
	struct image i;
	int rc = image_find(r, id, &i, e);

	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "No image found with ID %.64s", id);
	if (rc > 0)
		req_reply(r, image_view(&i));
	return MIN_OF(rc, 0);
}

int image_show(struct req *r, struct err *e)
{
	return image_reply(r, req_param(r, "id"), e);
}

/* ---- tables ---- */

static const struct attr attrs[] = {
	{ "id", "id", ATTR_UUID },
	{ "name", "name", ATTR_STR },
	{ "project_id", "project_id", ATTR_STR, .alias = "owner" },
	{ "status", "status", ATTR_STR },
	{ "visibility", "visibility", ATTR_STR },
	{ "size", "size", ATTR_INT },
	{ "disk_format", "disk_format", ATTR_STR },
	{ "container_format", "container_format", ATTR_STR },
	{ "os_hash_value", "os_hash_value", ATTR_STR },
	{ "properties", "properties", ATTR_OBJ },
	{ NULL },
};

/* Rows as other modules load them. */
const struct resource image_resource = {
	.service = "image",
	.singular = "image",
	.plural = "images",
	.table = "image",
	.policy = "image:image",
	.attrs = attrs,
	.visible_sql = "project_id = :project OR visibility IN ('public', 'community') OR "
		       "(visibility = 'shared' AND id IN (SELECT image_id FROM image_member WHERE "
		       "member_id = :project))",
	.not_found = "No image found with ID %s",
};

#define IMAGE .resource = &image_resource

static const struct route routes[] = {
	{ HTTP_GET, "/images", image_list, 200, "image:list", 0, IMAGE },
	{ HTTP_POST, "/images", image_create, 201, "image:create", 0, IMAGE },
	{ HTTP_GET, "/images/{id}", image_show, 200, "image:show", 0, IMAGE },
	{ HTTP_PATCH, "/images/{id}", image_patch, 200, "image:update", 0, IMAGE },
	{ HTTP_DELETE, "/images/{id}", image_delete, 204, "image:delete", 0, IMAGE },
	{ HTTP_PUT, "/images/{id}/file", image_upload, 204, "image:update", ROUTE_STREAM_IN, IMAGE },
	{ HTTP_GET, "/images/{id}/file", image_download, 200, "image:show", 0, IMAGE },
	{ HTTP_POST, "/images/{id}/actions/deactivate", image_deactivate, 204, "image:deactivate",
	  ROUTE_NO_BODY, IMAGE },
	{ HTTP_POST, "/images/{id}/actions/reactivate", image_reactivate, 204, "image:deactivate",
	  ROUTE_NO_BODY, IMAGE },
	{ HTTP_PUT, "/images/{id}/tags/{tag}", image_tag_put, 204, "image:update", ROUTE_NO_BODY, IMAGE },
	{ HTTP_DELETE, "/images/{id}/tags/{tag}", image_tag_delete, 204, "image:update", 0, IMAGE },
	{ HTTP_GET, "/images/{id}/members", image_members, 200, "image:show", 0, IMAGE },
	{ HTTP_POST, "/images/{id}/members", image_member_add, 200, "image:update", 0, IMAGE },
	{ HTTP_GET, "/images/{id}/members/{member}", image_member_show, 200, "image:show", 0, IMAGE },
	{ HTTP_PUT, "/images/{id}/members/{member}", image_member_set, 200, "image:update", 0, IMAGE },
	{ HTTP_DELETE, "/images/{id}/members/{member}", image_member_remove, 204, "image:update", 0,
	  IMAGE },
	{ HTTP_GET, "/schemas/{name}", image_schema, 200, "image:schema" },
	{ HTTP_GET, "/info/stores", image_stores, 200, "image:schema" },
	{ HTTP_GET, "/info/import", image_import_info, 200, "image:schema" },
	{ .path = NULL },
};

static const struct policy_rule policy[] = {
	{ "image:list", WHO_READER },	   { "image:show", WHO_READER },
	{ "image:schema", WHO_READER },	   { "image:*", WHO_MEMBER },
	{ "image:deactivate", WHO_ADMIN }, { NULL },
};

const struct module image_module = {
	.service = "image",
	.type = "image",
	.prefix = "/image/v2",
	.catalog_path = "/image",
	.routes = routes,
	.policy = policy,
	.bootstrap = image_bootstrap,
};
