/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_STATUS_H
#define DEMARC_NODE_STATUS_H

/* The node's state in the schema's words, packed. Reads, changes nothing. Thread: the loop's. */

#include "node/node.h"

enum status_kind { STATUS_SERVER, STATUS_PORT, STATUS_CHAIN };

/* Called once for each status. stable: what to compare with the last one (times that always move are zero in it). */
typedef void (*status_fn)(void *ctx, enum status_kind kind, const char *id, struct str stable,
			  struct str packed);
void status_each(struct node *n, status_fn fn, void *ctx);
/* What the node counts, for metrics: names as of Prometheus without prefix. Returns how many. */
size_t status_counters(struct node *n, Demarc__V1__Counter *ret, size_t max);
/* NodeStatus into *ret; counters live in `drops`: reasons for which something was dropped, at most max. Returns how many. */
size_t status_node(struct node *n, Demarc__V1__NodeStatus *ret, Demarc__V1__Counter *drops, size_t max);

#define STATUS_NIC_FEATURES_MAX 8
struct status_nics {
	Demarc__V1__NicStatus row[CONFIG_NICS_MAX], *ptr[CONFIG_NICS_MAX];
	char *features[CONFIG_NICS_MAX][STATUS_NIC_FEATURES_MAX];
};
/* The NICs that were asked for so far, into ret->ptr; borrows from n. Returns how many. */
size_t status_nics(struct node *n, struct status_nics *ret);

#endif
