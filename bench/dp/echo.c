/* SPDX-License-Identifier: Apache-2.0 */

/* UDP ping-pong: what a round trip takes. */

#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define PAYLOAD 22 /* a frame of 64 bytes */

static int udp_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail("socket", strerror(errno));
	return fd;
}

/* Answers until it is killed. */
int cmd_pong(int argc, char **argv)
{
	struct sockaddr_in me = { .sin_family = AF_INET };
	int fd = udp_socket();
	char buf[256];

	if (argc != 1)
		fail("pong", "PORT");
	me.sin_port = htons((uint16_t)number("port", argv[0], 65535));
	if (bind(fd, (struct sockaddr *)&me, sizeof(me)))
		fail("bind", strerror(errno));
	for (;;) {
		struct sockaddr_in from;
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &size);

		if (n > 0)
			(void)!sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, size);
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* One round trip; 0 when no answer came in time. */
static uint64_t round_trip(int fd, uint64_t number)
{
	uint8_t buf[256] = { 0 };
	uint64_t began = now_ns(), got = number + 1;

	memcpy(buf, &number, sizeof(number));
	if (send(fd, buf, PAYLOAD, 0) < 0)
		return 0;
	while (got != number) {
		if (recv(fd, buf, sizeof(buf), 0) < (ssize_t)sizeof(got))
			return 0;
		memcpy(&got, buf, sizeof(got));
	}
	return now_ns() - began;
}

int cmd_ping(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct timeval limit = { 0, 100000 };
	uint64_t *t, n, n_good = 0;
	int fd = udp_socket();

	if (argc != 3)
		fail("ping", "ADDR PORT COUNT");
	to.sin_addr.s_addr = ipv4_arg("address", argv[0]);
	to.sin_port = htons((uint16_t)number("port", argv[1], 65535));
	n = number("count", argv[2], 1000000);
	t = calloc(n + 1, sizeof(*t));
	if (!t || connect(fd, (struct sockaddr *)&to, sizeof(to)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		fail("ping", strerror(errno));
	for (uint64_t i = 0, lost = 0; i < n && lost < 50; i++) {
		t[n_good] = round_trip(fd, i);
		if (t[n_good])
			n_good++;
		else
			lost++;
	}
	qsort(t, n_good, sizeof(*t), by_value);
	printf("{\"p50_us\": %.3f, \"p99_us\": %.3f, \"answered\": %llu}\n",
	       n_good ? (double)t[n_good / 2] * 1e-3 : 0,
	       n_good ? (double)t[n_good * 99 / 100] * 1e-3 : 0, (unsigned long long)n_good);
	free(t);
	return 0;
}
