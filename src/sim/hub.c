/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "sim/sim.h"

/* The hub that a simulation starts, in state_dir/hub, always on the same port, and what it costs. */

#define START_S 60
#define HUB_FILES_KEPT                                                                             \
	512u /* by the hub, of each table, for what is no connection: http/server.c */
#define FRONTS_MAX 16u

void sim_pause_us(int64_t us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };

	(void)nanosleep(&t, NULL);
}

static int read_number(const char *path, uint64_t max, uint64_t *ret)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;
	int rc = file_read(path, 64, &text, &size, NULL);

	if (rc < 0)
		return rc;
	while (size && (text[size - 1] == '\n' || text[size - 1] == ' '))
		size--;
	return str_to_u64((struct str){ text, size }, max, ret);
}

/*
 * A front holds as many connections as one descriptor table; the kernel spreads them by a hash, so not quite evenly: an eighth more
 * than all nodes.
 */
static unsigned fronts_of(const struct sim *s)
{
	unsigned n = (unsigned)MAX_OF(sysconf(_SC_NPROCESSORS_ONLN), 1L);
	struct rlimit files;
	rlim_t room;

	if (s->o.n_fronts)
		return s->o.n_fronts;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max < 1u << 24) {
		room = files.rlim_max > 2 * HUB_FILES_KEPT ? files.rlim_max - HUB_FILES_KEPT :
							     files.rlim_max / 2;
		n = MAX_OF(n, (unsigned)((s->o.n_nodes + s->o.n_nodes / 8) / MAX_OF(room, (rlim_t)1) + 1));
	}
	return MIN_OF(n, FRONTS_MAX);
}

static _Noreturn void child(const struct sim *s, const char *dir, const char *log, const char *port)
{
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct rlimit files;
	char fronts[16];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setpgid(0, 0); /* Ctrl-C is for the parent, which looks at the hub before it ends it */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	(void)snprintf(fronts, sizeof(fronts), "%u", fronts_of(s));
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(126);
	(void)execl(s->o.hub_binary, "demarc-hub", "--data-dir", dir, "--listen", "127.0.0.1",
		    "--port", port, "--log-level", "warn", "--fronts", fronts, (char *)NULL);
	dprintf(STDERR_FILENO, "%s: %s\n", s->o.hub_binary, strerror(errno));
	_exit(127);
}

/* Somebody listens at the port. */
static bool answers(int port)
{
	FILE *f = fopen("/proc/net/tcp", "re");
	char line[256], want[40];
	bool found = false;

	(void)snprintf(want, sizeof(want), "0100007F:%04X 00000000:0000 0A", (unsigned)port & 0xffff);

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, want) != NULL;
	if (f)
		(void)fclose(f);
	return found;
}

int hub_start(struct sim *s, struct err *e)
{
	char dir[300], log[300], port_file[320], text[16] = "0";
	int64_t until = clock_mono_ns() + START_S * NS_PER_S;
	uint64_t port = 0;

	(void)snprintf(dir, sizeof(dir), "%.250s%s", *s->hub_dir ? s->hub_dir : s->o.state_dir,
		       *s->hub_dir ? "" : "/hub");
	(void)snprintf(log, sizeof(log), "%.250s/hub.log", s->o.state_dir);
	(void)snprintf(port_file, sizeof(port_file), "%s/port", dir);
	if (read_number(port_file, UINT16_MAX, &port) == 0)
		(void)snprintf(text, sizeof(text), "%u", (unsigned)port);
	s->hub = fork();
	if (s->hub == 0)
		child(s, dir, log, text);
	while (clock_mono_ns() < until && !sim_interrupted) {
		if (waitpid(s->hub, NULL, WNOHANG) == s->hub) {
			s->hub = 0;
			return err_set(e, FAULT_UNAVAILABLE, NULL, "the hub has ended: see %s", log);
		}
		if (read_number(port_file, UINT16_MAX, &port) == 0 && port && answers((int)port)) {
			s->port = (int)port;
			return 0;
		}
		sim_pause_us(10000);
	}
	if (sim_interrupted)
		return err_set(e, FAULT_UNAVAILABLE, NULL, "interrupted while the hub starts");
	return err_set(e, FAULT_TIMEOUT, NULL, "the hub does not listen: see %s", log);
}

void hub_kill(struct sim *s, int sig)
{
	if (s->hub <= 0)
		return;
	(void)kill(s->hub, sig);
	(void)waitpid(s->hub, NULL, 0);
	s->hub = 0;
}

/* ---- costs: proc(5) ---- */

/* utime and stime are fields 14 and 15; the second may hold anything and ends with the last ')'. */
static double cpu_of(const char *stat)
{
	const char *p = strrchr(stat, ')');
	struct str field, rest = str_of(p && *p ? p + 2 : "");
	uint64_t sum = 0, n = 0;

	for (int i = 3; i <= 15; i++) {
		field = str_cut(rest, ' ', &rest);
		if (i >= 14 && str_to_u64(field, UINT64_MAX, &n) == 0)
			sum += n;
	}
	return (double)sum / (double)sysconf(_SC_CLK_TCK);
}

/* "VmRSS:     1234 kB" */
static uint64_t rss_of(const char *status)
{
	const char *p = strstr(status, "VmRSS:");
	struct str rest, field = str_trim(str_of(p ? p + 6 : ""));
	uint64_t n = 0;

	return str_to_u64(str_cut(field, ' ', &rest), UINT64_MAX, &n) == 0 ? n : 0;
}

struct hub_cost process_cost(pid_t pid)
{
	struct hub_cost c = { 0 };
	char path[64], *text = NULL;
	size_t size = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid <= 0 || file_read(path, 4096, &text, &size, NULL) < 0)
		return c;
	c.cpu_s = cpu_of(text);
	free(text);
	text = NULL;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (file_read(path, 16384, &text, &size, NULL) < 0)
		return c;
	c.rss_kb = rss_of(text);
	free(text);
	return c;
}
