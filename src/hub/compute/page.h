/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_PAGE_H
#define DEMARC_HUB_COMPUTE_PAGE_H

/* One page of an ordered list: skips to behind the marker, keeps up to limit rows, knows whether there is more. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "hub/rest.h"

#define PAGE_MAX 1000 /* Nova: max_limit; Glance: api_limit_max */

struct page {
	const char *marker; /* NULL: from the start */
	int64_t limit, n;
	bool found; /* the marker has been passed */
	bool more;
	char last[256]; /* id of the last row that was kept */
};

enum page_step { PAGE_SKIP, PAGE_KEEP, PAGE_END };

/* What to do with the row that has this id; call once for each row of the ordered list. */
static inline enum page_step page_next(struct page *p, const char *id)
{
	if (p->marker && !p->found) {
		p->found = strcmp(p->marker, id) == 0;
		return PAGE_SKIP;
	}
	if (p->n == p->limit) {
		p->more = true;
		return PAGE_END;
	}
	p->n++;
	str_copy(p->last, sizeof(p->last), str_of(id));
	return PAGE_KEEP;
}

/* Limit and marker from the query. */
WARN_UNUSED int page_init(const struct req *r, struct page *ret, struct err *e);
/* BAD_REQUEST when the marker was not in the list. */
WARN_UNUSED int page_check(const struct page *p, struct err *e);
/* The query string of this request with marker=<last> in place of its own marker, after '?'; in the arena. */
char *page_next_query(const struct req *r, const struct page *p);
/* Adds "<name>_links" with the next page, when there is more. */
void page_links(struct req *r, const struct page *p, const char *name, json_t *reply);

#endif
