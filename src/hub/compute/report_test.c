/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/compute/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"

#define RUNNING DEMARC__V1__SERVER_STATE__SERVER_RUNNING
#define STOPPED DEMARC__V1__SERVER_STATE__SERVER_STOPPED
#define FAILED DEMARC__V1__SERVER_STATE__SERVER_FAILED

struct fixture {
	char folder[64], path[96];
	struct store *store;
	struct db *db;
	struct arena *arena;
};

static void sql(struct fixture *f, const char *text)
{
	struct err e = { 0 };

	if (db_exec(f->db, &e, text, "") < 0)
		fail_msg("%s: %s", text, e.msg);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e;

	snprintf(f->folder, sizeof(f->folder), "/tmp/demarc-report-test-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/hub.db", f->folder);
	assert_int_equal(store_open(f->path, &f->store, &e), 0);
	assert_int_equal(db_open(f->store, &f->db, &e), 0);
	f->arena = arena_new(1 << 20);
	sql(f, "INSERT INTO site (id, name, created_us, updated_us) VALUES ('z', 'branch', 0, 0)");
	sql(f, "INSERT INTO node (id, name, site_id, created_us, updated_us) VALUES "
	       "('n', 'node-a', 'z', 0, 0)");
	sql(f, "INSERT INTO server (id, name, hostname, project_id, user_id, image_id, flavor, node_id, "
	       "task_state, created_us, updated_us) VALUES ('s', 'fw', 'fw', 'p', 'u', 'i', '{}', 'n', "
	       "'spawning', 0, 0)");
	sql(f, "INSERT INTO intent_object (node_id, kind, id, version, body) VALUES "
	       "('n', 'server', 's', 5, x'')");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct err e;
	int rc;

	arena_free(f->arena);
	db_close(f->db);
	store_close(f->store);
	rc = tree_remove(f->folder, &e);
	free(f);
	return rc;
}

static int report(struct fixture *f, Demarc__V1__ServerState state, uint64_t version,
		  uint64_t reboots, const char *fault)
{
	Demarc__V1__ServerStatus s = DEMARC__V1__SERVER_STATUS__INIT;
	struct err e;
	int rc;

	s.id = (char *)"s";
	s.state = state;
	s.version = version;
	s.reboot_generation = reboots;
	s.fault = (char *)fault;
	s.started_us = 7000000;
	rc = compute_report(f->db, "n", &s, &e);
	assert_true(rc >= 0);
	return rc;
}

/* "vm_state/task_state/power_state" */
static void expect(struct fixture *f, const char *want)
{
	const char *text = "";
	struct err e;

	assert_int_equal(db_get_text(f->db, f->arena, &text, &e,
				     "SELECT vm_state || '/' || COALESCE(task_state, '') || '/' || "
				     "power_state FROM server WHERE id = 's'",
				     ""),
			 1);
	assert_string_equal(text, want);
}

static void a_build_ends_when_it_runs(void **state)
{
	struct fixture *f = *state;
	int64_t launched = 0;
	struct err e;

	assert_int_equal(report(f, RUNNING, 4, 0, ""), 0); /* of an older intent */
	expect(f, "building/spawning/0");
	assert_int_equal(report(f, STOPPED, 5, 0, ""), 0); /* a stage on the way up */
	assert_int_equal(report(f, RUNNING, 5, 0, ""), 1);
	expect(f, "active//1");
	assert_int_equal(report(f, RUNNING, 5, 0, ""), 0); /* a repeat */
	assert_int_equal(db_get_int(f->db, &launched, &e, "SELECT launched_us FROM server", ""), 1);
	assert_int_equal(launched, 7000000);
}

static void a_stop_is_not_undone_by_an_old_report(void **state)
{
	struct fixture *f = *state;

	sql(f, "UPDATE server SET vm_state = 'active', power = 'stopped', task_state = 'powering-off'");
	sql(f, "UPDATE intent_object SET version = 6");
	assert_int_equal(report(f, RUNNING, 5, 0, ""), 0);
	assert_int_equal(report(f, RUNNING, 6, 0, ""), 0); /* heard of it, not done yet */
	expect(f, "active/powering-off/0");
	assert_int_equal(report(f, STOPPED, 6, 0, ""), 1);
	expect(f, "stopped//4");
}

static void a_reboot_ends_with_its_generation(void **state)
{
	struct fixture *f = *state;

	sql(f, "UPDATE server SET vm_state = 'active', task_state = 'rebooting', reboot_generation = 2");
	assert_int_equal(report(f, RUNNING, 5, 1, ""), 0);
	assert_int_equal(report(f, STOPPED, 5, 1, ""), 0);
	expect(f, "active/rebooting/0");
	assert_int_equal(report(f, RUNNING, 5, 2, ""), 1);
	expect(f, "active//1");
}

static void a_failure_tells_why_and_is_overcome(void **state)
{
	struct fixture *f = *state;
	const char *fault = NULL;
	struct err e;

	assert_int_equal(report(f, FAILED, 5, 0, "the archive is corrupt"), 1);
	expect(f, "error//0");
	assert_int_equal(db_get_text(f->db, f->arena, &fault, &e,
				     "SELECT json_extract(fault, '$.message') FROM server", ""),
			 1);
	assert_string_equal(fault, "the archive is corrupt");
	assert_int_equal(report(f, RUNNING, 5, 0, ""), 1);
	expect(f, "active//1");
	assert_int_equal(db_get_int(f->db, &(int64_t){ 0 }, &e,
				    "SELECT 1 FROM server WHERE fault IS NULL", ""),
			 1);
}

static void strangers_change_nothing(void **state)
{
	struct fixture *f = *state;
	Demarc__V1__ServerStatus s = DEMARC__V1__SERVER_STATUS__INIT;
	struct err e;

	s.id = (char *)"s";
	s.state = RUNNING;
	s.version = 5;
	assert_int_equal(compute_report(f->db, "another", &s, &e), 0);
	s.id = (char *)"gone";
	assert_int_equal(compute_report(f->db, "n", &s, &e), 0);
	expect(f, "building/spawning/0");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_build_ends_when_it_runs),	      T(a_stop_is_not_undone_by_an_old_report),
		T(a_reboot_ends_with_its_generation), T(a_failure_tells_why_and_is_overcome),
		T(strangers_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
