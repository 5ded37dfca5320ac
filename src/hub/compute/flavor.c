/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Nova API reference, "Flavors", "Flavors access". */
#include "hub/compute/flavor.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/types.h"
#include "hub/compute/filter.h"
#include "hub/compute/input.h"
#include "hub/compute/page.h"
#include "hub/compute/server.h"

#define FLAVOR_SELECT                                                                              \
	"SELECT id, name, description, extra_specs, ram, vcpus, disk, ephemeral, swap, "           \
	"rxtx_factor, is_public, disabled FROM flavor f"

static void flavor_of_row(struct db_rows *q, struct flavor *ret)
{
	*ret = (struct flavor){
		.id = db_text(q, 0),
		.name = db_text(q, 1),
		.description = db_text(q, 2),
		.extra_specs = db_text(q, 3),
		.ram_mb = db_int(q, 4),
		.vcpus = db_int(q, 5),
		.disk_gb = db_int(q, 6),
		.ephemeral_gb = db_int(q, 7),
		.swap_mb = db_int(q, 8),
		.rxtx_factor = db_real(q, 9),
		.is_public = db_int(q, 10),
		.disabled = db_int(q, 11),
	};
}

/* 1 or 0. A private flavor is there for admins and for the projects on its access list. */
static int visible(struct req *r, const struct flavor *f, struct err *e)
{
	int64_t there;

	if (f->is_public || r->auth.is_admin)
		return 1;
	return db_get_int(r->db, &there, e,
			  "SELECT 1 FROM flavor_access WHERE flavor_id = ? AND project_id = ?",
			  "ss", f->id, r->auth.project_id);
}

int flavor_need(struct req *r, const char *id, enum fault missing, struct flavor *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e, FLAVOR_SELECT " WHERE id = ?", "s", id);

	if (rc == 0)
		rc = db_step(q, e);
	if (rc < 0)
		return rc;
	if (rc == 1) {
		flavor_of_row(q, ret);
		rc = visible(r, ret, e);
	}
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, missing, "flavor_id", "Flavor %.64s could not be found.", id);
	ret->id = arena_strdup(r->arena, ret->id);
	ret->name = arena_strdup(r->arena, ret->name);
	ret->description = arena_strdup(r->arena, ret->description);
	ret->extra_specs = arena_strdup(r->arena, ret->extra_specs);
	return arena_failed(r->arena) ? err_set(e, FAULT_NO_MEMORY, NULL, "out of memory") : 0;
}

static json_t *specs_of(const struct flavor *f)
{
	json_t *specs = NULL;

	if (!f->extra_specs || json_parse(str_of(f->extra_specs), &specs, NULL) < 0)
		return json_object();
	return specs;
}

json_t *flavor_embed(const struct flavor *f)
{
	json_t *v = json_object();

	put_str(v, "id", f->id);
	put_str(v, "original_name", f->name);
	put_int(v, "vcpus", f->vcpus);
	put_int(v, "ram", f->ram_mb);
	put_int(v, "disk", f->disk_gb);
	put_int(v, "ephemeral", f->ephemeral_gb);
	put_int(v, "swap", f->swap_mb);
	json_object_set_new(v, "extra_specs", specs_of(f));
	return v;
}

static json_t *flavor_view(struct req *r, const struct flavor *f, bool detail)
{
	json_t *v = json_object();

	put_str(v, "id", f->id);
	put_str(v, "name", f->name);
	if (r->micro >= 55)
		put_str(v, "description", f->description);
	json_object_set_new(v, "links", server_links(r, "flavors", f->id));
	if (!detail)
		return v;
	put_int(v, "ram", f->ram_mb);
	put_int(v, "disk", f->disk_gb);
	put_int(v, "vcpus", f->vcpus);
	if (f->swap_mb == 0 && r->micro < 75)
		put_str(v, "swap", "");
	else
		put_int(v, "swap", f->swap_mb);
	put_int(v, "OS-FLV-EXT-DATA:ephemeral", f->ephemeral_gb);
	put_bool(v, "OS-FLV-DISABLED:disabled", f->disabled);
	put_bool(v, "os-flavor-access:is_public", f->is_public);
	json_object_set_new(v, "rxtx_factor", json_real(f->rxtx_factor));
	if (r->micro >= 61)
		json_object_set_new(v, "extra_specs", specs_of(f));
	return v;
}

/* ---- lists ---- */

/* is_public: admins may ask for private ones or, with "None", for both. */
static void list_public(struct req *r, struct filter *f)
{
	const char *word = req_query(r, "is_public");

	if (!r->auth.is_admin || !word || !*word) {
		filter_str(f,
			   "(is_public = 1 OR EXISTS (SELECT 1 FROM flavor_access a WHERE "
			   "a.flavor_id = f.id AND a.project_id = ?))",
			   r->auth.project_id ? r->auth.project_id : "");
		return;
	}
	if (strcasecmp(word, "none") == 0)
		return;
	filter_int(f, "is_public = ?",
		   strcmp(word, "1") == 0 || strcasecmp(word, "true") == 0 ||
			   strcasecmp(word, "t") == 0);
}

static int list_minimum(struct req *r, struct filter *f, const char *name, const char *sql,
			struct err *e)
{
	const char *text = req_query(r, name);
	uint64_t n;

	if (!text)
		return 0;
	if (str_to_u64(str_of(text), INT64_MAX, &n) < 0)
		return err_set(e, FAULT_BAD_REQUEST, name, "Invalid %s filter [%.32s]", name, text);
	filter_int(f, sql, (int64_t)n);
	return 0;
}

static int list_order(struct req *r, struct filter *f, struct err *e)
{
	static const struct {
		const char *key, *column;
	} rows[] = {
		{ "flavorid", "id" },	{ "id", "id" },
		{ "name", "name" },	{ "vcpus", "vcpus" },
		{ "memory_mb", "ram" }, { "root_gb", "disk" },
		{ "swap", "swap" },	{ "ephemeral_gb", "ephemeral" },
	};
	const char *key = req_query(r, "sort_key"), *dir = req_query(r, "sort_dir");

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].key, key ? key : "flavorid") != 0)
			continue;
		strbuf_addf(&f->sql, " ORDER BY %s %s, id", rows[i].column,
			    dir && strcmp(dir, "desc") == 0 ? "DESC" : "ASC");
		return 0;
	}
	return err_set(e, FAULT_BAD_REQUEST, "sort_key",
		       "Invalid input for query parameters sort_key. Value: %.32s", key);
}

static int list_flavors(struct req *r, bool detail, struct err *e)
{
	CLEANUP(filter_done) struct filter f = { 0 };
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	enum page_step step = PAGE_SKIP;
	struct page page;
	json_t *reply;
	int rc;

	strbuf_adds(&f.sql, FLAVOR_SELECT);
	list_public(r, &f);
	rc = page_init(r, &page, e);
	if (rc == 0)
		rc = list_minimum(r, &f, "minRam", "ram >= ?", e);
	if (rc == 0)
		rc = list_minimum(r, &f, "minDisk", "disk >= ?", e);
	if (rc == 0)
		rc = list_order(r, &f, e);
	if (rc == 0)
		rc = db_queryv(r->db, &q, e, strbuf_cstr(&f.sql), f.args, f.n_args);
	while (rc == 0 && step != PAGE_END && (rc = db_step(q, e)) == 1) {
		struct flavor row;

		flavor_of_row(q, &row);
		step = page_next(&page, row.id);
		if (step == PAGE_KEEP)
			json_array_append_new(out, flavor_view(r, &row, detail));
		rc = 0;
	}
	if (rc < 0 || page_check(&page, e) < 0)
		return -e->num;
	reply = json_pack("{s:O}", "flavors", out);
	page_links(r, &page, "flavors", reply);
	req_reply(r, reply);
	return 0;
}

int flavor_list(struct req *r, struct err *e)
{
	return list_flavors(r, false, e);
}

int flavor_list_detail(struct req *r, struct err *e)
{
	return list_flavors(r, true, e);
}

static int reply_flavor(struct req *r, const char *id, struct err *e)
{
	struct flavor f;
	int rc = flavor_need(r, id, FAULT_NOT_FOUND, &f, e);

	if (rc == 0)
		req_reply(r, json_pack("{s:o}", "flavor", flavor_view(r, &f, true)));
	return rc;
}

int flavor_show(struct req *r, struct err *e)
{
	return reply_flavor(r, req_param(r, "id"), e);
}

/* ---- create, update, delete ---- */

static const struct input_key create_keys[] = {
	{ "name" },
	{ "id" },
	{ "ram" },
	{ "vcpus" },
	{ "disk" },
	{ "OS-FLV-EXT-DATA:ephemeral" },
	{ "swap" },
	{ "rxtx_factor" },
	{ "os-flavor-access:is_public" },
	{ "description", 55 },
	{ NULL },
};

static int read_rxtx(const json_t *body, double *ret, struct err *e)
{
	const json_t *v = json_object_get(body, "rxtx_factor");
	uint64_t n;

	if (!v || json_is_null(v))
		return 0;
	if (json_is_number(v) && json_number_value(v) > 0 && json_number_value(v) < 3.4e38)
		*ret = json_number_value(v);
	else if (json_is_string(v) && str_to_u64(str_of(json_string_value(v)), 1000000, &n) == 0 && n > 0)
		*ret = (double)n;
	else
		return input_bad(e, "rxtx_factor", v, "It is not a positive number");
	return 0;
}

/* The id may be given, must not be "auto"; without one the flavor gets a UUID. */
static int read_id(struct req *r, const json_t *body, struct flavor *f, struct err *e)
{
	char buf[UUID_STR_SIZE];
	int rc;

	if (json_is_integer(json_object_get(body, "id"))) {
		f->id = arena_printf(r->arena, "%lld",
				     (long long)json_integer_value(json_object_get(body, "id")));
		return f->id ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	}
	rc = input_str_null(body, "id", 255, &f->id, e);
	if (rc < 0)
		return rc;
	if (f->id && strspn(f->id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._- ") != strlen(f->id))
		return input_bad(e, "id", json_object_get(body, "id"),
				 "An id has letters, digits, '.', '_', '-' and spaces");
	if (!f->id || !*f->id || strcmp(f->id, "auto") == 0)
		f->id = arena_strdup(r->arena, uuid_format(uuid_random(), buf));
	return f->id ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
}

static int read_flavor(struct req *r, const json_t *body, struct flavor *f, struct err *e)
{
	int64_t max = INT32_MAX;
	int rc = input_only(body, "flavor", create_keys, r->micro, e);

	if (rc < 0 || input_need(body, "name", e) < 0 || input_need(body, "ram", e) < 0 ||
	    input_need(body, "vcpus", e) < 0 || input_need(body, "disk", e) < 0)
		return -e->num;
	rc = read_id(r, body, f, e);
	if (rc < 0 || input_str(body, "name", 1, 255, &f->name, e) < 0 ||
	    input_int(body, "ram", 1, max, &f->ram_mb, e) < 0 ||
	    input_int(body, "vcpus", 1, max, &f->vcpus, e) < 0 ||
	    input_int(body, "disk", 0, max, &f->disk_gb, e) < 0 ||
	    input_int(body, "OS-FLV-EXT-DATA:ephemeral", 0, max, &f->ephemeral_gb, e) < 0 ||
	    input_int(body, "swap", 0, max, &f->swap_mb, e) < 0 ||
	    read_rxtx(body, &f->rxtx_factor, e) < 0 ||
	    input_bool(body, "os-flavor-access:is_public", &f->is_public, e) < 0 ||
	    input_str_null(body, "description", 65535, &f->description, e) < 0)
		return -e->num;
	if (str_trim(str_of(f->name)).len == 0)
		return input_bad(e, "name", json_object_get(body, "name"),
				 "A name has at least one character that is not a space");
	return 0;
}

static int check_free(struct req *r, const struct flavor *f, struct err *e)
{
	int64_t n;
	int rc;

	rc = db_get_int(r->db, &n, e, "SELECT 1 FROM flavor WHERE id = ?", "s", f->id);
	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "id", "Flavor with ID %s already exists.", f->id);
	if (rc == 0)
		rc = db_get_int(r->db, &n, e, "SELECT 1 FROM flavor WHERE name = ?", "s", f->name);
	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "name", "Flavor with name %s already exists.",
			       f->name);
	return rc;
}

static int insert(struct db *db, const struct flavor *f, struct err *e)
{
	int rc = db_exec(db, e,
			 "INSERT INTO flavor (id, name, ram, vcpus, disk, ephemeral, swap, "
			 "rxtx_factor, is_public, description) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			 "ssiiiiirbs", f->id, f->name, f->ram_mb, f->vcpus, f->disk_gb, f->ephemeral_gb,
			 f->swap_mb, f->rxtx_factor, (int)f->is_public, f->description);

	return rc < 0 ? rc : 0;
}

int flavor_create(struct req *r, struct err *e)
{
	struct flavor f = { .rxtx_factor = 1.0, .is_public = true };
	json_t *body;
	int rc = input_body(r, "flavor", &body, e);

	if (rc == 0)
		rc = read_flavor(r, body, &f, e);
	if (rc == 0)
		rc = check_free(r, &f, e);
	if (rc == 0)
		rc = insert(r->db, &f, e);
	return rc < 0 ? rc : reply_flavor(r, f.id, e);
}

/* 2.55: the description alone can be changed. */
int flavor_update(struct req *r, struct err *e)
{
	static const struct input_key keys[] = { { "description" }, { NULL } };
	const char *id = req_param(r, "id"), *description = NULL;
	struct flavor f;
	json_t *body;
	int rc = flavor_need(r, id, FAULT_NOT_FOUND, &f, e);

	if (rc < 0)
		return rc;
	if (r->micro < 55)
		return err_set(e, FAULT_NOT_FOUND, NULL, "The resource could not be found.");
	if (input_body(r, "flavor", &body, e) < 0 || input_only(body, "flavor", keys, r->micro, e) < 0 ||
	    input_need(body, "description", e) < 0 ||
	    input_str_null(body, "description", 65535, &description, e) < 0)
		return -e->num;
	rc = db_exec(r->db, e, "UPDATE flavor SET description = ? WHERE id = ?", "ss", description, id);
	return rc < 0 ? rc : reply_flavor(r, id, e);
}

int flavor_delete(struct req *r, struct err *e)
{
	const char *id = req_param(r, "id");
	int rc = db_exec(r->db, e, "DELETE FROM flavor WHERE id = ?", "s", id);

	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, "flavor_id", "Flavor %.64s could not be found.", id);
	return rc < 0 ? rc : 0;
}

int flavor_bootstrap(struct db *db, struct err *e)
{
	/* Sizes for network functions first, then the names every OpenStack tutorial uses. */
	static const struct flavor rows[] = {
		{ .id = "nf.tiny", .name = "nf.tiny", .ram_mb = 64, .vcpus = 1 },
		{ .id = "nf.small", .name = "nf.small", .ram_mb = 128, .vcpus = 1 },
		{ .id = "nf.medium", .name = "nf.medium", .ram_mb = 256, .vcpus = 1 },
		{ .id = "nf.large", .name = "nf.large", .ram_mb = 512, .vcpus = 2 },
		{ .id = "1", .name = "m1.tiny", .ram_mb = 512, .vcpus = 1, .disk_gb = 1 },
		{ .id = "2", .name = "m1.small", .ram_mb = 2048, .vcpus = 1, .disk_gb = 20 },
		{ .id = "3", .name = "m1.medium", .ram_mb = 4096, .vcpus = 2, .disk_gb = 40 },
		{ .id = "4", .name = "m1.large", .ram_mb = 8192, .vcpus = 4, .disk_gb = 80 },
	};
	int64_t made;
	int rc = db_get_int(db, &made, e, "SELECT 1 FROM setting WHERE name = 'flavors_made'", "");

	if (rc != 0)
		return rc < 0 ? rc : 0;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct flavor f = rows[i];

		f.rxtx_factor = 1.0;
		f.is_public = true;
		rc = insert(db, &f, e);
		if (rc < 0)
			return rc;
	}
	rc = db_exec(db, e, "INSERT INTO setting (name, value) VALUES ('flavors_made', '1')", "");
	return rc < 0 ? rc : 0;
}

/* ---- extra specs ---- */

static int specs_save(struct req *r, const char *id, const json_t *specs, struct err *e)
{
	int rc = db_exec(r->db, e, "UPDATE flavor SET extra_specs = ? WHERE id = ?", "js", specs, id);

	return rc < 0 ? rc : 0;
}

static int specs_need(struct req *r, json_t **ret, struct err *e)
{
	struct flavor f;
	int rc = flavor_need(r, req_param(r, "id"), FAULT_NOT_FOUND, &f, e);

	if (rc == 0)
		*ret = specs_of(&f);
	return rc;
}

static int spec_missing(struct req *r, struct err *e)
{
	return err_set(e, FAULT_NOT_FOUND, NULL, "Flavor %.64s has no extra specs with key %.64s.",
		       req_param(r, "id"), req_param(r, "key"));
}

int flavor_specs_list(struct req *r, struct err *e)
{
	json_t *specs;
	int rc = specs_need(r, &specs, e);

	if (rc == 0)
		req_reply(r, json_pack("{s:o}", "extra_specs", specs));
	return rc;
}

int flavor_specs_add(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *specs = NULL;
	json_t *body;
	int rc = specs_need(r, &specs, e);

	if (rc < 0 || input_body(r, "extra_specs", &body, e) < 0 ||
	    input_strings(body, "extra_specs", 255, 128, e) < 0)
		return -e->num;
	json_object_update(specs, body);
	if (json_object_size(specs) > 128)
		return err_set(e, FAULT_FORBIDDEN, "extra_specs",
			       "Maximum number of extra_specs items exceeds 128");
	req_reply(r, json_pack("{s:O}", "extra_specs", body));
	return specs_save(r, req_param(r, "id"), specs, e);
}

int flavor_spec_show(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *specs = NULL;
	const char *key = req_param(r, "key");
	int rc = specs_need(r, &specs, e);

	if (rc < 0)
		return rc;
	if (!json_object_get(specs, key))
		return spec_missing(r, e);
	req_reply(r, json_pack("{s:O}", key, json_object_get(specs, key)));
	return 0;
}

int flavor_spec_set(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *specs = NULL;
	const char *key = req_param(r, "key");
	int rc = specs_need(r, &specs, e);

	if (rc < 0)
		return rc;
	if (!json_is_object(r->body) || json_object_size(r->body) != 1 || !json_object_get(r->body, key))
		return err_set(e, FAULT_BAD_REQUEST, "extra_specs", "Request body and URI mismatch");
	rc = input_strings(r->body, "extra_specs", 255, 128, e);
	if (rc < 0)
		return rc;
	json_object_update(specs, r->body);
	req_reply(r, json_incref(r->body));
	return specs_save(r, req_param(r, "id"), specs, e);
}

int flavor_spec_delete(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *specs = NULL;
	int rc = specs_need(r, &specs, e);

	if (rc < 0)
		return rc;
	if (json_object_del(specs, req_param(r, "key")) < 0)
		return spec_missing(r, e);
	return specs_save(r, req_param(r, "id"), specs, e);
}
