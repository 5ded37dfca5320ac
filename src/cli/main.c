/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/help.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = 1;
}

bool cli_interrupted(void)
{
	return interrupted;
}

void cli_pause_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	if (!interrupted)
		nanosleep(&t, NULL);
}

const char *cli_option(const struct cli *c, const char *name)
{
	const json_t *v = json_object_get(c->options, name);

	return json_is_string(v) ? json_string_value(v) : v ? "" : NULL;
}

int cli_number(const struct cli *c, const char *name, long long dflt, long long max, long long *ret,
	       struct err *e)
{
	const char *text = cli_option(c, name);
	uint64_t num;

	if (!text) {
		*ret = dflt;
		return 0;
	}
	if (str_to_u64(str_of(text), (uint64_t)max, &num) < 0)
		return err_set(e, FAULT_BAD_REQUEST, name,
			       "--%s takes a whole number from 0 to %lld, not \"%s\"", name, max, text);
	*ret = (long long)num;
	return 0;
}

int cli_get(struct cli *c, const char *path, const char *member, json_t **ret, struct err *e)
{
	json_t *answer CLEANUP(json_freep) = NULL;
	int rc = client_call(c->client, "GET", "demarc", path, NULL, &answer, e);

	if (rc < 0)
		return rc;
	*ret = json_incref(json_object_get(answer, member) ? json_object_get(answer, member) : answer);
	return 0;
}

/* ---- arguments ---- */

static const struct command *find_command(int argc, char **argv, int *ret_used)
{
	for (size_t g = 0; g < n_command_groups; g++)
		for (const struct command *c = command_groups[g]; c->words; c++) {
			struct str second, first = str_cut(str_of(c->words), ' ', &second);

			if (argc < 1 || !str_eq_c(first, argv[0]))
				continue;
			if (second.len && (argc < 2 || !str_eq_c(second, argv[1])))
				continue;
			*ret_used = second.len ? 2 : 1;
			return c;
		}
	return NULL;
}

static const struct cli_option *find_option(const struct command *cmd, struct str name)
{
	const struct cli_option *lists[] = { cmd ? cmd->options : NULL, global_options };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (const struct cli_option *o = lists[i]; o && o->name; o++)
			if (str_eq_c(name, o->name))
				return o;
	return NULL;
}

/* "--name value", "--name=value", "--flag". Returns how many words it took. */
static int take_option(struct cli *c, const struct command *cmd, int argc, char **argv, struct err *e)
{
	struct str value, name = str_cut(str_of(argv[0] + 2), '=', &value);
	const struct cli_option *o = find_option(cmd, name);
	bool inline_value = strchr(argv[0], '=') != NULL;

	if (!o)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "no option --" STR_FMT "; see demarc %s --help", STR_ARG(name),
			       cmd->words);
	if (!o->value && inline_value)
		return err_set(e, FAULT_BAD_REQUEST, o->name, "--%s takes no value", o->name);
	if (!o->value) {
		json_object_set_new(c->options, o->name, json_true());
		return 1;
	}
	if (!inline_value && argc < 2)
		return err_set(e, FAULT_BAD_REQUEST, o->name, "--%s needs a value: %s", o->name,
			       o->value);
	json_object_set_new(c->options, o->name,
			    inline_value ? json_stringn(value.ptr, value.len) : json_string(argv[1]));
	return inline_value ? 1 : 2;
}

static int count_positionals(const struct command *cmd, size_t n, struct err *e)
{
	struct str rest = str_of(cmd->positionals);
	size_t least = 0, most = 0;

	while (rest.len) {
		struct str word = str_cut(rest, ' ', &rest);

		least += word.ptr[0] != '[';
		most = str_ends(word, STR("...")) ? POSITIONALS_MAX : most + 1;
	}
	if (n >= least && n <= most)
		return 0;
	return err_set(e, FAULT_BAD_REQUEST, NULL, "usage: demarc %s %s", cmd->words, cmd->positionals);
}

/* Two options have a letter that other tools made a habit of. */
static const char *long_form(const struct command *cmd, const char *word)
{
	static const struct {
		const char *letter, *option;
	} rows[] = { { "-f", "--follow" }, { "-w", "--write" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(word, rows[i].letter) == 0 && find_option(cmd, str_of(rows[i].option + 2)))
			return rows[i].option;
	return word;
}

static int parse_arguments(struct cli *c, const struct command *cmd, int argc, char **argv,
			   struct err *e)
{
	bool is_rest = false; /* after "--" */

	for (int i = 0; i < argc;) {
		if (!is_rest && strcmp(argv[i], "--") == 0) {
			is_rest = true;
			i++;
			continue;
		}
		if (!is_rest)
			argv[i] = (char *)(uintptr_t)long_form(cmd, argv[i]);
		if (!is_rest && strncmp(argv[i], "--", 2) == 0) {
			int rc = take_option(c, cmd, argc - i, argv + i, e);

			if (rc < 0)
				return rc;
			i += rc;
			continue;
		}
		if (c->n_positionals == POSITIONALS_MAX)
			return err_set(e, FAULT_BAD_REQUEST, NULL, "too many arguments");
		c->positionals[c->n_positionals++] = argv[i++];
	}
	if (cli_option(c, "help"))
		return 0;
	return count_positionals(cmd, c->n_positionals, e);
}

/* ---- main ---- */

/* Exit codes by whose problem it is; in the manual under EXIT STATUS. */
static int exit_code(enum fault f)
{
	if (f == FAULT_BAD_REQUEST)
		return 2;
	if (f == FAULT_NOT_FOUND)
		return 3;
	if (f == FAULT_UNAUTHENTICATED || f == FAULT_FORBIDDEN)
		return 4;
	if (f == FAULT_UNAVAILABLE || f == FAULT_TIMEOUT)
		return 5;
	return 1;
}

static int run_command(struct cli *c, const struct command *cmd, struct err *e)
{
	struct client_options o = { cli_option(c, "os-cloud"), cli_option(c, "os-cacert") };
	int rc;

	c->json = cli_option(c, "json") != NULL;
	c->progress.quiet = c->json;
	if (!cmd->no_client) {
		rc = client_open(&o, &c->client, e);
		if (rc < 0)
			return rc;
	}
	rc = cmd->run(c, e);
	client_close(c->client);
	return rc;
}

static int report(const struct err *e)
{
	fprintf(stderr, "demarc: %s%s%s%s\n", e->msg, e->field[0] ? " (" : "", e->field,
		e->field[0] ? ")" : "");
	return exit_code(e->fault);
}

static int run_named(int argc, char **argv)
{
	struct cli c = { .options = json_object() };
	struct err e = { 0 };
	int used = 0, rc;
	const struct command *cmd = find_command(argc, argv, &used);

	if (!cmd) {
		fprintf(stderr, "demarc: no command \"%s%s%s\"; see demarc --help\n", argv[0],
			argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
		json_decref(c.options);
		return 2;
	}
	rc = parse_arguments(&c, cmd, argc - used, argv + used, &e);
	if (rc == 0 && cli_option(&c, "help"))
		help_command(cmd);
	else if (rc == 0)
		rc = run_command(&c, cmd, &e);
	json_decref(c.options);
	return rc < 0 ? report(&e) : rc;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		help_all();
		return argc < 2 ? 2 : 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("demarc %s\n", DEMARC_VERSION);
		return 0;
	}
	if (strcmp(argv[1], "completion") == 0 || strcmp(argv[1], "manual") == 0) {
		argv[1][0] == 'c' ? help_completion() : help_manual();
		return 0;
	}
	return run_named(argc - 1, argv + 1);
}
