/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "base/json.h"
#include "hub/site/site.h"

#define EVENTS_LIMIT_DFLT 100
#define EVENTS_LIMIT_MAX 1000

/* since: "2026-01-31T12:34:56" with or without Z (UTC), or the seq of the last event that is known. */
static int parse_since(const char *text, int64_t *ret_seq, int64_t *ret_us, struct err *e)
{
	struct tm tm = { 0 };
	uint64_t seq;
	const char *rest;

	*ret_seq = *ret_us = 0;
	if (!text)
		return 0;
	if (str_to_u64(str_of(text), INT64_MAX, &seq) == 0) {
		*ret_seq = (int64_t)seq;
		return 0;
	}
	rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest || (*rest && strcmp(rest, "Z") != 0))
		return err_set(e, FAULT_BAD_REQUEST, "since",
			       "since is a time as 2026-01-31T12:34:56Z, or an event's seq.");
	*ret_us = (int64_t)timegm(&tm) * 1000000;
	return 0;
}

static json_t *event_json(struct db_rows *q)
{
	return json_pack("{s:I, s:s, s:o, s:s?, s:s?, s:s?, s:s?, s:s?, s:s, s:s, s:s, s:s}", "seq",
			 (json_int_t)db_int(q, 0), "id", db_text(q, 1), "time",
			 site_time(db_int(q, 2)), "node_id", db_text(q, 3), "node_name",
			 db_text(q, 4), "site_id", db_text(q, 5), "site_name", db_text(q, 6),
			 "project_id", db_text(q, 7), "kind", db_text(q, 8), "severity",
			 db_text(q, 9), "resource", db_text(q, 10), "text", db_text(q, 11));
}

static int parse_limit(struct req *r, int64_t *ret, struct err *e)
{
	const char *text = req_query(r, "limit");
	uint64_t limit = EVENTS_LIMIT_DFLT;

	if (text && str_to_u64(str_of(text), INT64_MAX, &limit) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "limit", "limit is a number.");
	*ret = (int64_t)MIN_OF(limit ? limit : EVENTS_LIMIT_MAX, (uint64_t)EVENTS_LIMIT_MAX);
	return 0;
}

/* Newest first. A project sees the events of what it owns. */
int event_list(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *list = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int64_t seq, us, limit = 0;
	int rc = parse_since(req_query(r, "since"), &seq, &us, e);

	if (rc == 0)
		rc = parse_limit(r, &limit, e);
	if (rc == 0)
		rc = db_query(
			r->db, &q, e,
			"SELECT v.seq, v.id, v.time_us, v.node_id, n.name, v.site_id, s.name, v.project_id, v.kind, v.severity, "
			"v.resource, v.text FROM event v LEFT JOIN node n ON n.id = v.node_id LEFT JOIN site s ON s.id = v.site_id "
			"WHERE (?1 OR v.project_id = ?2) AND v.seq > ?3 AND v.time_us >= ?4 AND (?5 IS NULL OR v.kind = ?5) AND "
			"(?6 IS NULL OR v.severity = ?6) AND (?7 IS NULL OR v.resource = ?7) AND "
			"(?8 IS NULL OR ?8 IN (v.node_id, n.name)) AND (?9 IS NULL OR ?9 IN (v.site_id, s.name)) "
			"ORDER BY v.seq DESC LIMIT ?10",
			"bsiisssssi", (int)r->auth.is_admin,
			r->auth.project_id ? r->auth.project_id : "", seq, us, req_query(r, "kind"),
			req_query(r, "severity"), req_query(r, "resource"), req_query(r, "node"),
			req_query(r, "site"), limit);
	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		(void)json_array_append_new(list, event_json(q));
	if (rc >= 0)
		req_reply(r, json_pack("{s:O}", "events", list));
	return rc < 0 ? rc : 0;
}
