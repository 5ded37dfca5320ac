/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/capacity_run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"

#define OUT_MAX (16u << 20)
#define LOOK_MS 200
#define GRACE_S 5 /* from the request to end to SIGKILL */
#define MARK "demarc-capacity.lock"

/* ---- the programs ---- */

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Beside this program, as installed; in the sister folder, as built. name: "demarc-sim", whose folder is sim. */
static bool beside(const char *name, char ret[static RUN_PATH_MAX])
{
	char self[RUN_PATH_MAX] = "";
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash = n > 0 ? strrchr(self, '/') : NULL;
	const char *dash = strchr(name, '-');

	if (!slash || !dash)
		return false;
	*slash = '\0';
	(void)snprintf(ret, RUN_PATH_MAX, "%.400s/%.40s", self, name);
	if (is_program(ret))
		return true;
	(void)snprintf(ret, RUN_PATH_MAX, "%.400s/../%.40s/%.40s", self, dash + 1, name);
	return is_program(ret);
}

static bool in_path(const char *name, char ret[static RUN_PATH_MAX])
{
	struct str rest = str_of(getenv("PATH"));

	while (rest.len) {
		struct str dir = str_cut(rest, ':', &rest);

		(void)snprintf(ret, RUN_PATH_MAX, "%.*s/%.40s", (int)MIN_OF(dir.len, (size_t)400),
			       dir.ptr, name);
		if (dir.len && dir.ptr[0] == '/' && is_program(ret))
			return true;
	}
	return false;
}

int run_find(const struct cli *c, const char *name, const char *option,
	     char ret[static RUN_PATH_MAX], struct err *e)
{
	const char *given = cli_option(c, option);

	if (given && str_copy(ret, RUN_PATH_MAX, str_of(given)) == 0 && is_program(ret))
		return 0;
	if (given)
		return err_set(e, FAULT_NOT_FOUND, option, "%.400s is not a program", given);
	if (beside(name, ret) || in_path(name, ret))
		return 0;
	return err_set(e, FAULT_NOT_FOUND, NULL,
		       "%s is not installed: it is in the package demarc, beside this command; or name it with --%s FILE",
		       name, option);
}

/* ---- the child ---- */

/* No OS_* of the caller: it would lead the simulator's requests to the hub that is in use. */
static void forget_cloud(void)
{
	char name[128];

	for (char **v = environ; v && *v;) {
		struct str value;

		if (strncmp(*v, "OS_", 3) == 0 &&
		    str_copy(name, sizeof(name), str_cut(str_of(*v), '=', &value)) == 0 &&
		    unsetenv(name) == 0)
			v = environ; /* the list has moved */
		else
			v++;
	}
}

static _Noreturn void child_main(const char *const argv[], int out, int err)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)setpgid(0, 0); /* so that Ctrl-C is for this command, which asks it to end */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	forget_cloud();
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(err, STDERR_FILENO) < 0)
		_exit(126);
	(void)execv(argv[0], (char *const *)(uintptr_t)argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Whole lines; what is longer is cut, what a terminal would act upon is left out. */
struct lines {
	char text[200];
	size_t n;
};

static void take_words(struct lines *l, const char *text, size_t n, struct progress *p,
		       struct run_words *said)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char ch = (unsigned char)text[i];

		if (ch != '\n') {
			if (ch >= 0x20 && ch != 0x7f && l->n < sizeof(l->text) - 1)
				l->text[l->n++] = (char)ch;
			continue;
		}
		l->text[l->n] = '\0';
		l->n = 0;
		if (*l->text) {
			(void)str_copy(said->line, sizeof(said->line), str_trim(str_of(l->text)));
			progress_tick(p, said->line);
		}
	}
}

/* True at the end of the stream. */
static bool take(int fd, struct strbuf *out, struct lines *l, struct progress *p, struct run_words *said)
{
	char buf[16384];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n > 0 && out)
		strbuf_add(out, buf, (size_t)n);
	else if (n > 0)
		take_words(l, buf, (size_t)n, p, said);
	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

struct child {
	pid_t pid;
	int out, err;
};

/* Until both streams have ended, or the child was told to end and has not. */
static void listen_to(const struct child *ch, struct strbuf *out, struct progress *p,
		      struct run_words *said)
{
	struct pollfd fds[] = { { .fd = ch->out, .events = POLLIN },
				{ .fd = ch->err, .events = POLLIN } };
	int64_t until = INT64_MAX;
	struct lines l = { 0 };

	while ((fds[0].fd >= 0 || fds[1].fd >= 0) && clock_mono_ns() < until) {
		int n = poll(fds, ARRAY_LEN(fds), LOOK_MS);

		if (until == INT64_MAX && (cli_interrupted() || out->error)) {
			(void)kill(ch->pid, SIGTERM);
			until = clock_mono_ns() + GRACE_S * NS_PER_S;
		}
		for (size_t i = 0; n > 0 && i < ARRAY_LEN(fds); i++)
			if (fds[i].fd >= 0 && fds[i].revents &&
			    take(fds[i].fd, i == 0 ? out : NULL, &l, p, said))
				fds[i].fd = -1;
	}
}

/* The child, and what it left: this process is the reaper of its orphans. Returns the child's status. */
static int end_all(pid_t pid)
{
	int64_t until = clock_mono_ns() + GRACE_S * NS_PER_S;
	int status = -1, any;
	pid_t got = 0;

	while (got != pid && got != -1 && clock_mono_ns() < until) {
		got = waitpid(pid, &status, WNOHANG);
		if (got == 0)
			(void)poll(NULL, 0, 10);
	}
	(void)kill(-pid, SIGKILL);
	if (got == 0)
		(void)waitpid(pid, &status, 0);
	while (waitpid(-pid, &any, 0) > 0)
		(void)kill(-pid, SIGKILL);
	return status;
}

static int start(const char *const argv[], struct child *ch, struct err *e)
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 };

	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		goto failed;
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	ch->pid = fork();
	if (ch->pid < 0)
		goto failed;
	if (ch->pid == 0)
		child_main(argv, out[1], err[1]);
	(void)setpgid(ch->pid, ch->pid); /* whoever is first */
	close_fdp(&out[1]);
	close_fdp(&err[1]);
	ch->out = out[0];
	ch->err = err[0];
	return 0;
failed:
	for (int i = 0; i < 2; i++) {
		close_fdp(&out[i]);
		close_fdp(&err[i]);
	}
	return err_errno(e, errno, "cannot start %s", argv[0]);
}

int run_child(const char *const argv[], struct progress *p, struct strbuf *out,
	      struct run_words *said, struct err *e)
{
	struct child ch = { .pid = -1, .out = -1, .err = -1 };
	int status, rc = start(argv, &ch, e);

	if (rc < 0)
		return rc;
	said->line[0] = '\0';
	out->limit_bytes = OUT_MAX;
	listen_to(&ch, out, p, said);
	status = end_all(ch.pid);
	close_fdp(&ch.out);
	close_fdp(&ch.err);
	if (cli_interrupted())
		return err_set(e, FAULT_UNAVAILABLE, NULL, "interrupted");
	if (out->error)
		return err_set(e, FAULT_TOO_LARGE, NULL, "%s printed more than %u bytes", argv[0],
			       OUT_MAX);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* ---- the state directory ---- */

static int take_kept(struct run_state *s, struct err *e)
{
	char mark[RUN_PATH_MAX + 32];

	(void)snprintf(mark, sizeof(mark), "%s/" MARK, s->dir);
	if (access(mark, F_OK) < 0)
		return err_set(e, FAULT_CONFLICT, "state-dir",
			       "%s is there and not of an earlier demarc capacity --keep: name one that does not exist",
			       s->dir);
	return 0;
}

static int make_dir(const char *given, struct run_state *s, struct err *e)
{
	const char *tmp = getenv("TMPDIR");

	if (given && str_copy(s->dir, sizeof(s->dir) - 64, str_of(given)) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "state-dir", "the name is too long");
	if (!given) {
		/* Not in memory: the hub's store is on a disk, too. */
		(void)snprintf(s->dir, sizeof(s->dir), "%.400s/demarc-capacity-XXXXXX",
			       tmp && *tmp == '/' ? tmp : "/var/tmp");
		s->is_made = mkdtemp(s->dir) != NULL;
	} else if (mkdir(given, 0700) == 0) {
		s->is_made = true;
	} else if (errno == EEXIST) {
		return take_kept(s, e);
	}
	return s->is_made ? 0 : err_errno(e, errno, "cannot make %s", s->dir);
}

int run_state_open(const struct cli *c, struct run_state *s, struct err *e)
{
	char mark[RUN_PATH_MAX + 32];
	int rc;

	*s = (struct run_state){ .lock_fd = -1 };
	rc = make_dir(cli_option(c, "state-dir"), s, e);
	if (rc < 0)
		return rc;
	(void)snprintf(mark, sizeof(mark), "%s/" MARK, s->dir);
	if (access("/dev/shm", W_OK) == 0)
		(void)snprintf(s->scratch, sizeof(s->scratch), "/dev/shm/demarc-capacity-%d",
			       (int)getpid());
	else
		(void)snprintf(s->scratch, sizeof(s->scratch), "%.440s/scratch", s->dir);
	return file_lock(mark, "demarc capacity", &s->lock_fd, e);
}

void run_state_close(struct run_state *s, bool keep)
{
	struct err e = { 0 };

	if (*s->scratch)
		(void)!tree_remove(s->scratch, NULL);
	if (s->is_made && !keep && tree_remove(s->dir, &e) < 0)
		fprintf(stderr, "demarc: %s\n", e.msg);
	close_fdp(&s->lock_fd);
}

/* ---- the machine ---- */

/* "MemAvailable:   123456 kB" of proc(5); cgroups(7): memory.max is bytes, or "max". 0: not known. */
static double read_mb(const char *path, const char *key, double per_mb)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;
	struct str rest;
	uint64_t n = 0;
	const char *at;

	if (file_read(path, 65536, &text, &size, NULL) < 0)
		return 0;
	at = strstr(text, key);
	if (!at)
		return 0;
	rest = str_trim(str_cut(str_of(at + strlen(key)), '\n', &rest));
	if (str_to_u64(str_cut(rest, ' ', &rest), UINT64_MAX, &n) < 0)
		return 0;
	return (double)n / per_mb;
}

struct run_machine run_machine(void)
{
	struct run_machine m = { .n_cpus = (double)sysconf(_SC_NPROCESSORS_ONLN),
				 .memory_mb = read_mb("/proc/meminfo", "MemAvailable:", 1024) };
	double bound = read_mb("/sys/fs/cgroup/memory.max", "", 1024.0 * 1024);
	struct rlimit files = { .rlim_max = 1024 };

	if (bound > 0 && bound < m.memory_mb)
		m.memory_mb = bound;
	(void)getrlimit(RLIMIT_NOFILE, &files);
	if (getloadavg(&m.load, 1) != 1)
		m.load = 0;
	/* As the hub: without a limit it takes what a port has numbers for. */
	m.files = files.rlim_max > 1u << 24 ? 65536 : (double)files.rlim_max;
	return m;
}
