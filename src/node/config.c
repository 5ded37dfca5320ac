/* SPDX-License-Identifier: Apache-2.0 */
#include "node/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

#define CONFIG_BYTES_MAX (256u << 10)

/* Scalars: the same rows serve the file and the flags. */
static const struct {
	const char *key;
	size_t offset, size;
	const char *value; /* default */
} scalars[] = {
#define ROW(field, dflt)                                                                           \
	{                                                                                          \
#field, offsetof(struct config, field), sizeof(((struct config *)0)->field), dflt  \
	}
	ROW(state_dir, "/var/lib/demarc-node"),
	ROW(run_dir, "/run/demarc-node"),
	ROW(pin_dir, ""),
	ROW(runtime, "runc"),
	ROW(hub, ""),
	ROW(proxy, ""),
	ROW(user, "nobody"),
	ROW(ipfix, ""),
	ROW(ipfix_active, ""),
	ROW(enrol_file, ""),
	ROW(max_flows, ""),
	ROW(max_bindings, ""),
	ROW(shell, "no"),
	ROW(peer_copy, "no"),
	ROW(peer_copy_rate, ""),
#undef ROW
};

void config_default(struct config *c)
{
	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < ARRAY_LEN(scalars); i++)
		(void)str_copy((char *)c + scalars[i].offset, scalars[i].size, str_of(scalars[i].value));
}

int config_set(struct config *c, const char *key, const char *value, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
		if (strcmp(scalars[i].key, key) != 0)
			continue;
		if (str_copy((char *)c + scalars[i].offset, scalars[i].size, str_of(value)) < 0)
			return err_set(e, FAULT_BAD_REQUEST, key, "longer than %zu bytes",
				       scalars[i].size - 1);
		return 0;
	}
	return err_set(e, FAULT_BAD_REQUEST, key, "no such setting");
}

static int hook_of(struct str text, enum dp_hook *ret)
{
	static const char *const names[] = {
		[DP_HOOK_AUTO] = "auto", [DP_HOOK_TC] = "tc", [DP_HOOK_XDP] = "xdp"
	};

	*ret = DP_HOOK_AUTO;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq_c(text, names[i])) {
			*ret = (enum dp_hook)i;
			return 0;
		}
	return text.len ? -EINVAL : 0;
}

static int nic_add(struct config *c, struct str name, struct str value, struct err *e)
{
	struct config_nic *n = &c->nics[c->n_nics];
	struct str hook, device = str_cut(value, ',', &hook);

	for (size_t i = 0; i < c->n_nics; i++)
		if (str_eq_c(name, c->nics[i].name))
			n = &c->nics[i]; /* a flag overrides the file */
	if (n == &c->nics[CONFIG_NICS_MAX])
		return err_set(e, FAULT_BAD_REQUEST, "nics", "more than %d", CONFIG_NICS_MAX);
	if (name.len == 0 || name.len >= sizeof(n->name) || device.len == 0 ||
	    device.len >= sizeof(n->device) || memchr(device.ptr, '/', device.len))
		return err_set(e, FAULT_BAD_REQUEST, "nics",
			       "'" STR_FMT "=" STR_FMT "' is not NAME=INTERFACE", STR_ARG(name),
			       STR_ARG(device));
	if (hook_of(hook, &n->hook) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "nics",
			       "'" STR_FMT "' is no hook: auto, tc or xdp", STR_ARG(hook));
	(void)str_copy(n->name, sizeof(n->name), name);
	(void)str_copy(n->device, sizeof(n->device), device);
	if (n == &c->nics[c->n_nics])
		c->n_nics++;
	return 0;
}

int config_nic_add(struct config *c, const char *text, struct err *e)
{
	struct str rest, name = str_cut(str_of(text), '=', &rest);

	return nic_add(c, name, rest, e);
}

bool config_wants_xdp(const struct config *c)
{
	for (size_t i = 0; i < c->n_nics; i++)
		if (c->nics[i].hook == DP_HOOK_XDP)
			return true;
	return false;
}

const char *config_nic_device(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_nics; i++)
		if (strcmp(c->nics[i].name, name) == 0)
			return c->nics[i].device;
	return NULL;
}

static const char *scalar(const yaml_node_t *n)
{
	return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

static int at_line(struct err *e, const char *path, const yaml_node_t *n)
{
	return err_wrap(e, "%s:%zu:%zu", path, n->start_mark.line + 1, n->start_mark.column + 1);
}

static int load_nics(yaml_document_t *doc, const yaml_node_t *map, struct config *c, struct err *e)
{
	if (map->type != YAML_MAPPING_NODE)
		return err_set(e, FAULT_BAD_REQUEST, "nics", "not a mapping of names to interfaces");
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		const char *name = scalar(yaml_document_get_node(doc, p->key));
		const char *device = scalar(yaml_document_get_node(doc, p->value));
		int r = nic_add(c, str_of(name), str_of(device), e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int flag(const char *key, const char *value, bool *ret, struct err *e)
{
	static const char *const words[] = { "no", "yes", "false", "true" };

	for (size_t i = 0; value && i < ARRAY_LEN(words); i++)
		if (strcmp(words[i], value) == 0) {
			*ret = i & 1;
			return 0;
		}
	return err_set(e, FAULT_BAD_REQUEST, key, "is yes or no");
}

static int conntrack_set(struct dp_ct *ct, const char *key, const char *value, struct err *e)
{
	uint64_t seconds;

	if (strcmp(key, "tcp_liberal") == 0)
		return flag(key, value, &ct->tcp_liberal, e);
	if (strcmp(key, "tcp_strict") == 0)
		return flag(key, value, &ct->tcp_strict, e);
	for (size_t i = 0; i < DP_CT_STATES; i++) {
		const char *state = dp_ct_state_name(i);

		if (!state || strcmp(state, key) != 0)
			continue;
		if (!value || str_to_u64(str_of(value), DP_CT_TIMEOUT_MAX_S, &seconds) < 0 ||
		    seconds < 1)
			return err_set(e, FAULT_BAD_REQUEST, key, "is seconds, 1 to %d",
				       DP_CT_TIMEOUT_MAX_S);
		ct->timeout_s[i] = (uint32_t)seconds;
		return 0;
	}
	return err_set(e, FAULT_BAD_REQUEST, key, "neither a setting nor a state of connections");
}

static int load_conntrack(yaml_document_t *doc, const yaml_node_t *map, struct config *c, struct err *e)
{
	if (map->type != YAML_MAPPING_NODE)
		return err_set(e, FAULT_BAD_REQUEST, "conntrack", "not a mapping");
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		const char *key = scalar(yaml_document_get_node(doc, p->key));
		const char *value = scalar(yaml_document_get_node(doc, p->value));

		if (!key)
			return err_set(e, FAULT_BAD_REQUEST, "conntrack", "a key that is not a word");
		if (conntrack_set(&c->conntrack, key, value, e) < 0)
			return err_in(e, "conntrack");
	}
	return 0;
}

static int load_pair(yaml_document_t *doc, const yaml_node_t *key, const yaml_node_t *value,
		     struct config *c, struct err *e)
{
	const char *k = scalar(key);

	if (!k)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "a key that is not a word");
	if (strcmp(k, "nics") == 0)
		return load_nics(doc, value, c, e);
	if (strcmp(k, "conntrack") == 0)
		return load_conntrack(doc, value, c, e);
	if (!scalar(value))
		return err_set(e, FAULT_BAD_REQUEST, k, "not a plain value");
	return config_set(c, k, scalar(value), e);
}

static int load_document(const char *path, yaml_document_t *doc, struct config *c, struct err *e)
{
	const yaml_node_t *root = yaml_document_get_root_node(doc);

	if (!root)
		return 0; /* an empty file */
	if (root->type != YAML_MAPPING_NODE)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "%s: not a mapping", path);
	for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
	     p++) {
		const yaml_node_t *key = yaml_document_get_node(doc, p->key);

		if (load_pair(doc, key, yaml_document_get_node(doc, p->value), c, e) < 0)
			return at_line(e, path, key);
	}
	return 0;
}

int config_load(const char *path, struct config *c, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;
	yaml_parser_t parser;
	yaml_document_t doc;
	int r = file_read(path, CONFIG_BYTES_MAX, &text, &size, e);

	if (r < 0)
		return r;
	if (!yaml_parser_initialize(&parser))
		return err_set(e, FAULT_NO_MEMORY, NULL, "YAML parser");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
	if (!yaml_parser_load(&parser, &doc)) {
		r = err_set(e, FAULT_BAD_REQUEST, NULL, "%s:%zu:%zu: %s", path,
			    parser.problem_mark.line + 1, parser.problem_mark.column + 1,
			    parser.problem ? parser.problem : "not YAML");
	} else {
		r = load_document(path, &doc, c, e);
		yaml_document_delete(&doc);
	}
	yaml_parser_delete(&parser);
	return r;
}
