/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "sim/sim.h"

/*
 * Where the nodes keep their intents: in memory, gone at the end. A run that was killed could not remove its folder; the next one
 * does. A folder is in use while the process that it is named after lives, or somebody holds its lock: processes of another
 * container, whose numbers mean nothing here, may share /dev/shm.
 */

#define SHM "/dev/shm"

/* demarc capacity names a folder for each of its runs. */
static bool is_ours(const char *name, pid_t *ret_pid)
{
	static const char *const starts[] = { "demarc-sim-", "demarc-capacity-" };
	struct str s = str_of(name), number = { 0 };
	uint64_t pid = 0;

	for (size_t i = 0; i < ARRAY_LEN(starts); i++)
		if (str_starts(s, str_of(starts[i])))
			number = str_of(name + strlen(starts[i]));
	if (!number.len || str_to_u64(number, INT32_MAX, &pid) < 0 || pid < 2)
		return false;
	*ret_pid = (pid_t)pid;
	return true;
}

static void sweep_one(int shm, const char *name)
{
	char path[300];
	CLEANUP(close_fdp)
	int fd = openat(shm, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	(void)snprintf(path, sizeof(path), SHM "/%.255s", name);
	(void)!tree_remove(path, NULL);
}

static void sweep(void)
{
	DIR *d = opendir(SHM);
	struct dirent *entry;
	pid_t pid;

	while (d && (entry = readdir(d)))
		if (is_ours(entry->d_name, &pid) && kill(pid, 0) < 0 && errno == ESRCH)
			sweep_one(dirfd(d), entry->d_name);
	if (d)
		(void)closedir(d);
}

/* The lock goes with the last process of this run. */
int scratch_open(struct sim *s, struct err *e)
{
	int fd, rc;

	sweep();
	rc = dir_make(s->o.scratch, 0700, e);
	if (rc < 0)
		return rc;
	fd = open(s->o.scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "open %s", s->o.scratch);
	s->has_scratch = flock(fd, LOCK_EX | LOCK_NB) == 0;
	if (s->has_scratch)
		return 0;
	(void)close(fd);
	return err_set(e, FAULT_IN_USE, "scratch", "%s is in use by another run", s->o.scratch);
}
