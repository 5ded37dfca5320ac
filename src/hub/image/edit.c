/* SPDX-License-Identifier: Apache-2.0 */
/* What may be written into an image's row, one attribute at a time: for create and for JSON patches alike. */
#include <string.h>

#include "base/json.h"
#include "base/types.h"
#include "hub/compute/input.h"
#include "hub/compute/probe.h"
#include "hub/image/image.h"

void image_edit_done(struct image_edit *edit)
{
	json_decref(edit->base);
	json_decref(edit->properties);
}

static int bad(struct err *e, const char *name, const json_t *v, const char *why)
{
	CLEANUP(free_charp) char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

	return err_set(e, FAULT_BAD_REQUEST, name,
		       "Provided object does not match schema 'image': %.80s %s. Failed validating "
		       "attribute '%.64s'",
		       text ? text : "", why, name);
}

/* ---- one check for each kind of attribute ---- */

typedef int (*check_fn)(struct req *r, const char *name, const json_t *v,
			const char *const *choices, struct err *e);

static int check_text(struct req *r, const char *name, const json_t *v, const char *const *choices,
		      struct err *e)
{
	if (json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return bad(e, name, v, "is not of type 'null', 'string'");
	if (json_string_length(v) > IMAGE_NAME_MAX)
		return bad(e, name, v, "is too long");
	return 0;
}

static int check_choice(struct req *r, const char *name, const json_t *v,
			const char *const *choices, struct err *e)
{
	if (json_is_null(v) && choices != image_visibilities)
		return 0;
	for (const char *const *c = choices; json_is_string(v) && *c; c++)
		if (strcmp(*c, json_string_value(v)) == 0)
			return 0;
	return bad(e, name, v, "is not one of the supported values");
}

static int check_visibility(struct req *r, const char *name, const json_t *v,
			    const char *const *choices, struct err *e)
{
	int rc = check_choice(r, name, v, image_visibilities, e);

	if (rc < 0)
		return rc;
	if (strcmp(json_string_value(v), "public") == 0 && !r->auth.is_admin)
		return err_set(e, FAULT_FORBIDDEN, name,
			       "You are not authorized to complete publicize_image action.");
	return 0;
}

static int check_count(struct req *r, const char *name, const json_t *v, const char *const *choices,
		       struct err *e)
{
	if (!json_is_integer(v))
		return bad(e, name, v, "is not of type 'integer'");
	if (json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
		return bad(e, name, v, "is less than the minimum of 0 or greater than 2147483647");
	return 0;
}

static int check_flag(struct req *r, const char *name, const json_t *v, const char *const *choices,
		      struct err *e)
{
	return json_is_boolean(v) ? 0 : bad(e, name, v, "is not of type 'boolean'");
}

static int check_tags(struct req *r, const char *name, const json_t *v, const char *const *choices,
		      struct err *e)
{
	const json_t *tag;
	size_t i;

	if (!json_is_array(v))
		return bad(e, name, v, "is not of type 'array'");
	if (json_array_size(v) > IMAGE_TAGS_MAX)
		return err_set(e, FAULT_TOO_LARGE, name,
			       "The limit has been exceeded on the number of allowed image tags. "
			       "Attempted: %zu, Maximum: %d",
			       json_array_size(v), IMAGE_TAGS_MAX);
	json_array_foreach(v, i, tag)
		if (!json_is_string(tag) || json_string_length(tag) > IMAGE_TAG_SIZE)
			return bad(e, name, tag, "is not a string of at most 255 bytes");
	return 0;
}

static int check_owner(struct req *r, const char *name, const json_t *v, const char *const *choices,
		       struct err *e)
{
	const char *id = json_string_value(v);

	if (!id || strlen(id) > IMAGE_NAME_MAX)
		return bad(e, name, v, "is not of type 'string'");
	if (!r->auth.is_admin && strcmp(id, r->auth.project_id ? r->auth.project_id : "") != 0)
		return err_set(e, FAULT_FORBIDDEN, name,
			       "You are not permitted to create images owned by '%.64s'.", id);
	return 0;
}

static int check_id(struct req *r, const char *name, const json_t *v, const char *const *choices,
		    struct err *e)
{
	if (!json_is_string(v) || !input_is_uuid(json_string_value(v)))
		return bad(e, name, v, "does not match the pattern of a UUID");
	return 0;
}

/* Base attributes a request may write; every other word of Glance's own is read-only or reserved. */
static const struct base_attr {
	const char *name;
	check_fn check; /* NULL: never written by a request */
	const char *const *choices;
	bool create_only;
} base_attrs[] = {
	{ "id", check_id, .create_only = true },
	{ "name", check_text },
	{ "visibility", check_visibility },
	{ "disk_format", check_choice, image_disk_formats },
	{ "container_format", check_choice, image_container_formats },
	{ "min_disk", check_count },
	{ "min_ram", check_count },
	{ "protected", check_flag },
	{ "os_hidden", check_flag },
	{ "tags", check_tags },
	{ "owner", check_owner },
	{ "status" },
	{ "size" },
	{ "virtual_size" },
	{ "checksum" },
	{ "os_hash_algo" },
	{ "os_hash_value" },
	{ "created_at" },
	{ "updated_at" },
	{ "self" },
	{ "file" },
	{ "schema" },
	{ "direct_url" },
	{ "locations" },
	{ "stores" },
};

static const struct base_attr *base_attr_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(base_attrs); i++)
		if (strcmp(base_attrs[i].name, name) == 0)
			return &base_attrs[i];
	return NULL;
}

static int property_set(struct image_edit *edit, const char *name, const json_t *v, struct err *e)
{
	if (!*name || strlen(name) > IMAGE_PROPERTY_KEY_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "properties",
			       "A property's name must have 1 to %d bytes", IMAGE_PROPERTY_KEY_MAX);
	if (!json_is_string(v))
		return bad(e, name, v, "is not of type 'string'");
	if (json_string_length(v) > IMAGE_PROPERTY_VALUE_MAX)
		return err_set(e, FAULT_TOO_LARGE, name, "The property '%.64s' is longer than %d bytes",
			       name, IMAGE_PROPERTY_VALUE_MAX);
	json_object_set(edit->properties, name, (json_t *)v);
	if (json_object_size(edit->properties) > IMAGE_PROPERTIES_MAX)
		return err_set(e, FAULT_TOO_LARGE, "properties",
			       "The limit has been exceeded on the number of allowed image "
			       "properties. Attempted: %zu, Maximum: %d",
			       json_object_size(edit->properties), IMAGE_PROPERTIES_MAX);
	return 0;
}

int image_edit_set(struct req *r, struct image_edit *edit, const char *name, const json_t *value,
		   bool creating, struct err *e)
{
	const struct base_attr *a = base_attr_find(name);
	int rc;

	if (!a && strncmp(name, "os_glance", 9) == 0)
		return err_set(e, FAULT_FORBIDDEN, name, "Attribute '%.64s' is reserved.", name);
	if (!a)
		return property_set(edit, name, value, e);
	if (!a->check || (a->create_only && !creating))
		return err_set(e, FAULT_FORBIDDEN, name, "Attribute '%s' is read-only.", name);
	rc = a->check(r, name, value, a->choices, e);
	if (rc == 0)
		json_object_set(edit->base, name, (json_t *)value);
	return rc;
}

bool image_edit_has(const struct image_edit *edit, const char *name)
{
	return base_attr_find(name) || json_object_get(edit->properties, name);
}

int image_edit_remove(struct image_edit *edit, const char *name, struct err *e)
{
	if (base_attr_find(name))
		return err_set(e, FAULT_FORBIDDEN, name, "Property %s may not be removed.", name);
	if (json_object_del(edit->properties, name) < 0)
		return err_set(e, FAULT_CONFLICT, name, "Property %.64s does not exist.", name);
	return 0;
}

bool image_edit_is_native(const struct image_edit *edit)
{
	const char *container = json_str(edit->base, "container_format");

	return container && strcmp(container, "native") == 0;
}

/*
 * A native function is a stage of the datapath: its image has a kind and no file. Clients that know only some container
 * formats say so by the kind alone.
 */
static int check_native(const struct image_edit *edit, bool creating, struct err *e)
{
	static const char *const kinds[] = { "acl", "firewall", "policer", "mirror" };
	const char *kind = json_str(edit->properties, "native_kind");

	if (!kind && !image_edit_is_native(edit))
		return 0;
	for (size_t i = 0; kind && i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i], kind) == 0) {
			if (creating)
				put_str(edit->base, "container_format", "native");
			return 0;
		}
	return err_set(e, FAULT_BAD_REQUEST, "native_kind",
		       "An image of container format 'native' needs a property native_kind: acl, "
		       "firewall, policer or mirror; not '%.64s'.",
		       kind ? kind : "");
}

/* What only the whole can tell. */
int image_edit_check(const struct image_edit *edit, bool creating, struct err *e)
{
	const char *container = json_str(edit->base, "container_format");
	const char *disk = json_str(edit->base, "disk_format");

	if (check_native(edit, creating, e) < 0)
		return -e->num;
	if (container && strcmp(container, "docker") == 0 && disk && strcmp(disk, "raw") != 0)
		return err_set(e, FAULT_BAD_REQUEST, "disk_format",
			       "Container format 'docker' needs disk format 'raw'.");
	return probe_check(edit->properties, e);
}
