/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_CLI_HELP_H
#define DEMARC_CLI_HELP_H

/* Help, completion and the manual: all from the rows of the command tables. All print on stdout. */

#include "cli/cli.h"

extern const struct command *const command_groups[];
extern const size_t n_command_groups;
extern const struct cli_option global_options[]; /* ends with name NULL */

void help_command(const struct command *c);
void help_all(void);
void help_completion(void); /* for bash */
void help_manual(void);	    /* demarc(1), in mdoc(7) */

#endif
