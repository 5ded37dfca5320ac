/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_CALLS_H
#define DEMARC_NODE_CALLS_H

/* Questions of the hub on behalf of a person: console log, trace, status. Thread: the loop's. */

#include "node/node.h"

/* Answers on n->link under the request's number. */
void calls_answer(struct node *n, uint64_t request, const Demarc__V1__Call *call);

#endif
