/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define READ_STEP_BYTES 65536
#define TREE_MAX_DEPTH 64 /* levels held open at once; deeper ones are moved up first */

/* read(2) to the end or past max_bytes, whichever comes first. */
static int read_all(int fd, size_t max_bytes, struct strbuf *b)
{
	char step[READ_STEP_BYTES];

	while (b->len <= max_bytes) {
		ssize_t n = read(fd, step, sizeof(step));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		strbuf_add(b, step, (size_t)n);
		if (b->error)
			return b->error;
	}
	return 0;
}

int file_read(const char *path, size_t max_bytes, char **ret, size_t *ret_size, struct err *e)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	char *text;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "open %s", path);
	r = read_all(fd, max_bytes, &b);
	if (r < 0)
		return err_errno(e, r, "read %s", path);
	if (b.len > max_bytes)
		return err_set(e, FAULT_TOO_LARGE, NULL, "%s is larger than %zu bytes", path, max_bytes);
	if (ret_size)
		*ret_size = b.len;
	text = strbuf_take(&b);
	if (!text)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for %s", path);
	*ret = text;
	return 0;
}

static int write_all(int fd, struct str s)
{
	while (s.len) {
		ssize_t n = write(fd, s.ptr, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		s.ptr += n;
		s.len -= (size_t)n;
	}
	return 0;
}

/* The rename itself is durable only once its directory is. */
static int sync_parent(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	struct str parent = slash ? (struct str){ path, MAX_OF((size_t)(slash - path), (size_t)1) } :
				    STR(".");
	CLEANUP(close_fdp) int fd = -1;

	if (str_copy(dir, sizeof(dir), parent) < 0)
		return -ENAMETOOLONG;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int fill_and_rename(int fd, const char *tmp, const char *path, mode_t mode, struct str content)
{
	int r = write_all(fd, content);

	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(tmp, path) < 0)
		return -errno;
	return 0;
}

int file_write_atomic(const char *path, mode_t mode, struct str content, struct err *e)
{
	CLEANUP(close_fdp) int fd = -1;
	char tmp[PATH_MAX];
	int r;

	if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path) >= (int)sizeof(tmp))
		return err_errno(e, ENAMETOOLONG, "write %s", path);
	fd = mkostemp(tmp, O_CLOEXEC); /* mode 0600 until the content is there */
	if (fd < 0)
		return err_errno(e, errno, "create a temporary file beside %s", path);
	r = fill_and_rename(fd, tmp, path, mode, content);
	if (r < 0) {
		unlink(tmp);
		return err_errno(e, r, "write %s", path);
	}
	r = sync_parent(path);
	return r < 0 ? err_errno(e, r, "sync the directory of %s", path) : 0;
}

int dir_make(const char *path, mode_t mode, struct err *e)
{
	char part[PATH_MAX];
	struct stat st;

	if (path[0] == '\0')
		return err_errno(e, ENOENT, "make directory ''");
	if (str_copy(part, sizeof(part), str_of(path)) < 0)
		return err_errno(e, ENAMETOOLONG, "make directory %s", path);
	for (char *p = part + 1;; p++) {
		char at = *p;

		if (at != '/' && at != '\0')
			continue;
		*p = '\0';
		/* The caller's mode, whatever the umask: a function's root must be open to its users. */
		if (mkdir(part, mode) == 0 ? chmod(part, mode) < 0 : errno != EEXIST)
			return err_errno(e, errno, "make directory %s", part);
		if (at == '\0')
			break;
		*p = at;
	}
	if (stat(part, &st) < 0)
		return err_errno(e, errno, "make directory %s", path);
	return S_ISDIR(st.st_mode) ? 0 : err_errno(e, ENOTDIR, "make directory %s", path);
}

struct removal {
	int root_fd;
	unsigned n_moved; /* counts names for what is moved up; never reused in one run */
	struct err *e;
};

/* A directory by name, never through a link or into another mount. */
static int open_child_dir(int dir_fd, const char *name)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	struct open_how how = {
		.flags = (unsigned)flags,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
	};
	long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

	if (fd < 0 && errno == ENOSYS) /* before Linux 5.6 */
		fd = openat(dir_fd, name, flags);
	return fd < 0 ? -errno : (int)fd;
}

static int empty_dir(struct removal *rm, int dir_fd, unsigned depth);

/* Depth of the tree is the attacker's choice, ours is not: a deep branch is moved to the top, where
 * the loop of empty_root() meets it again. */
static int move_up(struct removal *rm, int dir_fd, const char *name)
{
	char to[64];

	do {
		snprintf(to, sizeof(to), ".removed-%ld-%u", (long)getpid(), rm->n_moved++);
		if (renameat2(dir_fd, name, rm->root_fd, to, RENAME_NOREPLACE) == 0)
			return 0;
	} while (errno == EEXIST && rm->n_moved != 0);
	return err_errno(rm->e, errno, "move %s up", name);
}

static int remove_entry(struct removal *rm, int dir_fd, const char *name, unsigned depth)
{
	CLEANUP(close_fdp) int fd = -1;
	int r;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM) /* EPERM: what POSIX says for a directory */
		return err_errno(rm->e, errno, "remove %s", name);
	fd = open_child_dir(dir_fd, name);
	if (fd < 0)
		return err_errno(rm->e, fd, "remove %s", name);
	if (depth >= TREE_MAX_DEPTH)
		return move_up(rm, dir_fd, name);
	r = empty_dir(rm, MOVE_FD(fd), depth + 1);
	if (r < 0)
		return r;
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_errno(rm->e, errno, "remove directory %s", name);
	return 0;
}

static void closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* Takes dir_fd. */
static int empty_dir(struct removal *rm, int dir_fd, unsigned depth)
{
	CLEANUP(closedir_p) DIR *d = fdopendir(dir_fd);
	struct dirent *ent;

	if (!d) {
		int num = errno;

		close(dir_fd);
		return err_errno(rm->e, num, "read a directory");
	}
	while ((errno = 0, ent = readdir(d))) {
		int r;

		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
			continue;
		r = remove_entry(rm, dirfd(d), ent->d_name, depth);
		if (r < 0)
			return r;
	}
	return errno ? err_errno(rm->e, errno, "read a directory") : 0;
}

/* Everything in the directory `fd`, which is kept. Repeats while a pass moved something up. */
static int empty_root(int fd, struct err *e)
{
	struct removal rm = { .root_fd = fd, .e = e };
	unsigned before;

	do {
		int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int r;

		if (copy < 0)
			return err_errno(e, errno, "read a directory");
		before = rm.n_moved;
		r = empty_dir(&rm, copy, 0);
		if (r < 0)
			return r;
	} while (rm.n_moved != before);
	return 0;
}

int tree_remove(const char *path, struct err *e)
{
	CLEANUP(close_fdp) int fd = -1;

	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_errno(e, errno, "remove %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "remove %s", path);
	if (empty_root(fd, e) < 0)
		return err_wrap(e, "remove tree %s", path);
	if (rmdir(path) < 0 && errno != ENOENT)
		return err_errno(e, errno, "remove %s", path);
	return 0;
}

int file_lock(const char *path, const char *what, int *ret_fd, struct err *e)
{
	int fd CLEANUP(close_fdp) = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_errno(e, errno, "open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return err_set(e, FAULT_IN_USE, NULL, "another %s uses %s: stop it first",
				       what, path);
		return err_errno(e, errno, "lock %s", path);
	}
	*ret_fd = MOVE_FD(fd);
	return 0;
}
