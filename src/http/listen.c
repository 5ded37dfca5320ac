/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* The listening sockets: as many as there are fronts, on one port. The kernel spreads the connections (SO_REUSEPORT). */

/* A name is not looked up: the operator says an address, or nothing for all of them. */
static int listen_address(const struct http_config *c, struct sockaddr_storage *ss, struct err *e)
{
	*ss = (struct sockaddr_storage){ 0 };
	if (uv_ip6_addr(c->listen_addr ? c->listen_addr : "::", c->port, (struct sockaddr_in6 *)ss) == 0)
		return 0;
	if (uv_ip4_addr(c->listen_addr, c->port, (struct sockaddr_in *)ss) == 0)
		return 0;
	return err_set(e, FAULT_BAD_REQUEST, "listen_addr", "%s is not an IP address", c->listen_addr);
}

#define BACKLOG 65535 /* the kernel takes net.core.somaxconn of it */

static int listen_on(const struct sockaddr_storage *ss, bool shared, int *ret_fd)
{
	int on = 1, off = 0;
	CLEANUP(close_fdp)
	int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = ss->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) :
						     sizeof(struct sockaddr_in);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ss->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)ss, size) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = MOVE_FD(fd);
	return 0;
}

/* A second hub of the same user would share the port as well: the first socket is tried alone. */
static int try_alone(const struct sockaddr_storage *ss)
{
	CLEANUP(close_fdp) int fd = -1;

	return listen_on(ss, false, &fd);
}

static uint16_t port_of(const struct sockaddr_storage *ss)
{
	return ntohs(ss->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)ss)->sin6_port :
						 ((const struct sockaddr_in *)ss)->sin_port);
}

/* ss becomes what the kernel chose. */
static int listen_all(struct sockaddr_storage *ss, unsigned n, int *ret_fds)
{
	socklen_t size = sizeof(*ss);
	int rc = n > 1 && port_of(ss) ? try_alone(ss) : 0;

	for (unsigned i = 0; rc == 0 && i < n; i++) {
		rc = listen_on(ss, n > 1, &ret_fds[i]);
		if (rc == 0 && getsockname(ret_fds[i], (struct sockaddr *)ss, &size) < 0)
			rc = -errno;
	}
	for (unsigned i = 0; rc < 0 && i < n; i++) {
		close_fdp(&ret_fds[i]);
		ret_fds[i] = -1;
	}
	return rc;
}

int listen_open(const struct http_config *c, unsigned n, int *ret_fds, uint16_t *ret_port, struct err *e)
{
	struct sockaddr_storage ss;
	int rc = listen_address(c, &ss, e);

	if (rc < 0)
		return rc;
	rc = listen_all(&ss, n, ret_fds);
	if (rc < 0 && !c->listen_addr && (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL)) {
		/* A host without IPv6. */
		(void)uv_ip4_addr("0.0.0.0", c->port, (struct sockaddr_in *)&ss);
		rc = listen_all(&ss, n, ret_fds);
	}
	if (rc < 0)
		return err_errno(e, rc, "listen on %s port %u",
				 c->listen_addr ? c->listen_addr : "*", c->port);
	*ret_port = port_of(&ss);
	return 0;
}
