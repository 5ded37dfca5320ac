/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/chain.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"

#define CHAINS "/v2.0/sfc/port_chains"
#define GROUPS "/v2.0/sfc/port_pair_groups"
#define CHANGE_TIMEOUT_S 30
#define POLL_MS 10

void chain_done(struct chain *ch)
{
	json_decref(ch->chain);
	for (size_t i = 0; i < ch->n_hops; i++)
		json_decref(ch->groups[i]);
	*ch = (struct chain){ 0 };
}

static int load_groups(struct cli *c, struct chain *ch, struct err *e)
{
	size_t i;
	json_t *id;

	json_array_foreach(json_object_get(ch->chain, "port_pair_groups"), i, id) {
		struct strbuf url CLEANUP(strbuf_done) = { 0 };
		json_t *answer CLEANUP(json_freep) = NULL;
		int rc;

		if (i == HOPS_MAX)
			return err_set(e, FAULT_TOO_LARGE, NULL, "the chain has more than %d hops",
				       HOPS_MAX);
		strbuf_addf(&url, GROUPS "/%s", json_string_value(id));
		rc = client_call(c->client, "GET", "network", strbuf_cstr(&url), NULL, &answer, e);
		if (rc < 0)
			return rc;
		ch->groups[ch->n_hops++] = json_incref(json_object_get(answer, "port_pair_group"));
	}
	return 0;
}

int chain_load(struct cli *c, const char *what, struct chain *ret, struct err *e)
{
	int rc;

	*ret = (struct chain){ 0 };
	rc = client_find(c->client, "network", CHAINS, "port_chains", "port_chain", what,
			 &ret->chain, e);
	if (rc == 0)
		rc = load_groups(c, ret, e);
	if (rc < 0)
		chain_done(ret);
	return rc;
}

int chain_hop(const struct chain *ch, const char *what, size_t *ret, struct err *e)
{
	struct strbuf names CLEANUP(strbuf_done) = { 0 };
	uint64_t number;

	for (size_t i = 0; i < ch->n_hops; i++) {
		const char *name = json_str(ch->groups[i], "name"), *id = json_str(ch->groups[i], "id");

		if ((name && strcmp(name, what) == 0) || (id && strcmp(id, what) == 0)) {
			*ret = i;
			return 0;
		}
		strbuf_addf(&names, "%s%s", i ? ", " : "", name && *name ? name : id);
	}
	if (str_to_u64(str_of(what), ch->n_hops, &number) == 0 && number > 0) {
		*ret = number - 1;
		return 0;
	}
	return err_set(e, FAULT_NOT_FOUND, NULL, "chain %s has no hop \"%s\"; its hops are: %s",
		       json_str(ch->chain, "name"), what, ch->n_hops ? strbuf_cstr(&names) : "none");
}

/* ---- changes ---- */

static int put_groups(struct cli *c, const struct chain *ch, const char *const *groups, size_t n,
		      const char *mode, char *ret_change, size_t size, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *list = json_array();
	json_t *body CLEANUP(json_freep) =
		json_pack("{s:{s:o}}", "port_chain", "port_pair_groups", list);
	json_t *answer CLEANUP(json_freep) = NULL;
	const char *id;
	int rc;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(groups[i]));
	if (mode)
		json_object_set_new(json_object_get(body, "port_chain"), "demarc:mode",
				    json_string(mode));
	strbuf_addf(&url, CHAINS "/%s", json_str(ch->chain, "id"));
	rc = client_call(c->client, "PUT", "network", strbuf_cstr(&url), body, &answer, e);
	if (rc < 0)
		return rc;
	id = json_str(json_object_get(answer, "port_chain"), "demarc:change_id");
	return str_copy(ret_change, size, str_of(id));
}

/* 1 finished, 0 not yet, < 0 refused by the node. */
static int look_at_change(struct cli *c, const char *id, json_t **ret, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *change CLEANUP(json_freep) = NULL;
	const char *status;
	int rc;

	strbuf_addf(&url, "/v1/changes/%s", id);
	rc = cli_get(c, strbuf_cstr(&url), "change", &change, e);
	if (rc < 0)
		return rc;
	status = json_str(change, "status");
	progress_tick(&c->progress, json_str(change, "reason"));
	if (status && strcmp(status, "confirmed") == 0) {
		*ret = MOVE_PTR(change);
		return 1;
	}
	if (status && (strcmp(status, "failed") == 0 || strcmp(status, "superseded") == 0))
		return err_set(e, FAULT_CONFLICT, NULL, "the change is %s: %s", status,
			       json_str(change, "reason"));
	/* Held is not final: the node goes on probing until we give up, and then its reason is the error's. */
	if (e && json_str(change, "reason"))
		str_copy(e->msg, sizeof(e->msg), str_of(json_str(change, "reason")));
	return 0;
}

static int wait_change(struct cli *c, const char *id, json_t **ret, struct err *e)
{
	struct err seen = { 0 };
	long long timeout_s = 0;
	int64_t end;
	int rc = cli_number(c, "timeout", CHANGE_TIMEOUT_S, 3600, &timeout_s, e);

	if (rc < 0)
		return rc;
	for (end = clock_mono_ns() + timeout_s * NS_PER_S; clock_mono_ns() < end;
	     cli_pause_ms(POLL_MS)) {
		if (cli_interrupted())
			return err_set(e, FAULT_UNAVAILABLE, NULL, "interrupted");
		rc = look_at_change(c, id, ret, &seen);
		if (rc < 0 && e)
			*e = seen;
		if (rc)
			return rc < 0 ? rc : 0;
	}
	return err_set(e, FAULT_TIMEOUT, NULL, "the node did not confirm within %lld s%s%s",
		       timeout_s, seen.msg[0] ? ": " : "", seen.msg);
}

static void put_back(struct cli *c, const struct chain *ch)
{
	const char *before[HOPS_MAX];
	struct err ignored;
	char change[64];
	int rc;

	for (size_t i = 0; i < ch->n_hops; i++)
		before[i] = json_str(ch->groups[i], "id");
	rc = put_groups(c, ch, before, ch->n_hops, NULL, change, sizeof(change), &ignored);
	if (rc < 0)
		fprintf(stderr, "demarc: the chain could not be put back: %s\n", ignored.msg);
	else if (!c->json)
		fprintf(stderr, "  ok      put the chain back as it was\n");
}

int chain_change(struct cli *c, const struct chain *ch, const char *const *groups, size_t n_groups,
		 json_t **ret_change, struct err *e)
{
	char id[64];
	int rc;

	progress_begin(&c->progress, "change the chain, wait for the node to confirm");
	rc = put_groups(c, ch, groups, n_groups, cli_option(c, "mode"), id, sizeof(id), e);
	if (rc == 0) {
		rc = wait_change(c, id, ret_change, e);
		progress_end(&c->progress, rc < 0 ? "failed" : "ok");
		if (rc < 0)
			put_back(c, ch);
	} else {
		progress_end(&c->progress, "failed");
	}
	return rc;
}

void chain_print_change(struct cli *c, const json_t *change)
{
	static const struct column fields[] = {
		{ "change", "what" },
		{ "id", "id" },
		{ "mode", "mode" },
		{ "status", "status" },
		{ "confirmed after (ms)", "duration_ms" },
		{ "built in (us)", "build_us" },
		{ "flows moved", "flows_moved" },
		{ "flows kept", "flows_kept" },
		{ "path", "path" },
		{ "hops", "hops" },
		{ NULL, NULL },
	};

	json_t *hops = json_array(), *shown CLEANUP(json_freep) = json_copy((json_t *)change);
	size_t i;
	json_t *hop;

	json_array_foreach(json_object_get(change, "hops"), i, hop)
		json_array_append(hops, json_object_get(hop, "name"));
	json_object_set_new(shown, "hops", hops);
	if (c->json)
		print_json(change);
	else
		print_fields(shown, fields);
}
