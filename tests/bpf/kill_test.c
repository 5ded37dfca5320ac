/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A writer that is killed between any two of its steps, again and again. Whoever comes next sets what is
 * wanted and sweeps, and then the maps hold exactly what they would hold had nothing ever happened.
 */

#include "lab.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_PORTS 8
#define ROUNDS 25
#define STEPS_MAX 40

static struct lab lab;
static struct tport port[N_PORTS];

static int setup(void **state)
{
	lab_open(&lab);
	for (int i = 0; i < N_PORTS; i++) {
		uint8_t mac[6] = { 2, 0, 0, 0, 7, (uint8_t)i };

		tport_make(&port[i], 80000 + i, mac, -1, "eth0");
	}
	return 0;
}

static int teardown(void **state)
{
	for (int i = 0; i < N_PORTS; i++) {
		link_del(port[i].host);
		tport_free(&port[i]);
	}
	lab_close(&lab);
	return 0;
}

static int set_port(struct dp *dp, int i, unsigned int v)
{
	struct dp_port p = { .ifindex = { port[i].host },
			     .net = (uint16_t)(1 + v % 3),
			     .flags = v & 4 ? DP_PORT_SECURITY : 0,
			     .n_addrs = v % 3,
			     .n_sgs = 1,
			     .sgs = { 1 + v % 2 } };
	struct dp_net n = { .net = p.net, .mtu = 1500 };

	memcpy(p.mac.b, port[i].mac, 6);
	for (size_t j = 0; j < p.n_addrs; j++) {
		p.addrs[j].mac = p.mac;
		p.addrs[j].own = true;
		p.addrs[j].ip =
			(struct ip_cidr){ { IP_V4, { 10, (uint8_t)j, (uint8_t)v, (uint8_t)i } }, 32 };
	}
	if (dp_net_set(dp, &n, NULL) < 0)
		return -1;
	return dp_port_set(dp, &p, NULL);
}

static int set_group(struct dp *dp, uint32_t sg, unsigned int v)
{
	struct dp_sg_rule r[3] = { { .egress = true, .family = IP_V4 },
				   { .family = IP_V4, .remote_sg = sg },
				   { .family = IP_V6 } };
	struct ip_addr m[4];

	for (unsigned int i = 0; i < 4; i++)
		m[i] = (struct ip_addr){ IP_V4, { 10, 9, (uint8_t)v, (uint8_t)i } };
	return dp_sg_set(dp, sg, r, 1 + v % 3, m, v % 5, NULL);
}

static int set_chain(struct dp *dp, uint16_t chain, unsigned int v)
{
	struct dp_path p = { .chain = chain, .symmetric = v & 1, .n_hops = v % 3, .n_classifiers = 1 };
	int base = chain == 1 ? 0 : 4;

	for (size_t i = 0; i < p.n_hops; i++) {
		p.hops[i].n_pairs = 1;
		p.hops[i].pairs[0] = (struct dp_pair){
			{ port[base + (int)i].host }, { port[base + (int)i + 1].host }, 1, v & 2
		};
	}
	p.classifiers[0] = (struct dp_classifier){ .src_port = { port[base + 3].host },
						   .dst_port = { port[base].host } };
	return dp_chain_set(dp, &p, v & 4 ? DP_FLIP_KEEP : DP_FLIP_MOVE, NULL, NULL);
}

static unsigned int any(void)
{
	unsigned int v;

	random_bytes(&v, sizeof(v));
	return v;
}

static void random_step(struct dp *dp)
{
	unsigned int v = any();

	switch (any() % 8) {
	case 0:
		(void)!dp_port_del(dp, (ifindex){ port[v % N_PORTS].host }, NULL);
		break;
	case 1:
		(void)!dp_chain_del(dp, (uint16_t)(1 + v % 2), NULL);
		break;
	case 2:
		(void)!dp_sg_del(dp, 1 + v % 2, NULL);
		break;
	case 3:
		(void)!set_group(dp, 1 + v % 2, v / 2);
		break;
	case 4:
	case 5:
		(void)!set_chain(dp, (uint16_t)(1 + v % 2), v / 2);
		break;
	default:
		(void)!set_port(dp, (int)(v % N_PORTS), v / N_PORTS);
		break;
	}
}

/* The writer: says after each step that it is done, and goes on until it is killed. */
static void writer(int say)
{
	struct dp_config c = { .pin_dir = lab.pin };
	struct dp *dp;

	if (dp_open(&c, &dp, NULL) < 0)
		_exit(1);
	for (;;) {
		random_step(dp);
		if (write(say, "", 1) != 1)
			_exit(1);
	}
}

static void kill_a_writer(unsigned int steps)
{
	int fd[2], status;
	char c;
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(fd[0]);
		writer(fd[1]);
	}
	close(fd[1]);
	for (unsigned int i = 0; i < steps; i++)
		assert_int_equal(read(fd[0], &c, 1), 1);
	assert_int_equal(kill(pid, SIGKILL), 0); /* in the middle of whatever it does now */
	close(fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void set_wanted(struct dp *dp)
{
	dp_mark(dp);
	for (uint32_t g = 1; g <= 2; g++)
		OK(set_group(dp, g, 4));
	for (int i = 0; i < 6; i++)
		OK(set_port(dp, i, (unsigned int)i));
	OK(set_chain(dp, 1, 2));
	OK(dp_sweep(dp, &lab_err));
}

/* Not compared: paths that were replaced live a few seconds more; flows and counters are not configuration. */
static bool compared(const char *map)
{
	static const char *const skip[] = { "flow4",   "flow6",	    "fdb_learned", "frags",
					    "sources", "rejects",   "expects",	   "path_flows",
					    "paths",   "path_hops", "path_ports" };

	for (size_t i = 0; i < sizeof(skip) / sizeof(skip[0]); i++)
		if (!strcmp(map, skip[i]))
			return false;
	return true;
}

static void test_killed(void **state)
{
	struct dp_map_count want[32], got[32];
	int n;

	set_wanted(lab.dp);
	n = OK(dp_map_counts(lab.dp, want, 32, &lab_err));
	for (int round = 0; round < ROUNDS; round++) {
		kill_a_writer(1 + any() % STEPS_MAX);
		lab_reopen(&lab);
		set_wanted(lab.dp);
		assert_int_equal(OK(dp_map_counts(lab.dp, got, 32, &lab_err)), n);
		for (int i = 0; i < n; i++)
			if (compared(want[i].name) && want[i].n_entries != got[i].n_entries)
				fail_msg("round %d: %s has %lu entries, not %lu", round,
					 want[i].name, (unsigned long)got[i].n_entries,
					 (unsigned long)want[i].n_entries);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
