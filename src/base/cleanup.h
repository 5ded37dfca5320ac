/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_CLEANUP_H
#define DEMARC_BASE_CLEANUP_H

/* Ownership macros. Every owning local carries CLEANUP(x); MOVE_PTR / MOVE_FD give it away. */

#include <stddef.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Returns p and leaves NULL behind. */
#define MOVE_PTR(p)                                                                                \
	({                                                                                         \
		__auto_type move_p = &(p);                                                         \
		__auto_type move_v = *move_p;                                                      \
		*move_p = NULL;                                                                    \
		move_v;                                                                            \
	})
/* Returns fd and leaves -1 behind. */
#define MOVE_FD(fd)                                                                                \
	({                                                                                         \
		int *move_p = &(fd);                                                               \
		int move_v = *move_p;                                                              \
		*move_p = -1;                                                                      \
		move_v;                                                                            \
	})

/* Defines `name##p(T *p)` that calls name(*p) when *p is not NULL: for use with CLEANUP. */
#define DEFINE_CLEANUP(T, name)                                                                    \
	static inline void name##p(T *p)                                                           \
	{                                                                                          \
		if (*p)                                                                            \
			name(*p);                                                                  \
	}

void close_fdp(int *fd);   /* closes when >= 0, keeps errno */
void free_charp(char **p); /* free(*p) */
void free_voidp(void *p);  /* free(*(void **)p) */

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
/* Not MIN and MAX: sys/param.h has those. */
#define MIN_OF(a, b)                                                                               \
	({                                                                                         \
		__auto_type min_a = (a);                                                           \
		__auto_type min_b = (b);                                                           \
		min_a < min_b ? min_a : min_b;                                                     \
	})
#define MAX_OF(a, b)                                                                               \
	({                                                                                         \
		__auto_type max_a = (a);                                                           \
		__auto_type max_b = (b);                                                           \
		max_a > max_b ? max_a : max_b;                                                     \
	})

#endif
