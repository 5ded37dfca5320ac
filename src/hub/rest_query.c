/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

char *percent_decode(struct arena *a, struct str s, bool plus)
{
	char *out = arena_alloc(a, s.len + 1);
	size_t n = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '+' && plus) {
			c = ' ';
		} else if (c == '%') {
			if (s.len - i < 3 || str_from_hex((struct str){ s.ptr + i + 1, 2 }, &c, 1) < 0)
				return NULL;
			i += 2;
		}
		out[n++] = (char)c;
	}
	return str_is_utf8((struct str){ out, n }) ? out : NULL; /* rejects NUL too */
}

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       strchr("-._~", c);
}

char *percent_encode(struct arena *a, const char *s)
{
	char *out = arena_alloc(a, 3 * strlen(s) + 1), *p = out;

	for (; out && *s; s++) {
		if (is_unreserved(*s)) {
			*p++ = *s;
			continue;
		}
		*p++ = '%';
		hex_of(s, 1, p);
		p += 2;
	}
	return out;
}

static size_t count_args(struct str text)
{
	size_t n = 1;

	for (size_t i = 0; i < text.len; i++)
		n += text.ptr[i] == '&';
	return n;
}

int query_parse(struct arena *a, struct str text, struct query *ret, struct err *e)
{
	size_t max = count_args(text);

	*ret = (struct query){ 0 };
	if (text.len == 0)
		return 0;
	if (max > REST_QUERY_ARGS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "More than %d query parameters.",
			       REST_QUERY_ARGS_MAX);
	ret->args = arena_alloc(a, max * sizeof(*ret->args));
	while (ret->args && text.len) {
		struct str one = str_cut(text, '&', &text), value;
		struct str name = str_cut(one, '=', &value);
		struct query_arg *q = &ret->args[ret->n_args];

		if (one.len == 0)
			continue;
		q->name = percent_decode(a, name, true);
		q->value = percent_decode(a, value, true);
		if (!q->name || !q->value)
			return err_set(e, FAULT_BAD_REQUEST, NULL,
				       "The query string is not percent-encoded UTF-8 text.");
		ret->n_args++;
	}
	return ret->args ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the query");
}

const char *query_get(const struct query *q, const char *name)
{
	for (size_t i = 0; i < q->n_args; i++)
		if (strcmp(q->args[i].name, name) == 0)
			return q->args[i].value;
	return NULL;
}

int bool_parse(const char *s)
{
	static const char *const words[2][7] = {
		{ "false", "0", "no", "off", "f", "n", NULL },
		{ "true", "1", "yes", "on", "t", "y", NULL },
	};

	for (int v = 0; v < 2; v++)
		for (int i = 0; words[v][i]; i++)
			if (strcasecmp(s, words[v][i]) == 0)
				return v;
	return -EINVAL;
}

/* Compute and image always page; the clients of the others expect all rows, up to what an answer may cost. */
static size_t default_limit(const struct module *m)
{
	return strcmp(m->service, "compute") == 0 || strcmp(m->service, "image") == 0 ?
		       REST_PAGE_MAX :
		       REST_LIST_MAX;
}

int query_limit(const struct query *q, const struct module *m, size_t *ret, bool *ret_given,
		struct err *e)
{
	const char *text = query_get(q, "limit");
	uint64_t n;

	*ret = default_limit(m);
	*ret_given = text && *text;
	if (!*ret_given)
		return 0;
	if (str_to_u64(str_of(text), INT32_MAX, &n) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "limit",
			       "Invalid input for field/attribute limit. Value: %.40s. limit must be an "
			       "integer of 0 or more",
			       text);
	/* A limit of 0 is "no limit" in network and compute's own maximum in compute. */
	if (n > 0 && n < *ret)
		*ret = (size_t)n;
	if (n == 0)
		*ret_given = false;
	return 0;
}

static bool add_sort(struct sort *s, const struct attr *at, const char *column, bool descending)
{
	for (size_t i = 0; i < s->n_keys; i++)
		if (strcmp(s->keys[i].column, column) == 0)
			return true;
	if (s->n_keys == REST_SORT_MAX)
		return false;
	s->keys[s->n_keys++] = (struct sort_key){ at, column, descending };
	return true;
}

static int add_named(struct sort *s, const struct resource *res, const char *name, const char *dir,
		     struct err *e)
{
	const struct attr *at = attr_find(res, name);
	bool descending = dir && strcasecmp(dir, "desc") == 0;

	if (dir && !descending && strcasecmp(dir, "asc") != 0)
		return err_set(e, FAULT_BAD_REQUEST, "sort_dir",
			       "Unknown sort direction %.40s, must be one of asc, desc.", dir);
	if (!at || !at->column ||
	    !(at->flags & ATTR_SORT || strcmp(at->column, res->key ? res->key : "id") == 0))
		return err_set(e, FAULT_BAD_REQUEST, "sort_key",
			       "%.60s is an invalid attribute for sort keys.", name);
	if (!add_sort(s, at, at->column, descending))
		return err_set(e, FAULT_BAD_REQUEST, "sort_key", "More than %d sort keys.",
			       REST_SORT_MAX);
	return 0;
}

/* "created_us desc,id" of the resource's table. */
static void add_defaults(struct sort *s, const struct resource *res, struct arena *a)
{
	struct str rest = str_of(res->dflt_sort);

	while (rest.len) {
		struct str dir, one = str_trim(str_cut(rest, ',', &rest));
		char *column = arena_memdup(a, one.ptr, str_cut(one, ' ', &dir).len);

		if (column)
			add_sort(s, attr_of_column(res, column), column,
				 str_eq_nocase(str_trim(dir), STR("desc")));
	}
}

/* sort=name:desc,id of glance and newer openstack clients */
static int add_list(struct sort *s, const struct resource *res, struct arena *a, struct str list,
		    struct err *e)
{
	while (list.len) {
		struct str dir, one = str_cut(list, ',', &list), name = str_cut(one, ':', &dir);
		const char *n = arena_memdup(a, name.ptr, name.len);
		const char *d = dir.len ? arena_memdup(a, dir.ptr, dir.len) : NULL;
		int rc = n ? add_named(s, res, n, d, e) : 0;

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The value of the nth "sort_dir"; NULL past the last. */
static const char *nth(const struct query *q, const char *name, size_t n)
{
	for (size_t i = 0; i < q->n_args; i++)
		if (strcmp(q->args[i].name, name) == 0 && n-- == 0)
			return q->args[i].value;
	return NULL;
}

int query_sort(const struct query *q, const struct resource *res, struct arena *a, struct sort *ret,
	       struct err *e)
{
	const char *key, *list = query_get(q, "sort"), *key_column = res->key ? res->key : "id";
	int rc = 0;

	*ret = (struct sort){ 0 };
	for (size_t i = 0; rc == 0 && (key = nth(q, "sort_key", i)); i++)
		rc = add_named(ret, res, key, nth(q, "sort_dir", i), e);
	if (rc == 0 && list)
		rc = add_list(ret, res, a, str_of(list), e);
	if (rc < 0)
		return rc;
	if (ret->n_keys == 0)
		add_defaults(ret, res, a);
	for (size_t i = 0; i < ret->n_keys; i++)
		if (strcmp(ret->keys[i].column, key_column) == 0)
			return 0;
	ret->keys[ret->n_keys++] =
		(struct sort_key){ attr_of_column(res, key_column), key_column, false };
	return 0;
}
