/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/function.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

#define USER_DATA_MAX 49152 /* bytes; 65535 once encoded, Nova's limit */
#define TIMEOUT_S 60
#define POLL_MS 20

/* Row: where a new object's id goes, and how it is deleted again. Order of making. */
static const struct part {
	size_t at;
	const char *service, *path, *what;
} parts[] = {
	{ offsetof(struct function, in_port), "network", "/v2.0/ports", "port" },
	{ offsetof(struct function, out_port), "network", "/v2.0/ports", "port" },
	{ offsetof(struct function, server), "compute", "/v2.1/servers", "server" },
	{ offsetof(struct function, pair), "network", "/v2.0/sfc/port_pairs", "port pair" },
	{ offsetof(struct function, group), "network", "/v2.0/sfc/port_pair_groups", "port pair group" },
};

static char **member(struct function *f, const struct part *p)
{
	return (char **)((char *)f + p->at);
}

void function_done(struct function *f)
{
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		free(*member(f, &parts[i]));
	free(f->name);
	*f = (struct function){ 0 };
}

static const char *const addresses[] = { "in-ip", "out-ip" };

/* POSTs {singular: body} and keeps the new id in *ret_id. */
static int make(struct cli *c, const char *service, const char *path, const char *singular,
		json_t *take_body, char **ret_id, struct err *e)
{
	json_t *body CLEANUP(json_freep) = json_pack("{s:o}", singular, take_body);
	json_t *answer CLEANUP(json_freep) = NULL;
	const char *id;
	int rc = client_call(c->client, "POST", service, path, body, &answer, e);

	if (rc < 0)
		return rc;
	id = json_str(json_object_get(answer, singular), "id");
	*ret_id = id ? strdup(id) : NULL;
	return *ret_id ? 0 :
			 err_set(e, FAULT_PROTOCOL, NULL,
				 "the hub's answer has no id of the new %s", singular);
}

/* Native functions have no addresses, and what they do is the policy of their ports: security is on, with the group that was named or the project's default. */
static int native_port(struct cli *c, json_t *port, struct err *e)
{
	const char *name = cli_option(c, "security-group");
	json_t *group CLEANUP(json_freep) = NULL;
	int rc = name ? client_find(c->client, "network", "/v2.0/security-groups",
				    "security_groups", "security group", name, &group, e) :
			0;

	json_object_set_new(port, "fixed_ips", json_array());
	if (rc == 0 && group)
		json_object_set_new(port, "security_groups", json_pack("[s]", json_str(group, "id")));
	return rc;
}

static int check_options(const struct cli *c, bool native, struct err *e)
{
	for (size_t i = 0; native && i < ARRAY_LEN(addresses); i++)
		if (cli_option(c, addresses[i]))
			return err_set(e, FAULT_BAD_REQUEST, addresses[i],
				       "a native function has no addresses: leave --%s out",
				       addresses[i]);
	if (!native && cli_option(c, "security-group"))
		return err_set(e, FAULT_BAD_REQUEST, "security-group",
			       "is for images with native_kind: port security is off where a container forwards");
	return 0;
}

static int make_port(struct cli *c, const struct function *f, const struct place *at, bool native,
		     const char *side, char **ret_id, struct err *e)
{
	struct strbuf name CLEANUP(strbuf_done) = { 0 };
	struct strbuf option CLEANUP(strbuf_done) = { 0 };
	const char *ip;
	json_t *port CLEANUP(json_freep) = NULL;
	int rc;

	strbuf_addf(&name, "%s-%s", f->name, side);
	strbuf_addf(&option, "%s-ip", side);
	ip = cli_option(c, strbuf_cstr(&option));
	port = json_pack("{s:s, s:s}", "name", strbuf_cstr(&name), "network_id", at->network_id);
	rc = native ? native_port(c, port, e) : 0;
	if (rc < 0)
		return rc;
	/* A container forwards what is not addressed to it, so port security stays off. */
	if (!native)
		json_object_set_new(port, "port_security_enabled", json_false());
	if (cli_option(c, "transparent"))
		json_object_set_new(port, "fixed_ips", json_array());
	else if (ip)
		json_object_set_new(port, "fixed_ips", json_pack("[{s:s}]", "ip_address", ip));
	return make(c, "network", "/v2.0/ports", "port", MOVE_PTR(port), ret_id, e);
}

static int add_user_data(struct cli *c, json_t *server, struct err *e)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *file = cli_option(c, "user-data");
	struct strbuf b CLEANUP(strbuf_done) = { 0 };
	char *text CLEANUP(free_charp) = NULL;
	size_t size = 0;
	int rc = file ? file_read(file, USER_DATA_MAX, &text, &size, e) : 0;

	if (rc < 0 || !file)
		return rc;
	for (size_t i = 0; i < size; i += 3) { /* RFC 4648 section 4 */
		unsigned v = (unsigned)(unsigned char)text[i] << 16;

		v |= i + 1 < size ? (unsigned)(unsigned char)text[i + 1] << 8 : 0;
		v |= i + 2 < size ? (unsigned)(unsigned char)text[i + 2] : 0;
		strbuf_addc(&b, digits[v >> 18]);
		strbuf_addc(&b, digits[v >> 12 & 63]);
		strbuf_addc(&b, i + 1 < size ? digits[v >> 6 & 63] : '=');
		strbuf_addc(&b, i + 2 < size ? digits[v & 63] : '=');
	}
	json_object_set_new(server, "user_data", json_string(strbuf_cstr(&b)));
	return 0;
}

static int make_server(struct cli *c, const json_t *image, const struct place *at,
		       struct function *f, struct err *e)
{
	const char *flavor = cli_option(c, "flavor"), *probe = cli_option(c, "probe");
	json_t *found_flavor CLEANUP(json_freep) = NULL;
	json_t *server CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "compute", "/v2.1/flavors", "flavors", "flavor",
			     flavor ? flavor : "m1.tiny", &found_flavor, e);

	if (rc < 0)
		return rc;
	server = json_pack("{s:s, s:s, s:s, s:b, s:[{s:s, s:s}, {s:s, s:s}]}", "name", f->name,
			   "imageRef", json_str(image, "id"), "flavorRef",
			   json_str(found_flavor, "id"), "config_drive", 1, "networks", "port",
			   f->in_port, "tag", "in", "port", f->out_port, "tag", "out");
	if (at->availability_zone)
		json_object_set_new(server, "availability_zone", json_string(at->availability_zone));
	if (probe)
		json_object_set_new(server, "metadata", json_pack("{s:s}", "demarc:probe", probe));
	rc = add_user_data(c, server, e);
	if (rc < 0)
		return rc;
	return make(c, "compute", "/v2.1/servers", "server", MOVE_PTR(server), &f->server, e);
}

/* One look: 1 when the server runs, every vNIC is verified and its probe passes; 0 not yet, < 0 never. */
static int look_at_server(struct cli *c, const struct function *f, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *answer CLEANUP(json_freep) = NULL;
	json_t *bindings CLEANUP(json_freep) = NULL;
	const json_t *server;
	const char *state, *task;
	size_t i;
	json_t *b;
	int rc;

	strbuf_addf(&url, "/v2.1/servers/%s", f->server);
	rc = client_call(c->client, "GET", "compute", strbuf_cstr(&url), NULL, &answer, e);
	if (rc < 0)
		return rc;
	server = json_object_get(answer, "server");
	state = json_str(server, "status");
	task = json_str(server, "OS-EXT-STS:task_state");
	if (state && strcmp(state, "ERROR") == 0)
		return err_set(e, FAULT_INTERNAL, NULL, "server %s: %s", f->name,
			       json_str(json_object_get(server, "fault"), "message"));
	if (!state || strcmp(state, "ACTIVE") != 0) {
		progress_tick(&c->progress, task);
		return 0;
	}
	strbuf_done(&url);
	url = (struct strbuf){ 0 };
	strbuf_addf(&url, "/v1/servers/%s/bindings", f->server);
	rc = client_call(c->client, "GET", "demarc", strbuf_cstr(&url), NULL, &bindings, e);
	if (rc < 0)
		return rc;
	json_array_foreach(json_object_get(bindings, "bindings"), i, b)
		if (!json_bool(b, "verified", false)) {
			progress_tick(&c->progress, "checking its vNICs");
			return 0;
		}
	progress_tick(&c->progress, "waiting for its probe");
	return json_bool(bindings, "healthy", false);
}

static int wait_verified(struct cli *c, const struct function *f, struct err *e)
{
	long long timeout_s = 0;
	int64_t end;
	int rc = cli_number(c, "timeout", TIMEOUT_S, 3600, &timeout_s, e);

	if (rc < 0)
		return rc;
	for (end = clock_mono_ns() + timeout_s * NS_PER_S; clock_mono_ns() < end;
	     cli_pause_ms(POLL_MS)) {
		if (cli_interrupted())
			return err_set(e, FAULT_UNAVAILABLE, NULL, "interrupted");
		rc = look_at_server(c, f, e);
		if (rc)
			return rc < 0 ? rc : 0;
	}
	return err_set(e, FAULT_TIMEOUT, "timeout",
		       "server %s was not verified and healthy within %lld s", f->name, timeout_s);
}

static int make_hop(struct cli *c, struct function *f, struct err *e)
{
	const char *policy = cli_option(c, "on-failure");
	int rc = make(c, "network", "/v2.0/sfc/port_pairs", "port_pair",
		      json_pack("{s:s, s:s, s:s}", "name", f->name, "ingress", f->in_port, "egress",
				f->out_port),
		      &f->pair, e);

	if (rc < 0)
		return rc;
	return make(c, "network", "/v2.0/sfc/port_pair_groups", "port_pair_group",
		    json_pack("{s:s, s:[s], s:s}", "name", f->name, "port_pairs", f->pair,
			      "demarc:on_failure", policy ? policy : "drop"),
		    &f->group, e);
}

static int step(struct cli *c, int rc)
{
	progress_end(&c->progress, rc < 0 ? "failed" : "ok");
	return rc;
}

int function_make(struct cli *c, const char *image, const struct place *at, struct function *f,
		  struct err *e)
{
	const char *name = cli_option(c, "name");
	json_t *found CLEANUP(json_freep) = NULL;
	bool native;
	int rc = client_find(c->client, "image", "/v2/images", "images", "image", image, &found, e);

	if (rc < 0)
		return rc;
	native = json_str(found, "native_kind") != NULL;
	rc = check_options(c, native, e);
	if (rc < 0)
		return rc;
	f->name = strdup(name ? name : image);
	progress_begin(&c->progress, "make two ports and the server");
	rc = make_port(c, f, at, native, "in", &f->in_port, e);
	if (rc == 0)
		rc = make_port(c, f, at, native, "out", &f->out_port, e);
	if (rc == 0)
		rc = make_server(c, found, at, f, e);
	if (step(c, rc) < 0)
		return rc;
	progress_begin(&c->progress, "start the function, verify its vNICs, probe it");
	rc = step(c, wait_verified(c, f, e));
	if (rc < 0)
		return rc;
	progress_begin(&c->progress, "make the port pair and its group");
	return step(c, make_hop(c, f, e));
}

/* A server's ports can be deleted once it is gone; its row goes with the request, so at once. */
int function_unmake(struct cli *c, struct function *f, struct err *e)
{
	struct err later = { 0 };
	int first = 0;

	for (size_t i = ARRAY_LEN(parts); i-- > 0;) {
		struct strbuf url CLEANUP(strbuf_done) = { 0 };
		char **id = member(f, &parts[i]);
		struct err *to = first ? &later : e;
		int rc;

		if (!*id)
			continue;
		strbuf_addf(&url, "%s/%s", parts[i].path, *id);
		rc = client_call(c->client, "DELETE", parts[i].service, strbuf_cstr(&url), NULL,
				 NULL, to);
		if (rc < 0 && to && to->fault == FAULT_NOT_FOUND)
			rc = 0;
		if (rc < 0 && !first)
			first = err_wrap(e, "deleting the %s of %s", parts[i].what, f->name);
	}
	return first;
}

static int get(struct cli *c, const char *path, const char *id, const char *member_name,
	       json_t **ret, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *answer CLEANUP(json_freep) = NULL;
	int rc;

	strbuf_addf(&url, "%s/%s", path, id);
	rc = client_call(c->client, "GET", "network", strbuf_cstr(&url), NULL, &answer, e);
	if (rc == 0)
		*ret = json_incref(json_object_get(answer, member_name));
	return rc;
}

int function_of_group(struct cli *c, const json_t *group, struct function *f, struct err *e)
{
	const json_t *pairs = json_object_get(group, "port_pairs");
	json_t *pair CLEANUP(json_freep) = NULL;
	json_t *port CLEANUP(json_freep) = NULL;
	int rc;

	if (json_array_size(pairs) != 1)
		return err_set(e, FAULT_CONFLICT, NULL,
			       "group %s has %zu port pairs: delete its functions one by one, or use --keep-function",
			       json_str(group, "name"), json_array_size(pairs));
	rc = get(c, "/v2.0/sfc/port_pairs", json_string_value(json_array_get(pairs, 0)),
		 "port_pair", &pair, e);
	if (rc == 0)
		rc = get(c, "/v2.0/ports", json_str(pair, "ingress"), "port", &port, e);
	if (rc < 0)
		return rc;
	f->name = strdup(json_str(group, "name"));
	f->group = strdup(json_str(group, "id"));
	f->pair = strdup(json_str(pair, "id"));
	f->in_port = strdup(json_str(pair, "ingress"));
	if (strcmp(json_str(pair, "ingress"), json_str(pair, "egress")) != 0)
		f->out_port = strdup(json_str(pair, "egress"));
	if (json_str(port, "device_id") && *json_str(port, "device_id"))
		f->server = strdup(json_str(port, "device_id"));
	return 0;
}
