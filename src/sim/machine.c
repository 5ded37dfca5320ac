/* SPDX-License-Identifier: Apache-2.0 */
#include "node/machine.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "node/job.h"
#include "sim/node.h"

/*
 * A machine that does as if: steps take their time by a timer of the loop, a percentage of them fails, and what they leave is remembered, so that
 * the agent reads back what was done and not what it wanted.
 */

/* Less often than the agent's: what changed is reported at once, by passes, and nothing changes here without a word. */
#define TICK_MS 10000
#define VERIFY_MS 60000
#define OTHER_PART 3	 /* steps other than START take this part of its time */
#define KILLED (128 + 9) /* status of a function that was ended */

struct sim_function {
	struct sim_function *next;
	char id[UUID_STR_SIZE];
	struct server *server; /* while somebody follows its process */
	pid_t pid;	       /* 0: it does not run */
	size_t n;
	struct vnic *slots;
};

struct step {
	uv_timer_t timer;
	struct server *s;
};

static struct sim_function **find(struct sim_node *s, const char *id)
{
	struct sim_function **p = &s->functions;

	while (*p && strcmp((*p)->id, id) != 0)
		p = &(*p)->next;
	return p;
}

static struct sim_function *get(struct sim_node *s, const char *id)
{
	struct sim_function **p = find(s, id), *f = *p;

	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	if (f)
		(void)str_copy(f->id, sizeof(f->id), str_of(id));
	*p = f;
	return f;
}

/* ---- steps ---- */

static int wire(struct sim_node *s, const struct server_job *j, struct err *e)
{
	struct sim_function *f = get(s, j->id);
	struct vnic *slots = calloc(j->want.n + 1, sizeof(*slots));

	if (!f || !slots) {
		free(slots);
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for vNICs");
	}
	memcpy(slots, j->want.slot, j->want.n * sizeof(*slots));
	free(f->slots);
	f->slots = slots;
	f->n = j->want.n;
	return 0;
}

static int start(struct sim_node *s, struct server_job *j, struct err *e)
{
	struct sim_function *f = *find(s, j->id);

	if (!f)
		return err_set(e, FAULT_NOT_FOUND, NULL, "a start without a namespace");
	j->pid = f->pid = (pid_t)++s->next_pid;
	s->slot->n_starts++;
	return 0;
}

static void stop(struct sim_node *s, const struct server_job *j)
{
	struct sim_function **p = find(s, j->id), *f = *p;

	if (!f)
		return;
	*p = f->next;
	free(f->slots);
	free(f);
}

static int do_step(struct sim_node *s, struct server_job *j, struct err *e)
{
	uint16_t random;

	random_bytes(&random, sizeof(random));
	if (random % 100 < s->sim->o.fail_percent) {
		s->slot->n_steps_failed++;
		return err_set(e, FAULT_UNAVAILABLE, NULL, "a simulated failure");
	}
	switch (j->kind) {
	case JOB_PREPARE:
	case JOB_WIRE:
		return wire(s, j, e);
	case JOB_START:
		return start(s, j, e);
	case JOB_STOP:
		stop(s, j);
		return 0;
	}
	return 0;
}

static void on_closed(uv_handle_t *h)
{
	free(CONTAINER_OF((uv_timer_t *)h, struct step, timer));
}

static void on_over(uv_timer_t *t)
{
	struct step *step = CONTAINER_OF(t, struct step, timer);
	struct server *s = step->s;

	s->job->r = do_step(sim_node_of(s->n), s->job, &s->job->err);
	uv_close((uv_handle_t *)t, on_closed);
	server_job_done(s);
}

/* Half to one and a half of what was asked for. */
static int begin(struct server *s)
{
	uint64_t ms = sim_node_of(s->n)->sim->o.start_ms;
	struct step *step = calloc(1, sizeof(*step));
	uint16_t random;

	if (!step)
		return -1;
	if (s->job->kind != JOB_START)
		ms /= OTHER_PART;
	random_bytes(&random, sizeof(random));
	step->s = s;
	(void)uv_timer_init(s->n->loop, &step->timer); /* cannot fail, as the next */
	(void)uv_timer_start(&step->timer, on_over, ms / 2 + random % (ms + 1), 0);
	return 0;
}

/* ---- what is there ---- */

static int enter(struct server *s, struct err *e)
{
	return *find(sim_node_of(s->n), s->id) ? 0 : err_set(e, FAULT_NOT_FOUND, NULL, "no namespace");
}

static int follow(struct server *s, struct err *e)
{
	struct sim_function *f = *find(sim_node_of(s->n), s->id);

	if (!f || f->pid != s->pid)
		return err_set(e, FAULT_NOT_FOUND, NULL, "the function has ended already");
	f->server = s;
	return 0;
}

static void leave(struct server *s)
{
	struct sim_function *f = *find(sim_node_of(s->n), s->id);

	if (f)
		f->server = NULL;
}

static void look_at(const struct vnic *want, const struct vnic *there, size_t slot,
		    struct vnic_observed *ret)
{
	char wanted[MAC_STR_SIZE], found[MAC_STR_SIZE];

	memset(ret, 0, sizeof(*ret));
	if (!there || !there->present)
		return;
	ret->found = true;
	(void)snprintf(ret->name, sizeof(ret->name), "eth%u", (unsigned)slot);
	ret->mac = there->mac;
	ret->index = (ifindex){ (int)slot + VNIC_FIRST_INDEX };
	ret->link_up = there->up;
	ret->n_addrs = there->n_addrs;
	memcpy(ret->addrs, there->addrs, there->n_addrs * sizeof(ret->addrs[0]));
	if (!mac_eq(want->mac, there->mac))
		vnic_diff_add(ret, "mac", mac_format(want->mac, wanted), mac_format(there->mac, found));
}

static int look(struct server *s, bool *ret_again, struct err *e)
{
	const struct sim_function *f = *find(sim_node_of(s->n), s->id);
	int n = 0;

	(void)e;
	*ret_again = false;
	for (size_t i = 0; i < s->want.n; i++) {
		const struct vnic *want = &s->want.slot[i];

		if (!want->present)
			continue;
		look_at(want, f && i < f->n ? &f->slots[i] : NULL, i, &s->seen[i]);
		n += !s->seen[i].found || s->seen[i].n_diffs;
	}
	return n;
}

const struct machine sim_machine = { TICK_MS, VERIFY_MS, begin, enter, follow, look, leave };

bool machine_kill_one(struct sim_node *s)
{
	struct sim_function *f = s->functions;

	while (f && !f->server)
		f = f->next;
	if (!f)
		return false;
	f->pid = 0;
	s->slot->n_deaths++;
	server_died(f->server, KILLED);
	return true;
}

/* ---- probes: what runs is well ---- */

struct probe {
	char *what;
};

int probe_start(uv_loop_t *loop, const struct probe_spec *s, void (*changed)(void *ctx), void *ctx,
		struct probe **ret, struct err *e)
{
	struct probe *p = calloc(1, sizeof(*p));

	(void)loop;
	(void)changed;
	(void)ctx;
	if (p)
		p->what = strdup(s->what);
	if (!p || !p->what) {
		free(p);
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a probe");
	}
	*ret = p;
	return 0;
}

void probe_stop(struct probe *p)
{
	if (p)
		free(p->what);
	free(p);
}

bool probe_healthy(const struct probe *p)
{
	return p != NULL;
}

const char *probe_what(const struct probe *p)
{
	return p->what;
}

const char *probe_reason(const struct probe *p)
{
	(void)p;
	return "";
}
