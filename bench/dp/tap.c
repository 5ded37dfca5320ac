/* SPDX-License-Identifier: Apache-2.0 */

/* The virtual machine monitor's side of a tap, without vhost: frames are written and read one by one. */

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define VNET_HEADER 10
#define SEGMENT_MAX 65600 /* a segment that was not cut yet, with its headers */
#define PER_LOOK 64	  /* writes between two looks at the clock */
#define PER_TURN 64	  /* frames one way before the other way gets its turn */

/* The interface is there as long as it is open. index 0: any. */
static int tap_open(const char *name, int index)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (fd < 0 || (index && ioctl(fd, TUNSETIFINDEX, &index)) || ioctl(fd, TUNSETIFF, &r))
		fail(name, strerror(errno));
	return fd;
}

/* DEV --index N --smac M --dmac M --saddr A --daddr A --seconds MS: waits for a line on stdin, then writes. */
int cmd_tap_source(int argc, char **argv)
{
	struct frame_spec f = { mac_arg("smac", option(argc, argv, "smac", NULL)),
				mac_arg("dmac", option(argc, argv, "dmac", NULL)),
				ipv4_arg("saddr", option(argc, argv, "saddr", NULL)),
				ipv4_arg("daddr", option(argc, argv, "daddr", NULL)), 60 };
	uint64_t ns = number("seconds", option(argc, argv, "seconds", "500"), 60000) * 1000000;
	int index = (int)number("index", option(argc, argv, "index", "0"), INT32_MAX);
	uint8_t buf[VNET_HEADER + FRAME_BYTES_MAX] = { 0 };
	int fd = argc ? tap_open(argv[0], index) : -1;

	frame_udp(buf + VNET_HEADER, &f, 0);
	printf("{}\n");
	while (getchar() == '\n') {
		uint64_t n_sent = 0, began = now_ns();
		struct meter m;

		meter_init(&m, option(argc, argv, "meter", ""));
		meter_start(&m);
		while (now_ns() - began < ns)
			for (int i = 0; i < PER_LOOK; i++)
				n_sent += write(fd, buf, VNET_HEADER + f.size) > 0;
		meter_stop(&m);
		printf("{\"sent\": %llu, \"own_ns\": %llu}\n", (unsigned long long)n_sent,
		       (unsigned long long)m.own_ns);
	}
	return 0;
}

/* What one side has, to the other; false when there was nothing. */
static bool pump(int from, int to, uint8_t *buf)
{
	int n = 0;

	for (; n < PER_TURN; n++) {
		ssize_t size = read(from, buf, VNET_HEADER + SEGMENT_MAX);

		if (size <= 0)
			break;
		(void)!write(to, buf, (size_t)size); /* a full queue drops, as in hardware */
	}
	return n > 0;
}

/*
 * HOST-DEV INDEX NETNS GUEST-DEV: a virtual machine's NIC without the machine. The host's tap is made here, the guest's (its virtio
 * device) in the other namespace, both take unsegmented TCP; frames go between them until stdin ends.
 */
int cmd_tap_pump(int argc, char **argv)
{
	static uint8_t buf[VNET_HEADER + SEGMENT_MAX];
	struct pollfd p[3] = { { 0, POLLIN, 0 } };
	int ns;

	if (argc != 4)
		fail("tap-pump", "HOST-DEV INDEX NETNS GUEST-DEV");
	p[1] = (struct pollfd){ tap_open(argv[0], (int)number("index", argv[1], INT32_MAX)), POLLIN, 0 };
	ns = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET))
		fail(argv[2], strerror(errno));
	p[2] = (struct pollfd){ tap_open(argv[3], 0), POLLIN, 0 };
	for (int i = 1; i < 3; i++)
		if (ioctl(p[i].fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6))
			fail("TUNSETOFFLOAD", strerror(errno));
	printf("{}\n");
	while (!p[0].revents) {
		bool busy = pump(p[1].fd, p[2].fd, buf);

		busy |= pump(p[2].fd, p[1].fd, buf);
		if (poll(p, 3, busy ? 0 : 1000) < 0 && errno != EINTR)
			fail("poll", strerror(errno));
	}
	return 0;
}
