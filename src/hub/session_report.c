/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "base/types.h"
#include "hub/chain/report.h"
#include "hub/compute/report.h"
#include "hub/network/report.h"

/* One Report into rows: each service takes its own part; events and the node's figures are taken here. */

#define EVENT_KIND_MAX 64
#define EVENT_RESOURCE_MAX 128
#define EVENT_TEXT_MAX 1024
#define REPORT_COUNTERS_MAX 256
#define REPORT_NICS_MAX 64
#define NIC_FEATURES_MAX 32
#define NIC_TEXT_MAX 128

/* ---- events ---- */

/*
 * "server/<id>": the project that may see the event is that of the resource, when the node has that: what a node says of things elsewhere is
 * nobody's but the administrator's to read. Agents of earlier releases said the id alone.
 */
static const struct {
	const char *kind, *sql;
} owners[] = {
	{ "server", "SELECT project_id FROM server WHERE id = ?1 AND node_id = ?2" },
	{ "port", "SELECT project_id FROM port WHERE id = ?1 AND node_id = ?2" },
	{ "network",
	  "SELECT project_id FROM network n WHERE id = ?1 AND EXISTS (SELECT 1 FROM port WHERE node_id = ?2 AND network_id = n.id)" },
	{ "chain", "SELECT project_id FROM sfc_port_chain WHERE id = ?1 AND node_id = ?2" },
};

static int owner_of(struct db *db, const char *sql, const char *id, const char *node_id,
		    char ret[static 40], struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(db, &q, e, sql, "ss", id, node_id);

	if (rc >= 0)
		rc = db_step(q, e);
	if (rc == 1)
		(void)str_copy(ret, 40, str_of(db_text(q, 0)));
	return rc < 0 ? rc : 0;
}

static int event_project(struct db *db, const char *node_id, const char *resource,
			 char ret[static 40], struct err *e)
{
	struct str id, kind = str_cut(str_of(resource), '/', &id);
	bool bare = !strchr(resource, '/');
	int rc = 0;

	ret[0] = '\0';
	for (size_t i = 0; rc == 0 && !*ret && i < ARRAY_LEN(owners); i++)
		if (bare || str_eq_c(kind, owners[i].kind))
			rc = owner_of(db, owners[i].sql, bare ? resource : id.ptr, node_id, ret, e);
	return rc;
}

static int event_check(const Demarc__V1__Event *v, struct err *e)
{
	struct uuid id;
	bool severity = strcmp(v->severity, "info") == 0 || strcmp(v->severity, "warning") == 0 ||
			strcmp(v->severity, "error") == 0;

	if (uuid_parse(str_of(v->id), &id) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "events.id", "an event's id is not a UUID");
	if (!severity || !*v->kind || strlen(v->kind) > EVENT_KIND_MAX ||
	    strlen(v->resource) > EVENT_RESOURCE_MAX || strlen(v->text) > EVENT_TEXT_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "events", "event %s is not valid", v->id);
	return 0;
}

static int event_store(struct db *db, const char *node_id, const Demarc__V1__Event *v, struct err *e)
{
	char project[40];
	int rc = event_check(v, e);

	if (rc == 0)
		rc = event_project(db, node_id, v->resource, project, e);
	if (rc == 0)
		rc = db_exec(db, e,
			     "INSERT INTO event (id, time_us, node_id, site_id, project_id, kind, severity, resource, text) "
			     "SELECT ?, ?, id, site_id, ?, ?, ?, ?, ? FROM node WHERE id = ? ON CONFLICT (id) DO NOTHING",
			     "sissssss", v->id, v->time_us, *project ? project : NULL, v->kind,
			     v->severity, v->resource, v->text, node_id);
	return rc < 0 ? rc : 0;
}

static int events_store(struct db *db, const char *node_id, const Demarc__V1__Report *r, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < r->n_events; i++)
		rc = event_store(db, node_id, r->events[i], e);
	if (rc < 0 || r->n_events == 0)
		return rc;
	return db_exec(db, e, "DELETE FROM event WHERE seq <= (SELECT max(seq) FROM event) - ?",
		       "i", (int64_t)EVENTS_MAX);
}

/* ---- the node's own figures ---- */

static int nic_check(const Demarc__V1__NicStatus *v, struct err *e)
{
	const char *const texts[] = { v->name, v->device, v->driver, v->hook, v->reason };

	if (v->n_features > NIC_FEATURES_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "node.nics.features",
			       "node.nics.features: more than %d", NIC_FEATURES_MAX);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (strlen(texts[i]) > NIC_TEXT_MAX)
			return err_set(e, FAULT_BAD_REQUEST, "node.nics",
				       "node.nics: a text is longer than %d bytes", NIC_TEXT_MAX);
	for (size_t i = 0; i < v->n_features; i++)
		if (strlen(v->features[i]) > NIC_TEXT_MAX)
			return err_set(e, FAULT_BAD_REQUEST, "node.nics.features",
				       "node.nics.features: a text is longer than %d bytes",
				       NIC_TEXT_MAX);
	return 0;
}

static int nics_check(const Demarc__V1__NodeStatus *n, struct err *e)
{
	int rc = 0;

	if (n->n_nics > REPORT_NICS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "node.nics", "node.nics: more than %d",
			       REPORT_NICS_MAX);
	for (size_t i = 0; rc == 0 && i < n->n_nics; i++)
		rc = nic_check(n->nics[i], e);
	return rc;
}

static json_t *nics_json(const Demarc__V1__NodeStatus *n)
{
	json_t *all = json_array();

	for (size_t i = 0; i < n->n_nics; i++) {
		const Demarc__V1__NicStatus *v = n->nics[i];
		json_t *o = json_object(), *features = json_array();

		for (size_t k = 0; k < v->n_features; k++)
			json_array_append_new(features, json_string(v->features[k]));
		json_object_set_new(o, "name", json_string(v->name));
		json_object_set_new(o, "device", json_string(v->device));
		json_object_set_new(o, "driver", json_string(v->driver));
		json_object_set_new(o, "hook", json_string(v->hook));
		json_object_set_new(o, "reason", json_string(v->reason));
		json_object_set_new(o, "features", features);
		json_array_append_new(all, o);
	}
	return all;
}

static json_t *status_json(const Demarc__V1__NodeStatus *n)
{
	json_t *o = json_object(), *drops = json_object(), *counters = json_object();

	for (size_t i = 0; i < n->n_drops && i < REPORT_COUNTERS_MAX; i++)
		json_object_set_new(drops, n->drops[i]->name,
				    json_integer((json_int_t)n->drops[i]->value));
	for (size_t i = 0; i < n->n_counters && i < REPORT_COUNTERS_MAX; i++)
		json_object_set_new(counters, n->counters[i]->name,
				    json_integer((json_int_t)n->counters[i]->value));
	json_object_set_new(o, "memory_used_mb", json_integer((json_int_t)n->memory_used_mb));
	json_object_set_new(o, "running_functions", json_integer(n->running_functions));
	json_object_set_new(o, "uptime_s", json_integer((json_int_t)n->uptime_s));
	json_object_set_new(o, "drops", drops);
	json_object_set_new(o, "counters", counters);
	json_object_set_new(o, "nics", nics_json(n));
	return o;
}

static int seq_store(struct db *db, const struct job *j, struct err *e)
{
	const Demarc__V1__Report *r = j->frame->report;
	CLEANUP(json_freep) json_t *status = r->node ? status_json(r->node) : NULL;

	return db_exec(db, e,
		       "UPDATE node SET report_seq = ?, last_seen_us = ?, status = COALESCE(?, status) WHERE id = ?",
		       "iijs", (int64_t)r->seq, j->now_us, status, j->node_id);
}

/* ---- all of it ---- */

static int parts_apply(struct db *db, const char *node_id, const Demarc__V1__Report *r, struct err *e)
{
	int rc = r->node ? nics_check(r->node, e) : 0;

	for (size_t i = 0; rc >= 0 && i < r->n_ports; i++)
		rc = port_report(db, node_id, r->ports[i], e);
	for (size_t i = 0; rc >= 0 && i < r->n_servers; i++)
		rc = compute_report(db, node_id, r->servers[i], e);
	for (size_t i = 0; rc >= 0 && i < r->n_chains; i++)
		rc = chain_report(db, node_id, r->chains[i], e);
	return rc < 0 ? rc : events_store(db, node_id, r, e);
}

int session_report_apply(struct db *db, const struct job *j, struct err *e)
{
	const Demarc__V1__Report *r = j->frame->report;
	int64_t stored;
	int rc;

	if (r->seq == 0 || r->seq > INT64_MAX)
		return err_set(e, FAULT_PROTOCOL, "seq", "a report's number is out of range");
	rc = db_get_int(db, &stored, e, "SELECT report_seq FROM node WHERE id = ?", "s", j->node_id);
	if (rc <= 0)
		return rc < 0 ? rc :
				err_set(e, FAULT_NOT_FOUND, NULL, "the hub does not know this node");
	if ((int64_t)r->seq <= stored)
		return 0; /* its acknowledgement was lost */
	rc = parts_apply(db, j->node_id, r, e);
	if (rc < 0)
		return rc;
	rc = seq_store(db, j, e);
	return rc < 0 ? rc : 0;
}
