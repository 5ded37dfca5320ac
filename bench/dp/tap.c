/* SPDX-License-Identifier: Apache-2.0 */

/* The virtual machine monitor's side of a tap, without vhost: frames are written and read one by one. */

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define VNET_HEADER 10
#define PER_LOOK 64 /* writes between two looks at the clock */

static int tap_open(const char *name)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r))
		fail(name, strerror(errno));
	return fd;
}

/* TAP --smac M --dmac M --saddr A --daddr A --seconds MS */
int cmd_tap_source(int argc, char **argv)
{
	struct frame_spec f = { mac_arg("smac", option(argc, argv, "smac", NULL)),
				mac_arg("dmac", option(argc, argv, "dmac", NULL)),
				ipv4_arg("saddr", option(argc, argv, "saddr", NULL)),
				ipv4_arg("daddr", option(argc, argv, "daddr", NULL)), 60 };
	uint64_t ns = number("seconds", option(argc, argv, "seconds", "500"), 60000) * 1000000;
	uint8_t buf[VNET_HEADER + FRAME_BYTES_MAX] = { 0 };
	uint64_t n_sent = 0, began;
	struct meter m;
	int fd = argc ? tap_open(argv[0]) : -1;

	frame_udp(buf + VNET_HEADER, &f, 0);
	meter_init(&m, option(argc, argv, "meter", ""));
	meter_start(&m);
	for (began = now_ns(); now_ns() - began < ns;)
		for (int i = 0; i < PER_LOOK; i++)
			n_sent += write(fd, buf, VNET_HEADER + f.size) > 0;
	meter_stop(&m);
	printf("{\"sent\": %llu, \"seconds\": %.6f, \"own_ns\": %llu}\n", (unsigned long long)n_sent,
	       (double)(now_ns() - began) * 1e-9, (unsigned long long)m.own_ns);
	return 0;
}

/* TAP MS: reads for that long. */
int cmd_tap_sink(int argc, char **argv)
{
	uint8_t buf[VNET_HEADER + FRAME_BYTES_MAX];
	uint64_t n = 0, began = now_ns(), ns;
	struct pollfd p = { -1, POLLIN, 0 };

	if (argc != 2)
		fail("tap-sink", "TAP MS");
	p.fd = tap_open(argv[0]);
	ns = number("time", argv[1], 600000) * 1000000;
	while (now_ns() - began < ns)
		if (poll(&p, 1, 50) > 0)
			while (read(p.fd, buf, sizeof(buf)) > 0)
				n++;
	printf("{\"received\": %llu}\n", (unsigned long long)n);
	return 0;
}
