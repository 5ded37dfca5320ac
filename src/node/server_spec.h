/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_SERVER_SPEC_H
#define DEMARC_NODE_SERVER_SPEC_H

/* From the intent to what a function must be: its vNICs, its metadata, what a run is made from. Reads the intent only,
 * and gives ports their numbers. Thread: the loop's. */

#include "node/meta.h"
#include "node/node.h"
#include "node/vnic.h"

/* False when a port of the server is not in the intent (yet): *ret_missing says which. */
bool server_spec_vnics(struct node *n, const Demarc__V1__Server *s, struct vnics *ret,
		       char *ret_missing, size_t size);
/* What, when it changes, needs a new run: image, limits, host name. */
void server_spec_run(const Demarc__V1__Server *s, char *ret, size_t size);
WARN_UNUSED int server_spec_docs(struct node *n, const char *id, const Demarc__V1__Server *s,
				 struct meta_docs *ret, struct err *e);
/* resolv.conf from the subnets of its ports; "" when they name no server. */
void server_spec_resolv(struct node *n, const Demarc__V1__Server *s, char *ret, size_t size);
uint64_t server_spec_disk_limit(const Demarc__V1__Server *s); /* bytes the image may unpack to */
unsigned network_mtu(const Demarc__V1__Network *net); /* bytes; 1500 when net is NULL or says nothing */

#endif
