/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Nova API reference, "Keypairs". */
#include "hub/compute/keypair.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/compute/input.h"
#include "hub/compute/page.h"

#define PUBLIC_KEY_MAX 16384 /* bytes of an imported key */

static int missing(const char *name, struct err *e)
{
	return err_set(e, FAULT_NOT_FOUND, NULL, "Keypair %.64s not found for user", name);
}

/* ?user_id= (2.10) is for admins; everybody else has their own keys. */
static int whose(struct req *r, const char *user_id, const char **ret, struct err *e)
{
	*ret = r->auth.user_id;
	if (!user_id || r->micro < 10 || strcmp(user_id, r->auth.user_id) == 0)
		return 0;
	if (!r->auth.is_admin)
		return err_set(e, FAULT_FORBIDDEN, "user_id",
			       "Policy doesn't allow os_compute_api:os-keypairs to be performed.");
	*ret = user_id;
	return 0;
}

static json_t *view_row(struct req *r, struct db_rows *q)
{
	json_t *v = json_object();

	put_str(v, "name", db_text(q, 0));
	put_str(v, "public_key", db_text(q, 1));
	put_str(v, "fingerprint", db_text(q, 2));
	if (r->micro >= 2)
		put_str(v, "type", db_text(q, 3));
	return v;
}

int keypair_list(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	enum page_step step = PAGE_SKIP;
	struct page page = { .limit = PAGE_MAX };
	const char *user;
	json_t *reply;
	int rc = whose(r, req_query(r, "user_id"), &user, e);

	if (rc == 0 && r->micro >= 35)
		rc = page_init(r, &page, e);
	if (rc == 0)
		rc = db_query(r->db, &q, e,
			      "SELECT name, public_key, fingerprint, type FROM keypair "
			      "WHERE user_id = ? ORDER BY name",
			      "s", user);
	while (rc == 0 && step != PAGE_END && (rc = db_step(q, e)) == 1) {
		step = page_next(&page, db_text(q, 0));
		if (step == PAGE_KEEP)
			json_array_append_new(out, json_pack("{s:o}", "keypair", view_row(r, q)));
		rc = 0;
	}
	if (rc < 0 || page_check(&page, e) < 0)
		return -e->num;
	reply = json_pack("{s:O}", "keypairs", out);
	page_links(r, &page, "keypairs", reply);
	req_reply(r, reply);
	return 0;
}

int keypair_show(struct req *r, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	const char *user;
	json_t *v;
	int rc = whose(r, req_query(r, "user_id"), &user, e);

	if (rc == 0)
		rc = db_query(r->db, &q, e,
			      "SELECT name, public_key, fingerprint, type, created_us FROM keypair "
			      "WHERE user_id = ? AND name = ?",
			      "ss", user, req_param(r, "name"));
	if (rc == 0)
		rc = db_step(q, e);
	if (rc <= 0)
		return rc < 0 ? rc : missing(req_param(r, "name"), e);
	v = view_row(r, q);
	put_str(v, "user_id", user);
	put_time(v, "created_at", db_int(q, 4));
	put_bool(v, "deleted", false);
	put_str(v, "deleted_at", NULL);
	put_str(v, "updated_at", NULL);
	put_int(v, "id", 1);
	req_reply(r, json_pack("{s:o}", "keypair", v));
	return 0;
}

static const struct input_key create_keys[] = {
	{ "name" }, { "public_key" }, { "type", 2 }, { "user_id", 10 }, { NULL },
};

struct new_key {
	const char *name, *type, *user_id, *public_key, *private_key;
	char fingerprint[KEYPAIR_FINGERPRINT_SIZE];
};

static int read_key(struct req *r, struct new_key *k, struct err *e)
{
	const char *user = NULL;
	json_t *body;

	if (input_body(r, "keypair", &body, e) < 0 ||
	    input_only(body, "keypair", create_keys, r->micro, e) < 0 ||
	    input_need(body, "name", e) < 0 || input_str(body, "name", 1, 255, &k->name, e) < 0 ||
	    input_str_null(body, "public_key", PUBLIC_KEY_MAX, &k->public_key, e) < 0 ||
	    input_str(body, "type", 1, 16, &k->type, e) < 0 ||
	    input_str(body, "user_id", 1, 255, &user, e) < 0)
		return -e->num;
	if (strcmp(k->type, "ssh") != 0)
		return input_bad(e, "type", json_object_get(body, "type"), "It is not 'ssh'");
	for (const char *p = k->name; *p; p++)
		if ((unsigned char)*p < ' ' || strchr("/\\?#", *p))
			return err_set(e, FAULT_BAD_REQUEST, "name",
				       "Keypair data is invalid: Keypair name contains unsafe "
				       "characters");
	return whose(r, user, &k->user_id, e);
}

static int make_key(struct req *r, struct new_key *k, struct err *e)
{
	CLEANUP(free_charp) char *private_key = NULL;
	CLEANUP(free_charp) char *public_key = NULL;
	int rc;

	if (k->public_key)
		return 0;
	rc = keypair_generate(&private_key, &public_key, e);
	if (rc < 0)
		return rc;
	k->private_key = arena_strdup(r->arena, private_key);
	k->public_key = arena_strdup(r->arena, public_key);
	return arena_failed(r->arena) ? err_set(e, FAULT_NO_MEMORY, NULL, "out of memory") : 0;
}

static int insert(struct req *r, const struct new_key *k, struct err *e)
{
	int64_t there;
	int rc = db_get_int(r->db, &there, e, "SELECT 1 FROM keypair WHERE user_id = ? AND name = ?",
			    "ss", k->user_id, k->name);

	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "name", "Key pair '%.64s' already exists.", k->name);
	if (rc < 0)
		return rc;
	rc = db_exec(r->db, e,
		     "INSERT INTO keypair (user_id, name, type, public_key, fingerprint, "
		     "created_us) VALUES (?, ?, ?, ?, ?, ?)",
		     "sssssi", k->user_id, k->name, k->type, k->public_key, k->fingerprint,
		     clock_wall_us());
	return rc < 0 ? rc : 0;
}

int keypair_create(struct req *r, struct err *e)
{
	struct new_key k = { .type = "ssh" };
	json_t *v;
	int rc = read_key(r, &k, e);

	if (rc == 0)
		rc = make_key(r, &k, e);
	if (rc == 0)
		rc = keypair_fingerprint(k.public_key, k.fingerprint, e);
	if (rc == 0)
		rc = insert(r, &k, e);
	if (rc < 0)
		return rc;
	v = json_object();
	put_str(v, "name", k.name);
	put_str(v, "public_key", k.public_key);
	put_str(v, "fingerprint", k.fingerprint);
	put_str(v, "user_id", k.user_id);
	if (r->micro >= 2)
		put_str(v, "type", k.type);
	if (k.private_key)
		put_str(v, "private_key", k.private_key);
	r->status = r->micro >= 2 ? 201 : 200;
	req_reply(r, json_pack("{s:o}", "keypair", v));
	return 0;
}

int keypair_delete(struct req *r, struct err *e)
{
	const char *user;
	int rc = whose(r, req_query(r, "user_id"), &user, e);

	if (rc == 0)
		rc = db_exec(r->db, e, "DELETE FROM keypair WHERE user_id = ? AND name = ?", "ss",
			     user, req_param(r, "name"));
	if (rc == 0)
		return missing(req_param(r, "name"), e);
	r->status = r->micro >= 2 ? 204 : 202;
	return rc < 0 ? rc : 0;
}
