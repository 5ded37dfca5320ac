/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/client.h"

/*
 * A security group that every node has a port in, so that one rule concerns all of them: the ports that changes are made to, and uplinks on
 * one provider network for nodes without functions. Made once, and noted in state_dir/group with the number of nodes.
 */

#define NAME "sim-all"
#define PORTS_AT_ONCE 100u /* uplinks in one request */
#define RULE_PORT 20000	   /* of the first round's rule */

static int make(struct client *c, const char *path, const char *singular, json_t *body,
		char id[static UUID_STR_SIZE], struct err *e)
{
	CLEANUP(json_freep) json_t *envelope = json_pack("{s:o}", singular, body), *answer = NULL;
	int rc = client_call(c, "POST", "network", path, envelope, &answer, e);

	if (rc == 0)
		(void)str_copy(id, UUID_STR_SIZE,
			       str_of(json_str(json_object_get(answer, singular), "id")));
	return rc;
}

static int join(struct client *c, const struct fleet_node *n, const char *group, struct err *e)
{
	CLEANUP(json_freep)
	json_t *body = json_pack("{s:{s:[s]}}", "port", "security_groups", group);
	char path[96];

	(void)snprintf(path, sizeof(path), "/v2.0/ports/%s", n->port);
	return client_call(c, "PUT", "network", path, body, NULL, e);
}

static json_t *uplink(const struct fleet_node *n, const char *network, const char *group)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:[s]}", "network_id", network, "name", n->name,
			 "device_owner", "network:uplink", "binding:host_id", n->id,
			 "port_security_enabled", 1, "security_groups", group);
}

static int add_uplinks(struct client *c, json_t **list, struct err *e)
{
	CLEANUP(json_freep) json_t *body = json_pack("{s:o}", "ports", *list);
	int rc = json_array_size(json_object_get(body, "ports")) ?
			 client_call(c, "POST", "network", "/v2.0/ports", body, NULL, e) :
			 0;

	*list = json_array();
	return rc;
}

static int join_all(struct sim *s, struct client *c, const char *group, const char *network,
		    struct err *e)
{
	CLEANUP(json_freep) json_t *list = json_array();
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->fleet.n; i++) {
		if (sim_interrupted)
			return err_set(e, FAULT_UNAVAILABLE, NULL, "interrupted");
		if (*s->fleet.nodes[i].port)
			rc = join(c, &s->fleet.nodes[i], group, e);
		else
			json_array_append_new(list, uplink(&s->fleet.nodes[i], network, group));
		if (rc == 0 && (json_array_size(list) == PORTS_AT_ONCE || i + 1 == s->fleet.n))
			rc = add_uplinks(c, &list, e);
		if (i % 1000 == 999 && !s->o.quiet)
			fprintf(stderr, "setup: %zu of %zu nodes in the group\n", i + 1, s->fleet.n);
	}
	return rc;
}

static void note_path(const struct sim *s, char *ret, size_t size)
{
	(void)snprintf(ret, size, "%.250s/group", s->o.state_dir);
}

/* "ID NODES\n", when all of the nodes are in it. */
static bool known(struct sim *s)
{
	CLEANUP(free_charp) char *text = NULL;
	char path[300];
	size_t size = 0;
	struct str id, n;
	uint64_t number = 0;

	note_path(s, path, sizeof(path));
	if (file_read(path, 128, &text, &size, NULL) < 0)
		return false;
	id = str_cut(str_trim((struct str){ text, size }), ' ', &n);
	if (str_to_u64(n, SIM_NODES_MAX, &number) < 0 || number != s->fleet.n)
		return false;
	(void)str_copy(s->shared->group, sizeof(s->shared->group), id);
	return true;
}

static int make_group(struct sim *s, struct client *c, struct err *e)
{
	char network[UUID_STR_SIZE] = "", path[300], text[80], nic[16];
	int rc = make(c, "/v2.0/security-groups", "security_group",
		      json_pack("{s:s}", "name", NAME), s->shared->group, e);

	/* A network of its own for each group: a node has one uplink on a network. */
	(void)snprintf(nic, sizeof(nic), "sim%.8s", s->shared->group);
	if (rc == 0)
		rc = make(c, "/v2.0/networks", "network",
			  json_pack("{s:s, s:s, s:s}", "name", NAME, "provider:network_type",
				    "flat", "provider:physical_network", nic),
			  network, e);
	if (rc == 0)
		rc = join_all(s, c, s->shared->group, network, e);
	if (rc < 0)
		return rc;
	note_path(s, path, sizeof(path));
	(void)snprintf(text, sizeof(text), "%s %zu\n", s->shared->group, s->fleet.n);
	return file_write_atomic(path, 0600, str_of(text), e);
}

/* Rules of earlier runs. */
static int drop_rules(struct sim *s, struct client *c, struct err *e)
{
	CLEANUP(json_freep) json_t *answer = NULL;
	json_t *row;
	char path[160];
	size_t i;
	int rc;

	(void)snprintf(path, sizeof(path), "/v2.0/security-group-rules?security_group_id=%s",
		       s->shared->group);
	rc = client_call(c, "GET", "network", path, NULL, &answer, e);
	json_array_foreach(json_object_get(answer, "security_group_rules"), i, row) {
		if (rc < 0 || json_is_null(json_object_get(row, "port_range_min")))
			continue;
		(void)snprintf(path, sizeof(path), "/v2.0/security-group-rules/%.36s",
			       json_str(row, "id"));
		rc = client_call(c, "DELETE", "network", path, NULL, NULL, e);
	}
	return rc;
}

int group_ready(struct sim *s, struct err *e)
{
	struct client_options o = { s->o.cloud, s->o.cacert };
	struct client *c CLEANUP(client_closep) = NULL;
	int rc = client_open(&o, &c, e);

	if (rc == 0 && !known(s))
		rc = make_group(s, c, e);
	return rc < 0 ? rc : drop_rules(s, c, e);
}

int group_change(struct sim *s, struct err *e)
{
	struct client_options o = { s->o.cloud, s->o.cacert };
	struct client *c CLEANUP(client_closep) = NULL;
	int port = RULE_PORT + (int)++s->shared->group_round, rc = client_open(&o, &c, e);
	char id[UUID_STR_SIZE];
	int64_t t0 = clock_mono_ns();

	if (rc == 0)
		rc = make(c, "/v2.0/security-group-rules", "security_group_rule",
			  json_pack("{s:s, s:s, s:s, s:s, s:i, s:i}", "security_group_id",
				    s->shared->group, "direction", "ingress", "ethertype", "IPv4",
				    "protocol", "tcp", "port_range_min", port, "port_range_max", port),
			  id, e);
	s->shared->group_asked_ns = t0;
	if (rc == 0)
		samples_add(&s->shared->change, clock_mono_ns() - t0);
	s->shared->n_changes += rc == 0;
	return rc;
}

void group_note(const struct sim_shared *m, const struct intent *in, struct sim_slot *slot)
{
	const intent_object *o = *m->group ? intent_find(in, "security_group", m->group) : NULL;
	uint32_t newest = RULE_PORT;

	for (size_t i = 0; o && o->security_group && i < o->security_group->n_rules; i++)
		if (o->security_group->rules[i]->has_ports)
			newest = MAX_OF(newest, o->security_group->rules[i]->port_min);
	if (newest - RULE_PORT == slot->group_round)
		return;
	slot->group_ns = clock_mono_ns();
	slot->group_round = newest - RULE_PORT;
}
