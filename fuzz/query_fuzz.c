/* SPDX-License-Identifier: Apache-2.0 */
/* Any query string: what parses is UTF-8 without NUL, survives being encoded again, and never sorts by a foreign column. */
#include "fuzz.h"

#include <string.h>

#include "hub/rest_impl.h"

#define QUERY_BYTES ((size_t)256)

static const struct attr attrs[] = {
	{ "id", "id", ATTR_UUID, ATTR_FILTER | ATTR_SORT },
	{ "name", "name", ATTR_STR, ATTR_FILTER | ATTR_SORT },
	{ "secret", "secret", ATTR_STR, 0 },
	{ NULL },
};
static const struct resource thing = { .service = "network",
				       .singular = "thing",
				       .plural = "things",
				       .table = "thing",
				       .attrs = attrs };

static void check_args(struct arena *a, const struct query *q)
{
	for (size_t i = 0; i < q->n_args; i++) {
		const char *text = q->args[i].value;
		char *coded = percent_encode(a, text),
		     *back = coded ? percent_decode(a, str_of(coded), true) : NULL;

		FUZZ_CHECK(str_is_utf8(str_of(q->args[i].name)) && str_is_utf8(str_of(text)));
		FUZZ_CHECK(!back || strcmp(back, text) == 0);
	}
}

static void check_sort(struct arena *a, const struct query *q)
{
	struct sort s;
	struct err e = { 0 };

	if (query_sort(q, &thing, a, &s, &e) < 0) {
		FUZZ_CHECK(str_is_utf8(str_of(e.msg)));
		return;
	}
	FUZZ_CHECK(s.n_keys > 0 && s.n_keys <= ARRAY_LEN(s.keys));
	for (size_t i = 0; i < s.n_keys; i++)
		FUZZ_CHECK(strcmp(s.keys[i].column, "id") == 0 || strcmp(s.keys[i].column, "name") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct module m = { .service = "compute" };
	CLEANUP(arena_freep) struct arena *a = arena_new(4 << 20);
	struct err e = { 0 };
	struct query q;
	size_t limit;
	bool given;

	/* Longer ones only repeat: a short text keeps the target fast. */
	if (query_parse(a, (struct str){ (const char *)data, MIN_OF(size, QUERY_BYTES) }, &q, &e) < 0)
		return 0;
	check_args(a, &q);
	check_sort(a, &q);
	if (query_limit(&q, &m, &limit, &given, &e) == 0)
		FUZZ_CHECK(limit > 0 && limit <= REST_PAGE_MAX);
	return 0;
}
