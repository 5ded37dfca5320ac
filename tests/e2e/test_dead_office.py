# SPDX-License-Identifier: Apache-2.0
"""Dead office: hub and every node lose their power at once and come back in any order, by themselves.

    lan host --- lan0 [ node 1 ] wan0 --- wan host
                         | mgmt0 --- [ bridge: the hub, and the test itself ]
    lan host --- lan0 [ node 2 ] ...

DEMARC_OFFICE_NODES (default 8) nodes, DEMARC_OFFICE_ROUNDS (default 2) power cuts. The bar of a release is 50 and 20.
"""

import concurrent.futures
import contextlib
import os
import random
import subprocess
import time
import uuid

import pytest
from conftest import SANITIZER, Hub, wait_for
from node_lab import sh
from real_site import (HUB_ADDR, LAN_HOST, NOVA, ROUTER_LAN, ROUTER_WAN, V1, V2, WAN_HOST, RealNode, RealSite, enter)
from test_reboot import CMD

NODES = int(os.environ.get("DEMARC_OFFICE_NODES", "8"))
ROUNDS = int(os.environ.get("DEMARC_OFFICE_ROUNDS", "2"))
UP_S = 60 + 6 * NODES  # from the last switch to traffic everywhere
WORKERS = 8


def each(function, items):
    """function of each, several at a time; the first exception comes out."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(function, items))


class Premises:
    """One customer: a node with both NICs wired to a host, and a leg to the hub."""

    def __init__(self, office, number):
        self.office, self.name = office, f"cpe-{number}"
        self.ns = {name: f"dmo{office.tag}-{name}{number}" for name in ("site", "lan", "wan")}
        folder = os.path.join(office.folder, self.name)
        os.mkdir(folder)
        self.mgmt = f"100.64.{number // 200}.{1 + number % 200}"
        self.leg = f"n{number}"
        self.node = RealNode(office.build, folder, self.ns["site"], f"/sys/fs/bpf/demarc-office-{office.tag}-{number}",
                             [f"lan-{self.name}=lan0", f"wan-{self.name}=wan0"])

    def wire(self):
        for ns in self.ns.values():
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
            sh("nsenter", f"--net=/run/netns/{ns}", "--", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
               "net.ipv6.conf.default.disable_ipv6=1")
        for nic, far, address, route in (("lan0", "lan", LAN_HOST, ("default", ROUTER_LAN)),
                                         ("wan0", "wan", WAN_HOST, ("192.168.10.0/24", ROUTER_WAN))):
            sh("ip", "link", "add", nic, "netns", self.ns["site"], "type", "veth", "peer", "name", "eth0", "netns", self.ns[far])
            sh("ip", "-n", self.ns["site"], "link", "set", nic, "up")
            sh("ip", "-n", self.ns[far], "link", "set", "eth0", "up")
            sh("ip", "-n", self.ns[far], "addr", "add", f"{address}/24", "dev", "eth0")
            sh("ip", "-n", self.ns[far], "route", "add", route[0], "via", route[1])
        sh("ip", "link", "add", "mgmt0", "netns", self.ns["site"], "type", "veth", "peer", "name", self.leg, "netns",
           self.office.ns["hub"])
        sh("ip", "-n", self.ns["site"], "addr", "add", f"{self.mgmt}/16", "dev", "mgmt0")
        sh("ip", "-n", self.ns["site"], "link", "set", "mgmt0", "up")
        sh("ip", "-n", self.ns["site"], "route", "add", HUB_ADDR, "dev", "mgmt0")
        sh("ip", "-n", self.office.ns["hub"], "link", "set", self.leg, "master", "br0", "up")

    def build(self):
        """LAN -> router -> inner -> WAN. The addresses are those of every other customer."""
        o = self.office
        nets = [o.provider(f"lan-{self.name}", "192.168.10.0/24"), o.provider(f"wan-{self.name}", "203.0.113.0/24")]
        uplinks = [o.port(n, device_owner="network:uplink", fixed_ips=[], **{"binding:host_id": self.name}) for n in nets]

        def port(net, *ips):
            return o.port(net, fixed_ips=[{"ip_address": ip} for ip in ips], port_security_enabled=False, security_groups=[])

        ports = {"router": [port(nets[0], ROUTER_LAN), port(nets[1], ROUTER_WAN)],
                 "inner": [port(nets[1], "203.0.113.6"), port(nets[1], "203.0.113.7")]}
        self.servers = {name: o.server(f"{name}-{self.name}", o.images[name], p, availability_zone=f"branch:{self.name}")
                        for name, p in ports.items()}
        classifier = o.sfc("flow_classifier", ethertype="IPv4", logical_source_port=uplinks[0], logical_destination_port=uplinks[1])
        self.chain = o.sfc("port_chain", name=f"vcpe-{self.name}", port_pair_groups=[o.hop(name, *p) for name, p in ports.items()],
                           flow_classifiers=[classifier], chain_parameters={"symmetric": True})

    def listeners(self):
        return self.office.sockets(self.ns["site"])

    def forwards(self):
        argv = ["nsenter", f"--net=/run/netns/{self.ns['lan']}", "--", "busybox", "ping", "-c", "1", "-W", "1", WAN_HOST]
        return subprocess.run(argv, check=False, capture_output=True).returncode == 0

    def is_as_wanted(self):
        """The hub has heard that it is: in step, every server active, every vNIC verified, the chain whole."""
        o = self.office
        row = o.hub.get(f"{V1}/nodes/{self.node.id}", 200).json()["node"]
        if row["state"] != "up" or not row["in_step"] or o.chain_state(self.chain) != "active":
            return False
        for s in self.servers.values():
            b = o.bindings(s)
            if not b["healthy"] or not all(x["verified"] for x in b["bindings"]):
                return False
        return True


class Office(RealSite):
    """The hub and its premises. While it lives, the thread that made it is in the hub's namespace."""

    def __init__(self, build, folder, n):
        self.tag = uuid.uuid4().hex[:5]
        self.build, self.folder = build, str(folder)
        self.ns = {"hub": f"dmo{self.tag}-hub"}
        self.hub = Hub(build, os.path.join(self.folder, "hub"), os.path.join(self.folder, "hub.log"),
                       ["--listen", "0.0.0.0", "--public-name", HUB_ADDR])
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.premises = [Premises(self, i) for i in range(n)]

    def up(self):
        sh("ip", "netns", "add", self.ns["hub"])
        for argv in (("link", "set", "lo", "up"), ("link", "add", "br0", "type", "bridge"), ("link", "set", "br0", "up"),
                     ("addr", "add", f"{HUB_ADDR}/32", "dev", "br0"), ("route", "add", "100.64.0.0/16", "dev", "br0")):
            sh("ip", "-n", self.ns["hub"], *argv)
        each(Premises.wire, self.premises)
        self.enter_hub()
        self.hub.start()
        self.images = {name: self.image(name, cmd) for name, cmd in CMD.items()}
        site = self.hub.post(V1 + "/sites", {"site": {"name": "branch"}}, 201).json()["site"]["id"]
        for p in self.premises:
            body = {"enrolment_token": {"node_name": p.name, "expires_in": 3600}}
            token = self.hub.post(f"{V1}/sites/{site}/enrolment_tokens", body, 201).json()["enrolment_token"]["token"]
            p.node.enrol(token)
            p.node.start()
        for p in self.premises:
            p.build()
        return self

    def server(self, name, image, ports, **attributes):
        body = {"name": name, "imageRef": image, "flavorRef": "nf.tiny", "networks": [{"port": p} for p in ports], **attributes}
        return self.hub.post(f"{NOVA}/servers", {"server": body}, 202).json()["server"]["id"]

    def sockets(self, ns):
        """What listens in a namespace, on any address."""
        return sh("nsenter", f"--net=/run/netns/{ns}", "--", "ss", "-Hltnu")

    def all_as_wanted(self, what):
        end = time.monotonic() + UP_S
        for p in self.premises:
            wait_for(p.is_as_wanted, f"{p.name} {what}", max(1, end - time.monotonic()))

    def cut_power(self):
        """Everybody at once; what was not on a disk is gone."""
        for p in self.premises:
            p.node.process.kill()
        if self.hub.process.poll() is None:
            self.hub.kill()
        each(lambda p: p.node.lose_machine(), self.premises)

    def power_on(self, rng):
        """In any order; half of the rounds the hub comes after nodes that have waited for it."""
        order = [*self.premises, None]
        rng.shuffle(order)
        for p in order:
            if p:
                p.node.start()
            else:
                self.hub.start()
        return ["hub" if p is None else p.name for p in order]

    def down(self):
        for p in self.premises:
            if p.node.process and p.node.process.poll() is None:
                p.node.kill()
        if self.hub.process and self.hub.process.poll() is None:
            self.hub.kill()
        self.hub.http.close()
        enter(f"/proc/self/fd/{self.home}")
        os.close(self.home)
        try:
            each(lambda p: p.node.purge(), [p for p in self.premises if p.node.id])
        finally:
            for ns in [*self.ns.values(), *(n for p in self.premises for n in p.ns.values())]:
                sh("ip", "netns", "del", ns, check=False)
        for log in [os.path.join(self.folder, "hub.log"), *(p.node.log_path for p in self.premises)]:
            with contextlib.suppress(FileNotFoundError), open(log, encoding="utf-8", errors="replace") as f:
                bad = [line for line in f if SANITIZER.search(line)]
                assert not bad, f"{log}: {bad[:5]}"


def check(office):
    each(lambda p: wait_for(p.forwards, f"a ping through {p.name}", UP_S), office.premises)
    office.all_as_wanted("as wanted")
    for p in office.premises:
        assert not p.listeners(), f"{p.name} listens: {p.listeners()}"
        wired = p.node.links()
        assert len(wired) == 4 and len(p.node.containers()) == 2, (wired, p.node.containers())


@pytest.mark.timeout(120 + (ROUNDS + 1) * 2 * UP_S)
def test_dead_office(build, tmp_path):
    seed = int(os.environ.get("DEMARC_SEED", random.randrange(1 << 30)))
    print(f"DEMARC_SEED={seed}")
    rng = random.Random(seed)
    office = Office(build, tmp_path, NODES)
    try:
        office.up()
        check(office)
        for i in range(ROUNDS):
            office.cut_power()
            start = time.monotonic()
            order = office.power_on(rng)
            check(office)
            print(f"round {i + 1}: {time.monotonic() - start:.1f} s, hub as number {1 + order.index('hub')}")
    finally:
        office.down()
