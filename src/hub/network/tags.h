/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_TAGS_H
#define DEMARC_HUB_NETWORK_TAGS_H

#include "hub/rest.h"

/* Route handlers below "/{plural}/{id}/tags"; route->resource says whose. Source: Neutron API, "Tags" (standard-attr-tag). */
int tags_list(struct req *r, struct err *e);
int tags_replace(struct req *r, struct err *e);
int tags_clear(struct req *r, struct err *e);
int tag_show(struct req *r, struct err *e);
int tag_add(struct req *r, struct err *e);
int tag_remove(struct req *r, struct err *e);

#endif
