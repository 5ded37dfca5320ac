/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_CHAIN_CLASSIFIER_H
#define DEMARC_HUB_CHAIN_CLASSIFIER_H

#include "hub/rest.h"
#include "model/chain.h"

/* The row (attributes by name) as the conflict check sees it; strings are borrowed from the row. */
struct classifier classifier_of(const json_t *row);
/* CHAIN_CLASSIFIER_CONFLICT when a classifier of another chain wants a packet that row's wants. */
WARN_UNUSED int classifier_chain_conflict(struct req *r, const json_t *row, const char *chain_id,
					  struct err *e);

#endif
