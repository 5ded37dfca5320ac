/* SPDX-License-Identifier: Apache-2.0 */
#include "node/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "node/bundle.h"
#include "node/netns.h"
#include "node/oci.h"

#define STOP_GRACE_MS 3000 /* between SIGTERM and SIGKILL */
#define COPY_TIMEOUT_MS 600000

static int path_below(char ret[static PATH_MAX], const char *dir, const char *name, struct err *e)
{
	if (snprintf(ret, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "path below %.200s is too long", dir);
	return 0;
}

/* ---- file system of the function ---- */

static int unmount_all(const char *path, struct err *e)
{
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	return errno == EINVAL || errno == ENOENT ? 0 : err_errno(e, errno, "unmounting %s", path);
}

/* Where overlayfs cannot be used: a full copy, once per server, bound to the same place. */
static int mount_copy(const struct server_job *j, const char *lower, struct err *e)
{
	char copy[PATH_MAX], tmp[PATH_MAX], from[PATH_MAX], text[512];
	int r = path_below(copy, j->home, "disk/copy", e);

	if (r == 0)
		r = path_below(tmp, j->home, "disk/copy.tmp", e);
	if (r == 0)
		r = path_below(from, lower, ".", e);
	if (r == 0 && access(copy, F_OK) < 0) {
		r = tree_remove(tmp, e);
		if (r == 0)
			r = dir_make(tmp, 0755, e);
		if (r == 0)
			r = command_run((const char *const[]){ "cp", "-a", from, tmp, NULL },
					COPY_TIMEOUT_MS, text, sizeof(text), e);
		if (r > 0)
			r = err_set(e, FAULT_NO_SPACE, NULL, "copying the image: %.300s", text);
		if (r == 0 && rename(tmp, copy) < 0)
			r = err_errno(e, errno, "%s", copy);
	}
	if (r == 0 && mount(copy, j->rootfs, NULL, MS_BIND, NULL) < 0)
		r = err_errno(e, errno, "mounting %s", j->rootfs);
	return r;
}

static int mount_overlay(const struct server_job *j, const char *lower, struct err *e)
{
	CLEANUP(strbuf_done)
	struct strbuf o = { .limit_bytes = 4095 }; /* a page is what mount(2) takes */
	char upper[PATH_MAX], work[PATH_MAX];
	int r = path_below(upper, j->home, "disk/upper", e);

	if (r == 0)
		r = path_below(work, j->home, "disk/work", e);
	if (r == 0)
		r = dir_make(upper, 0755, e);
	if (r == 0)
		r = dir_make(work, 0700, e);
	if (r < 0)
		return r;
	strbuf_addf(&o, "lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work);
	if (o.error)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "state directory's path is too long");
	if (mount("overlay", j->rootfs, "overlay", MS_NODEV, o.ptr) == 0)
		return 0;
	if (errno == ENODEV || errno == EINVAL || errno == EPERM)
		return mount_copy(j, lower, e);
	return err_errno(e, errno, "mounting the file system of the function");
}

static int make_rootfs(const struct server_job *j, struct err *e)
{
	char lower[PATH_MAX], disk[PATH_MAX];
	int r = path_below(lower, j->image_dir, "rootfs", e);

	if (r == 0)
		r = path_below(disk, j->home, "disk", e);
	if (r == 0)
		r = unmount_all(j->rootfs, e);
	if (r == 0 && j->fresh_disk)
		r = tree_remove(disk, e);
	if (r == 0)
		r = dir_make(disk, 0700, e);
	if (r == 0)
		r = dir_make(j->rootfs, 0755, e);
	return r < 0 ? r : mount_overlay(j, lower, e);
}

/* ---- jobs ---- */

static int prepare(struct server_job *j, struct err *e)
{
	static const struct vnics nothing;
	int r = netns_make(j->netns, e);

	return r < 0 ? r : vnics_wire(j->netns, &j->want, &nothing, e);
}

static int image_config(const struct server_job *j, json_t **ret, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	char path[PATH_MAX];
	size_t size = 0;
	int r = path_below(path, j->image_dir, "config.json", e);

	if (r == 0)
		r = file_read(path, OCI_JSON_MAX, &text, &size, e);
	return r < 0 ? r : json_parse((struct str){ text, size }, ret, e);
}

static int write_resolv_conf(const struct server_job *j, const char *path, struct err *e)
{
	CLEANUP(close_fdp)
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	size_t n = strlen(j->resolv_conf);

	if (fd < 0 || fchmod(fd, 0644) < 0 || write(fd, j->resolv_conf, n) != (ssize_t)n)
		return err_errno(e, errno, "%s", path);
	return 0;
}

static int make_bundle(struct server_job *j, struct err *e)
{
	CLEANUP(json_freep) json_t *config = NULL;
	char drive[PATH_MAX], resolv[PATH_MAX];
	struct bundle_spec spec = {
		.rootfs = j->rootfs,
		.netns = j->netns,
		.hostname = j->hostname,
		.cgroup = j->cgroup,
		.vcpus = j->vcpus,
		.memory_mb = j->memory_mb,
	};
	int r = path_below(drive, j->home, "config-drive", e);

	if (r == 0)
		r = path_below(resolv, j->home, "resolv.conf", e);
	if (r == 0)
		r = dir_make(j->bundle, 0700, e);
	if (r == 0)
		r = image_config(j, &config, e);
	spec.image_config = config;
	if (r == 0 && j->config_drive) {
		r = meta_write_drive(&j->docs, drive, e);
		spec.config_drive = drive;
	}
	if (r == 0 && j->resolv_conf[0]) {
		r = write_resolv_conf(j, resolv, e);
		spec.resolv_conf = resolv;
	}
	return r < 0 ? r : bundle_write(j->bundle, &spec, e);
}

static int start(struct server_job *j, struct err *e)
{
	char console[PATH_MAX];
	int r = path_below(console, j->home, "console.log", e);

	if (r == 0)
		r = runtime_delete(&j->rt, j->id, e); /* of a start that was cut off */
	if (r == 0)
		r = make_rootfs(j, e);
	if (r == 0)
		r = make_bundle(j, e);
	return r < 0 ? r : runtime_run(&j->rt, j->id, j->bundle, console, &j->pid, e);
}

static int stop(struct server_job *j, struct err *e)
{
	int r = 0;

	if (j->pid > 0)
		r = runtime_stop(&j->rt, j->id, j->pid, STOP_GRACE_MS, e);
	if (r == 0)
		r = runtime_delete(&j->rt, j->id, e);
	if (r == 0)
		r = unmount_all(j->rootfs, e);
	if (r == 0)
		r = vnics_unwire(&j->old, e);
	if (r == 0)
		r = netns_remove(j->netns, e);
	if (r == 0)
		r = tree_remove(j->bundle, e);
	if (r == 0 && rmdir(j->rootfs) < 0 && errno != ENOENT)
		r = err_errno(e, errno, "%s", j->rootfs);
	if (r == 0 && j->final)
		r = tree_remove(j->home, e);
	return r;
}

void job_run(struct server_job *j)
{
	switch (j->kind) {
	case JOB_PREPARE:
		j->r = prepare(j, &j->err);
		return;
	case JOB_WIRE:
		j->r = vnics_wire(j->netns, &j->want, &j->old, &j->err);
		return;
	case JOB_START:
		j->r = start(j, &j->err);
		return;
	case JOB_STOP:
		j->r = stop(j, &j->err);
		return;
	}
}
