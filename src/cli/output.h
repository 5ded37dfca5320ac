/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_CLI_OUTPUT_H
#define DEMARC_CLI_OUTPUT_H

/* What people and machines read: tables, key-value blocks, progress on stderr, JSON on stdout. */

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/* Row: heading, JSON key of the value (a path with dots: "inventory.vcpus"). Ends with heading NULL. */
struct column {
	const char *heading, *key;
};

/* rows: array of objects. Missing values print "-", booleans yes/no, lists joined by ", ". Widths count code points. */
void print_table(const json_t *rows, const struct column *columns);
void print_fields(const json_t *obj, const struct column *columns); /* one line a field, aligned */
void print_json(const json_t *j);				    /* indented, keys in order */
const char *value_text(const json_t *v, char *buf, size_t size);    /* as print_table shows it */

/* Progress of longer work, on stderr: on a terminal one line that changes, otherwise one line per finished step. */
struct progress {
	bool quiet;	    /* --json: nothing */
	long long start_ns; /* of the step */
	const char *step;
	bool shown;
};
void progress_begin(struct progress *p, const char *step);
void progress_tick(struct progress *p, const char *detail); /* detail may be NULL; called from wait loops */
void progress_end(struct progress *p, const char *outcome); /* "ok", "failed" … */

#endif
