/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_QUOTA_H
#define DEMARC_HUB_COMPUTE_QUOTA_H

/* Limits, quotas and the collections that clients ask for and a cloud of network functions keeps empty. */

#include "hub/rest.h"

int limits_show(struct req *r, struct err *e);
int compute_quota_show(struct req *r, struct err *e);
int compute_quota_detail(struct req *r, struct err *e);
int compute_quota_defaults(struct req *r, struct err *e);
int extension_list(struct req *r, struct err *e);
int server_group_list(struct req *r, struct err *e);
int aggregate_list(struct req *r, struct err *e);
int volume_attachment_list(struct req *r, struct err *e);
int instance_action_list(struct req *r, struct err *e);

#endif
