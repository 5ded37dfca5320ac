/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_LOG_H
#define DEMARC_BASE_LOG_H

/*
 * Logging for daemons (libraries return errors instead). One event, one line on stderr:
 *   2026-01-31T12:34:56.123456Z info node_connected node=… site=…
 * `event` is snake_case; fmt gives key=value pairs; a value that may hold spaces is printed as "%s" of
 * LOGQ(value). Control characters are escaped. Thread: any, one write(2) a line.
 * Anything that a peer or a packet can trigger uses log_limited().
 */

#include "base/err.h"

enum log_level { LOG_DEBUG_, LOG_INFO_, LOG_WARN_, LOG_ERROR_ };

void log_init(const char *program, enum log_level min_level);
void log_event(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_debug(event, ...) log_event(LOG_DEBUG_, event, "" __VA_ARGS__)
#define log_info(event, ...) log_event(LOG_INFO_, event, "" __VA_ARGS__)
#define log_warn(event, ...) log_event(LOG_WARN_, event, "" __VA_ARGS__)
#define log_error(event, ...) log_event(LOG_ERROR_, event, "" __VA_ARGS__)

/* Writes s in double quotes with `"`, `\` and control characters escaped, cut to fit; NULL gives "".
 * Returns buf. LOGQ() lends a buffer that lives to the end of the enclosing block. */
#define LOG_QUOTE_SIZE 512
const char *log_quote(const char *s, char buf[static LOG_QUOTE_SIZE]);
#define LOGQ(s) log_quote((s), (char[LOG_QUOTE_SIZE]){ 0 })

/* At most `burst` lines per 10 s per call site; the next line that passes carries suppressed=N. */
struct log_limit {
	long long window_start_ns;
	unsigned n_seen, n_suppressed;
};
bool log_limit_pass(struct log_limit *l, unsigned burst, unsigned *ret_suppressed);
#define log_limited(level, event, fmt, ...)                                                        \
	do {                                                                                       \
		static struct log_limit limit_;                                                    \
		unsigned suppressed_ = 0;                                                          \
		if (log_limit_pass(&limit_, 10, &suppressed_))                                     \
			log_event(level, event, fmt " suppressed=%u", ##__VA_ARGS__, suppressed_); \
	} while (0)

#endif
