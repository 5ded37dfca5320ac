/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "node/netns.h"

/* Takes a node's outside state away without an intent to go by: whatever carries its directories or its id. */

typedef int (*entry_fn)(const struct config *cfg, const char *path, const char *name, struct err *e);

static int each_entry(const struct config *cfg, const char *dir, const char *what, entry_fn fn,
		      struct err *e)
{
	char path[PATH_MAX], entry[PATH_MAX];
	struct dirent *de;
	int r = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, what);
	d = opendir(path);
	while (d && r == 0 && (de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		(void)snprintf(entry, sizeof(entry), "%.3500s/%s", path, de->d_name);
		r = fn(cfg, entry, de->d_name, e);
	}
	if (d)
		(void)closedir(d);
	return r;
}

static int delete_container(const struct config *cfg, const char *path, const char *name, struct err *e)
{
	struct runtime rt = { .command = cfg->runtime };

	(void)path;
	(void)snprintf(rt.root, sizeof(rt.root), "%s/runc", cfg->run_dir);
	return runtime_delete(&rt, name, e);
}

static int delete_netns(const struct config *cfg, const char *path, const char *name, struct err *e)
{
	(void)cfg;
	(void)name;
	return netns_remove(path, e);
}

static int unmount_rootfs(const struct config *cfg, const char *path, const char *name, struct err *e)
{
	(void)cfg;
	(void)name;
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	return errno == EINVAL || errno == ENOENT ? 0 : err_errno(e, errno, "unmounting %s", path);
}

static int delete_links(struct err *e)
{
	CLEANUP(nl_closep) struct nl *nl = NULL;
	CLEANUP(free_voidp) struct nl_link *links = NULL;
	int r = nl_open(&nl, e), n = r < 0 ? r : nl_links(nl, &links, e);

	for (int i = 0; n >= 0 && i < n; i++) {
		const struct nl_link *l = &links[i];

		if (l->index.num > LOCAL_PORT_BASE && strncmp(l->name, "dm", 2) == 0 &&
		    strcmp(l->kind, "veth") == 0)
			r = nl_link_del(nl, l->index, e);
		if (r < 0)
			return r;
	}
	return n < 0 ? n : 0;
}

/* "/sys/fs/cgroup/<hierarchy>/demarc-<id>/<server>", on either version of the cgroup file system. */
static void delete_cgroups_below(const char *parent)
{
	struct dirent *de;
	DIR *d = opendir(parent);

	while (d && (de = readdir(d))) {
		char path[PATH_MAX];

		if (de->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%.3500s/%s", parent, de->d_name);
		(void)rmdir(path); /* files of the directory are the kernel's: they refuse, as they should */
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(parent);
}

static void delete_cgroups(const char *node_id)
{
	char path[PATH_MAX];
	struct dirent *de;
	DIR *d = opendir("/sys/fs/cgroup");

	(void)snprintf(path, sizeof(path), "/sys/fs/cgroup/demarc-%.8s", node_id);
	delete_cgroups_below(path);
	while (d && (de = readdir(d))) {
		if (de->d_name[0] == '.' || de->d_type == DT_REG)
			continue;
		(void)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/demarc-%.8s", de->d_name, node_id);
		delete_cgroups_below(path);
	}
	if (d)
		(void)closedir(d);
}

int node_purge(const struct config *cfg, const char *node_id, struct err *e)
{
	static const char *const state[] = { "servers", "images", "local.json", "events.log",
					     "report.seq" };
	char path[PATH_MAX];
	int lock CLEANUP(close_fdp) = -1;
	int r;

	(void)snprintf(path, sizeof(path), "%.4000s/lock", cfg->state_dir);
	r = file_lock(path, "node agent", &lock, e);
	if (r == 0)
		r = each_entry(cfg, cfg->run_dir, "runc", delete_container, e);
	if (r == 0)
		r = each_entry(cfg, cfg->run_dir, "rootfs", unmount_rootfs, e);
	node_pin_dir(cfg, node_id, path, sizeof(path));
	if (r == 0 && access(path, F_OK) == 0)
		r = dp_remove(path, e);
	if (r == 0)
		r = delete_links(e);
	if (r == 0)
		r = each_entry(cfg, cfg->run_dir, "netns", delete_netns, e);
	if (r == 0)
		delete_cgroups(node_id);
	if (r == 0)
		r = tree_remove(cfg->run_dir, e);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(state); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", cfg->state_dir, state[i]);
		r = tree_remove(path, e);
	}
	return r;
}
