/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_DP_NIC_H
#define DEMARC_DP_NIC_H

/* What a NIC and its driver can do, asked of the kernel. Network namespace: the caller's. */

#include <stdbool.h>

#include "dp/dp.h"

/* Fills driver, hardware and what the kernel reports of XDP. -ENODEV: there is no such interface. */
WARN_UNUSED int nic_probe(ifindex nic, struct dp_nic *ret, struct err *e);
/* Takes frames that XDP programs of others redirect to it. */
bool nic_takes_xdp(const struct dp_nic *n);
/* The NIC leaves VLAN tags in the frames it receives; false: it does not let itself be told. */
bool nic_keep_tags(ifindex nic);

#endif
