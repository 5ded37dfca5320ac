/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "sim/crew.h"

/*
 * A hub whose disk is full. Its data are copied into a file system of limited size that only this run sees (a mount namespace of its own, gone
 * with its processes); a file takes all that is left, the hub is killed and started again, later the file goes. What was there before is
 * as it was when the run is over.
 */

#define DISK_SPARE_MB                                                                              \
	64	       /* beside the data, while it is not full: the hub wants 16 MiB and its log */
#define DISK_CHURN 20u /* unless --churn says more */
#define COPY_BYTES (1 << 20)
#define FULL_S 5 /* with changes that are refused, before the hub is killed */
#define STARTED_S                                                                                  \
	12 /* the same after it is back: longer than a node is silent when it has nothing new to report */
#define SPACE_S 60 /* until a change works once there is space */

static void disk_path(const struct sim *s, const char *name, char ret[static 300])
{
	(void)snprintf(ret, 300, "%.240s/disk/%s", s->o.scratch, name);
}

/* ---- the file system ---- */

static int copy_bytes(int in, int out)
{
	CLEANUP(free_voidp) char *buf = malloc(COPY_BYTES);
	ssize_t n = 1;

	while (buf && n > 0) {
		n = read(in, buf, COPY_BYTES);
		for (ssize_t done = 0, k; n > 0 && done < n; done += k) {
			k = write(out, buf + done, (size_t)(n - done));
			if (k <= 0)
				return -EIO;
		}
	}
	return buf && n == 0 ? 0 : -EIO;
}

static int copy_file(int from, int to, const char *name, mode_t mode)
{
	CLEANUP(close_fdp) int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP(close_fdp)
	int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 07777);

	return in < 0 || out < 0 ? -errno : copy_bytes(in, out);
}

/* The write-ahead log was folded into the database when the hub stopped. A hub that finds no log has no blocks of it to use again: the harder case. */
static bool is_log(const char *name)
{
	return str_ends(str_of(name), STR("-wal")) || str_ends(str_of(name), STR("-shm"));
}

/* The hub's folder and the folders in it: none holds folders of its own. */
static int copy_folder(const char *from, const char *to, unsigned depth, struct err *e)
{
	CLEANUP(close_fdp) int out = -1;
	DIR *d = opendir(from);
	struct dirent *entry;
	struct stat st;
	int rc = d && dir_make(to, 0700, e) == 0 ? 0 : -EIO;

	out = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (rc == 0 && (entry = readdir(d))) {
		char a[600], b[600];

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    is_log(entry->d_name) ||
		    fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		(void)snprintf(a, sizeof(a), "%.300s/%.255s", from, entry->d_name);
		(void)snprintf(b, sizeof(b), "%.300s/%.255s", to, entry->d_name);
		if (S_ISREG(st.st_mode))
			rc = copy_file(dirfd(d), out, entry->d_name, st.st_mode);
		else if (S_ISDIR(st.st_mode) && depth)
			rc = copy_folder(a, b, depth - 1, e);
	}
	if (d)
		(void)closedir(d);
	return rc < 0 ? err_set(e, FAULT_INTERNAL, NULL, "%s cannot be copied to %s", from, to) : 0;
}

static uint64_t size_of(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *entry;
	struct stat st;
	uint64_t sum = 0;

	while (d && (entry = readdir(d)))
		if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	if (d)
		(void)closedir(d);
	return sum;
}

/* The hub's next start finds its data on it. */
static int disk_make(struct sim *s, struct err *e)
{
	char disk[300], from[300], to[300], size[32];

	disk_path(s, "", disk);
	disk_path(s, "hub", to);
	(void)snprintf(from, sizeof(from), "%.250s/hub", s->o.state_dir);
	(void)snprintf(size, sizeof(size), "size=%llum",
		       (unsigned long long)(size_of(from) >> 20) + DISK_SPARE_MB);
	if (dir_make(disk, 0700, e) < 0)
		return -EIO;
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("demarc-sim", disk, "tmpfs", MS_NOSUID | MS_NODEV, size) < 0)
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "a file system of limited size cannot be mounted (%s): run it as root",
			       strerror(errno));
	return copy_folder(from, to, 1, e);
}

/* To the last block, also of what was given back since. */
static int disk_fill(const struct sim *s, struct err *e)
{
	char path[300], block[4096] = { 0 };
	CLEANUP(close_fdp) int fd = -1;

	disk_path(s, "ballast", path);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	while (fd >= 0 && write(fd, block, sizeof(block)) > 0)
		;
	return fd >= 0 && errno == ENOSPC ?
		       0 :
		       err_set(e, FAULT_INTERNAL, NULL, "%s: %s", path, strerror(errno));
}

void disk_done(struct sim *s)
{
	char disk[300];

	disk_path(s, "", disk);
	if (*s->hub_dir)
		(void)umount2(disk, MNT_DETACH);
}

/* ---- the scenario ---- */

static int hub_moves(struct sim *s, struct err *e)
{
	int rc;

	hub_kill(s, SIGTERM);
	rc = disk_make(s, e);
	if (rc < 0)
		return rc;
	disk_path(s, "hub", s->hub_dir);
	return hub_start(s, e);
}

static int kill_when_full(struct sim *s, struct err *e)
{
	int rc = disk_fill(s, e);

	if (rc < 0)
		return rc;
	sim_pause_us(FULL_S * 1000000);
	crew.event_ns = clock_mono_ns();
	hub_kill(s, SIGKILL);
	rc = disk_fill(s, e);
	if (rc == 0)
		rc = hub_start(s, e);
	return rc < 0 ? rc : disk_fill(s, e);
}

/* Seconds until a change is acknowledged; < 0: none was. */
static double until_changes_work(struct sim *s, struct outcome *o)
{
	int64_t t0 = clock_mono_ns(), until = t0 + SPACE_S * NS_PER_S;
	uint32_t before = s->shared->n_changes;

	while (!sim_interrupted && s->shared->n_changes == before) {
		if (clock_mono_ns() > until)
			return -1;
		crew_look(s, o);
		sim_pause_us(1000);
	}
	return (double)(clock_mono_ns() - t0) / 1e9;
}

unsigned crew_n_unstored(const struct sim *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->o.n_nodes; i++)
		n += s->shared->slots[i].report_acked < s->shared->slots[i].report_sent;
	return n;
}

/* What nodes reported while there was no space reaches the store. */
static void until_stored(struct sim *s, struct outcome *o)
{
	int64_t until = clock_mono_ns() + SPACE_S * NS_PER_S;

	while (!sim_interrupted && crew_n_unstored(s) && clock_mono_ns() < until) {
		crew_look(s, o);
		sim_pause_us(10000);
	}
	o->n_unstored = crew_n_unstored(s);
}

int do_full_disk(struct sim *s, struct outcome *o, struct err *e)
{
	char ballast[300];
	uint32_t refused;
	int rc = hub_moves(s, e);

	if (rc == 0)
		rc = crew_connect_all(s, o, e);
	if (rc < 0 || sim_interrupted)
		return rc;
	s->o.churn = s->o.churn ? s->o.churn : DISK_CHURN;
	rc = crew_disturb(s, o, kill_when_full, e);
	if (rc < 0 || sim_interrupted)
		return rc;
	refused = s->shared->n_no_space;
	crew_stay(s, o, STARTED_S);
	o->full_after_start = s->shared->n_no_space - refused;
	o->n_waiting = crew_n_unstored(s);
	disk_path(s, "ballast", ballast);
	(void)unlink(ballast);
	o->space_back_s = until_changes_work(s, o);
	crew_stay(s, o, 2);
	until_stored(s, o);
	o->n_no_space = s->shared->n_no_space;
	return 0;
}
