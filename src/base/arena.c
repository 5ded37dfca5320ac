/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_FIRST_BYTES 4096 /* one page: most requests need no second block */
#define BLOCK_MAX_BYTES 262144 /* growth doubles up to here */
#define LIMIT_MAX_BYTES                                                                            \
	(1UL << 30) /* no caller means more; keeps every sum below far from overflow */
#define ALIGN alignof(max_align_t)

/* Under ASan what is not given out is poisoned, so that a read past an object is seen here too. */
#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, size) ASAN_POISON_MEMORY_REGION((p), (size))
#define UNPOISON(p, size) ASAN_UNPOISON_MEMORY_REGION((p), (size))
#else
#define POISON(p, size) ((void)(p), (void)(size))
#define UNPOISON(p, size) ((void)(p), (void)(size))
#endif

struct block {
	struct block *older;
	size_t cap, used;
	alignas(max_align_t) unsigned char bytes[];
};

struct hook {
	struct hook *older;
	void (*fn)(void *arg);
	void *arg;
};

struct arena {
	struct block *newest;
	struct hook *hooks;
	size_t limit, reserved, used; /* reserved: the sum of the blocks' cap */
	bool failed;
};

struct arena *arena_new(size_t limit_bytes)
{
	struct arena *a = calloc(1, sizeof(*a));

	if (a)
		a->limit = MIN_OF(limit_bytes, LIMIT_MAX_BYTES);
	return a;
}

static void run_hooks(struct arena *a)
{
	while (a->hooks) {
		struct hook *h = a->hooks;

		/* Unlinked first: a hook may take memory from the arena, or add a hook. */
		a->hooks = h->older;
		h->fn(h->arg);
	}
}

void arena_free(struct arena *a)
{
	struct block *b, *older;

	if (!a)
		return;
	run_hooks(a);
	for (b = a->newest; b; b = older) {
		older = b->older;
		free(b);
	}
	free(a);
}

void arena_reset(struct arena *a)
{
	run_hooks(a);
	while (a->newest && a->newest->older) {
		struct block *b = a->newest;

		a->newest = b->older;
		free(b);
	}
	a->reserved = a->newest ? a->newest->cap : 0;
	if (a->newest) {
		a->newest->used = 0;
		POISON(a->newest->bytes, a->newest->cap);
	}
	a->used = 0;
	a->failed = false;
}

bool arena_failed(const struct arena *a)
{
	return a->failed;
}

size_t arena_used_bytes(const struct arena *a)
{
	return a->used;
}

/* A new block with room for `need` bytes; no more than what the limit leaves. */
static bool add_block(struct arena *a, size_t need)
{
	size_t cap = a->newest ? MIN_OF(a->newest->cap * 2, (size_t)BLOCK_MAX_BYTES) :
				 (size_t)BLOCK_FIRST_BYTES;
	size_t left = a->limit - a->reserved;
	struct block *b;

	if (need > left)
		return false;
	cap = MIN_OF(MAX_OF(cap, need), left);
	b = malloc(sizeof(*b) + cap);
	if (!b)
		return false;
	*b = (struct block){ .older = a->newest, .cap = cap };
	POISON(b->bytes, cap);
	a->newest = b;
	a->reserved += cap;
	return true;
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
	size_t need = (size_bytes + ALIGN - 1) & ~(ALIGN - 1);
	void *p;

	if (need < size_bytes)
		goto fail;
	if (need == 0)
		need = ALIGN; /* distinct objects have distinct addresses */
	if (!a->newest || a->newest->cap - a->newest->used < need)
		if (!add_block(a, need))
			goto fail;
	p = a->newest->bytes + a->newest->used;
	a->newest->used += need;
	a->used += need;
	UNPOISON(p, size_bytes);
	return memset(p, 0, size_bytes);
fail:
	a->failed = true;
	return NULL;
}

char *arena_memdup(struct arena *a, const void *p, size_t size_bytes)
{
	char *copy = size_bytes < SIZE_MAX ? arena_alloc(a, size_bytes + 1) : NULL;

	if (!copy) {
		a->failed = true;
		return NULL;
	}
	if (size_bytes)
		memcpy(copy, p, size_bytes);
	return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_memdup(a, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, fmt);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	text = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
	if (!text) {
		a->failed = true;
		return NULL;
	}
	va_start(args, fmt);
	vsnprintf(text, (size_t)n + 1, fmt, args);
	va_end(args);
	return text;
}

int arena_hook(struct arena *a, void (*fn)(void *arg), void *arg)
{
	struct hook *h = ARENA_NEW(a, struct hook);

	if (!h)
		return -ENOMEM;
	*h = (struct hook){ .older = a->hooks, .fn = fn, .arg = arg };
	a->hooks = h;
	return 0;
}
