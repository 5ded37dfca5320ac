/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/compute/page.h"

#include <stdio.h>

#include "base/str.h"

static int read_limit(const struct req *r, int64_t max, int64_t *ret, struct err *e)
{
	const char *text = req_query(r, "limit");
	uint64_t n;

	*ret = max;
	if (!text)
		return 0;
	if (str_to_u64(str_of(text), INT64_MAX, &n) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "limit",
			       "Invalid input for query parameters limit. Value: %.32s. It must be "
			       "a non-negative integer",
			       text);
	*ret = MIN_OF((int64_t)n, max);
	return 0;
}

int page_init(const struct req *r, struct page *ret, struct err *e)
{
	*ret = (struct page){ .marker = req_query(r, "marker") };
	return read_limit(r, PAGE_MAX, &ret->limit, e);
}

int page_check(const struct page *p, struct err *e)
{
	if (!p->marker || p->found)
		return 0;
	return err_set(e, FAULT_BAD_REQUEST, "marker", "marker [%.64s] not found", p->marker);
}

static void add_escaped(struct strbuf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    strchr("-_.~", c))
			strbuf_addc(b, *s);
		else
			strbuf_addf(b, "%%%02X", c);
	}
}

char *page_next_query(const struct req *r, const struct page *p)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	struct str rest = r->http->query;

	while (rest.len > 0) {
		struct str arg = str_cut(rest, '&', &rest);

		if (arg.len == 0 || str_starts(arg, STR("marker=")))
			continue;
		strbuf_add(&b, arg.ptr, arg.len);
		strbuf_addc(&b, '&');
	}
	strbuf_adds(&b, "marker=");
	add_escaped(&b, p->last);
	return b.error ? NULL : arena_strdup(r->arena, strbuf_cstr(&b));
}

void page_links(struct req *r, const struct page *p, const char *name, json_t *reply)
{
	const char *query;
	char *href, key[64];

	if (!p->more || p->n == 0)
		return;
	query = page_next_query(r, p);
	href = query ? arena_printf(r->arena, "%s" STR_FMT "?%s", req_base_url(r),
				    STR_ARG(r->http->path), query) :
		       NULL;
	if (!href)
		return;
	snprintf(key, sizeof(key), "%s_links", name);
	json_object_set_new(reply, key, json_pack("[{s:s, s:s}]", "rel", "next", "href", href));
}
