/* SPDX-License-Identifier: Apache-2.0 */
/* Enrolment, revocation and the CA. */
#include <errno.h>
#include <fcntl.h>
#include <qrencode.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"

#define USES_MAX 10000
#define QR_MARGIN 2 /* modules; the standard asks for 4, every reader does with 2 */

/* ---- the QR code ---- */

static bool is_dark(const QRcode *q, int x, int y)
{
	return x >= 0 && y >= 0 && x < q->width && y < q->width && (q->data[y * q->width + x] & 1);
}

/* Two rows of modules in a line of text, light on dark: terminals are dark more often than not. */
static void print_code(const QRcode *q)
{
	static const char *const blocks[] = { "\xe2\x96\x88", "\xe2\x96\x84", "\xe2\x96\x80", " " };

	for (int y = -QR_MARGIN; y < q->width + QR_MARGIN; y += 2) {
		for (int x = -QR_MARGIN; x < q->width + QR_MARGIN; x++)
			printf("%s", blocks[is_dark(q, x, y) + 2 * is_dark(q, x, y + 1)]);
		printf("\n");
	}
}

static int print_qr(const char *text, struct err *e)
{
	QRcode *q = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);

	if (!q)
		return err_errno(e, errno ? errno : ENOMEM, "cannot make a QR code");
	print_code(q);
	QRcode_free(q);
	return 0;
}

/* ---- enrol ---- */

static int write_zero_touch(const char *file, const json_t *token, struct err *e)
{
	struct strbuf text CLEANUP(strbuf_done) = { 0 };

	strbuf_addf(&text,
		    "# demarc zero-touch enrolment of %s, good until %s. Put it on the node's disk, readable by root\n"
		    "# only, and start the node with: demarc-node run --enrol-file FILE\n%s\n",
		    json_str(token, "node_name"), json_str(token, "expires_at"),
		    json_str(token, "token"));
	if (text.error)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	return file_write_atomic(file, 0600, (struct str){ text.ptr, text.len }, e);
}

static int print_token(const struct cli *c, const json_t *token, long long minutes, struct err *e)
{
	int rc = 0;

	printf("On the node, within %lld minutes, %s:\n\n  demarc-node enrol %s%s\n\nor by the URL\n\n  %s\n",
	       minutes, json_int(token, "uses", 1) > 1 ? "and on each" : "once",
	       cli_option(c, "again") ? "--again " : "", json_str(token, "token"),
	       json_str(token, "url"));
	if (cli_option(c, "qr") || isatty(STDOUT_FILENO)) {
		printf("\n");
		rc = print_qr(json_str(token, "url"), e);
	}
	return rc;
}

static int make_token(struct cli *c, long long minutes, long long uses, json_t **ret, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *site CLEANUP(json_freep) = NULL;
	json_t *body CLEANUP(json_freep) = NULL;
	json_t *answer CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "demarc", "/v1/sites", "sites", "site", c->positionals[0],
			     &site, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&url, "/v1/sites/%s/enrolment_tokens", json_str(site, "id"));
	body = json_pack("{s:{s:s, s:I, s:I, s:b}}", "enrolment_token", "node_name",
			 c->positionals[1], "expires_in", (json_int_t)(minutes * 60), "uses",
			 (json_int_t)uses, "again", cli_option(c, "again") != NULL);
	rc = client_call(c->client, "POST", "demarc", strbuf_cstr(&url), body, &answer, e);
	if (rc == 0)
		*ret = json_incref(json_object_get(answer, "enrolment_token"));
	return rc;
}

static int enrol(struct cli *c, struct err *e)
{
	json_t *token CLEANUP(json_freep) = NULL;
	const char *file = cli_option(c, "out");
	long long minutes = 0, uses = 0;
	int rc = cli_number(c, "expires", 60, 60 * 24 * 30, &minutes, e);

	if (rc == 0)
		rc = cli_number(c, "uses", 1, USES_MAX, &uses, e);
	if (rc == 0)
		rc = make_token(c, minutes, uses, &token, e);
	if (rc < 0)
		return rc;
	if (file) {
		rc = write_zero_touch(file, token, e);
		if (rc == 0 && !c->json)
			printf("%s: good until %s\n", file, json_str(token, "expires_at"));
	} else if (!c->json) {
		rc = print_token(c, token, minutes, e);
	}
	if (rc == 0 && c->json)
		print_json(token);
	return rc;
}

/* ---- revocation ---- */

static int node_revoke(struct cli *c, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *row CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "demarc", "/v1/nodes", "nodes", "node", c->positionals[0],
			     &row, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&url, "/v1/nodes/%s/revoke", json_str(row, "id"));
	rc = client_call(c->client, "POST", "demarc", strbuf_cstr(&url), NULL, NULL, e);
	if (rc == 0 && !c->json)
		printf("node %s is revoked; demarc enrol --again %s %s lets it come back\n",
		       json_str(row, "name"), json_str(row, "site_name"), json_str(row, "name"));
	return rc;
}

/* ---- CA ---- */

static const struct column ca_columns[] = {
	{ "ROLE", "role" },
	{ "FINGERPRINT", "fingerprint" },
	{ NULL, NULL },
};

static int print_ca(const struct cli *c, const json_t *answer)
{
	const json_t *ca = json_object_get(answer, "ca");

	if (c->json) {
		print_json(ca);
		return 0;
	}
	print_table(json_object_get(ca, "certificates"), ca_columns);
	if (json_is_true(json_object_get(ca, "rotating")))
		printf("\n%lld node(s) still use a certificate of the old CA\n",
		       (long long)json_int(ca, "nodes_waiting", 0));
	return 0;
}

static int ca_call(struct cli *c, const char *method, const char *path, const json_t *body,
		   struct err *e)
{
	json_t *answer CLEANUP(json_freep) = NULL;
	int rc = client_call(c->client, method, "demarc", path, (json_t *)(uintptr_t)body, &answer, e);

	return rc < 0 ? rc : print_ca(c, answer);
}

static int ca_show(struct cli *c, struct err *e)
{
	return ca_call(c, "GET", "/v1/ca", NULL, e);
}

static int ca_rotate(struct cli *c, struct err *e)
{
	return ca_call(c, "POST", "/v1/ca/rotate", NULL, e);
}

static int ca_retire(struct cli *c, struct err *e)
{
	json_t *body CLEANUP(json_freep) = json_pack("{s:b}", "force", cli_option(c, "force") != NULL);

	return ca_call(c, "POST", "/v1/ca/retire", body, e);
}

static const struct cli_option enrol_options[] = {
	{ "expires", "MINUTES", "life of the token (60)" },
	{ "uses", "N", "good for so many nodes, named NODE-1, NODE-2 and so on (1)" },
	{ "again", NULL, "for a node that was enrolled, and comes back as who it is" },
	{ "out", "FILE", "write a zero-touch file instead, for demarc-node run --enrol-file" },
	{ "qr", NULL, "show the QR code even when the output is no terminal" },
	{ NULL, NULL, NULL },
};
static const struct cli_option retire_options[] = {
	{ "force", NULL, "even when nodes still use it: they must be enrolled again" },
	{ NULL, NULL, NULL },
};

const struct command enrol_commands[] = {
	{ "enrol", "SITE NODE", "Make a token with which a node joins the site, as text, URL and QR code",
	  enrol, enrol_options, false },
	{ "node revoke", "NODE", "Refuse a node from now on; what runs at its site runs on",
	  node_revoke, NULL, false },
	{ "ca show", "", "Show which CAs are trusted", ca_show, NULL, false },
	{ "ca rotate", "", "Make a new CA; nodes get certificates of it, the old one stays good",
	  ca_rotate, NULL, false },
	{ "ca retire", "", "End the trust in the old CA", ca_retire, retire_options, false },
	{ NULL, NULL, NULL, NULL, NULL, false },
};
