/* SPDX-License-Identifier: Apache-2.0 */
#include "link/client_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* When the client dials, and what goes first: its clock stands still, and what carries its words is played here. */

static struct {
	uv_loop_t loop;
	struct link_client l;
	char *hubs[2];
	char told[256]; /* "D F B1 H": a dial, a frame, data of stream 1 (c1: its end), a hang-up; "T": a ticket, "K": it is killed */
	bool child, busy;
} world;

static int play_start(struct link_client *l)
{
	return 0;
}

static void note(char kind, uint64_t stream)
{
	size_t len = strlen(world.told);
	char number[24] = "";

	if (stream)
		(void)snprintf(number, sizeof(number), "%u", (unsigned)stream);
	(void)snprintf(world.told + len, sizeof(world.told) - len, "%s%c%s", len ? " " : "", kind,
		       number);
}

/* frame_decode() is for what the hub says: this is the other way. */
static void note_bulk(struct str payload)
{
	Demarc__V1__Frame *f =
		demarc__v1__frame__unpack(NULL, payload.len, (const uint8_t *)payload.ptr);

	assert_non_null(f);
	if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_DATA)
		note('B', f->stream_data->id);
	else
		note('c', f->stream_close->id);
	demarc__v1__frame__free_unpacked(f, NULL);
}

static int play_tell(struct link_client *l, enum pipe_kind kind, struct str payload)
{
	if (kind == PIPE_BULK)
		note_bulk(payload);
	else
		note(kind == PIPE_DIAL	 ? 'D' :
		     kind == PIPE_HANGUP ? 'H' :
		     kind == PIPE_TICKET ? 'T' :
					   'F',
		     0);
	return 0;
}

static void play_nothing(struct link_client *l)
{
}

static const struct link_carrier played = { play_start, play_tell, play_nothing, play_nothing };

static void on_up(void *ctx)
{
}

static void on_down(void *ctx, const char *reason)
{
}

static void on_frame(void *ctx, const Demarc__V1__Frame *f)
{
}

static int setup(void **state)
{
	struct link_client *l = &world.l;

	memset(&world, 0, sizeof(world));
	clock_freeze(1000 * NS_PER_S, 0);
	assert_int_equal(uv_loop_init(&world.loop), 0);
	l->loop = &world.loop;
	l->carrier = &played;
	l->ops = (struct link_client_ops){ .up = on_up, .down = on_down, .frame = on_frame };
	world.hubs[0] = (char *)"https://198.51.100.1:8443";
	world.hubs[1] = (char *)"https://198.51.100.2:8443";
	l->hubs = world.hubs;
	l->n_hubs = 1;
	l->netlink_fd = -1;
	assert_int_equal(uv_timer_init(&world.loop, &l->timer), 0);
	l->timer.data = l;
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	client_lost(&world.l, "the end");
	intent_parts_clear(&world.l.parts);
	uv_close((uv_handle_t *)&world.l.timer, NULL);
	assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&world.loop), 0);
	return 0;
}

static void hear(struct link_client *l, enum pipe_kind kind, struct str payload)
{
	struct pipe_head h = { .size = (uint32_t)payload.len, .gen = l->gen, .kind = kind };

	client_take(l, &h, payload);
}

static void hear_frame(struct link_client *l, const Demarc__V1__Frame *f)
{
	CLEANUP(free_voidp) uint8_t *data = NULL;
	size_t size;

	assert_int_equal(frame_encode(f, &data, &size), 0);
	hear(l, PIPE_FRAME, (struct str){ (const char *)data, size });
}

static void hear_goodbye(struct link_client *l, uint32_t retry_after_ms)
{
	Demarc__V1__Goodbye bye = DEMARC__V1__GOODBYE__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	bye.reason = (char *)"too many nodes";
	bye.retry_after_ms = retry_after_ms;
	f.body_case = DEMARC__V1__FRAME__BODY_GOODBYE;
	f.goodbye = &bye;
	hear_frame(l, &f);
}

static void dialling(struct link_client *l)
{
	l->state = LINK_DIALLING;
	l->gen++;
	l->since_ns = clock_mono_ns();
}

static void up(struct link_client *l)
{
	dialling(l);
	hear(l, PIPE_UP, STR(""));
	l->said_hello = true;
	world.told[0] = '\0';
}

/* Hints at each second until then change nothing. */
static void expect_wait_is_kept(struct link_client *l, int64_t seconds)
{
	int64_t at = l->dial_at_ns;

	assert_true(at >= clock_mono_ns() + seconds * NS_PER_S);
	assert_true(at <= clock_mono_ns() + (seconds + seconds / 8 + 1) * NS_PER_S);
	for (int64_t i = 0; i < seconds; i++) {
		clock_warp(NS_PER_S);
		client_hint(l);
		assert_int_equal(l->state, LINK_WAITING);
		assert_int_equal(l->dial_at_ns, at);
	}
}

static void expect_hint_is_taken(struct link_client *l)
{
	clock_warp(NS_PER_S);
	l->dial_at_ns = clock_mono_ns() + 20 * NS_PER_S; /* as after a long time without a hub */
	client_hint(l);
	assert_int_equal(l->dial_at_ns, clock_mono_ns());
}

static void a_change_of_routes_ends_a_wait_of_our_own(void **state)
{
	struct link_client *l = *state;

	dialling(l);
	hear(l, PIPE_DOWN, STR("connection refused"));
	expect_hint_is_taken(l);
}

static void a_busy_hub_is_given_its_time(void **state)
{
	struct link_client *l = *state;

	dialling(l);
	hear(l, PIPE_RETRY, STR("30000"));
	hear(l, PIPE_DOWN, STR("the hub is busy"));
	expect_wait_is_kept(l, 30);
	/* Once only: what the hub said then says nothing of the next attempt. */
	dialling(l);
	hear(l, PIPE_DOWN, STR("connection refused"));
	expect_hint_is_taken(l);
}

static void who_was_sent_away_stays_away(void **state)
{
	struct link_client *l = *state;

	dialling(l);
	hear(l, PIPE_UP, STR(""));
	hear_goodbye(l, 60000);
	hear(l, PIPE_DOWN, STR("closed by the hub"));
	expect_wait_is_kept(l, 60);
	dialling(l);
	hear(l, PIPE_UP, STR(""));
	hear_goodbye(l, 0);
	hear(l, PIPE_DOWN, STR("closed by the hub"));
	expect_hint_is_taken(l);
}

/* The word of one of two hubs is for the node, whichever is next. */
static void the_other_hub_is_not_asked_earlier(void **state)
{
	struct link_client *l = *state;

	l->n_hubs = 2;
	dialling(l);
	hear(l, PIPE_RETRY, STR("30000"));
	hear(l, PIPE_DOWN, STR("the hub is busy"));
	expect_wait_is_kept(l, 30);
}

/* When the next attempt is, and with which hub. */
static void expect_dial(const struct link_client *l, size_t hub, uint32_t min_ms, uint32_t max_ms)
{
	assert_int_equal(l->state, LINK_WAITING);
	assert_int_equal(l->hub, hub);
	assert_in_range(l->dial_at_ns - clock_mono_ns(), min_ms * NS_PER_MS, max_ms * NS_PER_MS);
}

/* All nodes of a hub lose it at the same instant: none is back at once, however many hubs it knows. */
static void a_hub_that_worked_is_not_asked_at_once(void **state)
{
	struct link_client *l = *state;

	for (l->n_hubs = 1; l->n_hubs <= 2; l->n_hubs++) {
		backoff_reset(&l->backoff);
		up(l);
		hear(l, PIPE_DOWN, STR("closed"));
		expect_dial(l, 0, BACKOFF_MIN_MS, 3 * BACKOFF_MIN_MS);
	}
	/* It is not there: the other one at once, then they are waited for. */
	l->n_hubs = 2;
	dialling(l);
	hear(l, PIPE_DOWN, STR("connection refused"));
	expect_dial(l, 1, 0, 0);
	dialling(l);
	hear(l, PIPE_DOWN, STR("connection refused"));
	expect_dial(l, 0, BACKOFF_MIN_MS, 9 * BACKOFF_MIN_MS);
	/* The other one has worked since: it is the one that is asked again. */
	dialling(l);
	hear(l, PIPE_DOWN, STR("connection refused"));
	backoff_reset(&l->backoff);
	up(l);
	hear(l, PIPE_DOWN, STR("closed"));
	expect_dial(l, 1, BACKOFF_MIN_MS, 3 * BACKOFF_MIN_MS);
}

/* ---- streams beside everything else ---- */

#define PIECE 16384u

static int send_data(struct link_client *l, uint64_t stream)
{
	static uint8_t bytes[PIECE];
	Demarc__V1__StreamData m = DEMARC__V1__STREAM_DATA__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	m.id = stream;
	m.data.data = bytes;
	m.data.len = sizeof(bytes);
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_DATA;
	f.stream_data = &m;
	return link_client_send(l, &f);
}

static void send_close(struct link_client *l, uint64_t stream)
{
	Demarc__V1__StreamClose m = DEMARC__V1__STREAM_CLOSE__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	m.id = stream;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_CLOSE;
	f.stream_close = &m;
	assert_int_equal(link_client_send(l, &f), 0);
}

static void send_report(struct link_client *l)
{
	Demarc__V1__Report m = DEMARC__V1__REPORT__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	f.body_case = DEMARC__V1__FRAME__BODY_REPORT;
	f.report = &m;
	assert_int_equal(link_client_send(l, &f), 0);
}

static void expect_told(const char *told)
{
	assert_string_equal(world.told, told);
	world.told[0] = '\0';
}

static void what_streams_say_lets_everything_else_pass(void **state)
{
	struct link_client *l = *state;

	up(l);
	assert_int_equal(send_data(l, 1), 0);
	assert_int_equal(send_data(l, 2), 0);
	assert_int_equal(send_data(l, 1), 0);
	send_close(l, 1);
	send_report(l);
	expect_told("B1 F");
	/* The carrier writes, but nothing of the streams yet. */
	hear(l, PIPE_WROTE, STR("0"));
	expect_told("");
	hear(l, PIPE_WROTE, STR("16500"));
	send_report(l);
	expect_told("B2 F");
	hear(l, PIPE_WROTE, STR("4000000000")); /* more than it ever got */
	expect_told("B1");
	hear(l, PIPE_WROTE, STR("16500"));
	expect_told("c1");
}

static void what_waits_of_streams_is_bounded(void **state)
{
	struct link_client *l = *state;
	size_t n = 0;

	up(l);
	while (send_data(l, 1) == 0)
		n++;
	assert_in_range(n, CLIENT_BULK_MAX / PIECE - 2, CLIENT_BULK_MAX / PIECE + 1);
	assert_int_equal(send_data(l, 1), -ENOBUFS);
	send_report(l);
	expect_told("B1 F");
	/* It goes with its connection. */
	hear(l, PIPE_DOWN, STR("closed"));
	assert_true(!l->bulk && l->bulk_bytes == 0 && l->bulk_ahead == 0);
	up(l);
	assert_int_equal(send_data(l, 2), 0);
	expect_told("B2");
}

static void tick(struct link_client *l, int64_t ms)
{
	clock_warp(ms * NS_PER_MS);
	assert_int_equal(uv_timer_start(&l->timer, l->timer.timer_cb, 0, 0), 0);
	assert_true(uv_run(&world.loop, UV_RUN_NOWAIT) >= 0);
}

static void a_hub_that_takes_what_is_written_is_alive(void **state)
{
	struct link_client *l = *state;

	up(l);
	client_rearm(l);
	tick(l, CLIENT_HEARTBEAT_MAX_MS);
	expect_told("F"); /* a ping, behind much else */
	for (int i = 0; i < 20; i++) {
		tick(l, CLIENT_PROBE_MS - 500);
		hear(l, PIPE_WROTE, STR("0"));
	}
	expect_told("");
	/* Now it takes nothing any more. */
	tick(l, CLIENT_PROBE_MS);
	expect_told("F");
	tick(l, CLIENT_PROBE_MS);
	expect_told("H");
}

static void hear_hello(struct link_client *l, uint32_t heartbeat_ms)
{
	Demarc__V1__HubHello hello = DEMARC__V1__HUB_HELLO__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	hello.heartbeat_ms = heartbeat_ms;
	f.body_case = DEMARC__V1__FRAME__BODY_HUB_HELLO;
	f.hub_hello = &hello;
	hear_frame(l, &f);
}

static void hear_pong(struct link_client *l, uint32_t heartbeat_ms)
{
	Demarc__V1__Pong pong = DEMARC__V1__PONG__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	pong.heartbeat_ms = heartbeat_ms;
	f.body_case = DEMARC__V1__FRAME__BODY_PONG;
	f.pong = &pong;
	hear_frame(l, &f);
}

/* The next ping is sent then, and not before; the hub answers with another interval. */
static void expect_ping_after(struct link_client *l, int64_t ms, uint32_t next_ms)
{
	tick(l, ms - 1);
	expect_told("");
	tick(l, 1);
	expect_told("F");
	hear_pong(l, next_ms);
}

static void the_hub_sets_the_interval_of_heartbeats(void **state)
{
	struct link_client *l = *state;

	up(l);
	hear_hello(l, 2000);
	client_rearm(l);
	expect_ping_after(l, 2000, 0); /* a hub of before says it in its hello only */
	expect_ping_after(l, 2000, 40000);
	expect_ping_after(l, 40000, 5000); /* it was busy, and is no more */
	expect_ping_after(l, 5000, 1);
	expect_ping_after(l, CLIENT_HEARTBEAT_MIN_MS, UINT32_MAX);
	expect_ping_after(l, CLIENT_HEARTBEAT_MAX_MS, 0);
	assert_int_equal(link_client_heartbeat_ms(l), CLIENT_HEARTBEAT_MAX_MS);
}

/* ---- tickets ---- */

static struct {
	unsigned n;
	struct link_ticket last; /* its session is the client's */
} kept;

static void on_ticket(void *ctx, const struct link_ticket *t)
{
	kept.n++;
	kept.last = *t;
}

static void a_ticket_is_of_what_its_child_was_started_with(void **state)
{
	struct link_client *l = *state;

	kept.n = 0;
	l->ops.ticket = on_ticket;
	memset(l->binding, 1, sizeof(l->binding));
	assert_int_equal(client_child_started(l), 0);
	expect_told(""); /* there is none yet */
	up(l);
	memset(l->binding, 2, sizeof(l->binding)); /* link_client_reload() while it is connected */
	hear(l, PIPE_TICKET, STR("fsession"));
	assert_true(kept.n == 1 && !kept.last.resumed && str_eq_c(kept.last.session, "session"));
	assert_memory_equal(kept.last.binding, l->child_binding, LINK_BINDING_SIZE);
	assert_true(!link_client_has_ticket(l) && link_client_ticket(l));
	assert_int_equal(client_child_started(l), 0);
	expect_told("");
	/* Back to the certificate before, which is the one that the hub takes. */
	memset(l->binding, 1, sizeof(l->binding));
	assert_true(link_client_has_ticket(l));
	assert_int_equal(client_child_started(l), 0);
	expect_told("T");
	hear(l, PIPE_TICKET, STR("ranother"));
	assert_true(kept.n == 2 && kept.last.resumed && str_eq_c(kept.last.session, "another"));
	client_ticket_clear(l);
}

static void a_child_that_tells_no_tickets_is_hung_up(void **state)
{
	static char large[LINK_TICKET_MAX + 2] = { PIPE_RESUMED };
	const struct str bad[] = { STR(""), STR("r"), STR("x session"), { large, sizeof(large) } };
	struct link_client *l = *state;

	kept.n = 0;
	l->ops.ticket = on_ticket;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		up(l);
		hear(l, PIPE_TICKET, bad[i]);
		expect_told("H");
		assert_int_equal(l->state, LINK_WAITING);
	}
	dialling(l);
	hear(l, PIPE_TICKET, STR("rearly"));
	assert_true(kept.n == 0 && !link_client_ticket(l));
	up(l);
	hear(l, PIPE_TICKET, (struct str){ large, LINK_TICKET_MAX + 1 });
	assert_true(kept.n == 1 && kept.last.session.len == LINK_TICKET_MAX);
	client_ticket_clear(l);
}

/* ---- full handshakes ---- */

#define DAY_NS (24 * 3600 * NS_PER_S)
#define WEEK_NS (LINK_FULL_S * NS_PER_S)

static int start_child(struct link_client *l)
{
	if (world.child)
		return 0;
	world.child = true;
	return client_child_started(l);
}

static void kill_child(struct link_client *l)
{
	if (world.child)
		note('K', 0);
	world.child = false;
}

static bool on_busy(void *ctx)
{
	return world.busy;
}

static void begin(struct link_client *l)
{
	static const struct link_carrier with_child = { start_child, play_tell, kill_child,
							play_nothing };

	l->carrier = &with_child;
	l->ops.busy = on_busy;
	l->state = LINK_WAITING;
	client_rearm(l);
}

static void dial(struct link_client *l, const char *told)
{
	assert_int_equal(l->state, LINK_WAITING);
	l->dial_at_ns = clock_mono_ns();
	tick(l, 0);
	expect_told(told);
	assert_int_equal(l->state, LINK_DIALLING);
}

static void comes_up(struct link_client *l, const char *told)
{
	dial(l, told);
	up(l);
	hear(l, PIPE_TICKET, STR("rsession")); /* whatever the child says of it */
}

static void expect_full_within(const struct link_client *l, int64_t from_ns, int64_t to_ns)
{
	assert_in_range(l->full_due_ns - clock_mono_ns(), from_ns, to_ns);
}

/* Until then, with a hub that answers. */
static void wait_until(struct link_client *l, int64_t ns)
{
	clock_warp(ns - clock_mono_ns());
	l->rx_ns = l->ping_ns = clock_mono_ns();
	tick(l, 0);
}

static void each_week_there_is_a_full_handshake(void **state)
{
	struct link_client *l = *state;
	int64_t due;

	begin(l);
	comes_up(l, "D");
	expect_full_within(l, 6 * DAY_NS, WEEK_NS);
	due = l->full_due_ns;
	for (int i = 0; i < 5; i++) { /* resumptions, in the same process and in another, put nothing off */
		clock_warp(DAY_NS);
		hear(l, PIPE_DOWN, STR("cut"));
		world.child = i % 2;
		comes_up(l, i % 2 ? "D" : "T D");
	}
	assert_int_equal(l->full_due_ns, due);
	wait_until(l, due - NS_PER_S);
	expect_told("");
	wait_until(l, due);
	expect_told("K");
	comes_up(l, "D");
	expect_full_within(l, 6 * DAY_NS, WEEK_NS);
	client_ticket_clear(l);
}

static void a_hub_that_is_busy_then_has_its_node_back_by_the_ticket(void **state)
{
	struct link_client *l = *state;
	int64_t over;

	begin(l);
	comes_up(l, "D");
	over = clock_mono_ns() + WEEK_NS;
	wait_until(l, l->full_due_ns);
	expect_told("K");
	dial(l, "D");
	hear(l, PIPE_RETRY, STR("30000"));
	hear(l, PIPE_DOWN, STR("the hub is busy"));
	expect_told("K");
	expect_wait_is_kept(l, 30);
	comes_up(l, "T D");
	expect_full_within(l, 3600 * NS_PER_S - 60 * NS_PER_S, 2 * 3600 * NS_PER_S);
	/* But not for good: who plays the busy hub is not the hub. */
	wait_until(l, MAX_OF(over, l->full_due_ns));
	expect_told("K");
	for (int i = 0; i < 3; i++) {
		dial(l, "D");
		hear(l, PIPE_DOWN, STR("the hub is busy"));
		expect_told("");
		world.child = false;
	}
	comes_up(l, "D");
	client_ticket_clear(l);
}

/* No hub for so long: the process that has waited has a ticket, too. */
static void what_waited_for_a_week_does_not_resume(void **state)
{
	struct link_client *l = *state;

	begin(l);
	comes_up(l, "D");
	hear(l, PIPE_DOWN, STR("cut"));
	clock_warp(WEEK_NS);
	comes_up(l, "K D");
	client_ticket_clear(l);
}

static void a_shell_is_not_cut_before_the_week_is_over(void **state)
{
	struct link_client *l = *state;

	begin(l);
	comes_up(l, "D");
	world.busy = true;
	wait_until(l, l->full_due_ns);
	wait_until(l, l->full_ns + WEEK_NS - NS_PER_S);
	expect_told("");
	wait_until(l, l->full_ns + WEEK_NS);
	expect_told("K");
	client_ticket_clear(l);
}

static void a_ticket_of_another_process_brings_its_age(void **state)
{
	struct link_client *l = *state;
	struct link_ticket t = { .session = STR("session"),
				 .full_ns = clock_mono_ns() - WEEK_NS + DAY_NS / 2 };

	assert_int_equal(client_ticket_keep(l, &t), 0);
	begin(l);
	comes_up(l, "T D");
	expect_full_within(l, 0, DAY_NS / 2);
	assert_int_equal(l->ticket.full_ns, t.full_ns);
	hear(l, PIPE_DOWN, STR("cut"));
	world.child = false;
	clock_warp(DAY_NS / 2);
	comes_up(l, "D");
	assert_int_equal(l->ticket.full_ns, clock_mono_ns());
	client_ticket_clear(l);
}

static void who_came_together_does_not_do_it_together(void **state)
{
	struct link_client *l = *state;
	unsigned n[24] = { 0 };

	for (int i = 0; i < 2400; i++) {
		l->fresh_child = true;
		client_full_up(l);
		n[(l->full_due_ns - clock_mono_ns() - 6 * DAY_NS) / (DAY_NS / 24)]++;
	}
	for (size_t i = 0; i < ARRAY_LEN(n); i++)
		assert_in_range(n[i], 40, 180); /* six times their deviation */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_change_of_routes_ends_a_wait_of_our_own, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_busy_hub_is_given_its_time, setup, teardown),
		cmocka_unit_test_setup_teardown(who_was_sent_away_stays_away, setup, teardown),
		cmocka_unit_test_setup_teardown(the_other_hub_is_not_asked_earlier, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hub_that_worked_is_not_asked_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(what_streams_say_lets_everything_else_pass, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_waits_of_streams_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hub_that_takes_what_is_written_is_alive, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_hub_sets_the_interval_of_heartbeats, setup, teardown),
		cmocka_unit_test_setup_teardown(a_ticket_is_of_what_its_child_was_started_with,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_that_tells_no_tickets_is_hung_up, setup, teardown),
		cmocka_unit_test_setup_teardown(each_week_there_is_a_full_handshake, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hub_that_is_busy_then_has_its_node_back_by_the_ticket,
						setup, teardown),
		cmocka_unit_test_setup_teardown(what_waited_for_a_week_does_not_resume, setup, teardown),
		cmocka_unit_test_setup_teardown(a_shell_is_not_cut_before_the_week_is_over, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_ticket_of_another_process_brings_its_age, setup,
						teardown),
		cmocka_unit_test_setup_teardown(who_came_together_does_not_do_it_together, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("link-client", tests, NULL, NULL);
}
