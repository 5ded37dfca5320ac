/* SPDX-License-Identifier: Apache-2.0 */
/* DELETE /servers/{id} and POST /servers/{id}/action. Source: Nova API reference, "Servers - run an action". */
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "demarc.pb-c.h"
#include "hub/compute/input.h"
#include "hub/compute/server.h"
#include "hub/compute/vif.h"
#include "hub/session.h"

#define CONSOLE_MAX (256u << 10) /* bytes asked of the node */
#define CONSOLE_TIMEOUT_MS 5000

/* The row goes at once; the tombstone in the node's intent does the rest, also for a node that is away. */
static int remove_server(struct req *r, const struct server *s, struct err *e)
{
	int rc = vif_unplug_all(r, s, e);

	if (rc == 0)
		rc = db_exec(r->db, e, "DELETE FROM server WHERE id = ?", "s", s->id);
	if (rc < 0)
		return rc;
	if (s->node_id)
		req_touch_node(r, s->node_id);
	return 0;
}

int server_delete(struct req *r, struct err *e)
{
	struct server s;
	int rc = server_need(r, &s, e);

	return rc < 0 ? rc : remove_server(r, &s, e);
}

/* ---- actions that change what is wanted ---- */

static int want(struct req *r, const struct server *s, const char *power, bool reboot,
		const char *task, struct err *e)
{
	int rc = db_exec(r->db, e,
			 "UPDATE server SET power = ?, reboot_generation = reboot_generation + ?, "
			 "task_state = ? WHERE id = ?",
			 "siss", power, (int64_t)reboot, task, s->id);

	return rc < 0 ? rc : server_touch(r, s, e);
}

static bool in_state(const struct server *s, const char *vm_state)
{
	return strcmp(s->vm_state, vm_state) == 0;
}

static int act_start(struct req *r, const struct server *s, const json_t *arg, struct err *e)
{
	if (!s->node_id || !in_state(s, "stopped"))
		return server_state_conflict(s, "start", e);
	return want(r, s, "running", false, "powering-on", e);
}

static int act_stop(struct req *r, const struct server *s, const json_t *arg, struct err *e)
{
	if (!s->node_id || !(in_state(s, "active") || in_state(s, "error")))
		return server_state_conflict(s, "stop", e);
	return want(r, s, "stopped", false, "powering-off", e);
}

/* HARD also starts a stopped server and revives one in error. */
static int act_reboot(struct req *r, const struct server *s, const json_t *arg, struct err *e)
{
	const char *type = json_str(arg, "type");
	bool hard;

	if (!type || (strcasecmp(type, "SOFT") != 0 && strcasecmp(type, "HARD") != 0))
		return input_bad(e, "type", json_object_get(arg, "type"),
				 "It is not one of ['HARD', 'SOFT']");
	hard = strcasecmp(type, "HARD") == 0;
	if (!s->node_id || in_state(s, "building") || (!hard && !in_state(s, "active")))
		return server_state_conflict(s, "reboot", e);
	return want(r, s, "running", true, hard ? "rebooting_hard" : "rebooting", e);
}

static int act_force_delete(struct req *r, const struct server *s, const json_t *arg, struct err *e)
{
	return remove_server(r, s, e);
}

/* Admin: only the shown state changes; the node's next report has the last word. */
static int act_reset_state(struct req *r, const struct server *s, const json_t *arg, struct err *e)
{
	const char *state = json_str(arg, "state");
	int rc;

	if (!r->auth.is_admin)
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "Policy doesn't allow os_compute_api:os-admin-actions:reset_state to "
			       "be performed.");
	if (!state || (strcmp(state, "active") != 0 && strcmp(state, "error") != 0))
		return input_bad(e, "state", json_object_get(arg, "state"),
				 "It is not one of ['active', 'error']");
	rc = db_exec(r->db, e, "UPDATE server SET vm_state = ?, task_state = NULL WHERE id = ?",
		     "ss", state, s->id);
	return rc < 0 ? rc : 0;
}

/* ---- console log ---- */

/* What the function printed may be any bytes: everything that JSON text cannot carry becomes '?'. */
static json_t *printable(const uint8_t *bytes, size_t size)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	for (size_t i = 0; i < size;) {
		size_t n = bytes[i] < 0x80 ? 1 : bytes[i] >= 0xf0 ? 4 : bytes[i] >= 0xe0 ? 3 : 2;

		if (n > 1 && (i + n > size || !str_is_utf8((struct str){ (const char *)bytes + i, n })))
			n = 0;
		if (n == 0 || (n == 1 && bytes[i] == 0)) {
			strbuf_addc(&b, '?');
			i++;
			continue;
		}
		strbuf_add(&b, bytes + i, n);
		i += n;
	}
	return json_stringn(strbuf_cstr(&b), b.len);
}

/* The tail of n_lines lines; all of it when n_lines < 0. */
static size_t tail_of(const uint8_t *bytes, size_t size, int64_t n_lines)
{
	size_t i = size;

	if (n_lines < 0)
		return 0;
	if (i > 0 && bytes[i - 1] == '\n')
		i--;
	for (; i > 0; i--)
		if (bytes[i - 1] == '\n' && --n_lines <= 0)
			break;
	return n_lines <= 0 || i == 0 ? i : 0;
}

static int console_reply(struct req *r, const struct server *s, const Demarc__V1__Frame *f,
			 int64_t n_lines, struct err *e)
{
	const Demarc__V1__CallResult *result = f->call_result;
	const ProtobufCBinaryData *data;
	size_t from;

	if (f->body_case != DEMARC__V1__FRAME__BODY_CALL_RESULT || !result)
		return err_set(e, FAULT_INTERNAL, NULL, "The node answered something else.");
	if (result->error && *result->error)
		return err_set(e, FAULT_NOT_FOUND, NULL,
			       "Unable to get console log of instance %s: %s", s->id, result->error);
	if (result->body_case != DEMARC__V1__CALL_RESULT__BODY_CONSOLE_LOG)
		return err_set(e, FAULT_INTERNAL, NULL, "The node answered something else.");
	data = &result->console_log->data;
	from = n_lines == 0 ? data->len : tail_of(data->data, data->len, n_lines);
	req_reply(r, json_pack("{s:o}", "output", printable(data->data + from, data->len - from)));
	r->status = 200;
	return 0;
}

/* No transaction is open here: the node may take its time. */
static int console(struct req *r, const struct server *s, const json_t *arg, struct err *e)
{
	Demarc__V1__ConsoleLogCall log = DEMARC__V1__CONSOLE_LOG_CALL__INIT;
	Demarc__V1__Call call = DEMARC__V1__CALL__INIT;
	Demarc__V1__Frame *answer = NULL;
	int64_t n_lines = -1;
	int rc;

	if (json_is_object(arg) && !json_is_null(json_object_get(arg, "length")) &&
	    input_int(arg, "length", -1, 1000000, &n_lines, e) < 0)
		return -e->num;
	if (!s->node_id)
		return err_set(e, FAULT_IN_USE, NULL, "Instance %s is not ready", s->id);
	log.server_id = (char *)s->id;
	log.max_bytes = CONSOLE_MAX;
	call.body_case = DEMARC__V1__CALL__BODY_CONSOLE_LOG;
	call.console_log = &log;
	rc = session_call(r->hub, s->node_id, &call, CONSOLE_TIMEOUT_MS, &answer, e);
	if (rc < 0)
		return rc;
	rc = console_reply(r, s, answer, n_lines, e);
	demarc__v1__frame__free_unpacked(answer, NULL);
	return rc;
}

/* ---- dispatch ---- */

typedef int (*action_fn)(struct req *r, const struct server *s, const json_t *arg, struct err *e);

/* fn NULL: an action that Nova has and network functions do not. */
static const struct action {
	const char *name;
	action_fn fn;
} actions[] = {
	{ "os-start", act_start },
	{ "os-stop", act_stop },
	{ "reboot", act_reboot },
	{ "forceDelete", act_force_delete },
	{ "os-resetState", act_reset_state },
	{ "os-getConsoleOutput", console },
	{ "rebuild" },
	{ "resize" },
	{ "confirmResize" },
	{ "revertResize" },
	{ "createImage" },
	{ "createBackup" },
	{ "changePassword" },
	{ "pause" },
	{ "unpause" },
	{ "suspend" },
	{ "resume" },
	{ "rescue" },
	{ "unrescue" },
	{ "shelve" },
	{ "shelveOffload" },
	{ "unshelve" },
	{ "lock" },
	{ "unlock" },
	{ "migrate" },
	{ "os-migrateLive" },
	{ "evacuate" },
	{ "restore" },
	{ "trigger_crash_dump" },
	{ "addSecurityGroup" },
	{ "removeSecurityGroup" },
	{ "addFixedIp" },
	{ "removeFixedIp" },
	{ "os-getVNCConsole" },
	{ "os-getSPICEConsole" },
	{ "os-getRDPConsole" },
	{ "os-getSerialConsole" },
};

static int find_action(const char *name, const struct action **ret, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		if (strcmp(actions[i].name, name) != 0)
			continue;
		if (!actions[i].fn)
			return err_set(e, FAULT_NOT_IMPLEMENTED, NULL,
				       "The action '%s' is not available for network functions.", name);
		*ret = &actions[i];
		return 0;
	}
	return err_set(e, FAULT_BAD_REQUEST, NULL, "There is no such action: %.64s", name);
}

static int read_action(struct req *r, const struct action **ret, const json_t **ret_arg, struct err *e)
{
	void *it;

	if (!json_is_object(r->body) || json_object_size(r->body) != 1)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "Malformed request body");
	it = json_object_iter(r->body);
	*ret_arg = json_object_iter_value(it);
	return find_action(json_object_iter_key(it), ret, e);
}

/* The console asks the node and must hold no transaction meanwhile, so this route brackets its own. */
int server_action(struct req *r, struct err *e)
{
	const struct action *a = NULL;
	const json_t *arg = NULL;
	struct server s;
	bool calls_node;
	int rc = read_action(r, &a, &arg, e);

	if (rc < 0)
		return rc;
	calls_node = a->fn == console;
	rc = db_begin(r->db, calls_node ? DB_READ : DB_WRITE, e);
	if (rc < 0)
		return rc;
	rc = server_need(r, &s, e);
	if (calls_node) {
		db_rollback(r->db);
		return rc < 0 ? rc : console(r, &s, arg, e);
	}
	if (rc == 0)
		rc = a->fn(r, &s, arg, e);
	if (rc == 0)
		rc = req_commit(r, e);
	if (rc < 0)
		db_rollback(r->db);
	return rc;
}
