/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_VIF_H
#define DEMARC_HUB_COMPUTE_VIF_H

/*
 * The vNICs of a server. vNIC i of the create request is slot i, which the function sees as eth<i>, for the life of
 * the server: a detach frees its slot and renumbers nothing; an attach takes the smallest free slot, so that the interface that
 * comes back after a detach is the one that went.
 */

#include "hub/compute/server.h"
#include "hub/rest.h"

/* One wanted vNIC: an existing port, or a new port on a network. Strings are borrowed from the body or the arena. */
struct vif_want {
	const char *port_id, *network_id, *tag;
	const json_t *fixed_ips; /* Neutron's form, or NULL; owned by the request's arena */
	const char *node_id;	 /* of an existing port that is bound already */
};

/*
 * Reads `networks` of a create request: a list, or "auto" / "none" (2.37), or nothing (before 2.37: the project's only network).
 * Checks that every network and port exists, may be used by the caller, and is free.
 */
WARN_UNUSED int vif_read(struct req *r, const json_t *body, struct vif_want *ret, size_t *ret_n,
			 struct err *e);
/* Checks one want, whoever made it: fills network_id and node_id of a port. `missing` is the fault for what is not there. */
WARN_UNUSED int vif_check(struct req *r, struct vif_want *w, enum fault missing, struct err *e);
/* Names or ids of security groups of the project to a list of ids, in the arena's care; NULL in, NULL out. */
WARN_UNUSED int vif_groups(struct req *r, const json_t *names, json_t **ret, struct err *e);
/* Makes the port when there is none yet, binds it to the server's node and records the slot. */
WARN_UNUSED int vif_plug(struct req *r, const struct server *s, struct vif_want *w,
			 const json_t *group_ids, struct err *e);
/* Frees the slot; deletes the port when it was made by vif_plug(), else unbinds it. NOT_FOUND when it is not attached. */
WARN_UNUSED int vif_unplug(struct req *r, const struct server *s, const char *port_id, struct err *e);
WARN_UNUSED int vif_unplug_all(struct req *r, const struct server *s, struct err *e);

int interface_list(struct req *r, struct err *e);
int interface_show(struct req *r, struct err *e);
int interface_attach(struct req *r, struct err *e);
int interface_detach(struct req *r, struct err *e);

#endif
