/* SPDX-License-Identifier: Apache-2.0 */
#include "link/renew.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "http/pki.h"
#include "link/dial.h"
#include "link/identity.h"
#include "link/url.h"

#define PEM_MAX (64u << 10)
#define CA_MAX (128u << 10)
#define IDENTITY_MAX 16384u

int renew_request(const char *state_dir, char **ret_csr_pem, struct err *e)
{
	struct identity_paths p;
	int rc = identity_paths(state_dir, &p, e);

	return rc < 0 ? rc : pki_make_csr(p.renew_key, "demarc-node", ret_csr_pem, e);
}

static int check_pair(const struct identity_paths *p, const char *cert, const char *key, struct err *e)
{
	CLEANUP(dial_tls_freep) struct dial_tls *tls = NULL;
	CLEANUP(free_charp) char *ca = NULL;
	size_t size;
	int rc = file_read(p->ca, CA_MAX, &ca, &size, e);
	struct dial_config c = { .ca_pem = { ca, rc < 0 ? 0 : size },
				 .cert_pem = str_of(cert),
				 .key_pem = str_of(key) };

	return rc < 0 ? rc : dial_tls_new(&c, &tls, e);
}

int renew_store(const char *state_dir, const char *cert_pem, struct err *e)
{
	CLEANUP(strbuf_done) struct strbuf both = { 0 };
	char *key = NULL;
	struct identity_paths p;
	size_t size = 0;
	int rc = identity_paths(state_dir, &p, e);

	if (rc == 0)
		rc = file_read(p.renew_key, PEM_MAX, &key, &size, e);
	if (rc == 0)
		rc = check_pair(&p, cert_pem, key, e);
	if (rc == 0) {
		strbuf_addf(&both, "%s%s", cert_pem, key);
		rc = both.error ?
			     err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a certificate") :
			     file_write_atomic(p.next, 0600, (struct str){ both.ptr, both.len }, e);
	}
	if (key)
		explicit_bzero(key, size);
	if (both.ptr)
		explicit_bzero(both.ptr, both.len);
	free(key);
	if (rc == 0 && unlink(p.renew_key) < 0 && errno != ENOENT)
		rc = err_errno(e, errno, "remove %s", p.renew_key);
	return rc;
}

int renew_confirm(const char *state_dir, struct err *e)
{
	struct identity_paths p;
	int rc = identity_paths(state_dir, &p, e);

	if (rc < 0)
		return rc;
	/* Atomic; when the power fails before it is on disk, the next start finds the file as new again. */
	return rename(p.next, p.current) < 0 ? err_errno(e, errno, "rename %s", p.next) : 0;
}

/* ---- trust ---- */

static int hub_list(const Demarc__V1__Trust *m, const char *keep_url, json_t **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *list = json_array();
	bool kept = !keep_url;
	struct url u;

	if (m->n_hub_urls == 0 || m->n_hub_urls > TRUST_HUBS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "hub_urls", "not a list of 1 to %d URLs",
			       TRUST_HUBS_MAX);
	for (size_t i = 0; i < m->n_hub_urls; i++) {
		int rc = url_parse(str_of(m->hub_urls[i]), &u, e);
		if (rc < 0)
			return rc;
		kept |= keep_url && strcmp(m->hub_urls[i], keep_url) == 0;
		(void)json_array_append_new(list, json_string(m->hub_urls[i]));
	}
	if (!kept && m->n_hub_urls < TRUST_HUBS_MAX)
		(void)json_array_append_new(list, json_string(keep_url));
	*ret = MOVE_PTR(list);
	return 0;
}

static int check_ca(const Demarc__V1__Trust *m, struct err *e)
{
	CLEANUP(dial_tls_freep) struct dial_tls *tls = NULL;
	struct dial_config c = { .ca_pem = str_of(m->ca) };

	if (c.ca_pem.len > CA_MAX || strlen(m->digest) > 64)
		return err_set(e, FAULT_TOO_LARGE, "ca", "the CA bundle is too large");
	return dial_tls_new(&c, &tls, e);
}

int trust_store(const char *state_dir, const Demarc__V1__Trust *m, const char *keep_url, struct err *e)
{
	CLEANUP(json_freep) json_t *identity = NULL, *hubs = NULL;
	CLEANUP(free_charp) char *old = NULL;
	CLEANUP(free_charp) char *text = NULL;
	struct identity_paths p;
	size_t size;
	int rc = identity_paths(state_dir, &p, e);

	if (rc == 0)
		rc = check_ca(m, e);
	if (rc == 0)
		rc = hub_list(m, keep_url, &hubs, e);
	if (rc == 0)
		rc = file_read(p.identity, IDENTITY_MAX, &old, &size, e);
	if (rc == 0)
		rc = json_parse((struct str){ old, size }, &identity, e);
	if (rc < 0)
		return rc;
	json_object_set(identity, "hub_urls", hubs);
	json_object_set_new(identity, "trust", json_string(m->digest));
	text = json_text(identity);
	if (!text)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the identity");
	rc = file_write_atomic(p.ca, 0600, str_of(m->ca), e); /* first: the digest says that it is there */
	return rc < 0 ? rc : file_write_atomic(p.identity, 0600, str_of(text), e);
}
