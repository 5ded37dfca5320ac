/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench-dp: the parts of the datapath's benchmark that have to be fast or to call the kernel. bench/datapath drives it, in the network
 * namespaces that it makes; every command prints one line of JSON. It is not installed.
 *
 *   bench-dp floor load DIR FLOWS | map PIN KEY VALUE... | attach tc|xdp DEV PIN
 *   bench-dp source --dev DEV --smac M --dmac M --saddr A --daddr A [--flows N] [--first I] [--count N | --seconds MS] [--size B]
 *                   [--tcp FLAGS --seq N --ack N] [--backwards] [--spoof] [--skb [--rate PPS]] [--sink PIN] [--meter PID,...]
 *   bench-dp ping ADDR PORT COUNT | pong PORT
 *   bench-dp tap-source DEV ... | tap-pump HOST-DEV INDEX NETNS GUEST-DEV
 *   bench-dp demarc --pin DIR [--flows N]    then lines on stdin, see demarc.c
 */

#include "bench.h"
#include "source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

void fail(const char *what, const char *detail)
{
	fprintf(stderr, "bench-dp: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
	exit(1);
}

uint64_t number(const char *name, const char *text, uint64_t max)
{
	uint64_t n;

	if (str_to_u64(str_of(text), max, &n))
		fail(name, "not a whole number in range");
	return n;
}

struct mac mac_arg(const char *name, const char *text)
{
	struct mac m;

	if (mac_parse(str_of(text), &m))
		fail(name, "not a MAC address");
	return m;
}

uint32_t ipv4_arg(const char *name, const char *text)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1)
		fail(name, "not an IPv4 address");
	return a.s_addr;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

const char *option(int argc, char **argv, const char *name, const char *otherwise)
{
	for (int i = 0; i + 1 < argc; i++)
		if (!strncmp(argv[i], "--", 2) && !strcmp(argv[i] + 2, name))
			return argv[i + 1];
	if (!otherwise)
		fail(name, "this option is needed");
	return otherwise;
}

bool has_flag(int argc, char **argv, const char *name)
{
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "--", 2) && !strcmp(argv[i] + 2, name))
			return true;
	return false;
}

static uint16_t ip_sum(const void *p, size_t size)
{
	const uint8_t *b = p;
	uint32_t s = 0;

	for (size_t i = 0; i < size; i += 2)
		s += (uint32_t)(b[i] << 8 | b[i + 1]);
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return htons((uint16_t)~s);
}

void frame_udp(uint8_t *to, const struct frame_spec *s, uint32_t i)
{
	struct iphdr ip = { .version = 4,
			    .ihl = 5,
			    .tot_len = htons((uint16_t)(s->size - 14)),
			    .ttl = 64,
			    .protocol = IPPROTO_UDP,
			    .saddr = s->saddr,
			    .daddr = s->daddr };
	struct udphdr udp = { .source = htons((uint16_t)(BENCH_SPORT + i % BENCH_SPORTS)),
			      .dest = htons((uint16_t)(BENCH_DPORT + i / BENCH_SPORTS)),
			      .len = htons((uint16_t)(s->size - 34)) };

	ip.check = ip_sum(&ip, sizeof(ip));
	memcpy(to, s->dmac.b, 6);
	memcpy(to + 6, s->smac.b, 6);
	to[12] = 8;
	to[13] = 0;
	memcpy(to + 14, &ip, sizeof(ip));
	memcpy(to + 34, &udp, sizeof(udp));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {
		{ "floor", cmd_floor },
		{ "source", cmd_source },
		{ "ping", cmd_ping },
		{ "pong", cmd_pong },
		{ "tap-source", cmd_tap_source },
		{ "tap-pump", cmd_tap_pump },
		{ "demarc", cmd_demarc },
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (argc > 1 && !strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 2, argv + 2);
	fail("usage: see bench/dp/main.c", NULL);
}
