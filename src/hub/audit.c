/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/audit.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/types.h"

int audit(struct db *db, const char *node_id, const char *kind, const char *resource, struct err *e,
	  const char *fmt, ...)
{
	char id[UUID_STR_SIZE], text[512];
	va_list args;
	int rc;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	str_scrub_utf8(text);
	rc = db_exec(db, e,
		     "INSERT INTO event (id, time_us, node_id, site_id, kind, severity, resource, text) "
		     "VALUES (?1, ?2, ?3, (SELECT site_id FROM node WHERE id = ?3), ?4, 'info', ?5, ?6)",
		     "sissss", uuid_format(uuid_random(), id), clock_wall_us(), node_id, kind,
		     resource ? resource : "", text);
	return rc < 0 ? rc : 0;
}
