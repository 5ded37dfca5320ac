/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <stdio.h>

static struct str next_segment(struct str *path)
{
	while (path->len && path->ptr[0] == '/') {
		path->ptr++;
		path->len--;
	}
	struct str rest, seg = str_cut(*path, '/', &rest);

	*path = rest;
	return seg;
}

static bool is_param(struct str seg)
{
	return seg.len > 2 && seg.ptr[0] == '{' && seg.ptr[seg.len - 1] == '}';
}

static struct route_node *literal_child(const struct route_node *n, struct str seg)
{
	struct route_node *c = n->child;

	while (c && !str_eq(c->segment, seg))
		c = c->next;
	return c;
}

/* The child for a segment of a route's pattern, made when absent. NULL: no memory, or two names for one place. */
static struct route_node *child_for(struct arena *a, struct route_node *n, struct str seg)
{
	struct route_node *c = is_param(seg) ? n->param : literal_child(n, seg);

	if (c)
		return c;
	c = ARENA_NEW(a, struct route_node);
	if (!c)
		return NULL;
	if (is_param(seg)) {
		n->param = c;
		return c;
	}
	c->segment = seg;
	c->next = n->child;
	n->child = c;
	return c;
}

/* Walks `path` from n, making nodes. */
static struct route_node *grow(struct arena *a, struct route_node *n, struct str path)
{
	while (n && path.len) {
		struct str seg = next_segment(&path);

		if (seg.len)
			n = child_for(a, n, seg);
	}
	return n;
}

int route_tree_add(struct arena *a, struct route_node *root, const struct module *m, struct err *e)
{
	struct route_node *top = grow(a, root, str_of(m->prefix));

	for (const struct route *rt = m->routes; rt && rt->path; rt++) {
		struct route_node *n = top ? grow(a, top, str_of(rt->path)) : NULL;
		struct route_entry *entry;

		if (!n)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the route table");
		if ((unsigned)rt->method >= REST_METHODS)
			return err_set(e, FAULT_INTERNAL, NULL, "route %s%s has no method",
				       m->prefix, rt->path);
		entry = &n->entry[rt->method];
		if (entry->route)
			return err_set(e, FAULT_INTERNAL, NULL, "route %s%s is there twice",
				       m->prefix, rt->path);
		*entry = (struct route_entry){ .module = m, .route = rt };
		entry->known_policy = (rt->flags & ROUTE_PUBLIC) || policy_find(m, rt, &entry->who);
		n->has_entry = true;
	}
	return 0;
}

/* Literal segments win over parameters; a dead end is left again. Depth is bounded by the tree's. */
static const struct route_node *walk(const struct route_node *n, struct str path, struct route_match *m)
{
	struct str seg = next_segment(&path);
	const struct route_node *c, *found;

	if (seg.len == 0)
		return n->has_entry ? n : NULL;
	c = literal_child(n, seg);
	found = c ? walk(c, path, m) : NULL;
	if (found || !n->param || m->n_params == REQ_PARAMS_MAX)
		return found;
	m->params[m->n_params++].raw = seg;
	found = walk(n->param, path, m);
	if (!found)
		m->n_params--;
	return found;
}

void route_tree_find(const struct route_node *root, struct str path, struct route_match *ret)
{
	ret->n_params = 0;
	ret->node = walk(root, path, ret);
}

static const char *const method_names[REST_METHODS] = {
	[HTTP_GET] = "GET",	    [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
	[HTTP_PUT] = "PUT",	    [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
	[HTTP_OPTIONS] = "OPTIONS",
};

void route_allow(const struct route_node *n, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (int i = 0; i < REST_METHODS; i++) {
		bool there = n->entry[i].route || (i == HTTP_HEAD && n->entry[HTTP_GET].route);
		int k;

		if (!there)
			continue;
		k = snprintf(buf + len, size - len, "%s%s", len ? ", " : "", method_names[i]);
		if (k < 0 || (size_t)k >= size - len)
			return;
		len += (size_t)k;
	}
}
