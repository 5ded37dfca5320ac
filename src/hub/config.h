/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_CONFIG_H
#define DEMARC_HUB_CONFIG_H

/* Command line and configuration file of demarc-hub. */

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "hub/hub.h"

struct config {
	struct hub_config hub;
	enum log_level log_level;
	bool help, version;
	struct arena *arena; /* of every string in it */
};

/* argv wins over the file named by --config, which wins over the defaults. Fault BAD_REQUEST names the option. */
WARN_UNUSED int config_read(int argc, char **argv, struct config *ret, struct err *e);
void config_done(struct config *c);
void config_usage(FILE *out);

#endif
