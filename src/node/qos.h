/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_QOS_H
#define DEMARC_NODE_QOS_H

/* Limits and marks of ports: each port with a limit has two meters of its own. Thread: the loop's. */

#include "node/node.h"

#define QOS_PORTS_MAX ((DP_METERS_MAX - 1) / 2) /* ports with limits on one node */

/* Writes the port's meters and names them in *d. False when one could not be written (logged): the port is then not limited. */
bool qos_port(struct node *n, const char *port_id, const Demarc__V1__Port *p, struct dp_port *d);
/* Forgets the numbers of ports that have no limit any more. */
void qos_prune(struct node *n);

#endif
