/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_FLAVOR_H
#define DEMARC_HUB_COMPUTE_FLAVOR_H

/* Flavors. A private flavor is seen by admins and by the projects on its access list. */

#include "hub/rest.h"

struct flavor {
	const char *id, *name, *description, *extra_specs; /* extra_specs: JSON object of strings */
	int64_t ram_mb, vcpus, disk_gb, ephemeral_gb, swap_mb;
	double rxtx_factor;
	bool is_public, disabled;
};

/* By id, as far as the caller may see it; strings live in the arena. `missing` is the fault when it is not there. */
WARN_UNUSED int flavor_need(struct req *r, const char *id, enum fault missing, struct flavor *ret,
			    struct err *e);
/* What a server keeps of its flavor (see server.h). New reference. */
json_t *flavor_embed(const struct flavor *f);
/* The flavors of a new hub; idempotent: does nothing once there is any flavor or the default ones have been made. */
WARN_UNUSED int flavor_bootstrap(struct db *db, struct err *e);

int flavor_list(struct req *r, struct err *e);
int flavor_list_detail(struct req *r, struct err *e);
int flavor_show(struct req *r, struct err *e);
int flavor_create(struct req *r, struct err *e);
int flavor_update(struct req *r, struct err *e);
int flavor_delete(struct req *r, struct err *e);
int flavor_specs_list(struct req *r, struct err *e);
int flavor_specs_add(struct req *r, struct err *e);
int flavor_spec_show(struct req *r, struct err *e);
int flavor_spec_set(struct req *r, struct err *e);
int flavor_spec_delete(struct req *r, struct err *e);
int flavor_access_list(struct req *r, struct err *e);
int flavor_action(struct req *r, struct err *e);

#endif
