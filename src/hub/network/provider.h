/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_PROVIDER_H
#define DEMARC_HUB_NETWORK_PROVIDER_H

/*
 * How a network travels: provider:network_type and what goes with it (Neutron, "Provider extended attributes"), and what Neutron has no word
 * for (extension demarc-encapsulations): the kinds of model/overlay.h, a service tag around a VLAN, the service path of vxlan-gpe.
 * Worker threads.
 */

#include "hub/rest.h"
#include "model/nsh.h"
#include "model/overlay.h"

extern const char *const provider_types[]; /* ends with NULL */

#define PROVIDER_FLAGS (ATTR_FILTER | ATTR_ADMIN | ATTR_ADMIN_SEE)
#define PROVIDER_ATTRS                                                                             \
	{ "provider:network_type", "network_type", ATTR_ENUM, ATTR_CREATE | PROVIDER_FLAGS,        \
	  .choices = provider_types },                                                             \
		{ "provider:physical_network", "physical_network", ATTR_STR,                       \
		  ATTR_CREATE | PROVIDER_FLAGS | ATTR_NULLABLE, .max = 15 },                       \
		{ "provider:segmentation_id",                                                      \
		  "segmentation_id",                                                               \
		  ATTR_INT,                                                                        \
		  ATTR_RW | PROVIDER_FLAGS | ATTR_NULLABLE,                                        \
		  1,                                                                               \
		  UINT32_MAX },                                                                    \
		{ "demarc:outer_segmentation_id",                                                  \
		  "outer_segmentation_id",                                                         \
		  ATTR_INT,                                                                        \
		  ATTR_RW | PROVIDER_FLAGS | ATTR_NULLABLE,                                        \
		  1,                                                                               \
		  PROVIDER_VLAN_MAX },                                                             \
		{ "demarc:nsh_path",                                                               \
		  "nsh_path",                                                                      \
		  ATTR_INT,                                                                        \
		  ATTR_RW | PROVIDER_FLAGS | ATTR_NULLABLE,                                        \
		  1,                                                                               \
		  OVERLAY_NSH_PATH_MAX },                                                          \
		{ "demarc:nsh_index",                                                              \
		  "nsh_index",                                                                     \
		  ATTR_INT,                                                                        \
		  ATTR_RW | PROVIDER_FLAGS | ATTR_NULLABLE,                                        \
		  1,                                                                               \
		  OVERLAY_NSH_INDEX_MAX },                                                         \
		{ "demarc:nsh_md_type",                                                            \
		  "nsh_md_type",                                                                   \
		  ATTR_INT,                                                                        \
		  ATTR_RW | PROVIDER_FLAGS | ATTR_NULLABLE,                                        \
		  1,                                                                               \
		  2 },                                                                             \
		{ "demarc:nsh_context", "nsh_context", ATTR_STR,                                   \
		  ATTR_RW | PROVIDER_FLAGS | ATTR_NULLABLE, .max = 2 * NSH_FIXED_SIZE },           \
	{                                                                                          \
		"demarc:nsh_tlvs", "nsh_tlvs", ATTR_LIST,                                          \
			ATTR_RW | ATTR_ADMIN | ATTR_ADMIN_SEE | ATTR_NULLABLE,                     \
			.max = NSH_CONTEXT_MAX / NSH_TLV_HEADER                                    \
	}
#define PROVIDER_VLAN_MAX 4094 /* IEEE 802.1Q */

/* The kind of tunnel of a network's row, or NULL. */
const struct overlay_type *provider_overlay(const json_t *row);
/* The kind can have the number; errors name `field` and the range. */
WARN_UNUSED int provider_id_check(struct req *r, const struct overlay_type *t, int64_t id,
				  const char *field, struct err *e);
/* In create: type, number, MTU and path that a request leaves to us are filled in. */
WARN_UNUSED int provider_create(struct req *r, json_t *row, struct err *e);
/* now: the row as the update leaves it. */
WARN_UNUSED int provider_update(struct req *r, const json_t *now, struct err *e);

#endif
