/* SPDX-License-Identifier: Apache-2.0 */
/* The frames of a port: a stream of the hub in pcapng, written as it comes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/pcapng.h"
#include "base/str.h"
#include "cli/flows.h"

#define WAIT_MS 500	/* of one read at the hub: as long may Ctrl-C take */
#define PAUSE_MS 100	/* when the hub has too many that wait */
#define READ_MAX 65536u /* bytes of one read, as the hub gives them */

struct capture {
	char path[64]; /* of the stream */
	int fd;
	bool is_open, is_cut; /* is_cut: who reads our output has gone */
	bool has_header;
	struct strbuf in; /* the beginning of a block */
	uint64_t lost;
};

/* ---- blocks ---- */

static int write_all(struct capture *k, const char *p, size_t size, struct err *e)
{
	while (size) {
		ssize_t n = write(k->fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EPIPE) {
			k->is_cut = true;
			return 0;
		}
		if (n < 0)
			return err_errno(e, errno, "write the capture");
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int bad_block(struct err *e)
{
	return err_set(e, FAULT_INTERNAL, NULL, "what the node sends is not a capture");
}

/* Whole blocks only, so that the file is one whenever we end; not more frames than are wanted. */
static int take_blocks(struct capture *k, struct bounds *b, struct err *e)
{
	size_t done = 0;
	int rc = 0, got = 1;

	while (!(b->count && b->n >= b->count)) {
		struct pcapng_block block;

		got = pcapng_next((struct str){ k->in.ptr + done, k->in.len - done }, &block);
		if (got <= 0)
			break;
		if (!k->has_header && block.kind != PCAPNG_SECTION)
			return bad_block(e);
		k->has_header = true;
		b->n += block.kind == PCAPNG_FRAME;
		k->lost = block.kind == PCAPNG_STATISTICS ? block.lost : k->lost;
		done += block.size;
	}
	if (got < 0)
		return bad_block(e);
	if (done)
		rc = write_all(k, k->in.ptr, done, e);
	k->in.len -= done;
	memmove(k->in.ptr, k->in.ptr + done, k->in.len);
	return rc;
}

/* ---- the stream ---- */

static int take_hex(struct capture *k, struct str hex, struct err *e)
{
	uint8_t bytes[READ_MAX];

	if (hex.len > 2 * sizeof(bytes) || str_from_hex(hex, bytes, hex.len / 2) < 0)
		return bad_block(e);
	strbuf_add(&k->in, bytes, hex.len / 2);
	return k->in.error ? err_set(e, FAULT_NO_MEMORY, NULL, "out of memory") : 0;
}

static int read_some(struct cli *c, struct capture *k, struct bounds *b, struct err *e)
{
	json_t *answer CLEANUP(json_freep) = NULL;
	const char *data, *error;
	char path[96];
	const json_t *o;
	int rc;

	(void)snprintf(path, sizeof(path), "%s?wait_ms=%d", k->path, WAIT_MS);
	rc = client_call(c->client, "GET", "demarc", path, NULL, &answer, e);
	if (rc < 0)
		return rc;
	o = json_object_get(answer, "stream");
	data = json_str(o, "data");
	error = json_str(o, "error");
	k->is_open = json_is_true(json_object_get(o, "open"));
	rc = take_hex(k, str_of(data), e);
	if (rc == 0)
		rc = take_blocks(k, b, e);
	if (rc == 0 && !k->is_open && error && *error)
		rc = err_set(e, FAULT_UNAVAILABLE, NULL, "%s", error);
	if (k->is_open && (!data || !*data))
		cli_pause_ms(PAUSE_MS);
	return rc;
}

static json_t *capture_body(const struct cli *c, const json_t *port, const struct bounds *b)
{
	static const struct {
		const char *option, *member;
	} rows[] = { { "address", "address" },
		     { "src", "source" },
		     { "dst", "destination" },
		     { "proto", "protocol" } };
	json_t *filter = json_object();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (cli_option(c, rows[i].option))
			json_object_set_new(filter, rows[i].member,
					    json_string(cli_option(c, rows[i].option)));
	return json_pack("{s:s, s:I, s:o}", "port_id", json_str(port, "id"), "every",
			 (json_int_t)b->every, "filter", filter);
}

static int capture_start(struct cli *c, struct capture *k, const json_t *port,
			 const struct bounds *b, struct err *e)
{
	json_t *body CLEANUP(json_freep) = capture_body(c, port, b), *answer CLEANUP(json_freep) = NULL;
	struct strbuf path CLEANUP(strbuf_done) = { 0 };
	const char *node = json_str(port, "binding:host_id");
	long long number = 0;
	int rc = cli_number(c, "port", 0, 65535, &number, e);

	if (rc == 0 && (!node || !*node))
		rc = err_set(e, FAULT_BAD_REQUEST, "PORT", "port %s is bound to no node",
			     c->positionals[0]);
	if (rc < 0)
		return rc;
	json_object_set_new(json_object_get(body, "filter"), "port", json_integer(number));
	strbuf_addf(&path, "/v1/nodes/%s/capture", node);
	rc = client_call(c->client, "POST", "demarc", strbuf_cstr(&path), body, &answer, e);
	if (rc < 0)
		return rc;
	(void)snprintf(k->path, sizeof(k->path), "/v1/streams/%lld",
		       (long long)json_int(json_object_get(answer, "stream"), "id", 0));
	k->is_open = true;
	return 0;
}

static int capture_to(struct cli *c, struct capture *k, const json_t *port, struct bounds *b,
		      struct err *e)
{
	struct err ignored;
	int rc = capture_start(c, k, port, b, e);

	while (rc == 0 && k->is_open && !k->is_cut && !bounds_are_over(b))
		rc = read_some(c, k, b, e);
	if (k->is_open)
		(void)!client_call(c->client, "DELETE", "demarc", k->path, NULL, NULL, &ignored);
	return rc;
}

static int report(struct cli *c, const char *path, const struct capture *k, const struct bounds *b)
{
	json_t *o CLEANUP(json_freep) = json_pack("{s:s, s:I, s:I}", "file", path, "packets",
						  (json_int_t)b->n, "lost", (json_int_t)k->lost);

	if (strcmp(path, "-") == 0) /* that is where the frames go */
		return 0;
	if (c->json)
		print_json(o);
	else
		printf("%lld packets in %s, %lld lost\n", b->n, path, (long long)k->lost);
	return 0;
}

int capture_run(struct cli *c, struct err *e)
{
	json_t *port CLEANUP(json_freep) = NULL;
	const char *path = cli_option(c, "write");
	struct capture k = { .fd = STDOUT_FILENO };
	struct bounds b;
	int rc = bounds_take(c, cli_option(c, "seconds") || cli_option(c, "follow") ? 0 : 100, &b, e);

	if (rc == 0 && !path)
		return err_set(e, FAULT_BAD_REQUEST, "write", "--write FILE is required");
	if (rc == 0)
		rc = client_find(c->client, "network", "/v2.0/ports", "ports", "port",
				 c->positionals[0], &port, e);
	if (rc < 0)
		return rc;
	if (strcmp(path, "-") != 0)
		k.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (k.fd < 0)
		return err_errno(e, errno, "%s", path);
	(void)signal(SIGPIPE, SIG_IGN); /* Wireshark is closed: the stream is, too */
	rc = capture_to(c, &k, port, &b, e);
	strbuf_done(&k.in);
	if (k.fd != STDOUT_FILENO && close(k.fd) < 0 && rc == 0)
		rc = err_errno(e, errno, "%s", path);
	return rc < 0 ? rc : report(c, path, &k, &b);
}

const struct cli_option capture_options[] = {
	{ "write", "FILE", "where to (pcapng), \"-\" for the standard output; also -w; required" },
	{ "follow", NULL, "go on until interrupted; also -f" },
	{ "count", "N", "stop after so many frames (100, when neither --seconds nor --follow is given)" },
	{ "seconds", "S", "stop after so long" },
	{ "every", "N", "one frame in N (1)" },
	{ "address", "IP[/LEN]", "only frames from or to this address or prefix" },
	{ "src", "IP[/LEN]", "from it" },
	{ "dst", "IP[/LEN]", "to it" },
	{ "port", "PORT", "TCP or UDP port, on either side" },
	{ "proto", "NAME", "tcp, udp, icmp or a number" },
	{ NULL, NULL, NULL },
};
