/* SPDX-License-Identifier: Apache-2.0 */
/* Packets while they happen: drops, and the frames of a port. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/flows.h"

#define POLL_MS 500
#define NODES_MAX 64
#define HEAD_MAX 1024

struct poll {
	const char *node_id, *capture; /* capture: port id, or NULL for drops */
	json_int_t after;
	json_int_t lost; /* as the node said last */
	long long every;
};

static int poll_once(struct cli *c, struct poll *p, json_t **ret, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	int rc;

	strbuf_addf(&url, "/v1/nodes/%s/watch?after=%lld&every=%lld", p->node_id,
		    (long long)p->after, p->every);
	if (p->capture)
		strbuf_addf(&url, "&capture=%s", p->capture);
	rc = client_call(c->client, "GET", "demarc", strbuf_cstr(&url), NULL, ret, e);
	if (rc < 0)
		return rc;
	p->after = json_int(*ret, "last", p->after);
	p->lost = json_int(*ret, "lost", 0);
	return 0;
}

/* How long: both bounds are given by options; 0: none. */
struct bounds {
	long long count, seconds, every;
	int64_t end_ns;
	long long n;
};

static int bounds_take(struct cli *c, long long dflt_count, struct bounds *ret, struct err *e)
{
	int rc = cli_number(c, "count", dflt_count, 1000000, &ret->count, e);

	if (rc == 0)
		rc = cli_number(c, "seconds", 0, 86400, &ret->seconds, e);
	if (rc == 0)
		rc = cli_number(c, "every", 1, 1000000, &ret->every, e);
	ret->end_ns = clock_mono_ns() + ret->seconds * NS_PER_S;
	ret->n = 0;
	return rc;
}

static bool is_over(const struct bounds *b)
{
	return cli_interrupted() || (b->count && b->n >= b->count) ||
	       (b->seconds && clock_mono_ns() >= b->end_ns);
}

/* ---- drops ---- */

static void print_drop(const json_t *p)
{
	char src[64], dst[64], proto[8], flags[8];
	const char *time = json_str(p, "time"), *port = json_str(p, "port");
	json_int_t rule = json_int(p, "rule", 0);

	printf("%.26s %-14s %s", time ? time : "", json_str(p, "reason"), port ? port : "-");
	if (json_str(p, "source"))
		printf(" %s %s > %s", flows_protocol(p, proto),
		       flows_endpoint(p, "source", "source_port", src, sizeof(src)),
		       flows_endpoint(p, "destination", "destination_port", dst, sizeof(dst)));
	else
		printf(" ethertype 0x%04llx", (long long)json_int(p, "ethertype", 0));
	if (json_int(p, "tcp_flags", 0))
		printf(" %s", flows_tcp_flags(json_int(p, "tcp_flags", 0), flags));
	if (json_object_get(p, "icmp_type"))
		printf(" type %lld code %lld", (long long)json_int(p, "icmp_type", 0),
		       (long long)json_int(p, "icmp_code", 0));
	printf(" %lld bytes", (long long)json_int(p, "size", 0));
	if (json_int(p, "vlan", 0))
		printf(" VLAN %lld", (long long)json_int(p, "vlan", 0));
	if (json_str(p, "rule_id"))
		printf(" rule %s", json_str(p, "rule_id"));
	else if (rule)
		printf(" rule %lld", (long long)rule);
	printf(": %s\n", json_str(p, "text") ? json_str(p, "text") : "");
}

static void print_drops(struct cli *c, const json_t *packets, struct bounds *b)
{
	json_t *p;
	size_t i;

	json_array_foreach(packets, i, p) {
		if (b->count && b->n == b->count)
			return;
		b->n++;
		if (c->json) {
			json_dumpf(p, stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			print_drop(p);
		}
	}
	(void)fflush(stdout);
}

static int watch_nodes(struct cli *c, struct poll *polls, size_t n, struct bounds *b, struct err *e)
{
	while (!is_over(b)) {
		for (size_t i = 0; i < n && !is_over(b); i++) {
			json_t *answer CLEANUP(json_freep) = NULL;
			json_int_t lost = polls[i].lost;
			int rc = poll_once(c, &polls[i], &answer, e);

			if (rc < 0)
				return cli_interrupted() ? 0 : rc;
			print_drops(c, json_object_get(answer, "packets"), b);
			if (polls[i].lost > lost)
				fprintf(stderr,
					"demarc: %lld more were dropped than could be told; try --every\n",
					(long long)(polls[i].lost - lost));
		}
		if (!is_over(b))
			cli_pause_ms(POLL_MS);
	}
	return 0;
}

int watch_run(struct cli *c, struct err *e)
{
	json_t *nodes CLEANUP(json_freep) = NULL;
	struct poll polls[NODES_MAX] = { 0 };
	struct bounds b;
	json_t *node;
	size_t i, n = 0;
	int rc = bounds_take(c, 0, &b, e);

	if (rc == 0 && !cli_option(c, "drops"))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "say what to watch: --drops");
	if (rc == 0)
		rc = flows_nodes(c, c->positionals[0], &nodes, e);
	if (rc < 0)
		return rc;
	json_array_foreach(nodes, i, node) {
		if (n < NODES_MAX)
			polls[n++] = (struct poll){ .node_id = json_str(node, "id"), .every = b.every };
	}
	return watch_nodes(c, polls, n, &b, e);
}

/* ---- capture ---- */

/* Classic pcap: https://www.tcpdump.org/manpages/pcap-savefile.5.txt; Ethernet. */
static int write_header(FILE *f)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, sigfigs, snaplen, linktype;
	} h = { 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1 };

	return fwrite(&h, sizeof(h), 1, f) == 1 ? 0 : -EIO;
}

/* The tag that the datapath keeps beside the frame is put back: IEEE 802.1Q. */
static int write_packet(FILE *f, const json_t *p)
{
	struct str hex = str_of(json_str(p, "head"));
	uint8_t head[HEAD_MAX + 4];
	size_t size = hex.len / 2, tag = json_int(p, "vlan", 0) ? 4 : 0;
	int64_t us = json_int(p, "time_us", 0);
	struct {
		uint32_t s, us, caplen, len;
	} h;

	if (size > HEAD_MAX || size < 14 || str_from_hex(hex, head, size) < 0)
		return 0;
	if (tag) {
		uint16_t vlan = (uint16_t)json_int(p, "vlan", 0);

		memmove(head + 16, head + 12, size - 12);
		head[12] = 0x81;
		head[13] = 0;
		head[14] = (uint8_t)(vlan >> 8);
		head[15] = (uint8_t)vlan;
	}
	h.s = (uint32_t)(us / 1000000);
	h.us = (uint32_t)(us % 1000000);
	h.caplen = (uint32_t)(size + tag);
	h.len = (uint32_t)(json_int(p, "size", 0) + (json_int_t)tag);
	return fwrite(&h, sizeof(h), 1, f) == 1 && fwrite(head, h.caplen, 1, f) == 1 ? 0 : -EIO;
}

static int write_packets(FILE *f, json_t *packets, struct bounds *b)
{
	json_t *p;
	size_t i;
	int rc = 0;

	json_array_foreach(packets, i, p) {
		if (rc < 0 || (b->count && b->n == b->count))
			break;
		rc = write_packet(f, p);
		b->n++;
	}
	return rc;
}

static int capture_to(struct cli *c, struct poll *poll, struct bounds *b, FILE *f, struct err *e)
{
	int rc = write_header(f);

	while (rc == 0 && !is_over(b)) {
		json_t *answer CLEANUP(json_freep) = NULL;

		rc = poll_once(c, poll, &answer, e);
		if (rc < 0)
			return cli_interrupted() ? 0 : rc;
		rc = write_packets(f, json_object_get(answer, "packets"), b);
		if (rc == 0 && fflush(f) != 0) /* a reader beside us sees it now */
			rc = -errno;
		if (rc == 0 && !is_over(b))
			cli_pause_ms(POLL_MS);
	}
	return rc < 0 ? err_errno(e, rc, "write the capture") : 0;
}

static int capture_file(struct cli *c, const char *path, struct poll *poll, struct bounds *b,
			struct err *e)
{
	FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "wbe");
	int rc;

	if (!f)
		return err_errno(e, errno, "%s", path);
	rc = capture_to(c, poll, b, f, e);
	if (fclose(f) != 0 && rc == 0)
		rc = err_errno(e, errno, "%s", path);
	return rc;
}

static int report(struct cli *c, const char *path, const struct poll *poll, const struct bounds *b)
{
	json_t *o CLEANUP(json_freep) = json_pack("{s:s, s:I, s:I}", "file", path, "packets",
						  (json_int_t)b->n, "lost", poll->lost);

	if (c->json)
		print_json(o);
	else
		printf("%lld packets in %s, %lld lost\n", b->n, path, (long long)poll->lost);
	return 0;
}

int capture_run(struct cli *c, struct err *e)
{
	json_t *port CLEANUP(json_freep) = NULL;
	const char *path = cli_option(c, "write");
	struct poll poll = { 0 };
	struct bounds b;
	int rc = bounds_take(c, cli_option(c, "seconds") || cli_option(c, "follow") ? 0 : 100, &b, e);

	if (rc == 0 && !path)
		return err_set(e, FAULT_BAD_REQUEST, "write", "--write FILE is required");
	if (rc == 0)
		rc = client_find(c->client, "network", "/v2.0/ports", "ports", "port",
				 c->positionals[0], &port, e);
	if (rc < 0)
		return rc;
	poll.node_id = json_str(port, "binding:host_id");
	poll.capture = json_str(port, "id");
	poll.every = b.every;
	if (!poll.node_id || !*poll.node_id)
		return err_set(e, FAULT_BAD_REQUEST, "PORT", "port %s is bound to no node",
			       c->positionals[0]);
	rc = capture_file(c, path, &poll, &b, e);
	return rc < 0 || strcmp(path, "-") == 0 ? rc : report(c, path, &poll, &b);
}

const struct cli_option watch_options[] = {
	{ "drops", NULL, "packets that the datapath drops" },
	{ "every", "N", "one in N, when there are many (1)" },
	{ "count", "N", "stop after so many" },
	{ "seconds", "S", "stop after so long" },
	{ NULL, NULL, NULL },
};
const struct cli_option capture_options[] = {
	{ "write", "FILE", "where to, \"-\" for the standard output; also -w; required" },
	{ "follow", NULL, "go on until interrupted; also -f" },
	{ "count", "N", "stop after so many frames (100, when neither --seconds nor --follow is given)" },
	{ "seconds", "S", "stop after so long" },
	{ "every", "N", "one frame in N (1)" },
	{ NULL, NULL, NULL },
};
