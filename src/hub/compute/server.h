/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_SERVER_H
#define DEMARC_HUB_COMPUTE_SERVER_H

/*
 * A server's row, with the names of its node and site, and how clients see it.
 *
 * Columns with JSON: `flavor` is the flavor as it was at create (id, original_name, vcpus, ram, disk, ephemeral, swap,
 * extra_specs), so that a later change or deletion of the flavor leaves the server alone; `metadata` an object of
 * strings; `tags` a list of strings; `fault` {"code", "message", "created" in microseconds}.
 */

#include "hub/rest.h"

#define SERVER_META_MAX 128	   /* items; Nova's quota metadata_items */
#define SERVER_TAGS_MAX 50	   /* Nova: MAX_TAG_COUNT */
#define SERVER_TAG_SIZE 60	   /* bytes; Nova: MAX_TAG_LENGTH */
#define SERVER_USER_DATA_MAX 65535 /* bytes of base64 text; Nova: MAX_USERDATA_SIZE */
#define SERVER_VIFS_MAX 64

/* Strings are borrowed from the running query, or live in the request's arena: see who filled it. */
struct server {
	const char *id, *name, *hostname, *project_id, *user_id, *image_id, *flavor, *key_name;
	const char *metadata, *tags, *user_data, *availability_zone, *description, *node_id;
	const char *power, *vm_state, *task_state, *fault, *node_name, *site_name;
	bool config_drive;
	int64_t reboot_generation, power_state, created_us, updated_us, launched_us;
};

/* The query whose columns server_of_row() reads; add WHERE and ORDER BY. The server is `s`. */
#define SERVER_SELECT                                                                              \
	"SELECT s.id, s.name, s.hostname, s.project_id, s.user_id, s.image_id, s.flavor, "         \
	"s.key_name, s.metadata, s.tags, s.user_data, s.availability_zone, s.description, "        \
	"s.node_id, s.power, s.vm_state, s.task_state, s.fault, n.name, z.name, s.config_drive, "  \
	"s.reboot_generation, s.power_state, s.created_us, s.updated_us, s.launched_us "           \
	"FROM server s LEFT JOIN node n ON n.id = s.node_id LEFT JOIN site z ON z.id = n.site_id "

/* Borrows from the row. */
void server_of_row(struct db_rows *q, struct server *ret);
/* The server of the path parameter {id} (or of `id`), as far as the caller may see it; in the arena. NOT_FOUND otherwise. */
WARN_UNUSED int server_need(struct req *r, struct server *ret, struct err *e);
WARN_UNUSED int server_need_id(struct req *r, const char *id, struct server *ret, struct err *e);

const char *server_status(const struct server *s); /* "ACTIVE", "BUILD" … */
/* id, name and links: the brief list's form. */
json_t *server_brief(struct req *r, const struct server *s);
/* Everything the microversion shows to this caller. */
WARN_UNUSED int server_view(struct req *r, const struct server *s, json_t **ret, struct err *e);
/* {"net": [{"addr", "version", …}]} */
WARN_UNUSED int server_addresses(struct req *r, const char *server_id, json_t **ret, struct err *e);
json_t *server_links(struct req *r, const char *collection, const char *id);
/* Sets updated_us now and touches the node, when there is one. */
WARN_UNUSED int server_touch(struct req *r, const struct server *s, struct err *e);
/* IN_USE "Cannot '<what>' instance … while it is in vm_state …". */
WARN_UNUSED int server_state_conflict(const struct server *s, const char *what, struct err *e);

/* Checks shared by create and update. */
WARN_UNUSED int server_check_hostname(const json_t *body, const char **ret, struct err *e);
WARN_UNUSED int server_check_metadata(const json_t *metadata, struct err *e);

int server_list(struct req *r, struct err *e);
int server_list_detail(struct req *r, struct err *e);
int server_show(struct req *r, struct err *e);
int server_create(struct req *r, struct err *e);
int server_update(struct req *r, struct err *e);
int server_delete(struct req *r, struct err *e);
int server_action(struct req *r, struct err *e);
int server_ips(struct req *r, struct err *e);
int server_ips_of_network(struct req *r, struct err *e);
int server_groups_of_server(struct req *r, struct err *e);

#endif
