/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_SIM_CREW_H
#define DEMARC_SIM_CREW_H

/* What scenarios are made of: the processes of a run, what they are told, and waiting for what comes of it. Thread: the parent's. */

#include "sim/scenario.h"

struct crew {
	unsigned n;
	pid_t pids[SIM_WORKERS_MAX];
	int fds[SIM_WORKERS_MAX];
	pid_t probe, churn;
	int64_t start_ns, next_point_ns, next_word_ns;
	int64_t event_ns; /* the newest disturbance: times are counted from here */
};
extern struct crew crew;

unsigned crew_n_in(const struct sim *s, uint32_t state); /* nodes in it, or further */
pid_t crew_hub_pid(const struct sim *s);
double crew_cpu(void); /* seconds, of all workers */

void crew_order(enum worker_verb verb, unsigned number);
void crew_look(struct sim *s, struct outcome *o); /* a point of the plots, when it is time for one */
void crew_stay(struct sim *s, struct outcome *o, unsigned seconds);
/* Until `n` nodes are steady. False: they are not, in time or because of Ctrl-C. */
bool crew_until_steady(struct sim *s, struct outcome *o, unsigned n, unsigned seconds);
WARN_UNUSED int crew_connect_all(struct sim *s, struct outcome *o, struct err *e);
/* Load, then `what` happens to nodes that are steady, until they are again. */
WARN_UNUSED int crew_disturb(struct sim *s, struct outcome *o,
			     int (*what)(struct sim *, struct err *), struct err *e);
/* Every connection breaks, for crew_disturb(). */
int crew_drop_all(struct sim *s, struct err *e);
/* healing.c: nodes all of whose functions are well and whose chains are whole; counts of what agents have done. */
unsigned crew_n_whole(const struct sim *s);
unsigned crew_n_unstored(const struct sim *s); /* nodes whose newest report the hub has not acknowledged */
void crew_count(const struct sim *s, struct outcome *o);
double percentile_ms(struct sim_samples *s, double q);

/* trials.c, disk.c, healing.c: scenarios that need more than an order to the workers */
int do_one_change(struct sim *s, struct outcome *o, struct err *e);
int do_all_change(struct sim *s, struct outcome *o, struct err *e);
int do_slow_nodes(struct sim *s, struct outcome *o, struct err *e);
int do_mixed_versions(struct sim *s, struct outcome *o, struct err *e);
int do_function_deaths(struct sim *s, struct outcome *o, struct err *e);
int do_renewal(struct sim *s, struct outcome *o, struct err *e);
int do_full_disk(struct sim *s, struct outcome *o, struct err *e);
void disk_done(struct sim *s); /* of a hub that has ended: its file system is let go, so that the scratch folder can be */

#endif
