/* SPDX-License-Identifier: Apache-2.0 */
#include "node/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "node/native.h"

/*
 * Console logs. A function writes to console.log itself, by O_APPEND, so that its output outlives the agent. A log past
 * its limit is copied to console.log.1 (its newer half) and cut to nothing; what is written in between is the price of
 * a log that nobody has to hold open.
 */
#define CONSOLE_LIMIT (1u << 20)
#define CONSOLE_KEEP (512u << 10)

static void paths(const struct node *n, const char *id, char log[static PATH_MAX],
		  char old[static PATH_MAX])
{
	(void)snprintf(log, PATH_MAX, "%s/servers/%s/console.log", n->cfg.state_dir, id);
	(void)snprintf(old, PATH_MAX, "%s/servers/%s/console.log.1", n->cfg.state_dir, id);
}

/* The last `max` bytes of a file, in front of what is in *at; missing is nothing. */
static size_t read_tail(const char *path, char *buf, size_t max)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	n = pread(fd, buf, max, st.st_size > (off_t)max ? st.st_size - (off_t)max : 0);
	return n > 0 ? (size_t)n : 0;
}

int server_console(struct node *n, const char *id, size_t max_bytes, char **ret, size_t *ret_size,
		   struct err *e)
{
	char log[PATH_MAX], old[PATH_MAX];
	CLEANUP(free_charp) char *a = malloc(max_bytes + 1);
	CLEANUP(free_charp) char *b = malloc(max_bytes + 1);
	const struct server *s = server_find(n, id);
	size_t n_old, n_new;

	if (s && s->native) {
		*ret = native_console(s);
		*ret_size = *ret ? strnlen(*ret, max_bytes) : 0;
		return *ret ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "console log");
	}
	if (!s)
		return err_set(e, FAULT_NOT_FOUND, "server_id", "server %.64s is not on this node", id);
	if (!a || !b)
		return err_set(e, FAULT_NO_MEMORY, NULL, "console log");
	paths(n, id, log, old);
	n_new = read_tail(log, b, max_bytes);
	n_old = read_tail(old, a, max_bytes - n_new);
	memmove(a + n_old, b, n_new);
	a[n_old + n_new] = '\0';
	*ret_size = n_old + n_new;
	*ret = MOVE_PTR(a);
	return 0;
}

static void rotate(const char *log, const char *old)
{
	CLEANUP(close_fdp) int fd = open(log, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	CLEANUP(close_fdp) int out = -1;
	CLEANUP(free_charp) char *buf = NULL;
	struct stat st;
	ssize_t size;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= CONSOLE_LIMIT)
		return;
	buf = malloc(CONSOLE_KEEP);
	out = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	size = buf ? pread(fd, buf, CONSOLE_KEEP, st.st_size - CONSOLE_KEEP) : -1;
	if (out >= 0 && size > 0)
		(void)!write(out, buf, (size_t)size);
	(void)!ftruncate(fd, 0); /* also without a copy: a full disk is worse than a lost log */
}

void servers_rotate_consoles(struct node *n)
{
	for (const struct server *s = n->servers; s; s = s->next) {
		char log[PATH_MAX], old[PATH_MAX];

		paths(n, s->id, log, old);
		rotate(log, old);
	}
}
