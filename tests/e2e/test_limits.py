# SPDX-License-Identifier: Apache-2.0
"""Helpers and limits of ports, set through the API on a real hub and a real node: what connections make of them."""

import contextlib
import os
import socket
import struct

import pytest
from conftest import wait_for
from real_site import enter, real_site
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from test_firewall import create, show, update

IDLE = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]
CLIENT, SERVER, FLOODER = "10.2.0.5", "10.2.0.6", "10.2.0.7"
LIMITS = "demarc__connection_limits"
HALF_OPEN = 20
TCPI_OPT_WSCALE = 4
WAIT_S = 0.5  # for what does not come


class Functions:
    """Three of them on one network. Sockets are in their namespaces, and the test's own."""

    def __init__(self, site):
        self.site, self.admin = site, site.hub
        net = site.network("n", "10.2.0.0/24")
        self.ports = [site.port(net, fixed_ips=[{"ip_address": ip}]) for ip in (CLIENT, SERVER)]
        self.ports.append(site.port(net, fixed_ips=[{"ip_address": FLOODER}], port_security_enabled=False, security_groups=[]))
        image = site.image("idle", IDLE)
        self.servers = [site.server(f"s{i}", image, [p]) for i, p in enumerate(self.ports)]
        for s in self.servers:
            wait_for(lambda s=s: self.admin.get(f"/compute/v2.1/servers/{s}", 200).json()["server"]["status"] == "ACTIVE", "running", 60)

    def socket(self, which, *kind):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            enter(f"{self.site.node.run}/netns/{self.servers[which]}")
            s = socket.socket(*kind)
            s.settimeout(10)
            return s
        finally:
            enter(f"/proc/self/fd/{home}")
            os.close(home)

    def listener(self, which, port=0):
        s = self.socket(which, socket.AF_INET)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("", port))
        s.listen(16)
        return s

    def connected(self, which, address, timeout=WAIT_S):
        """None: refused, or nothing has come."""
        s = self.socket(which, socket.AF_INET)
        s.settimeout(timeout)
        try:
            s.connect(address)
            s.settimeout(10)
            return s
        except OSError:
            s.close()
            return None

    def mac(self, which):
        return show(self.admin, "port", self.ports[which])["mac_address"]


@pytest.fixture(name="functions", scope="module")
def fixture_functions(build, tmp_path_factory):
    with real_site(build, tmp_path_factory.mktemp("limits")) as site:
        yield Functions(site)


def group_with(admin, direction, port):
    """A group that lets one TCP port pass, in one direction; its id."""
    group = create(admin, "security_group", name=f"only-{direction}-{port}")
    for rule in group["security_group_rules"]:
        admin.delete(f"/network/v2.0/security-group-rules/{rule['id']}", 204)
    create(admin, "security_group_rule", security_group_id=group["id"], direction=direction, protocol="tcp",
           port_range_min=port, port_range_max=port)
    return group["id"]


class Ftp:
    """A session of RFC 959: the control connection, and what it announces. Both ends are here."""

    def __init__(self, functions, control):
        self.functions = functions
        self.client = wait_for(lambda: functions.connected(0, (SERVER, 21)), "the control connection")
        self.server, _ = control.accept()
        self.server.settimeout(10)
        self.server.sendall(b"220 ready\r\n")
        assert self.client.recv(100) == b"220 ready\r\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.server.close()

    @staticmethod
    def tuple_of(address, port):
        return ",".join(address.split(".") + [str(port >> 8), str(port & 255)])

    def say(self, a, b, line):
        a.sendall(line.encode() + b"\r\n")
        assert b.recv(100) == line.encode() + b"\r\n"

    def passive(self):
        """The server announces a port; what the client reads from it, or nothing."""
        with self.functions.listener(1) as data:
            port = data.getsockname()[1]
            self.say(self.client, self.server, "PASV")
            self.say(self.server, self.client, f"227 Entering Passive Mode ({self.tuple_of(SERVER, port)}).")
            return self.transfer(0, (SERVER, port), data)

    def active(self):
        """The client announces a port; what it gets there."""
        with self.functions.listener(0) as data:
            port = data.getsockname()[1]
            self.say(self.client, self.server, "PORT " + self.tuple_of(CLIENT, port))
            self.say(self.server, self.client, "200 ok")
            return self.transfer(1, (CLIENT, port), data)

    def transfer(self, opener, address, listener):
        mine = self.functions.connected(opener, address)
        if not mine:
            return b""
        other, _ = listener.accept()
        with mine, other:
            other.settimeout(10)
            mine.sendall(b"a file")
            return other.recv(100)


def test_ftp_helper(functions):
    """Groups let port 21 pass and nothing else: data connections come by the helper, or not at all."""
    admin, ports = functions.admin, functions.ports
    before = [show(admin, "port", p)["security_groups"] for p in ports[:2]]
    groups = [group_with(admin, "egress", 21), group_with(admin, "ingress", 21)]
    for port, group in zip(ports, groups):
        update(admin, "port", port, security_groups=[group])

    def tried(which):
        with Ftp(functions, control) as session:
            return getattr(session, which)()
    try:
        with functions.listener(1, 21) as control, functions.listener(1, 8021):
            wait_for(lambda: not functions.connected(0, (SERVER, 8021)), "the groups are in force")
            assert tried("passive") == b"" and tried("active") == b""
            for port in ports[:2]:
                update(admin, "port", port, demarc__helpers=["ftp"])
            wait_for(lambda: tried("passive") == b"a file", "the helper")
            assert tried("active") == b"a file"
            assert not functions.connected(0, (SERVER, 8021)), "what nobody has announced"
            for port in ports[:2]:
                update(admin, "port", port, demarc__helpers=[])
            wait_for(lambda: tried("passive") == b"", "no helper")
            assert tried("active") == b""
    finally:
        for port, group in zip(ports, before):
            update(admin, "port", port, security_groups=group, demarc__helpers=[])


def has_window_scale(s):
    """SYN cookies hold none."""
    options = struct.unpack_from("B", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8), 5)[0]
    return bool(options & TCPI_OPT_WSCALE)


class Flood:
    """SYNs of hosts that are not there."""

    def __init__(self, functions, port):
        self.socket = functions.socket(2, socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind(("eth0", 0))
        self.head = Ether(src=functions.mac(2), dst=functions.mac(1))
        self.port, self.n = port, 0

    def close(self):
        self.socket.close()

    def once(self):
        """New ones each time: what is known already is no new half-open connection."""
        for _ in range(3 * HALF_OPEN):
            self.n += 1
            self.socket.send(bytes(self.head / IP(src=f"10.2.0.{100 + self.n % 100}", dst=SERVER)
                                   / TCP(sport=1024 + self.n, dport=self.port, flags="S", seq=self.n)))


def test_syn_cookies(functions):
    """Beyond the half-open limit a connection is refused, or, with cookies, made without a place in the table."""
    admin, port = functions.admin, functions.ports[1]
    group = create(admin, "security_group", name="open")["id"]
    create(admin, "security_group_rule", security_group_id=group, direction="ingress", protocol="tcp")
    before = show(admin, "port", port)["security_groups"]
    update(admin, "port", port, security_groups=[group])
    with functions.listener(1) as listener, contextlib.closing(Flood(functions, listener.getsockname()[1])) as flood:
        address = (SERVER, listener.getsockname()[1])

        def during():
            """A connection under the flood, proven by what goes through it: whether it has a window scale; None: there is none."""
            flood.once()
            client = functions.connected(0, address)
            if not client:
                return None
            with client:
                server, _ = listener.accept()
                with server:
                    for a, b in ((client, server), (server, client)):
                        a.sendall(b"x" * 3000)
                        got = b""
                        while len(got) < 3000:
                            got += b.recv(3000)
                        assert got == b"x" * 3000
                return has_window_scale(client)
        try:
            wait_for(lambda: during() is True, "without a limit")
            update(admin, "port", port, **{LIMITS: {"half_open": HALF_OPEN}})
            wait_for(lambda: during() is None, "the limit")
            update(admin, "port", port, **{LIMITS: {"half_open": HALF_OPEN, "syn_cookies": True}})
            wait_for(lambda: during() is False, "a cookie")
            assert during() is False
            update(admin, "port", port, **{LIMITS: {}})
            wait_for(lambda: during() is True, "no limit")
        finally:
            update(admin, "port", port, security_groups=before, **{LIMITS: {}})
