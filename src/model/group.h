/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_MODEL_GROUP_H
#define DEMARC_MODEL_GROUP_H

/*
 * Bounds of a group of addresses, the same for the hub that compiles it and for the node that takes it: what the hub makes, no node
 * refuses.
 */

/* Addresses and subnets of a security group's members, of both families together: 10,000 ports with two addresses each, and some. */
#define GROUP_MEMBERS_MAX 20480

#endif
