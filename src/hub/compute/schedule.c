/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/compute/schedule.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "hub/compute/filter.h"
#include "hub/hub.h"
#include "hub/session.h"

/* Nova's initial_ram_allocation_ratio (in halves) and initial_cpu_allocation_ratio. */
#define RAM_RATIO_HALVES 3
#define CPU_RATIO 16
#define REASON_MAX 600 /* bytes: fits struct err and a fault */

int schedule_zone(struct req *r, const char *text, struct placement_want *want, struct err *e)
{
	struct str host, zone = str_cut(str_of(text), ':', &host);
	int64_t there;
	int rc;

	if (zone.len == 0)
		return 0;
	want->zone = arena_memdup(r->arena, zone.ptr, zone.len);
	rc = db_get_int(r->db, &there, e, "SELECT 1 FROM site WHERE name = ?", "s", want->zone);
	if (rc == 0)
		return err_set(e, FAULT_BAD_REQUEST, "availability_zone",
			       "The requested availability zone is not available: there is no site "
			       "'%.64s'",
			       want->zone);
	if (rc < 0 || host.len == 0)
		return MIN_OF(rc, 0);
	want->host = arena_memdup(r->arena, host.ptr, host.len);
	rc = db_get_int(r->db, &there, e,
			"SELECT 1 FROM node n JOIN site z ON z.id = n.site_id WHERE z.name = ? "
			"AND n.name = ?",
			"ss", want->zone, want->host);
	if (rc == 0)
		return err_set(e, FAULT_BAD_REQUEST, "availability_zone",
			       "Compute host %.64s could not be found in availability zone %.64s.",
			       want->host, want->zone);
	return MIN_OF(rc, 0);
}

struct candidate {
	const char *id, *name, *site;
	bool known, up;
	int64_t memory_mb, vcpus, free_mb, free_vcpus;
};

static void candidate_of_row(struct req *r, struct db_rows *q, struct candidate *ret)
{
	CLEANUP(json_freep) json_t *inventory = db_json(q, 3);

	*ret = (struct candidate){
		.id = db_text(q, 0),
		.name = db_text(q, 1),
		.site = db_text(q, 2),
		.memory_mb = json_int(inventory, "memory_mb", 0),
		.vcpus = json_int(inventory, "vcpus", 0),
	};
	ret->known = ret->memory_mb > 0 && ret->vcpus > 0;
	ret->free_mb = ret->memory_mb * RAM_RATIO_HALVES / 2 - db_int(q, 4);
	ret->free_vcpus = ret->vcpus * CPU_RATIO - db_int(q, 5);
	ret->up = session_is_up(r->hub, ret->id);
}

static bool fits(const struct candidate *c, const struct flavor *f)
{
	return !c->known || (c->free_mb >= f->ram_mb && c->free_vcpus >= f->vcpus);
}

/* Is a the better place than b? */
static bool better(const struct candidate *a, const struct candidate *b)
{
	if (!b->id)
		return true;
	if (a->up != b->up)
		return a->up;
	if (a->known != b->known)
		return a->known;
	return a->free_mb > b->free_mb;
}

static void explain_full(struct strbuf *b, const struct candidate *c, const struct flavor *f)
{
	strbuf_addf(b,
		    " Node %s has %" PRId64 " MB and %" PRId64 " vCPUs free; %s needs %" PRId64
		    " MB and %" PRId64 ".",
		    c->name, MAX_OF(c->free_mb, (int64_t)0), MAX_OF(c->free_vcpus, (int64_t)0),
		    f->name, f->ram_mb, f->vcpus);
}

static void explain_none(struct strbuf *b, const struct placement_want *want)
{
	if (want->bound_to && want->zone)
		strbuf_addf(b,
			    " The node that its ports are bound to is not an enabled node of "
			    "availability zone %.64s.",
			    want->zone);
	else if (want->bound_to)
		strbuf_adds(b, " The node that its ports are bound to is not enabled.");
	else if (want->host)
		strbuf_addf(b, " Node %.64s is not enabled.", want->host);
	else if (want->zone)
		strbuf_addf(b, " Availability zone %.64s has no enabled node.", want->zone);
	else
		strbuf_adds(b, " There is no enabled node.");
}

static void candidate_query(struct filter *f, const struct placement_want *want)
{
	strbuf_adds(&f->sql, "SELECT n.id, n.name, z.name, n.inventory, "
			     "(SELECT COALESCE(SUM(json_extract(s.flavor, '$.ram')), 0) FROM server s "
			     "WHERE s.node_id = n.id), "
			     "(SELECT COALESCE(SUM(json_extract(s.flavor, '$.vcpus')), 0) FROM server s "
			     "WHERE s.node_id = n.id) FROM node n JOIN site z ON z.id = n.site_id");
	filter_cond(f, "n.enabled = 1 AND n.revoked = 0");
	if (want->zone)
		filter_str(f, "z.name = ?", want->zone);
	if (want->host)
		filter_str(f, "n.name = ?", want->host);
	if (want->bound_to)
		filter_str(f, "n.id = ?", want->bound_to);
	strbuf_adds(&f->sql, " ORDER BY n.name");
}

static int place(struct req *r, struct placement *ret, const struct candidate *best,
		 const struct strbuf *reason, struct err *e)
{
	if (best->id)
		*ret = (struct placement){ best->id, best->name, best->site, NULL };
	else
		*ret = (struct placement){ .reason = arena_strdup(r->arena, strbuf_cstr(reason)) };
	return arena_failed(r->arena) ? err_set(e, FAULT_NO_MEMORY, NULL, "out of memory") : 0;
}

int schedule(struct req *r, const struct placement_want *want, struct placement *ret, struct err *e)
{
	CLEANUP(strbuf_done) struct strbuf reason = { .limit_bytes = REASON_MAX };
	CLEANUP(filter_done) struct filter f = { 0 };
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct candidate best = { 0 }, c;
	size_t n = 0;
	int rc;

	candidate_query(&f, want);
	strbuf_adds(&reason, "No valid host was found.");
	rc = db_queryv(r->db, &q, e, strbuf_cstr(&f.sql), f.args, f.n_args);
	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		rc = 0;
		n++;
		candidate_of_row(r, q, &c);
		if (!fits(&c, want->flavor)) {
			explain_full(&reason, &c, want->flavor);
		} else if (better(&c, &best)) {
			best = c;
			best.id = arena_strdup(r->arena, c.id);
			best.name = arena_strdup(r->arena, c.name);
			best.site = arena_strdup(r->arena, c.site);
		}
	}
	if (rc < 0)
		return rc;
	if (n == 0)
		explain_none(&reason, want);
	return place(r, ret, &best, &reason, e);
}
