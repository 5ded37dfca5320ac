/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/cert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "http/pki.h"
#include "http/server.h"
#include "hub/setup.h"

/* Rotation of the CA. Every step can be done again, so that a crash between two of them costs nothing. */

#define CA_DAYS 3650
#define PEM_MAX (64u << 10)

struct files {
	char *cert, *key, *mark; /* of the next CA; the mark: retiring has begun */
};

static void files_done(struct files *f)
{
	free(f->cert);
	free(f->key);
	free(f->mark);
}

static char *path_of(const struct hub *h, const char *name)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s", h->config->data_dir, name) < 0 ? NULL : path;
}

static int files_init(const struct hub *h, struct files *f, struct err *e)
{
	f->cert = path_of(h, "ca-next.crt");
	f->key = path_of(h, "ca-next.key");
	f->mark = path_of(h, "ca-retiring");
	return f->cert && f->key && f->mark ?
		       0 :
		       err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
}

static int copy_file(const char *from, const char *to, mode_t mode, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size;
	int rc = file_read(from, PEM_MAX, &text, &size, e);

	if (rc == 0)
		rc = file_write_atomic(to, mode, (struct str){ text, size }, e);
	if (text)
		explicit_bzero(text, size);
	return rc;
}

static int remove_file(const char *path, struct err *e)
{
	return unlink(path) < 0 && errno != ENOENT ? err_errno(e, errno, "remove %s", path) : 0;
}

/* From the mark on: the next CA becomes the anchor. */
static int retire(struct hub *h, const struct files *f, struct err *e)
{
	int rc = 0;

	if (access(f->cert, F_OK) == 0) {
		rc = copy_file(f->key, h->ca_key, 0600, e);
		if (rc == 0)
			rc = copy_file(f->cert, h->ca_cert, 0644, e);
		if (rc == 0)
			rc = setup_server_cert(h, e);
	}
	if (rc == 0)
		rc = remove_file(f->cert, e);
	if (rc == 0)
		rc = remove_file(f->key, e);
	return rc == 0 ? remove_file(f->mark, e) : rc;
}

/* The bundle: the anchor, which it holds already, then the next one. */
static int write_bundle(struct hub *h, const struct files *f, struct err *e)
{
	CLEANUP(free_charp) char *old = NULL;
	CLEANUP(free_charp) char *next = NULL;
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	size_t size;
	int rc = file_read(h->ca_cert, PEM_MAX, &old, &size, e);

	if (rc == 0)
		rc = file_read(f->cert, PEM_MAX, &next, &size, e);
	if (rc < 0 || strstr(old, next))
		return rc;
	strbuf_addf(&b, "%s%s", old, next);
	if (b.error)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the CA bundle");
	return file_write_atomic(h->ca_cert, 0644, (struct str){ b.ptr, b.len }, e);
}

int ca_recover(struct hub *h, struct err *e)
{
	CLEANUP(files_done) struct files f = { 0 };
	int rc = files_init(h, &f, e);

	if (rc < 0)
		return rc;
	if (access(f.mark, F_OK) == 0)
		return retire(h, &f, e);
	return access(f.cert, F_OK) == 0 ? write_bundle(h, &f, e) : 0;
}

static int reload(struct hub *h, struct err *e)
{
	int rc = certs_publish(h, e);

	return rc == 0 && h->http ? http_server_reload(h->http, e) : rc;
}

int ca_rotate(struct hub *h, struct err *e)
{
	CLEANUP(files_done) struct files f = { 0 };
	char name[64], when[TIME_STR_SIZE];
	int rc = files_init(h, &f, e);

	if (rc < 0)
		return rc;
	if (access(f.cert, F_OK) == 0)
		return err_set(e, FAULT_CONFLICT, NULL,
			       "A rotation of the CA is going on: retire the old one first.");
	/* A name of its own: certificates name their issuer by it. The key is written before the certificate. */
	(void)snprintf(name, sizeof(name), "demarc hub CA %s", time_format_us(clock_wall_us(), when));
	rc = pki_make_ca(f.cert, f.key, name, CA_DAYS, e);
	if (rc == 0)
		rc = write_bundle(h, &f, e);
	return rc == 0 ? reload(h, e) : rc;
}

int ca_retire(struct hub *h, struct err *e)
{
	CLEANUP(files_done) struct files f = { 0 };
	int rc = files_init(h, &f, e);

	if (rc < 0)
		return rc;
	if (access(f.cert, F_OK) < 0)
		return err_set(e, FAULT_CONFLICT, NULL, "There is one CA only: rotate it first.");
	rc = file_write_atomic(f.mark, 0600, STR(""), e);
	if (rc == 0)
		rc = retire(h, &f, e);
	return rc == 0 ? reload(h, e) : rc;
}

int ca_list(struct hub *h, json_t **ret, struct err *e)
{
	CLEANUP(files_done) struct files f = { 0 };
	char hex[65];
	json_t *list = json_array();
	int rc = files_init(h, &f, e);

	if (rc == 0)
		rc = pki_fingerprint(h->ca_cert, hex, e);
	if (rc == 0)
		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "fingerprint", hex, "role", "anchor"));
	if (rc == 0 && access(f.cert, F_OK) == 0) {
		rc = pki_fingerprint(f.cert, hex, e);
		if (rc == 0)
			json_array_append_new(list, json_pack("{s:s, s:s}", "fingerprint", hex,
							      "role", "next"));
	}
	if (rc < 0) {
		json_decref(list);
		return rc;
	}
	*ret = list;
	return 0;
}
