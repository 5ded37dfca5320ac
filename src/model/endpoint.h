/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_MODEL_ENDPOINT_H
#define DEMARC_MODEL_ENDPOINT_H

/* An address and a port as people write them. Pure. Thread: any. */

#include "base/types.h"

struct endpoint {
	struct ip_addr ip;
	uint16_t port; /* host order, 1..65535 */
};

/* "192.0.2.1:4739", "192.0.2.1", "[2001:db8::1]:4739", "[2001:db8::1]"; without a port it is dflt_port. -EINVAL. */
WARN_UNUSED int endpoint_parse(struct str s, uint16_t dflt_port, struct endpoint *ret);

#endif
