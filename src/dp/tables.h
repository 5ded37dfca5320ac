/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_DP_TABLES_H
#define DEMARC_DP_TABLES_H

/* Compiled tables and groups of addresses, by number. What uses them: sg.c, acl.c. */

#include "dp/classify.h"
#include "dp/internal.h"

#define POLICY_NUMBER_MAX 0xffffffu /* of a security group, list or group of addresses */
/* Groups of addresses: the ports of a security group, or a group by itself. */
#define POLICY_GROUP_SG(sg) (0x10000000u | (uint32_t)(sg))

WARN_UNUSED int policy_open(struct dp *dp, struct err *e);
void policy_close(struct dp *dp);

/* What rules look at beside a flow's key. A table that comes, before it is used; one that goes, after. */
WARN_UNUSED int facts_add(struct dp *dp, uint32_t table, const struct rule *rules, size_t n,
			  struct err *e);
void facts_forget(struct dp *dp, uint32_t table);
WARN_UNUSED int facts_sweep(struct dp *dp, struct err *e);
void facts_done(struct dp *dp);
/* Pure: classes of what these rules tell apart. */
void facts_of_rules(const struct rule *rules, size_t n, struct policy_facts *ret);

/* Both families. Equal rules are no change. */
WARN_UNUSED int policy_table_set(struct dp *dp, uint32_t table, const struct rule *rules, size_t n,
				 struct err *e);
void policy_table_del(struct dp *dp, uint32_t table);

/* One map operation for each address that comes or goes. */
WARN_UNUSED int policy_group_set(struct dp *dp, uint32_t group, const struct ip_cidr *v, size_t n,
				 struct err *e);
void policy_group_del(struct dp *dp, uint32_t group);

#endif
