/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/setup_clouds.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

#define URL_KEY "      auth_url: "
#define FILE_MAX_BYTES 65536

int clouds_write(const char *path, const char *url, const char *ca_cert, const char *password,
		 struct err *e)
{
	CLEANUP(free_charp) char *ca = realpath(ca_cert, NULL);
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	int rc;

	strbuf_adds(&b, "# Made by demarc-hub. Use it with: export OS_CLIENT_CONFIG_FILE=<this file> OS_CLOUD=demarc\n"
			"clouds:\n"
			"  demarc:\n"
			"    auth:\n");
	strbuf_addf(&b, URL_KEY "%s/identity/v3\n", url);
	strbuf_addf(&b,
		    "      username: admin\n"
		    "      password: \"%s\"\n"
		    "      project_name: admin\n"
		    "      user_domain_id: default\n"
		    "      project_domain_id: default\n"
		    "    region_name: RegionOne\n"
		    "    interface: public\n"
		    "    identity_api_version: 3\n"
		    "    cacert: \"%s\"\n",
		    password, ca ? ca : ca_cert);
	rc = b.error ? err_set(e, FAULT_NO_MEMORY, NULL, "no memory for %s", path) :
		       file_write_atomic(path, 0600, (struct str){ b.ptr, b.len }, e);
	OPENSSL_cleanse(b.ptr, b.len);
	return rc;
}

int clouds_update(const char *path, const char *url, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	char *at, *end;
	size_t size;
	int rc = access(path, F_OK) == 0 ? file_read(path, FILE_MAX_BYTES, &text, &size, e) : -ENOENT;

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	at = strstr(text, URL_KEY);
	end = at ? strchr(at, '\n') : NULL;
	if (!end)
		return 0; /* the operator's own file by now */
	strbuf_add(&b, text, (size_t)(at - text));
	strbuf_addf(&b, URL_KEY "%s/identity/v3%s", url, end);
	if (b.error)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for %s", path);
	return strcmp(b.ptr, text) == 0 ?
		       0 :
		       file_write_atomic(path, 0600, (struct str){ b.ptr, b.len }, e);
}
