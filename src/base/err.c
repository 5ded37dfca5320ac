/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

#ifdef __clang_analyzer__
#undef err_set
#undef err_errno
#undef err_wrap
#undef err_in
#endif

static const struct {
	int num;
	const char *name, *text;
} faults[] = {
#define X(fault, num, text) [FAULT_##fault] = { num, #fault, text },
	FAULT_TABLE(X)
#undef X
};

/* Errnos that are no fault's own number. The rest of the world of errnos is INTERNAL. */
static const struct {
	int num;
	enum fault fault;
} more_errnos[] = {
	{ ERANGE, FAULT_BAD_REQUEST },
	{ EDOM, FAULT_BAD_REQUEST },
	{ EILSEQ, FAULT_BAD_REQUEST },
	{ ENAMETOOLONG, FAULT_BAD_REQUEST },
	{ EROFS, FAULT_FORBIDDEN },
	{ ENODEV, FAULT_NOT_FOUND },
	{ ENXIO, FAULT_NOT_FOUND },
	{ ESRCH, FAULT_NOT_FOUND },
	{ ENOTEMPTY, FAULT_IN_USE },
	{ EADDRINUSE, FAULT_IN_USE },
	{ ETXTBSY, FAULT_IN_USE },
	{ E2BIG, FAULT_TOO_LARGE },
	{ EFBIG, FAULT_TOO_LARGE },
	{ ECONNREFUSED, FAULT_UNAVAILABLE },
	{ ECONNRESET, FAULT_UNAVAILABLE },
	{ ECONNABORTED, FAULT_UNAVAILABLE },
	{ ENOTCONN, FAULT_UNAVAILABLE },
	{ EPIPE, FAULT_UNAVAILABLE },
	{ EHOSTUNREACH, FAULT_UNAVAILABLE },
	{ ENETUNREACH, FAULT_UNAVAILABLE },
	{ ENETDOWN, FAULT_UNAVAILABLE },
	{ ECANCELED, FAULT_UNAVAILABLE },
	{ ETIME, FAULT_TIMEOUT },
	{ EBADMSG, FAULT_PROTOCOL },
};

const char *fault_text(enum fault fault)
{
	return (unsigned)fault < ARRAY_LEN(faults) ? faults[fault].text : "unknown fault";
}

const char *fault_name(enum fault fault)
{
	return (unsigned)fault < ARRAY_LEN(faults) ? faults[fault].name : "UNKNOWN";
}

enum fault fault_of_errno(int num)
{
	num = num < 0 && num != INT32_MIN ? -num : num;
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		if (faults[i].num == num)
			return (enum fault)i;
	for (size_t i = 0; i < ARRAY_LEN(more_errnos); i++)
		if (more_errnos[i].num == num)
			return more_errnos[i].fault;
	return FAULT_INTERNAL;
}

/* Both pieces may point into dst: everything is built aside first. */
static void join_into(char *dst, size_t size, const char *a, const char *sep, const char *b)
{
	char tmp[ERR_MSG_SIZE];
	int n = snprintf(tmp, MIN_OF(size, sizeof(tmp)), "%s%s%s", a, sep, b);

	if (n < 0)
		tmp[0] = '\0';
	/* A peer's bytes, or a character cut in two, must not reach a JSON envelope. */
	str_scrub_utf8(tmp);
	memcpy(dst, tmp, strlen(tmp) + 1);
}

static void format_into(char text[static ERR_MSG_SIZE], const char *fmt, va_list args)
{
	int n = vsnprintf(text, ERR_MSG_SIZE, fmt, args);

	if (n < 0)
		text[0] = '\0';
}

int err_set(struct err *e, enum fault fault, const char *field, const char *fmt, ...)
{
	int num = (unsigned)fault < ARRAY_LEN(faults) ? faults[fault].num : EIO;
	char text[ERR_MSG_SIZE];
	va_list args;

	if (!e)
		return -num;
	va_start(args, fmt);
	format_into(text, fmt, args);
	va_end(args);
	e->num = num;
	e->fault = fault;
	join_into(e->field, sizeof(e->field), field ? field : "", "", "");
	join_into(e->msg, sizeof(e->msg), text, "", "");
	return -num;
}

int err_errno(struct err *e, int num, const char *fmt, ...)
{
	char text[ERR_MSG_SIZE], reason[128];
	va_list args;

	/* A caller that lost its errno still failed: success must not come out of here. */
	num = num < 0 && num != INT32_MIN ? -num : num;
	if (num <= 0)
		num = EIO;
	if (!e)
		return -num;
	va_start(args, fmt);
	format_into(text, fmt, args);
	va_end(args);
	e->num = num;
	e->fault = fault_of_errno(num);
	e->field[0] = '\0';
	join_into(e->msg, sizeof(e->msg), text, ": ", strerror_r(num, reason, sizeof(reason)));
	return -num;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char text[ERR_MSG_SIZE];
	va_list args;

	if (!e)
		return -EIO;
	va_start(args, fmt);
	format_into(text, fmt, args);
	va_end(args);
	join_into(e->msg, sizeof(e->msg), text, ": ", e->msg);
	return e->num > 0 ? -e->num : -EIO;
}

int err_in(struct err *e, const char *prefix)
{
	const char *sep;

	if (!e)
		return -EIO;
	sep = e->field[0] == '\0' || e->field[0] == '[' || prefix[0] == '\0' ? "" : ".";
	join_into(e->field, sizeof(e->field), prefix, sep, e->field);
	return e->num > 0 ? -e->num : -EIO;
}
