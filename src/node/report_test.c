/* SPDX-License-Identifier: Apache-2.0 */
#include "node/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "node/status.h"

/* What is said to the hub, and what is said again: the link and the things that are reported on are played here. */

#define SERVER "11111111-1111-4111-8111-111111111111"
#define PORT "22222222-2222-4222-8222-222222222222"
#define HEARTBEAT_MS 30000u

static struct {
	const char *port_text; /* changes: so does the port's status */
	char said[256]; /* "1:SPN 2:P": reports by number, with server, port, event, the node's figures */
	bool up;
} world;

/* ---- played parts ---- */

int link_client_send(struct link_client *l, const Demarc__V1__Frame *f)
{
	const Demarc__V1__Report *r = f->report;
	size_t len = strlen(world.said);

	assert_int_equal(f->body_case, DEMARC__V1__FRAME__BODY_REPORT);
	(void)snprintf(world.said + len, sizeof(world.said) - len, "%s%u:%.*s%.*s%.*s%s",
		       len ? " " : "", (unsigned)r->seq, (int)r->n_servers, "SS", (int)r->n_ports,
		       "PP", (int)r->n_events, "EE", r->node ? "N" : "");
	return world.up ? 0 : -1;
}

bool link_client_is_up(const struct link_client *l)
{
	return world.up;
}

uint32_t link_client_heartbeat_ms(const struct link_client *l)
{
	return HEARTBEAT_MS;
}

void status_each(struct node *n, status_fn fn, void *ctx)
{
	Demarc__V1__ServerStatus s = DEMARC__V1__SERVER_STATUS__INIT;
	Demarc__V1__PortStatus p = DEMARC__V1__PORT_STATUS__INIT;
	uint8_t bytes[128];
	size_t size;

	s.id = (char *)SERVER;
	size = demarc__v1__server_status__pack(&s, bytes);
	fn(ctx, STATUS_SERVER, SERVER, STR("same"), (struct str){ (const char *)bytes, size });
	p.id = (char *)PORT;
	size = demarc__v1__port_status__pack(&p, bytes);
	fn(ctx, STATUS_PORT, PORT, str_of(world.port_text), (struct str){ (const char *)bytes, size });
}

size_t status_counters(struct node *n, Demarc__V1__Counter *ret, size_t max)
{
	return 0;
}

size_t status_node(struct node *n, Demarc__V1__NodeStatus *ret, Demarc__V1__Counter *drops, size_t max)
{
	demarc__v1__node_status__init(ret);
	return 0;
}

size_t status_nics(struct node *n, struct status_nics *ret)
{
	return 0;
}

/* ---- the node ---- */

static int setup(void **state)
{
	struct node *n = calloc(1, sizeof(*n));
	struct err e = { 0 };

	assert_non_null(n);
	(void)snprintf(n->cfg.state_dir, sizeof(n->cfg.state_dir), "/tmp/demarc-report-test-XXXXXX");
	assert_non_null(mkdtemp(n->cfg.state_dir));
	assert_true(intent_open(n->cfg.state_dir, &n->intent, &n->frozen, &e) >= 0);
	assert_int_equal(reports_open(n, &e), 0);
	n->link = (struct link_client *)n; /* nobody looks into it */
	world.port_text = "a";
	world.up = true;
	world.said[0] = '\0';
	clock_freeze(1000 * NS_PER_S, 0);
	*state = n;
	return 0;
}

static int teardown(void **state)
{
	struct node *n = *state;

	reports_close(n);
	intent_close(n->intent);
	assert_int_equal(tree_remove(n->cfg.state_dir, NULL), 0);
	free(n);
	return 0;
}

static void expect(const char *said)
{
	assert_string_equal(world.said, said);
	world.said[0] = '\0';
}

static void a_cut_link_repeats_nothing_that_is_stored(void **state)
{
	struct node *n = *state;

	reports_link_up(n, 0);
	expect("1:SPN");
	reports_ack(n, 1);
	reports_flush(n);
	expect("");
	world.port_text = "b";
	reports_flush(n);
	expect("2:P");
	/* All of it is stored, acknowledged or not. */
	reports_link_up(n, 2);
	reports_flush(n);
	expect("");
	/* What changed while there was no link. */
	world.port_text = "c";
	reports_link_up(n, 2);
	expect("3:P");
}

static void what_was_on_its_way_is_said_again(void **state)
{
	struct node *n = *state;

	reports_link_up(n, 0);
	world.port_text = "b";
	reports_flush(n);
	expect("1:SPN 2:P");
	reports_link_up(n, 1);
	expect("3:P");
	/* The hub of a backup, and one that has never heard of us. */
	reports_link_up(n, 2);
	expect("4:P");
	reports_link_up(n, 0);
	expect("5:SPN");
	/* Somebody else has spoken in our name. */
	reports_link_up(n, 70);
	expect("71:SPN");
}

static void an_event_is_said_until_it_is_stored(void **state)
{
	struct node *n = *state;

	reports_link_up(n, 0);
	reports_event(n, "kind", "info", "server/" SERVER, "text");
	reports_flush(n);
	expect("1:SPN 2:E");
	reports_link_up(n, 1);
	expect("3:E");
	reports_link_up(n, 3);
	expect("");
	assert_int_equal(reports_n_events(n), 0);
}

/* With many nodes the hub asks for few heartbeats; figures are not sent more often. */
static void figures_of_the_node_wait_their_time(void **state)
{
	struct node *n = *state;

	reports_link_up(n, 0);
	expect("1:SPN");
	clock_warp(59 * NS_PER_S);
	reports_flush(n);
	expect("");
	clock_warp(2 * NS_PER_S);
	reports_flush(n);
	expect("2:N");
	/* After a cut, in the second half of the time. */
	clock_warp(100 * NS_PER_S);
	reports_link_up(n, 2);
	clock_warp(29 * NS_PER_S);
	reports_flush(n);
	expect("");
	clock_warp(32 * NS_PER_S);
	reports_flush(n);
	expect("3:N");
}

/* A hub that cannot store is not buried: what changes meanwhile is said once, when it has caught up. */
static void a_hub_that_is_behind_is_waited_for(void **state)
{
	static const char *const texts[] = { "a", "b" };
	struct node *n = *state;

	reports_link_up(n, 0);
	for (unsigned i = 1; i < 8; i++) {
		world.port_text = texts[i % 2];
		reports_flush(n);
	}
	expect("1:SPN 2:P 3:P 4:P 5:P 6:P 7:P 8:P");
	for (unsigned i = 8; i < 101; i++) {
		world.port_text = texts[i % 2];
		reports_event(n, "kind", "info", "server/" SERVER, "text");
		reports_flush(n);
	}
	clock_warp(100 * NS_PER_S);
	reports_flush(n);
	expect("");
	reports_ack(n, 1);
	expect("9:PEEN"); /* two of 93, as many as are printed */
	reports_ack(n, 9);
	reports_flush(n);
	expect("");
	assert_int_equal(reports_n_events(n), 0);
	/* What a cut connection never acknowledged is not counted on the next. */
	for (unsigned i = 0; i < 20; i++) {
		world.port_text = texts[i % 2];
		reports_flush(n);
	}
	world.said[0] = '\0';
	world.port_text = "c";
	reports_link_up(n, 9);
	expect("18:P");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_cut_link_repeats_nothing_that_is_stored, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_was_on_its_way_is_said_again, setup, teardown),
		cmocka_unit_test_setup_teardown(an_event_is_said_until_it_is_stored, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hub_that_is_behind_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(figures_of_the_node_wait_their_time, setup, teardown),
	};

	return cmocka_run_group_tests_name("node-report", tests, NULL, NULL);
}
