/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cloud.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "base/yaml_tree.h"

#define CLOUDS_FILE_MAX (1u << 20) /* bytes */

/* Row: member, key below "auth" or beside it, environment variable. */
static const struct field {
	size_t at;
	const char *key, *env;
	bool in_auth;
} fields[] = {
	{ offsetof(struct cloud, auth_url), "auth_url", "OS_AUTH_URL", true },
	{ offsetof(struct cloud, username), "username", "OS_USERNAME", true },
	{ offsetof(struct cloud, password), "password", "OS_PASSWORD", true },
	{ offsetof(struct cloud, project_name), "project_name", "OS_PROJECT_NAME", true },
	{ offsetof(struct cloud, project_id), "project_id", "OS_PROJECT_ID", true },
	{ offsetof(struct cloud, user_domain), "user_domain_name", "OS_USER_DOMAIN_NAME", true },
	{ offsetof(struct cloud, user_domain), "user_domain_id", "OS_USER_DOMAIN_ID", true },
	{ offsetof(struct cloud, project_domain), "project_domain_name", "OS_PROJECT_DOMAIN_NAME", true },
	{ offsetof(struct cloud, project_domain), "project_domain_id", "OS_PROJECT_DOMAIN_ID", true },
	{ offsetof(struct cloud, cacert), "cacert", "OS_CACERT", false },
};

static char **member(struct cloud *c, const struct field *f)
{
	return (char **)((char *)c + f->at);
}

void cloud_done(struct cloud *c)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		char **m = member(c, &fields[i]);

		if (*m)
			explicit_bzero(*m, strlen(*m));
		free(*m);
		*m = NULL;
	}
}

static int set(struct cloud *c, const struct field *f, const char *value, struct err *e)
{
	char **m = member(c, f);

	if (!value || !*value)
		return 0;
	free(*m);
	*m = strdup(value);
	return *m ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
}

/* The first file that is there, malloc'ed; NULL without one. */
static char *find_file(void)
{
	const char *named = getenv("OS_CLIENT_CONFIG_FILE"), *home = getenv("HOME");
	struct strbuf in_home CLEANUP(strbuf_done) = { 0 };
	const char *places[3] = { "clouds.yaml", NULL, "/etc/openstack/clouds.yaml" };

	if (named && *named)
		return strdup(named);
	if (home) {
		strbuf_addf(&in_home, "%s/.config/openstack/clouds.yaml", home);
		places[1] = strbuf_cstr(&in_home);
	}
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (places[i] && access(places[i], R_OK) == 0)
			return strdup(places[i]);
	return NULL;
}

static int choose(const char *file, const json_t *clouds, const char *name, const json_t **ret,
		  struct err *e)
{
	if (!name)
		name = getenv("OS_CLOUD");
	if (name && *name) {
		*ret = json_object_get(clouds, name);
		return *ret ? 0 :
			      err_set(e, FAULT_NOT_FOUND, "os-cloud",
				      "%s has no cloud named \"%s\"", file, name);
	}
	if (json_object_size(clouds) != 1)
		return err_set(e, FAULT_BAD_REQUEST, "os-cloud",
			       "%s has %zu clouds: choose one with --os-cloud or OS_CLOUD", file,
			       json_object_size(clouds));
	*ret = json_object_iter_value(json_object_iter((json_t *)clouds));
	return 0;
}

static int from_file(const char *file, const char *name, struct cloud *c, struct err *e)
{
	char *text CLEANUP(free_charp) = NULL;
	json_t *tree CLEANUP(json_freep) = NULL;
	const json_t *cloud = NULL, *clouds, *auth;
	size_t size = 0;
	int rc = file_read(file, CLOUDS_FILE_MAX, &text, &size, e);

	if (rc == 0)
		rc = yaml_parse((struct str){ text, size }, &tree, e);
	if (rc < 0)
		return err_wrap(e, "%s", file);
	clouds = json_object_get(tree, "clouds");
	if (!json_is_object(clouds))
		return err_set(e, FAULT_BAD_REQUEST, "clouds", "%s has no mapping named \"clouds\"",
			       file);
	rc = choose(file, clouds, name, &cloud, e);
	if (rc < 0)
		return rc;
	auth = json_object_get(cloud, "auth");
	for (size_t i = 0; i < ARRAY_LEN(fields) && rc == 0; i++)
		rc = set(c, &fields[i], json_str(fields[i].in_auth ? auth : cloud, fields[i].key), e);
	c->insecure = !json_bool(cloud, "verify", true);
	return rc;
}

static int from_environment(struct cloud *c, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(fields) && rc == 0; i++)
		rc = set(c, &fields[i], getenv(fields[i].env), e);
	return rc;
}

int cloud_load(const char *name, struct cloud *ret, struct err *e)
{
	struct cloud c = { 0 };
	char *file CLEANUP(free_charp) = NULL;
	int rc = 0;

	if (name || !getenv("OS_AUTH_URL") || getenv("OS_CLOUD")) {
		file = find_file();
		if (file)
			rc = from_file(file, name, &c, e);
	}
	if (rc == 0)
		rc = from_environment(&c, e);
	if (rc == 0 && (!c.auth_url || !c.username || !c.password))
		rc = err_set(e, FAULT_BAD_REQUEST, "auth_url",
			     "no hub is configured: the hub printed the path of a clouds.yaml at its first start; set "
			     "OS_CLIENT_CONFIG_FILE to it, or set OS_AUTH_URL, OS_USERNAME and OS_PASSWORD");
	if (rc < 0) {
		cloud_done(&c);
		return rc;
	}
	*ret = c;
	return 0;
}
