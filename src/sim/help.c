/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/str.h"
#include "sim/options.h"

/* Help, completion and the manual: all from the rows of the scenarios and of the options. */

void help_usage(FILE *out)
{
	fprintf(out,
		"Usage: demarc-sim SCENARIO [OPTION]...\nVery many nodes at one hub, on this machine.\n\nScenarios:\n");
	for (const struct scenario *sc = scenarios; sc->name; sc++)
		fprintf(out, "  %-22s %s\n", sc->name, sc->summary);
	fprintf(out, "\nOptions:\n");
	for (size_t i = 0; i < n_settings; i++) {
		char left[40];

		(void)snprintf(left, sizeof(left), "--%s %s", settings[i].name,
			       settings[i].arg ? settings[i].arg : "");
		fprintf(out, "  %-22s %s\n", left, settings[i].help);
	}
	fprintf(out,
		"\n\"demarc-sim completion\" prints completion for bash; demarc-sim(8) is the manual.\n");
}

/* ---- completion ---- */

/* The options whose value is of that kind, as a pattern of the shell. */
static void option_pattern(const char *const *args, size_t n)
{
	bool first = true;

	for (size_t i = 0; i < n_settings; i++)
		for (size_t k = 0; settings[i].arg && k < n; k++)
			if (strcmp(settings[i].arg, args[k]) == 0) {
				printf("%s--%s", first ? "" : "|", settings[i].name);
				first = false;
			}
}

void help_completion(void)
{
	static const char *const files[] = { "FILE" }, *const dirs[] = { "DIR" };
	static const char *const others[] = { "N", "MS", "NAME", "PID", "PERCENT" };

	printf("# bash completion for demarc-sim(8): source it, or install it as /usr/share/bash-completion/completions/demarc-sim\n"
	       "_demarc_sim() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\"\"\n"
	       "\tcase \"$prev\" in\n\t");
	option_pattern(files, ARRAY_LEN(files));
	printf(") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n\t");
	option_pattern(dirs, ARRAY_LEN(dirs));
	printf(") COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n\t");
	option_pattern(others, ARRAY_LEN(others));
	printf(") return ;;\n\tesac\n\tif [ \"$COMP_CWORD\" -eq 1 ]; then words=\"");
	for (const struct scenario *sc = scenarios; sc->name; sc++)
		printf("%s ", sc->name);
	printf("completion --help --version\"\n\telse words=\"");
	for (size_t i = 0; i < n_settings; i++)
		printf("%s--%s", i ? " " : "", settings[i].name);
	printf("\"; fi\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -F _demarc_sim demarc-sim\n");
}

/* ---- the manual ---- */

/* A hyphen in a word that is typed is a minus. */
static void mdoc_word(const char *word)
{
	for (; *word; word++)
		*word == '-' ? printf("\\-") : putchar(*word);
}

void help_manual(void)
{
	printf(".Dd November 21, 2026\n.Dt DEMARC-SIM 8\n.Os demarc\n.Sh NAME\n.Nm demarc-sim\n.Nd very many simulated nodes for one demarc hub\n"
	       ".Sh SYNOPSIS\n.Nm\n.Ar scenario\n.Op Ar option ...\n.Nm\n.Cm completion\n.Sh DESCRIPTION\n"
	       "The nodes are the agent's own, from the channel and its certificates to the functions, chains and reports, on a machine that does as if:\n"
	       "containers, interfaces and the datapath only take their time, and fail as often as\n.Fl Fl fail-percent\nsays.\n"
	       "They call from addresses of 127.1.0.0/16 and on, and are as many processes as the limit of open files asks for.\n"
	       "Nodes are enrolled and given their intents once, and kept in the state directory for the next run.\n"
	       "As nodes do, they keep the newest session ticket that the hub gave them, and come back by it;\n"
	       "the report says how many returns were resumed and how many were full handshakes.\n"
	       "While it runs, a line every two seconds says how far it is; an interrupt ends it with a report of what there was until then.\n"
	       "What a killed run has left in /dev/shm is removed by the next one.\n"
	       ".Pp\nThe scenarios:\n.Bl -tag -width Ds\n");
	for (const struct scenario *sc = scenarios; sc->name; sc++) {
		printf(".It Cm ");
		mdoc_word(sc->name);
		printf("\n%s.\n", sc->summary);
	}
	printf(".El\n.Pp\nThe options:\n.Bl -tag -width Ds\n");
	for (size_t i = 0; i < n_settings; i++)
		printf(".It Fl Fl %s%s%s\n%s.\n", settings[i].name, settings[i].arg ? " Ar " : "",
		       settings[i].arg ? settings[i].arg : "", settings[i].help);
	printf(".El\n.Sh FILES\n.Bl -tag -width Ds\n.It Pa fleet.*\nThe nodes that were made, with their certificates and keys, and what\n.Cm renewal\nmade of these.\n"
	       ".It Pa hub\nThe data of a hub that\n.Nm\nstarts; what it logs is beside it in\n.Pa hub.log .\n.El\n"
	       ".Sh EXIT STATUS\n0 done; 1 it could not be done, an acknowledged change is missing at its node, nodes are not steady, or the scenario found "
	       "what it says must not be; 2 the command or a value is wrong.\n"
	       ".Sh EXAMPLES\n.Dl demarc-sim storm --nodes 1000 --hub-binary /usr/bin/demarc-hub\n"
	       ".Dl demarc-sim hub-kill --nodes 15000 --chains 4 --churn 50 --hub-binary /usr/bin/demarc-hub\n"
	       ".Sh SEE ALSO\n.Xr demarc 1 ,\n.Xr demarc-hub 8 ,\n.Xr demarc-node 8\n");
}
