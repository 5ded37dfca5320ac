/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/nic.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "base/str.h"

/*
 * Source: include/uapi/linux/netdev.h of Linux 6.3 and later, which Debian 12 does not have. The family is absent on older kernels, and nothing
 * is known then.
 */
#define NETDEV_FAMILY "netdev"
#define NETDEV_CMD_DEV_GET 1
#define NETDEV_A_DEV_IFINDEX 1
#define NETDEV_A_DEV_XDP_FEATURES 3
#define NETDEV_A_DEV_XDP_RX_METADATA_FEATURES 5

_Static_assert(DP_NIC_XDP == 1 << 0 && DP_NIC_XDP_OUT == 1 << 2 && DP_NIC_XDP_HW == 1 << 4,
	       "the bits of enum netdev_xdp_act");
_Static_assert(DP_NIC_HINT_TIMESTAMP == 1 << 0 && DP_NIC_HINT_HASH == 1 << 1 &&
		       DP_NIC_HINT_VLAN == 1 << 2,
	       "the bits of enum netdev_xdp_rx_metadata");

/* ---- ethtool ---- */

static int ethtool(ifindex nic, void *command)
{
	CLEANUP(close_fdp) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { 0 };

	if (fd < 0)
		return -errno;
	if (!if_indextoname((unsigned)nic.num, r.ifr_name))
		return -ENODEV;
	r.ifr_data = command;
	return ioctl(fd, SIOCETHTOOL, &r) ? -errno : 0;
}

/* A device on a bus: not a veth, a bridge, a tap or a tunnel. */
static int probe_driver(ifindex nic, struct dp_nic *ret)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	int r = ethtool(nic, &info);

	if (r == -EOPNOTSUPP)
		return 0;
	if (r)
		return r;
	info.driver[sizeof(info.driver) - 1] = 0;
	info.bus_info[sizeof(info.bus_info) - 1] = 0;
	(void)str_copy(ret->driver, sizeof(ret->driver), str_of(info.driver));
	ret->hardware = strchr(info.bus_info, ':') != NULL || strchr(info.bus_info, '.') != NULL;
	return 0;
}

bool nic_keep_tags(ifindex nic)
{
	struct ethtool_value v = { .cmd = ETHTOOL_GFLAGS };

	if (ethtool(nic, &v))
		return false;
	if (!(v.data & ETH_FLAG_RXVLAN))
		return true;
	v.cmd = ETHTOOL_SFLAGS;
	v.data &= ~(__u32)ETH_FLAG_RXVLAN;
	if (ethtool(nic, &v))
		return false;
	v.cmd = ETHTOOL_GFLAGS;
	return !ethtool(nic, &v) && !(v.data & ETH_FLAG_RXVLAN);
}

/* ---- the kernel's own list ---- */

static int on_family(const struct nlmsghdr *h, void *ctx)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct genlmsghdr)) if (mnl_attr_get_type(a) == CTRL_ATTR_FAMILY_ID &&
							       mnl_attr_get_payload_len(a) >= 2) *
		(uint16_t *)ctx = mnl_attr_get_u16(a);
	return MNL_CB_OK;
}

static uint64_t attr_u64(const struct nlattr *a)
{
	return mnl_attr_get_payload_len(a) >= 8 ? mnl_attr_get_u64(a) :
	       mnl_attr_get_payload_len(a) >= 4 ? mnl_attr_get_u32(a) :
						  0;
}

static int on_device(const struct nlmsghdr *h, void *ctx)
{
	struct dp_nic *ret = ctx;
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(a) == NETDEV_A_DEV_XDP_FEATURES) {
			ret->known = true;
			ret->xdp_features = (uint32_t)attr_u64(a);
		}
		if (mnl_attr_get_type(a) == NETDEV_A_DEV_XDP_RX_METADATA_FEATURES)
			ret->hints = (uint32_t)attr_u64(a);
	}
	return MNL_CB_OK;
}

static struct nlmsghdr *message(char *buf, uint16_t family, uint8_t command)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *g;

	h->nlmsg_type = family;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = 1;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->cmd = command;
	g->version = 1;
	return h;
}

static int ask(struct mnl_socket *s, struct nlmsghdr *h, mnl_cb_t cb, void *ctx)
{
	char buf[8192];
	int r = mnl_socket_sendto(s, h, h->nlmsg_len) < 0 ? -errno : 1;

	while (r > 0) {
		ssize_t n = mnl_socket_recvfrom(s, buf, sizeof(buf));
		r = n < 0 ? -errno : mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(s), cb, ctx);
	}
	return r;
}

static void probe_features(ifindex nic, struct dp_nic *ret)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	char buf[256];
	uint16_t family = 0;
	struct nlmsghdr *h;

	if (!s)
		return;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) == 0) {
		h = message(buf, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
		mnl_attr_put_strz(h, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY);
		(void)ask(s, h, on_family, &family);
		h = message(buf, family, NETDEV_CMD_DEV_GET);
		mnl_attr_put_u32(h, NETDEV_A_DEV_IFINDEX, (uint32_t)nic.num);
		if (family)
			(void)ask(s, h, on_device, ret);
	}
	(void)mnl_socket_close(s);
}

/* ---- kernels that do not tell ---- */

bool nic_offloads(ifindex nic)
{
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	DECLARE_LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_ifindex = (__u32)nic.num);
	CLEANUP(close_fdp)
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "probe", "GPL", pass, ARRAY_LEN(pass), &opts);

	return fd >= 0;
}

/*
 * Drivers that send frames for XDP programs of others, for kernels that do not tell. Source: implementations of ndo_xdp_xmit in Linux 6.1; of veth it
 * depends on the other end.
 */
static bool driver_sends(const char *driver)
{
	static const char *const names[] = { "virtio_net", "ixgbe",   "ixgbevf",       "i40e",
					     "ice",	   "igb",     "igc",	       "mlx5_core",
					     "mlx5e_rep",  "bnxt_en", "ena",	       "sfc",
					     "mvneta",	   "mvpp2",   "fsl_dpaa2_eth", "fsl_enetc",
					     "stmmac",	   "st_gmac", "hv_netvsc",     "qede",
					     "cpsw",	   "tun" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(driver, names[i]) == 0)
			return true;
	return false;
}

/* Without the family: the driver's name, and for a device on a bus whether it takes a program of its own. */
static void guess_features(ifindex nic, struct dp_nic *ret)
{
	if (driver_sends(ret->driver))
		ret->xdp_features |= DP_NIC_XDP_OUT;
	if (ret->hardware && nic_offloads(nic))
		ret->xdp_features |= DP_NIC_XDP_HW;
}

int nic_probe(ifindex nic, struct dp_nic *ret, struct err *e)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = probe_driver(nic, ret);
	if (r)
		return err_errno(e, r, "driver of interface %d", nic.num);
	probe_features(nic, ret);
	if (!ret->known)
		guess_features(nic, ret);
	return 0;
}

bool nic_takes_xdp(const struct dp_nic *n)
{
	return n->xdp_features & DP_NIC_XDP_OUT;
}

int dp_take_xdp(ifindex inside)
{
	struct ethtool_value v = { .cmd = ETHTOOL_SGRO, .data = 1 };

	return ethtool(inside, &v);
}
