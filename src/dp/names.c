/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/internal.h"

#include <stdlib.h>
#include <string.h>

static int name_cmp(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->a != y->a)
		return x->a < y->a ? -1 : 1;
	return x->b < y->b ? -1 : x->b > y->b;
}

/* Only between dp_mark() and dp_sweep(): otherwise nobody would ever empty the list. */
int names_add(struct names *n, enum name_kind kind, uint32_t a, uint32_t b, struct err *e)
{
	if (!n->on)
		return 0;
	if (n->len == n->cap) {
		size_t cap = n->cap ? n->cap * 2 : 256;
		struct name *v = realloc(n->v, cap * sizeof(*v));

		if (!v)
			return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory for %zu names", cap);
		n->v = v;
		n->cap = cap;
	}
	n->v[n->len++] = (struct name){ kind, a, b };
	n->sorted = false;
	return 0;
}

bool names_has(struct names *n, enum name_kind kind, uint32_t a, uint32_t b)
{
	struct name key = { kind, a, b };

	if (!n->len)
		return false;
	if (!n->sorted) {
		qsort(n->v, n->len, sizeof(*n->v), name_cmp);
		n->sorted = true;
	}
	return bsearch(&key, n->v, n->len, sizeof(*n->v), name_cmp) != NULL;
}

void names_start(struct names *n)
{
	n->len = 0;
	n->on = true;
	n->sorted = false;
}

void names_done(struct names *n)
{
	free(n->v);
	*n = (struct names){ 0 };
}
