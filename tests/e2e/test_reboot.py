# SPDX-License-Identifier: Apache-2.0
"""A site that loses its hub for good and then its power: from the disk alone it forwards again."""

import contextlib
import json
import socket
import subprocess
import threading

import pytest
from conftest import wait_for
from real_site import LAN_HOST, ROUTER_LAN, ROUTER_WAN, WAN_HOST, enter, real_site

WAIT = "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"
FORWARD = "echo 1 > /proc/sys/net/ipv4/ip_forward"
# The inner function has both ports in the WAN's network: the router is before it, everything else behind it.
INNER = (f"ip route del 203.0.113.0/24 dev eth0; ip route add {ROUTER_WAN}/32 dev eth0; "
         f"ip route add 192.168.10.0/24 via {ROUTER_WAN} dev eth0")
CMD = {"router": ["/bin/sh", "-c", f"{FORWARD}; {WAIT}"], "inner": ["/bin/sh", "-c", f"{FORWARD}; {INNER}; {WAIT}"]}


class Echo:
    """UDP and TCP echo on the WAN host."""

    def __init__(self, ns):
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.serve, args=(ns,), daemon=True)
        self.thread.start()
        assert self.ready.wait(10)

    def serve(self, ns):
        enter("/run/netns/" + ns)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((WAN_HOST, 7))
        self.tcp = socket.create_server((WAN_HOST, 7))
        threading.Thread(target=self.serve_tcp, daemon=True).start()
        self.ready.set()
        try:
            while True:
                data, peer = self.udp.recvfrom(2000)
                if peer is None:
                    return  # shut down: the test is over
                self.udp.sendto(peer[0].encode() + b" " + data, peer)
        except OSError:
            pass  # closed: the test is over

    def serve_tcp(self):
        try:
            while True:
                conn, peer = self.tcp.accept()
                with conn:
                    conn.sendall(peer[0].encode() + b" " + conn.recv(2000))
        except OSError:
            pass

    def close(self):
        for s in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
            s.close()


def lan_socket(site, kind):
    """A socket of the LAN host: a namespace belongs to a socket from its creation."""
    enter("/run/netns/" + site.ns["lan"])
    try:
        s = socket.socket(socket.AF_INET, kind)
    finally:
        site.enter_hub()
    s.settimeout(1)
    return s


def asks(site, kind):
    """What the WAN host answers over the chain, or None."""
    try:
        with lan_socket(site, kind) as s:
            s.connect((WAN_HOST, 7))
            s.sendall(b"hello")
            return s.recv(2000).decode()
    except OSError:
        return None


def pings(site):
    argv = ["nsenter", f"--net=/run/netns/{site.ns['lan']}", "--", "busybox", "ping", "-c", "1", "-W", "1", WAN_HOST]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def traffic_flows(site):
    wanted = f"{LAN_HOST} hello"
    wait_for(lambda: pings(site), "a ping through the chain", 60)
    wait_for(lambda: asks(site, socket.SOCK_DGRAM) == wanted, "UDP through the chain")
    wait_for(lambda: asks(site, socket.SOCK_STREAM) == wanted, "TCP through the chain")


def received(site, server):
    """Packets that the function took on both vNICs."""
    out = json.loads(site.node.ip_inside(server, "-s", "-j", "link"))
    return sum(i["stats64"]["rx"]["packets"] for i in out if i["ifname"].startswith("eth"))


def build_chain(site):
    """LAN -> router -> inner -> WAN, both of them kernels that route."""
    lan, wan = site.provider("lan", "192.168.10.0/24"), site.provider("wan", "203.0.113.0/24")
    uplinks = [site.uplink(lan), site.uplink(wan)]

    def port(net, *ips):
        return site.port(net, fixed_ips=[{"ip_address": ip} for ip in ips], port_security_enabled=False, security_groups=[])

    ports = {"router": [port(lan, ROUTER_LAN), port(wan, ROUTER_WAN)], "inner": [port(wan, "203.0.113.6"), port(wan, "203.0.113.7")]}
    servers = {name: site.server(name, site.image(name, CMD[name]), p) for name, p in ports.items()}
    for s in servers.values():
        wait_for(lambda s=s: verified(site, s), "a verified server", 60)
    groups = [site.hop(name, *p) for name, p in ports.items()]
    classifier = site.sfc("flow_classifier", ethertype="IPv4", logical_source_port=uplinks[0], logical_destination_port=uplinks[1])
    chain = site.sfc("port_chain", name="vcpe", port_pair_groups=groups, flow_classifiers=[classifier], chain_parameters={"symmetric": True})
    wait_for(lambda: site.chain_state(chain) == "active", "the chain")
    return servers


def verified(site, server):
    seen = site.bindings(server)
    return seen["healthy"] and len(seen["bindings"]) == 2 and all(b["verified"] for b in seen["bindings"])


def vnics(site, server):
    """What the function has: name -> index, MAC, IPv4 addresses."""
    rows = json.loads(site.node.ip_inside(server, "-j", "addr"))
    return {i["ifname"]: (i["ifindex"], i["address"], sorted(a["local"] for a in i["addr_info"] if a["family"] == "inet"))
            for i in rows if i["ifname"].startswith("eth")}


@pytest.mark.timeout(300)
def test_reboot_without_hub_restores_the_chain(build, tmp_path):
    with real_site(build, tmp_path) as site:
        node, servers = site.node, build_chain(site)
        echo = Echo(site.ns["wan"])
        try:
            traffic_flows(site)
            wired = {s: vnics(site, s) for s in servers.values()}
            before = {c["id"]: c["pid"] for c in node.containers()}
            assert set(before) == set(servers.values())
            site.hub.kill()
            node.lose_machine()
            assert not pings(site)
            node.start()
            traffic_flows(site)
            after = {c["id"]: c["pid"] for c in node.containers()}
            assert set(after) == set(before) and not set(after.values()) & set(before.values())
            for server, vnics_before in wired.items():
                assert vnics(site, server) == vnics_before
                assert received(site, server) > 0, "the hop is in path"
            site.hub.start()  # only to be told what the node saw
            wait_for(lambda: site.node_row()["in_step"] and site.node_row()["state"] == "up", "the session", 60)
            for server in servers.values():
                wait_for(lambda s=server: verified(site, s), "a verified server", 60)
        finally:
            echo.close()
