/* SPDX-License-Identifier: Apache-2.0 */
#include "link/identity.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "link/dial.h"
#include "sim/node.h"

/* The agent's certificate code (node/cert.c, link/renew.c) finds what enrolment leaves, and TLS follows what it does. */

#define PEM_MAX (256u << 10)

/* What the nodes of this process trust: one TLS context for all whose CA is the same. */
static struct {
	char *ca;
	struct dial_tls *tls;
} trusted;

static int trust(const char *ca, const char *cert, const char *key, struct err *e)
{
	struct dial_config d = { .ca_pem = str_of(ca), .cert_pem = str_of(cert), .key_pem = str_of(key) };
	CLEANUP(free_charp) char *copy = NULL;
	struct dial_tls *tls;
	int rc;

	if (trusted.ca && strcmp(trusted.ca, ca) == 0)
		return 0;
	copy = strdup(ca);
	if (!copy)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a CA");
	rc = dial_tls_new(&d, &tls, e);
	if (rc < 0)
		return rc;
	dial_tls_free(trusted.tls); /* its context lives on in the nodes that have not heard of the new one */
	trusted.tls = tls;
	free(trusted.ca);
	trusted.ca = MOVE_PTR(copy);
	return 0;
}

static int tls_new(struct sim_node *s, const char *ca, const char *cert, const char *key,
		   struct dial_tls **ret, struct err *e)
{
	int rc = trust(ca, cert, key, e);

	return rc < 0 ? rc :
			dial_tls_like(trusted.tls, str_of(cert), str_of(key), !s->sim->o.no_tickets,
				      ret, e);
}

struct dial_tls *identity_tls(void *ctx)
{
	struct sim_node *s = sim_node_of(ctx);

	if (s->next_tls) {
		dial_tls_free(s->tls);
		s->tls = MOVE_PTR(s->next_tls);
	}
	return s->tls;
}

int identity_reload(void *ctx, const struct link_client_config *c, struct err *e)
{
	struct sim_node *s = sim_node_of(ctx);
	CLEANUP(free_charp) char *ca = NULL;
	CLEANUP(free_charp) char *cert = NULL;
	CLEANUP(free_charp) char *key = NULL;
	struct dial_tls *tls = NULL;
	size_t size;
	int rc = file_read(c->ca_file, PEM_MAX, &ca, &size, e);

	if (rc == 0)
		rc = file_read(c->cert_file, PEM_MAX, &cert, &size, e);
	if (rc == 0)
		rc = file_read(c->key_file, PEM_MAX, &key, &size, e);
	if (rc == 0 && strcmp(ca, trusted.ca) == 0 && strcmp(cert, s->cert ? s->cert : s->who->cert) == 0)
		return 0; /* it keeps its ticket */
	if (rc == 0)
		rc = tls_new(s, ca, cert, key, &tls, e);
	if (rc < 0)
		return rc;
	dial_tls_free(s->next_tls);
	s->next_tls = tls;
	free(s->cert);
	s->cert = MOVE_PTR(cert);
	return 0;
}

static int write_files(struct sim_node *s, const struct identity_paths *p, struct err *e)
{
	char url[128], *text CLEANUP(free_charp) = NULL;
	CLEANUP(json_freep) json_t *o = NULL;
	int rc;

	(void)snprintf(url, sizeof(url), "https://%s:%d", s->sim->host, s->sim->port);
	o = json_pack("{s:s, s:s, s:[s]}", "node_id", s->who->id, "site_id", s->who->id, "hub_urls",
		      url); /* nobody asks for the site */
	text = o ? json_text(o) : NULL;
	if (!text)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for an identity");
	rc = file_write_atomic(p->identity, 0600, str_of(text), e);
	if (rc == 0)
		rc = file_write_atomic(p->ca, 0600, str_of(s->sim->fleet.ca), e);
	if (rc == 0)
		rc = file_write_atomic(p->cert, 0600, str_of(s->who->cert), e);
	return rc < 0 ? rc : file_write_atomic(p->key, 0600, str_of(s->who->key), e);
}

int identity_make(struct sim_node *s, struct err *e)
{
	struct identity_paths p;
	int rc = identity_paths(s->n.cfg.state_dir, &p, e);

	if (rc == 0)
		rc = write_files(s, &p, e);
	if (rc == 0)
		rc = link_identity_load(s->n.cfg.state_dir, &s->identity, e);
	s->n.identity = &s->identity;
	return rc < 0 ? rc : tls_new(s, s->sim->fleet.ca, s->who->cert, s->who->key, &s->tls, e);
}

void identity_keep(struct sim_node *s)
{
	CLEANUP(json_freep) json_t *row = NULL;
	CLEANUP(free_charp) char *text = NULL;
	CLEANUP(strbuf_done) struct strbuf line = { 0 };
	CLEANUP(close_fdp) int fd = -1;
	char path[512];

	row = json_pack("{s:s, s:s, s:s}", "id", s->who->id, "cert", s->cert, "key", s->cert);
	text = row ? json_text(row) : NULL;
	strbuf_addf(&line, "%s\n", text ? text : "");
	(void)snprintf(path, sizeof(path), "%s/" FLEET_RENEWED, s->sim->o.state_dir);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	/* One write, so that lines of several processes stay whole. */
	if (!text || line.error || fd < 0 || write(fd, line.ptr, line.len) != (ssize_t)line.len)
		fprintf(stderr, "demarc-sim: the new certificate of %s is not kept\n", s->who->name);
}
