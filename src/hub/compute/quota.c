/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Nova API reference, "Limits", "Quota sets", "Extensions". */
#include "hub/compute/quota.h"

#include <string.h>

#include "base/json.h"
#include "hub/compute/input.h"
#include "hub/compute/server.h"

#define UNLIMITED (-1)

/* What one project may have, and the query that counts what it has; no query: nothing is counted. */
static const struct limit {
	const char *quota;	     /* name in a quota set */
	const char *absolute, *used; /* names in limits; NULL: not there */
	int64_t max;
	const char *sql; /* one '?': the project */
	uint16_t gone;	 /* quota sets do not have it from this minor on; 0: they always have */
} rows[] = {
	{ "instances", "maxTotalInstances", "totalInstancesUsed", 10000,
	  "SELECT COUNT(*) FROM server WHERE project_id = ?" },
	{ "cores", "maxTotalCores", "totalCoresUsed", UNLIMITED,
	  "SELECT COALESCE(SUM(json_extract(flavor, '$.vcpus')), 0) FROM server WHERE project_id = ?" },
	{ "ram", "maxTotalRAMSize", "totalRAMUsed", UNLIMITED,
	  "SELECT COALESCE(SUM(json_extract(flavor, '$.ram')), 0) FROM server WHERE project_id = ?" },
	{ "metadata_items", "maxServerMeta", NULL, SERVER_META_MAX, NULL },
	{ "key_pairs", "maxTotalKeypairs", NULL, UNLIMITED, NULL },
	{ "server_groups", "maxServerGroups", "totalServerGroupsUsed", 0, NULL },
	{ "server_group_members", "maxServerGroupMembers", NULL, 0, NULL },
	{ "injected_files", "maxPersonality", NULL, 0, NULL, 57 },
	{ "injected_file_content_bytes", "maxPersonalitySize", NULL, 0, NULL, 57 },
	{ "injected_file_path_bytes", NULL, NULL, 0, NULL, 57 },
	{ "fixed_ips", NULL, NULL, UNLIMITED, NULL, 36 },
	{ "floating_ips", "maxTotalFloatingIps", "totalFloatingIpsUsed", 0, NULL, 36 },
	{ "security_groups", "maxSecurityGroups", "totalSecurityGroupsUsed", UNLIMITED, NULL, 36 },
	{ "security_group_rules", "maxSecurityGroupRules", NULL, UNLIMITED, NULL, 36 },
};

static int used_of(struct req *r, const struct limit *row, const char *project, int64_t *ret,
		   struct err *e)
{
	*ret = 0;
	return row->sql ? MIN_OF(db_get_int(r->db, ret, e, row->sql, "s", project), 0) : 0;
}

int limits_show(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *absolute = json_object();
	const char *project = r->auth.is_admin ? req_query(r, "tenant_id") : NULL;

	if (!project)
		project = r->auth.project_id;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t used;

		if (rows[i].absolute && (!rows[i].gone || r->micro < rows[i].gone))
			put_int(absolute, rows[i].absolute, rows[i].max);
		if (!rows[i].used || (rows[i].gone && r->micro >= rows[i].gone))
			continue;
		if (used_of(r, &rows[i], project, &used, e) < 0)
			return -e->num;
		put_int(absolute, rows[i].used, used);
	}
	req_reply(r, json_pack("{s:{s:[], s:O}}", "limits", "rate", "absolute", absolute));
	return 0;
}

static int quota(struct req *r, bool detail, struct err *e)
{
	const char *project = req_param(r, "project");
	json_t *set = json_object();

	req_reply(r, json_pack("{s:o}", "quota_set", set));
	if (!r->auth.is_admin && (!r->auth.project_id || strcmp(project, r->auth.project_id) != 0))
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "Policy doesn't allow os_compute_api:os-quota-sets:show to be "
			       "performed.");
	put_str(set, "id", project);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t used;

		if (rows[i].gone && r->micro >= rows[i].gone)
			continue;
		if (!detail) {
			put_int(set, rows[i].quota, rows[i].max);
			continue;
		}
		if (used_of(r, &rows[i], project, &used, e) < 0)
			return -e->num;
		json_object_set_new(set, rows[i].quota,
				    json_pack("{s:I, s:I, s:i}", "limit", (json_int_t)rows[i].max,
					      "in_use", (json_int_t)used, "reserved", 0));
	}
	return 0;
}

int compute_quota_show(struct req *r, struct err *e)
{
	return quota(r, false, e);
}

int compute_quota_defaults(struct req *r, struct err *e)
{
	return quota(r, false, e);
}

int compute_quota_detail(struct req *r, struct err *e)
{
	return quota(r, true, e);
}

static int reply_empty(struct req *r, const char *name)
{
	req_reply(r, json_pack("{s:[]}", name));
	return 0;
}

int extension_list(struct req *r, struct err *e)
{
	return reply_empty(r, "extensions");
}

int server_group_list(struct req *r, struct err *e)
{
	return reply_empty(r, "server_groups");
}

int aggregate_list(struct req *r, struct err *e)
{
	return reply_empty(r, "aggregates");
}

int volume_attachment_list(struct req *r, struct err *e)
{
	struct server s;
	int rc = server_need(r, &s, e);

	return rc < 0 ? rc : reply_empty(r, "volumeAttachments");
}

int instance_action_list(struct req *r, struct err *e)
{
	struct server s;
	int rc = server_need(r, &s, e);

	return rc < 0 ? rc : reply_empty(r, "instanceActions");
}
