/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Nova API reference, "Hypervisors", "Compute services", "Availability zones". */
#include "hub/compute/host.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "hub/compute/filter.h"
#include "hub/compute/input.h"
#include "hub/compute/page.h"
#include "hub/hub.h"
#include "hub/session.h"

/* Before 2.53 ids are numbers: the row's number serves. */
#define NODE_SELECT                                                                                \
	"SELECT n.id, n.name, z.name, n.enabled, n.inventory, n.status, n.address, "               \
	"COALESCE(n.last_seen_us, 0), n.rowid, n.release, "                                        \
	"(SELECT COUNT(*) FROM server s WHERE s.node_id = n.id), "                                 \
	"(SELECT COALESCE(SUM(json_extract(s.flavor, '$.ram')), 0) FROM server s "                 \
	"WHERE s.node_id = n.id), "                                                                \
	"(SELECT COALESCE(SUM(json_extract(s.flavor, '$.vcpus')), 0) FROM server s "               \
	"WHERE s.node_id = n.id), "                                                                \
	"(SELECT COALESCE(SUM(json_extract(s.flavor, '$.disk')), 0) FROM server s "                \
	"WHERE s.node_id = n.id) FROM node n JOIN site z ON z.id = n.site_id"

struct host {
	const char *id, *name, *site, *address, *release;
	json_t *inventory, *status; /* owned */
	bool enabled, up;
	int64_t seen_us, number, n_servers, ram_mb, vcpus, disk_gb; /* used by flavors */
};

static void host_done(struct host *h)
{
	json_decref(h->inventory);
	json_decref(h->status);
}

static void host_of_row(struct req *r, struct db_rows *q, struct host *ret)
{
	*ret = (struct host){
		.id = db_text(q, 0),
		.name = db_text(q, 1),
		.site = db_text(q, 2),
		.enabled = db_int(q, 3),
		.inventory = db_json(q, 4),
		.status = db_json(q, 5),
		.address = db_text(q, 6),
		.seen_us = db_int(q, 7),
		.number = db_int(q, 8),
		.release = db_text(q, 9),
		.n_servers = db_int(q, 10),
		.ram_mb = db_int(q, 11),
		.vcpus = db_int(q, 12),
		.disk_gb = db_int(q, 13),
	};
	ret->up = session_is_up(r->hub, ret->id);
}

static void put_id(struct req *r, json_t *v, const struct host *h)
{
	if (r->micro >= 53)
		put_str(v, "id", h->id);
	else
		put_int(v, "id", h->number);
}

/* ---- hypervisors ---- */

static json_t *hypervisor_brief(struct req *r, const struct host *h)
{
	json_t *v = json_object();

	put_id(r, v, h);
	put_str(v, "hypervisor_hostname", h->name);
	put_str(v, "state", h->up ? "up" : "down");
	put_str(v, "status", h->enabled ? "enabled" : "disabled");
	return v;
}

/* Dropped from the API in 2.88; before that, what the flavors of placed servers use. */
static void put_capacity(json_t *v, const struct host *h)
{
	int64_t memory = json_int(h->inventory, "memory_mb", 0);
	int64_t disk = json_int(h->inventory, "disk_gb", 0);

	put_int(v, "vcpus", json_int(h->inventory, "vcpus", 0));
	put_int(v, "vcpus_used", h->vcpus);
	put_int(v, "memory_mb", memory);
	put_int(v, "memory_mb_used", h->ram_mb);
	put_int(v, "free_ram_mb", memory - h->ram_mb);
	put_int(v, "local_gb", disk);
	put_int(v, "local_gb_used", h->disk_gb);
	put_int(v, "free_disk_gb", disk - h->disk_gb);
	put_int(v, "disk_available_least", disk - h->disk_gb);
	put_int(v, "running_vms", h->n_servers);
	put_int(v, "current_workload", 0);
}

static void uptime_text(const struct host *h, char *buf, size_t size)
{
	int64_t s = json_int(h->status, "uptime_s", 0);

	snprintf(buf, size,
		 " 00:00:00 up %" PRId64 " days, %2" PRId64 ":%02" PRId64
		 ",  0 users,  load average: 0.00, 0.00, 0.00",
		 s / 86400, s / 3600 % 24, s / 60 % 60);
}

static json_t *hypervisor_view(struct req *r, const struct host *h)
{
	json_t *v = hypervisor_brief(r, h), *service = json_object();
	char uptime[128];

	put_str(v, "hypervisor_type", "demarc");
	put_int(v, "hypervisor_version", 1000);
	put_str(v, "host_ip", h->address ? h->address : "");
	if (r->micro < 88) {
		put_capacity(v, h);
		if (r->micro >= 28)
			json_object_set_new(v, "cpu_info", json_object());
		else
			put_str(v, "cpu_info", "{}");
	} else {
		uptime_text(h, uptime, sizeof(uptime));
		put_str(v, "uptime", uptime);
	}
	if (r->micro >= 53 && r->micro < 75)
		json_object_set_new(v, "servers", json_array());
	put_id(r, service, h);
	put_str(service, "host", h->name);
	put_str(service, "disabled_reason", NULL);
	json_object_set_new(v, "service", service);
	return v;
}

/* Servers of one node, in the form {"name", "uuid"}. */
static int put_servers(struct req *r, json_t *v, const char *node_id, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	json_t *list = json_array();
	int rc;

	json_object_set_new(v, "servers", list);
	rc = db_query(r->db, &q, e, "SELECT name, id FROM server WHERE node_id = ? ORDER BY created_us",
		      "s", node_id);
	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		json_array_append_new(list, json_pack("{s:s, s:s}", "name", db_text(q, 0), "uuid",
						      db_text(q, 1)));
		rc = 0;
	}
	return rc;
}

static bool with_servers(const struct req *r)
{
	const char *word = r->micro >= 53 ? req_query(r, "with_servers") : NULL;

	return word && (strcasecmp(word, "true") == 0 || strcmp(word, "1") == 0);
}

static int hypervisors(struct req *r, bool detail, const char *pattern, struct err *e)
{
	CLEANUP(filter_done) struct filter f = { 0 };
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct page page = { .limit = PAGE_MAX };
	enum page_step step = PAGE_SKIP;
	json_t *v, *reply;
	int rc = r->micro >= 33 ? page_init(r, &page, e) : 0;

	strbuf_adds(&f.sql, NODE_SELECT);
	if (pattern)
		filter_str(&f, "n.name LIKE ? ESCAPE '\\'", filter_like(r->arena, pattern));
	strbuf_adds(&f.sql, " ORDER BY n.rowid");
	if (rc == 0)
		rc = db_queryv(r->db, &q, e, strbuf_cstr(&f.sql), f.args, f.n_args);
	while (rc == 0 && step != PAGE_END && (rc = db_step(q, e)) == 1) {
		CLEANUP(host_done) struct host h;

		rc = 0;
		host_of_row(r, q, &h);
		step = page_next(&page, h.id);
		if (step != PAGE_KEEP)
			continue;
		v = detail ? hypervisor_view(r, &h) : hypervisor_brief(r, &h);
		json_array_append_new(out, v);
		if (with_servers(r))
			rc = put_servers(r, v, h.id, e);
	}
	if (rc < 0 || page_check(&page, e) < 0)
		return -e->num;
	if (pattern && json_array_size(out) == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL,
			       "No hypervisor matching '%.64s' could be "
			       "found.",
			       pattern);
	reply = json_pack("{s:O}", "hypervisors", out);
	page_links(r, &page, "hypervisors", reply);
	req_reply(r, reply);
	return 0;
}

static const char *pattern_of(struct req *r)
{
	return r->micro >= 53 ? req_query(r, "hypervisor_hostname_pattern") : NULL;
}

int hypervisor_list(struct req *r, struct err *e)
{
	return hypervisors(r, false, pattern_of(r), e);
}

int hypervisor_list_detail(struct req *r, struct err *e)
{
	return hypervisors(r, true, pattern_of(r), e);
}

int hypervisor_search(struct req *r, struct err *e)
{
	return hypervisors(r, false, req_param(r, "id"), e);
}

/* By number or UUID. The caller ends the query and the host. */
static int host_need(struct req *r, struct db_rows **q, struct host *h, struct err *e)
{
	const char *id = req_param(r, "id");
	int rc = db_query(r->db, q, e, NODE_SELECT " WHERE n.id = ? OR CAST(n.rowid AS TEXT) = ?",
			  "ss", id, id);

	if (rc == 0)
		rc = db_step(*q, e);
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL,
			       "Hypervisor with ID '%.64s' could not be found.", id);
	if (rc > 0)
		host_of_row(r, *q, h);
	return MIN_OF(rc, 0);
}

int hypervisor_show(struct req *r, struct err *e)
{
	CLEANUP(host_done) struct host h = { 0 };
	CLEANUP(db_donep) struct db_rows *q = NULL;
	json_t *v;
	int rc = host_need(r, &q, &h, e);

	if (rc < 0)
		return rc;
	v = hypervisor_view(r, &h);
	if (with_servers(r))
		rc = put_servers(r, v, h.id, e);
	req_reply(r, json_pack("{s:o}", "hypervisor", v));
	return rc;
}

int hypervisor_uptime(struct req *r, struct err *e)
{
	CLEANUP(host_done) struct host h = { 0 };
	CLEANUP(db_donep) struct db_rows *q = NULL;
	char uptime[128];
	json_t *v;
	int rc = host_need(r, &q, &h, e);

	if (rc < 0)
		return rc;
	v = hypervisor_brief(r, &h);
	uptime_text(&h, uptime, sizeof(uptime));
	put_str(v, "uptime", uptime);
	req_reply(r, json_pack("{s:o}", "hypervisor", v));
	return 0;
}

int hypervisor_servers(struct req *r, struct err *e)
{
	CLEANUP(host_done) struct host h = { 0 };
	CLEANUP(db_donep) struct db_rows *q = NULL;
	json_t *v;
	int rc = host_need(r, &q, &h, e);

	if (rc < 0)
		return rc;
	v = hypervisor_brief(r, &h);
	rc = put_servers(r, v, h.id, e);
	req_reply(r, json_pack("{s:[o]}", "hypervisors", v));
	return rc;
}

static void add(json_t *sum, const json_t *v)
{
	static const char *const keys[] = {
		"vcpus",	  "vcpus_used",	      "memory_mb",
		"memory_mb_used", "free_ram_mb",      "local_gb",
		"local_gb_used",  "free_disk_gb",     "disk_available_least",
		"running_vms",	  "current_workload",
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		put_int(sum, keys[i], json_int(sum, keys[i], 0) + json_int(v, keys[i], 0));
	put_int(sum, "count", json_int(sum, "count", 0) + 1);
}

int hypervisor_statistics(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *sum = json_object();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e, NODE_SELECT " WHERE n.enabled = 1", "");

	add(sum, NULL);
	put_int(sum, "count", 0);
	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		CLEANUP(host_done) struct host h;
		CLEANUP(json_freep) json_t *v = json_object();

		rc = 0;
		host_of_row(r, q, &h);
		put_capacity(v, &h);
		add(sum, v);
	}
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "hypervisor_statistics", sum));
	return rc;
}

/* ---- services ---- */

static json_t *service_view(struct req *r, const struct host *h)
{
	json_t *v = json_object();

	put_id(r, v, h);
	put_str(v, "binary", "nova-compute");
	put_str(v, "host", h->name);
	put_str(v, "zone", h->site);
	put_str(v, "status", h->enabled ? "enabled" : "disabled");
	put_str(v, "state", h->up ? "up" : "down");
	put_time(v, "updated_at", h->seen_us);
	put_str(v, "disabled_reason", NULL);
	if (r->micro >= 11)
		put_bool(v, "forced_down", false);
	return v;
}

int compute_service_list(struct req *r, struct err *e)
{
	CLEANUP(filter_done) struct filter f = { 0 };
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	const char *host = req_query(r, "host"), *binary = req_query(r, "binary");
	int rc;

	strbuf_adds(&f.sql, NODE_SELECT);
	if (host)
		filter_str(&f, "n.name = ?", host);
	if (binary)
		filter_str(&f, "? = 'nova-compute'", binary);
	strbuf_adds(&f.sql, " ORDER BY n.rowid");
	rc = db_queryv(r->db, &q, e, strbuf_cstr(&f.sql), f.args, f.n_args);
	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		CLEANUP(host_done) struct host h;

		rc = 0;
		host_of_row(r, q, &h);
		json_array_append_new(out, service_view(r, &h));
	}
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "services", out));
	return rc;
}

static int set_enabled(struct req *r, const char *column_sql, const char *key, bool enabled,
		       struct err *e)
{
	char sql[128];
	int rc;

	snprintf(sql, sizeof(sql), "UPDATE node SET enabled = ? WHERE %s = ?", column_sql);
	rc = db_execv(r->db, e, sql,
		      (struct db_arg[]){ { .kind = DB_ARG_INT, .i = enabled },
					 { .kind = DB_ARG_TEXT, .s = key } },
		      2);
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "Service %.64s could not be found.", key);
	return MIN_OF(rc, 0);
}

/* PUT /os-services/{id} (2.53). The reason is not kept. */
int compute_service_update(struct req *r, struct err *e)
{
	const char *status = json_str(r->body, "status"), *id = req_param(r, "id");
	CLEANUP(host_done) struct host h = { 0 };
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc;

	if (r->micro < 53)
		return err_set(e, FAULT_NOT_FOUND, NULL, "The resource could not be found.");
	if (!status || (strcmp(status, "enabled") != 0 && strcmp(status, "disabled") != 0))
		return input_bad(e, "status", json_object_get(r->body, "status"),
				 "It is not one of ['enabled', 'disabled']");
	rc = set_enabled(r, "id", id, strcmp(status, "enabled") == 0, e);
	if (rc == 0)
		rc = host_need(r, &q, &h, e);
	if (rc == 0)
		req_reply(r, json_pack("{s:o}", "service", service_view(r, &h)));
	return rc;
}

static int service_switch(struct req *r, bool enabled, struct err *e)
{
	const char *host;
	json_t *v;
	int rc;

	if (r->micro >= 53)
		return err_set(e, FAULT_NOT_FOUND, NULL, "The resource could not be found.");
	rc = json_need_str(r->body, "host", &host, e);
	if (rc == 0)
		rc = set_enabled(r, "name", host, enabled, e);
	if (rc < 0)
		return rc;
	v = json_object();
	put_str(v, "host", host);
	put_str(v, "binary", "nova-compute");
	put_str(v, "status", enabled ? "enabled" : "disabled");
	req_reply(r, json_pack("{s:o}", "service", v));
	return 0;
}

int compute_service_enable(struct req *r, struct err *e)
{
	return service_switch(r, true, e);
}

int compute_service_disable(struct req *r, struct err *e)
{
	return service_switch(r, false, e);
}

/* ---- availability zones ---- */

static json_t *host_services(struct req *r, const char *node_id, bool enabled, int64_t seen_us)
{
	json_t *v = json_object();

	put_bool(v, "available", session_is_up(r->hub, node_id));
	put_bool(v, "active", enabled);
	put_time(v, "updated_at", seen_us);
	return json_pack("{s:o}", "nova-compute", v);
}

static json_t *zone_new(json_t *out, const char *name, bool detail)
{
	json_t *zone = json_pack("{s:s, s:{s:b}}", "zoneName", name, "zoneState", "available", 0);

	json_object_set_new(zone, "hosts", detail ? json_object() : json_null());
	json_array_append_new(out, zone);
	return zone;
}

/* A zone is available when it has an enabled node, connected or not: work for it is accepted and carried out later. */
static int zones(struct req *r, bool detail, struct err *e)
{
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	json_t *zone = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT z.name, n.id, n.name, n.enabled, COALESCE(n.last_seen_us, 0) "
			  "FROM site z LEFT JOIN node n ON n.site_id = z.id ORDER BY z.name, n.name",
			  "");

	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		rc = 0;
		if (!zone || strcmp(json_str(zone, "zoneName"), db_text(q, 0)) != 0)
			zone = zone_new(out, db_text(q, 0), detail);
		if (db_is_null(q, 1))
			continue;
		if (db_int(q, 3))
			put_bool(json_object_get(zone, "zoneState"), "available", true);
		if (detail)
			json_object_set_new(json_object_get(zone, "hosts"), db_text(q, 2),
					    host_services(r, db_text(q, 1), db_int(q, 3), db_int(q, 4)));
	}
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "availabilityZoneInfo", out));
	return rc;
}

int zone_list(struct req *r, struct err *e)
{
	return zones(r, false, e);
}

int zone_list_detail(struct req *r, struct err *e)
{
	return zones(r, true, e);
}
