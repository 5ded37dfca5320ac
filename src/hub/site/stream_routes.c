/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "hub/site/site.h"
#include "hub/stream.h"
#include "model/frame.h"

/*
 * Reverse access: a shell in a function or on a node, following a function's log, and capturing the frames of a port. Opening is authorised and kept as an event before
 * anything happens; reading and writing belong to the user who opened. Bytes are hex in JSON.
 */

#define READ_MAX 65536u
#define WRITE_MAX 16384u
#define WAIT_MAX_MS 20000u
#define ARGV_MAX 64
#define TAIL_MAX (512 * 1024)
#define SIDE_MAX 1000
#define EVERY_MAX 1000000

static int body_u32(const json_t *body, const char *key, uint32_t max, uint32_t *ret, struct err *e)
{
	const json_t *v = json_object_get(body, key);

	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max)
		return err_set(e, FAULT_BAD_REQUEST, key, "%s is a number up to %u.", key, max);
	*ret = (uint32_t)json_integer_value(v);
	return 0;
}

static int body_argv(struct req *r, Demarc__V1__ShellStream *m, struct err *e)
{
	const json_t *list = json_object_get(r->body, "argv"), *v;
	size_t i;

	if (!list)
		return 0;
	if (!json_is_array(list) || json_array_size(list) > ARGV_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "argv", "argv is a list of at most %d texts.",
			       ARGV_MAX);
	m->argv = arena_alloc(r->arena, (ARGV_MAX + 1) * sizeof(char *));
	json_array_foreach(list, i, v) {
		if (!json_is_string(v) || json_string_length(v) > 4096)
			return err_set(e, FAULT_BAD_REQUEST, "argv",
				       "argv is a list of texts of at most 4096 bytes.");
		m->argv[m->n_argv++] = (char *)(uintptr_t)json_string_value(v);
	}
	return 0;
}

/* Commits the event, then asks the node: what happens there has been written down before. */
static int open_and_reply(struct req *r, const char *node_id, const char *resource,
			  const char *what, Demarc__V1__StreamOpen *open, struct err *e)
{
	uint64_t id = 0;
	int rc = audit(r->db, node_id, "stream_opened", resource, e, "%s", what);

	if (rc == 0)
		rc = req_commit(r, e);
	if (rc == 0)
		rc = stream_open(r->hub, node_id, r->auth.user_id, what, open, &id, e);
	if (rc == 0)
		req_reply(r, json_pack("{s:{s:I}}", "stream", "id", (json_int_t)id));
	return rc;
}

static int shell_body(struct req *r, Demarc__V1__ShellStream *m, struct err *e)
{
	const char *term = json_str(r->body, "term");
	int rc = body_argv(r, m, e);

	if (rc == 0)
		rc = body_u32(r->body, "rows", SIDE_MAX, &m->rows, e);
	if (rc == 0)
		rc = body_u32(r->body, "columns", SIDE_MAX, &m->columns, e);
	if (term)
		m->term = (char *)(uintptr_t)term;
	return rc;
}

/* The node that a server runs on, or NOT_FOUND to those who may not see it. */
static int server_node(struct req *r, const char **ret_id, const char **ret_node,
		       const char **ret_name, struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL;
	int rc = rest_need(r, &server_resource, req_param(r, "id"), &row, e);

	if (rc < 0)
		return rc;
	*ret_id = arena_strdup(r->arena, json_str(row, "id"));
	*ret_name = arena_strdup(r->arena, json_str(row, "name"));
	*ret_node = NULL;
	rc = db_get_text(r->db, r->arena, ret_node, e, "SELECT node_id FROM server WHERE id = ?",
			 "s", *ret_id);
	if (rc >= 0 && !*ret_node)
		return err_set(e, FAULT_CONFLICT, NULL, "The server is on no node.");
	return rc < 0 ? rc : 0;
}

int server_shell(struct req *r, struct err *e)
{
	Demarc__V1__StreamOpen open = DEMARC__V1__STREAM_OPEN__INIT;
	Demarc__V1__ShellStream m = DEMARC__V1__SHELL_STREAM__INIT;
	const char *id, *node, *name;
	int rc = db_begin(r->db, DB_WRITE, e);

	if (rc == 0)
		rc = shell_body(r, &m, e);
	if (rc == 0)
		rc = server_node(r, &id, &node, &name, e);
	if (rc == 0) {
		m.server_id = (char *)(uintptr_t)id;
		open.kind_case = DEMARC__V1__STREAM_OPEN__KIND_SHELL;
		open.shell = &m;
		rc = open_and_reply(r, node, arena_printf(r->arena, "server/%s", id),
				    arena_printf(r->arena, "%s's shell in the function %s",
						 audit_who(r), name),
				    &open, e);
	}
	db_rollback(r->db);
	return rc;
}

int node_shell(struct req *r, struct err *e)
{
	Demarc__V1__StreamOpen open = DEMARC__V1__STREAM_OPEN__INIT;
	Demarc__V1__ShellStream m = DEMARC__V1__SHELL_STREAM__INIT;
	CLEANUP(json_freep) json_t *row = NULL;
	int rc = db_begin(r->db, DB_WRITE, e);

	if (rc == 0)
		rc = shell_body(r, &m, e);
	if (rc == 0)
		rc = rest_need(r, &node_resource, req_param(r, "id"), &row, e);
	if (rc == 0) {
		open.kind_case = DEMARC__V1__STREAM_OPEN__KIND_SHELL;
		open.shell = &m;
		rc = open_and_reply(r, json_str(row, "id"),
				    arena_printf(r->arena, "node/%s", json_str(row, "id")),
				    arena_printf(r->arena, "%s's shell on the node %s",
						 audit_who(r), json_str(row, "name")),
				    &open, e);
	}
	db_rollback(r->db);
	return rc;
}

int server_log(struct req *r, struct err *e)
{
	Demarc__V1__StreamOpen open = DEMARC__V1__STREAM_OPEN__INIT;
	Demarc__V1__LogStream m = DEMARC__V1__LOG_STREAM__INIT;
	const char *id, *node, *name;
	int rc = db_begin(r->db, DB_WRITE, e);

	if (rc == 0)
		rc = body_u32(r->body, "tail", TAIL_MAX, &m.tail_bytes, e);
	if (rc == 0)
		rc = server_node(r, &id, &node, &name, e);
	if (rc == 0) {
		m.server_id = (char *)(uintptr_t)id;
		open.kind_case = DEMARC__V1__STREAM_OPEN__KIND_LOG;
		open.log = &m;
		rc = open_and_reply(r, node, arena_printf(r->arena, "server/%s", id),
				    arena_printf(r->arena, "%s's look at the log of %s",
						 audit_who(r), name),
				    &open, e);
	}
	db_rollback(r->db);
	return rc;
}

/* ---- captures ---- */

static int filter_text(struct req *r, const json_t *o, const char *key, char **ret, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (v && !json_is_string(v))
		return err_set(e, FAULT_BAD_REQUEST, key, "%s is a text.", key);
	if (v)
		*ret = arena_strdup(r->arena, json_string_value(v));
	return 0;
}

static int check_keys(const json_t *o, const char *const *keys, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)o, key, v) {
		const char *const *k = keys;

		while (*k && strcmp(*k, key) != 0)
			k++;
		if (!*k)
			return err_set(e, FAULT_BAD_REQUEST, "capture",
				       "Unrecognized attribute '%.60s'.", key);
	}
	return 0;
}

/* Addresses are the node's to check: it says what is wrong with them. */
static int filter_body(struct req *r, const json_t *o, Demarc__V1__FlowFilter *f, struct err *e)
{
	static const char *const keys[] = { "family",	   "protocol", "address", "source",
					    "destination", "port",     NULL };
	const char *proto = json_str(o, "protocol");
	l4_proto p = { 0 };
	int rc = 0;

	if (o && !json_is_object(o))
		return err_set(e, FAULT_BAD_REQUEST, "filter", "filter is an object.");
	rc = check_keys(o, keys, e);
	if (rc == 0 && json_object_get(o, "protocol") &&
	    (!proto || l4_proto_parse(str_of(proto), &p) < 0))
		rc = err_set(e, FAULT_BAD_REQUEST, "protocol",
			     "protocol is a name as tcp, or a number from 1 to 255, in a text.");
	f->protocol = p.num;
	if (rc == 0)
		rc = body_u32(o, "family", 6, &f->family, e);
	if (rc == 0)
		rc = body_u32(o, "port", 65535, &f->port, e);
	if (rc == 0)
		rc = filter_text(r, o, "address", &f->address, e);
	if (rc == 0)
		rc = filter_text(r, o, "source", &f->source, e);
	if (rc == 0)
		rc = filter_text(r, o, "destination", &f->destination, e);
	return rc;
}

static int capture_body(struct req *r, Demarc__V1__CaptureStream *m, struct err *e)
{
	static const char *const keys[] = { "port_id", "every", "filter", NULL };
	CLEANUP(json_freep) json_t *port = NULL;
	const char *name = json_str(r->body, "port_id");
	int rc = check_keys(r->body, keys, e);

	if (rc == 0 && !name)
		rc = err_set(e, FAULT_BAD_REQUEST, "port_id", "port_id names a port.");
	if (rc == 0)
		rc = rest_need(r, &port_resource, name, &port, e);
	if (rc == 0)
		rc = body_u32(r->body, "every", EVERY_MAX, &m->every, e);
	if (rc == 0)
		rc = filter_body(r, json_object_get(r->body, "filter"), m->filter, e);
	if (rc == 0)
		m->port_id = arena_strdup(r->arena, json_str(port, "id"));
	return rc;
}

int node_capture(struct req *r, struct err *e)
{
	Demarc__V1__StreamOpen open = DEMARC__V1__STREAM_OPEN__INIT;
	Demarc__V1__CaptureStream m = DEMARC__V1__CAPTURE_STREAM__INIT;
	Demarc__V1__FlowFilter filter = DEMARC__V1__FLOW_FILTER__INIT;
	CLEANUP(json_freep) json_t *row = NULL;
	int rc = db_begin(r->db, DB_WRITE, e);

	m.filter = &filter;
	if (rc == 0)
		rc = rest_need(r, &node_resource, req_param(r, "id"), &row, e);
	if (rc == 0)
		rc = capture_body(r, &m, e);
	if (rc == 0) {
		open.kind_case = DEMARC__V1__STREAM_OPEN__KIND_CAPTURE;
		open.capture = &m;
		rc = open_and_reply(
			r, json_str(row, "id"), arena_printf(r->arena, "port/%s", m.port_id),
			arena_printf(r->arena, "%s's capture of port %s", audit_who(r), m.port_id),
			&open, e);
	}
	db_rollback(r->db);
	return rc;
}

/* ---- data ---- */

static int stream_id(struct req *r, uint64_t *ret, struct err *e)
{
	return str_to_u64(str_of(req_param(r, "id")), INT64_MAX, ret) < 0 ?
		       err_set(e, FAULT_NOT_FOUND, NULL, "Stream %s could not be found.",
			       req_param(r, "id")) :
		       0;
}

int stream_get(struct req *r, struct err *e)
{
	const char *text = req_query(r, "wait_ms");
	char *buf = arena_alloc(r->arena, READ_MAX), *hex = arena_alloc(r->arena, 2 * READ_MAX + 1);
	struct stream_read got = { 0 };
	uint64_t id, wait_ms = 0;
	int rc = stream_id(r, &id, e);

	if (rc == 0 && text && str_to_u64(str_of(text), WAIT_MAX_MS, &wait_ms) < 0)
		rc = err_set(e, FAULT_BAD_REQUEST, "wait_ms", "wait_ms is a number up to %u.",
			     WAIT_MAX_MS);
	if (rc == 0 && (!buf || !hex))
		rc = err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	if (rc == 0)
		rc = stream_read(r->hub, id, r->auth.user_id, (unsigned)wait_ms, buf, READ_MAX, &got, e);
	if (rc < 0)
		return rc;
	hex_of(buf, got.size, hex);
	req_reply(r, json_pack("{s:{s:s, s:b, s:s, s:i}}", "stream", "data", hex, "open",
			       got.is_open, "error", got.error, "exit_status", got.exit_status));
	return 0;
}

int stream_post(struct req *r, struct err *e)
{
	struct str hex = str_of(json_str(r->body, "data"));
	char *buf = arena_alloc(r->arena, WRITE_MAX);
	uint32_t rows = 0, columns = 0;
	uint64_t id;
	int rc = stream_id(r, &id, e);

	if (rc == 0)
		rc = body_u32(r->body, "rows", SIDE_MAX, &rows, e);
	if (rc == 0)
		rc = body_u32(r->body, "columns", SIDE_MAX, &columns, e);
	if (rc == 0 && !buf)
		rc = err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	if (rc == 0 && (hex.len > 2 * WRITE_MAX || hex.len % 2 ||
			(hex.len && str_from_hex(hex, buf, hex.len / 2) < 0)))
		rc = err_set(e, FAULT_BAD_REQUEST, "data", "data is at most %u bytes in hex.",
			     WRITE_MAX);
	if (rc == 0)
		rc = stream_write(r->hub, id, r->auth.user_id, buf, hex.len / 2, rows, columns, e);
	if (rc >= 0)
		req_reply(r, json_pack("{s:{s:i}}", "stream", "taken", rc));
	return rc < 0 ? rc : 0;
}

int stream_delete(struct req *r, struct err *e)
{
	uint64_t id;
	int rc = stream_id(r, &id, e);

	return rc < 0 ? rc : stream_close(r->hub, id, r->auth.user_id, e);
}
