/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_TOKEN_H
#define DEMARC_LINK_TOKEN_H

/* The enrolment token a person carries to the node: "demarc1." and base64url (RFC 4648 section 5, no padding) of
 * {"url", "ca_sha256", "secret"}. Pure. */

#include "base/err.h"
#include "base/str.h"

#define TOKEN_TEXT_MAX 4096

struct enrol_token {
	char url[300];
	char ca_sha256[65]; /* lower- or upper-case hex */
	char secret[200];
};

/* Fault BAD_REQUEST: cut, mistyped or from another program. */
WARN_UNUSED int enrol_token_parse(struct str text, struct enrol_token *ret, struct err *e);

#endif
