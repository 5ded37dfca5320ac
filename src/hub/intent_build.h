/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_INTENT_BUILD_H
#define DEMARC_HUB_INTENT_BUILD_H

/*
 * Inside of the intent compiler: rows of one node become protobuf objects. A fixed number of queries, whatever the number of
 * objects; children arrive sorted by their parent and are attached by binary search. Everything lives in the arena.
 * The encoding must be a function of the rows alone (sorted children, no clock): "nothing changed" is a byte comparison.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "demarc.pb-c.h"
#include "store/db.h"

#define INTENT_OBJECT_MAX                                                                          \
	(896u << 10) /* bytes of one encoded object: GROUP_MEMBERS_MAX long addresses; fits a frame */

/* A growing array in an arena. */
struct intent_vec {
	void **items;
	size_t n, cap;
};

struct intent_build {
	struct db *db;
	struct arena *arena;
	const char *node_id;
	const char *site_id;
	struct intent_vec objects; /* Demarc__V1__Object *, sorted by kind and id before use */
};

/* Adds item to v. -ENOMEM (arena limit). */
WARN_UNUSED int intent_vec_add(struct intent_build *b, struct intent_vec *v, void *item);
/* A new object of the intent, its body not yet set. NULL: no memory. */
Demarc__V1__Object *intent_object_add(struct intent_build *b, const char *kind, const char *id);
/* An object that stays as it is stored: for parts that need not be built to know that they are the same. NULL: no memory. */
Demarc__V1__Object *intent_object_keep(struct intent_build *b, const char *kind, const char *id);
/* Copy of a column; "" for NULL (proto3 has no NULL). Never returns NULL except without memory. */
char *intent_text(struct intent_build *b, struct db_rows *q, int col);
char *intent_dup(struct intent_build *b, const char *s);
/* The object whose id is `id` among items[from..n), which are sorted by id; NULL when it is not there. */
Demarc__V1__Object *intent_find(const struct intent_vec *v, size_t from, const char *id);
WARN_UNUSED int intent_no_memory(struct err *e);

/* Steps a query with one row function. Takes q over. */
typedef int (*intent_row_fn)(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e);
WARN_UNUSED int intent_each(struct intent_build *b, struct db_rows *q, intent_row_fn fn, void *ctx,
			    struct err *e);

/* The parts. Each adds its objects. */
WARN_UNUSED int intent_build_networks(struct intent_build *b, struct err *e);
/* Completes the networks, which are the objects from `first` on. */
WARN_UNUSED int intent_build_overlays(struct intent_build *b, size_t first, struct err *e);
WARN_UNUSED int intent_build_ports(struct intent_build *b, struct err *e);
WARN_UNUSED int intent_build_groups(struct intent_build *b, struct err *e);
WARN_UNUSED int intent_build_address_groups(struct intent_build *b, struct err *e);
WARN_UNUSED int intent_build_acls(struct intent_build *b, struct err *e);
/* Completes the ports, which are the objects from `first` on. */
WARN_UNUSED int intent_build_port_acls(struct intent_build *b, size_t first, struct err *e);
WARN_UNUSED int intent_build_port_qos(struct intent_build *b, size_t first, struct err *e);
WARN_UNUSED int intent_build_servers(struct intent_build *b, struct err *e);
WARN_UNUSED int intent_build_chains(struct intent_build *b, struct err *e);
WARN_UNUSED int intent_build_telemetry(struct intent_build *b, struct err *e);

/* IANA number of "tcp", "6", "icmp" …; 0 for NULL, "" and "any"; icmp with IPv6 is 58. -EINVAL for an unknown name. */
WARN_UNUSED int intent_protocol(const char *text, unsigned family, uint32_t *ret);

/* Appends a pointer to a protobuf repeated field whose array is in the arena. */
#define INTENT_APPEND(b, n_field, array_field, item)                                               \
	intent_append((b)->arena, &(n_field), (void ***)&(array_field), (item))
WARN_UNUSED int intent_append(struct arena *a, size_t *n, void ***array, void *item);

#endif
