# SPDX-License-Identifier: Apache-2.0
"""Guards, storm control, limits and helpers of ports: every wrong input, what the node is told, and what its datapath does."""

import os
import shutil
import socket
import uuid

import pytest
from conftest import wait_for
from node_lab import Image, Node, busybox_layer, oci_archive
from node_lab import wait_for as wait_node
from real_site import enter
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from site_lab import V2, lab_node

IDLE = Image(oci_archive([busybox_layer()], cmd=["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]))
LIMITS = "demarc:connection_limits"


def network_of(session):
    network = session.post(V2 + "/networks", {"network": {}}, 201).json()["network"]["id"]
    session.post(V2 + "/subnets", {"subnet": {"network_id": network, "cidr": "10.78.0.0/24", "ip_version": 4}}, 201)
    return network


@pytest.mark.parametrize("attrs,field", [
    ({"demarc:guards": ["ra", "arp"]}, "demarc:guards"), ({"demarc:guards": "ra"}, "demarc:guards"), ({"demarc:guards": [1]}, "demarc:guards"),
    ({"demarc:helpers": ["irc"]}, "demarc:helpers"), ({"demarc:storm_pps": -1}, "demarc:storm_pps"),
    ({"demarc:storm_pps": 1 << 40}, "demarc:storm_pps"), ({LIMITS: {"x": 1}}, LIMITS), ({LIMITS: {"half_open": -1}}, LIMITS),
    ({LIMITS: {"half_open": "1"}}, LIMITS), ({LIMITS: {"syn_cookies": True}}, LIMITS), ({LIMITS: {"syn_cookies": 1}}, LIMITS), ({LIMITS: []}, LIMITS),
])
def test_bad_attributes(shared_hub, attrs, field):
    error = shared_hub.post(V2 + "/ports", {"port": {"network_id": network_of(shared_hub), **attrs}}, 400).json()["NeutronError"]
    assert field in error["message"]


def test_node_learns(build, shared_hub, tmp_path):
    with lab_node(build, shared_hub, tmp_path / "n") as node:
        given = {"demarc:guards": ["ra", "source"], "demarc:helpers": ["ftp"], "demarc:storm_pps": 100,
                 LIMITS: {"half_open": 50, "source_rate": 10, "syn_cookies": True}}
        body = {"network_id": network_of(shared_hub), "device_owner": "compute:x", "device_id": str(uuid.uuid4()),
                "binding:host_id": node.name, **given}
        port = shared_hub.post(V2 + "/ports", {"port": body}, 201).json()["port"]
        assert {k: port[k] for k in given} == given

        def told():
            body = node.held().get(("port", port["id"]), {}).get("port", {})
            limits = {k: int(v) for k, v in (body.get("connection_limits") or {}).items() if int(v)}
            return body.get("guards", []), body.get("helpers", []), int(body.get("storm_pps", 0)), limits
        wait_for(lambda: told() == (["ra", "source"], ["ftp"], 100, {"half_open": 50, "source_rate": 10, "syn_cookies": 1}), "all of it")
        off = {"demarc:guards": None, "demarc:helpers": [], "demarc:storm_pps": 0, LIMITS: None}
        port = shared_hub.put(f"{V2}/ports/{port['id']}", {"port": off}, 200).json()["port"]
        assert (port["demarc:guards"], port[LIMITS]) == ([], {})
        wait_for(lambda: told() == ([], [], 0, {}), "nothing of it")


@pytest.fixture(name="two")
def fixture_two():
    """Two functions on one network."""
    node = Node()
    try:
        node.start()
        net, sub = node.network("10.8.0.0/24")
        ids = [str(uuid.uuid4()), str(uuid.uuid4())]
        ports = [node.port(net[1], sub, f"10.8.0.{5 + i}", s) for i, s in enumerate(ids)]
        node.apply(net, *ports, *[node.server(s, IDLE, [p[1]]) for s, p in zip(ids, ports)])
        node.wait_healthy(*ids)
        yield node, ids, [p[1] for p in ports]
    finally:
        node.close()


def drops(node, reason):
    return next(int(c["value"]) for c in node.call(status={})["status"]["counters"] if c["name"] == reason)


def test_source_guard_and_storm(two):
    node, ids, ports = two
    def ping(*extra):
        return "1 packets received" in node.inside(ids[0], "/bin/ping", "-c", "1", "-W", "1", *extra, "10.8.0.6", check=False)
    wait_node("passes", ping)
    node.inside(ids[0], "/bin/ip", "addr", "add", "10.8.0.99/24", "dev", "eth0")
    wait_node("any source", lambda: ping("-I", "10.8.0.99"))
    node.change("port", ports[0], guards=["source", "not-known-here"])
    wait_node("a source that nobody gave it", lambda: not ping("-I", "10.8.0.99"))
    assert drops(node, "source_guard") > 0
    wait_node("its own passes", ping)
    node.change("port", ports[0], storm_pps=1)
    wait_node("broadcast is limited", lambda: node.inside(
        ids[0], "/bin/ping", "-c", "200", "-i", "0.001", "-W", "1", "-q", "255.255.255.255", "-I", "eth0", check=False) is not None
        and drops(node, "storm") > 0)
    node.change("port", ports[0], storm_pps=0, guards=[])
    wait_node("as before", lambda: ping("-I", "10.8.0.99"))


def test_limits_of_connections(two):
    node, ids, ports = two
    node.change("port", ports[1], connection_limits={"source_rate": 3})
    wait_node("new connections of one source are limited", lambda: [
        node.inside(ids[0], "/bin/sh", "-c", f"nc -w 1 10.8.0.6 {9000 + i} </dev/null", check=False) for i in range(10)]
        and drops(node, "source_rate") > 0)


def packet_socket(ns):
    """On eth0 of a namespace, for whole frames."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        enter(ns)
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.bind(("eth0", 0x0003))
        s.setblocking(False)
        return s
    finally:
        enter(f"/proc/self/fd/{home}")
        os.close(home)


class Leased:
    """A guarded LAN with a host on it, and a function that gives it an address."""

    HOST, THIEF, ADDRESS = "02:00:00:00:07:01", "02:00:00:00:07:02", "10.9.0.77"

    def __init__(self):
        self.node, self.server = Node(nics=["lan"]), str(uuid.uuid4())
        self.node.start()
        net, sub = self.node.network("10.9.0.0/24", physical_network="lan")
        up = self.node.port(net[1], uplink=True, guards=["source", "dhcp", "ra"])
        port = self.node.port(net[1], sub, "10.9.0.1", self.server)
        self.node.apply(net, up, port, self.node.server(self.server, IDLE, [port[1]]))
        self.node.wait_healthy(self.server)
        self.mac = port[2]["mac"]
        self.lan = packet_socket(f"/run/netns/{self.node.host_ns[0]}")
        self.inside = packet_socket(f"{self.node.dir}/run/netns/{self.server}")

    def lease(self):
        ask = Ether(src=self.HOST, dst="ff:ff:ff:ff:ff:ff") / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
        self.lan.send(bytes(ask / BOOTP(op=1, chaddr=bytes.fromhex(self.HOST.replace(":", ""))) / DHCP(options=[("message-type", 3), "end"])))
        ack = BOOTP(op=2, yiaddr=self.ADDRESS, chaddr=bytes.fromhex(self.HOST.replace(":", "")))
        self.inside.send(bytes(Ether(src=self.mac, dst=self.HOST) / IP(src="10.9.0.1", dst=self.ADDRESS) / UDP(sport=67, dport=68)
                               / ack / DHCP(options=[("message-type", 5), ("lease_time", 3600), "end"])))

    def passes(self, mac):
        """What the host sends arrives; each time as a new flow."""
        text = uuid.uuid4().hex.encode()
        self.lan.send(bytes(Ether(src=mac, dst=self.mac) / IP(src=self.ADDRESS, dst="10.9.0.1")
                            / UDP(sport=1024 + text[0] * 256 + text[1], dport=9) / text))
        try:
            while True:
                if text in self.inside.recv(2000):
                    return True
        except BlockingIOError:
            return False

    def reboot(self, change=lambda path: None):
        """Maps and programs go, without a word to the agent."""
        self.node.kill()
        change(f"{self.node.dir}/state/leases.json")
        shutil.rmtree(self.node.pin)
        self.node.start()
        wait_node("guards", lambda: not self.passes(self.THIEF) and drops(self.node, "source_guard"))

    def close(self):
        self.lan.close()
        self.inside.close()
        self.node.close()


@pytest.fixture(name="leased")
def fixture_leased():
    l = Leased()
    try:
        yield l
    finally:
        l.close()


def garbage(path):
    with open(path, "w", encoding="ascii") as f:
        f.write('{"saved": 1, "bindings": [{"network": "x"}]}')


def test_leases_outlive_a_reboot(leased):
    assert not leased.passes(leased.HOST)
    wait_node("a lease", lambda: leased.lease() or leased.passes(leased.HOST))
    saved = f"{leased.node.dir}/state/leases.json"

    def is_saved():
        with open(saved, encoding="utf-8") as f:
            return leased.ADDRESS + "/32" in f.read()
    wait_node("saved", lambda: os.path.exists(saved) and is_saved())
    leased.reboot()
    wait_node("the host has its lease", lambda: leased.passes(leased.HOST))
    assert not leased.passes(leased.THIEF)
    assert "leases_found" in leased.node.logged()
    leased.reboot(garbage)
    assert "leases_unread" in leased.node.logged()
    assert not leased.passes(leased.HOST)
    wait_node("a new lease", lambda: leased.lease() or leased.passes(leased.HOST))
