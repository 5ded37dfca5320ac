/* SPDX-License-Identifier: Apache-2.0 */
#include "link/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "http/pki.h"
#include "link/dial.h"
#include "link/enrol_answer.h"
#include "link/identity.h"
#include "link/renew.h"
#include "link/token.h"

/*
 * Enrolment, in an order that survives a crash at any step: key and request first, kept; the hub remembers which request a
 * token was used for and answers it again; the identity file last, and with it the node is enrolled.
 */

#define ENROL_TIMEOUT_MS 30000
#define ANSWER_MAX (256u << 10)
#define PEM_MAX (64u << 10)

/* ---- key and request ---- */

/* A node that comes back keeps the key in use until the answer is there. */
static int load_csr(const struct identity_paths *p, bool again, char **ret, struct err *e)
{
	const char *key = again ? p->renew_key : p->key, *kept = again ? p->renew_csr : p->csr;
	size_t size;
	int rc;

	if (access(key, R_OK) == 0 && access(kept, R_OK) == 0)
		return file_read(kept, PEM_MAX, ret, &size, e);
	rc = pki_make_csr(key, "demarc-node", ret, e);
	return rc < 0 ? rc : file_write_atomic(kept, 0600, str_of(*ret), e);
}

/* ---- HTTP: one request, one answer, connection closed ---- */

static int send_request(struct dial *d, const struct url *u, const char *body, int64_t deadline,
			struct err *e)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	char authority[272];

	strbuf_addf(&b,
		    "POST /demarc/v1/enrol HTTP/1.1\r\nHost: %s\r\nUser-Agent: demarc-node/" DEMARC_VERSION
		    "\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: %zu\r\n"
		    "Connection: close\r\n\r\n%s",
		    url_authority(u, authority), strlen(body), body);
	if (b.error)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the request");
	return dial_write_all(d, b.ptr, b.len, deadline, e);
}

static int read_answer(struct dial *d, struct strbuf *out, int64_t deadline, struct err *e)
{
	char buf[4096];
	ssize_t n;

	out->limit_bytes = ANSWER_MAX;
	while ((n = dial_read_wait(d, buf, sizeof(buf), deadline, e)) > 0)
		strbuf_add(out, buf, (size_t)n);
	if (n < 0)
		return (int)n;
	return out->error ? err_set(e, FAULT_TOO_LARGE, NULL, "the hub's answer is too large") : 0;
}

struct exchange {
	json_t *answer;
	char *ca_pem; /* the CA that the token named, as the hub presented it */
};

struct ask {
	const struct enrol_token *token;
	const char *url, *proxy, *csr;
	const char *node_id; /* of a node that comes back; NULL: a new one */
};

static int open_hub(const struct ask *a, struct dial_tls *tls, const struct url *u,
		    int64_t deadline, struct dial **ret, struct err *e)
{
	struct url proxy;
	int rc = a->proxy ? url_parse_authority(str_of(a->proxy), &proxy, e) : 0;

	return rc < 0 ? rc : dial_open(tls, u, a->proxy ? &proxy : NULL, deadline, -1, ret, e);
}

static int exchange(const struct ask *a, struct exchange *ret, struct err *e)
{
	CLEANUP(dial_tls_freep) struct dial_tls *tls = NULL;
	CLEANUP(dial_closep) struct dial *d = NULL;
	CLEANUP(strbuf_done) struct strbuf answer = { 0 };
	CLEANUP(json_freep)
	json_t *o = json_pack("{s:s, s:s, s:s*}", "secret", a->token->secret, "csr", a->csr,
			      "node_id", a->node_id);
	CLEANUP(free_charp) char *body = o ? json_text(o) : NULL;
	struct dial_config c = { .pin_sha256 = a->token->ca_sha256 };
	int64_t deadline = clock_mono_ns() + ENROL_TIMEOUT_MS * NS_PER_MS;
	struct url u;
	int rc = body ? url_parse(str_of(a->url), &u, e) :
			err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the request");

	if (rc == 0)
		rc = dial_tls_new(&c, &tls, e);
	if (rc == 0)
		rc = open_hub(a, tls, &u, deadline, &d, e);
	if (rc == 0)
		rc = dial_pinned_pem(d, &ret->ca_pem, e);
	if (rc == 0)
		rc = send_request(d, &u, body, deadline, e);
	if (rc == 0)
		rc = read_answer(d, &answer, deadline, e);
	return rc < 0 ? rc :
			enrol_answer_parse((struct str){ answer.ptr, answer.len }, &ret->answer, e);
}

/* ---- storing ---- */

/* The certificate must fit the key, or the node would be locked out with its token used up. */
static int check_certificate(const char *key_file, const char *ca, const char *cert, struct err *e)
{
	CLEANUP(dial_tls_freep) struct dial_tls *tls = NULL;
	CLEANUP(free_charp) char *key = NULL;
	struct dial_config c = { .ca_pem = str_of(ca), .cert_pem = str_of(cert) };
	size_t size;
	int rc = file_read(key_file, PEM_MAX, &key, &size, e);

	if (rc < 0)
		return rc;
	c.key_pem = str_of(key);
	rc = dial_tls_new(&c, &tls, e);
	explicit_bzero(key, size);
	return rc;
}

/* What the hub says is to be trusted, when it leads to what the token named; else that alone. */
static const char *ca_of(const struct exchange *x)
{
	const char *all = json_str(x->answer, "ca");

	return all && strstr(all, x->ca_pem) ? all : x->ca_pem;
}

static char *identity_text(const struct exchange *x, const char *node_id, const char *site_id,
			   const char *url)
{
	const char *trust = json_str(x->answer, "trust");
	CLEANUP(json_freep)
	json_t *o = json_pack("{s:s, s:s, s:s, s:o}", "node_id", node_id, "site_id", site_id,
			      "trust", trust && strlen(trust) == 64 ? trust : "", "hub_urls",
			      enrol_answer_hubs(x->answer, url));

	return o ? json_text(o) : NULL;
}

/* For a node that comes back, certificate and key change together, and then count as in use. */
static int store_certificate(const struct link_enrolment *n, const struct identity_paths *p,
			     const char *cert, struct err *e)
{
	int rc;

	if (!n->again)
		return file_write_atomic(p->cert, 0600, str_of(cert), e);
	rc = renew_store(n->state_dir, cert, e);
	return rc < 0 ? rc : renew_confirm(n->state_dir, e);
}

static int store(const struct link_enrolment *n, const struct identity_paths *p,
		 const struct exchange *x, const char *url, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	const char *node_id, *site_id, *cert;
	int rc = json_need_str(x->answer, "node_id", &node_id, e);

	if (rc == 0)
		rc = json_need_str(x->answer, "site_id", &site_id, e);
	if (rc == 0)
		rc = json_need_str(x->answer, "certificate", &cert, e);
	if (rc == 0)
		rc = check_certificate(n->again ? p->renew_key : p->key, ca_of(x), cert, e);
	if (rc < 0)
		return err_wrap(e, "the hub's answer is not usable");
	text = identity_text(x, node_id, site_id, url);
	if (!text)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the identity");
	rc = file_write_atomic(p->ca, 0600, str_of(ca_of(x)), e);
	if (rc == 0)
		rc = store_certificate(n, p, cert, e);
	if (rc == 0)
		rc = file_write_atomic(p->identity, 0600, str_of(text), e);
	if (rc == 0 && unlink(p->renew_csr) < 0 && errno != ENOENT)
		rc = err_errno(e, errno, "remove %s", p->renew_csr);
	return rc;
}

/* Whether the node is enrolled, and as whom. */
static int check_before(const struct link_enrolment *n, const struct identity_paths *p,
			struct link_identity *id, struct err *e)
{
	bool is_enrolled = access(p->identity, F_OK) == 0;

	if (is_enrolled && !n->again)
		return err_set(e, FAULT_CONFLICT, NULL,
			       "this node is enrolled already; %s says where", p->identity);
	return is_enrolled ? link_identity_load(n->state_dir, id, e) : 0;
}

int link_enrol_as(const struct link_enrolment *n, struct err *e)
{
	CLEANUP(link_identity_done) struct link_identity id = { 0 };
	CLEANUP(free_charp) char *csr = NULL;
	struct link_enrolment as = *n;
	struct exchange x = { 0 };
	struct identity_paths p;
	struct enrol_token t;
	struct ask a = { .token = &t, .proxy = n->proxy };
	int rc = enrol_token_parse(str_of(n->token), &t, e);

	if (rc == 0)
		rc = identity_paths(n->state_dir, &p, e);
	if (rc == 0)
		rc = dir_make(n->state_dir, 0700, e);
	if (rc == 0)
		rc = check_before(n, &p, &id, e);
	if (rc < 0)
		return rc;
	as.again = *id.node_id != '\0'; /* a new disk: the token alone says which node this is */
	a.url = n->hub_url ? n->hub_url : t.url;
	a.node_id = as.again ? id.node_id : NULL;
	rc = load_csr(&p, as.again, &csr, e);
	a.csr = csr;
	if (rc == 0)
		rc = exchange(&a, &x, e);
	if (rc == 0)
		rc = store(&as, &p, &x, a.url, e);
	json_decref(x.answer);
	free(x.ca_pem);
	explicit_bzero(&t, sizeof(t));
	return rc;
}

int link_enrol(const char *state_dir, const char *token, const char *hub_url_override, struct err *e)
{
	const struct link_enrolment n = { .state_dir = state_dir,
					  .token = token,
					  .hub_url = hub_url_override };

	return link_enrol_as(&n, e);
}
