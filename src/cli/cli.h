/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_CLI_CLI_H
#define DEMARC_CLI_CLI_H

/* The operator's command: one row per command; parsing, help, completion and the manual's synopsis come from the rows. */

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "cli/client.h"
#include "cli/output.h"

#define POSITIONALS_MAX 32

struct cli {
	struct client *client;
	json_t *options; /* name -> string, or true for a flag */
	const char *positionals[POSITIONALS_MAX];
	size_t n_positionals;
	bool json;
	struct progress progress;
};

struct cli_option {
	const char *name;  /* without dashes */
	const char *value; /* what stands for the value in help; NULL: a flag */
	const char *help;
};

struct command {
	const char *words; /* "chain insert" */
	const char *positionals; /* "CHAIN IMAGE"; a last word ending in "..." repeats, one in [] is optional */
	const char *summary;			  /* one line, no full stop */
	int (*run)(struct cli *c, struct err *e); /* client is NULL when no_client */
	const struct cli_option *options;	  /* ends with name NULL; NULL: none */
	bool no_client;
};

extern const struct command site_commands[], node_commands[], port_commands[], chain_commands[],
	enrol_commands[], stream_commands[], trace_commands[], flow_commands[], capacity_commands[],
	vtep_commands[];

const char *cli_option(const struct cli *c, const char *name); /* NULL when not given; "" for a flag */
WARN_UNUSED int cli_number(const struct cli *c, const char *name, long long dflt, long long max,
			   long long *ret, struct err *e);
/* "a, b" as ["a", "b"]; "" is []. New reference. */
json_t *cli_list(const char *text);
/* True once after SIGINT or SIGTERM: work in progress is undone and reported. */
bool cli_interrupted(void);
/* Waits between two looks at the hub; returns early when interrupted. */
void cli_pause_ms(unsigned ms);

/* GET of a demarc v1 collection or object; the inner member when there is one. New reference. */
WARN_UNUSED int cli_get(struct cli *c, const char *path, const char *member, json_t **ret,
			struct err *e);

#endif
