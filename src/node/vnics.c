/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/str.h"
#include "node/vnic.h"

/* The vNICs of a function as values: no kernel here. */

bool vnics_equal(const struct vnics *a, const struct vnics *b)
{
	/* Both are built from zeroed memory, padding included. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
	return a->n == b->n && memcmp(a->slot, b->slot, a->n * sizeof(a->slot[0])) == 0;
}

void vnics_copy(struct vnics *to, const struct vnics *from)
{
	if (to->n > from->n)
		memset(&to->slot[from->n], 0, (to->n - from->n) * sizeof(to->slot[0]));
	memcpy(to->slot, from->slot, from->n * sizeof(to->slot[0]));
	to->n = from->n;
}

void vnics_clear(struct vnics *v)
{
	memset(v->slot, 0, v->n * sizeof(v->slot[0]));
	v->n = 0;
}

void vnic_diff_add(struct vnic_observed *o, const char *attribute, const char *wanted, const char *found)
{
	struct vnic_diff *d;

	if (o->n_diffs == VNIC_DIFFS_MAX)
		return;
	d = &o->diffs[o->n_diffs++];
	d->attribute = attribute;
	(void)str_copy(d->wanted, sizeof(d->wanted), str_of(wanted));
	(void)str_copy(d->found, sizeof(d->found), str_of(found));
}
