/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_SIM_OPTIONS_H
#define DEMARC_SIM_OPTIONS_H

/* The options of the command line: one row each, from which parsing, help, completion and the manual come. */

#include <stdio.h>

#include "sim/scenario.h"

struct setting {
	const char *name, *arg, *help;
	size_t at; /* of the option: a text, or a number when max is not 0; max 1 without arg: a flag */
	unsigned max;
};
extern const struct setting settings[];
extern const size_t n_settings;

/* Those after the scenario's name. */
WARN_UNUSED int options_read(int argc, char **argv, struct sim *s, struct err *e);

/* help.c */
void help_usage(FILE *out);
void help_completion(void); /* for bash */
void help_manual(void);	    /* mdoc(7) */

#endif
