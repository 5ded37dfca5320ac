/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cert.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "link/renew.h"
#include "node/channel.h"

#define TRIES_MAX 3 /* with one certificate, while there are two */
#define ENROL_FILE_MAX 8192

static void reload(struct node *n)
{
	struct err e = { 0 };

	if (channel_reload(n, &e) < 0)
		log_limited(LOG_ERROR_, "certificate_unusable", "reason=%s", LOGQ(e.msg));
}

/* The identity as it is on disk now. */
static int reread(struct node *n, struct err *e)
{
	struct link_identity id = { 0 };
	int rc = link_identity_load(n->cfg.state_dir, &id, e);

	if (rc < 0)
		return rc;
	link_identity_done(n->identity);
	*n->identity = id;
	return 0;
}

static void ask(struct node *n)
{
	CLEANUP(free_charp) char *csr = NULL;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__CertRequest m = DEMARC__V1__CERT_REQUEST__INIT;
	struct err e = { 0 };

	if (renew_request(n->cfg.state_dir, &csr, &e) < 0) {
		log_limited(LOG_ERROR_, "certificate_not_asked", "reason=%s", LOGQ(e.msg));
		return;
	}
	m.csr = csr;
	f.body_case = DEMARC__V1__FRAME__BODY_CERT_REQUEST;
	f.cert_request = &m;
	(void)!link_client_send(n->link, &f); /* the hub asks again */
}

static int take_trust(struct node *n, const Demarc__V1__Trust *m)
{
	struct err e = { 0 };
	int rc;

	if (strcmp(m->digest, n->identity->trust_digest) == 0)
		return 0;
	rc = trust_store(n->cfg.state_dir, m, *n->cfg.hub ? NULL : link_client_hub(n->link), &e);
	if (rc == 0)
		rc = reread(n, &e);
	if (rc < 0)
		log_limited(LOG_WARN_, "trust_refused", "reason=%s", LOGQ(e.msg));
	else
		log_info("trust_stored", "hubs=%zu digest=%.16s", n->identity->n_hub_urls,
			 n->identity->trust_digest);
	return rc;
}

void cert_trust(struct node *n, const Demarc__V1__Trust *m)
{
	if (take_trust(n, m) < 0)
		return;
	reload(n);
	if (m->renew)
		ask(n);
}

void cert_issued(struct node *n, const Demarc__V1__CertIssued *m)
{
	struct err e = { 0 };
	int rc;

	if (*m->error || !m->trust) {
		log_limited(LOG_INFO_, "certificate_not_issued", "reason=%s", LOGQ(m->error));
		return;
	}
	if (take_trust(n, m->trust) < 0) /* a certificate of a CA that is not known would be of no use */
		return;
	rc = renew_store(n->cfg.state_dir, m->certificate, &e);
	if (rc == 0)
		rc = reread(n, &e);
	if (rc < 0) {
		log_limited(LOG_WARN_, "certificate_refused", "reason=%s", LOGQ(e.msg));
		return;
	}
	n->on_next = true;
	n->n_failed = 0;
	reload(n);
	link_client_hang_up(n->link, "a new certificate is used from now on");
}

void cert_link_up(struct node *n)
{
	struct err e = { 0 };
	int rc;

	n->said_hello = true;
	n->n_failed = 0;
	if (!n->on_next)
		return;
	rc = renew_confirm(n->cfg.state_dir, &e);
	if (rc == 0)
		rc = reread(n, &e);
	if (rc < 0) {
		log_limited(LOG_ERROR_, "certificate_not_kept", "reason=%s", LOGQ(e.msg));
		return;
	}
	n->on_next = false;
	reload(n); /* the same certificate by its new name */
	log_info("certificate_renewed", "node=%s", n->id);
}

/* Two certificates, and no hub that answers: they take turns. */
void cert_link_down(struct node *n)
{
	bool worked = n->said_hello;

	n->said_hello = false;
	if (worked || !n->identity->next_file || ++n->n_failed < TRIES_MAX)
		return;
	n->n_failed = 0;
	n->on_next = !n->on_next;
	reload(n);
}

int enrol_file_token(const char *path, char **ret, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size;
	struct str rest, line;
	int rc = file_read(path, ENROL_FILE_MAX, &text, &size, e);

	if (rc < 0)
		return rc;
	rest = (struct str){ text, size };
	do {
		line = str_trim(str_cut(rest, '\n', &rest));
	} while (rest.len && (line.len == 0 || line.ptr[0] == '#'));
	if (line.len == 0 || line.ptr[0] == '#')
		return err_set(e, FAULT_BAD_REQUEST, NULL, "%s holds no enrolment token", path);
	*ret = strndup(line.ptr, line.len);
	return *ret ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the token");
}
