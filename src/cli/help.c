/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

const struct command *const command_groups[] = { site_commands,	   enrol_commands, stream_commands,
						 node_commands,	   vtep_commands,  port_commands,
						 chain_commands,   trace_commands, flow_commands,
						 capacity_commands };
const size_t n_command_groups = ARRAY_LEN(command_groups);

const struct cli_option global_options[] = {
	{ "json", NULL, "print JSON for machines" },
	{ "os-cloud", "NAME", "cloud of clouds.yaml to talk to (OS_CLOUD)" },
	{ "os-cacert", "FILE", "CA certificate of the hub (OS_CACERT)" },
	{ "help", NULL, "show help for the command" },
	{ "version", NULL, "print the version" },
	{ NULL, NULL, NULL },
};

/* ---- help ---- */

static void usage_line(const struct command *c, FILE *to)
{
	fprintf(to, "demarc %s%s%s", c->words, *c->positionals ? " " : "", c->positionals);
	for (const struct cli_option *o = c->options; o && o->name; o++)
		fprintf(to, " [--%s%s%s]", o->name, o->value ? " " : "", o->value ? o->value : "");
	fputc('\n', to);
}

static void option_lines(const struct cli_option *o)
{
	for (; o && o->name; o++) {
		char left[48];

		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value ? " " : "",
			 o->value ? o->value : "");
		printf("  %-26s %s\n", left, o->help);
	}
}

void help_command(const struct command *c)
{
	printf("usage: ");
	usage_line(c, stdout);
	printf("\n%s.\n", c->summary);
	if (c->options) {
		printf("\noptions:\n");
		option_lines(c->options);
	}
	printf("\neverywhere:\n");
	option_lines(global_options);
}

void help_all(void)
{
	printf("demarc: sites, nodes, chains and bindings of a demarc hub (everything else: the openstack client)\n\n"
	       "usage: demarc COMMAND [ARGUMENTS] [--json]\n\n");
	for (size_t g = 0; g < n_command_groups; g++)
		for (const struct command *c = command_groups[g]; c->words; c++)
			printf("  %-16s %s\n", c->words, c->summary);
	printf("  %-16s %s\n", "completion", "Print completion for bash; source it");
	printf("\neverywhere:\n");
	option_lines(global_options);
	printf("\n\"demarc COMMAND --help\" tells more; demarc(1) is the manual.\n");
}

/* ---- completion, from the same rows ---- */

static void completion_words(const char *first)
{
	const char *last = "";

	for (size_t g = 0; g < n_command_groups; g++)
		for (const struct command *c = command_groups[g]; c->words; c++) {
			struct str rest, head = str_cut(str_of(c->words), ' ', &rest);

			if (first && str_eq_c(head, first))
				printf(STR_FMT " ", STR_ARG(rest));
			if (!first &&
			    !(strlen(last) >= head.len && strncmp(last, c->words, head.len) == 0 &&
			      (last[head.len] == ' ' || last[head.len] == '\0')))
				printf(STR_FMT " ", STR_ARG(head));
			last = c->words;
		}
}

static void completion_cases(void)
{
	for (size_t g = 0; g < n_command_groups; g++)
		for (const struct command *c = command_groups[g]; c->words; c++) {
			printf("\t'%s'*) words=\"", c->words);
			for (const struct cli_option *o = c->options; o && o->name; o++)
				printf("--%s ", o->name);
			printf("--json --help\" ;;\n");
		}
}

void help_completion(void)
{
	static const char *const nouns[] = { "site", "node", "port", "chain" };

	printf("# bash completion for demarc(1): source it, or install it as /usr/share/bash-completion/completions/demarc\n"
	       "_demarc() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} words=\"\" line=\"${COMP_WORDS[*]:1}\"\n"
	       "\tif [ \"$COMP_CWORD\" -eq 1 ]; then words=\"");
	completion_words(NULL);
	printf("completion --help --version\"\n\telse case \"${COMP_WORDS[1]}:$COMP_CWORD\" in\n");
	for (size_t i = 0; i < ARRAY_LEN(nouns); i++) {
		printf("\t%s:2) words=\"", nouns[i]);
		completion_words(nouns[i]);
		printf("\" ;;\n");
	}
	printf("\t*) case \"$line\" in\n");
	completion_cases();
	printf("\tesac ;;\n\tesac; fi\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -F _demarc demarc\n");
}

/* ---- the manual, in mdoc(7), from the same rows ---- */

/* A leading dot or quote would be a macro, a backslash an escape. */
static void mdoc_text(const char *text)
{
	if (*text == '.' || *text == '\'')
		printf("\\&");
	for (; *text; text++)
		*text == '\\' ? printf("\\e") : putchar(*text);
}

static void mdoc_options(const struct cli_option *o)
{
	if (!o)
		return;
	printf(".Bl -tag -width Ds -compact\n");
	for (; o->name; o++) {
		printf(".It Fl Fl %s%s%s\n", o->name, o->value ? " Ar " : "", o->value ? o->value : "");
		mdoc_text(o->help);
		printf(".\n");
	}
	printf(".El\n");
}

void help_manual(void)
{
	printf(".Dd November 21, 2026\n.Dt DEMARC 1\n.Os demarc\n.Sh NAME\n.Nm demarc\n.Nd operate the sites, nodes and chains of a demarc hub\n"
	       ".Sh SYNOPSIS\n.Nm demarc\n.Ar command\n.Op Ar arguments\n.Op Fl Fl json\n.Sh DESCRIPTION\n"
	       "What OpenStack has a word for is done with the\n.Xr openstack 1\nclient.\nThis command does the rest: sites and their enrolment, "
	       ""
	       "verified bindings, whole changesof live chains, and the packet trace.\nA hop is named by its name, its id or its number from 1.\n"
	       "An interrupted change is taken back.\n"
	       ".Pp\nShells, logs and captures end when nothing was said for 15 minutes (a capture waits on), after 8 hours, when nobody has read for a minute,\n"
	       "and with the node\\(aqs connection.\n"
	       ".Pp\nEvents are what has happened, each told once: there are no alarms that are raised and cleared.\n"
	       "What is wrong now is the state of the thing itself:\n.Ic status\nshows nodes that are down and the hub\\(aqs health,\n"
	       ".Ic chain list\nchains that are not whole,\n.Ic port verify\nbindings that differ.\n.Pp\nThe commands:\n.Bl -tag -width Ds\n");
	for (size_t g = 0; g < n_command_groups; g++)
		for (const struct command *c = command_groups[g]; c->words; c++) {
			printf(".It Ic %s%s%s\n", c->words, *c->positionals ? " Ar " : "",
			       c->positionals);
			mdoc_text(c->summary);
			printf(".\n");
			mdoc_options(c->options);
		}
	printf(".El\n.Pp\nEverywhere:\n");
	mdoc_options(global_options);
	printf(".Sh ENVIRONMENT\n.Ev OS_CLIENT_CONFIG_FILE , OS_CLOUD , OS_AUTH_URL , OS_USERNAME , OS_PASSWORD , OS_PROJECT_NAME , OS_CACERT :\n"
	       "as for the\n.Xr openstack 1\nclient.\n"
	       ".Sh FILES\n.Pa ./clouds.yaml , ~/.config/openstack/clouds.yaml , /etc/openstack/clouds.yaml\n"
	       ".Sh EXIT STATUS\n0 done; 1 it failed, a binding is not verified, or not even the smallest rung is carried; 2 the command or a value is wrong; 3 not found; 4 not allowed;\n"
	       "5 the hub or the node did not answer, or it was interrupted.\n"
	       ".Sh EXAMPLES\n.Dl demarc chain insert vcpe --after router accelerator --probe tcp:3128\n"
	       ".Dl demarc capacity --churn 50 --max-nodes 5000\n"
	       ".Dl demarc trace uplink-lan --src 192.168.10.10 --dst 203.0.113.1 --dport 80\n"
	       ".Sh SEE ALSO\n.Xr openstack 1 ,\n.Xr demarc-hub 8 ,\n.Xr demarc-node 8 ,\n.Xr demarc-sim 8\n");
}
