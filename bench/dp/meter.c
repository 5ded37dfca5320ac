/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Processor time of this process and of others, in nanoseconds. Packets of in-kernel systems are forwarded in the source's own context, so
 * that the source's time is the system's; daemons and ksoftirqd are read from /proc, thread by thread. Foreign load does not enter.
 */

#include "bench.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void meter_init(struct meter *m, const char *pids)
{
	struct str rest = str_of(pids);

	*m = (struct meter){ 0 };
	while (rest.len && m->n < METERS_MAX) {
		struct str one = str_cut(rest, ',', &rest);
		uint64_t pid;

		if (str_to_u64(one, 1 << 22, &pid))
			fail("meter", "not a list of process ids");
		m->pid[m->n++] = (int)pid;
	}
}

static uint64_t own_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* First field of schedstat: time on a processor; 0 when the thread is gone. */
static uint64_t thread_ns(const char *path)
{
	char line[128] = "";
	struct str rest;
	uint64_t ns = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f) ||
	    str_to_u64(str_cut(str_of(line), ' ', &rest), UINT64_MAX, &ns))
		ns = 0;
	fclose(f);
	return ns;
}

static uint64_t process_ns(int pid)
{
	char path[320];
	struct dirent *t;
	uint64_t sum = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (t = readdir(d))) {
		if (t->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, t->d_name);
		sum += thread_ns(path);
	}
	if (d)
		closedir(d);
	return sum;
}

/* Unsigned wrap: stop adds what start took away. */
void meter_start(struct meter *m)
{
	for (size_t i = 0; i < m->n; i++)
		m->other_ns[i] -= process_ns(m->pid[i]);
	m->own_ns -= own_ns();
	m->wall_ns -= now_ns();
}

void meter_stop(struct meter *m)
{
	m->wall_ns += now_ns();
	m->own_ns += own_ns();
	for (size_t i = 0; i < m->n; i++)
		m->other_ns[i] += process_ns(m->pid[i]);
}
