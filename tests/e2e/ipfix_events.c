/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One record of each kind that the exporter's encoder knows, to a collector that is not ours: what nfdump and tshark make of them is asserted in
 * test_ipfix.py.
 *
 *   ipfix-events PORT        (at 127.0.0.1)
 */

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/str.h"
#include "node/ipfix.h"

static void on_message(void *ctx, const uint8_t *message, size_t size, size_t n_records)
{
	(void)n_records;
	if (send(*(int *)ctx, message, size, 0) < 0)
		perror("send");
}

static struct ip_addr ip(const char *text)
{
	struct ip_addr a = { 0 };

	if (ip_parse(str_of(text), &a) < 0)
		abort();
	return a;
}

static void nat(struct ipfix *x, bool v6, uint8_t event, uint64_t now_ms)
{
	ipfix_nat(x, &(struct ipfix_nat){ .src = ip(v6 ? "fd00::5" : "10.0.0.5"),
					  .dst = ip(v6 ? "2001:db8::9" : "192.0.2.9"),
					  .post_src = ip(v6 ? "2001:db8:1::1" : "198.51.100.1"),
					  .post_dst = ip(v6 ? "2001:db8::9" : "192.0.2.9"),
					  .sport = 1234,
					  .dport = 443,
					  .post_sport = 40000,
					  .post_dport = 443,
					  .protocol = 6,
					  .event = event,
					  .time_ms = now_ms });
}

static void flow(struct ipfix *x, bool v6, uint8_t forwarding, uint8_t end, uint64_t now_ms)
{
	bool dropped = forwarding >= IPFIX_DROPPED;

	ipfix_flow(x, &(struct ipfix_flow){ .src = ip(v6 ? "fd00::5" : "10.0.0.5"),
					    .dst = ip(v6 ? "fd00::6" : "10.0.0.6"),
					    .sport = (uint16_t)(1000 + end),
					    .dport = 53,
					    .protocol = 17,
					    .end = end,
					    .forwarding = forwarding,
					    .firewall = dropped ? 3 : 0,
					    .biflow = 1,
					    .octets = 1000 + forwarding,
					    .pkts = 10,
					    .start_ms = now_ms - 1000,
					    .end_ms = now_ms,
					    .in = 7,
					    .out = dropped ? 0 : 8 });
}

static void all(struct ipfix *x, uint64_t now_ms)
{
	x->now_s = (uint32_t)(now_ms / 1000);
	ipfix_templates(x);
	for (int v6 = 0; v6 < 2; v6++) {
		nat(x, v6, v6 ? IPFIX_NAT_CREATE : IPFIX_NAT44_CREATE, now_ms - 500);
		nat(x, v6, v6 ? IPFIX_NAT_DELETE : IPFIX_NAT44_DELETE, now_ms);
		for (uint8_t end = IPFIX_END_IDLE; end <= IPFIX_END_RESOURCES; end++)
			flow(x, v6, IPFIX_FORWARDED, end, now_ms);
		flow(x, v6, IPFIX_DROPPED_ACL, IPFIX_END_FORCED, now_ms);
		flow(x, v6, IPFIX_DROPPED_POLICER, IPFIX_END_ACTIVE, now_ms);
	}
	ipfix_drops(x, &(struct ipfix_drops){ .process = 77,
					      .reason = "spoof_ipv4",
					      .forwarding = IPFIX_DROPPED_RPF,
					      .pkts = 12345678901 });
	ipfix_flush(x);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint64_t port = 0, now_ms = (uint64_t)clock_wall_us() / 1000;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ipfix x;

	if (argc != 2 || str_to_u64(str_of(argv[1]), UINT16_MAX, &port) < 0 || fd < 0)
		return 2;
	to.sin_port = htons((uint16_t)port);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return 1;
	ipfix_open(&x, 0x01020304, IPFIX_MESSAGE_MAX, on_message, &fd);
	all(&x, now_ms);
	return 0;
}
