/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

#define LINE_BYTES 4096 /* a longer event is cut: one line stays one write(2), atomic on a pipe */
#define LIMIT_WINDOW_NS (10 * NS_PER_S)

static const char *const level_names[] = {
	[LOG_DEBUG_] = "debug",
	[LOG_INFO_] = "info",
	[LOG_WARN_] = "warn",
	[LOG_ERROR_] = "error",
};
static _Atomic enum log_level threshold = LOG_INFO_;
static pthread_mutex_t limit_lock = PTHREAD_MUTEX_INITIALIZER;

void log_init(const char *program, enum log_level min_level)
{
	/* So that what the C library itself says on stderr names the daemon. */
	program_invocation_short_name = (char *)program;
	threshold = min_level;
}

/* Appends text to out[size] from at; control characters and DEL become escapes. Returns the end. */
static size_t add_escaped(char *out, size_t size, size_t at, const char *text, bool quoted)
{
	static const char digits[] = "0123456789abcdef";

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		bool named = *p == '\n' || *p == '\t' || *p == '\r';

		if (at + 4 >= size)
			break;
		if (*p >= 0x20 && *p != 0x7f) {
			if (quoted && (*p == '"' || *p == '\\'))
				out[at++] = '\\';
			out[at++] = (char)*p;
			continue;
		}
		out[at++] = '\\';
		out[at++] = *p == '\n' ? 'n' : *p == '\t' ? 't' : *p == '\r' ? 'r' : 'x';
		if (!named) {
			out[at++] = digits[*p >> 4];
			out[at++] = digits[*p & 15];
		}
	}
	return at;
}

const char *log_quote(const char *s, char buf[static LOG_QUOTE_SIZE])
{
	size_t n = 1;

	buf[0] = '"';
	n = add_escaped(buf, LOG_QUOTE_SIZE - 1, n, s ? s : "", true);
	buf[n++] = '"';
	buf[n] = '\0';
	return buf;
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	char body[LINE_BYTES], line[LINE_BYTES], when[TIME_STR_SIZE];
	int saved = errno;
	size_t n;
	va_list args;

	if (level < threshold)
		return;
	va_start(args, fmt);
	if (vsnprintf(body, sizeof(body), fmt, args) < 0)
		body[0] = '\0';
	va_end(args);
	str_scrub_utf8(body); /* readers of logs want text */
	n = (size_t)snprintf(line, sizeof(line) / 2, "%s %s %s%s",
			     time_format_us(clock_wall_us(), when), level_names[level], event,
			     body[0] ? " " : "");
	n = add_escaped(line, sizeof(line) - 1, MIN_OF(n, sizeof(line) / 2 - 1), body, false);
	line[n++] = '\n';
	while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
		;
	errno = saved;
}

bool log_limit_pass(struct log_limit *l, unsigned burst, unsigned *ret_suppressed)
{
	int64_t now = clock_mono_ns();
	bool pass;

	pthread_mutex_lock(&limit_lock);
	if (l->n_seen == 0 || now - l->window_start_ns >= LIMIT_WINDOW_NS) {
		l->window_start_ns = now;
		l->n_seen = 0;
	}
	pass = l->n_seen < burst;
	if (pass) {
		l->n_seen++;
		*ret_suppressed = l->n_suppressed;
		l->n_suppressed = 0;
	} else {
		l->n_suppressed++;
	}
	pthread_mutex_unlock(&limit_lock);
	return pass;
}
