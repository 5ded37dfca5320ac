/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_ABOUT_H
#define DEMARC_HUB_NETWORK_ABOUT_H

#include "hub/rest.h"

/* Route handlers of what the network service says about itself: extensions, quotas, availability zones, agents (the nodes). */
int extensions_list(struct req *r, struct err *e);
int extension_show(struct req *r, struct err *e);
int quotas_list(struct req *r, struct err *e);
int quota_show(struct req *r, struct err *e);
int quota_details(struct req *r, struct err *e);
int zones_list(struct req *r, struct err *e);
int agents_list(struct req *r, struct err *e);
int agent_show(struct req *r, struct err *e);

#endif
