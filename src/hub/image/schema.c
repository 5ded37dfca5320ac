/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas and service information. Source: Glance API reference, "Image Schemas". */
#include <string.h>

#include "base/json.h"
#include "hub/compute/input.h"
#include "hub/image/image.h"

enum kind { TEXT, TEXT_NULL, COUNT, COUNT_NULL, FLAG, TIME, TAGS, CHOICE };

static const struct row {
	const char *name;
	enum kind kind;
	bool read_only;
	const char *description;
	const char *const *choices;
} rows[] = {
	{ "id", TEXT, false, "An identifier for the image" },
	{ "name", TEXT_NULL, false, "Descriptive name for the image" },
	{ "status", TEXT, true, "Status of the image" },
	{ "visibility", CHOICE, false, "Scope of image accessibility", image_visibilities },
	{ "protected", FLAG, false, "If true, image will not be deletable." },
	{ "os_hidden", FLAG, false, "If true, image will not appear in default image list." },
	{ "checksum", TEXT_NULL, true, "md5 hash of image contents." },
	{ "os_hash_algo", TEXT_NULL, true, "Algorithm to calculate the os_hash_value" },
	{ "os_hash_value", TEXT_NULL, true, "Hexdigest of the image contents" },
	{ "owner", TEXT_NULL, false, "Owner of the image" },
	{ "size", COUNT_NULL, true, "Size of image file in bytes" },
	{ "virtual_size", COUNT_NULL, true, "Virtual size of image in bytes" },
	{ "container_format", CHOICE, false, "Format of the container", image_container_formats },
	{ "disk_format", CHOICE, false, "Format of the disk", image_disk_formats },
	{ "created_at", TIME, true, "Date and time of image registration" },
	{ "updated_at", TIME, true, "Date and time of the last image modification" },
	{ "tags", TAGS, false, "List of strings related to the image" },
	{ "min_ram", COUNT, false, "Amount of ram (in MB) required to boot image." },
	{ "min_disk", COUNT, false, "Amount of disk space (in GB) required to boot image." },
	{ "self", TEXT, true, "An image self url" },
	{ "file", TEXT, true, "An image file url" },
	{ "schema", TEXT, true, "An image schema url" },
};

static json_t *choices_of(const struct row *row)
{
	json_t *list = json_array();

	if (row->choices != image_visibilities)
		json_array_append_new(list, json_null());
	for (const char *const *c = row->choices; *c; c++)
		json_array_append_new(list, json_string(*c));
	return list;
}

static json_t *type_of(const struct row *row)
{
	switch (row->kind) {
	case TEXT:
	case TIME:
		return json_pack("{s:s}", "type", "string");
	case TEXT_NULL:
		return json_pack("{s:[s, s], s:i}", "type", "null", "string", "maxLength",
				 IMAGE_NAME_MAX);
	case COUNT:
		return json_pack("{s:s}", "type", "integer");
	case COUNT_NULL:
		return json_pack("{s:[s, s]}", "type", "null", "integer");
	case FLAG:
		return json_pack("{s:s}", "type", "boolean");
	case TAGS:
		return json_pack("{s:s, s:{s:s, s:i}}", "type", "array", "items", "type", "string",
				 "maxLength", IMAGE_TAG_SIZE);
	case CHOICE:
		return json_pack("{s:[s, s], s:o}", "type", "null", "string", "enum", choices_of(row));
	}
	return json_object();
}

static json_t *image_of(void)
{
	json_t *properties = json_object();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *one = type_of(&rows[i]);

		put_str(one, "description", rows[i].description);
		if (rows[i].read_only)
			put_bool(one, "readOnly", true);
		json_object_set_new(properties, rows[i].name, one);
	}
	return json_pack("{s:s, s:o, s:{s:s}, s:[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]}", "name",
			 "image", "properties", properties, "additionalProperties", "type",
			 "string", "links", "rel", "self", "href", "{self}", "rel", "enclosure",
			 "href", "{file}", "rel", "describedby", "href", "{schema}");
}

static json_t *member_of(void)
{
	return json_pack("{s:s, s:{s:{s:s}, s:{s:s}, s:{s:s, s:[s, s, s]}, s:{s:s}, s:{s:s}, s:{s:s}}}",
			 "name", "member", "properties", "member_id", "type", "string", "image_id",
			 "type", "string", "status", "type", "string", "enum", "pending",
			 "accepted", "rejected", "created_at", "type", "string", "updated_at",
			 "type", "string", "schema", "type", "string");
}

static json_t *list_of(const char *name, json_t *item)
{
	return json_pack("{s:s, s:{s:{s:s, s:o}, s:{s:s}, s:{s:s}, s:{s:s}}}", "name", name,
			 "properties", name, "type", "array", "items", item, "schema", "type",
			 "string", "first", "type", "string", "next", "type", "string");
}

int image_schema(struct req *r, struct err *e)
{
	const char *name = req_param(r, "name");

	if (strcmp(name, "image") == 0)
		req_reply(r, image_of());
	else if (strcmp(name, "images") == 0)
		req_reply(r, list_of("images", image_of()));
	else if (strcmp(name, "member") == 0)
		req_reply(r, member_of());
	else if (strcmp(name, "members") == 0)
		req_reply(r, list_of("members", member_of()));
	else
		return err_set(e, FAULT_NOT_FOUND, NULL, "The resource could not be found.");
	return 0;
}

/* One store, and no other way in than the upload. */
int image_stores(struct req *r, struct err *e)
{
	return err_set(e, FAULT_NOT_FOUND, NULL, "Multi backend is not supported at this site.");
}

int image_import_info(struct req *r, struct err *e)
{
	req_reply(r, json_pack("{s:{s:s, s:s, s:[]}}", "import-methods", "description",
			       "Import methods available.", "type", "array", "value"));
	return 0;
}
