/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_DP_NIC_H
#define DEMARC_DP_NIC_H

/* What a NIC and its driver can do, asked of the kernel. Network namespace: the caller's. */

#include <stdbool.h>

#include "dp/dp.h"

/* Fills driver, hardware and what the kernel reports of XDP. -ENODEV: there is no such interface. */
WARN_UNUSED int nic_probe(ifindex nic, struct dp_nic *ret, struct err *e);
/*
 * The NIC runs XDP programs itself: one is made for it, and not attached. nic_probe() asks so only where the kernel does not tell; Linux 6.3 to
 * 6.5, which do, can fall over the question when somebody has bound a program to a NIC without offload.
 */
bool nic_offloads(ifindex nic);
/* Takes frames that XDP programs of others redirect to it. */
bool nic_takes_xdp(const struct dp_nic *n);
/* The NIC leaves VLAN tags in the frames it receives; false: it does not let itself be told. */
bool nic_keep_tags(ifindex nic);

#endif
