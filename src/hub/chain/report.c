/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/chain/report.h"

#include <jansson.h>

#include "base/clock.h"
#include "base/json.h"
#include "model/chain.h"

static const char *state_name(Demarc__V1__ChainState s)
{
	switch (s) {
	case DEMARC__V1__CHAIN_STATE__CHAIN_ACTIVE:
		return "active";
	case DEMARC__V1__CHAIN_STATE__CHAIN_DEGRADED:
		return "degraded";
	case DEMARC__V1__CHAIN_STATE__CHAIN_HELD:
		return "held";
	case DEMARC__V1__CHAIN_STATE__CHAIN_FAILED:
		return "failed";
	case _DEMARC__V1__CHAIN_STATE_IS_INT_SIZE:
		break;
	}
	return "unknown"; /* a newer node's */
}

static json_t *hop_json(const Demarc__V1__HopStatus *h)
{
	json_t *pairs = json_array();

	for (size_t i = 0; i < h->n_healthy_pairs && i < CHAIN_PAIRS_MAX; i++)
		(void)json_array_append_new(pairs, json_string(h->healthy_pairs[i]));
	return json_pack("{s:s, s:s, s:b, s:s, s:o}", "group_id", h->group_id, "name", h->name,
			 "in_path", (int)h->in_path, "reason", h->reason, "healthy_pairs", pairs);
}

static json_t *hops_json(const Demarc__V1__ChainStatus *s)
{
	json_t *hops = json_array();

	for (size_t i = 0; i < s->n_hops && i < CHAIN_HOPS_MAX; i++)
		(void)json_array_append_new(hops, hop_json(s->hops[i]));
	return hops;
}

static json_t *status_json(const Demarc__V1__ChainStatus *s, json_t *hops)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:I, s:I, s:O}", "state", state_name(s->state),
			 "reason", s->reason, "path", (json_int_t)s->path, "change_id", s->change_id,
			 "held_change_id", s->held_change_id, "draining", (json_int_t)s->flows_draining,
			 "reported_us", (json_int_t)clock_wall_us(), "hops", hops);
}

/* Figures belong to the moment of the change: a later report, of an agent that was restarted since, does not know them. */
static int confirm(struct db *db, const Demarc__V1__ChainStatus *s, const json_t *hops, struct err *e)
{
	int rc = db_exec(db, e,
			 "UPDATE chain_change SET status = 'confirmed', reason = ?, confirmed_us = ?, flipped_us = ?, "
			 "build_us = ?, flows_moved = ?, flows_kept = ?, flows_draining = ?, path = ?, hops = ? "
			 "WHERE id = ? AND chain_id = ? AND confirmed_us IS NULL",
			 "siiiiiiijss", s->reason, clock_wall_us(), s->flipped_us,
			 (int64_t)s->build_us, (int64_t)s->flows_moved, (int64_t)s->flows_kept,
			 (int64_t)s->flows_draining, (int64_t)s->path, hops, s->change_id, s->id);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return db_exec(db, e,
			       "UPDATE chain_change SET flows_draining = ?1 WHERE id = ?2 AND chain_id = ?3 AND flows_draining <> ?1",
			       "iss", (int64_t)s->flows_draining, s->change_id, s->id);
	return db_exec(db, e,
		       "UPDATE chain_change SET status = 'superseded' WHERE chain_id = ?1 AND status IN ('pending', 'held') AND "
		       "requested_us < (SELECT requested_us FROM chain_change WHERE id = ?2)",
		       "ss", s->id, s->change_id);
}

static int hold(struct db *db, const Demarc__V1__ChainStatus *s, struct err *e)
{
	bool failed = s->state == DEMARC__V1__CHAIN_STATE__CHAIN_FAILED;

	return db_exec(db, e,
		       "UPDATE chain_change SET status = ?, reason = ? WHERE id = ? AND chain_id = ? AND status IN ('pending', 'held')",
		       "ssss", failed ? "failed" : "held", s->reason, s->held_change_id, s->id);
}

int chain_report(struct db *db, const char *node_id, const Demarc__V1__ChainStatus *s, struct err *e)
{
	CLEANUP(json_freep) json_t *hops = hops_json(s), *status = status_json(s, hops);
	int rc = db_exec(db, e,
			 "UPDATE sfc_port_chain SET status = ?, seen_version = ? WHERE id = ? AND node_id = ?",
			 "jiss", status, (int64_t)s->version, s->id, node_id);

	if (rc <= 0)
		return rc;
	if (s->change_id[0])
		rc = confirm(db, s, hops, e);
	if (rc >= 0 && s->held_change_id[0])
		rc = hold(db, s, e);
	return rc < 0 ? rc : 1;
}
