/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/report.h"

#include <jansson.h>

#include "base/json.h"

/* A node's lists are bounded before they are stored. */
#define DIFFERENCES_MAX 64
#define ADDRESSES_MAX 64

static json_t *differences_json(const Demarc__V1__PortStatus *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n_differences && i < DIFFERENCES_MAX; i++) {
		const Demarc__V1__Difference *d = s->differences[i];

		(void)json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "attribute", d->attribute,
							    "wanted", d->wanted, "found", d->found));
	}
	return list;
}

static json_t *observed_json(const Demarc__V1__Observed *o)
{
	json_t *addresses = json_array();

	for (size_t i = 0; i < o->n_addresses && i < ADDRESSES_MAX; i++)
		(void)json_array_append_new(addresses, json_string(o->addresses[i]));
	return json_pack("{s:s, s:s, s:I, s:o, s:s, s:b}", "name", o->name, "mac", o->mac,
			 "ifindex", (json_int_t)o->ifindex, "addresses", addresses, "network_id",
			 o->network_id, "link_up", (int)o->link_up);
}

int port_report(struct db *db, const char *node_id, const Demarc__V1__PortStatus *s, struct err *e)
{
	CLEANUP(json_freep) json_t *differences = differences_json(s);
	CLEANUP(json_freep) json_t *observed = s->observed ? observed_json(s->observed) : NULL;
	const char *status = s->observed && s->observed->link_up ? "ACTIVE" : "DOWN";

	return db_exec(db, e,
		       "UPDATE port SET verified = ?, differences = ?, observed = ?, seen_version = ?, checked_us = ?, "
		       "status = ? WHERE id = ? AND node_id = ?",
		       "bjjiisss", (int)s->verified, differences, observed, (int64_t)s->version,
		       s->checked_us, status, s->id, node_id);
}
