/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_IMAGE_IMAGE_H
#define DEMARC_HUB_IMAGE_IMAGE_H

/*
 * Images. A row says what an image is; its bytes are the file <image_dir>/<id>, written to a temporary file, synced and
 * renamed before the row says "active". A file without such a row is an orphan that the next start removes.
 *
 * Status: queued -> saving -> active -> deactivated; a failed upload goes back to queued.
 */

#include <stdint.h>

#include "hub/rest.h"

#define IMAGE_NAME_MAX 255 /* bytes */
#define IMAGE_PROPERTIES_MAX 128
#define IMAGE_PROPERTY_KEY_MAX 255
#define IMAGE_PROPERTY_VALUE_MAX 65536
#define IMAGE_TAGS_MAX 128
#define IMAGE_TAG_SIZE 255
#define IMAGE_SIZE_MAX (1ull << 40) /* bytes; Glance: image_size_cap */

struct image {
	const char *id, *name, *project_id, *status, *visibility, *checksum, *os_hash_algo;
	const char *os_hash_value, *disk_format, *container_format, *tags, *properties;
	int64_t size, virtual_size, min_disk, min_ram, created_us, updated_us; /* sizes < 0: null */
	bool protected_, os_hidden;
};

#define IMAGE_SELECT                                                                               \
	"SELECT i.id, i.name, i.project_id, i.status, i.visibility, i.checksum, i.os_hash_algo, "  \
	"i.os_hash_value, i.disk_format, i.container_format, i.tags, i.properties, "               \
	"COALESCE(i.size, -1), COALESCE(i.virtual_size, -1), i.min_disk, i.min_ram, "              \
	"i.created_us, i.updated_us, i.protected, i.os_hidden FROM image i"

/* Borrows from the row of an IMAGE_SELECT. */
void image_of_row(struct db_rows *q, struct image *ret);
/* 1: found and visible to the caller, strings in the arena; 0: not. */
WARN_UNUSED int image_find(struct req *r, const char *id, struct image *ret, struct err *e);
/* NOT_FOUND "No image found with ID …" unless visible; with `change`, FORBIDDEN unless owner or admin. */
WARN_UNUSED int image_need(struct req *r, bool change, struct image *ret, struct err *e);
/* As Glance shows it. */
json_t *image_view(const struct image *i);
WARN_UNUSED int image_reply(struct req *r, const char *id, struct err *e);

/*
 * The bytes of an active image, for a node that asks for chunks. Also of a deactivated one: functions that are
 * already placed keep running. NOT_FOUND when there is no such image or it has no data. The caller closes *ret_fd. Any
 * thread that owns db; no transaction needed.
 */
struct hub;
WARN_UNUSED int image_open(struct hub *h, struct db *db, const char *image_id, int *ret_fd,
			   uint64_t *ret_size, struct err *e);

/* ---- handlers and checks inside this folder ---- */

/* Attributes and properties as one row; read from a create body, or changed by a patch. */
struct image_edit {
	json_t *base;	    /* attribute -> value, of base attributes */
	json_t *properties; /* name -> string */
};
WARN_UNUSED int image_edit_set(struct req *r, struct image_edit *edit, const char *name,
			       const json_t *value, bool creating, struct err *e);
WARN_UNUSED int image_edit_remove(struct image_edit *edit, const char *name, struct err *e);
bool image_edit_has(const struct image_edit *edit, const char *name);
void image_edit_done(struct image_edit *edit);
WARN_UNUSED int image_edit_check(const struct image_edit *edit, bool creating, struct err *e);
/* Complete as it is: there is no file to wait for. */
bool image_edit_is_native(const struct image_edit *edit);

int image_list(struct req *r, struct err *e);
int image_show(struct req *r, struct err *e);
int image_create(struct req *r, struct err *e);
int image_patch(struct req *r, struct err *e);
int image_delete(struct req *r, struct err *e);
int image_deactivate(struct req *r, struct err *e);
int image_reactivate(struct req *r, struct err *e);
int image_tag_put(struct req *r, struct err *e);
int image_tag_delete(struct req *r, struct err *e);
int image_members(struct req *r, struct err *e);
int image_member_show(struct req *r, struct err *e);
int image_member_add(struct req *r, struct err *e);
int image_member_set(struct req *r, struct err *e);
int image_member_remove(struct req *r, struct err *e);
int image_upload(struct req *r, struct err *e);
int image_download(struct req *r, struct err *e);
int image_schema(struct req *r, struct err *e);
int image_stores(struct req *r, struct err *e);
int image_import_info(struct req *r, struct err *e);
/* At every start: half-done uploads go back to queued, files without an image are removed. */
WARN_UNUSED int image_bootstrap(struct hub *h, struct db *db, struct err *e);

extern const char *const image_disk_formats[], *const image_container_formats[], *const image_visibilities[];

#endif
