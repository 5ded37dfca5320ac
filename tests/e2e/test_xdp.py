# SPDX-License-Identifier: Apache-2.0
"""A site whose NICs have the XDP program in front: the same chain, the same traffic, most of it never a packet buffer of tc."""

import re
import socket

import pytest
from conftest import wait_for
from node_lab import sh
from real_site import LAN_HOST, WAN_HOST, real_site
from test_reboot import Echo, build_chain, lan_socket, traffic_flows

PACKETS = 50


def redirected(site, nic):
    """Frames that the XDP program of a NIC has sent on."""
    out = sh("nsenter", f"--net=/run/netns/{site.ns['site']}", "--", "ethtool", "-S", nic)
    return sum(int(n) for n in re.findall(r"rx_queue_\d+_xdp_redirect: (\d+)", out))


def has_xdp(site, nic):
    return "xdp" in sh("ip", "-n", site.ns["site"], "link", "show", "dev", nic)


def hosts_without_offload(site):
    """A cable's far end hands over whole frames: tags and checksums in them."""
    for host in ("lan", "wan"):
        sh("nsenter", f"--net=/run/netns/{site.ns[host]}", "--", "ethtool", "-K", "eth0", "tx", "off", "txvlan", "off", "gro", "on")


def udp_round_trips(site, n):
    with lan_socket(site, socket.SOCK_DGRAM) as s:
        s.connect((WAN_HOST, 7))
        for i in range(n):
            s.sendall(b"%d" % i)
            assert s.recv(2000).decode() == f"{LAN_HOST} {i}"


@pytest.mark.timeout(240)
def test_chain_behind_xdp(build, tmp_path):
    with real_site(build, tmp_path, nics=("lan=lan0,xdp", "wan=wan0,xdp")) as site:
        hosts_without_offload(site)
        build_chain(site)
        echo = Echo(site.ns["wan"])
        try:
            traffic_flows(site)
            assert has_xdp(site, "lan0") and has_xdp(site, "wan0")
            assert "hook=xdp" in site.node.logged()
            before = redirected(site, "lan0"), redirected(site, "wan0")
            udp_round_trips(site, PACKETS)
            after = redirected(site, "lan0"), redirected(site, "wan0")
            assert after[0] - before[0] >= PACKETS - 2 and after[1] - before[1] >= PACKETS - 2, (before, after)
            site.node.kill()  # the program is pinned: it goes on, and the next agent takes it over
            udp_round_trips(site, PACKETS)
            site.node.start()
            wait_for(lambda: site.node.logged().count("hook=xdp") >= 4, "the next agent")
            udp_round_trips(site, PACKETS)
            assert has_xdp(site, "lan0") and redirected(site, "lan0") > after[0] + PACKETS
        finally:
            echo.close()
        site.node.kill()
        site.node.purge()
        assert not has_xdp(site, "lan0") and not has_xdp(site, "wan0")
