/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define ETH_P_ALL_ 0x0003

bool net_xdp;
void (*net_before_send)(const struct frame *f);
static int home_fd = -1;

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	abort();
}

/* No address of its own may be configured, no router asked: the test decides about every frame. */
static void quiet_ipv6(void)
{
	static const char *const file[] = { "/proc/sys/net/ipv6/conf/all/disable_ipv6",
					    "/proc/sys/net/ipv6/conf/default/disable_ipv6" };

	for (size_t i = 0; i < 2; i++) {
		int fd = open(file[i], O_WRONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		if (write(fd, "1", 1) != 1)
			die("disable_ipv6");
		close(fd);
	}
}

static int ns_fd(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("namespace");
	return fd;
}

void net_start(void)
{
	if (unshare(CLONE_NEWNET))
		die("unshare");
	quiet_ipv6();
	home_fd = ns_fd();
}

void ns_enter(int fd)
{
	if (setns(fd, CLONE_NEWNET))
		die("setns");
}

void ns_home(void)
{
	ns_enter(home_fd);
}

int ns_new(void)
{
	int fd;

	if (unshare(CLONE_NEWNET))
		die("unshare");
	quiet_ipv6();
	fd = ns_fd();
	ns_home();
	return fd;
}

static void rtnl(struct nlmsghdr *nlh)
{
	struct mnl_socket *s = mnl_socket_open(NETLINK_ROUTE);
	char buf[4096];
	ssize_t n;

	if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0)
		die("netlink");
	nlh->nlmsg_seq = 1;
	if (mnl_socket_sendto(s, nlh, nlh->nlmsg_len) < 0)
		die("netlink send");
	n = mnl_socket_recvfrom(s, buf, sizeof(buf));
	if (n < 0 || mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(s), NULL, NULL) < 0)
		die("netlink answer");
	mnl_socket_close(s);
}

static void veth_make(const char *name, int index, const char *peer, const uint8_t mac[6], int peer_ns)
{
	char buf[1024];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nlattr *info, *data, *p;
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = index;
	ifi->ifi_flags = IFF_UP;
	ifi->ifi_change = IFF_UP;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	p = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, peer);
	mnl_attr_put(nlh, IFLA_ADDRESS, 6, mac);
	mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)peer_ns);
	mnl_attr_nest_end(nlh, p);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	rtnl(nlh);
}

void link_del(int index)
{
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_DELLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = index;
	rtnl(nlh);
}

static int packet_socket(const char *name)
{
	struct sockaddr_ll sll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL_) };
	struct ifreq ifr = { 0 };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, big = 8 << 20;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr))
		die("packet socket");
	ifr.ifr_flags |= IFF_UP | IFF_PROMISC;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr))
		die("link up");
	sll.sll_ifindex = (int)if_nametoindex(name);
	if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big)) ||
	    bind(fd, (struct sockaddr *)&sll, sizeof(sll)))
		die("packet socket options");
	return fd;
}

void net_offload(const char *name, uint32_t command, uint32_t value)
{
	struct ethtool_value v = { .cmd = command, .data = value };
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	r.ifr_data = (void *)&v;
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &r))
		die("ethtool");
	close(fd);
}

void tport_make(struct tport *p, int host_index, const uint8_t mac[6], int ns, const char *peer_name)
{
	char name[16];

	snprintf(name, sizeof(name), "p%d", host_index);
	p->ns = ns < 0 ? ns_new() : dup(ns);
	p->host = host_index;
	memcpy(p->mac, mac, 6);
	veth_make(name, host_index, peer_name, mac, p->ns);
	ns_enter(p->ns);
	p->sock = packet_socket(peer_name);
	if (net_xdp) {
		net_offload(peer_name, ETHTOOL_SGRO, 1);
		net_offload(peer_name, ETHTOOL_SFLAGS, 0);
	}
	ns_home();
}

void tport_free(struct tport *p)
{
	if (p->sock > 0)
		close(p->sock);
	if (p->ns > 0)
		close(p->ns);
	memset(p, 0, sizeof(*p));
}

void tport_send(struct tport *p, const struct frame *f)
{
	ssize_t n;

	if (net_before_send)
		net_before_send(f);
	do {
		n = send(p->sock, f->b, f->len, 0);
	} while (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == EINTR));
	if (n != (ssize_t)f->len)
		die("send a frame");
}

void tport_send_partial(struct tport *p, const struct frame *f, uint16_t start, uint16_t at)
{
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				    .csum_start = start,
				    .csum_offset = at };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)f->b, f->len } };
	struct sockaddr_ll sll;
	socklen_t size = sizeof(sll);
	int fd, one = 1;

	if (net_before_send)
		net_before_send(f);
	if (getsockname(p->sock, (struct sockaddr *)&sll, &size))
		die("getsockname");
	ns_enter(p->ns);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	ns_home();
	sll.sll_protocol = 0;
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&sll, sizeof(sll)) ||
	    writev(fd, iov, 2) != (ssize_t)(sizeof(h) + f->len))
		die("send a frame without a checksum");
	close(fd);
}

static void read_aux(struct msghdr *m, struct frame *f)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct tpacket_auxdata a;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&a, CMSG_DATA(c), sizeof(a));
		if (a.tp_status & TP_STATUS_VLAN_VALID)
			f->vlan = a.tp_vlan_tci & 0xfff;
		if (a.tp_status & TP_STATUS_VLAN_TPID_VALID)
			f->tpid = a.tp_vlan_tpid;
	}
}

bool tport_recv(struct tport *p, struct frame *f, int timeout_ms)
{
	char ctl[256];
	struct sockaddr_ll sll;
	struct iovec iov = { f->b, sizeof(f->b) };
	struct pollfd pfd = { .fd = p->sock, .events = POLLIN };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = ctl,
			    .msg_controllen = sizeof(ctl),
			    .msg_name = &sll,
			    .msg_namelen = sizeof(sll) };
	ssize_t n;

	if (poll(&pfd, 1, timeout_ms) <= 0)
		return false;
	n = recvmsg(p->sock, &m, MSG_DONTWAIT);
	if (n < 0)
		return false;
	f->len = (size_t)n;
	f->vlan = -1;
	f->pkttype = sll.sll_pkttype;
	read_aux(&m, f);
	return true;
}

void tport_drain(struct tport *p)
{
	struct frame f;

	while (tport_recv(p, &f, 0))
		;
}
