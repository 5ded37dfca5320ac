/* SPDX-License-Identifier: Apache-2.0 */
/* Members: the projects that a shared image is shared with. Source: Glance API reference, "Sharing". */
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/compute/input.h"
#include "hub/image/image.h"

#define MEMBERS_MAX 128 /* Glance: image_member_quota */

#define MEMBER_SELECT                                                                              \
	"SELECT member_id, status, created_us, updated_us FROM image_member WHERE image_id = ?"

static json_t *view_row(struct db_rows *q, const char *image_id)
{
	json_t *v = json_object();

	put_str(v, "image_id", image_id);
	put_str(v, "member_id", db_text(q, 0));
	put_str(v, "status", db_text(q, 1));
	put_time(v, "created_at", db_int(q, 2));
	put_time(v, "updated_at", db_int(q, 3));
	put_str(v, "schema", "/v2/schemas/member");
	return v;
}

static bool is_project(const struct req *r, const char *id)
{
	return r->auth.project_id && strcmp(r->auth.project_id, id) == 0;
}

static bool owns(const struct req *r, const struct image *i)
{
	return r->auth.is_admin || is_project(r, i->project_id);
}

static int need_shared(struct req *r, bool change, struct image *i, struct err *e)
{
	int rc = image_need(r, change, i, e);

	if (rc == 0 && strcmp(i->visibility, "shared") != 0)
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "Only shared images have members: the visibility of image %s is %s.",
			       i->id, i->visibility);
	return rc;
}

/* The owner sees all members, a member itself. */
int image_members(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct image i;
	int rc = image_need(r, false, &i, e);

	if (rc == 0)
		rc = db_query(r->db, &q, e, MEMBER_SELECT " ORDER BY created_us, member_id", "s", i.id);
	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		rc = 0;
		if (owns(r, &i) || is_project(r, db_text(q, 0)))
			json_array_append_new(out, view_row(q, i.id));
	}
	if (rc == 0)
		req_reply(r, json_pack("{s:O, s:s}", "members", out, "schema", "/v2/schemas/members"));
	return rc;
}

static int reply_member(struct req *r, const struct image *i, const char *member, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e, MEMBER_SELECT " AND member_id = ?", "ss", i->id, member);

	if (rc == 0)
		rc = db_step(q, e);
	if (rc == 0 || (rc > 0 && !owns(r, i) && !is_project(r, member)))
		return err_set(e, FAULT_NOT_FOUND, NULL,
			       "%.64s not found in the member list of the "
			       "image %s.",
			       member, i->id);
	if (rc > 0)
		req_reply(r, view_row(q, i->id));
	return MIN_OF(rc, 0);
}

int image_member_show(struct req *r, struct err *e)
{
	struct image i;
	int rc = image_need(r, false, &i, e);

	return rc < 0 ? rc : reply_member(r, &i, req_param(r, "member"), e);
}

static int check_new(struct req *r, const struct image *i, const char *member, struct err *e)
{
	int64_t n = 0;
	int rc = db_get_int(r->db, &n, e,
			    "SELECT 1 FROM image_member WHERE image_id = ? AND member_id = ?", "ss",
			    i->id, member);

	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "member",
			       "The target member %.64s is already associated with image %s.",
			       member, i->id);
	if (rc == 0)
		rc = db_get_int(r->db, &n, e,
				"SELECT COUNT(*) FROM image_member WHERE image_id = ?", "s", i->id);
	if (rc > 0 && n >= MEMBERS_MAX)
		return err_set(e, FAULT_TOO_LARGE, "member",
			       "The limit has been exceeded on the number of allowed image members "
			       "for this image. Maximum: %d",
			       MEMBERS_MAX);
	return MIN_OF(rc, 0);
}

int image_member_add(struct req *r, struct err *e)
{
	static const struct input_key keys[] = { { "member" }, { NULL } };
	int64_t now = clock_wall_us();
	const char *member = NULL;
	struct image i;
	int rc = need_shared(r, true, &i, e);

	if (rc < 0)
		return rc;
	if (!json_is_object(r->body) || input_only(r->body, "member", keys, r->micro, e) < 0 ||
	    input_need(r->body, "member", e) < 0 || input_str(r->body, "member", 1, 255, &member, e) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "member",
			       "Expected a dict like {\"member\": \"<project id>\"}");
	rc = check_new(r, &i, member, e);
	if (rc == 0)
		rc = db_exec(r->db, e,
			     "INSERT INTO image_member (image_id, member_id, created_us, updated_us) "
			     "VALUES (?, ?, ?, ?)",
			     "ssii", i.id, member, now, now);
	return rc < 0 ? rc : reply_member(r, &i, member, e);
}

/* The member itself accepts or rejects. */
int image_member_set(struct req *r, struct err *e)
{
	const char *member = req_param(r, "member"), *status = json_str(r->body, "status");
	struct image i;
	int rc = need_shared(r, false, &i, e);

	if (rc < 0)
		return rc;
	if (!r->auth.is_admin && !is_project(r, member))
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "You are not permitted to modify members of this image.");
	if (!status || (strcmp(status, "pending") != 0 && strcmp(status, "accepted") != 0 &&
			strcmp(status, "rejected") != 0))
		return input_bad(e, "status", json_object_get(r->body, "status"),
				 "It is not one of ['pending', 'accepted', 'rejected']");
	rc = db_exec(r->db, e,
		     "UPDATE image_member SET status = ?, updated_us = ? WHERE image_id = ? AND "
		     "member_id = ?",
		     "siss", status, clock_wall_us(), i.id, member);
	return rc < 0 ? rc : reply_member(r, &i, member, e);
}

int image_member_remove(struct req *r, struct err *e)
{
	struct image i;
	int rc = need_shared(r, true, &i, e);

	if (rc == 0)
		rc = reply_member(r, &i, req_param(r, "member"), e);
	if (rc == 0)
		rc = db_exec(r->db, e, "DELETE FROM image_member WHERE image_id = ? AND member_id = ?",
			     "ss", i.id, req_param(r, "member"));
	req_reply(r, NULL);
	return MIN_OF(rc, 0);
}
