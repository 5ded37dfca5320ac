/* SPDX-License-Identifier: Apache-2.0 */
#include "node/guard.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

#define STORM_ID "storm:"

struct word {
	const char *name;
	uint16_t flag;
};

static const struct word guards[] = {
	{ "ra", DP_GUARD_RA },
	{ "dhcp", DP_GUARD_DHCP },
	{ "source", DP_GUARD_SOURCE },
};
static const struct word helpers[] = {
	{ "ftp", DP_PORT_HELP_FTP },
	{ "tftp", DP_PORT_HELP_TFTP },
	{ "sip", DP_PORT_HELP_SIP },
};

/* Words of a newer hub are not known here, and do nothing. */
static uint16_t flags_of(char **names, size_t n, const struct word *words, size_t n_words)
{
	uint16_t flags = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n_words; k++)
			if (strcmp(names[i], words[k].name) == 0)
				flags |= words[k].flag;
	return flags;
}

static bool set_storm(struct node *n, const char *port_id, uint64_t pps, struct dp_port *d)
{
	char id[sizeof(STORM_ID) + UUID_STR_SIZE];
	struct dp_meter m = { .rate_pps = pps };
	struct err e = { 0 };

	if (!pps)
		return true;
	(void)snprintf(id, sizeof(id), STORM_ID "%s", port_id);
	m.id = (uint16_t)(2 * local_number(n->local, LOCAL_METER, id));
	if (!m.id)
		(void)!err_set(&e, FAULT_QUOTA, NULL,
			       "more ports with limits than the datapath has meters for");
	else if (dp_meter_set(n->dp, &m, &e) == 0) {
		d->storm_meter = m.id;
		return true;
	}
	log_limited(LOG_WARN_, "limit_refused", "port=%s error=\"%s\"", port_id, e.msg);
	return false;
}

bool guard_port(struct node *n, const char *port_id, const Demarc__V1__Port *p, struct dp_port *d)
{
	const Demarc__V1__ConnectionLimits *l = p->connection_limits;

	d->guards |= (uint8_t)flags_of(p->guards, p->n_guards, guards, ARRAY_LEN(guards));
	d->flags |= flags_of(p->helpers, p->n_helpers, helpers, ARRAY_LEN(helpers));
	if (l)
		d->limits = (struct dp_limits){ .half_open = l->half_open,
						.source_half_open = l->source_half_open,
						.source_rate = l->source_rate,
						.syn_cookies = l->syn_cookies };
	return set_storm(n, port_id, p->storm_pps, d);
}

bool guard_keeps_meter(struct node *n, const char *id)
{
	const Demarc__V1__Port *p = str_starts(str_of(id), STR(STORM_ID)) ?
					    intent_port(n->intent, id + strlen(STORM_ID)) :
					    NULL;

	return p && p->storm_pps;
}
