/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_HOST_H
#define DEMARC_HUB_COMPUTE_HOST_H

/* Nodes as Nova's users know them: hypervisors, compute services and, for sites, availability zones. */

#include "hub/rest.h"

int hypervisor_list(struct req *r, struct err *e);
int hypervisor_list_detail(struct req *r, struct err *e);
int hypervisor_show(struct req *r, struct err *e);
int hypervisor_uptime(struct req *r, struct err *e);
int hypervisor_statistics(struct req *r, struct err *e);
int hypervisor_search(struct req *r, struct err *e);
int hypervisor_servers(struct req *r, struct err *e);
int compute_service_list(struct req *r, struct err *e);
int compute_service_update(struct req *r, struct err *e);
int compute_service_enable(struct req *r, struct err *e);
int compute_service_disable(struct req *r, struct err *e);
int zone_list(struct req *r, struct err *e);
int zone_list_detail(struct req *r, struct err *e);

#endif
