/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A node without functions, for tests of the channel: speaks through the real link client, says on stdout what it sees, one
 * line each, and does what stdin says.
 *
 *   fake-node [--auto-ack] [--json] [--hold REVISION DIGEST] CA CERT KEY NODE_ID URL...
 *     out: up | down REASON | hello REVISION RESYNC REPORT_SEQ | intent REVISION BASE FULL N_OBJECTS | object KIND ID VERSION
 *          DELETED | ack SEQ | chunk OFFSET SIZE LAST ERROR | call REQUEST KIND | goodbye RETRY_MS REASON
 *     in:  report SEQ | event SEQ UUID TEXT | chunk IMAGE OFFSET SIZE | json FRAME | quit
 *   --json: each frame of the hub is also printed as "json FRAME", and calls are left to the test.
 *   fake-node enrol STATE_DIR TOKEN [URL]
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "link/link.h"
#include "pbjson.h"

struct fake {
	uv_loop_t loop;
	struct link_client *link;
	uv_pipe_t input;
	struct strbuf line;
	const char *node_id;
	uint64_t revision;
	const char *digest;
	bool auto_ack, json;
};

static void send_frame(struct fake *n, const Demarc__V1__Frame *f)
{
	int rc = link_client_send(n->link, f);

	if (rc < 0)
		printf("unsent %s\n", strerror(-rc));
}

/* ---- events ---- */

static void on_up(void *ctx)
{
	struct fake *n = ctx;
	char nic0[] = "lan", nic1[] = "wan", release[] = "fake", boot[] = "boot",
	     host[] = "fake-host", runtime[] = "none";
	char *nics[] = { nic0, nic1 };
	Demarc__V1__Inventory inventory = DEMARC__V1__INVENTORY__INIT;
	Demarc__V1__NodeHello hello = DEMARC__V1__NODE_HELLO__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	printf("up\n");
	inventory.hostname = host;
	inventory.vcpus = 4;
	inventory.memory_mb = 4096;
	inventory.disk_gb = 100;
	inventory.nics = nics;
	inventory.n_nics = ARRAY_LEN(nics);
	inventory.container_runtime = runtime;
	hello.node_id = (char *)n->node_id;
	hello.release = release;
	hello.boot_id = boot;
	hello.run_id = boot;
	hello.intent_revision = n->revision;
	hello.intent_digest = (char *)n->digest;
	hello.inventory = &inventory;
	f.body_case = DEMARC__V1__FRAME__BODY_NODE_HELLO;
	f.node_hello = &hello;
	send_frame(n, &f);
}

static void on_intent(struct fake *n, const Demarc__V1__Intent *i)
{
	Demarc__V1__IntentAck ack = DEMARC__V1__INTENT_ACK__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	printf("intent %llu %llu %d %zu\n", (unsigned long long)i->revision,
	       (unsigned long long)i->base_revision, i->full, i->n_objects);
	for (size_t k = 0; k < i->n_objects; k++)
		printf("object %s %s %llu %d\n", i->objects[k]->kind, i->objects[k]->id,
		       (unsigned long long)i->objects[k]->version, i->objects[k]->deleted);
	n->revision = i->revision;
	if (!n->auto_ack)
		return;
	ack.revision = i->revision;
	f.body_case = DEMARC__V1__FRAME__BODY_INTENT_ACK;
	f.intent_ack = &ack;
	send_frame(n, &f);
}

static void on_call(struct fake *n, const Demarc__V1__Frame *in)
{
	char text[] = "console of a fake node\n";
	Demarc__V1__ConsoleLogResult log = DEMARC__V1__CONSOLE_LOG_RESULT__INIT;
	Demarc__V1__CallResult result = DEMARC__V1__CALL_RESULT__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	printf("call %llu %d\n", (unsigned long long)in->request, in->call->body_case);
	if (n->json)
		return;
	log.data = (ProtobufCBinaryData){ .len = strlen(text), .data = (uint8_t *)text };
	if (in->call->body_case == DEMARC__V1__CALL__BODY_CONSOLE_LOG) {
		result.body_case = DEMARC__V1__CALL_RESULT__BODY_CONSOLE_LOG;
		result.console_log = &log;
	} else {
		result.error = text;
	}
	f.request = in->request;
	f.body_case = DEMARC__V1__FRAME__BODY_CALL_RESULT;
	f.call_result = &result;
	send_frame(n, &f);
}

static void on_hello(const Demarc__V1__HubHello *h)
{
	printf("hello %llu %d %llu\n", (unsigned long long)h->intent_revision, h->resync,
	       (unsigned long long)h->report_seq);
}

static void print_json(const Demarc__V1__Frame *f)
{
	CLEANUP(json_freep) json_t *j = pbjson_tree(&f->base);
	CLEANUP(free_charp) char *text = json_text(j);

	printf("json %s\n", text);
}

static void on_frame(void *ctx, const Demarc__V1__Frame *f)
{
	struct fake *n = ctx;

	if (n->json)
		print_json(f);
	if (f->body_case == DEMARC__V1__FRAME__BODY_HUB_HELLO)
		on_hello(f->hub_hello);
	else if (f->body_case == DEMARC__V1__FRAME__BODY_INTENT)
		on_intent(n, f->intent);
	else if (f->body_case == DEMARC__V1__FRAME__BODY_REPORT_ACK)
		printf("ack %llu\n", (unsigned long long)f->report_ack->seq);
	else if (f->body_case == DEMARC__V1__FRAME__BODY_CHUNK)
		printf("chunk %llu %zu %d %s\n", (unsigned long long)f->chunk->offset,
		       f->chunk->data.len, f->chunk->last, f->chunk->error);
	else if (f->body_case == DEMARC__V1__FRAME__BODY_CALL)
		on_call(n, f);
	else if (f->body_case == DEMARC__V1__FRAME__BODY_GOODBYE)
		printf("goodbye %u %s\n", f->goodbye->retry_after_ms, f->goodbye->reason);
}

static void on_down(void *ctx, const char *reason)
{
	(void)ctx;
	printf("down %s\n", reason);
}

/* ---- commands ---- */

static uint64_t number(struct str s)
{
	uint64_t v = 0;

	return str_to_u64(s, UINT64_MAX, &v) < 0 ? 0 : v;
}

static void send_report(struct fake *n, uint64_t seq, struct str event_id, struct str text)
{
	char id[64], words[256], kind[] = "test", severity[] = "info", resource[] = "node";
	Demarc__V1__Event event = DEMARC__V1__EVENT__INIT, *events[] = { &event };
	Demarc__V1__Report report = DEMARC__V1__REPORT__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	report.seq = seq;
	if (event_id.len && str_copy(id, sizeof(id), event_id) == 0) {
		(void)str_copy(words, sizeof(words), text);
		event.id = id;
		event.kind = kind;
		event.severity = severity;
		event.resource = resource;
		event.text = words;
		report.events = events;
		report.n_events = 1;
	}
	f.body_case = DEMARC__V1__FRAME__BODY_REPORT;
	f.report = &report;
	send_frame(n, &f);
}

static void send_chunk_request(struct fake *n, struct str rest)
{
	char image[64];
	Demarc__V1__ChunkRequest r = DEMARC__V1__CHUNK_REQUEST__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	(void)str_copy(image, sizeof(image), str_cut(rest, ' ', &rest));
	r.image_id = image;
	r.offset = number(str_cut(rest, ' ', &rest));
	r.size = (uint32_t)number(rest);
	f.request = 1;
	f.body_case = DEMARC__V1__FRAME__BODY_CHUNK_REQUEST;
	f.chunk_request = &r;
	send_frame(n, &f);
}

static void send_json(struct fake *n, struct str text)
{
	CLEANUP(json_freep) json_t *j = NULL;
	ProtobufCMessage *f;
	struct err e;

	f = json_parse(text, &j, &e) < 0 ? NULL : pbjson_message(&demarc__v1__frame__descriptor, j);
	if (!f) {
		printf("unknown frame\n");
		return;
	}
	send_frame(n, (const Demarc__V1__Frame *)f);
	protobuf_c_message_free_unpacked(f, NULL);
}

static void command(struct fake *n, struct str line)
{
	struct str rest, word = str_cut(line, ' ', &rest);

	if (str_eq_c(word, "report") || str_eq_c(word, "event")) {
		uint64_t seq = number(str_cut(rest, ' ', &rest));
		struct str id = str_cut(rest, ' ', &rest);
		send_report(n, seq, id, rest);
	} else if (str_eq_c(word, "chunk")) {
		send_chunk_request(n, rest);
	} else if (str_eq_c(word, "json")) {
		send_json(n, rest);
	} else if (str_eq_c(word, "quit")) {
		uv_stop(&n->loop);
	} else {
		printf("unknown command\n");
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	static char bytes[4096];

	(void)h;
	(void)suggested;
	*buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_input(uv_stream_t *s, ssize_t size, const uv_buf_t *buf)
{
	struct fake *n = s->data;
	struct str all, rest;
	size_t used = 0;

	if (size < 0) {
		uv_stop(&n->loop);
		return;
	}
	strbuf_add(&n->line, buf->base, (size_t)size);
	all = (struct str){ n->line.ptr, n->line.len };
	while (memchr(all.ptr + used, '\n', all.len - used)) {
		struct str line = str_cut((struct str){ all.ptr + used, all.len - used }, '\n', &rest);
		used += line.len + 1;
		command(n, line);
	}
	memmove(n->line.ptr, n->line.ptr + used, n->line.len - used);
	n->line.len -= used;
}

/* ---- main ---- */

static void run(struct fake *n, const struct link_client_config *c)
{
	static const struct link_client_ops ops = { .up = on_up, .frame = on_frame, .down = on_down };
	struct err e;

	uv_loop_init(&n->loop);
	uv_pipe_init(&n->loop, &n->input, 0);
	n->input.data = n;
	uv_pipe_open(&n->input, STDIN_FILENO);
	uv_read_start((uv_stream_t *)&n->input, on_alloc, on_input);
	if (link_client_start(&n->loop, c, &ops, n, &n->link, &e) < 0) {
		printf("failed %s\n", e.msg);
		return;
	}
	uv_run(&n->loop, UV_RUN_DEFAULT);
	link_client_stop(n->link);
	uv_close((uv_handle_t *)&n->input, NULL);
	uv_run(&n->loop, UV_RUN_DEFAULT);
	uv_loop_close(&n->loop);
	strbuf_done(&n->line);
}

static int enrol(int argc, char **argv)
{
	struct err e = { 0 };

	if (argc < 4 || link_enrol(argv[2], argv[3], argc > 4 ? argv[4] : NULL, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct fake n = { .digest = "" };
	struct link_client_config c = { 0 };
	int i = 1;

	if (argc == 2 && strcmp(argv[1], LINK_CHILD_ARG) == 0)
		return link_child_main();
	log_init("fake-node", LOG_INFO_);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && strcmp(argv[1], "enrol") == 0)
		return enrol(argc, argv);
	for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
		if (strcmp(argv[i], "--auto-ack") == 0)
			n.auto_ack = true;
		if (strcmp(argv[i], "--json") == 0)
			n.json = true;
		if (strcmp(argv[i], "--hold") == 0 && i + 2 < argc) {
			n.revision = number(str_of(argv[i + 1]));
			n.digest = argv[i + 2];
			i += 2;
		}
	}
	if (argc - i < 5)
		return 64;
	c.ca_file = argv[i];
	c.cert_file = argv[i + 1];
	c.key_file = argv[i + 2];
	n.node_id = argv[i + 3];
	c.hub_urls = (const char *const *)argv + i + 4;
	c.n_hub_urls = (size_t)(argc - i - 4);
	c.proxy = getenv("FAKE_NODE_PROXY");
	run(&n, &c);
	return 0;
}
