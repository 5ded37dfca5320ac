/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_SERVER_UPDATE_H
#define DEMARC_HUB_COMPUTE_SERVER_UPDATE_H

/* Route handlers for a server's metadata and tags. */

#include "hub/rest.h"

int server_meta_list(struct req *r, struct err *e);
int server_meta_add(struct req *r, struct err *e);
int server_meta_replace(struct req *r, struct err *e);
int server_meta_show(struct req *r, struct err *e);
int server_meta_set(struct req *r, struct err *e);
int server_meta_delete(struct req *r, struct err *e);
int server_tags_list(struct req *r, struct err *e);
int server_tags_replace(struct req *r, struct err *e);
int server_tags_clear(struct req *r, struct err *e);
int server_tag_show(struct req *r, struct err *e);
int server_tag_put(struct req *r, struct err *e);
int server_tag_delete(struct req *r, struct err *e);

#endif
