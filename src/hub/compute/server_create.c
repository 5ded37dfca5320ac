/* SPDX-License-Identifier: Apache-2.0 */
/* POST /servers. Source: Nova API reference, "Create Server". */
#include <ctype.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/types.h"
#include "hub/compute/flavor.h"
#include "hub/compute/input.h"
#include "hub/compute/probe.h"
#include "hub/compute/schedule.h"
#include "hub/compute/server.h"
#include "hub/compute/vif.h"
#include "hub/image/image.h"

#define SERVERS_PER_PROJECT_MAX 10000 /* quota "instances" */
#define ADMIN_PASS_SIZE 12

struct create {
	const char *name, *hostname, *image_id, *flavor_id, *key_name, *public_key, *user_data;
	const char *zone, *description, *admin_pass;
	json_t *metadata, *tags; /* borrowed from the body, or NULL */
	bool config_drive, reservation;
	int64_t min_count, max_count;
	struct flavor flavor;
	struct vif_want vifs[SERVER_VIFS_MAX];
	size_t n_vifs;
	json_t *group_ids;
	struct placement_want want;
};

static const struct input_key keys[] = {
	{ "name" },
	{ "imageRef" },
	{ "flavorRef" },
	{ "networks" },
	{ "security_groups" },
	{ "user_data" },
	{ "config_drive" },
	{ "metadata" },
	{ "key_name" },
	{ "availability_zone" },
	{ "min_count" },
	{ "max_count" },
	{ "adminPass" },
	{ "OS-DCF:diskConfig" },
	{ "block_device_mapping_v2" },
	{ "return_reservation_id" },
	{ "description", 19 },
	{ "tags", 52 },
	{ "hostname", 90 },
	{ NULL },
};

/* ---- reading ---- */

/* Nova: lower case, spaces and underscores to '-', what a host name may not have left out. */
static const char *hostname_of(struct arena *a, const char *name, const char *id)
{
	char *out = arena_alloc(a, 64), *p = out;

	if (!out)
		return NULL;
	for (; *name && p < out + 63; name++) {
		char c = (char)tolower((unsigned char)*name);

		if (c == ' ' || c == '_')
			c = '-';
		if (isascii(c) && (isalnum((unsigned char)c) || ((c == '-' || c == '.') && p > out)))
			*p++ = c;
	}
	while (p > out && (p[-1] == '-' || p[-1] == '.'))
		*--p = '\0';
	return *out ? out : arena_printf(a, "server-%s", id);
}

int server_check_hostname(const json_t *body, const char **ret, struct err *e)
{
	int rc = input_str(body, "hostname", 2, 63, ret, e);

	if (rc <= 0)
		return rc;
	for (const char *p = *ret; *p; p++)
		if (!isascii(*p) || !(isalnum((unsigned char)*p) || (*p == '-' && p > *ret && p[1])))
			return input_bad(e, "hostname", json_object_get(body, "hostname"),
					 "A host name has letters, digits and '-' inside");
	return 0;
}

static int read_user_data(struct req *r, const json_t *body, const char **ret, struct err *e)
{
	const char *text = NULL;
	unsigned char *out;
	char *packed, *p;
	int rc = input_str_null(body, "user_data", SERVER_USER_DATA_MAX, &text, e);

	if (rc < 0 || !text)
		return MIN_OF(rc, 0);
	packed = p = arena_alloc(r->arena, strlen(text) + 1);
	out = arena_alloc(r->arena, strlen(text) + 4);
	if (!packed || !out)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (; *text; text++)
		if (!strchr(" \t\r\n", *text))
			*p++ = *text;
	if ((p - packed) % 4 != 0 ||
	    EVP_DecodeBlock(out, (unsigned char *)packed, (int)(p - packed)) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "user_data",
			       "User data needs to be valid base 64.");
	*ret = packed;
	return 0;
}

int server_check_metadata(const json_t *metadata, struct err *e)
{
	if (input_strings(metadata, "metadata", 255, SERVER_META_MAX, e) < 0)
		return -e->num;
	return probe_check(metadata, e);
}

/* The only mapping that makes sense here: the image as root. */
static int read_block_devices(const json_t *body, const char **image, struct err *e)
{
	const json_t *list = json_object_get(body, "block_device_mapping_v2"), *one;
	const char *source, *target;

	if (!list || (json_is_array(list) && json_array_size(list) == 0))
		return 0;
	one = json_array_get(list, 0);
	source = json_str(one, "source_type");
	target = json_str(one, "destination_type");
	if (json_array_size(list) != 1 || !source || strcmp(source, "image") != 0 ||
	    (target && strcmp(target, "local") != 0))
		return err_set(e, FAULT_BAD_REQUEST, "block_device_mapping_v2",
			       "Block Device Mapping is Invalid: only the image as local root "
			       "device is supported.");
	if (!*image || !**image)
		*image = json_str(one, "uuid");
	return 0;
}

/* An id, or a URL that ends in one. */
static const char *last_segment(const char *ref)
{
	const char *slash = strrchr(ref, '/');

	return slash ? slash + 1 : ref;
}

static int read_texts(struct req *r, const json_t *b, struct create *c, struct err *e)
{
	if (input_need(b, "name", e) < 0 || input_need(b, "flavorRef", e) < 0 ||
	    input_str(b, "name", 1, 255, &c->name, e) < 0 ||
	    input_str_null(b, "imageRef", 255, &c->image_id, e) < 0 ||
	    input_str_null(b, "key_name", 255, &c->key_name, e) < 0 ||
	    input_str_null(b, "availability_zone", 255, &c->zone, e) < 0 ||
	    input_str_null(b, "description", 255, &c->description, e) < 0 ||
	    input_str(b, "adminPass", 0, 255, &c->admin_pass, e) < 0 ||
	    server_check_hostname(b, &c->hostname, e) < 0 || read_user_data(r, b, &c->user_data, e) < 0)
		return -e->num;
	if (str_trim(str_of(c->name)).len == 0)
		return input_bad(e, "name", json_object_get(b, "name"),
				 "A name has at least one character that is not a space");
	if (json_is_integer(json_object_get(b, "flavorRef"))) {
		c->flavor_id =
			arena_printf(r->arena, "%lld",
				     (long long)json_integer_value(json_object_get(b, "flavorRef")));
		return 0;
	}
	return MIN_OF(input_str(b, "flavorRef", 1, 255, &c->flavor_id, e), 0);
}

static int read_counts(const json_t *b, struct create *c, struct err *e)
{
	c->min_count = 1;
	if (input_int(b, "min_count", 1, 1000, &c->min_count, e) < 0)
		return -e->num;
	c->max_count = c->min_count;
	if (input_int(b, "max_count", 1, 1000, &c->max_count, e) < 0)
		return -e->num;
	if (c->min_count > c->max_count)
		return err_set(e, FAULT_BAD_REQUEST, "min_count", "min_count must be <= max_count");
	return 0;
}

static int read_body(struct req *r, struct create *c, struct err *e)
{
	const json_t *drive;
	json_t *b;

	if (input_body(r, "server", &b, e) < 0 || input_only(b, "server", keys, r->micro, e) < 0 ||
	    read_texts(r, b, c, e) < 0 || read_counts(b, c, e) < 0 ||
	    read_block_devices(b, &c->image_id, e) < 0 ||
	    input_bool(b, "return_reservation_id", &c->reservation, e) < 0)
		return -e->num;
	drive = json_object_get(b, "config_drive");
	if (json_is_string(drive) && json_string_length(drive) == 0)
		drive = NULL;
	if (drive && !json_is_null(drive) && input_bool(b, "config_drive", &c->config_drive, e) < 0)
		return -e->num;
	c->metadata = json_object_get(b, "metadata");
	c->tags = json_object_get(b, "tags");
	if ((c->metadata && server_check_metadata(c->metadata, e) < 0) ||
	    (c->tags && input_tags(c->tags, "tags", SERVER_TAG_SIZE, SERVER_TAGS_MAX, e) < 0))
		return -e->num;
	if (vif_groups(r, json_object_get(b, "security_groups"), &c->group_ids, e) < 0)
		return -e->num;
	return vif_read(r, b, c->vifs, &c->n_vifs, e);
}

/* ---- what it refers to ---- */

static int resolve_image(struct req *r, struct create *c, struct err *e)
{
	struct image img;
	int rc;

	if (!c->image_id || !*c->image_id)
		return err_set(e, FAULT_BAD_REQUEST, "imageRef", "Invalid imageRef provided.");
	if (input_uuid(r->arena, "imageRef", last_segment(c->image_id), &c->image_id, e) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "imageRef", "Invalid imageRef provided.");
	rc = image_find(r, c->image_id, &img, e);
	if (rc == 0)
		return err_set(e, FAULT_BAD_REQUEST, "imageRef", "Can not find requested image");
	if (rc < 0)
		return rc;
	if (strcmp(img.status, "active") != 0)
		return err_set(e, FAULT_BAD_REQUEST, "imageRef", "Image %s is not active.", img.id);
	if (img.min_ram > c->flavor.ram_mb)
		return err_set(e, FAULT_BAD_REQUEST, "flavorRef",
			       "Flavor's memory is too small for requested image.");
	if (c->flavor.disk_gb > 0 && img.min_disk > c->flavor.disk_gb)
		return err_set(e, FAULT_BAD_REQUEST, "flavorRef",
			       "The created instance's disk would be too small.");
	return 0;
}

static int resolve_key(struct req *r, struct create *c, struct err *e)
{
	int rc;

	if (!c->key_name)
		return 0;
	rc = db_get_text(r->db, r->arena, &c->public_key, e,
			 "SELECT public_key FROM keypair WHERE user_id = ? AND name = ?", "ss",
			 r->auth.user_id, c->key_name);
	if (rc == 0)
		return err_set(e, FAULT_BAD_REQUEST, "key_name", "Invalid key_name provided.");
	return MIN_OF(rc, 0);
}

/* All ports that are bound already must be bound to one node: that is where the server goes. */
static int resolve_bound(struct create *c, struct err *e)
{
	for (size_t i = 0; i < c->n_vifs; i++) {
		const char *node = c->vifs[i].node_id;

		if (node && c->want.bound_to && strcmp(node, c->want.bound_to) != 0)
			return err_set(e, FAULT_BAD_REQUEST, "networks",
				       "The given ports are bound to different nodes.");
		if (node)
			c->want.bound_to = node;
	}
	return 0;
}

static int check_quota(struct req *r, const struct create *c, struct err *e)
{
	int64_t n = 0;
	int rc = db_get_int(r->db, &n, e, "SELECT COUNT(*) FROM server WHERE project_id = ?", "s",
			    r->auth.project_id);

	if (rc >= 0 && n + c->max_count > SERVERS_PER_PROJECT_MAX)
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "Quota exceeded for instances: Requested %" PRId64
			       ", but already used %" PRId64 " of %d instances",
			       c->max_count, n, SERVERS_PER_PROJECT_MAX);
	return MIN_OF(rc, 0);
}

static int resolve(struct req *r, struct create *c, struct err *e)
{
	if (!r->auth.project_id)
		return err_set(e, FAULT_FORBIDDEN, NULL, "A project scoped token is needed.");
	if (flavor_need(r, last_segment(c->flavor_id), FAULT_BAD_REQUEST, &c->flavor, e) < 0 ||
	    resolve_image(r, c, e) < 0 || resolve_key(r, c, e) < 0 || resolve_bound(c, e) < 0)
		return -e->num;
	if (c->max_count > 1)
		for (size_t i = 0; i < c->n_vifs; i++)
			if (c->vifs[i].port_id || c->vifs[i].fixed_ips)
				return err_set(e, FAULT_BAD_REQUEST, "networks",
					       "Unable to launch multiple instances with a single "
					       "configured port ID or fixed IP. Please launch your "
					       "instance one by one with different ports.");
	c->want.flavor = &c->flavor;
	if (c->zone && schedule_zone(r, c->zone, &c->want, e) < 0)
		return -e->num;
	return check_quota(r, c, e);
}

/* ---- making ---- */

static int insert(struct req *r, const struct create *c, const struct server *s, const char *reason,
		  struct err *e)
{
	CLEANUP(json_freep) json_t *flavor = flavor_embed(&c->flavor);
	CLEANUP(json_freep) json_t *fault = NULL;
	CLEANUP(json_freep) json_t *empty = json_object();
	CLEANUP(json_freep) json_t *none = json_array();
	int64_t now = clock_wall_us();
	int rc;

	if (reason)
		fault = json_pack("{s:i, s:s, s:I}", "code", 500, "message", reason, "created",
				  (json_int_t)now);
	rc = db_exec(r->db, e,
		     "INSERT INTO server (id, name, hostname, project_id, user_id, image_id, "
		     "flavor, key_name, public_key, metadata, tags, user_data, config_drive, "
		     "availability_zone, description, node_id, vm_state, task_state, fault, "
		     "created_us, updated_us) VALUES "
		     "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		     "ssssssjssjjsbsssssjii", s->id, s->name, s->hostname, s->project_id,
		     s->user_id, c->image_id, flavor, c->key_name, c->public_key,
		     c->metadata ? c->metadata : empty, c->tags ? c->tags : none, c->user_data,
		     (int)c->config_drive, c->zone ? c->zone : "", c->description, s->node_id,
		     reason ? "error" : "building", reason ? NULL : "spawning", fault, now, now);
	return rc < 0 ? rc : 0;
}

/* Places, inserts and plugs one server. A server that no node takes is made all the same, in ERROR, as Nova does. */
static int make_one(struct req *r, struct create *c, int64_t number, struct server *s, struct err *e)
{
	struct placement p;
	char id[UUID_STR_SIZE];
	int rc = schedule(r, &c->want, &p, e);

	if (rc < 0)
		return rc;
	*s = (struct server){
		.id = arena_strdup(r->arena, uuid_format(uuid_random(), id)),
		.name = c->max_count == 1 ? c->name :
					    arena_printf(r->arena, "%s-%" PRId64, c->name, number),
		.project_id = r->auth.project_id,
		.user_id = r->auth.user_id,
		.node_id = p.node_id,
		.node_name = p.node_name,
		.site_name = p.site_name,
	};
	s->hostname = c->hostname ? c->hostname : hostname_of(r->arena, s->name, id);
	if (arena_failed(r->arena))
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = insert(r, c, s, p.reason, e);
	for (size_t i = 0; rc == 0 && p.node_id && i < c->n_vifs; i++) {
		struct vif_want w = c->vifs[i];

		rc = vif_plug(r, s, &w, c->group_ids, e);
	}
	if (rc == 0 && p.node_id)
		req_touch_node(r, p.node_id);
	return rc;
}

static void make_password(char out[static ADMIN_PASS_SIZE + 1])
{
	static const char letters[] = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz";
	unsigned char rnd[ADMIN_PASS_SIZE];

	random_bytes(rnd, sizeof(rnd));
	for (size_t i = 0; i < sizeof(rnd); i++)
		out[i] = letters[rnd[i] % (sizeof(letters) - 1)];
	out[ADMIN_PASS_SIZE] = '\0';
}

static void reply(struct req *r, const struct create *c, const struct server *first)
{
	const json_t *groups = json_object_get(json_object_get(r->body, "server"), "security_groups");
	char pass[ADMIN_PASS_SIZE + 1];
	json_t *v = json_object();

	if (c->reservation) {
		json_decref(v);
		req_reply(r, json_pack("{s:o}", "reservation_id", json_sprintf("r-%.8s", first->id)));
		return;
	}
	make_password(pass);
	put_str(v, "id", first->id);
	json_object_set_new(v, "links", server_links(r, "servers", first->id));
	put_str(v, "OS-DCF:diskConfig", "MANUAL");
	json_object_set_new(v, "security_groups",
			    groups && json_array_size(groups) ?
				    json_deep_copy(groups) :
				    json_pack("[{s:s}]", "name", "default"));
	put_str(v, "adminPass", c->admin_pass ? c->admin_pass : pass);
	http_reply_header(r->http, &r->out, "Location",
			  arena_printf(r->arena, "%s/compute/v2.1/servers/%s", req_base_url(r),
				       first->id));
	req_reply(r, json_pack("{s:o}", "server", v));
}

int server_create(struct req *r, struct err *e)
{
	struct create *c = ARENA_NEW(r->arena, struct create);
	struct server first, next;
	int rc;

	if (!c)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = read_body(r, c, e);
	if (rc == 0)
		rc = resolve(r, c, e);
	if (rc == 0)
		rc = make_one(r, c, 1, &first, e);
	for (int64_t i = 2; rc == 0 && i <= c->max_count; i++)
		rc = make_one(r, c, i, &next, e);
	if (rc == 0)
		reply(r, c, &first);
	return rc;
}
