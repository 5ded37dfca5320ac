/* SPDX-License-Identifier: Apache-2.0 */
#include "node/nl.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "node/netns.h"

struct nl {
	struct mnl_socket *sock;
	unsigned seq;
	size_t buf_size;
	char *buf;
	bool passed_over;
};

#define DUMP_TRIES 8

int nl_open(struct nl **ret, struct err *e)
{
	CLEANUP(nl_closep) struct nl *nl = calloc(1, sizeof(*nl));

	if (!nl)
		return err_set(e, FAULT_NO_MEMORY, NULL, "netlink handle");
	nl->buf_size = 32768; /* what the kernel fills at most in a dump */
	nl->buf = malloc(nl->buf_size);
	if (!nl->buf)
		return err_set(e, FAULT_NO_MEMORY, NULL, "netlink buffer");
	nl->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl->sock || mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0)
		return err_errno(e, errno, "rtnetlink socket");
	nl->seq = (unsigned)time(NULL);
	*ret = MOVE_PTR(nl);
	return 0;
}

int nl_open_in(int netns_fd, struct nl **ret, struct err *e)
{
	CLEANUP(netns_leave) struct netns_visit visit = NETNS_VISIT_NONE;
	int r = netns_enter(&visit, netns_fd, e);

	return r < 0 ? r : nl_open(ret, e);
}

void nl_close(struct nl *nl)
{
	if (!nl)
		return;
	if (nl->sock)
		(void)mnl_socket_close(nl->sock);
	free(nl->buf);
	free(nl);
}

static int join(struct nl *nl, const int *groups, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int group = groups[i];

		if (mnl_socket_setsockopt(nl->sock, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
			return err_errno(e, errno, "rtnetlink group %d", group);
	}
	return 0;
}

int nl_watch(struct nl *nl, struct err *e)
{
	static const int groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR };

	return join(nl, groups, ARRAY_LEN(groups), e);
}

int nl_watch_routes(struct nl *nl, struct err *e)
{
	static const int groups[] = { RTNLGRP_NEIGH, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE };

	return join(nl, groups, ARRAY_LEN(groups), e);
}

int nl_fd(const struct nl *nl)
{
	return mnl_socket_get_fd(nl->sock);
}

int nl_drain(struct nl *nl)
{
	int n = 0;

	while (n < 10000) { /* bounded: a peer that floods gets another turn later */
		ssize_t size = recv(nl_fd(nl), nl->buf, nl->buf_size, MSG_DONTWAIT);

		if (size < 0 && errno == ENOBUFS)
			size = 1; /* overrun: something did change */
		if (size <= 0)
			break;
		n++;
	}
	return n;
}

/* Belongs to the request of this number? Else it is a notification, or the rest of a dump that was given up. */
static bool is_answer(const struct nl *nl, ssize_t size, unsigned seq)
{
	const struct nlmsghdr *h = (const void *)nl->buf;

	return mnl_nlmsg_ok(h, (int)size) && h->nlmsg_seq == seq;
}

/* Sends and reads until the answer is complete. Returns 0 or the kernel's negative errno. */
static int nl_talk(struct nl *nl, struct nlmsghdr *h, mnl_cb_t cb, void *ctx)
{
	unsigned portid = mnl_socket_get_portid(nl->sock);
	unsigned seq = ++nl->seq;

	h->nlmsg_seq = seq;
	if (mnl_socket_sendto(nl->sock, h, h->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t size = mnl_socket_recvfrom(nl->sock, nl->buf, nl->buf_size);
		int r;

		if (size < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (!is_answer(nl, size, seq)) {
			nl->passed_over = true;
			continue;
		}
		r = mnl_cb_run(nl->buf, (size_t)size, seq, portid, cb, ctx);
		if (r < 0)
			return -errno;
		if (r == MNL_CB_STOP)
			return 0;
	}
}

bool nl_passed_over(struct nl *nl)
{
	bool was = nl->passed_over;

	nl->passed_over = false;
	return was;
}

static struct nlmsghdr *message(char *buf, uint16_t type, uint16_t flags, size_t extra, void *ret_extra)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	void *x;

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	x = mnl_nlmsg_put_extra_header(h, extra);
	memset(x, 0, extra);
	*(void **)ret_extra = x;
	return h;
}

/* ---- dumps ---- */

struct dump {
	void *rows;
	size_t n, cap, row_size;
	int error;
};

static void *dump_row(struct dump *d)
{
	if (d->n == d->cap) {
		size_t cap = d->cap ? 2 * d->cap : 16;
		void *p = cap > 4 * NL_LINKS_MAX ? NULL : realloc(d->rows, cap * d->row_size);

		if (!p) {
			d->error = -ENOMEM;
			return NULL;
		}
		d->rows = p;
		d->cap = cap;
	}
	return memset((char *)d->rows + d->n++ * d->row_size, 0, d->row_size);
}

static void link_info(const struct nlattr *info, struct nl_link *l)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, info) if (mnl_attr_get_type(a) == IFLA_INFO_KIND)(void)
		str_copy(l->kind, sizeof(l->kind), str_of(mnl_attr_get_str(a)));
}

static int on_link(const struct nlmsghdr *h, void *ctx)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	struct nl_link *l;
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	l = dump_row(ctx);
	if (!l)
		return MNL_CB_OK;
	l->index.num = m->ifi_index;
	l->flags = m->ifi_flags;
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		switch (mnl_attr_get_type(a)) {
		case IFLA_IFNAME:
			(void)str_copy(l->name, sizeof(l->name), str_of(mnl_attr_get_str(a)));
			break;
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(a) == sizeof(l->mac))
				memcpy(&l->mac, mnl_attr_get_payload(a), sizeof(l->mac));
			break;
		case IFLA_MTU:
			l->mtu = mnl_attr_get_u32(a);
			break;
		case IFLA_CARRIER:
			l->carrier = mnl_attr_get_u8(a) != 0;
			break;
		case IFLA_LINKINFO:
			link_info(a, l);
			break;
		}
	}
	return MNL_CB_OK;
}

/* The kernel says EINTR when the table changed under a dump: what was read may lack rows. */
static int dump_all(struct nl *nl, struct nlmsghdr *h, mnl_cb_t cb, struct dump *d)
{
	int r = -EINTR;

	for (int i = 0; r == -EINTR && i < DUMP_TRIES; i++) {
		d->n = 0;
		r = nl_talk(nl, h, cb, d);
	}
	return r;
}

static int dump_done(struct dump *d, int r, const char *what, void *ret, struct err *e)
{
	if (r == 0)
		r = d->error;
	if (r < 0) {
		free(d->rows);
		return err_errno(e, r, "%s", what);
	}
	*(void **)ret = d->rows;
	return (int)d->n;
}

int nl_links(struct nl *nl, struct nl_link **ret, struct err *e)
{
	char buf[256];
	struct ifinfomsg *m;
	struct nlmsghdr *h = message(buf, RTM_GETLINK, NLM_F_DUMP, sizeof(*m), &m);
	struct dump d = { .row_size = sizeof(struct nl_link) };

	return dump_done(&d, dump_all(nl, h, on_link, &d), "list of links", ret, e);
}

static int on_addr(const struct nlmsghdr *h, void *ctx)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	struct nl_addr *row;
	const struct nlattr *a;
	const struct nlattr *found = NULL;

	if (h->nlmsg_type != RTM_NEWADDR || (m->ifa_family != AF_INET && m->ifa_family != AF_INET6))
		return MNL_CB_OK;
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		if (mnl_attr_get_type(a) == IFA_LOCAL || (mnl_attr_get_type(a) == IFA_ADDRESS && !found))
			found = a;
	}
	if (!found || mnl_attr_get_payload_len(found) > 16)
		return MNL_CB_OK;
	row = dump_row(ctx);
	if (!row)
		return MNL_CB_OK;
	row->index.num = (int)m->ifa_index;
	row->addr.addr.family = m->ifa_family == AF_INET ? IP_V4 : IP_V6;
	row->addr.prefix_len = m->ifa_prefixlen;
	row->link_local = m->ifa_scope == RT_SCOPE_LINK;
	memcpy(row->addr.addr.b, mnl_attr_get_payload(found), mnl_attr_get_payload_len(found));
	return MNL_CB_OK;
}

int nl_addrs(struct nl *nl, struct nl_addr **ret, struct err *e)
{
	char buf[256];
	struct ifaddrmsg *m;
	struct nlmsghdr *h = message(buf, RTM_GETADDR, NLM_F_DUMP, sizeof(*m), &m);
	struct dump d = { .row_size = sizeof(struct nl_addr) };

	return dump_done(&d, dump_all(nl, h, on_addr, &d), "list of addresses", ret, e);
}

/* ---- changes ---- */

static void put_veth_peer(struct nlmsghdr *h, const struct nl_veth *v)
{
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	struct nlattr *data, *peer;
	struct ifinfomsg *m;

	mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	memset(m, 0, sizeof(*m));
	m->ifi_index = v->peer_index.num;
	mnl_attr_put_strz(h, IFLA_IFNAME, v->peer_name);
	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)v->peer_netns);
	mnl_attr_put(h, IFLA_ADDRESS, sizeof(v->peer_mac), &v->peer_mac);
	mnl_attr_put_u32(h, IFLA_MTU, v->mtu);
	mnl_attr_nest_end(h, peer);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
}

int nl_veth_new(struct nl *nl, const struct nl_veth *v, struct err *e)
{
	char buf[1024];
	struct ifinfomsg *m;
	struct nlmsghdr *h =
		message(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, sizeof(*m), &m);
	int r;

	m->ifi_index = v->index.num;
	m->ifi_flags = IFF_NOARP;
	m->ifi_change = IFF_NOARP;
	mnl_attr_put_strz(h, IFLA_IFNAME, v->name);
	mnl_attr_put_u32(h, IFLA_MTU, v->mtu);
	put_veth_peer(h, v);
	r = nl_talk(nl, h, NULL, NULL);
	return r < 0 ? err_errno(e, r, "making veth %s (index %d) with peer %s (index %d)", v->name,
				 v->index.num, v->peer_name, v->peer_index.num) :
		       0;
}

int nl_link_del(struct nl *nl, ifindex index, struct err *e)
{
	char buf[256];
	struct ifinfomsg *m;
	struct nlmsghdr *h = message(buf, RTM_DELLINK, NLM_F_ACK, sizeof(*m), &m);
	int r;

	m->ifi_index = index.num;
	r = nl_talk(nl, h, NULL, NULL);
	return r < 0 && r != -ENODEV ? err_errno(e, r, "deleting interface %d", index.num) : 0;
}

int nl_link_flags(struct nl *nl, ifindex index, unsigned flags, unsigned change, struct err *e)
{
	char buf[256];
	struct ifinfomsg *m;
	struct nlmsghdr *h = message(buf, RTM_NEWLINK, NLM_F_ACK, sizeof(*m), &m);
	int r;

	m->ifi_index = index.num;
	m->ifi_flags = flags;
	m->ifi_change = change;
	r = nl_talk(nl, h, NULL, NULL);
	return r < 0 ? err_errno(e, r, "flags of interface %d", index.num) : 0;
}

int nl_link_mac_mtu(struct nl *nl, ifindex index, struct mac mac, unsigned mtu, struct err *e)
{
	char buf[256];
	struct ifinfomsg *m;
	struct nlmsghdr *h = message(buf, RTM_NEWLINK, NLM_F_ACK, sizeof(*m), &m);
	int r;

	m->ifi_index = index.num;
	if (!mac_is_zero(mac))
		mnl_attr_put(h, IFLA_ADDRESS, sizeof(mac), &mac);
	mnl_attr_put_u32(h, IFLA_MTU, mtu);
	r = nl_talk(nl, h, NULL, NULL);
	return r < 0 ? err_errno(e, r, "MAC and MTU of interface %d", index.num) : 0;
}

static size_t addr_size(const struct ip_addr *a)
{
	return a->family == IP_V4 ? 4 : 16;
}

static int addr_change(struct nl *nl, uint16_t type, uint16_t flags, ifindex index,
		       const struct ip_cidr *c)
{
	char buf[256];
	struct ifaddrmsg *m;
	struct nlmsghdr *h = message(buf, type, (uint16_t)(flags | NLM_F_ACK), sizeof(*m), &m);

	m->ifa_family = c->addr.family == IP_V4 ? AF_INET : AF_INET6;
	m->ifa_prefixlen = c->prefix_len;
	m->ifa_index = (unsigned)index.num;
	m->ifa_scope = RT_SCOPE_UNIVERSE;
	/* No duplicate address detection: addresses are assigned by the hub and held apart by the datapath. */
	if (c->addr.family == IP_V6 && type == RTM_NEWADDR)
		m->ifa_flags = IFA_F_NODAD;
	mnl_attr_put(h, IFA_LOCAL, addr_size(&c->addr), c->addr.b);
	mnl_attr_put(h, IFA_ADDRESS, addr_size(&c->addr), c->addr.b);
	return nl_talk(nl, h, NULL, NULL);
}

int nl_addr_add(struct nl *nl, ifindex index, struct ip_cidr addr, struct err *e)
{
	char text[CIDR_STR_SIZE];
	int r = addr_change(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, &addr);

	return r < 0 && r != -EEXIST ? err_errno(e, r, "adding %s to interface %d",
						 cidr_format(addr, text), index.num) :
				       0;
}

int nl_addr_del(struct nl *nl, ifindex index, struct ip_cidr addr, struct err *e)
{
	char text[CIDR_STR_SIZE];
	int r = addr_change(nl, RTM_DELADDR, 0, index, &addr);

	return r < 0 && r != -EADDRNOTAVAIL && r != -ENODEV ?
		       err_errno(e, r, "removing %s from interface %d", cidr_format(addr, text),
				 index.num) :
		       0;
}

int nl_route_set(struct nl *nl, ifindex index, struct ip_cidr dst, struct ip_addr via, struct err *e)
{
	char buf[256], text[IP_STR_SIZE];
	struct rtmsg *m;
	struct nlmsghdr *h =
		message(buf, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, sizeof(*m), &m);
	int r;

	m->rtm_family = via.family == IP_V4 ? AF_INET : AF_INET6;
	m->rtm_dst_len = dst.addr.family ? dst.prefix_len : 0;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	m->rtm_flags = RTNH_F_ONLINK;
	if (dst.addr.family && dst.prefix_len) {
		struct ip_addr net = cidr_network(dst);

		mnl_attr_put(h, RTA_DST, addr_size(&net), net.b);
	}
	mnl_attr_put(h, RTA_GATEWAY, addr_size(&via), via.b);
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)index.num);
	r = nl_talk(nl, h, NULL, NULL);
	return r < 0 ? err_errno(e, r, "route via %s on interface %d", ip_format(via, text), index.num) :
		       0;
}

/* ---- the way to another host ---- */

static uint8_t af_of(const struct ip_addr *a)
{
	return a->family == IP_V4 ? AF_INET : AF_INET6;
}

static void route_metrics(const struct nlattr *metrics, struct nl_route *ret)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, metrics) if (mnl_attr_get_type(a) == RTAX_MTU)
		ret->mtu = mnl_attr_get_u32(a);
}

static int on_route(const struct nlmsghdr *h, void *ctx)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct nl_route *ret = ctx;
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWROUTE || m->rtm_type != RTN_UNICAST)
		return MNL_CB_STOP;
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		switch (mnl_attr_get_type(a)) {
		case RTA_OIF:
			ret->index.num = (int)mnl_attr_get_u32(a);
			break;
		case RTA_GATEWAY:
			if (mnl_attr_get_payload_len(a) == addr_size(&ret->via))
				memcpy(ret->via.b, mnl_attr_get_payload(a), addr_size(&ret->via));
			break;
		case RTA_METRICS:
			route_metrics(a, ret);
			break;
		}
	}
	return MNL_CB_STOP;
}

int nl_route_get(struct nl *nl, const struct ip_addr *src, const struct ip_addr *dst,
		 struct nl_route *ret, struct err *e)
{
	char buf[256], text[IP_STR_SIZE];
	struct rtmsg *m;
	struct nlmsghdr *h = message(buf, RTM_GETROUTE, 0, sizeof(*m), &m);
	int r;

	m->rtm_family = af_of(dst);
	m->rtm_dst_len = m->rtm_src_len = (unsigned char)(8 * addr_size(dst));
	mnl_attr_put(h, RTA_DST, addr_size(dst), dst->b);
	mnl_attr_put(h, RTA_SRC, addr_size(src), src->b);
	*ret = (struct nl_route){ .via = *dst };
	r = nl_talk(nl, h, on_route, ret);
	if (r < 0 || !ret->index.num)
		return err_errno(e, r < 0 ? r : -ENETUNREACH, "route to %s", ip_format(*dst, text));
	return 0;
}

struct neigh {
	bool found;
	struct mac mac;
};

static int on_neigh(const struct nlmsghdr *h, void *ctx)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	struct neigh *ret = ctx;
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWNEIGH ||
	    !(m->ndm_state & ~(NUD_INCOMPLETE | NUD_FAILED | NUD_NOARP)))
		return MNL_CB_STOP;
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		if (mnl_attr_get_type(a) != NDA_LLADDR ||
		    mnl_attr_get_payload_len(a) != sizeof(ret->mac))
			continue;
		memcpy(&ret->mac, mnl_attr_get_payload(a), sizeof(ret->mac));
		ret->found = true;
	}
	return MNL_CB_STOP;
}

static struct nlmsghdr *neigh_message(char *buf, uint16_t type, uint16_t flags, ifindex index,
				      const struct ip_addr *addr, struct ndmsg **ret)
{
	struct nlmsghdr *h = message(buf, type, flags, sizeof(**ret), ret);

	(*ret)->ndm_family = af_of(addr);
	(*ret)->ndm_ifindex = index.num;
	mnl_attr_put(h, NDA_DST, addr_size(addr), addr->b);
	return h;
}

int nl_neigh_get(struct nl *nl, ifindex index, const struct ip_addr *addr, struct mac *ret,
		 struct err *e)
{
	char buf[256], text[IP_STR_SIZE];
	struct neigh n = { 0 };
	struct ndmsg *m;
	struct nlmsghdr *h = neigh_message(buf, RTM_GETNEIGH, 0, index, addr, &m);
	int r = nl_talk(nl, h, on_neigh, &n);

	if (r < 0 && r != -ENOENT)
		return err_errno(e, r, "neighbour %s", ip_format(*addr, text));
	*ret = n.mac;
	return n.found;
}

int nl_neigh_use(struct nl *nl, ifindex index, const struct ip_addr *addr, struct err *e)
{
	char buf[256], text[IP_STR_SIZE];
	struct ndmsg *m;
	struct nlmsghdr *h =
		neigh_message(buf, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_ACK, index, addr, &m);
	int r;

	m->ndm_state = NUD_NONE;
	m->ndm_flags = NTF_USE;
	r = nl_talk(nl, h, NULL, NULL);
	return r < 0 ? err_errno(e, r, "looking for neighbour %s", ip_format(*addr, text)) : 0;
}
