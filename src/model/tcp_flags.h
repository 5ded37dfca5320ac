/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_MODEL_TCP_FLAGS_H
#define DEMARC_MODEL_TCP_FLAGS_H

#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"

/*
 * A condition on the flags byte of a TCP header: "syn,!ack" has mask SYN | ACK and value SYN. Names in any case, each at most once:
 * fin syn rst psh ack urg ece cwr. -EINVAL for anything else, the empty text too. Source: RFC 9293 3.1, RFC 3168 6.1.
 */
WARN_UNUSED int tcp_flags_parse(struct str s, uint8_t *ret_mask, uint8_t *ret_value);

#endif
