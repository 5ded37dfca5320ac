/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "hub/audit.h"
#include "hub/cert.h"
#include "link/frame.h"

/*
 * Certificates over the channel. The hub's clock decides: the sweep asks nodes whose certificate has lived two thirds of its life,
 * or comes from a CA that is being replaced; a node answers with a request for a new key, and gets its certificate. The one before is
 * good until the new one has been seen in a handshake. All of it is level-triggered: what is lost is asked again.
 */

#define CSR_MAX 16384
#define OFFER_MAX 200		       /* nodes that are asked at a time */
#define OFFER_AWAY_US (60LL * 1000000) /* a node that is not there is looked at again after this */
#define OFFER_AGAIN_US (3600LL * 1000000) /* one that did not answer */
#define ISSUE_AGAIN_US (60LL * 1000000)	  /* a second certificate for the same renewal */

/* ---- fronts ---- */

static bool has_feature(const Demarc__V1__NodeHello *h, const char *name)
{
	for (size_t i = 0; i < h->n_features; i++)
		if (strcmp(h->features[i], name) == 0)
			return true;
	return false;
}

void session_cert_open(struct sessions *s, struct session *x)
{
	char serial[48];

	if (http_ws_client_serial(x->ws, serial, sizeof(serial)) && certs_is_pending(s->hub, serial))
		x->new_serial = strdup(serial);
}

void session_cert_hello(struct sessions *s, struct session *x, const Demarc__V1__NodeHello *h)
{
	x->trust_stale = has_feature(h, "cert-renew") && !certs_trust_is(s->hub, h->trust_digest);
}

/* The frame's Trust, from what the hub publishes; `t` owns the texts. */
static int fill_trust(struct hub *h, struct trust *t, Demarc__V1__Trust *ret)
{
	int rc = certs_trust(h, t);

	demarc__v1__trust__init(ret);
	ret->ca = t->ca;
	ret->digest = t->digest;
	ret->n_hub_urls = t->n_urls;
	ret->hub_urls = t->urls;
	return rc;
}

void session_cert_up(struct sessions *s, struct session *x)
{
	CLEANUP(trust_done) struct trust t = { 0 };
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__Trust m;
	struct job *j;

	if (certs_is_refused(s->hub, str_of(x->node_id), STR(""))) { /* since the handshake */
		session_goodbye(s, x, "the node is revoked", 60000);
		return;
	}
	if (x->new_serial) {
		j = job_new(JOB_CERT_USED, x->serial, x->node_id);
		if (j)
			j->seen = MOVE_PTR(x->new_serial);
		job_thread_push(&s->cert, j);
	}
	if (!x->trust_stale || fill_trust(s->hub, &t, &m) < 0)
		return;
	x->trust_stale = false;
	f.body_case = DEMARC__V1__FRAME__BODY_TRUST;
	f.trust = &m;
	session_send(s, x, &f);
}

/* Returns a reason to refuse the node, or NULL. Takes the frame over. */
const char *session_cert_request(struct sessions *s, struct session *x, Demarc__V1__Frame **f)
{
	struct job *j;

	if (strlen((*f)->cert_request->csr) > CSR_MAX)
		return "a certificate request is too large";
	if (x->cert_pending)
		return "a second certificate request before the first was answered";
	j = job_new(JOB_CERT_REQUEST, x->serial, x->node_id);
	if (j)
		j->frame = MOVE_PTR(*f);
	x->cert_pending = j != NULL;
	job_thread_push(&s->cert, j);
	return NULL;
}

/* ---- the certificates' thread ---- */

struct cert_row {
	int64_t renew_us, next_us;
	char serial[48], next[48];
	int64_t expires_us, next_expires_us;
	bool revoked;
};

static void copy_text(char ret[static 48], const char *text)
{
	if (!text || str_copy(ret, 48, str_of(text)) < 0)
		ret[0] = '\0';
}

static int row_load(struct db *db, const char *node_id, struct cert_row *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(db, &q, e,
			  "SELECT cert_renew_us, cert_serial, cert_next_serial, cert_expires_us, cert_next_expires_us, revoked "
			  "FROM node WHERE id = ?",
			  "s", node_id);

	if (rc >= 0)
		rc = db_step(q, e);
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "the hub does not know this node");
	if (rc < 0)
		return rc;
	ret->renew_us = db_int(q, 0);
	copy_text(ret->serial, db_text(q, 1));
	copy_text(ret->next, db_text(q, 2));
	ret->expires_us = db_int(q, 3);
	ret->next_expires_us = db_int(q, 4);
	ret->revoked = db_int(q, 5) != 0;
	return 0;
}

/* In a write transaction. The one that was issued before and not used is no good any more. */
static int issue(struct sessions *s, struct job_thread *t, struct job *j,
		 const struct cert_row *row, struct certificate *cert, struct err *e)
{
	int64_t life_us = s->hub->config->cert_days * 24LL * 3600 * 1000000;
	int rc;

	if (row->revoked)
		return err_set(e, FAULT_FORBIDDEN, NULL, "the node is revoked");
	if (row->renew_us > j->now_us)
		return err_set(e, FAULT_CONFLICT, NULL, "the certificate is not due");
	if (*row->next && row->next_expires_us - life_us + ISSUE_AGAIN_US > j->now_us)
		return err_set(e, FAULT_CONFLICT, NULL, "a certificate was issued a moment ago");
	rc = certs_sign(s->hub, j->node_id, str_of(j->frame->cert_request->csr), cert, e);
	if (rc == 0 && *row->next)
		rc = certs_refuse_row(t->db, row->next, row->next_expires_us, e);
	if (rc == 0)
		rc = db_exec(t->db, e,
			     "UPDATE node SET cert_next_serial = ?, cert_next_expires_us = ?, cert_next_renew_us = ?, cert_next_ca = ? "
			     "WHERE id = ?",
			     "siiss", cert->serial, cert->expires_us, cert->renew_us, cert->ca,
			     j->node_id);
	return rc < 0 ? rc : 0;
}

static int commit(struct job_thread *t, int rc, struct err *e)
{
	if (rc >= 0)
		rc = db_commit(t->db, e);
	if (rc < 0)
		db_rollback(t->db);
	return rc;
}

static void answer_request(struct sessions *s, const struct job *j, const char *pem, const char *error)
{
	CLEANUP(trust_done) struct trust t = { 0 };
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__CertIssued m = DEMARC__V1__CERT_ISSUED__INIT;
	Demarc__V1__Trust trust;

	f.request = j->frame->request;
	f.body_case = DEMARC__V1__FRAME__BODY_CERT_ISSUED;
	f.cert_issued = &m;
	m.error = (char *)error;
	if (pem && fill_trust(s->hub, &t, &trust) == 0) {
		m.certificate = (char *)pem;
		m.trust = &trust;
	} else if (pem) {
		m.error = (char *)"no memory";
	}
	session_post_frame(s, j->serial, POST_CERT, &f);
}

static void do_request(struct sessions *s, struct job_thread *t, struct job *j)
{
	struct certificate cert = { 0 };
	struct cert_row row = { 0 };
	struct err e = { 0 };
	int rc = db_begin(t->db, DB_WRITE, &e);

	if (rc == 0)
		rc = row_load(t->db, j->node_id, &row, &e);
	if (rc == 0)
		rc = issue(s, t, j, &row, &cert, &e);
	rc = commit(t, rc, &e);
	if (rc < 0) {
		log_limited(LOG_INFO_, "cert_not_issued", "node=%s reason=%s", j->node_id, LOGQ(e.msg));
	} else {
		if (*row.next) {
			certs_refuse(s->hub, row.next);
			certs_pending(s->hub, row.next, false);
		}
		certs_pending(s->hub, cert.serial, true);
		log_limited(LOG_INFO_, "cert_issued", "node=%s serial=%s", j->node_id, cert.serial);
	}
	answer_request(s, j, rc < 0 ? NULL : cert.pem, rc < 0 ? e.msg : "");
	free(cert.pem);
}

/* The new one works: the one before is refused from now on. */
static void do_used(struct sessions *s, struct job_thread *t, struct job *j)
{
	struct cert_row row = { 0 };
	struct err e = { 0 };
	int rc = db_begin(t->db, DB_WRITE, &e);

	if (rc == 0)
		rc = row_load(t->db, j->node_id, &row, &e);
	if (rc == 0 && strcmp(row.next, j->seen) != 0)
		rc = err_set(&e, FAULT_CONFLICT, NULL, "another certificate was issued meanwhile");
	if (rc == 0 && *row.serial)
		rc = certs_refuse_row(t->db, row.serial, row.expires_us, &e);
	if (rc == 0)
		rc = db_exec(t->db, &e,
			     "UPDATE node SET cert_serial = cert_next_serial, cert_expires_us = cert_next_expires_us, "
			     "cert_renew_us = cert_next_renew_us, cert_offer_us = cert_next_renew_us, cert_ca = cert_next_ca, "
			     "cert_next_serial = NULL, cert_next_expires_us = NULL, cert_next_renew_us = NULL, cert_next_ca = NULL "
			     "WHERE id = ?",
			     "s", j->node_id);
	rc = commit(t, rc, &e);
	if (rc < 0) {
		log_limited(LOG_WARN_, "cert_use_not_stored", "node=%s reason=%s", j->node_id,
			    LOGQ(e.msg));
		return;
	}
	certs_pending(s->hub, j->seen, false);
	if (*row.serial)
		certs_refuse(s->hub, row.serial);
	log_limited(LOG_INFO_, "cert_renewed", "node=%s serial=%s", j->node_id, j->seen);
}

uint64_t session_serial_of(struct sessions *s, const char *node_id)
{
	const struct session *x;
	uint64_t serial;

	pthread_mutex_lock(&s->lock);
	x = session_find_up(s, node_id);
	serial = x ? x->serial : 0;
	pthread_mutex_unlock(&s->lock);
	return serial;
}

static int offer(struct sessions *s, struct job_thread *t, const char *node_id,
		 const Demarc__V1__Frame *f, int64_t now_us, struct err *e)
{
	uint64_t serial = session_serial_of(s, node_id);
	int rc;

	if (serial)
		session_post_frame(s, serial, POST_SEND, f);
	rc = db_exec(t->db, e, "UPDATE node SET cert_offer_us = ? WHERE id = ?", "is",
		     now_us + (serial ? OFFER_AGAIN_US : OFFER_AWAY_US), node_id);
	return rc < 0 ? rc : 0;
}

static int due_nodes(struct db *db, int64_t now_us, char ids[static OFFER_MAX][40], struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int n = 0;
	int rc = db_query(db, &q, e,
			  "SELECT id FROM node WHERE cert_offer_us <= ?1 AND cert_renew_us <= ?1 AND revoked = 0 AND "
			  "features LIKE '%\"cert-renew\"%' ORDER BY cert_offer_us LIMIT ?2",
			  "ii", now_us, (int64_t)OFFER_MAX);

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		if (str_copy(ids[n], sizeof(ids[n]), str_of(db_text(q, 0))) >= 0)
			n++;
	return rc < 0 ? rc : n;
}

static void do_sweep(struct sessions *s, struct job_thread *t, struct job *j)
{
	static char ids[OFFER_MAX][40]; /* this thread's alone */
	CLEANUP(trust_done) struct trust trust = { 0 };
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__Trust m;
	struct err e = { 0 };
	int n = due_nodes(t->db, j->now_us, ids, &e), rc = n;

	if (n == 0)
		return;
	if (n > 0 && fill_trust(s->hub, &trust, &m) < 0)
		rc = err_set(&e, FAULT_NO_MEMORY, NULL, "no memory");
	m.renew = true;
	f.body_case = DEMARC__V1__FRAME__BODY_TRUST;
	f.trust = &m;
	if (rc > 0)
		rc = db_begin(t->db, DB_WRITE, &e);
	for (int i = 0; rc >= 0 && i < n; i++)
		rc = offer(s, t, ids[i], &f, j->now_us, &e);
	if (commit(t, rc, &e) < 0)
		log_limited(LOG_WARN_, "cert_sweep_failed", "reason=%s", LOGQ(e.msg));
}

static void do_audit(struct job_thread *t, struct job *j)
{
	struct err e = { 0 };
	int rc = db_begin(t->db, DB_WRITE, &e);

	if (rc == 0)
		rc = audit(t->db, j->node_id, "stream_closed", NULL, &e, "%s", j->seen ? j->seen : "");
	if (commit(t, rc, &e) < 0)
		log_limited(LOG_WARN_, "event_not_stored", "reason=%s", LOGQ(e.msg));
}

void session_cert_run(struct job_thread *t, struct job *list)
{
	struct sessions *s = t->sessions;

	for (struct job *j = list, *next; j; j = next) {
		next = j->next;
		if (j->kind == JOB_CERT_REQUEST)
			do_request(s, t, j);
		else if (j->kind == JOB_CERT_USED)
			do_used(s, t, j);
		else if (j->kind == JOB_CERT_SWEEP && s->hub->certs)
			do_sweep(s, t, j);
		else if (j->kind == JOB_AUDIT)
			do_audit(t, j);
		job_free(j);
	}
}
