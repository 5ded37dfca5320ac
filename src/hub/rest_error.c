/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <ctype.h>
#include <string.h>

/* The one place where a fault becomes a status. 0: as in the first column. */
static const struct {
	int status, compute, image, network;
} statuses[] = {
	[FAULT_INTERNAL] = { 500, 0, 0, 0 },
	[FAULT_BAD_REQUEST] = { 400, 0, 0, 0 },
	[FAULT_UNAUTHENTICATED] = { 401, 0, 0, 0 },
	[FAULT_FORBIDDEN] = { 403, 0, 0, 0 },
	[FAULT_NOT_FOUND] = { 404, 0, 0, 0 },
	[FAULT_CONFLICT] = { 409, 0, 0, 0 },
	[FAULT_IN_USE] = { 409, 0, 0, 0 },
	[FAULT_TOO_LARGE] = { 413, 0, 0, 0 },
	[FAULT_QUOTA] = { 403, 403, 413, 409 },
	[FAULT_NO_SPACE] = { 507, 0, 413, 0 },
	[FAULT_UNAVAILABLE] = { 503, 0, 0, 0 },
	[FAULT_TIMEOUT] = { 504, 0, 0, 0 },
	[FAULT_METHOD] = { 405, 0, 0, 0 },
	[FAULT_NOT_ACCEPTABLE] = { 406, 0, 0, 0 },
	[FAULT_MEDIA_TYPE] = { 415, 0, 0, 0 },
	[FAULT_PRECONDITION] = { 412, 0, 0, 0 },
	[FAULT_GONE] = { 410, 0, 0, 0 },
	[FAULT_NOT_IMPLEMENTED] = { 501, 0, 0, 0 },
	[FAULT_PROTOCOL] = { 400, 0, 0, 0 },
	[FAULT_NO_MEMORY] = { 503, 0, 0, 0 },
};

/* Row: status, reason phrase (RFC 9110), nova's word for it, neutron's type. */
static const struct {
	int status;
	const char *reason, *nova, *neutron;
} words[] = {
	{ 300, "Multiple Choices", "", "" },
	{ 400, "Bad Request", "badRequest", "HTTPBadRequest" },
	{ 401, "Unauthorized", "unauthorized", "HTTPUnauthorized" },
	{ 403, "Forbidden", "forbidden", "PolicyNotAuthorized" },
	{ 404, "Not Found", "itemNotFound", "HTTPNotFound" },
	{ 405, "Method Not Allowed", "badMethod", "HTTPMethodNotAllowed" },
	{ 406, "Not Acceptable", "notAcceptable", "HTTPNotAcceptable" },
	{ 409, "Conflict", "conflictingRequest", "Conflict" },
	{ 410, "Gone", "gone", "HTTPGone" },
	{ 412, "Precondition Failed", "preconditionFailed", "RevisionNumberConstraintFailed" },
	{ 413, "Request Entity Too Large", "overLimit", "HTTPRequestEntityTooLarge" },
	{ 415, "Unsupported Media Type", "badMediaType", "HTTPUnsupportedMediaType" },
	{ 501, "Not Implemented", "notImplemented", "HTTPNotImplemented" },
	{ 503, "Service Unavailable", "serviceUnavailable", "ServiceUnavailable" },
	{ 504, "Gateway Timeout", "gatewayTimeout", "HTTPGatewayTimeout" },
	{ 507, "Insufficient Storage", "insufficientStorage", "HTTPInsufficientStorage" },
	{ 500, "Internal Server Error", "computeFault", "HTTPInternalServerError" }, /* last: any other */
};

static size_t word_of(int status)
{
	size_t i = 0;

	while (i < ARRAY_LEN(words) - 1 && words[i].status != status)
		i++;
	return i;
}

const char *status_reason(int status)
{
	return words[word_of(status)].reason;
}

static bool is_service(const struct module *m, const char *service)
{
	return m && strcmp(m->service, service) == 0;
}

int error_status(const struct module *m, enum fault fault)
{
	__auto_type row = &statuses[(unsigned)fault < ARRAY_LEN(statuses) ? fault : FAULT_INTERNAL];
	int own = is_service(m, "compute") ? row->compute :
		  is_service(m, "image")   ? row->image :
		  is_service(m, "network") ? row->network :
					     0;

	return own ? own : row->status;
}

/* "SecurityGroupNotFound": what neutron's clients map to their exceptions. */
static const char *neutron_type(const struct req *r, const struct err *e, int status,
				char buf[static 96])
{
	const char *s = r->route && r->route->resource ? r->route->resource->singular : NULL;
	struct strbuf b = { .limit_bytes = 95 };
	bool up = true;

	if (e->fault == FAULT_QUOTA)
		return "OverQuota";
	if (e->fault == FAULT_BAD_REQUEST && e->field[0])
		return "InvalidInput";
	if ((e->fault != FAULT_NOT_FOUND && e->fault != FAULT_IN_USE) || !s)
		return words[word_of(status)].neutron;
	for (; *s; s++) {
		if (*s != '_')
			strbuf_addc(&b, up ? (char)toupper((unsigned char)*s) : *s);
		up = *s == '_';
	}
	strbuf_adds(&b, e->fault == FAULT_NOT_FOUND ? "NotFound" : "InUse");
	str_copy(buf, 96, str_of(strbuf_cstr(&b)));
	strbuf_done(&b);
	return buf;
}

static json_t *keystone_body(int status, const char *msg)
{
	return json_pack("{s:{s:i,s:s,s:s}}", "error", "code", status, "message", msg, "title",
			 status_reason(status));
}

/* Source: the "Errors" sections of the API guides of identity, compute, networking and image. */
json_t *error_body(const struct req *r, const struct module *m, int status, const struct err *e)
{
	/* What broke inside is for the log, under the request id. */
	const char *msg =
		e->fault == FAULT_INTERNAL ?
			"Unexpected API Error. The hub's log tells more under this request's id." :
			e->msg;
	char type[96];
	json_t *body;

	if (m && m->error_body && e->fault != FAULT_UNAUTHENTICATED)
		return m->error_body(r, status, e);
	/* The token check in front of every service speaks for identity. */
	if (!m || is_service(m, "identity") || e->fault == FAULT_UNAUTHENTICATED)
		return keystone_body(status, msg);
	if (is_service(m, "compute"))
		return json_pack("{s:{s:i,s:s}}", words[word_of(status)].nova, "code", status,
				 "message", msg);
	if (is_service(m, "image"))
		return json_pack("{s:i,s:s,s:s}", "code", status, "title", status_reason(status),
				 "message", msg);
	if (is_service(m, "network"))
		return json_pack("{s:{s:s,s:s,s:s}}", "NeutronError", "type",
				 neutron_type(r, e, status, type), "message", msg, "detail", "");
	body = keystone_body(status, msg);
	if (e->field[0])
		json_object_set_new(json_object_get(body, "error"), "field", json_string(e->field));
	return body;
}
