/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/fault.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/str.h"

static const struct {
	enum fault fault;
	const char *type, *text;
} rows[] = {
#define X(name, fault, type, text) { FAULT_##fault, type, text },
	NEUTRON_TABLE(X)
#undef X
};

/* For errors of the framework's own. NULL: "HTTP" and the fault's meaning do not differ for clients. */
static const char *const generic_types[] = {
	[FAULT_INTERNAL] = "HTTPInternalServerError",
	[FAULT_BAD_REQUEST] = "HTTPBadRequest",
	[FAULT_UNAUTHENTICATED] = "HTTPUnauthorized",
	[FAULT_FORBIDDEN] = "PolicyNotAuthorized",
	[FAULT_NOT_FOUND] = "HTTPNotFound",
	[FAULT_CONFLICT] = "HTTPConflict",
	[FAULT_IN_USE] = "HTTPConflict",
	[FAULT_TOO_LARGE] = "HTTPRequestEntityTooLarge",
	[FAULT_QUOTA] = "OverQuota",
	[FAULT_NO_SPACE] = "HTTPInsufficientStorage",
	[FAULT_UNAVAILABLE] = "HTTPServiceUnavailable",
	[FAULT_TIMEOUT] = "HTTPGatewayTimeout",
	[FAULT_METHOD] = "HTTPMethodNotAllowed",
	[FAULT_NOT_ACCEPTABLE] = "HTTPNotAcceptable",
	[FAULT_MEDIA_TYPE] = "HTTPUnsupportedMediaType",
	[FAULT_PRECONDITION] = "HTTPPreconditionFailed",
	[FAULT_GONE] = "HTTPGone",
	[FAULT_NOT_IMPLEMENTED] = "HTTPNotImplemented",
	[FAULT_PROTOCOL] = "HTTPInternalServerError",
	[FAULT_NO_MEMORY] = "HTTPInternalServerError",
};

int neutron_err(struct err *e, enum neutron_fault f, const char *field, ...)
{
	char msg[ERR_MSG_SIZE];
	va_list ap;

	va_start(ap, field);
	(void)vsnprintf(msg, sizeof(msg), rows[f].text, ap);
	va_end(ap);
	return err_set(e, rows[f].fault, field, "%s", msg);
}

/* msg fits text when the literal parts of text occur in order, the first at the start and the last at the end. */
static bool fits(const char *text, const char *msg)
{
	const char *arg = strstr(text, "%s");
	size_t n = arg ? (size_t)(arg - text) : strlen(text);

	if (strncmp(msg, text, n) != 0)
		return false;
	msg += n;
	while (arg) {
		const char *part = arg + 2, *at = msg;

		arg = strstr(part, "%s");
		n = arg ? (size_t)(arg - part) : strlen(part);
		if (!arg)
			return strlen(msg) >= n && memcmp(msg + strlen(msg) - n, part, n) == 0;
		at = n ? memmem(msg, strlen(msg), part, n) : msg;
		if (!at)
			return false;
		msg = at + n;
	}
	return *msg == '\0';
}

/* A text may fit a general row and a special one ("Port Pair %s not found." and "Port Pair Group %s not found."): the row that
 * leaves least to its arguments is meant. */
const char *neutron_error_type(const struct err *e)
{
	const char *type = generic_types[e->fault];
	size_t best = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].fault != e->fault || strlen(rows[i].text) <= best ||
		    !fits(rows[i].text, e->msg))
			continue;
		type = rows[i].type;
		best = strlen(rows[i].text);
	}
	return type;
}

json_t *neutron_error_body(const struct req *r, int status, const struct err *e)
{
	/* What broke inside is for the log, under the request id. */
	const char *msg = e->fault == FAULT_INTERNAL ?
				  "Request Failed: internal server error while processing your request." :
				  e->msg;

	return json_pack("{s:{s:s, s:s, s:s}}", "NeutronError", "type", neutron_error_type(e),
			 "message", msg, "detail", "");
}
