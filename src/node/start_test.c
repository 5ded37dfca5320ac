/* SPDX-License-Identifier: Apache-2.0 */
#include "node/start.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "node/job.h"

/* Functions a, b, c ... with one port each; chains are words: "abc" has three hops. */

#define N_SERVERS 8
#define NETWORK "eeeeeeee-0000-4000-8000-000000000001"

struct site {
	struct node n;
	char dir[64];
	struct server s[N_SERVERS];
	struct server_job job[N_SERVERS];
	uint64_t revision;
};

static char *id_of(char kind, unsigned i)
{
	static char ids[64][UUID_STR_SIZE];
	static unsigned next;
	char *id = ids[next++ % 64];

	(void)snprintf(id, UUID_STR_SIZE, "%c0000000-0000-4000-8000-%012u", kind, i);
	return id;
}

static void apply(struct site *t, Demarc__V1__Object *o)
{
	Demarc__V1__Intent m = DEMARC__V1__INTENT__INIT;
	struct err e = { 0 };

	o->version = t->revision + 1;
	m.base_revision = t->revision;
	m.revision = ++t->revision;
	m.objects = &o;
	m.n_objects = 1;
	if (intent_apply(t->n.intent, &m, &e) < 0)
		fail_msg("%s: %s", e.field, e.msg);
}

static void add_network(struct site *t)
{
	Demarc__V1__Network net = DEMARC__V1__NETWORK__INIT;
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;

	net.name = (char *)"net";
	o.kind = (char *)"network";
	o.id = (char *)NETWORK;
	o.body_case = DEMARC__V1__OBJECT__BODY_NETWORK;
	o.network = &net;
	apply(t, &o);
}

static void add_port(struct site *t, unsigned i)
{
	Demarc__V1__Port port = DEMARC__V1__PORT__INIT;
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	char mac[18];

	(void)snprintf(mac, sizeof(mac), "02:00:00:00:00:%02x", i);
	port.network_id = (char *)NETWORK;
	port.mac = mac;
	port.server_id = t->s[i].id;
	o.kind = (char *)"port";
	o.id = id_of('b', i);
	o.body_case = DEMARC__V1__OBJECT__BODY_PORT;
	o.port = &port;
	apply(t, &o);
}

static void add_chain(struct site *t, unsigned number, const char *word)
{
	Demarc__V1__Chain chain = DEMARC__V1__CHAIN__INIT;
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT;
	Demarc__V1__Hop hop[N_SERVERS], *hops[N_SERVERS];
	Demarc__V1__Pair pair[N_SERVERS], *pairs[N_SERVERS];

	for (; word[chain.n_hops]; chain.n_hops++) {
		size_t i = chain.n_hops;
		unsigned server = (unsigned)(word[i] - 'a');

		demarc__v1__hop__init(&hop[i]);
		demarc__v1__pair__init(&pair[i]);
		pair[i].id = id_of('c', 10 * number + (unsigned)i);
		pair[i].ingress_port_id = pair[i].egress_port_id = id_of('b', server);
		pair[i].weight = 1;
		pairs[i] = &pair[i];
		hop[i].group_id = id_of('d', 10 * number + (unsigned)i);
		hop[i].pairs = &pairs[i];
		hop[i].n_pairs = 1;
		hops[i] = &hop[i];
	}
	chain.hops = hops;
	o.kind = (char *)"chain";
	o.id = id_of('e', number);
	o.body_case = DEMARC__V1__OBJECT__BODY_CHAIN;
	o.chain = &chain;
	apply(t, &o);
}

static int setup(void **state)
{
	struct site *t = calloc(1, sizeof(*t));
	struct err e = { 0 };

	assert_non_null(t);
	(void)snprintf(t->dir, sizeof(t->dir), "/tmp/demarc-start-test-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_true(intent_open(t->dir, &t->n.intent, &t->n.frozen, &e) >= 0);
	clock_freeze(1000 * NS_PER_S, 0);
	add_network(t);
	for (unsigned i = 0; i < N_SERVERS; i++) {
		struct server *s = &t->s[i];

		s->n = &t->n;
		s->wanted = s->start_due = true;
		(void)str_copy(s->id, sizeof(s->id), str_of(id_of('a', i)));
		s->next = t->n.servers; /* the last one first, as servers_pass() leaves them */
		t->n.servers = s;
		add_port(t, i);
	}
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct site *t = *state;

	intent_close(t->n.intent);
	assert_int_equal(tree_remove(t->dir, NULL), 0);
	free(t);
	return 0;
}

/* Begins what may be begun, as a pass does; returns the functions in letters, '+' after one that is started. */
static const char *begin(struct site *t)
{
	static char said[64];
	struct server *s;

	said[0] = '\0';
	starts_order(&t->n);
	while ((s = starts_next(&t->n))) {
		size_t i = (size_t)(s - t->s), len = strlen(said);

		(void)snprintf(said + len, sizeof(said) - len, "%c%s", 'a' + (int)i,
			       s->phase == SERVER_PREPARED ? "+" : "");
		t->job[i].kind = s->phase == SERVER_PREPARED ? JOB_START : JOB_PREPARE;
		s->job = &t->job[i];
		s->start_due = false;
	}
	return said;
}

/* The jobs of these functions have ended well. */
static void end(struct site *t, const char *word)
{
	for (; *word; word++) {
		struct server *s = &t->s[*word - 'a'];

		assert_non_null(s->job);
		s->phase = s->job->kind == JOB_PREPARE ? SERVER_PREPARED : SERVER_UP;
		s->start_due = s->phase == SERVER_PREPARED;
		s->job = NULL;
	}
}

/* Only these are to run; all of them have been prepared. */
static void prepared(struct site *t, const char *word)
{
	for (unsigned i = 0; i < N_SERVERS; i++) {
		bool is = strchr(word, 'a' + (int)i) != NULL;

		t->s[i].wanted = t->s[i].start_due = is;
		t->s[i].phase = is ? SERVER_PREPARED : SERVER_OFF;
	}
}

static void a_chain_starts_from_its_front(void **state)
{
	struct site *t = *state;

	add_chain(t, 1, "cab");
	prepared(t, "abc");
	assert_string_equal(begin(t), "c+");
	assert_string_equal(begin(t), "");
	end(t, "c");
	assert_string_equal(begin(t), "a+");
	end(t, "a");
	assert_string_equal(begin(t), "b+");
}

static void what_needs_no_order_is_made_ahead(void **state)
{
	struct site *t = *state;

	add_chain(t, 1, "abc");
	prepared(t, "");
	for (unsigned i = 0; i < 3; i++)
		t->s[i].wanted = t->s[i].start_due = true;
	assert_string_equal(begin(t), "abc");
	end(t, "bc");
	assert_string_equal(begin(t), ""); /* the first one is on its way */
	end(t, "a");
	assert_string_equal(begin(t), "a+");
}

static void so_many_at_a_time_and_chains_first(void **state)
{
	struct site *t = *state;

	add_chain(t, 1, "ab");
	add_chain(t, 2, "dc");
	prepared(t, "abcdefgh");
	assert_string_equal(begin(t), "d+a+h+");
	assert_int_equal(strlen("dah"), STARTS_MAX);
	end(t, "a");
	assert_string_equal(begin(t), "b+");
	end(t, "h");
	assert_string_equal(begin(t), "g+");
	end(t, "d");
	assert_string_equal(begin(t), "c+");
}

static void who_cannot_start_holds_nobody_back(void **state)
{
	struct site *t = *state;

	add_chain(t, 1, "abcd");
	prepared(t, "abcd");
	t->s[0].start_due = false;		    /* waits for its image */
	t->s[1].wanted = t->s[1].start_due = false; /* is switched off */
	t->s[2].backoff_ns = 1;			    /* has failed, and is tried again */
	assert_string_equal(begin(t), "c+d+");
}

static void a_start_that_does_not_end_holds_nobody_for_long(void **state)
{
	struct site *t = *state;

	add_chain(t, 1, "abc");
	prepared(t, "abc");
	assert_string_equal(begin(t), "a+");
	clock_warp(START_WAIT_NS - 1);
	assert_string_equal(begin(t), "");
	assert_true(t->s[1].held && t->s[1].due_ns + START_WAIT_NS == clock_mono_ns() + 1);
	clock_warp(1);
	assert_string_equal(begin(t), "b+c+");
}

/* Two chains that go through the same functions the other way round: nobody waits for who waits for it. */
static void chains_that_contradict_each_other_come_to_an_end(void **state)
{
	struct site *t = *state;

	add_chain(t, 1, "abc");
	add_chain(t, 2, "cba");
	prepared(t, "abc");
	assert_string_equal(begin(t), "c+a+");
	end(t, "ca");
	assert_string_equal(begin(t), "b+");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_chain_starts_from_its_front, setup, teardown),
		cmocka_unit_test_setup_teardown(what_needs_no_order_is_made_ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(so_many_at_a_time_and_chains_first, setup, teardown),
		cmocka_unit_test_setup_teardown(who_cannot_start_holds_nobody_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_start_that_does_not_end_holds_nobody_for_long,
						setup, teardown),
		cmocka_unit_test_setup_teardown(chains_that_contradict_each_other_come_to_an_end,
						setup, teardown),
	};

	return cmocka_run_group_tests_name("node-start", tests, NULL, NULL);
}
