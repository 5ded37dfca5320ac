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
/* Not MIN and MAX: sys/param.h has those. Each use has names of its own, so that they nest. */
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define PICK_OF_(x, y, a, op, b)                                                                   \
	({                                                                                         \
		__auto_type x = (a);                                                               \
		__auto_type y = (b);                                                               \
		x op y ? x : y;                                                                    \
	})
#define PICK_OF(n, a, op, b) PICK_OF_(PASTE(pick_a, n), PASTE(pick_b, n), a, op, b)
#define MIN_OF(a, b) PICK_OF(__COUNTER__, a, <, b)
#define MAX_OF(a, b) PICK_OF(__COUNTER__, a, >, b)

#endif
