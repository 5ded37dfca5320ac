/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_NETNS_H
#define DEMARC_NODE_NETNS_H

/*
 * Named network namespaces of functions: a bind mount of the namespace on a file in the run directory, so that a
 * namespace outlives the agent and goes with its name. Entering is per thread and lasts for one scope.
 * Source: setns(2), network_namespaces(7).
 */

#include "base/cleanup.h"
#include "base/err.h"

struct netns_visit {
	int home; /* fd of the namespace to go back to, or -1 */
};
#define NETNS_VISIT_NONE ((struct netns_visit){ -1 })

/* Moves the calling thread. Use: CLEANUP(netns_leave) struct netns_visit v = NETNS_VISIT_NONE; */
WARN_UNUSED int netns_enter(struct netns_visit *v, int fd, struct err *e);
void netns_leave(struct netns_visit *v); /* aborts the process when there is no way back */

/* Makes a namespace with the sysctls of a network function and names it `path`; an existing name is replaced.
 * May wait for the kernel's teardown of other namespaces: call it from a worker. */
WARN_UNUSED int netns_make(const char *path, struct err *e);
WARN_UNUSED int netns_open(const char *path, int *ret_fd, struct err *e); /* NOT_FOUND when there is none */
WARN_UNUSED int netns_remove(const char *path, struct err *e);		  /* absent is success */

/* Writes a file below /proc/sys/net of the calling thread's namespace; a missing one is ignored. */
WARN_UNUSED int netns_sysctl(const char *name, const char *value, struct err *e);

#endif
