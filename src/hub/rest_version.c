/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "hub/hub.h"

/*
 * Version discovery. The documents differ by service for historical reasons; each row below is one service's form.
 * Source: "API versions" of the API guides of identity, compute, networking and image.
 */
enum doc_form {
	DOC_IDENTITY, /* {"versions": {"values": […]}}, 300 */
	DOC_COMPUTE,  /* {"versions": […]}, one version {"version": …} */
	DOC_NETWORK,  /* {"versions": […]}; below the version, its resources */
	DOC_IMAGE,    /* {"versions": […]}, 300 */
	DOC_PLAIN,    /* {"versions": […]} and {"version": …} */
};

static const struct service_doc {
	const char *service, *id, *updated, *media_type;
	enum doc_form form;
	int list_status;
} docs[] = {
	{ "identity", "v3.14", "2020-04-07T00:00:00Z", "application/vnd.openstack.identity-v3+json",
	  DOC_IDENTITY, 300 },
	{ "compute", "v2.1", "2013-07-23T11:33:21Z",
	  "application/vnd.openstack.compute+json;version=2.1", DOC_COMPUTE, 200 },
	{ "network", "v2.0", "2016-01-01T00:00:00Z", NULL, DOC_NETWORK, 200 },
	{ "image", "v2.9", "2018-07-01T00:00:00Z", NULL, DOC_IMAGE, 300 },
	{ NULL, "v1.0", "2026-01-01T00:00:00Z", NULL, DOC_PLAIN, 200 },
};

static const struct service_doc *doc_of(const struct module *m)
{
	const struct service_doc *d = docs;

	while (d->service && strcmp(d->service, m->service) != 0)
		d++;
	return d;
}

static json_t *version_object(struct req *r, const struct module *m)
{
	const struct service_doc *d = doc_of(m);
	char *href = arena_printf(r->arena, "%s%s/", req_base_url(r), m->prefix);
	json_t *v = json_pack("{s:s,s:s,s:s,s:[{s:s,s:s}]}", "id", d->id, "status", "CURRENT",
			      "updated", d->updated, "links", "rel", "self", "href", href ? href : "");

	if (v && m->micro_name) {
		json_object_set_new(v, "version", json_sprintf("2.%u", m->micro_max));
		json_object_set_new(v, "min_version", json_sprintf("2.%u", m->micro_min));
	}
	if (v && d->media_type)
		json_object_set_new(v, "media-types",
				    json_pack("[{s:s,s:s}]", "base", "application/json", "type",
					      d->media_type));
	return v;
}

/* The module whose prefix starts with this request's path, or is it. */
static const struct module *module_here(struct req *r)
{
	const struct rest *rest = r->hub->rest;
	struct str path = r->http->path;

	while (path.len && path.ptr[path.len - 1] == '/')
		path.len--;
	for (size_t i = 0; i < rest->n_modules; i++)
		if (str_starts(str_of(rest->modules[i]->prefix), path))
			return rest->modules[i];
	return rest->modules[0];
}

static int version_list(struct req *r, struct err *e)
{
	const struct module *m = module_here(r);
	const struct service_doc *d = doc_of(m);
	json_t *v = version_object(r, m);

	r->status = d->list_status;
	req_reply(r, d->form == DOC_IDENTITY ? json_pack("{s:{s:[o]}}", "versions", "values", v) :
					       json_pack("{s:[o]}", "versions", v));
	return 0;
}

static int version_one(struct req *r, struct err *e)
{
	const struct module *m = module_here(r);

	if (doc_of(m)->form == DOC_IMAGE)
		return version_list(r, e);
	if (doc_of(m)->form == DOC_NETWORK) {
		req_reply(r, json_pack("{s:[]}", "resources"));
		return 0;
	}
	req_reply(r, json_pack("{s:o}", "version", version_object(r, m)));
	return 0;
}

/* GET /: what is to be found behind this port. */
static int version_root(struct req *r, struct err *e)
{
	const struct rest *rest = r->hub->rest;
	json_t *list = json_array();

	for (size_t i = 0; i < rest->n_modules; i++) {
		json_t *v = version_object(r, rest->modules[i]);

		json_object_set_new(v, "service", json_string(rest->modules[i]->service));
		json_array_append_new(list, v);
	}
	r->status = 300;
	req_reply(r, json_pack("{s:{s:o}}", "versions", "values", list));
	return 0;
}

static bool has_route(const struct module *m, const char *path)
{
	for (const struct route *rt = m->routes; rt && rt->path; rt++)
		if (rt->method == HTTP_GET && strcmp(rt->path, path) == 0)
			return true;
	return false;
}

static bool add_doc(struct arena *a, struct route *rows, size_t *n, struct str path, route_fn fn)
{
	char *text = arena_memdup(a, path.ptr, path.len);

	for (size_t i = 0; text && i < *n; i++)
		if (strcmp(rows[i].path, text) == 0)
			return true;
	rows[(*n)++] = (struct route){ .method = HTTP_GET,
				       .path = text,
				       .handler = fn,
				       .status = 200,
				       .flags = ROUTE_PUBLIC | ROUTE_NO_TX };
	return text != NULL;
}

int version_module(struct arena *a, const struct module *const *modules, size_t n,
		   struct module *ret, struct err *e)
{
	struct route *rows = arena_alloc(a, (2 * n + 2) * sizeof(*rows));
	size_t n_rows = 0;
	bool ok = rows && add_doc(a, rows, &n_rows, STR("/"), version_root);

	for (size_t i = 0; ok && i < n; i++) {
		struct str prefix = str_of(modules[i]->prefix), top = prefix;

		while (top.len && top.ptr[top.len - 1] != '/')
			top.len--;
		if (top.len > 1)
			ok = add_doc(a, rows, &n_rows, (struct str){ top.ptr, top.len - 1 },
				     version_list);
		if (ok && !has_route(modules[i], "/") && !has_route(modules[i], ""))
			ok = add_doc(a, rows, &n_rows, prefix, version_one);
	}
	*ret = (struct module){ .service = "versions", .prefix = "", .routes = rows };
	return ok ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the version documents");
}

/* ---- microversions ---- */

/* "compute 2.79" among other services' entries; the view behind the name. */
static bool micro_of_service(struct str list, const char *name, struct str *ret)
{
	while (list.len) {
		struct str version, one = str_trim(str_cut(list, ',', &list));
		struct str service = str_cut(one, ' ', &version);

		if (str_eq_nocase(service, str_of(name))) {
			*ret = str_trim(version);
			return true;
		}
	}
	return false;
}

/* Source: API-WG "Microversion specification". */
int micro_negotiate(struct req *r, struct err *e)
{
	const struct module *m = r->module;
	struct str text = http_header(r->http, "openstack-api-version"), minor;
	uint64_t n;

	r->micro = UINT16_MAX;
	if (!m->micro_name)
		return 0;
	r->micro = m->micro_min;
	if (!micro_of_service(text, m->micro_name, &text)) {
		text = str_trim(http_header(r->http, "x-openstack-nova-api-version"));
		if (text.len == 0 || strcmp(m->micro_name, "compute") != 0)
			return 0;
	}
	if (str_eq_nocase(text, STR("latest"))) {
		r->micro = m->micro_max;
		return 0;
	}
	if (!str_eq_c(str_cut(text, '.', &minor), "2") || str_to_u64(minor, UINT16_MAX - 1, &n) < 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "API Version String %.40s is of invalid format. Must be of format MajorNum.MinorNum.",
			       text.len < 40 ? arena_memdup(r->arena, text.ptr, text.len) : "");
	if (n < m->micro_min || n > m->micro_max)
		return err_set(e, FAULT_NOT_ACCEPTABLE, NULL,
			       "Version 2.%llu is not supported by the API. Minimum is 2.%u and maximum is 2.%u.",
			       (unsigned long long)n, m->micro_min, m->micro_max);
	r->micro = (uint16_t)n;
	return 0;
}
