/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/types.h"
#include "http/pki.h"
#include "hub/cert.h"
#include "hub/identity/token.h"
#include "hub/rest.h"
#include "hub/setup_clouds.h"

#define CERT_DAYS 3650
#define NAMES_MAX 40
#define MARKER "setup-unfinished"

static const char *const needed[] = { "hub.db",	    "ca.crt",	  "ca.key",
				      "server.crt", "server.key", "token-keys" };

static char *path_of(const struct hub *h, const char *name)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s", h->config->data_dir, name) < 0 ? NULL : path;
}

static bool exists(const struct hub *h, const char *name)
{
	CLEANUP(free_charp) char *path = path_of(h, name);

	return path && access(path, F_OK) == 0;
}

static int remove_file(const struct hub *h, const char *name, struct err *e)
{
	CLEANUP(free_charp) char *path = path_of(h, name);

	if (!path)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
	if (unlink(path) < 0 && errno != ENOENT)
		return err_errno(e, errno, "remove %s", path);
	return 0;
}

static int write_file(const struct hub *h, const char *name, mode_t mode, const char *text,
		      struct err *e)
{
	CLEANUP(free_charp) char *path = path_of(h, name);

	return path ? file_write_atomic(path, mode, str_of(text), e) :
		      err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
}

/* One hub for one directory. The lock goes with the process. */
static int take_lock(const struct hub *h, struct setup *s, struct err *e)
{
	CLEANUP(free_charp) char *path = path_of(h, "lock");

	if (!path)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
	return file_lock(path, "demarc-hub", &s->lock_fd, e);
}

/* What an unfinished first start left behind. Nobody has used it: its password was never handed out. */
static int wipe(const struct hub *h, struct err *e)
{
	static const char *const more[] = { "hub.db-wal", "hub.db-shm", "server.names",
					    "clouds.yaml", "port" };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(needed); i++)
		rc = remove_file(h, needed[i], e);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(more); i++)
		rc = remove_file(h, more[i], e);
	return rc;
}

static int check_state(const struct hub *h, struct setup *s, struct err *e)
{
	size_t n = 0;

	if (exists(h, MARKER)) {
		s->first = true;
		return wipe(h, e);
	}
	for (size_t i = 0; i < ARRAY_LEN(needed); i++)
		n += exists(h, needed[i]);
	s->first = n == 0;
	for (size_t i = 0; n && i < ARRAY_LEN(needed); i++)
		if (!exists(h, needed[i]))
			return err_set(e, FAULT_INTERNAL, NULL,
				       "%s/%s is missing while other files of the hub are there. Restore it from a backup, or start "
				       "with an empty data directory.",
				       h->config->data_dir, needed[i]);
	return s->first ? write_file(h, MARKER, 0600, "", e) : 0;
}

/* ---- names of the server certificate ---- */

static bool add_name(const char **names, size_t *n, const char *name)
{
	for (size_t i = 0; i < *n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	if (*n == NAMES_MAX || !(names[*n] = strdup(name)))
		return false;
	(*n)++;
	return true;
}

static int collect_names(struct hub *h, struct err *e)
{
	static const char *const always[] = { "localhost", "127.0.0.1", "::1" };
	const char **names = calloc(NAMES_MAX, sizeof(*names));
	char hostname[HOST_NAME_MAX + 1] = "";
	bool ok = names != NULL;

	h->names = names;
	for (size_t i = 0; ok && i < h->config->n_public_names; i++)
		ok = add_name(names, &h->n_names, h->config->public_names[i]);
	if (ok && gethostname(hostname, sizeof(hostname)) == 0 && hostname[0])
		ok = add_name(names, &h->n_names, hostname);
	for (size_t i = 0; ok && i < ARRAY_LEN(always); i++)
		ok = add_name(names, &h->n_names, always[i]);
	return ok ? 0 :
		    err_set(e, FAULT_BAD_REQUEST, "public-name", "More than %d public names.",
			    NAMES_MAX - 4);
}

static void san_of(const char *name, struct strbuf *b)
{
	struct ip_addr ip;

	strbuf_addf(b, "%s:%s", ip_parse(str_of(name), &ip) == 0 ? "IP" : "DNS", name);
}

/* One "DNS:name" a line: what the certificate was made for. */
static char *names_text(const struct hub *h)
{
	struct strbuf b = { 0 };

	for (size_t i = 0; i < h->n_names; i++) {
		san_of(h->names[i], &b);
		strbuf_addc(&b, '\n');
	}
	return strbuf_take(&b);
}

static int make_server_cert(struct hub *h, struct err *e)
{
	char *sans[NAMES_MAX] = { 0 };
	int rc = 0;

	for (size_t i = 0; i < h->n_names; i++) {
		struct strbuf b = { 0 };

		san_of(h->names[i], &b);
		sans[i] = strbuf_take(&b);
		if (!sans[i])
			rc = err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a certificate");
	}
	if (rc == 0)
		rc = pki_make_server(h->ca_cert, h->ca_key, h->server_cert, h->server_key,
				     (const char *const *)sans, h->n_names, CERT_DAYS, e);
	for (size_t i = 0; i < h->n_names; i++)
		free(sans[i]);
	return rc;
}

/* The server's certificate follows its names; the CA, which nodes trust, stays. */
static int check_server_cert(struct hub *h, bool first, struct err *e)
{
	CLEANUP(free_charp) char *want = names_text(h);
	CLEANUP(free_charp) char *path = path_of(h, "server.names");
	CLEANUP(free_charp) char *have = NULL;
	size_t size;
	struct err ignored;
	int rc;

	if (!want || !path)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a certificate");
	if (!first && file_read(path, 65536, &have, &size, &ignored) == 0 && strcmp(have, want) == 0)
		return 0;
	rc = make_server_cert(h, e);
	return rc < 0 ? rc : file_write_atomic(path, 0644, str_of(want), e);
}

int setup_server_cert(struct hub *h, struct err *e)
{
	int rc = remove_file(h, "server.names", e); /* a crash from here on makes the next start do it */

	return rc < 0 ? rc : check_server_cert(h, false, e);
}

static int make_paths(struct hub *h, struct err *e)
{
	h->ca_cert = path_of(h, "ca.crt");
	h->ca_key = path_of(h, "ca.key");
	h->server_cert = path_of(h, "server.crt");
	h->server_key = path_of(h, "server.key");
	h->image_dir = path_of(h, "images");
	if (!h->ca_cert || !h->ca_key || !h->server_cert || !h->server_key || !h->image_dir)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
	return dir_make(h->image_dir, 0700, e);
}

int setup_files(struct hub *h, struct setup *s, struct err *e)
{
	CLEANUP(free_charp) char *keys = NULL;
	int rc = dir_make(h->config->data_dir, 0700, e);

	s->lock_fd = -1;
	if (rc == 0)
		rc = take_lock(h, s, e);
	if (rc == 0)
		rc = check_state(h, s, e);
	if (rc == 0)
		rc = make_paths(h, e);
	if (rc == 0)
		rc = collect_names(h, e);
	if (rc == 0 && s->first)
		rc = pki_make_ca(h->ca_cert, h->ca_key, "demarc hub CA", CERT_DAYS, e);
	if (rc == 0)
		rc = ca_recover(h, e);
	if (rc == 0)
		rc = check_server_cert(h, s->first, e);
	if (rc < 0)
		return rc;
	keys = path_of(h, "token-keys");
	return keys ? token_keys_open(keys, clock_wall_us(), &h->token_keys, e) :
		      err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
}

/* ---- rows ---- */

static void make_password(char ret[static ADMIN_PASSWORD_SIZE])
{
	static const char letters[] = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789abcdefg";
	uint8_t bytes[24];

	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		ret[i] = letters[bytes[i] & 63];
	ret[sizeof(bytes)] = '\0';
}

int setup_rows(struct hub *h, struct setup *s, const struct module *const *modules, size_t n,
	       struct err *e)
{
	CLEANUP(db_closep) struct db *db = NULL;
	int rc = db_open(h->store, &db, e);

	/* After the first start there is nothing to write, as a rule: a full disk must not keep the hub from its nodes and readers. */
	if (rc == 0)
		rc = db_begin(db, s->first ? DB_WRITE : DB_WRITE_ANYWAY, e);
	for (size_t i = 0; rc >= 0 && i < n; i++)
		if (modules[i]->bootstrap) {
			rc = modules[i]->bootstrap(h, db, e);
			if (rc < 0)
				rc = err_wrap(e, "first rows of %s", modules[i]->service);
		}
	if (rc >= 0 && s->first) {
		make_password(s->admin_password);
		rc = identity_bootstrap_admin(db, s->admin_password, e);
	}
	if (rc >= 0)
		rc = db_commit(db, e);
	if (rc < 0 && db)
		db_rollback(db);
	if (rc < 0 && !s->first && e->fault == FAULT_NO_SPACE) {
		log_warn("first_rows_unchecked", "reason=%s", LOGQ(e->msg));
		rc = 0;
	}
	return rc < 0 ? rc : 0;
}

/* Without a public name the host's own one is shown, if this machine at least knows it. */
static const char *public_name(const struct hub *h)
{
	struct addrinfo *found = NULL;

	if (h->config->n_public_names)
		return h->names[0];
	if (getaddrinfo(h->names[0], NULL, NULL, &found) != 0)
		return "localhost";
	freeaddrinfo(found);
	return h->names[0];
}

/* Written only when it is another one: the disk may be full. */
static int note_port(const struct hub *h, uint16_t port, struct err *e)
{
	CLEANUP(free_charp) char *path = path_of(h, "port");
	CLEANUP(free_charp) char *have = NULL;
	struct err ignored;
	char text[16];
	size_t size;

	(void)snprintf(text, sizeof(text), "%u\n", port);
	if (path && file_read(path, sizeof(text), &have, &size, &ignored) == 0 && strcmp(have, text) == 0)
		return 0;
	return write_file(h, "port", 0644, text, e);
}

int setup_finish(struct hub *h, struct setup *s, uint16_t port, char **ret_clouds, struct err *e)
{
	const char *name = public_name(h);
	bool v6 = strchr(name, ':') != NULL;
	int rc;

	*ret_clouds = path_of(h, "clouds.yaml");
	if (!*ret_clouds || asprintf(&h->public_url, "https://%s%s%s:%u", v6 ? "[" : "", name,
				     v6 ? "]" : "", port) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
	rc = s->first ? clouds_write(*ret_clouds, h->public_url, h->ca_cert, s->admin_password, e) :
			clouds_update(*ret_clouds, h->public_url, e);
	if (rc == 0)
		rc = note_port(h, port, e);
	if (rc == 0 && s->first)
		rc = remove_file(h, MARKER, e);
	OPENSSL_cleanse(s->admin_password, sizeof(s->admin_password));
	return rc;
}

void setup_done(struct hub *h, struct setup *s)
{
	for (size_t i = 0; i < h->n_names; i++)
		free((char *)h->names[i]);
	free((void *)h->names);
	token_keys_free(h->token_keys);
	free(h->ca_cert);
	free(h->ca_key);
	free(h->server_cert);
	free(h->server_key);
	free(h->image_dir);
	free(h->public_url);
	close_fdp(&s->lock_fd);
}
