/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/identity.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/json.h"
#include "hub/rest_impl.h"

/* Services, endpoints and the region are no rows: they are made of the modules, so they cannot disagree with the program. */

static const char *const interfaces[] = { "public", "internal", "admin" };

/* Stable over restarts and hubs: the first 16 bytes of SHA-256 of what it identifies. */
static const char *id_of(struct arena *a, const char *what, const char *service, const char *interface)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char *hex = arena_alloc(a, UUID_HEX_SIZE),
	     *text = arena_printf(a, "%s/%s/%s", what, service, interface);

	if (!hex || !text || !EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL))
		return "";
	hex_of(digest, 16, hex);
	return hex;
}

static const char *service_name(const struct module *m)
{
	static const char *const names[][2] = {
		{ "identity", "keystone" },
		{ "compute", "nova" },
		{ "network", "neutron" },
		{ "image", "glance" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i][0], m->service) == 0)
			return names[i][1];
	return m->type;
}

static const char *url_of(struct req *r, const struct module *m, const char *project_id)
{
	static const char mark[] = "%(project_id)s";
	const char *at = strstr(m->catalog_path, mark);
	const char *url = !at ? arena_printf(r->arena, "%s%s", req_base_url(r), m->catalog_path) :
				arena_printf(r->arena, "%s%.*s%s%s", req_base_url(r),
					     (int)(at - m->catalog_path), m->catalog_path,
					     project_id ? project_id : "", at + strlen(mark));

	return url ? url : "";
}

static json_t *endpoint_object(struct req *r, const struct module *m, const char *interface,
			       const char *project_id)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:s}", "id",
			 id_of(r->arena, "endpoint", m->service, interface), "interface", interface,
			 "region_id", REGION_ID, "region", REGION_ID, "url", url_of(r, m, project_id));
}

json_t *catalog(struct req *r, const char *project_id)
{
	const struct rest *rest = r->hub->rest;
	json_t *list = json_array();

	for (size_t i = 0; i < rest->n_modules; i++) {
		const struct module *m = rest->modules[i];
		json_t *endpoints = json_array();

		for (size_t k = 0; m->type && m->catalog_path && k < ARRAY_LEN(interfaces); k++)
			json_array_append_new(endpoints,
					      endpoint_object(r, m, interfaces[k], project_id));
		if (json_array_size(endpoints) == 0) {
			json_decref(endpoints);
			continue;
		}
		json_array_append_new(list, json_pack("{s:o,s:s,s:s,s:s}", "endpoints", endpoints,
						      "id", id_of(r->arena, "service", m->service, ""),
						      "type", m->type, "name", service_name(m)));
	}
	return list;
}

/* ---- read-only listings ---- */

/* Keeps rows whose attributes equal the query's; then replies with the list. Takes rows. */
static int reply_list(struct req *r, const char *name, json_t *rows)
{
	const struct query *q = &req_impl(r)->query;
	const char *target = arena_memdup(r->arena, r->http->target.ptr, r->http->target.len);

	for (size_t i = json_array_size(rows); i-- > 0;)
		for (size_t k = 0; k < q->n_args; k++) {
			const char *have = json_str(json_array_get(rows, i), q->args[k].name);

			if (have && strcmp(have, q->args[k].value) != 0) {
				json_array_remove(rows, i);
				break;
			}
		}
	req_reply(r, json_pack("{s:o,s:{s:s+,s:n,s:n}}", name, rows, "links", "self",
			       req_base_url(r), target ? target : "", "next", "previous"));
	return 0;
}

static int reply_one(struct req *r, const char *name, json_t *rows, const char *id, struct err *e)
{
	CLEANUP(json_freep) json_t *owned = rows;
	json_t *row;
	size_t i;

	json_array_foreach(owned, i, row) {
		if (strcmp(json_str(row, "id"), id) != 0)
			continue;
		req_reply(r, json_pack("{s:O}", name, row));
		return 0;
	}
	return err_set(e, FAULT_NOT_FOUND, NULL, "Could not find %s: %.80s.", name, id);
}

static json_t *self_link(struct req *r, const char *plural, const char *id)
{
	return json_pack("{s:s+++++}", "self", req_base_url(r), "/identity/v3/", plural, "/", id, "");
}

static json_t *services(struct req *r)
{
	const struct rest *rest = r->hub->rest;
	json_t *rows = json_array();

	for (size_t i = 0; i < rest->n_modules; i++) {
		const struct module *m = rest->modules[i];
		const char *id = id_of(r->arena, "service", m->service, "");

		if (!m->type)
			continue;
		json_array_append_new(rows, json_pack("{s:s,s:s,s:s,s:s,s:b,s:o}", "id", id, "type",
						      m->type, "name", service_name(m),
						      "description", "", "enabled", 1, "links",
						      self_link(r, "services", id)));
	}
	return rows;
}

static json_t *endpoints_of_all(struct req *r)
{
	const struct rest *rest = r->hub->rest;
	json_t *rows = json_array();

	for (size_t i = 0; i < rest->n_modules; i++) {
		const struct module *m = rest->modules[i];

		for (size_t k = 0; m->type && m->catalog_path && k < ARRAY_LEN(interfaces); k++) {
			json_t *row = endpoint_object(r, m, interfaces[k], r->auth.project_id);

			json_object_set_new(row, "service_id",
					    json_string(id_of(r->arena, "service", m->service, "")));
			json_object_set_new(row, "enabled", json_true());
			json_object_set_new(row, "links",
					    self_link(r, "endpoints", json_str(row, "id")));
			json_array_append_new(rows, row);
		}
	}
	return rows;
}

static json_t *regions(struct req *r)
{
	return json_pack("[{s:s,s:s,s:n,s:o}]", "id", REGION_ID, "description", "",
			 "parent_region_id", "links", self_link(r, "regions", REGION_ID));
}

int service_list(struct req *r, struct err *e)
{
	return reply_list(r, "services", services(r));
}

int service_show(struct req *r, struct err *e)
{
	return reply_one(r, "service", services(r), req_param(r, "id"), e);
}

int endpoint_list(struct req *r, struct err *e)
{
	return reply_list(r, "endpoints", endpoints_of_all(r));
}

int endpoint_show(struct req *r, struct err *e)
{
	return reply_one(r, "endpoint", endpoints_of_all(r), req_param(r, "id"), e);
}

int region_list(struct req *r, struct err *e)
{
	return reply_list(r, "regions", regions(r));
}

int region_show(struct req *r, struct err *e)
{
	return reply_one(r, "region", regions(r), req_param(r, "id"), e);
}
