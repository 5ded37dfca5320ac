/* SPDX-License-Identifier: Apache-2.0 */
#include "node/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/str.h"

/* Where the thread's own namespace is found; differs from /proc/self for threads that have moved. */
#define THREAD_NETNS "/proc/thread-self/ns/net"

/* What a network function needs: it forwards, takes asymmetric and steered traffic, and is addressed by its intent
 * only. The function may change all of them later: /proc/sys/net is writable inside. */
static const struct {
	const char *name, *value;
} function_sysctls[] = {
	{ "ipv4/ip_forward", "1" },
	{ "ipv4/conf/all/rp_filter", "0" },
	{ "ipv4/conf/default/rp_filter", "0" },
	{ "ipv4/conf/all/send_redirects", "0" },
	{ "ipv4/conf/default/send_redirects", "0" },
	{ "ipv4/conf/all/accept_redirects", "0" },
	{ "ipv4/conf/default/accept_redirects", "0" },
	{ "ipv6/conf/all/forwarding", "1" },
	{ "ipv6/conf/default/accept_ra", "0" },
	{ "ipv6/conf/default/accept_dad", "0" },
	{ "ipv6/conf/default/addr_gen_mode", "1" }, /* none: no address that the intent does not name */
};

int netns_enter(struct netns_visit *v, int fd, struct err *e)
{
	v->home = open(THREAD_NETNS, O_RDONLY | O_CLOEXEC);
	if (v->home < 0)
		return err_errno(e, errno, "%s", THREAD_NETNS);
	if (setns(fd, CLONE_NEWNET) < 0) {
		int num = errno;

		close_fdp(&v->home);
		v->home = -1;
		return err_errno(e, num, "entering a network namespace");
	}
	return 0;
}

void netns_leave(struct netns_visit *v)
{
	if (v->home < 0)
		return;
	if (setns(v->home, CLONE_NEWNET) < 0)
		abort(); /* going on in a function's namespace would be worse than a restart */
	close_fdp(&v->home);
	v->home = -1;
}

int netns_sysctl(const char *name, const char *value, struct err *e)
{
	char path[PATH_MAX];
	CLEANUP(close_fdp) int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "%s", path);
	if (write(fd, value, strlen(value)) < 0)
		return err_errno(e, errno, "writing %s to %s", value, path);
	return 0;
}

static int name_current(const char *path, struct err *e)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0400);

	if (fd < 0)
		return err_errno(e, errno, "%s", path);
	if (mount(THREAD_NETNS, path, NULL, MS_BIND, NULL) < 0)
		return err_errno(e, errno, "naming a network namespace %s", path);
	return 0;
}

int netns_make(const char *path, struct err *e)
{
	CLEANUP(netns_leave) struct netns_visit visit = NETNS_VISIT_NONE;
	int r = netns_remove(path, e);

	if (r < 0)
		return r;
	visit.home = open(THREAD_NETNS, O_RDONLY | O_CLOEXEC);
	if (visit.home < 0)
		return err_errno(e, errno, "%s", THREAD_NETNS);
	if (unshare(CLONE_NEWNET) < 0)
		return err_errno(e, errno, "making a network namespace");
	for (size_t i = 0; i < ARRAY_LEN(function_sysctls); i++) {
		r = netns_sysctl(function_sysctls[i].name, function_sysctls[i].value, e);
		if (r < 0)
			return r;
	}
	return name_current(path, e);
}

int netns_open(const char *path, int *ret_fd, struct err *e)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct statfs fs;

	if (fd < 0 && errno == ENOENT)
		return err_set(e, FAULT_NOT_FOUND, NULL, "no network namespace %s", path);
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return err_errno(e, errno, "%s", path);
	if ((unsigned long)fs.f_type != NSFS_MAGIC) /* the file is there, the mount is not: after a reboot */
		return err_set(e, FAULT_NOT_FOUND, NULL, "%s is not a network namespace", path);
	*ret_fd = MOVE_FD(fd);
	return 0;
}

int netns_remove(const char *path, struct err *e)
{
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (errno != EINVAL && errno != ENOENT)
		return err_errno(e, errno, "unmounting %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_errno(e, errno, "removing %s", path);
	return 0;
}
