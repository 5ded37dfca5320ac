/* SPDX-License-Identifier: Apache-2.0 */
#include "link/intent_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void intent_parts_clear(struct intent_parts *p)
{
	frame_free(p->whole);
	p->whole = NULL;
	p->n_bytes = 0;
}

/* Moves the objects of `from` behind those of `to`. */
static int append(Demarc__V1__Intent *to, Demarc__V1__Intent *from)
{
	Demarc__V1__Object **grown;

	if (to->n_objects + from->n_objects > INTENT_PARTS_OBJECTS_MAX)
		return -EMSGSIZE;
	if (from->n_objects == 0)
		return 0;
	grown = realloc(to->objects, (to->n_objects + from->n_objects) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memcpy(grown + to->n_objects, from->objects, from->n_objects * sizeof(*grown));
	to->objects = grown;
	to->n_objects += from->n_objects;
	from->n_objects = 0;
	return 0;
}

int intent_parts_add(struct intent_parts *p, Demarc__V1__Frame **f, Demarc__V1__Frame **ret)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *part = MOVE_PTR(*f);
	const Demarc__V1__Intent *first = p->whole ? p->whole->intent : part->intent;
	bool more = part->intent->more;
	int rc = 0;

	if (first->revision != part->intent->revision || first->full != part->intent->full ||
	    first->base_revision != part->intent->base_revision)
		rc = -EPROTO;
	if (more || p->whole)
		p->n_bytes += demarc__v1__frame__get_packed_size(part);
	if (p->n_bytes > INTENT_PARTS_BYTES_MAX)
		rc = -EMSGSIZE;
	if (rc == 0 && p->whole)
		rc = append(p->whole->intent, part->intent);
	else if (rc == 0)
		p->whole = MOVE_PTR(part);
	if (rc < 0) {
		intent_parts_clear(p);
		return rc;
	}
	if (more)
		return 0;
	p->n_bytes = 0;
	p->whole->intent->more = false;
	*ret = MOVE_PTR(p->whole);
	return 1;
}
