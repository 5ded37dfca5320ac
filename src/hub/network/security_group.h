/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_SECURITY_GROUP_H
#define DEMARC_HUB_NETWORK_SECURITY_GROUP_H

#include "hub/network/net.h"

#define SECURITY_RULES_MAX 256 /* of one group, as the datapath holds; both directions */

/* The project's group "default", made with Neutron's rules when it is not there. *ret_id: arena. */
WARN_UNUSED int default_group(struct req *r, const char *project_id, const char **ret_id, struct err *e);

#endif
