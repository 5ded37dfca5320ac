/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_ERR_H
#define DEMARC_BASE_ERR_H

/*
 * The error object.
 *
 * Contract: a function that can fail for a reason a person will read returns 0 or a count on
 * success and a negative errno on failure, and takes a caller-owned `struct err *` as its last
 * parameter. It writes the object only when it returns < 0. Passing NULL is allowed: the reason is
 * then lost, the number is not. A fault says *whose* problem it is; tables elsewhere map it to HTTP
 * statuses, OpenStack error envelopes and CLI exit codes. Nobody else writes a status number.
 * Thread: any; the object is not shared.
 */

#include <stdbool.h>
#include <stddef.h>

#define WARN_UNUSED __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Row: name, errno, text. Append only; the order is not significant on any wire. */
#define FAULT_TABLE(X)                                                                             \
	X(INTERNAL, EIO, "internal error")                                                         \
	X(BAD_REQUEST, EINVAL, "bad request")                                                      \
	X(UNAUTHENTICATED, EACCES, "not authenticated")                                            \
	X(FORBIDDEN, EPERM, "forbidden")                                                           \
	X(NOT_FOUND, ENOENT, "not found")                                                          \
	X(CONFLICT, EEXIST, "conflict")                                                            \
	X(IN_USE, EBUSY, "in use")                                                                 \
	X(TOO_LARGE, EMSGSIZE, "too large")                                                        \
	X(QUOTA, EDQUOT, "quota exceeded")                                                         \
	X(NO_SPACE, ENOSPC, "no space left")                                                       \
	X(UNAVAILABLE, EAGAIN, "temporarily unavailable")                                          \
	X(TIMEOUT, ETIMEDOUT, "timed out")                                                         \
	X(METHOD, ENOTTY, "method not allowed")                                                    \
	X(NOT_ACCEPTABLE, EPROTONOSUPPORT, "not acceptable")                                       \
	X(MEDIA_TYPE, ENOTSUP, "unsupported media type")                                           \
	X(PRECONDITION, ESTALE, "precondition failed")                                             \
	X(GONE, ENODATA, "gone")                                                                   \
	X(NOT_IMPLEMENTED, ENOSYS, "not implemented")                                              \
	X(PROTOCOL, EPROTO, "protocol error")                                                      \
	X(NO_MEMORY, ENOMEM, "out of memory")

enum fault {
#define X(name, num, text) FAULT_##name,
	FAULT_TABLE(X)
#undef X
};

#define ERR_FIELD_SIZE 128
#define ERR_MSG_SIZE 768

struct err {
	int num;		    /* positive errno */
	enum fault fault;	    /* whose problem it is */
	char field[ERR_FIELD_SIZE]; /* path of the offending field, "port.fixed_ips[0].subnet_id"; or "" */
	char msg[ERR_MSG_SIZE]; /* one sentence: what is wrong and what to do; no trailing newline */
};

/* Sets *e (when not NULL) and returns the fault's negative errno. `field` may be NULL. */
WARN_UNUSED int err_set(struct err *e, enum fault fault, const char *field, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

/* Like err_set() with an explicit errno (positive or negative); the text gets ": strerror(num)" appended. */
WARN_UNUSED int err_errno(struct err *e, int num, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "context: " in front of e->msg; returns -e->num. For use on the way up. */
WARN_UNUSED int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts "prefix" in front of e->field ("prefix.field", or "prefix[3]" when field starts with '['). */
WARN_UNUSED int err_in(struct err *e, const char *prefix);

#ifdef __clang_analyzer__
/* What the analyzer does not see across files: these never return success. */
WARN_UNUSED static inline int err_negative_(int r)
{
	if (r >= 0)
		__builtin_unreachable();
	return r;
}
/* The same for functions that return 0 or a negative errno, never more. */
WARN_UNUSED static inline int err_or_zero_(int r)
{
	if (r > 0)
		__builtin_unreachable();
	return r;
}
#define err_set(...) err_negative_(err_set(__VA_ARGS__))
#define err_errno(...) err_negative_(err_errno(__VA_ARGS__))
#define err_wrap(...) err_negative_(err_wrap(__VA_ARGS__))
#define err_in(...) err_negative_(err_in(__VA_ARGS__))
#endif

const char *fault_text(enum fault fault); /* static, never NULL */
const char *fault_name(enum fault fault); /* "NOT_FOUND" */
enum fault fault_of_errno(int num);	  /* best match for a (positive or negative) errno */

#endif
