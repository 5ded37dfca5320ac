/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <string.h>

#include "base/json.h"

/* The query of this request again, with another marker and direction. */
static char *query_with(struct req *r, const char *marker, bool reverse)
{
	const struct query *q = &req_impl(r)->query;
	char *text = arena_strdup(r->arena, "");

	for (size_t i = 0; text && i < q->n_args; i++) {
		const char *name = q->args[i].name;
		char *n, *v;

		if (strcmp(name, "marker") == 0 || strcmp(name, "page_reverse") == 0)
			continue;
		n = percent_encode(r->arena, name);
		v = percent_encode(r->arena, q->args[i].value);
		if (n && v)
			text = arena_printf(r->arena, "%s%s%s=%s", text, *text ? "&" : "", n, v);
	}
	if (text && marker) {
		char *v = percent_encode(r->arena, marker);

		text = arena_printf(r->arena, "%s%smarker=%s", text, *text ? "&" : "", v ? v : "");
	}
	if (text && reverse)
		text = arena_printf(r->arena, "%s%spage_reverse=True", text, *text ? "&" : "");
	return text;
}

static const char *href(struct req *r, const char *base, const char *marker, bool reverse)
{
	char *query = query_with(r, marker, reverse);
	const char *path = arena_memdup(r->arena, r->http->path.ptr, r->http->path.len);

	if (!query || !path)
		return "";
	path = arena_printf(r->arena, "%s%s%s%s", base, path, *query ? "?" : "", query);
	return path ? path : "";
}

static json_t *rel_link(const char *rel, const char *url)
{
	return json_pack("{s:s,s:s}", "rel", rel, "href", url);
}

/* "ports_links": neutron's both ways, nova's next only. */
static void add_rel_links(struct req *r, json_t *envelope, const struct page *page)
{
	bool both = strcmp(r->module->service, "compute") != 0;
	json_t *links = json_array();
	char *name = arena_printf(r->arena, "%s_links", r->route->resource->plural);
	/* In a reversed page "more" lies before the first row. */
	bool has_next = page->reverse ? query_get(&req_impl(r)->query, "marker") != NULL : page->more;
	bool has_prev = page->reverse ? page->more : query_get(&req_impl(r)->query, "marker") != NULL;

	if (page->last && has_next)
		json_array_append_new(links,
				      rel_link("next", href(r, req_base_url(r), page->last, false)));
	if (page->first && both && has_prev)
		json_array_append_new(links, rel_link("previous",
						      href(r, req_base_url(r), page->first, true)));
	if (name && json_array_size(links))
		json_object_set(envelope, name, links);
	json_decref(links);
}

/* glance: paths below its endpoint, without scheme and prefix of the port */
static void add_image_links(struct req *r, json_t *envelope, const struct page *page)
{
	size_t skip = strlen("/image");
	const char *first = href(r, "", NULL, false), *next;

	json_object_set_new(envelope, "first", json_string(strlen(first) > skip ? first + skip : first));
	json_object_set_new(envelope, "schema",
			    json_sprintf("/v2/schemas/%s", r->route->resource->plural));
	if (!page->more || !page->last)
		return;
	next = href(r, "", page->last, false);
	json_object_set_new(envelope, "next", json_string(strlen(next) > skip ? next + skip : next));
}

static void add_identity_links(struct req *r, json_t *envelope, const struct page *page)
{
	json_t *next = page->more && page->last ?
			       json_string(href(r, req_base_url(r), page->last, false)) :
			       json_null();
	const char *target = arena_memdup(r->arena, r->http->target.ptr, r->http->target.len);

	json_object_set_new(envelope, "links",
			    json_pack("{s:s+,s:o,s:n}", "self", req_base_url(r),
				      target ? target : "", "next", next, "previous"));
}

json_t *page_envelope(struct req *r, json_t *rows, const struct page *page)
{
	const char *service = r->module->service;
	json_t *envelope = json_object();

	if (!envelope) {
		json_decref(rows);
		return NULL;
	}
	json_object_set_new(envelope, r->route->resource->plural, rows);
	if (strcmp(service, "identity") == 0)
		add_identity_links(r, envelope, page);
	else if (strcmp(service, "image") == 0)
		add_image_links(r, envelope, page);
	else if (page->limit_given || page->more)
		add_rel_links(r, envelope, page);
	return envelope;
}
