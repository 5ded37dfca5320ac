/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/client.h"
#include "http/pki.h"
#include "link/token.h"
#include "sim/sim.h"

/*
 * Nodes that are enrolled, with an intent: a network, three to six functions, every second a container and the others native, their pairs and
 * groups, a classifier and a chain.
 * Made through the API by several processes at once; each writes what it made to a file of its own, so that what was made is
 * used again by the next run, also after an interruption.
 */

#define JOB_END_S 5 /* an interrupted job may finish its node */
#define FLEET_FILE_MAX (1u << 30)
#define NODES_PER_SITE 1500u /* a site and a project each: a project may have 10,000 functions */
#define FUNCTIONS_MAX 6u

struct common {
	char flavor[16];
	const char *container, *images[3]; /* ids, images: of the kinds below */
	json_t *keep;
	char secret[200];
	char site[64];
};
static const char *const kinds[] = { "acl", "firewall", "policer" };

struct job {
	struct sim *sim;
	struct client *client;
	FILE *out;
	const struct common *common;
	char key_file[512];
};

/* ---- one request ---- */

static int post(struct client *c, const char *service, const char *path, json_t *body, json_t **ret,
		struct err *e)
{
	CLEANUP(json_freep) json_t *mine = body;

	return mine ? client_call(c, "POST", service, path, mine, ret, e) :
		      err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a request");
}

/* The ids of what a bulk request made, in its order. */
static int post_many(struct client *c, const char *path, const char *plural, json_t *bodies,
		     char (*ids)[UUID_STR_SIZE], struct err *e)
{
	CLEANUP(json_freep) json_t *answer = NULL;
	json_t *row;
	size_t i;
	int rc = post(c, "network", path, json_pack("{s:o}", plural, bodies), &answer, e);

	if (rc < 0)
		return rc;
	json_array_foreach(json_object_get(answer, plural), i, row)
		(void)str_copy(ids[i], UUID_STR_SIZE, str_of(json_str(row, "id")));
	return 0;
}

static int post_one(struct client *c, const char *service, const char *path, const char *singular,
		    json_t *body, char id[static UUID_STR_SIZE], struct err *e)
{
	CLEANUP(json_freep) json_t *answer = NULL;
	int rc = post(c, service, path, json_pack("{s:o}", singular, body), &answer, e);

	if (rc == 0)
		(void)str_copy(id, UUID_STR_SIZE,
			       str_of(json_str(json_object_get(answer, singular), "id")));
	return rc;
}

/* ---- one node ---- */

static int enrol(struct job *j, struct fleet_node *n, struct err *e)
{
	CLEANUP(free_charp) char *csr = NULL;
	CLEANUP(json_freep) json_t *answer = NULL;
	size_t size;
	int rc = pki_make_csr(j->key_file, "sim", &csr, e);

	if (rc == 0)
		rc = file_read(j->key_file, 16384, &n->key, &size, e);
	if (rc == 0)
		rc = post(j->client, "demarc", "/v1/enrol",
			  json_pack("{s:s, s:s}", "secret", j->common->secret, "csr", csr), &answer, e);
	if (rc < 0)
		return rc;
	(void)str_copy(n->id, sizeof(n->id), str_of(json_str(answer, "node_id")));
	(void)str_copy(n->name, sizeof(n->name), str_of(json_str(answer, "name")));
	n->cert = strdup(json_str(answer, "certificate") ? json_str(answer, "certificate") : "");
	return n->cert ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "certificate");
}

static int make_ports(struct job *j, const struct fleet_node *n, size_t n_ports,
		      char (*ids)[UUID_STR_SIZE], struct err *e)
{
	char net[UUID_STR_SIZE], sub[UUID_STR_SIZE];
	json_t *bodies = json_array();
	int rc = post_one(j->client, "network", "/v2.0/networks", "network",
			  json_pack("{s:s}", "name", n->name), net, e);

	if (rc == 0)
		rc = post_one(j->client, "network", "/v2.0/subnets", "subnet",
			      json_pack("{s:s, s:s, s:i, s:n, s:b}", "network_id", net, "cidr",
					"10.7.0.0/24", "ip_version", 4, "gateway_ip", "enable_dhcp", 0),
			      sub, e);
	for (size_t i = 0; i < n_ports; i++) {
		char name[96];

		(void)snprintf(name, sizeof(name), "%s-0", n->name);
		json_array_append_new(bodies, json_pack("{s:s, s:s, s:[], s:[]}", "network_id", net,
							"name", name, "fixed_ips", "security_groups"));
	}
	if (rc < 0) {
		json_decref(bodies);
		return rc;
	}
	return post_many(j->client, "/v2.0/ports", "ports", bodies, ids, e);
}

static int make_servers(struct job *j, struct fleet_node *n, size_t n_functions,
			char (*ports)[UUID_STR_SIZE], struct err *e)
{
	char zone[192], id[UUID_STR_SIZE], name[96];
	int rc = 0;

	(void)snprintf(zone, sizeof(zone), "%s:%s", j->common->site, n->name);
	for (size_t i = 0; rc == 0 && i < n_functions; i++) {
		(void)snprintf(name, sizeof(name), "%s-%zu", n->name, i);
		rc = post_one(j->client, "compute", "/v2.1/servers", "server",
			      json_pack("{s:s, s:s, s:s, s:s, s:[{s:s}, {s:s}]}", "name", name, "imageRef",
					i % 2 ? j->common->images[i % 3] : j->common->container,
					"flavorRef", j->common->flavor, "availability_zone", zone,
					"networks", "port", ports[2 * i], "port", ports[2 * i + 1]),
			      id, e);
		if (i == 0)
			memcpy(n->server, id, sizeof(id));
	}
	return rc;
}

static int make_chain(struct job *j, const struct fleet_node *n, size_t i_node, size_t n_functions,
		      char (*ports)[UUID_STR_SIZE], struct err *e)
{
	char pairs[FUNCTIONS_MAX][UUID_STR_SIZE], groups[FUNCTIONS_MAX][UUID_STR_SIZE];
	char classifier[UUID_STR_SIZE], chain[UUID_STR_SIZE];
	json_t *bodies = json_array(), *list = json_array();
	char source[32];
	int rc;

	(void)snprintf(source, sizeof(source), "10.%u.%u.%u/32", 64 + (unsigned)(i_node >> 16 & 63),
		       (unsigned)(i_node >> 8 & 255), (unsigned)(i_node & 255));

	for (size_t i = 0; i < n_functions; i++)
		json_array_append_new(bodies, json_pack("{s:s, s:s, s:s}", "name", n->name, "ingress",
							ports[2 * i], "egress", ports[2 * i + 1]));
	rc = post_many(j->client, "/v2.0/sfc/port_pairs", "port_pairs", bodies, pairs, e);
	bodies = json_array();
	for (size_t i = 0; rc == 0 && i < n_functions; i++)
		json_array_append_new(bodies, json_pack("{s:s, s:[s]}", "name", n->name,
							"port_pairs", pairs[i]));
	if (rc == 0)
		rc = post_many(j->client, "/v2.0/sfc/port_pair_groups", "port_pair_groups",
			       json_incref(bodies), groups, e);
	for (size_t i = 0; i < n_functions; i++)
		json_array_append_new(list, json_string(rc == 0 ? groups[i] : ""));
	if (rc == 0)
		rc = post_one(j->client, "network", "/v2.0/sfc/flow_classifiers", "flow_classifier",
			      json_pack("{s:s, s:s, s:s, s:s, s:i, s:i}", "name", n->name,
					"ethertype", "IPv4", "source_ip_prefix", source, "protocol",
					"tcp", "destination_port_range_min", 80,
					"destination_port_range_max", 443),
			      classifier, e);
	if (rc == 0)
		rc = post_one(j->client, "network", "/v2.0/sfc/port_chains", "port_chain",
			      json_pack("{s:s, s:O, s:[s]}", "name", n->name, "port_pair_groups",
					list, "flow_classifiers", classifier),
			      chain, e);
	json_decref(bodies);
	json_decref(list);
	return rc;
}

static int give_intent(struct job *j, struct fleet_node *n, size_t i, struct err *e)
{
	char ports[2 * FUNCTIONS_MAX][UUID_STR_SIZE];
	size_t n_functions = 3 + i % 4;
	int rc = make_ports(j, n, 2 * n_functions, ports, e);

	if (rc == 0)
		rc = make_servers(j, n, n_functions, ports, e);
	if (rc == 0)
		rc = make_chain(j, n, i, n_functions, ports, e);
	memcpy(n->port, ports[0], sizeof(n->port));
	return rc;
}

static void note(struct job *j, const struct fleet_node *n)
{
	CLEANUP(json_freep)
	json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", n->id, "name", n->name,
				"port", n->port, "server", n->server, "cert", n->cert, "key", n->key);
	CLEANUP(free_charp) char *line = row ? json_text(row) : NULL;

	if (line)
		fprintf(j->out, "%s\n", line);
	(void)fflush(j->out); /* whole lines, whatever ends this process; an error stays with the stream */
}

/* ---- processes ---- */

static void path_of(const struct sim *s, unsigned k, char *ret, size_t size)
{
	(void)snprintf(ret, size, "%s/fleet.%u", s->o.state_dir, k);
}

static int job_run(struct job *j, size_t from, size_t to, unsigned k, struct err *e)
{
	for (size_t i = from + k; i < to && !sim_interrupted; i += j->sim->o.n_jobs) {
		struct fleet_node n = { 0 };
		int rc = enrol(j, &n, e);

		if (rc == 0 && i % 100 < j->sim->o.n_chains)
			rc = give_intent(j, &n, i, e);
		if (rc < 0)
			return rc;
		note(j, &n);
		free(n.cert);
		free(n.key);
		j->sim->shared->n_api++;
	}
	return 0;
}

static _Noreturn void job_main(struct sim *s, const struct common *c, size_t from, size_t to, unsigned k)
{
	struct client_options o = { s->o.cloud, s->o.cacert };
	struct job j = { .sim = s, .common = c };
	struct err e = { 0 };
	char path[512], lines[1 << 16];
	int rc;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setenv("OS_PROJECT_NAME", c->site, 1); /* the project has the site's name */
	rc = client_open(&o, &j.client, &e);
	path_of(s, k, path, sizeof(path));
	j.out = fopen(path, "ae");
	if (j.out)
		(void)setvbuf(j.out, lines, _IOFBF, sizeof(lines));
	(void)snprintf(j.key_file, sizeof(j.key_file), "%s/key.%u", s->o.scratch, k);
	if (rc == 0 && j.out)
		rc = job_run(&j, from, to, k, &e);
	if (rc < 0)
		fprintf(stderr, "demarc-sim: setup: %s\n", e.msg);
	(void)unlink(j.key_file);
	if (!j.out || fclose(j.out) != 0)
		rc = -1;
	_exit(rc < 0);
}

static unsigned reap_jobs(const struct sim *s, pid_t *pids, int *ret_failed)
{
	unsigned n = 0;
	int status;

	for (unsigned k = 0; k < s->o.n_jobs; k++) {
		if (pids[k] > 0 && waitpid(pids[k], &status, WNOHANG) == pids[k]) {
			pids[k] = 0;
			*ret_failed |= status;
		}
		n += pids[k] > 0;
	}
	return n;
}

/* Who is in the middle of a node when it is interrupted may finish it: the hub has it then, and so has the file. */
static int wait_jobs(struct sim *s, pid_t *pids, size_t total)
{
	int64_t said = clock_mono_ns(), until = INT64_MAX;
	int failed = 0;

	while (reap_jobs(s, pids, &failed)) {
		if (sim_interrupted && until == INT64_MAX) {
			until = clock_mono_ns() + JOB_END_S * NS_PER_S;
			for (unsigned k = 0; k < s->o.n_jobs; k++)
				if (pids[k] > 0)
					(void)kill(pids[k], SIGTERM);
		}
		for (unsigned k = 0; k < s->o.n_jobs && clock_mono_ns() > until; k++)
			if (pids[k] > 0)
				(void)kill(pids[k], SIGKILL);
		sim_pause_us(20000);
		if (clock_mono_ns() - said > 2 * NS_PER_S && !s->o.quiet) {
			said = clock_mono_ns();
			fprintf(stderr, "setup: %u of %zu nodes\n", (unsigned)s->shared->n_api, total);
		}
	}
	return failed;
}

static int make_range(struct sim *s, const struct common *c, size_t from, size_t to, struct err *e)
{
	pid_t pids[SIM_WORKERS_MAX] = { 0 };
	int failed = 0;

	s->shared->n_api = 0;
	for (unsigned k = 0; k < s->o.n_jobs; k++) {
		pids[k] = fork();
		if (pids[k] == 0)
			job_main(s, c, from, to, k);
		if (pids[k] < 0)
			failed = 1;
	}
	failed |= wait_jobs(s, pids, to - from);
	return failed ? err_set(e, FAULT_INTERNAL, NULL, "not all nodes could be made") : 0;
}

/* ---- what all share ---- */

static int image_of(struct client *c, const char *kind, json_t *keep, const char **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *answer = NULL;
	json_t *id;
	int rc = post(c, "image", "/v2/images",
		      json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", kind, "disk_format", "raw",
				"container_format", "native", "visibility", "public", "native_kind",
				kind),
		      &answer, e);

	if (rc < 0)
		return rc;
	id = json_object_get(answer, "id");
	json_array_append(keep, id);
	*ret = json_string_value(id);
	return 0;
}

/* Nodes are told its checksum, and do not fetch it. */
static int image_of_container(struct client *c, json_t *keep, const char **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *answer = NULL;
	char path[128];
	json_t *id;
	int rc = post(c, "image", "/v2/images",
		      json_pack("{s:s, s:s, s:s, s:s}", "name", "simulated", "disk_format", "raw",
				"container_format", "docker", "visibility", "public"),
		      &answer, e);

	if (rc < 0)
		return rc;
	id = json_object_get(answer, "id");
	json_array_append(keep, id);
	*ret = json_string_value(id);
	(void)snprintf(path, sizeof(path), "/v2/images/%s/file", *ret);
	return client_upload(c, "image", path, STR("a function that is only simulated\n"), e);
}

/* The id of the one row of that name. */
static int id_of(struct client *c, const char *path, const char *plural,
		 char id[static UUID_STR_SIZE], struct err *e)
{
	CLEANUP(json_freep) json_t *answer = NULL;
	int rc = client_call(c, "GET", "identity", path, NULL, &answer, e);
	const char *found =
		rc == 0 ? json_str(json_array_get(json_object_get(answer, plural), 0), "id") : NULL;

	if (rc < 0)
		return rc;
	if (!found)
		return err_set(e, FAULT_NOT_FOUND, NULL, "%s: nothing of that name", path);
	(void)str_copy(id, UUID_STR_SIZE, str_of(found));
	return 0;
}

/* A project of that name, in which the administrator may work. */
static int make_project(struct client *c, const char *name, struct err *e)
{
	char project[UUID_STR_SIZE] = "", user[UUID_STR_SIZE] = "", role[UUID_STR_SIZE] = "", path[192];
	int rc = post_one(c, "identity", "/v3/projects", "project",
			  json_pack("{s:s}", "name", name), project, e);

	if (rc == 0)
		rc = id_of(c, "/v3/users?name=admin", "users", user, e);
	if (rc == 0)
		rc = id_of(c, "/v3/roles?name=admin", "roles", role, e);
	(void)snprintf(path, sizeof(path), "/v3/projects/%s/users/%s/roles/%s", project, user, role);
	return rc < 0 ? rc : client_call(c, "PUT", "identity", path, NULL, NULL, e);
}

static int make_common(struct sim *s, struct client *c, size_t from, size_t n, struct common *ret,
		       struct err *e)
{
	CLEANUP(json_freep) json_t *answer = NULL;
	char path[128], site[UUID_STR_SIZE], prefix[32], unique[UUID_STR_SIZE];
	struct enrol_token token;
	int rc = 0;

	(void)s;
	(void)str_copy(ret->flavor, sizeof(ret->flavor), STR("nf.tiny"));
	/* A run that was interrupted before its first node has left a site, too. */
	(void)snprintf(ret->site, sizeof(ret->site), "sim-%zu-%.8s", from,
		       uuid_format(uuid_random(), unique));
	(void)snprintf(prefix, sizeof(prefix), "sim%zu", from);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(kinds); i++)
		rc = image_of(c, kinds[i], ret->keep, &ret->images[i], e);
	if (rc == 0)
		rc = image_of_container(c, ret->keep, &ret->container, e);
	if (rc == 0)
		rc = make_project(c, ret->site, e);
	if (rc == 0)
		rc = post_one(c, "demarc", "/v1/sites", "site",
			      json_pack("{s:s}", "name", ret->site), site, e);
	(void)snprintf(path, sizeof(path), "/v1/sites/%s/enrolment_tokens", site);
	if (rc == 0)
		rc = post(c, "demarc", path,
			  json_pack("{s:{s:s, s:i, s:I}}", "enrolment_token", "node_name", prefix,
				    "expires_in", 86400, "uses", (json_int_t)n),
			  &answer, e);
	if (rc == 0)
		rc = enrol_token_parse(
			str_of(json_str(json_object_get(answer, "enrolment_token"), "token")),
			&token, e);
	if (rc == 0)
		(void)str_copy(ret->secret, sizeof(ret->secret), str_of(token.secret));
	return rc;
}

static int make_more(struct sim *s, size_t from, size_t to, struct err *e)
{
	struct client_options o = { s->o.cloud, s->o.cacert };
	struct client *c CLEANUP(client_closep) = NULL;
	int rc = client_open(&o, &c, e);

	for (size_t at = from; rc == 0 && at < to && !sim_interrupted; at += NODES_PER_SITE) {
		size_t end = MIN_OF(at + NODES_PER_SITE, to);
		struct common common = { .keep = json_array() };

		rc = make_common(s, c, at, end - at, &common, e);
		if (rc == 0)
			rc = make_range(s, &common, at, end, e);
		json_decref(common.keep);
	}
	return rc;
}

/* ---- the files ---- */

static int keep_identity(struct fleet_node *n, const json_t *row, struct err *e)
{
	free(n->cert);
	free(n->key);
	n->cert = strdup(json_str(row, "cert"));
	n->key = strdup(json_str(row, "key"));
	return n->cert && n->key ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "fleet");
}

static int take_renewed(struct fleet *f, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id");

	if (!id || !json_str(row, "cert") || !json_str(row, "key"))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "a line of " FLEET_RENEWED " is damaged");
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->nodes[i].id, id) == 0)
			return keep_identity(&f->nodes[i], row, e);
	return 0;
}

static int take_node(struct fleet *f, const json_t *row, struct err *e)
{
	struct fleet_node *n, *grown;

	grown = realloc(f->nodes, (f->n + 1) * sizeof(*grown));
	if (!grown || !json_str(row, "cert") || !json_str(row, "key"))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "a line of the fleet's file is damaged");
	f->nodes = grown;
	n = &f->nodes[f->n++];
	memset(n, 0, sizeof(*n));
	(void)str_copy(n->id, sizeof(n->id), str_of(json_str(row, "id")));
	(void)str_copy(n->name, sizeof(n->name), str_of(json_str(row, "name")));
	(void)str_copy(n->port, sizeof(n->port), str_of(json_str(row, "port")));
	(void)str_copy(n->server, sizeof(n->server), str_of(json_str(row, "server")));
	return keep_identity(n, row, e);
}

typedef int (*line_fn)(struct fleet *f, const json_t *row, struct err *e);

static int take_line(struct fleet *f, struct str line, line_fn take, struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL;
	int rc = json_parse(line, &row, e);

	return rc < 0 ? rc : take(f, row, e);
}

/* A file that is not there has no lines. */
static int load_file(struct fleet *f, const char *path, line_fn take, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;
	struct str left;
	int rc = access(path, F_OK) < 0 ? 0 : file_read(path, FLEET_FILE_MAX, &text, &size, e);

	if (rc < 0)
		return rc;
	left = (struct str){ text, size };
	while (rc == 0 && left.len) {
		struct str line = str_cut(left, '\n', &left);

		if (line.len)
			rc = take_line(f, line, take, e);
	}
	return rc;
}

void fleet_free(struct fleet *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->nodes[i].cert);
		free(f->nodes[i].key);
	}
	free(f->nodes);
	f->nodes = NULL;
	f->n = 0;
}

static int load_all(struct sim *s, struct err *e)
{
	char path[512];
	int rc = 0;

	fleet_free(&s->fleet);
	for (unsigned k = 0; rc == 0 && k < SIM_WORKERS_MAX; k++) {
		path_of(s, k, path, sizeof(path));
		rc = load_file(&s->fleet, path, take_node, e);
	}
	(void)snprintf(path, sizeof(path), "%s/" FLEET_RENEWED, s->o.state_dir);
	return rc < 0 ? rc : load_file(&s->fleet, path, take_renewed, e);
}

int fleet_ready(struct sim *s, struct err *e)
{
	int rc = load_all(s, e);

	if (rc == 0 && s->fleet.n < s->o.n_nodes) {
		rc = make_more(s, s->fleet.n, s->o.n_nodes, e);
		if (rc == 0 && !sim_interrupted)
			rc = load_all(s, e);
	}
	return rc;
}
