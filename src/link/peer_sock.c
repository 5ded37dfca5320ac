/* SPDX-License-Identifier: Apache-2.0 */
#include "link/peer_sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

/* What a handshake would have agreed on. RFC 9293 section 3.2, RFC 7323, RFC 2018. */
#define OPT_MSS 2
#define OPT_WSCALE 3
#define OPT_SACK 4
#define MSS_V4 1460 /* no more than the route's MTU allows is sent, whatever is said here */
#define MSS_V6 1440
#define WSCALE 7u
#define WINDOW 65535u /* until the other end has said its own */
#define SEGMENT_WAITS_MS 15000

union address {
	struct sockaddr sa;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

static int family_of(struct ip_addr ip)
{
	return ip.family == IP_V4 ? AF_INET : AF_INET6;
}

static socklen_t address_of(struct ip_addr ip, uint16_t port, union address *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->sa.sa_family = (sa_family_t)family_of(ip);
	if (ip.family == IP_V4) {
		ret->in4.sin_port = htons(port);
		memcpy(&ret->in4.sin_addr, ip.b, sizeof(ret->in4.sin_addr));
		return sizeof(ret->in4);
	}
	ret->in6.sin6_port = htons(port);
	memcpy(&ret->in6.sin6_addr, ip.b, sizeof(ret->in6.sin6_addr));
	return sizeof(ret->in6);
}

static bool is_host(struct ip_addr ip)
{
	struct in6_addr a;

	if (ip.family == IP_V4) /* not 0/8, 127/8, 224/3 */
		return ip.b[0] != 0 && ip.b[0] != 127 && ip.b[0] < 224;
	memcpy(&a, ip.b, sizeof(a));
	return ip.family == IP_V6 && !IN6_IS_ADDR_MULTICAST(&a) && !IN6_IS_ADDR_LOOPBACK(&a) &&
	       !IN6_IS_ADDR_UNSPECIFIED(&a) && !IN6_IS_ADDR_LINKLOCAL(&a) && !IN6_IS_ADDR_V4MAPPED(&a);
}

static int set(int fd, int level, int option, const void *value, size_t size)
{
	return setsockopt(fd, level, option, value, (socklen_t)size) < 0 ? -errno : 0;
}

static int set_int(int fd, int level, int option, int value)
{
	return set(fd, level, option, &value, sizeof(value));
}

int peer_sock_probe(struct err *e)
{
	CLEANUP(close_fdp) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc = fd < 0 ? -errno : set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);

	return rc < 0 ? err_set(e, FAULT_UNAVAILABLE, NULL,
				"the kernel makes no connections without a listener here: %s",
				strerror(-rc)) :
			0;
}

int peer_sock_bind(struct ip_addr ip, struct peer_end *ret, struct err *e)
{
	CLEANUP(close_fdp) int fd = socket(family_of(ip), SOCK_STREAM | SOCK_CLOEXEC, 0);
	union address a;
	socklen_t size = address_of(ip, 0, &a);
	struct peer_end end = { .ip = ip };

	if (fd < 0 || bind(fd, &a.sa, size) < 0 || getsockname(fd, &a.sa, &size) < 0)
		return err_errno(e, errno, "the address at which other nodes take images from here");
	end.port = ntohs(ip.family == IP_V4 ? a.in4.sin_port : a.in6.sin6_port);
	random_bytes(&end.seq, sizeof(end.seq));
	*ret = end;
	return MOVE_FD(fd);
}

/* In repair mode, before the connection is there. */
static int set_seqs(int fd, uint32_t own, uint32_t other)
{
	int rc = set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);

	if (rc == 0)
		rc = set(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &own, sizeof(own));
	if (rc == 0)
		rc = set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	if (rc == 0)
		rc = set(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &other, sizeof(other));
	return rc < 0 ? rc : set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_NO_QUEUE);
}

/* After it. */
static int set_agreed(int fd, const struct peer_end *other)
{
	const struct tcp_repair_opt options[] = {
		{ OPT_MSS, other->ip.family == IP_V4 ? MSS_V4 : MSS_V6 },
		{ OPT_WSCALE, WSCALE | WSCALE << 16 },
		{ OPT_SACK, 0 },
	};
	const struct tcp_repair_window window = { .snd_wl1 = other->seq,
						  .snd_wnd = WINDOW,
						  .max_window = WINDOW,
						  .rcv_wnd = WINDOW,
						  .rcv_wup = other->seq };
	int rc = set(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options, sizeof(options));

	return rc < 0 ? rc : set(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof(window));
}

static int stay_on_link(int fd, struct ip_addr ip)
{
	return ip.family == IP_V4 ? set_int(fd, IPPROTO_IP, IP_TTL, 1) :
				    set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 1);
}

int peer_sock_connect(int fd, const struct peer_end *own, const struct peer_end *other, struct err *e)
{
	union address a;
	socklen_t size;
	int rc;

	if (other->ip.family != own->ip.family || !is_host(other->ip) || other->port == 0 ||
	    ip_eq(other->ip, own->ip))
		return err_set(e, FAULT_BAD_REQUEST, "end", "not another host's address and port");
	size = address_of(other->ip, other->port, &a);
	rc = stay_on_link(fd, own->ip);
	if (rc == 0)
		rc = set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	if (rc == 0)
		rc = set_seqs(fd, own->seq, other->seq);
	if (rc == 0 && connect(fd, &a.sa, size) < 0)
		rc = -errno;
	if (rc == 0)
		rc = set_agreed(fd, other);
	if (rc == 0) /* a probe of the window would find no socket, perhaps */
		rc = set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	if (rc == 0)
		rc = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (rc == 0)
		rc = set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, SEGMENT_WAITS_MS);
	return rc < 0 ? err_errno(e, -rc, "a connection to the other node") : 0;
}
