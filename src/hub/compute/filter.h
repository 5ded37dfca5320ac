/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_FILTER_H
#define DEMARC_HUB_COMPUTE_FILTER_H

/*
 * A WHERE clause that grows with the query arguments of a list request. Only text of this program goes into the SQL;
 * values go into arguments. Values are borrowed until the query has run. Any thread.
 */

#include <assert.h>
#include <string.h>

#include "base/str.h"
#include "store/db.h"

#define FILTER_ARGS_MAX 96

struct filter {
	struct strbuf sql;
	struct db_arg args[FILTER_ARGS_MAX];
	size_t n_args;
	size_t n_conds;
};

static inline void filter_done(struct filter *f)
{
	strbuf_done(&f->sql);
}

/* Starts the next condition: " WHERE " or " AND ". */
static inline void filter_cond(struct filter *f, const char *sql)
{
	strbuf_adds(&f->sql, f->n_conds++ ? " AND " : " WHERE ");
	strbuf_adds(&f->sql, sql);
}

static inline void filter_arg_str(struct filter *f, const char *value)
{
	assert(f->n_args < FILTER_ARGS_MAX);
	f->args[f->n_args++] = (struct db_arg){ .kind = DB_ARG_TEXT, .s = value };
}

static inline void filter_arg_int(struct filter *f, int64_t value)
{
	assert(f->n_args < FILTER_ARGS_MAX);
	f->args[f->n_args++] = (struct db_arg){ .kind = DB_ARG_INT, .i = value };
}

static inline void filter_str(struct filter *f, const char *sql, const char *value)
{
	filter_cond(f, sql);
	filter_arg_str(f, value);
}

static inline void filter_int(struct filter *f, const char *sql, int64_t value)
{
	filter_cond(f, sql);
	filter_arg_int(f, value);
}

/* Every '\', '%' and '_' of `text` escaped by '\', '%' at both ends: an argument for LIKE ? ESCAPE '\'. */
static inline char *filter_like(struct arena *a, const char *text)
{
	char *out = arena_alloc(a, 2 * strlen(text) + 3), *p = out;

	if (!out)
		return NULL;
	*p++ = '%';
	for (; *text; text++) {
		if (*text == '\\' || *text == '%' || *text == '_')
			*p++ = '\\';
		*p++ = *text;
	}
	*p++ = '%';
	*p = '\0';
	return out;
}

#endif
