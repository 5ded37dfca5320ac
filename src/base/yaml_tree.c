/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml_tree.h"

#include <errno.h>
#include <yaml.h>

#include "base/json.h"

struct loader {
	yaml_parser_t parser;
	size_t n_nodes;
	struct err *e;
};

static int bad(struct loader *l, const yaml_mark_t *at, const char *what)
{
	return err_set(l->e, FAULT_BAD_REQUEST, NULL, "YAML line %zu column %zu: %s", at->line + 1,
		       at->column + 1, what);
}

/* Next event, owned by the caller (yaml_event_delete). */
static int next_event(struct loader *l, yaml_event_t *ev)
{
	if (yaml_parser_parse(&l->parser, ev))
		return 0;
	return bad(l, &l->parser.problem_mark, l->parser.problem ? l->parser.problem : "cannot be read");
}

static json_t *plain_scalar(struct str s)
{
	static const struct {
		const char *text;
		int kind;
	} words[] = { { "", 0 },      { "~", 0 },     { "null", 0 }, { "Null", 0 },
		      { "true", 1 },  { "True", 1 },  { "yes", 1 },  { "on", 1 },
		      { "false", 2 }, { "False", 2 }, { "no", 2 },   { "off", 2 } };
	int64_t num;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq_c(s, words[i].text))
			return words[i].kind == 0 ? json_null() : json_boolean(words[i].kind == 1);
	if (str_to_i64(s, &num) == 0)
		return json_integer(num);
	return json_stringn(s.ptr, s.len);
}

static int load_node(struct loader *l, const yaml_event_t *ev, unsigned depth, json_t **ret);

static int load_sequence(struct loader *l, unsigned depth, json_t **ret)
{
	json_t *list CLEANUP(json_freep) = json_array();

	for (;;) {
		yaml_event_t ev;
		json_t *item = NULL;
		int rc = next_event(l, &ev);

		if (rc < 0)
			return rc;
		if (ev.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&ev);
			*ret = MOVE_PTR(list);
			return 0;
		}
		rc = load_node(l, &ev, depth, &item);
		yaml_event_delete(&ev);
		if (rc < 0)
			return rc;
		if (json_array_append_new(list, item))
			return err_set(l->e, FAULT_NO_MEMORY, NULL, "out of memory");
	}
}

static int load_pair(struct loader *l, const yaml_event_t *key, unsigned depth, json_t *obj)
{
	const char *name = (const char *)key->data.scalar.value;
	yaml_event_t ev;
	json_t *value = NULL;
	int rc;

	if (key->type != YAML_SCALAR_EVENT ||
	    !str_is_utf8((struct str){ name, key->data.scalar.length }))
		return bad(l, &key->start_mark, "a key must be a plain word");
	if (json_object_get(obj, name))
		return bad(l, &key->start_mark, "the same key stands twice");
	rc = next_event(l, &ev);
	if (rc < 0)
		return rc;
	rc = load_node(l, &ev, depth, &value);
	yaml_event_delete(&ev);
	if (rc < 0)
		return rc;
	return json_object_set_new(obj, name, value) ?
		       err_set(l->e, FAULT_NO_MEMORY, NULL, "out of memory") :
		       0;
}

static int load_mapping(struct loader *l, unsigned depth, json_t **ret)
{
	json_t *obj CLEANUP(json_freep) = json_object();

	for (;;) {
		yaml_event_t key;
		int rc = next_event(l, &key);

		if (rc < 0)
			return rc;
		if (key.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&key);
			*ret = MOVE_PTR(obj);
			return 0;
		}
		rc = load_pair(l, &key, depth, obj);
		yaml_event_delete(&key);
		if (rc < 0)
			return rc;
	}
}

static int load_scalar(struct loader *l, const yaml_event_t *ev, json_t **ret)
{
	struct str s = { (const char *)ev->data.scalar.value, ev->data.scalar.length };

	if (!str_is_utf8(s))
		return bad(l, &ev->start_mark, "the text is not UTF-8 or has a NUL");
	*ret = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_scalar(s) :
								  json_stringn(s.ptr, s.len);
	return *ret ? 0 : err_set(l->e, FAULT_NO_MEMORY, NULL, "out of memory");
}

static int load_node(struct loader *l, const yaml_event_t *ev, unsigned depth, json_t **ret)
{
	if (depth >= YAML_DEPTH_MAX)
		return bad(l, &ev->start_mark, "nested too deep");
	if (++l->n_nodes > YAML_NODES_MAX)
		return bad(l, &ev->start_mark, "too many values");
	if (ev->type == YAML_SCALAR_EVENT)
		return load_scalar(l, ev, ret);
	if (ev->type == YAML_SEQUENCE_START_EVENT)
		return load_sequence(l, depth + 1, ret);
	if (ev->type == YAML_MAPPING_START_EVENT)
		return load_mapping(l, depth + 1, ret);
	return bad(l, &ev->start_mark, "anchors and aliases are not taken here");
}

static int load_document(struct loader *l, json_t **ret)
{
	for (;;) {
		yaml_event_t ev;
		yaml_event_type_t type;
		int rc = next_event(l, &ev);

		if (rc < 0)
			return rc;
		type = ev.type;
		if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT) {
			yaml_event_delete(&ev);
			continue;
		}
		if (type == YAML_STREAM_END_EVENT) {
			*ret = json_null();
			rc = 0;
		} else {
			rc = load_node(l, &ev, 0, ret);
		}
		yaml_event_delete(&ev);
		return rc;
	}
}

int yaml_parse(struct str text, json_t **ret, struct err *e)
{
	struct loader l = { .e = e };
	int rc;

	if (!yaml_parser_initialize(&l.parser))
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	yaml_parser_set_input_string(&l.parser, (const unsigned char *)text.ptr, text.len);
	rc = load_document(&l, ret);
	yaml_parser_delete(&l.parser);
	return rc;
}
