/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_ARENA_H
#define DEMARC_BASE_ARENA_H

/*
 * An arena: one per request, message or reconcile pass. Everything taken from it goes away together.
 * Growth is bounded by `limit` bytes; past it, or when malloc fails, allocation returns NULL and
 * the arena remembers it (arena_failed()). Thread: one at a time.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

struct arena;

struct arena *arena_new(size_t limit_bytes); /* NULL when out of memory */
void arena_free(struct arena *a);	     /* runs the hooks, newest first; takes NULL */
void arena_reset(struct arena *a);	     /* runs the hooks, keeps the first block */
bool arena_failed(const struct arena *a);
size_t arena_used_bytes(const struct arena *a);

void *arena_alloc(struct arena *a, size_t size_bytes); /* zeroed, max_align_t aligned, or NULL */
char *arena_strdup(struct arena *a, const char *s);    /* NULL in, NULL out */
char *arena_memdup(struct arena *a, const void *p, size_t size_bytes); /* adds a trailing NUL */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* fn(arg) runs when the arena is reset or freed. Returns 0 or -ENOMEM. */
WARN_UNUSED int arena_hook(struct arena *a, void (*fn)(void *arg), void *arg);

#define ARENA_NEW(a, T) ((T *)arena_alloc((a), sizeof(T)))
DEFINE_CLEANUP(struct arena *, arena_free)

#endif
