/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_MODEL_NSH_H
#define DEMARC_MODEL_NSH_H

/* Context that goes with NSH, from the words of the API to bytes on the wire: RFC 8300 sections 2.4 and 2.5. Pure. */

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define NSH_FIXED_SIZE 16  /* metadata of type 1 */
#define NSH_CONTEXT_MAX 64 /* bytes of TLVs with their headers; dp_tunnel.nsh_context */
#define NSH_TLV_HEADER 4
#define NSH_CLASS_MAX 0xfffe /* RFC 8300 9.1.4: 0xffff is reserved */
#define NSH_TYPE_MAX 0xff

/* Metadata of type 1: 32 hexadecimal digits. -EINVAL. */
WARN_UNUSED int nsh_fixed(struct str hex, uint8_t ret[static NSH_FIXED_SIZE]);
/*
 * Metadata of type 2: a list of {"class": N, "type": N, "value": hexadecimal digits}, in its order, each padded to 4 bytes. Returns the size;
 * BAD_REQUEST names the place in the list and says what would be right.
 */
WARN_UNUSED int nsh_tlvs(const json_t *list, uint8_t ret[static NSH_CONTEXT_MAX], struct err *e);

#endif
