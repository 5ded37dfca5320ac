/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_DP_ENCAP_H
#define DEMARC_DP_ENCAP_H

/* Outer headers. Pure: no I/O. */

#include "dp/dp.h"

#include <linux/types.h>

#include "tunnel.h"

/* The header that goes in front of every frame of the tunnel. Faults: BAD_REQUEST with the field. */
WARN_UNUSED int encap_build(const struct dp_tunnel *t, struct encap_rec *ret, struct err *e);
/* What frames from the far end are known by. */
void encap_key(const struct dp_tunnel *t, struct tunnel_key *ret);
/* NSH: service path << 8 | index that the far end sends; 0: it sends none. */
uint32_t encap_path_in(const struct dp_tunnel *t);
const char *encap_name(enum dp_tunnel_type type);

#endif
