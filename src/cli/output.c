/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"

#define CELL_MAX 512
#define COLUMNS_MAX 16

static const json_t *at_path(const json_t *obj, const char *path)
{
	struct str rest = str_of(path);

	while (obj && rest.len) {
		struct str part = str_cut(rest, '.', &rest);
		char key[64];

		if (str_copy(key, sizeof(key), part))
			return NULL;
		obj = json_object_get(obj, key);
	}
	return obj;
}

/* Terminal escapes that came from a peer must not reach the terminal. */
static void add_clean(struct strbuf *b, const char *text)
{
	for (; *text; text++)
		strbuf_addc(b, (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
}

static void add_value(struct strbuf *b, const json_t *v)
{
	char *text CLEANUP(free_charp) = NULL;
	size_t i;
	json_t *item;

	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_NULL:
		strbuf_adds(b, "-");
		return;
	case JSON_STRING:
		add_clean(b, json_string_length(v) ? json_string_value(v) : "-");
		return;
	case JSON_TRUE:
		strbuf_adds(b, "yes");
		return;
	case JSON_FALSE:
		strbuf_adds(b, "no");
		return;
	case JSON_ARRAY:
		json_array_foreach(v, i, item) {
			strbuf_adds(b, i ? ", " : "");
			add_value(b, item);
		}
		strbuf_adds(b, json_array_size(v) ? "" : "-");
		return;
	case JSON_INTEGER:
	case JSON_REAL:
	case JSON_OBJECT:
		text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
		add_clean(b, text ? text : "-");
		return;
	}
}

const char *value_text(const json_t *v, char *buf, size_t size)
{
	struct strbuf b CLEANUP(strbuf_done) = { 0 };

	add_value(&b, v);
	str_copy(buf, size, str_of(strbuf_cstr(&b)));
	return buf;
}

static int width_of(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void print_cell(const char *text, int width, bool last)
{
	fputs(text, stdout);
	for (int n = width_of(text); !last && n < width + 2; n++)
		putchar(' ');
}

void print_table(const json_t *rows, const struct column *columns)
{
	int width[COLUMNS_MAX] = { 0 };
	size_t n = 0, i;
	char cell[CELL_MAX];
	json_t *row;

	for (; n < COLUMNS_MAX && columns[n].heading; n++) {
		width[n] = width_of(columns[n].heading);
		json_array_foreach(rows, i, row)
			width[n] = MAX_OF(width[n], width_of(value_text(at_path(row, columns[n].key),
									cell, sizeof(cell))));
	}
	for (size_t k = 0; k < n; k++)
		print_cell(columns[k].heading, width[k], k + 1 == n);
	putchar('\n');
	json_array_foreach(rows, i, row) {
		for (size_t k = 0; k < n; k++)
			print_cell(value_text(at_path(row, columns[k].key), cell, sizeof(cell)),
				   width[k], k + 1 == n);
		putchar('\n');
	}
}

void print_fields(const json_t *obj, const struct column *columns)
{
	char cell[CELL_MAX];
	int width = 0;

	for (const struct column *c = columns; c->heading; c++)
		width = MAX_OF(width, width_of(c->heading));
	for (const struct column *c = columns; c->heading; c++) {
		print_cell(c->heading, width, false);
		printf("%s\n", value_text(at_path(obj, c->key), cell, sizeof(cell)));
	}
}

void print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

void progress_begin(struct progress *p, const char *step)
{
	p->step = step;
	p->start_ns = clock_mono_ns();
	p->shown = false;
	if (!p->quiet && isatty(STDERR_FILENO)) {
		fprintf(stderr, "  ...     %s", step);
		p->shown = true;
	}
}

static double elapsed_s(const struct progress *p)
{
	return (double)(clock_mono_ns() - p->start_ns) / (double)NS_PER_S;
}

void progress_tick(struct progress *p, const char *detail)
{
	if (p->quiet || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K  %5.1f s %s%s%s", elapsed_s(p), p->step, detail ? ": " : "",
		detail ? detail : "");
}

void progress_end(struct progress *p, const char *outcome)
{
	if (p->quiet)
		return;
	fprintf(stderr, "%s  %-7s %s (%.2f s)\n", p->shown ? "\r\033[K" : "", outcome, p->step,
		elapsed_s(p));
}
