/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/compute/report.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"

#define FAULT_TEXT_MAX 512 /* bytes of a node's sentence that are kept */

/* Nova's power states. Source: nova/compute/power_state.py. */
enum power_state { POWER_NOSTATE = 0, POWER_RUNNING = 1, POWER_SHUTDOWN = 4, POWER_CRASHED = 6 };

struct row {
	char vm_state[16], task[32]; /* task "": none */
	char power[16];
	char fault[FAULT_TEXT_MAX + 1];
	int64_t power_state, reboot_generation, intent_version, launched_us, healthy, n_restarts;
};

static void copy(char *dst, size_t size, const char *src)
{
	str_copy(dst, size, str_of(src));
}

static int load(struct db *db, const char *node_id, const char *id, struct row *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	CLEANUP(json_freep) json_t *fault = NULL;
	int rc = db_query(db, &q, e,
			  "SELECT s.vm_state, s.task_state, s.power, s.fault, s.power_state, "
			  "s.reboot_generation, COALESCE(o.version, 0), COALESCE(s.launched_us, 0), "
			  "s.healthy, s.n_restarts FROM server s LEFT JOIN intent_object o "
			  "ON o.node_id = s.node_id AND o.kind = 'server' AND o.id = s.id "
			  "WHERE s.id = ? AND s.node_id = ?",
			  "ss", id, node_id);

	if (rc == 0)
		rc = db_step(q, e);
	if (rc <= 0)
		return rc;
	*ret = (struct row){
		.power_state = db_int(q, 4),
		.reboot_generation = db_int(q, 5),
		.intent_version = db_int(q, 6),
		.launched_us = db_int(q, 7),
		.healthy = db_int(q, 8),
		.n_restarts = db_int(q, 9),
	};
	copy(ret->vm_state, sizeof(ret->vm_state), db_text(q, 0));
	copy(ret->task, sizeof(ret->task), db_text(q, 1));
	copy(ret->power, sizeof(ret->power), db_text(q, 2));
	fault = db_json(q, 3);
	copy(ret->fault, sizeof(ret->fault), json_str(fault, "message"));
	return 1;
}

static void settle(struct row *row, const char *vm_state, enum power_state power_state)
{
	copy(row->vm_state, sizeof(row->vm_state), vm_state);
	row->power_state = power_state;
	row->task[0] = '\0';
}

static bool waits_for(const struct row *row, const char *task)
{
	return strcmp(row->task, task) == 0;
}

/* Running ends a build, a start and, once the wanted reboot has been carried out, a reboot; never a stop. */
static void apply_running(struct row *row, const Demarc__V1__ServerStatus *s)
{
	if (waits_for(row, "powering-off"))
		return;
	if ((waits_for(row, "rebooting") || waits_for(row, "rebooting_hard")) &&
	    s->reboot_generation < (uint64_t)row->reboot_generation)
		return;
	settle(row, "active", POWER_RUNNING);
	if (row->launched_us == 0)
		row->launched_us = s->started_us > 0 ? s->started_us : clock_wall_us();
}

/* Stopped ends a stop, and tells of a function that ended by itself; on the way up it is only a stage. */
static void apply_stopped(struct row *row)
{
	if (row->task[0] && !waits_for(row, "powering-off"))
		return;
	settle(row, "stopped", POWER_SHUTDOWN);
}

static void apply_state(struct row *row, const Demarc__V1__ServerStatus *s)
{
	switch (s->state) {
	case DEMARC__V1__SERVER_STATE__SERVER_BUILDING:
		if (strcmp(row->vm_state, "building") == 0 && !row->task[0])
			copy(row->task, sizeof(row->task), "spawning");
		break;
	case DEMARC__V1__SERVER_STATE__SERVER_RUNNING:
		apply_running(row, s);
		break;
	case DEMARC__V1__SERVER_STATE__SERVER_STOPPED:
		apply_stopped(row);
		break;
	case DEMARC__V1__SERVER_STATE__SERVER_FAILED:
		settle(row, "error", POWER_NOSTATE);
		break;
	case DEMARC__V1__SERVER_STATE__SERVER_RESTARTING:
		row->power_state = POWER_CRASHED;
		break;
	case DEMARC__V1__SERVER_STATE__SERVER_GONE:
	case _DEMARC__V1__SERVER_STATE_IS_INT_SIZE:
		break;
	}
	row->healthy = s->healthy;
	row->n_restarts = s->n_restarts;
	copy(row->fault, sizeof(row->fault), s->fault);
}

static int save(struct db *db, const Demarc__V1__ServerStatus *s, const struct row *row, struct err *e)
{
	CLEANUP(json_freep) json_t *fault = NULL;
	int64_t now = clock_wall_us();
	int rc;

	if (row->fault[0])
		fault = json_pack("{s:i, s:s, s:I}", "code", 500, "message", row->fault, "created",
				  (json_int_t)now);
	rc = db_exec(db, e,
		     "UPDATE server SET vm_state = ?, task_state = ?, power_state = ?, fault = ?, "
		     "healthy = ?, n_restarts = ?, launched_us = ?, seen_version = ?, updated_us = ? "
		     "WHERE id = ?",
		     "ssijiiiiis", row->vm_state, row->task[0] ? row->task : NULL, row->power_state,
		     fault, row->healthy, row->n_restarts, row->launched_us, (int64_t)s->version,
		     now, s->id);
	return rc < 0 ? rc : 1;
}

int compute_report(struct db *db, const char *node_id, const Demarc__V1__ServerStatus *s, struct err *e)
{
	struct row row, old;
	int rc = load(db, node_id, s->id, &row, e);

	if (rc <= 0)
		return rc;
	old = row;
	/* Something is awaited, and this was seen before the node heard of it. */
	if (row.task[0] && s->version < (uint64_t)row.intent_version)
		return 0;
	apply_state(&row, s);
	/* Padding can at worst cost a write. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
	if (memcmp(&row, &old, sizeof(row)) == 0)
		return 0;
	return save(db, s, &row, e);
}
