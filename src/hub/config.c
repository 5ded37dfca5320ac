/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/config.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "base/types.h"
#include "base/yaml_tree.h"
#include "link/url.h"

#define PUBLIC_NAMES_MAX 32
#define CONFIG_MAX_BYTES 65536
#define WORKERS_MAX 64
#define TUNNEL_ID_MAX 0xffffffu /* 24 bits: what VXLAN and Geneve have */
#define CERT_DAYS_MAX 3650
#define MORE_HUBS_MAX 7
#define IMAGE_RATE_MAX 100000 /* MB/s */

struct setting {
	const char *name, *arg, *help;					/* arg NULL: takes none */
	int (*set)(struct config *c, const char *value, struct err *e); /* NULL: handled before the others */
};

static int set_data_dir(struct config *c, const char *value, struct err *e)
{
	if (!*value)
		return err_set(e, FAULT_BAD_REQUEST, "data-dir", "--data-dir needs a path.");
	c->hub.data_dir = arena_strdup(c->arena, value);
	return 0;
}

static int set_listen(struct config *c, const char *value, struct err *e)
{
	struct ip_addr ip;

	if (ip_parse(str_of(value), &ip) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "listen",
			       "--listen needs an IP address, not '%.60s'.", value);
	c->hub.listen_addr = arena_strdup(c->arena, value);
	return 0;
}

static int set_number(const char *name, const char *value, uint64_t min, uint64_t max,
		      uint64_t *ret, struct err *e)
{
	if (str_to_u64(str_of(value), max, ret) < 0 || *ret < min)
		return err_set(e, FAULT_BAD_REQUEST, name,
			       "--%s needs a number from %llu to %llu, not '%.60s'.", name,
			       (unsigned long long)min, (unsigned long long)max, value);
	return 0;
}

static int set_port(struct config *c, const char *value, struct err *e)
{
	uint64_t n = 0;
	int rc = set_number("port", value, 0, UINT16_MAX, &n, e);

	c->hub.port = (uint16_t)n;
	return rc;
}

static int set_fronts(struct config *c, const char *value, struct err *e)
{
	uint64_t n = 0;
	int rc = set_number("fronts", value, 1, HTTP_FRONTS_MAX, &n, e);

	c->hub.n_fronts = (unsigned)n;
	return rc;
}

static int set_heartbeat(struct config *c, const char *value, struct err *e)
{
	uint64_t n = 0;
	int rc = set_number("heartbeat", value, 1, 60, &n, e);

	c->hub.heartbeat_s = (unsigned)n;
	return rc;
}

static int set_image_rate(struct config *c, const char *value, struct err *e)
{
	uint64_t n = 0;
	int rc = set_number("image-rate", value, 0, IMAGE_RATE_MAX, &n, e);

	c->hub.image_rate_mb = (unsigned)n;
	return rc;
}

static int set_image_node_rate(struct config *c, const char *value, struct err *e)
{
	uint64_t n = 0;
	int rc = set_number("image-node-rate", value, 0, IMAGE_RATE_MAX, &n, e);

	c->hub.image_node_rate_mb = (unsigned)n;
	return rc;
}

static int set_cert_days(struct config *c, const char *value, struct err *e)
{
	uint64_t n = 0;
	int rc = set_number("cert-days", value, 1, CERT_DAYS_MAX, &n, e);

	c->hub.cert_days = (unsigned)n;
	return rc;
}

static int add_more_hub(struct config *c, const char *value, struct err *e)
{
	const char **urls = (const char **)c->hub.more_hubs;
	struct url u;

	if (url_parse(str_of(value), &u, NULL) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "other-hub",
			       "--other-hub needs a URL as https://hub.example:8443, not '%.60s'.",
			       value);
	if (c->hub.n_more_hubs == MORE_HUBS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "other-hub", "More than %d other hubs.",
			       MORE_HUBS_MAX);
	urls[c->hub.n_more_hubs++] = arena_strdup(c->arena, value);
	return 0;
}

static int set_workers(struct config *c, const char *value, struct err *e)
{
	uint64_t n = 0;
	int rc = set_number("workers", value, 2, WORKERS_MAX, &n, e);

	c->hub.n_workers = (unsigned)n;
	return rc;
}

static int set_tenant_network_type(struct config *c, const char *value, struct err *e)
{
	static const char *const types[] = { "local", "vxlan", "gre", "geneve" };

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (strcmp(types[i], value) == 0) {
			c->hub.tenant_network_type = types[i];
			return 0;
		}
	return err_set(e, FAULT_BAD_REQUEST, "tenant-network-type",
		       "--tenant-network-type is local, vxlan, gre or geneve, not '%.60s'.", value);
}

static int set_tunnel_ids(struct config *c, const char *value, struct err *e)
{
	struct str high, low = str_cut(str_of(value), ':', &high);
	uint64_t min = 0, max = 0;

	if (str_to_u64(low, TUNNEL_ID_MAX, &min) < 0 || str_to_u64(high, TUNNEL_ID_MAX, &max) < 0 ||
	    min < 1 || max < min)
		return err_set(e, FAULT_BAD_REQUEST, "tunnel-ids",
			       "--tunnel-ids needs MIN:MAX within 1:16777215, not '%.60s'.", value);
	c->hub.tunnel_id_min = (uint32_t)min;
	c->hub.tunnel_id_max = (uint32_t)max;
	return 0;
}

/* A DNS name or an address: it goes into a certificate. */
static bool is_host_name(const char *s)
{
	struct ip_addr ip;
	size_t len = strlen(s);

	if (ip_parse(str_of(s), &ip) == 0)
		return true;
	for (size_t i = 0; i < len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", s[i]))
			return false;
	return len > 0 && len < 254 && s[0] != '-' && s[0] != '.';
}

static int add_public_name(struct config *c, const char *value, struct err *e)
{
	const char **names = (const char **)c->hub.public_names;

	if (!is_host_name(value))
		return err_set(e, FAULT_BAD_REQUEST, "public-name",
			       "--public-name needs a DNS name or an IP address, not '%.60s'.", value);
	if (c->hub.n_public_names == PUBLIC_NAMES_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "public-name", "More than %d public names.",
			       PUBLIC_NAMES_MAX);
	names[c->hub.n_public_names++] = arena_strdup(c->arena, value);
	return 0;
}

static int set_log_level(struct config *c, const char *value, struct err *e)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], value) == 0) {
			c->log_level = (enum log_level)i;
			return 0;
		}
	return err_set(e, FAULT_BAD_REQUEST, "log-level",
		       "--log-level is debug, info, warn or error, not '%.60s'.", value);
}

static int set_help(struct config *c, const char *value, struct err *e)
{
	c->help = true;
	return 0;
}

static int set_version(struct config *c, const char *value, struct err *e)
{
	c->version = true;
	return 0;
}

static const struct setting settings[] = {
	{ "data-dir", "DIR", "where everything is kept (default /var/lib/demarc-hub)", set_data_dir },
	{ "listen", "ADDR", "IP address to listen on (default: all)", set_listen },
	{ "port", "N", "TCP port for everything (default 8443; 0: any free one)", set_port },
	{ "public-name", "NAME",
	  "DNS name or address under which clients and nodes reach the hub;\n"
	  "                       may be repeated, the first one is in the catalog",
	  add_public_name },
	{ "workers", "N", "threads that answer requests (default 16)", set_workers },
	{ "fronts", "N", "threads that hold connections (default: one per processor, at most 16)",
	  set_fronts },
	{ "heartbeat", "SECONDS",
	  "how often a node shows that it is there (default: 5, less often when there\n"
	  "                       are thousands)",
	  set_heartbeat },
	{ "image-rate", "MB/S", "image data to all nodes together (default 100; 0: no limit)",
	  set_image_rate },
	{ "image-node-rate", "MB/S", "image data to one node (default 20; 0: no limit)",
	  set_image_node_rate },
	{ "tenant-network-type", "TYPE",
	  "of networks whose creator does not say: local, vxlan, gre or\n"
	  "                       geneve (default local: each node by itself)",
	  set_tenant_network_type },
	{ "tunnel-ids", "MIN:MAX", "numbers for networks of tunnel types (default 1:16777215)",
	  set_tunnel_ids },
	{ "cert-days", "N", "life of a node's certificate in days (default 30)", set_cert_days },
	{ "other-hub", "URL",
	  "another hub of this cloud that nodes may fall back on; may be repeated", add_more_hub },
	{ "config", "FILE", "YAML file with these settings by their long names", NULL },
	{ "log-level", "LEVEL", "debug, info, warn or error (default info)", set_log_level },
	{ "help", NULL, "show this text", set_help },
	{ "version", NULL, "show the version", set_version },
};

void config_usage(FILE *out)
{
	fprintf(out,
		"Usage: demarc-hub [OPTION]...\nThe hub of a demarc cloud: OpenStack APIs and the nodes' channel on one HTTPS port.\n\n");
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		char left[32];

		snprintf(left, sizeof(left), "--%s %s", settings[i].name,
			 settings[i].arg ? settings[i].arg : "");
		fprintf(out, "  %-20s %s\n", left, settings[i].help);
	}
}

static const struct setting *setting_of(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (str_eq_c(name, settings[i].name))
			return &settings[i];
	return NULL;
}

/* One value of the file, or each of a list. */
static int set_from_json(struct config *c, const struct setting *s, const json_t *v, struct err *e)
{
	char *text;

	if (json_is_array(v)) {
		for (size_t i = 0; i < json_array_size(v); i++) {
			int rc = set_from_json(c, s, json_array_get(v, i), e);

			if (rc < 0)
				return rc;
		}
		return 0;
	}
	if (!json_is_string(v) && !json_is_integer(v))
		return err_set(e, FAULT_BAD_REQUEST, s->name, "'%s' must be text or a number.", s->name);
	text = json_is_string(v) ? arena_strdup(c->arena, json_string_value(v)) :
				   arena_printf(c->arena, "%lld", (long long)json_integer_value(v));
	return text ? s->set(c, text, e) :
		      err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the configuration");
}

static int read_file(struct config *c, const char *path, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	CLEANUP(json_freep) json_t *tree = NULL;
	const char *name;
	json_t *v;
	size_t size;
	int rc = file_read(path, CONFIG_MAX_BYTES, &text, &size, e);

	if (rc == 0)
		rc = yaml_parse((struct str){ text, size }, &tree, e);
	if (rc < 0)
		return err_wrap(e, "%s", path);
	if (!json_is_object(tree))
		return json_is_null(tree) ? 0 :
					    err_set(e, FAULT_BAD_REQUEST, NULL,
						    "%s: not a mapping of settings.", path);
	json_object_foreach(tree, name, v) {
		const struct setting *s = setting_of(str_of(name));

		if (!s || !s->set || !s->arg)
			return err_set(e, FAULT_BAD_REQUEST, "config",
				       "%s: unknown setting '%.60s'.", path, name);
		rc = set_from_json(c, s, v, e);
		if (rc < 0)
			return err_wrap(e, "%s", path);
	}
	return 0;
}

/* argv[*i] is an option: its value is behind '=' or the next word. */
static int take_option(char **argv, int argc, int *i, const struct setting **ret,
		       const char **ret_value, struct err *e)
{
	struct str value, name = str_cut(str_of(argv[*i]), '=', &value);
	bool inline_value = strchr(argv[*i], '=') != NULL;

	if (!str_starts(name, STR("--")))
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "Unexpected argument '%.60s'; see demarc-hub --help.", argv[*i]);
	name = (struct str){ name.ptr + 2, name.len - 2 };
	*ret = setting_of(name);
	if (!*ret)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "Unknown option '%.60s'; see demarc-hub --help.", argv[*i]);
	*ret_value = inline_value ? value.ptr : "";
	if (inline_value && !(*ret)->arg)
		return err_set(e, FAULT_BAD_REQUEST, (*ret)->name, "--%s takes no value.", (*ret)->name);
	if (inline_value || !(*ret)->arg)
		return 0;
	if (++*i >= argc)
		return err_set(e, FAULT_BAD_REQUEST, (*ret)->name, "--%s needs a value: %s.",
			       (*ret)->name, (*ret)->arg);
	*ret_value = argv[*i];
	return 0;
}

/* Twice over argv: first the file's name, then everything, so that argv wins. */
static int read_argv(struct config *c, int argc, char **argv, bool files, struct err *e)
{
	bool names_given = false;

	for (int i = 1; i < argc; i++) {
		const struct setting *s = NULL;
		const char *value = "";
		int rc = take_option(argv, argc, &i, &s, &value, e);

		if (rc < 0)
			return rc;
		if (files != (s->set == NULL))
			continue;
		/* Names on the command line replace those of the file. */
		if (s->set == add_public_name && !names_given) {
			c->hub.n_public_names = 0;
			names_given = true;
		}
		rc = files ? read_file(c, value, e) : s->set(c, value, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static unsigned fronts_default(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : (unsigned)MIN_OF(n, (long)HTTP_FRONTS_MAX);
}

int config_read(int argc, char **argv, struct config *ret, struct err *e)
{
	struct config c = { .log_level = LOG_INFO_,
			    .hub = { .data_dir = "/var/lib/demarc-hub",
				     .port = 8443,
				     .n_workers = 16,
				     .n_fronts = fronts_default(),
				     .tenant_network_type = "local",
				     .tunnel_id_min = 1,
				     .tunnel_id_max = TUNNEL_ID_MAX,
				     .image_rate_mb = 100,
				     .image_node_rate_mb = 20,
				     .cert_days = 30 } };
	int rc;

	c.arena = arena_new(1 << 20);
	c.hub.public_names = c.arena ? arena_alloc(c.arena, PUBLIC_NAMES_MAX * sizeof(char *)) : NULL;
	c.hub.more_hubs = c.arena ? arena_alloc(c.arena, MORE_HUBS_MAX * sizeof(char *)) : NULL;
	rc = c.hub.public_names && c.hub.more_hubs ?
		     read_argv(&c, argc, argv, true, e) :
		     err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the configuration");
	if (rc == 0)
		rc = read_argv(&c, argc, argv, false, e);
	if (rc == 0 && arena_failed(c.arena))
		rc = err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the configuration");
	if (rc < 0) {
		config_done(&c);
		return rc;
	}
	*ret = c;
	return 0;
}

void config_done(struct config *c)
{
	arena_free(c->arena);
	c->arena = NULL;
}
