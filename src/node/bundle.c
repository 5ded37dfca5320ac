/* SPDX-License-Identifier: Apache-2.0 */
#include "node/bundle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "node/rootfs.h"

#define CPU_PERIOD_US 100000
#define PIDS_MAX 1024
#define FILES_MAX 65536
#define PASSWD_MAX (1u << 20)

/* What network functions need: their interfaces, low ports, dropping privileges, their own files. Not in it, on
 * purpose: SYS_ADMIN, SYS_MODULE, SYS_PTRACE, SYS_BOOT, SYS_TIME, MKNOD, BPF, AUDIT_*. */
static const char *const capabilities[] = {
	"CAP_AUDIT_WRITE",	"CAP_CHOWN",	     "CAP_DAC_OVERRIDE", "CAP_FOWNER",
	"CAP_FSETID",		"CAP_IPC_LOCK",	     "CAP_KILL",	 "CAP_NET_ADMIN",
	"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_RAW",	 "CAP_SETFCAP",
	"CAP_SETGID",		"CAP_SETPCAP",	     "CAP_SETUID",	 "CAP_SYS_CHROOT",
	"CAP_SYS_NICE",
};

/* Denied with EPERM, whatever the capabilities say: kernel surface that no network function has business with. */
static const char *const denied_syscalls[] = {
	"acct",
	"add_key",
	"bpf",
	"clock_adjtime",
	"clock_settime",
	"create_module",
	"delete_module",
	"fanotify_init",
	"finit_module",
	"fsconfig",
	"fsmount",
	"fsopen",
	"fspick",
	"get_kernel_syms",
	"init_module",
	"io_uring_enter",
	"io_uring_register",
	"io_uring_setup",
	"ioperm",
	"iopl",
	"kcmp",
	"kexec_file_load",
	"kexec_load",
	"keyctl",
	"lookup_dcookie",
	"mbind",
	"migrate_pages",
	"mount",
	"mount_setattr",
	"move_mount",
	"move_pages",
	"name_to_handle_at",
	"nfsservctl",
	"open_by_handle_at",
	"open_tree",
	"perf_event_open",
	"pidfd_getfd",
	"pivot_root",
	"process_vm_readv",
	"process_vm_writev",
	"ptrace",
	"query_module",
	"quotactl",
	"quotactl_fd",
	"reboot",
	"request_key",
	"set_mempolicy",
	"settimeofday",
	"setns",
	"stime",
	"swapoff",
	"swapon",
	"syslog",
	"umount",
	"umount2",
	"unshare",
	"uselib",
	"userfaultfd",
	"ustat",
	"vm86",
	"vm86old",
};

static const char *const masked_paths[] = {
	"/proc/acpi",	       "/proc/asound",	    "/proc/kcore",	   "/proc/keys",
	"/proc/latency_stats", "/proc/scsi",	    "/proc/timer_list",	   "/proc/timer_stats",
	"/proc/sched_debug",   "/proc/kmsg",	    "/proc/kallsyms",	   "/sys/firmware",
	"/sys/fs/bpf",	       "/sys/kernel/debug", "/sys/kernel/tracing",
};
static const char *const readonly_paths[] = { "/proc/bus", "/proc/fs", "/proc/irq",
					      "/proc/sysrq-trigger" };

static const struct {
	const char *destination, *type, *source, *options;
} mounts[] = {
	{ "/proc", "proc", "proc", "nosuid,noexec,nodev" },
	{ "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k" },
	{ "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620" },
	{ "/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k" },
	{ "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev" },
	{ "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro" },
};

static json_t *list_of(const char *const *s, size_t n)
{
	json_t *l = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(l, json_string(s[i]));
	return l;
}

static json_t *words(const char *comma_separated)
{
	json_t *l = json_array();
	struct str rest = str_of(comma_separated);

	while (rest.len > 0) {
		struct str w = str_cut(rest, ',', &rest);

		(void)json_array_append_new(l, json_stringn(w.ptr, w.len));
	}
	return l;
}

static json_t *mount_of(const char *destination, const char *type, const char *source, const char *options)
{
	return json_pack("{s:s, s:s, s:s, s:o}", "destination", destination, "type", type, "source",
			 source, "options", words(options));
}

static json_t *mount_list(const struct bundle_spec *s)
{
	json_t *l = json_array();

	for (size_t i = 0; i < ARRAY_LEN(mounts); i++)
		(void)json_array_append_new(l, mount_of(mounts[i].destination, mounts[i].type,
							mounts[i].source, mounts[i].options));
	if (s->config_drive)
		(void)json_array_append_new(l, mount_of("/config-drive", "bind", s->config_drive,
							"bind,ro,nosuid,nodev,noexec"));
	if (s->resolv_conf)
		(void)json_array_append_new(l, mount_of("/etc/resolv.conf", "bind", s->resolv_conf,
							"bind,rw,nosuid,nodev,noexec"));
	return l;
}

/* Kernel-wide settings below /proc/sys are read-only; those of the function's own network namespace are not. */
static json_t *readonly_list(void)
{
	json_t *l = list_of(readonly_paths, ARRAY_LEN(readonly_paths));
	DIR *d = opendir("/proc/sys");
	struct dirent *de;

	while (d && (de = readdir(d))) {
		char path[300];

		if (de->d_name[0] == '.' || strcmp(de->d_name, "net") == 0)
			continue;
		(void)snprintf(path, sizeof(path), "/proc/sys/%s", de->d_name);
		(void)json_array_append_new(l, json_string(path));
	}
	if (d)
		(void)closedir(d);
	return l;
}

static json_t *seccomp(void)
{
	return json_pack("{s:s, s:[s,s,s], s:[{s:o, s:s, s:i}]}", "defaultAction", "SCMP_ACT_ALLOW",
			 "architectures",
#if defined(__aarch64__)
			 "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_ARM",
#else
			 "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
#endif
			 "syscalls", "names", list_of(denied_syscalls, ARRAY_LEN(denied_syscalls)),
			 "action", "SCMP_ACT_ERRNO", "errnoRet", EPERM);
}

static json_t *resources(const struct bundle_spec *s)
{
	json_t *r = json_pack("{s:{s:i}, s:[{s:b, s:s}]}", "pids", "limit", PIDS_MAX, "devices",
			      "allow", 0, "access", "rwm");

	if (s->memory_mb)
		(void)json_object_set_new(r, "memory",
					  json_pack("{s:I}", "limit", (json_int_t)s->memory_mb << 20));
	if (s->vcpus)
		(void)json_object_set_new(r, "cpu",
					  json_pack("{s:I, s:i}", "quota",
						    (json_int_t)s->vcpus * CPU_PERIOD_US, "period",
						    CPU_PERIOD_US));
	return r;
}

static json_t *linux_part(const struct bundle_spec *s)
{
	return json_pack("{s:[{s:s},{s:s},{s:s},{s:s},{s:s,s:s}], s:s, s:o, s:o, s:o, s:o}",
			 "namespaces", "type", "pid", "type", "ipc", "type", "uts", "type", "mount",
			 "type", "network", "path", s->netns, "cgroupsPath", s->cgroup, "resources",
			 resources(s), "seccomp", seccomp(), "maskedPaths",
			 list_of(masked_paths, ARRAY_LEN(masked_paths)), "readonlyPaths",
			 readonly_list());
}

/* ---- process ---- */

/* Third ("uid") and fourth ("gid") column of the line of `name`, in passwd or group. */
static bool find_line(const char *text, struct str name, uint64_t *ret_third, uint64_t *ret_fourth)
{
	struct str rest = str_of(text);

	while (rest.len > 0) {
		struct str cols = str_cut(rest, '\n', &rest);
		struct str first = str_cut(cols, ':', &cols);
		struct str third, fourth;

		(void)str_cut(cols, ':', &cols);
		third = str_cut(cols, ':', &cols);
		fourth = str_cut(cols, ':', &cols);
		if (!str_eq(first, name) || str_to_u64(third, UINT32_MAX - 1, ret_third) < 0)
			continue;
		if (str_to_u64(fourth, UINT32_MAX - 1, ret_fourth) < 0)
			*ret_fourth = 0;
		return true;
	}
	return false;
}

static char *read_inside(const char *rootfs, const char *path)
{
	CLEANUP(close_fdp) int root = open(rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(close_fdp) int fd = -1;
	char *text;
	ssize_t n;

	if (root < 0 || rootfs_open(root, path, &fd, NULL) < 0)
		return NULL;
	text = malloc(PASSWD_MAX + 1);
	n = text ? read(fd, text, PASSWD_MAX) : -1;
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

int bundle_user(const char *rootfs, const char *user, uint32_t *ret_uid, uint32_t *ret_gid,
		struct err *e)
{
	struct str group, name = str_cut(str_of(user), ':', &group);
	uint64_t uid = 0, gid = 0, unused;

	if (name.len > 0 && str_to_u64(name, UINT32_MAX - 1, &uid) < 0) {
		CLEANUP(free_charp) char *passwd = read_inside(rootfs, "etc/passwd");

		if (!passwd || !find_line(passwd, name, &uid, &gid))
			return err_set(e, FAULT_BAD_REQUEST, NULL, "image has no user '%.64s'", user);
	}
	if (group.len > 0 && str_to_u64(group, UINT32_MAX - 1, &gid) < 0) {
		CLEANUP(free_charp) char *groups = read_inside(rootfs, "etc/group");

		if (!groups || !find_line(groups, group, &gid, &unused))
			return err_set(e, FAULT_BAD_REQUEST, NULL, "image has no group '%.64s'", user);
	}
	*ret_uid = (uint32_t)uid;
	*ret_gid = (uint32_t)gid;
	return 0;
}

static json_t *args_of(const json_t *config)
{
	json_t *args = json_array();
	json_t *entrypoint = json_object_get(config, "Entrypoint");
	json_t *cmd = json_object_get(config, "Cmd");

	if (json_is_array(entrypoint))
		(void)json_array_extend(args, entrypoint);
	if (json_is_array(cmd))
		(void)json_array_extend(args, cmd);
	return args;
}

static json_t *env_of(const json_t *config)
{
	json_t *env = json_array(), *given = json_object_get(config, "Env"), *v;
	bool has_path = false;
	size_t i;

	json_array_foreach(given, i, v) {
		has_path |= strncmp(json_string_value(v), "PATH=", 5) == 0;
		(void)json_array_append(env, v);
	}
	if (!has_path)
		(void)json_array_append_new(
			env,
			json_string("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
	return env;
}

static json_t *capability_sets(bool root)
{
	static const char *const sets[] = { "bounding", "effective", "permitted", "inheritable",
					    "ambient" };
	json_t *caps = json_object();

	/* A user other than root keeps them through the ambient set: there is no file capability to get them back. */
	for (size_t i = 0; i < (root ? 3 : ARRAY_LEN(sets)); i++)
		(void)json_object_set_new(caps, sets[i],
					  list_of(capabilities, ARRAY_LEN(capabilities)));
	return caps;
}

/* More than the agent itself may have, no runtime can give. */
static rlim_t files_limit(void)
{
	struct rlimit own;

	return getrlimit(RLIMIT_NOFILE, &own) == 0 ? MIN_OF(own.rlim_max, (rlim_t)FILES_MAX) : 1024;
}

static int process_part(const struct bundle_spec *s, json_t **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *args = args_of(s->image_config);
	const char *user = json_str(s->image_config, "User"),
		   *cwd = json_str(s->image_config, "WorkingDir");
	uint32_t uid = 0, gid = 0;
	json_int_t files = (json_int_t)files_limit();

	if (json_array_size(args) == 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "image has neither Entrypoint nor Cmd");
	if (user && *user && bundle_user(s->rootfs, user, &uid, &gid, e) < 0)
		return -EINVAL;
	*ret = json_pack("{s:b, s:{s:I, s:I}, s:O, s:o, s:s, s:b, s:o, s:[{s:s, s:I, s:I}], s:i}",
			 "terminal", 0, "user", "uid", (json_int_t)uid, "gid", (json_int_t)gid, "args",
			 args, "env", env_of(s->image_config), "cwd", cwd && cwd[0] == '/' ? cwd : "/",
			 "noNewPrivileges", 1, "capabilities", capability_sets(uid == 0), "rlimits",
			 "type", "RLIMIT_NOFILE", "hard", files, "soft", files, "oomScoreAdj", 0);
	return *ret ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "process of the bundle");
}

int bundle_write(const char *dir, const struct bundle_spec *s, struct err *e)
{
	CLEANUP(json_freep) json_t *root = NULL;
	CLEANUP(free_charp) char *text = NULL;
	char path[PATH_MAX];
	json_t *process = NULL;
	int r = process_part(s, &process, e);

	if (r < 0)
		return r;
	root = json_pack("{s:s, s:o, s:{s:s, s:b}, s:s, s:o, s:o}", "ociVersion", "1.0.2",
			 "process", process, "root", "path", s->rootfs, "readonly", 0, "hostname",
			 s->hostname, "mounts", mount_list(s), "linux", linux_part(s));
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	if (!text)
		return err_set(e, FAULT_NO_MEMORY, NULL, "bundle");
	(void)snprintf(path, sizeof(path), "%s/config.json", dir);
	return file_write_atomic(path, 0600, str_of(text), e);
}
