/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_CERT_H
#define DEMARC_NODE_CERT_H

/* The node's certificate while it runs: what the hub sends is stored, tried, and kept once it works. Thread: the loop's. */

#include "node/node.h"

void cert_trust(struct node *n, const Demarc__V1__Trust *m);
void cert_issued(struct node *n, const Demarc__V1__CertIssued *m);
/* The hub has said hello. */
void cert_link_up(struct node *n);
/* A connection or an attempt is over. */
void cert_link_down(struct node *n);

/* The token in a zero-touch file: its first line that is neither empty nor begins with '#'. Caller frees. */
WARN_UNUSED int enrol_file_token(const char *path, char **ret, struct err *e);

#endif
