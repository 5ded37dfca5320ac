/* SPDX-License-Identifier: Apache-2.0 */

/* What is pinned: swept, left half done, of another release, read back as counters. */

#include "chain_lab.h"
#include "policy.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

static void test_sweep(void **state)
{
	set_chain("01", DP_FLIP_MOVE);
	expect_both(1000, "01");
	lab_reopen(&lab);
	dp_mark(lab.dp);
	lab_uplink(&lab, &lan, 1, 0);
	lab_uplink(&lab, &wan, 1, 0);
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(lab_entries(&lab, "ports"), 2);
	assert_int_equal(lab_entries(&lab, "attached"), 2);
	assert_int_equal(lab_entries(&lab, "chains"), 0);
	assert_int_equal(lab_entries(&lab, "port_class"), 0);
	assert_int_equal(lab_entries(&lab, "port_chain"), 0);
	assert_int_equal(lab_entries(&lab, "fdb"), 0);
	assert_int_equal(lab_entries(&lab, "nets"), 1);
	expect_both(1000, "");
}

static void junk(const char *map, const void *key, const void *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/%s", lab.pin, ABI_VERSION, map);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_update_elem(fd, key, value, BPF_ANY), 0);
	close(fd);
}

/* What a process leaves that is killed between two steps of a call; the sweep finds all of it. */
static void test_sweep_halves(void **state)
{
	static struct port_classifiers pc = { .n = 1, .c = { { .chain = 77 } } };
	static struct net_rec net = { .net = 1, .n_members = 1, .members = { { .ifindex = 4444 } } };
	struct fdb_key fk = { .net = 1, .mac = { 2, 9, 9, 9, 9, 9 } };
	struct fdb_rec fr = { .ifindex = (uint32_t)lan.host };
	struct addr_key ak = { .net = 1, .family = 4, .ip = { 1 } };
	struct addr_rec ar = { .ifindex = 4444 };
	struct policy_key mk = { .prefix_len = 32, .owner = 99 };
	struct policy_rule_key rk = { .slot = 99 };
	struct policy_rule rule = { 0 };
	struct policy_set set = { 0 };
	struct path_hop_key hk = { .path = 4000 };
	struct path_port_key pk = { .path = 4000, .ifindex = 4444 };
	struct port_chain ch = { .chain = 77, .last_path = 4000 };
	struct port_key at = { .ifindex = (uint32_t)lan.host };
	struct path_hop hop = { 0 };
	struct path_port pp = { 0 };
	uint32_t one = 1, ifx = 4444;
	struct frame f;

	junk("fdb", &fk, &fr);
	junk("addrs", &ak, &ar);
	junk("policy_trie", &mk, &set);
	junk("policy_rules", &rk, &rule);
	junk("path_hops", &hk, &hop);
	junk("path_ports", &pk, &pp);
	junk("port_chain", &ifx, &ch);
	junk("port_class", &at, &pc);
	junk("nets", &one, &net);
	dp_mark(lab.dp);
	lab_uplink(&lab, &lan, 1, 0);
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(lab_entries(&lab, "fdb"), 0);
	assert_int_equal(lab_entries(&lab, "addrs"), 0);
	assert_int_equal(lab_entries(&lab, "policy_trie"), 0);
	assert_int_equal(lab_entries(&lab, "policy_rules"), 0);
	assert_int_equal(lab_entries(&lab, "path_hops"), 0);
	assert_int_equal(lab_entries(&lab, "path_ports"), 0);
	assert_int_equal(lab_entries(&lab, "port_chain"), 0);
	assert_int_equal(lab_entries(&lab, "port_class"), 0);
	lab_uplink(&lab, &wan, 1, 0);
	lab_uplink(&lab, &lan, 1, 0);
	introduce_one(mac_x, &lan);
	assert_true(tport_recv(&wan, &f, 200)); /* both are members of the network again */
}

/* The pins of a release with another ABI go when everything has been set in this one. */
static void test_other_abi(void **state)
{
	char dir[96], path[128];
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "old", 4, 4, 1, NULL);

	snprintf(dir, sizeof(dir), "%s/v0", lab.pin);
	snprintf(path, sizeof(path), "%s/ports", dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);
	dp_mark(lab.dp);
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(access(dir, F_OK), -1);
}

static void test_not_bpffs(void **state)
{
	char dir[64];
	struct dp_config c = { .pin_dir = dir };
	struct dp *dp = NULL;

	snprintf(dir, sizeof(dir), "/tmp/demarc-not-bpffs-%d", (int)getpid());
	assert_true(dp_open(&c, &dp, &lab_err) < 0);
	assert_int_equal(lab_err.fault, FAULT_UNAVAILABLE);
	assert_non_null(strstr(lab_err.msg, "mount -t bpf"));
	assert_null(dp);
	assert_int_equal(access(c.pin_dir, F_OK), -1);
}

static void test_failed_first_open(void **state)
{
	char dir[64];
	struct dp_config c = { .pin_dir = dir, .max_ports = UINT32_MAX };
	struct dp *dp = NULL;

	snprintf(dir, sizeof(dir), "/sys/fs/bpf/demarc-test-failed-%d", (int)getpid());
	assert_true(dp_open(&c, &dp, &lab_err) < 0);
	assert_int_equal(lab_err.fault, FAULT_UNAVAILABLE);
	assert_int_equal(access(dir, F_OK), -1);
}

static void test_port_stats(void **state)
{
	struct dp_port_stats in[2], out[2];

	for (int pass = 0; pass < 2; pass++) {
		lab_reopen(&lab); /* forgets how fresh the counters are */
		OK(dp_port_stats(lab.dp, (ifindex){ fn[0].in.host }, &in[pass], &lab_err));
		OK(dp_port_stats(lab.dp, (ifindex){ fn[0].out.host }, &out[pass], &lab_err));
		if (pass)
			break;
		set_chain("0", DP_FLIP_MOVE);
		for (int i = 0; i < 10; i++)
			expect_path(false, true, 1000, "0");
	}
	assert_int_equal(in[1].tx_pkts - in[0].tx_pkts, 10);
	assert_int_equal(in[1].rx_pkts - in[0].rx_pkts, 0);
	assert_int_equal(out[1].rx_pkts - out[0].rx_pkts, 10);
	assert_int_equal(out[1].tx_pkts - out[0].tx_pkts, 0);
	assert_int_equal(in[1].tx_bytes - in[0].tx_bytes, out[1].rx_bytes - out[0].rx_bytes);
	assert_int_equal(in[1].drop_pkts - in[0].drop_pkts, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sweep, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_sweep_halves, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_other_abi, chain_setup, chain_teardown),
		cmocka_unit_test(test_not_bpffs),
		cmocka_unit_test(test_failed_first_open),
		cmocka_unit_test_setup_teardown(test_port_stats, chain_setup, chain_teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
