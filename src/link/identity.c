/* SPDX-License-Identifier: Apache-2.0 */
#include "link/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/types.h"
#include "link/link.h"

#define IDENTITY_MAX 16384u

int identity_paths(const char *state_dir, struct identity_paths *ret, struct err *e)
{
	const struct {
		char *path;
		const char *name;
	} rows[] = {
		{ ret->identity, "identity.json" },
		{ ret->ca, "ca.pem" },
		{ ret->cert, "cert.pem" },
		{ ret->key, "key.pem" },
		{ ret->csr, "csr.pem" },
		{ ret->current, "node.pem" },
		{ ret->next, "node-next.pem" },
		{ ret->renew_key, "renew.key" },
		{ ret->renew_csr, "renew.csr" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (snprintf(rows[i].path, IDENTITY_PATH_SIZE, "%s/%s", state_dir, rows[i].name) >=
		    IDENTITY_PATH_SIZE)
			return err_set(e, FAULT_BAD_REQUEST, "state_dir",
				       "the state directory's name is too long");
	return 0;
}

static int load_hubs(const json_t *list, struct link_identity *id, struct err *e)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		if (!json_is_string(v) || id->n_hub_urls == ARRAY_LEN(id->hub_urls))
			return err_set(e, FAULT_BAD_REQUEST, "hub_urls",
				       "not a list of at most %zu URLs", ARRAY_LEN(id->hub_urls));
		id->hub_urls[id->n_hub_urls] = strdup(json_string_value(v));
		if (!id->hub_urls[id->n_hub_urls])
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the identity");
		id->n_hub_urls++;
	}
	return id->n_hub_urls ? 0 : err_set(e, FAULT_BAD_REQUEST, "hub_urls", "no hub is named");
}

static int load_id(const json_t *o, const char *key, char ret[static 40], struct err *e)
{
	const char *text;
	struct uuid u;
	int rc = json_need_str(o, key, &text, e);

	if (rc < 0)
		return rc;
	if (uuid_parse(str_of(text), &u) < 0)
		return err_set(e, FAULT_BAD_REQUEST, key, "not a UUID");
	return str_copy(ret, 40, str_of(text));
}

static int load(const char *state_dir, struct link_identity *id, struct err *e)
{
	CLEANUP(json_freep) json_t *o = NULL;
	CLEANUP(free_charp) char *text = NULL;
	struct identity_paths p;
	bool renewed;
	size_t size;
	int rc = identity_paths(state_dir, &p, e);

	if (rc == 0)
		rc = file_read(p.identity, IDENTITY_MAX, &text, &size, e);
	if (rc == 0)
		rc = json_parse((struct str){ text, size }, &o, e);
	if (rc == 0)
		rc = load_id(o, "node_id", id->node_id, e);
	if (rc == 0)
		rc = load_id(o, "site_id", id->site_id, e);
	if (rc == 0)
		rc = load_hubs(json_object_get(o, "hub_urls"), id, e);
	if (rc < 0)
		return rc;
	if (json_str(o, "trust"))
		(void)str_copy(id->trust_digest, sizeof(id->trust_digest),
			       str_of(json_str(o, "trust")));
	renewed = access(p.current, R_OK) == 0;
	id->ca_file = strdup(p.ca);
	id->cert_file = strdup(renewed ? p.current : p.cert);
	id->key_file = strdup(renewed ? p.current : p.key);
	id->next_file = access(p.next, R_OK) == 0 ? strdup(p.next) : NULL;
	return id->ca_file && id->cert_file && id->key_file ?
		       0 :
		       err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the identity");
}

int link_identity_load(const char *state_dir, struct link_identity *ret, struct err *e)
{
	struct link_identity id = { 0 };
	int rc = load(state_dir, &id, e);

	if (rc < 0) {
		link_identity_done(&id);
		return rc;
	}
	*ret = id;
	return 0;
}

void link_identity_done(struct link_identity *id)
{
	for (size_t i = 0; i < id->n_hub_urls; i++)
		free(id->hub_urls[i]);
	free(id->ca_file);
	free(id->cert_file);
	free(id->key_file);
	free(id->next_file);
	*id = (struct link_identity){ 0 };
}
