/* SPDX-License-Identifier: Apache-2.0 */
#include "router.h"

#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Past whatever was sent before it: the router forwards in order. */
#define MARKER_PORT 9

static void setting(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	assert_int_equal(write(fd, value, strlen(value)), strlen(value));
	close(fd);
}

static void mac_of(int port, uint8_t ret[6])
{
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "p%d", port);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &r), 0);
	close(fd);
	memcpy(ret, r.ifr_hwaddr.sa_data, 6);
}

static void side(struct router_side *s, int index, int net, const uint8_t far[6])
{
	char s1[160];

	tport_make(&s->port, index, far, -1, "eth0");
	snprintf(s1, sizeof(s1), "/proc/sys/net/ipv6/conf/p%d/disable_ipv6", index);
	setting(s1, "0");
	snprintf(s1, sizeof(s1), "addr add 10.0.%d.254/24 dev p%d", net, index);
	lab_ip(s1);
	snprintf(s1, sizeof(s1), "addr add fd00:%d::254/64 dev p%d nodad", net, index);
	lab_ip(s1);
	for (int i = 0; i < ROUTER_HOSTS && s->hosts[i]; i++) {
		snprintf(s1, sizeof(s1),
			 "neigh add %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev p%d nud permanent",
			 s->hosts[i], far[0], far[1], far[2], far[3], far[4], far[5], index);
		lab_ip(s1);
	}
	mac_of(index, s->mac);
}

void router_make(struct router *r, int client, const uint8_t client_mac[6], int server,
		 const uint8_t server_mac[6], const char *rules)
{
	char nft[] = "nft", text[4096];
	char *argv[] = { nft, text, NULL };

	assert_true(snprintf(text, sizeof(text), "%s", rules) < (int)sizeof(text));
	side(&r->client, client, 1, client_mac);
	side(&r->server, server, 2, server_mac);
	setting("/proc/sys/net/ipv4/ip_forward", "1");
	setting("/proc/sys/net/ipv6/conf/all/forwarding", "1");
	lab_spawn(argv);
}

void router_free(struct router *r)
{
	struct tport *ports[2] = { &r->client.port, &r->server.port };

	for (int i = 0; i < 2; i++) {
		link_del(ports[i]->host);
		tport_free(ports[i]);
	}
}

static bool is_marker(const struct frame *f)
{
	bool v6 = f->b[12] == 0x86;
	const uint8_t *l4 = f->b + (v6 ? 54 : 34);

	return f->len > 50 && (v6 ? f->b[20] : f->b[23]) == 17 && (l4[2] << 8 | l4[3]) == MARKER_PORT;
}

bool router_passes(struct router *r, bool client, struct frame *f, struct frame *ret)
{
	struct router_side *from = client ? &r->client : &r->server,
			   *to = client ? &r->server : &r->client;
	struct desc m = { .smac = from->port.mac,
			  .dmac = from->mac,
			  .src = from->hosts[0],
			  .dst = to->hosts[0],
			  .proto = 17,
			  .sport = 9,
			  .dport = MARKER_PORT,
			  .payload = 20 };
	struct frame marker, got;
	bool passed = false;

	memcpy(f->b, from->mac, 6);
	memcpy(f->b + 6, from->port.mac, 6);
	tport_send(&from->port, f);
	frame_build(&marker, &m);
	tport_send(&from->port, &marker);
	while (tport_recv(&to->port, &got, 2000)) {
		if (is_marker(&got))
			return passed;
		if (got.b[12] != f->b[12] || got.len != f->len)
			continue;
		passed = true;
		if (ret)
			*ret = got;
	}
	fail_msg("the router does not forward");
	return false;
}
