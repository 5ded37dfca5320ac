/* SPDX-License-Identifier: Apache-2.0 */
#include "node/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"

#define COMMAND_TIMEOUT_MS 20000
#define LIST_BYTES_MAX (1u << 20)

int process_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

uint64_t process_start_time(pid_t pid)
{
	char path[64], text[1024];
	CLEANUP(close_fdp) int fd = -1;
	struct str rest;
	uint64_t ticks = 0;
	const char *end;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	end = strrchr(text, ')'); /* the name may hold anything, also brackets */
	if (!end || end[1] != ' ' || end[2] == 'Z' || end[2] == 'X')
		return 0;
	rest = str_of(end + 2);
	for (int field = 3; field < 22; field++)
		(void)str_cut(rest, ' ', &rest);
	return str_to_u64(str_cut(rest, ' ', &rest), UINT64_MAX, &ticks) < 0 ? 0 : ticks;
}

/* ---- running a command ---- */

struct stdio {
	int in, out, err;
};

static int spawn(const char *const *argv, struct stdio io, pid_t *ret, struct err *e)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	if (posix_spawn_file_actions_init(&fa) != 0 || posix_spawnattr_init(&attr) != 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "starting %s", argv[0]);
	(void)posix_spawn_file_actions_adddup2(&fa, io.in, 0);
	(void)posix_spawn_file_actions_adddup2(&fa, io.out, 1);
	(void)posix_spawn_file_actions_adddup2(&fa, io.err, 2);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = posix_spawnp(ret, argv[0], &fa, &attr, (char *const *)(uintptr_t)argv, environ);
	(void)posix_spawn_file_actions_destroy(&fa);
	(void)posix_spawnattr_destroy(&attr);
	return r ? err_errno(e, r, "starting %s", argv[0]) : 0;
}

static int wait_status(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Reads what comes until the process has ended. `from` may be -1. */
static int wait_reading(pid_t pid, int from, int64_t deadline_ns, char *out, size_t size, struct err *e)
{
	CLEANUP(close_fdp) int pidfd = process_open(pid);
	size_t len = 0;
	char waste[512];

	for (;;) {
		struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN },
				       { .fd = from, .events = POLLIN } };
		int64_t left_ms = (deadline_ns - clock_mono_ns()) / NS_PER_MS;
		ssize_t n;

		if (left_ms <= 0) {
			(void)kill(pid, SIGKILL);
			(void)wait_status(pid);
			return err_set(e, FAULT_TIMEOUT, NULL, "the command did not end in time");
		}
		if (poll(p, 2, (int)left_ms) < 0 && errno != EINTR)
			return err_errno(e, errno, "waiting for a command");
		if (p[1].revents) {
			bool keep = out && len + 1 < size;

			n = keep ? read(from, out + len, size - 1 - len) :
				   read(from, waste, sizeof(waste));
			if (n > 0 && keep)
				len += (size_t)n;
			if (n <= 0)
				from = -1;
		} else if (p[0].revents) {
			break;
		}
	}
	if (out && size)
		out[len] = '\0';
	return wait_status(pid);
}

static int command_run_stdio(const char *const *argv, int timeout_ms, struct stdio io, int from,
			     char *out, size_t size, struct err *e)
{
	int64_t deadline = clock_mono_ns() + timeout_ms * NS_PER_MS;
	pid_t pid;
	int r = spawn(argv, io, &pid, e);

	if (r < 0)
		return r;
	if (from >= 0)
		(void)close(io.out); /* so that the pipe ends with the command; io.err is the same one */
	return wait_reading(pid, from, deadline, out, size, e);
}

int command_run(const char *const *argv, int timeout_ms, char *out, size_t size, struct err *e)
{
	CLEANUP(close_fdp) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	CLEANUP(close_fdp) int from = -1;
	int pipefd[2];

	if (out && size)
		out[0] = '\0';
	if (null < 0)
		return err_errno(e, errno, "/dev/null");
	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return err_errno(e, errno, "pipe");
	from = pipefd[0];
	return command_run_stdio(argv, timeout_ms, (struct stdio){ null, pipefd[1], pipefd[1] },
				 from, out, size, e);
}

/* ---- the runtime's verbs ---- */

#define ARGV(rt, ...)                                                                              \
	((const char *const[]){ (rt)->command, "--root", (rt)->root, __VA_ARGS__, NULL })

static int said(struct err *e, const char *verb, int status, const char *text)
{
	struct str t = str_of(text);

	while (t.len > 0 && (t.ptr[t.len - 1] == '\n' || t.ptr[t.len - 1] == ' '))
		t.len--;
	return err_set(e, FAULT_INTERNAL, NULL, "container runtime: %s failed (%d): %.*s", verb,
		       status, (int)MIN_OF(t.len, (size_t)500), t.ptr);
}

static pid_t row_pid(const json_t *row)
{
	const char *status = json_str(row, "status");
	int64_t pid = json_int(row, "pid", 0);

	return status && strcmp(status, "stopped") != 0 && pid > 0 && pid < INT_MAX ? (pid_t)pid : 0;
}

int runtime_list(const struct runtime *rt, struct runtime_row **ret, struct err *e)
{
	CLEANUP(free_charp) char *text = malloc(LIST_BYTES_MAX);
	CLEANUP(json_freep) json_t *j = NULL;
	struct runtime_row *rows;
	json_t *row;
	size_t i;
	int status;

	*ret = NULL;
	if (!text)
		return err_set(e, FAULT_NO_MEMORY, NULL, "list of containers");
	if (access(rt->root, F_OK) < 0)
		return 0;
	status = command_run(ARGV(rt, "list", "--format", "json"), COMMAND_TIMEOUT_MS, text,
			     LIST_BYTES_MAX, e);
	if (status != 0)
		return status < 0 ? status : said(e, "list", status, text);
	j = json_loads(text, JSON_DECODE_ANY, NULL); /* "null" when there are none */
	rows = calloc(json_array_size(j) + 1, sizeof(*rows));
	if (!rows)
		return err_set(e, FAULT_NO_MEMORY, NULL, "list of containers");
	json_array_foreach(j, i, row) {
		(void)str_copy(rows[i].id, sizeof(rows[i].id), str_of(json_str(row, "id")));
		(void)str_copy(rows[i].status, sizeof(rows[i].status), str_of(json_str(row, "status")));
		rows[i].pid = row_pid(row);
	}
	*ret = rows;
	return (int)json_array_size(j);
}

static int read_pid(const char *path, pid_t *ret, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;
	uint64_t pid = 0;
	int r = file_read(path, 64, &text, &size, e);

	if (r < 0)
		return r;
	if (str_to_u64(str_trim((struct str){ text, size }), INT_MAX, &pid) < 0 || pid == 0)
		return err_set(e, FAULT_INTERNAL, NULL, "container runtime left no process id");
	*ret = (pid_t)pid;
	return 0;
}

/* Why `create` failed: it shares the function's console, so its own words are read from its log file. */
static int create_failed(const char *log_path, int status, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;

	if (file_read(log_path, 65536, &text, &size, NULL) < 0 || size == 0)
		return said(e, "create", status, "no reason given");
	return said(e, "create", status, text);
}

int runtime_run(const struct runtime *rt, const char *id, const char *bundle_dir,
		const char *console_path, pid_t *ret_pid, struct err *e)
{
	char pid_file[PATH_MAX], log_file[PATH_MAX], text[1024];
	CLEANUP(close_fdp) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	CLEANUP(close_fdp)
	int console = open(console_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0622);
	int r;

	(void)snprintf(pid_file, sizeof(pid_file), "%s/pid", bundle_dir);
	(void)snprintf(log_file, sizeof(log_file), "%s/runtime.log", bundle_dir);
	(void)unlink(log_file);
	(void)unlink(pid_file);
	if (null < 0 || console < 0)
		return err_errno(e, errno, "%s", console_path);
	(void)fchmod(console, 0622); /* a function that is not root opens /dev/stdout by name */
	r = command_run_stdio(ARGV(rt, "--log", log_file, "create", "--bundle", bundle_dir,
				   "--pid-file", pid_file, id),
			      COMMAND_TIMEOUT_MS, (struct stdio){ null, console, console }, -1,
			      NULL, 0, e);
	if (r != 0)
		return r < 0 ? r : create_failed(log_file, r, e);
	r = read_pid(pid_file, ret_pid, e);
	if (r < 0)
		return r;
	r = command_run(ARGV(rt, "start", id), COMMAND_TIMEOUT_MS, text, sizeof(text), e);
	return r <= 0 ? r : said(e, "start", r, text);
}

int runtime_stop(const struct runtime *rt, const char *id, pid_t pid, int grace_ms, struct err *e)
{
	CLEANUP(close_fdp) int pidfd = process_open(pid);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	char text[1024];
	int r;

	if (pidfd < 0)
		return 0;
	r = command_run(ARGV(rt, "kill", id, "TERM"), COMMAND_TIMEOUT_MS, text, sizeof(text), e);
	if (r < 0)
		return r;
	(void)poll(&p, 1, r == 0 ? grace_ms : 0);
	return 0;
}

int runtime_delete(const struct runtime *rt, const char *id, struct err *e)
{
	char text[1024], dir[PATH_MAX];
	int r;

	(void)snprintf(dir, sizeof(dir), "%s/%s", rt->root, id);
	if (access(dir, F_OK) < 0 && errno == ENOENT)
		return 0;
	r = command_run(ARGV(rt, "delete", "--force", id), COMMAND_TIMEOUT_MS, text, sizeof(text), e);
	if (r == 0)
		return 0;
	/* A state without its file: create was killed before it was written. Nothing runs then; take it away. */
	if (r > 0 && strstr(text, "does not exist"))
		return tree_remove(dir, e);
	return r < 0 ? r : said(e, "delete", r, text);
}

void runtime_version(const struct runtime *rt, char *ret, size_t size)
{
	char text[256];
	struct str rest, line;
	int r = command_run((const char *const[]){ rt->command, "--version", NULL },
			    COMMAND_TIMEOUT_MS, text, sizeof(text), NULL);

	ret[0] = '\0';
	if (r != 0)
		return;
	line = str_cut(str_of(text), '\n', &rest); /* "runc version 1.1.5+ds1" */
	(void)snprintf(ret, size, "%.*s", (int)line.len, line.ptr);
}
