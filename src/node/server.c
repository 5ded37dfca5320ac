/* SPDX-License-Identifier: Apache-2.0 */
#include "node/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "node/chains.h"
#include "node/fabric.h"
#include "node/job.h"
#include "node/machine.h"
#include "node/native.h"
#include "node/report.h"
#include "node/server_spec.h"
#include "node/start.h"

#define BACKOFF_FIRST_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (30 * NS_PER_S)
#define STEADY_NS (30 * NS_PER_S) /* a run this long ends the back-off */
#define WIRE_RETRY_NS (2 * NS_PER_S)

static void set_fault(struct server *s, const char *text)
{
	(void)str_copy(s->fault, sizeof(s->fault), str_of(text));
}

static void set_task(struct server *s, const char *text)
{
	(void)str_copy(s->task, sizeof(s->task), str_of(text));
}

static void back_off(struct server *s)
{
	s->backoff_ns = s->backoff_ns ? MIN_OF(2 * s->backoff_ns, BACKOFF_MAX_NS) : BACKOFF_FIRST_NS;
	s->retry_ns = clock_mono_ns() + s->backoff_ns;
}

struct server *server_find(struct node *n, const char *id)
{
	struct server *s = n->servers;

	while (s && strcmp(s->id, id) != 0)
		s = s->next;
	return s;
}

struct server *server_new(struct node *n, const char *id)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->n = n;
	s->pidfd = s->netns_fd = -1;
	(void)str_copy(s->id, sizeof(s->id), str_of(id));
	s->next = n->servers;
	n->servers = s;
	return s;
}

bool servers_busy(const struct node *n)
{
	const struct server *s = n->servers;

	while (s && !s->job)
		s = s->next;
	return s != NULL;
}

bool server_is_wired(const struct server *s)
{
	return s->phase != SERVER_OFF;
}

bool server_healthy(const struct server *s, char *ret_why, size_t size)
{
	const char *why = NULL;

	if (s->phase != SERVER_UP || (!s->followed && !s->native))
		why = *s->fault ? s->fault : *s->task ? s->task : "not running";
	else if (!s->verified)
		why = s->native && *s->fault ? s->fault : "its vNICs are not as declared";
	else if (!s->native && !probe_healthy(s->probe))
		why = s->probe ? probe_reason(s->probe) : "not yet probed";
	if (why && ret_why)
		(void)str_copy(ret_why, size, str_of(why));
	return !why;
}

/* ---- attachments to a running function ---- */

static void detach(struct server *s)
{
	probe_stop(MOVE_PTR(s->probe));
	s->n->machine->leave(s);
	s->entered = s->followed = false;
	s->verified = false;
}

void server_inside_changed(struct server *s)
{
	s->verify_due = true;
	node_kick(s->n);
}

static void on_probe(void *ctx)
{
	struct server *s = ctx;

	chains_apply(s->n); /* first the traffic, then the paperwork */
	node_kick(s->n);
}

static void path_of(const struct server *s, const char *dir, const char *what, char ret[static PATH_MAX])
{
	(void)snprintf(ret, PATH_MAX, "%s/%s/%s", dir, what, s->id);
}

static int enter(struct server *s, struct err *e)
{
	int r = s->n->machine->enter(s, e);

	s->entered = r == 0;
	s->verify_due |= s->entered;
	return r;
}

static int follow(struct server *s, struct err *e)
{
	int r = s->n->machine->follow(s, e);

	s->followed = r == 0;
	return r;
}

static void apply_restart_policy(struct server *s, const Demarc__V1__Server *pb, int status)
{
	s->ended_well = pb->restart == DEMARC__V1__RESTART_POLICY__RESTART_ON_FAILURE && status == 0;
	s->failed_for_good = pb->restart == DEMARC__V1__RESTART_POLICY__RESTART_NEVER;
	if (!s->ended_well && !s->failed_for_good)
		s->n_restarts++;
}

void server_died(struct server *s, int status)
{
	const Demarc__V1__Server *pb = intent_server(s->n->intent, s->id);
	bool steady = clock_mono_ns() - s->up_ns > STEADY_NS;

	detach(s);
	s->phase = SERVER_OFF;
	s->pid = 0;
	s->residue = true;
	if (steady)
		s->backoff_ns = 0;
	back_off(s);
	(void)snprintf(s->fault, sizeof(s->fault),
		       status >= 0 ? "the function ended with status %d" : "the function ended",
		       status);
	chains_apply(s->n);
	node_event(s->n, "function_died", "error", "server", s->id, "server %s: %s",
		   pb ? pb->name : s->id, s->fault);
	if (pb)
		apply_restart_policy(s, pb, status);
	node_kick(s->n);
}

static int attach_probe(struct server *s, const Demarc__V1__Server *pb, bool assume_healthy,
			struct err *e)
{
	struct probe_spec spec = { .what = pb->probe,
				   .rt = &s->n->rt,
				   .id = s->id,
				   .netns_fd = s->netns_fd,
				   .assume_healthy = assume_healthy };

	for (size_t i = 0; i < s->want.n && !spec.addr.family; i++)
		if (s->want.slot[i].n_addrs)
			spec.addr = s->want.slot[i].addrs[0].addr;
	return probe_start(s->n->loop, &spec, on_probe, s, &s->probe, e);
}

static void verify(struct server *s)
{
	struct err e = { 0 };
	bool before = s->verified, again = false;
	int r;

	s->verify_due = false;
	if (!s->seen)
		s->seen = calloc(VNICS_MAX, sizeof(*s->seen));
	r = s->seen ? s->n->machine->look(s, &again, &e) : -ENOMEM;
	if (again)
		server_inside_changed(s);
	s->checked_us = clock_wall_us();
	s->recheck_ns = clock_mono_ns() + s->n->machine->verify_ms * NS_PER_MS;
	s->verified = r == 0 && fabric_verify(s->n, s);
	for (size_t i = 0; r > 0 && i < s->want.n; i++)
		if (s->want.slot[i].present && !s->seen[i].found && clock_mono_ns() >= s->repair_ns) {
			s->repair_ns = clock_mono_ns() + WIRE_RETRY_NS;
			s->wire_due = true; /* an interface is gone: that is ours to repair */
			node_kick(s->n);
		}
	if (before != s->verified) /* chains are looked at before functions in a pass: the next one is now */
		node_kick(s->n);
	if (before && !s->verified)
		node_event(s->n, "binding_differs", "error", "server", s->id,
			   "vNICs of server %s are not as declared", s->id);
}

/* Tells whether the wiring is the same after a restart of the agent (FNV-1a). */
static void wiring_hash(const struct vnics *v, char ret[static 24])
{
	size_t size = offsetof(struct vnics, slot) + v->n * sizeof(v->slot[0]);
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < size; i++)
		h = (h ^ ((const unsigned char *)v)[i]) * 0x100000001b3ULL;
	(void)snprintf(ret, 24, "%016llx", (unsigned long long)h);
}

int server_take_over(struct server *s, const Demarc__V1__Server *pb, struct err *e)
{
	const char *noted = local_note(s->n->local, "wiring", s->id);
	char text[24];
	int r = follow(s, e);

	if (r == 0)
		r = enter(s, e);
	if (r == 0)
		/* As the agent before this one last knew it: in path or not, it is to stay so. */
		r = attach_probe(s, pb, local_note(s->n->local, "healthy", s->id) != NULL, e);
	if (r < 0) {
		detach(s);
		return r;
	}
	vnics_copy(&s->wired, &s->want);
	wiring_hash(&s->wired, text);
	s->wire_due = !noted || strcmp(noted, text) != 0; /* the intent changed while no agent ran */
	s->phase = SERVER_UP;
	s->started_us = clock_wall_us();
	s->up_ns = clock_mono_ns();
	/* Now, not in a later pass: a function that is in path must not leave it because its agent is new. */
	if (s->want_known && !s->wire_due)
		verify(s);
	else
		s->verified = local_note(s->n->local, "healthy", s->id) != NULL;
	return 0;
}

/* ---- jobs ---- */

static void job_free(struct server_job *j)
{
	meta_done(&j->docs);
	free(j);
}

static struct server_job *job_new(struct server *s, enum job_kind kind)
{
	struct server_job *j = calloc(1, sizeof(*j));
	struct node *n = s->n;

	if (!j)
		return NULL;
	j->kind = kind;
	j->rt = n->rt;
	memcpy(j->id, s->id, sizeof(j->id));
	path_of(s, n->cfg.run_dir, "netns", j->netns);
	path_of(s, n->cfg.run_dir, "bundle", j->bundle);
	path_of(s, n->cfg.run_dir, "rootfs", j->rootfs);
	path_of(s, n->cfg.state_dir, "servers", j->home);
	vnics_copy(&j->want, &s->want);
	vnics_copy(&j->old, &s->wired);
	return j;
}

static void prepared(struct server *s, struct server_job *j)
{
	struct err e = { 0 };

	vnics_copy(&s->wired, &j->want);
	s->phase = SERVER_PREPARED;
	if (enter(s, &e) < 0) {
		set_fault(s, e.msg);
		detach(s);
		s->phase = SERVER_OFF;
		back_off(s);
	}
	node_kick_fabric(s->n);
}

static void note_wiring(struct server *s)
{
	char text[24];

	wiring_hash(&s->wired, text);
	local_note_set(s->n->local, "wiring", s->id, text);
}

static void started(struct server *s, struct server_job *j)
{
	const Demarc__V1__Server *pb = intent_server(s->n->intent, s->id);
	struct err e = { 0 };

	s->pid = j->pid;
	(void)str_copy(s->run_spec, sizeof(s->run_spec), str_of(j->run_spec));
	local_note_set(s->n->local, "run", s->id, s->run_spec);
	(void)str_copy(j->run_spec, 129, str_of(s->run_spec)); /* the image's SHA-512 */
	local_note_set(s->n->local, "image", s->id, j->run_spec);
	note_wiring(s);
	s->phase = SERVER_UP;
	s->due_ns = 0;
	s->started_us = clock_wall_us();
	s->up_ns = clock_mono_ns();
	if (follow(s, &e) < 0 || (pb && attach_probe(s, pb, false, &e) < 0)) {
		set_fault(s, e.msg);
		detach(s);
		s->phase = SERVER_OFF;
		back_off(s);
		return;
	}
	set_fault(s, "");
	log_info("function_started", "server=%s pid=%d", s->id, (int)s->pid);
}

static void stopped(struct server *s, struct server_job *j)
{
	const Demarc__V1__Server *pb = intent_server(s->n->intent, s->id);
	char text[24];

	s->residue = false;
	s->disk &= !j->final;
	vnics_clear(&s->wired);
	s->wire_due = false;
	if (pb && j->pid > 0) { /* it was ended on purpose: that is the reboot which was asked for */
		(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)pb->reboot_generation);
		local_note_set(s->n->local, "reboot", s->id, text);
		s->backoff_ns = s->retry_ns = 0;
	}
	log_info("function_stopped", "server=%s final=%d", s->id, j->final);
}

static void job_failed(struct server *s, struct server_job *j)
{
	static const char *const verbs[] = { "preparing", "wiring", "starting", "stopping" };

	log_limited(LOG_WARN_, "job_failed", "server=%s job=%s error=\"%s\"", s->id, verbs[j->kind],
		    j->err.msg);
	set_fault(s, j->err.msg);
	if (j->kind == JOB_WIRE) {
		s->wire_retry_ns = clock_mono_ns() + WIRE_RETRY_NS;
		s->wire_due = true;
		return;
	}
	detach(s);
	s->phase = SERVER_OFF;
	s->due_ns = 0;
	s->pid = 0;
	s->residue = true;
	back_off(s);
}

static void job_succeeded(struct server *s, struct server_job *j)
{
	switch (j->kind) {
	case JOB_PREPARE:
		prepared(s, j);
		return;
	case JOB_WIRE:
		vnics_copy(&s->wired, &j->want);
		s->wire_due = false;
		note_wiring(s);
		set_fault(s, "");
		s->verify_due = true;
		node_kick_fabric(s->n);
		return;
	case JOB_START:
		started(s, j);
		return;
	case JOB_STOP:
		stopped(s, j);
		return;
	}
}

void server_job_done(struct server *s)
{
	struct server_job *j = MOVE_PTR(s->job);

	set_task(s, "");
	if (j->r < 0)
		job_failed(s, j);
	else
		job_succeeded(s, j);
	job_free(j);
	node_kick(s->n);
}

/* Takes j over. */
static void job_begin(struct server *s, struct server_job *j, const char *task)
{
	if (!j)
		return;
	s->job = j;
	set_task(s, task);
	if (s->n->machine->begin(s) < 0) {
		s->job = NULL;
		job_free(j);
	}
}

static void begin_stop(struct server *s, bool final)
{
	struct server_job *j = job_new(s, JOB_STOP);

	if (!j)
		return;
	j->pid = s->pid;
	j->final = final;
	if (j->old.n == 0) /* a run of an agent before this one */
		vnics_copy(&j->old, &s->want);
	detach(s);
	s->phase = SERVER_OFF;
	s->due_ns = 0;
	s->pid = 0;
	s->residue = true;
	chains_apply(s->n); /* the path leaves the function before the function ends */
	fabric_server_down(s->n, s);
	job_begin(s, j, final ? "deleting" : "stopping");
}

static void begin_start(struct server *s, const Demarc__V1__Server *pb, const char *image_dir)
{
	struct server_job *j = job_new(s, JOB_START);
	const char *disk_of = local_note(s->n->local, "image", s->id);
	struct err e = { 0 };

	if (!j)
		return;
	(void)str_copy(j->image_dir, sizeof(j->image_dir), str_of(image_dir));
	(void)str_copy(j->hostname, sizeof(j->hostname), str_of(pb->hostname));
	(void)snprintf(j->cgroup, sizeof(j->cgroup), "/demarc-%.8s/%s", s->n->id, s->id);
	server_spec_run(pb, j->run_spec, sizeof(j->run_spec));
	server_spec_resolv(s->n, pb, j->resolv_conf, sizeof(j->resolv_conf));
	j->vcpus = pb->vcpus;
	j->memory_mb = pb->memory_mb;
	j->config_drive = true; /* user data is how a container is told its work: always there */
	j->fresh_disk = !disk_of || strcmp(disk_of, pb->image->sha512) != 0;
	if (server_spec_docs(s->n, s->id, pb, &j->docs, &e) < 0) {
		set_fault(s, e.msg);
		job_free(j);
		return;
	}
	s->residue = s->disk = true;
	job_begin(s, j, "starting");
}

/* ---- the step ---- */

static uint64_t reboots_done(struct server *s)
{
	const char *text = local_note(s->n->local, "reboot", s->id);
	uint64_t done = 0;

	return text && str_to_u64(str_of(text), UINT64_MAX, &done) == 0 ? done : 0;
}

static bool needs_new_run(struct server *s, const Demarc__V1__Server *pb)
{
	char spec[sizeof(s->run_spec)];

	server_spec_run(pb, spec, sizeof(spec));
	return strcmp(spec, s->run_spec) != 0 || pb->reboot_generation > reboots_done(s);
}

static const char *image_ready(struct server *s, const Demarc__V1__Server *pb)
{
	struct image_view v;

	if (!*pb->image->sha512) {
		set_fault(s, "the image has no SHA-512 by which it could be checked");
		return NULL;
	}
	images_want(s->n->images, pb->image, server_spec_disk_limit(pb), &v);
	switch (v.state) {
	case IMAGE_READY:
		return v.dir;
	case IMAGE_FETCHING:
		(void)snprintf(s->task, sizeof(s->task), "fetching image %u %%", v.percent);
		return NULL;
	case IMAGE_CHECKING:
		set_task(s, "unpacking image");
		return NULL;
	case IMAGE_FAILED:
		set_task(s, "waiting for image");
		set_fault(s, v.error);
		return NULL;
	}
	return NULL;
}

static void step_off(struct server *s, const Demarc__V1__Server *pb)
{
	if (!image_ready(s, pb) || clock_mono_ns() < s->retry_ns)
		return;
	if (!s->want_known) {
		set_fault(s, s->want_missing);
		return;
	}
	if (s->residue) {
		begin_stop(s, false);
		return;
	}
	s->start_due = true;
	set_task(s, "waiting for its turn");
}

/* What step_off() found due. */
static void start_those_due(struct node *n)
{
	struct server *s;

	starts_order(n);
	while ((s = starts_next(n))) {
		const Demarc__V1__Server *pb = intent_server(n->intent, s->id);
		const char *image_dir = image_ready(s, pb);

		s->start_due = false;
		if (s->phase == SERVER_OFF)
			job_begin(s, job_new(s, JOB_PREPARE), "wiring");
		else if (image_dir)
			begin_start(s, pb, image_dir);
	}
}

static void step_up(struct server *s, const Demarc__V1__Server *pb)
{
	if (!s->probe || strcmp(probe_what(s->probe), pb->probe) != 0) {
		probe_stop(MOVE_PTR(s->probe));
		(void)!attach_probe(s, pb, false, NULL);
	}
	if (!s->want_known) {
		set_fault(s, s->want_missing);
		return;
	}
	if (!vnics_equal(&s->want, &s->wired))
		s->wire_due = true;
	if (s->wire_due && clock_mono_ns() >= s->wire_retry_ns) {
		fabric_detached(s->n, &s->wired, &s->want);
		job_begin(s, job_new(s, JOB_WIRE), "wiring");
		return;
	}
	if (s->verify_due || clock_mono_ns() >= s->recheck_ns)
		verify(s);
}

static void step_native(struct server *s, const Demarc__V1__Server *pb)
{
	if (s->job)
		return;
	if (!s->native && (s->phase != SERVER_OFF || s->residue || s->disk)) {
		begin_stop(s, true); /* a container until it was rebuilt with this image */
		return;
	}
	native_step(s, pb);
	if (s->native && (s->verify_due || clock_mono_ns() >= s->recheck_ns))
		native_verify(s);
}

static void step_wanted(struct server *s, const Demarc__V1__Server *pb)
{
	bool running = pb->power == DEMARC__V1__POWER__POWER_RUNNING;

	s->wanted = false;
	if (native_is(pb)) {
		step_native(s, pb);
		return;
	}
	native_down(s);
	s->wanted = running;
	s->want_known = server_spec_vnics(s->n, pb, &s->want, s->want_missing, sizeof(s->want_missing));
	if (running && *pb->image->sha512) {
		struct image_view v;

		images_want(s->n->images, pb->image, server_spec_disk_limit(pb), &v);
	}
	if (s->job)
		return;
	if (s->phase == SERVER_UP && (!running || needs_new_run(s, pb))) {
		begin_stop(s, false);
	} else if (!running) {
		s->failed_for_good = s->ended_well = false;
		set_fault(s, "");
		set_task(s, "");
		if (s->residue || s->phase == SERVER_PREPARED)
			begin_stop(s, false);
	} else if (s->phase == SERVER_UP) {
		step_up(s, pb);
	} else if ((s->failed_for_good || s->ended_well) && pb->reboot_generation <= reboots_done(s)) {
		s->wanted = false;
		if (s->residue)
			begin_stop(s, false);
	} else {
		s->failed_for_good = s->ended_well = false;
		step_off(s, pb);
	}
}

/* Not in the intent: returns true when nothing of it is left. */
static bool step_unwanted(struct server *s)
{
	s->wanted = false;
	if (s->job || s->n->frozen)
		return false;
	native_down(s);
	if (s->phase != SERVER_OFF || s->residue || s->disk) {
		if (clock_mono_ns() >= s->retry_ns)
			begin_stop(s, true);
		return false;
	}
	return true;
}

static void server_free(struct server *s)
{
	detach(s);
	free(s->seen);
	free(s);
}

void servers_pass(struct node *n)
{
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "server", &pos));) {
		struct server *s = server_find(n, o->id);

		if (!s)
			s = server_new(n, o->id);
		if (!s)
			return;
		if (!s->residue && !s->job && s->phase == SERVER_OFF &&
		    !local_note(n->local, "reboot", s->id)) {
			char text[24]; /* a new server: what was asked for before its first start needs no reboot */

			(void)snprintf(text, sizeof(text), "%llu",
				       (unsigned long long)o->server->reboot_generation);
			local_note_set(n->local, "reboot", s->id, text);
		}
	}
	for (struct server **p = &n->servers; *p;) {
		struct server *s = *p;
		const Demarc__V1__Server *pb = intent_server(n->intent, s->id);

		s->start_due = false;
		if (s->retry_ns && clock_mono_ns() >= s->retry_ns)
			s->retry_ns = 0; /* over: it asks for no more passes */
		if (pb) {
			step_wanted(s, pb);
			local_note_set(n->local, "healthy", s->id,
				       server_healthy(s, NULL, 0) ? "yes" : NULL);
		} else if (step_unwanted(s)) {
			*p = s->next;
			reports_server_gone(n, s->id);
			server_free(s);
			node_kick_fabric(n);
			continue;
		}
		p = &s->next;
	}
	start_those_due(n);
}

void servers_close(struct node *n)
{
	while (n->servers) {
		struct server *s = n->servers;

		while (s->job)
			(void)uv_run(n->loop, UV_RUN_ONCE);
		n->servers = s->next;
		server_free(s);
	}
}

int64_t servers_next_ns(const struct node *n)
{
	int64_t next = INT64_MAX;

	for (const struct server *s = n->servers; s; s = s->next) {
		if (s->job)
			continue; /* its end brings the pass */
		if (s->phase == SERVER_UP)
			next = MIN_OF(next, s->wire_due ? s->wire_retry_ns : s->recheck_ns);
		else if (s->retry_ns)
			next = MIN_OF(next, s->retry_ns);
		else if (s->held)
			next = MIN_OF(next, s->due_ns + START_WAIT_NS);
	}
	return next;
}
