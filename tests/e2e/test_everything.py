# SPDX-License-Identifier: Apache-2.0
"""Everything at once, on one flow, with real daemons: anti-spoofing, a list of 10,000 rules, a stateful firewall, policers, a chain of three
functions, VXLAN to a second node, analytics with IPFIX. And all of it changes while packets pass, of both families. What a packet costs the first
node is held against a bare program that looks a flow up, counts and redirects.

    a -- spoof check, list, groups -- [firewall] -- [acl] -- [policer] -- meter -- VXLAN ---- cpe-2 -- b
"""

import itertools
import json
import os
import re
import shutil
import socket
import statistics
import subprocess

import pytest
from conftest import wait_for
from real_site import HUB_ADDR, IMAGE, NOVA, SFC, V1, V2, sh
from test_firewall import create, many_rules, update
from test_overlay import TwoNodes

RULES = 10000
DENIED, DENIED_6, FREE = 9000, 19000, 20080  # TCP ports: of one of the rules, of one of IPv6, of none
KBPS = {"fast": 10_000_000, "slow": 8}


class Everything:
    """The whole of it, made through the API."""

    def __init__(self, site):
        self.site, self.hub = site, site.hub
        self.net = site.network("all", "10.40.0.0/24", **{"provider:network_type": "vxlan"})
        body = {"network_id": self.net, "cidr": "fd40::/64", "ip_version": 6, "gateway_ip": None, "enable_dhcp": False}
        self.hub.post(f"{V2}/subnets", {"subnet": body}, 201)
        self.ip6_a, self.ip6_b = "fd40::a", "fd40::b"
        (self.a, self.b), (self.ip_a, self.ip_b), (self.port_a, self.port_b) = site.pair(self.net, others=(self.ip6_a, self.ip6_b))
        for node, server, address in ((site.node, self.a, self.ip6_a), (site.far, self.b, self.ip6_b)):
            self.speaks_6(node, server, address)
        self.images = {}
        self.firewall, self.acl, self.policer = [self.native(kind) for kind in ("firewall", "acl", "policer")]
        self.hops = [site.hop(name, *ports) for name, (_, ports) in
                     (("firewall", self.firewall), ("acl", self.acl), ("policer", self.policer))]
        self.qos = [self.limit(kbps) for kbps in KBPS.values()]
        self.hub.put(f"{V2}/ports/{self.port_a}", {"port": {"qos_policy_id": self.qos[0]}}, 200)
        self.hub.put(f"{V2}/ports/{self.policer[1][0]}", {"port": {"qos_policy_id": self.qos[0]}}, 200)
        self.rules = many_rules(self.hub, RULES - 3, action="deny", source_ip_address=self.ip_a)
        self.rules.append(create(self.hub, "firewall_rule", action="deny", protocol="tcp", ip_version=6, source_ip_address=self.ip6_a,
                                 destination_port=str(DENIED_6))["id"])
        self.rules += [create(self.hub, "firewall_rule", action="allow", ip_version=version)["id"] for version in (6, 4)]
        for port, direction, rules in ((self.port_a, "egress", self.rules), (self.acl[1][0], "ingress", self.rules[-2:])):
            policy = create(self.hub, "firewall_policy", firewall_rules=rules)["id"]
            create(self.hub, "firewall_group", ports=[port], **{direction + "_firewall_policy_id": policy})
        self.chain = None

    @staticmethod
    def speaks_6(node, server, address):
        inside = ["nsenter", f"--net={node.run}/netns/{server}", "--"]
        sh(*inside, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0")
        sh(*inside, "ip", "addr", "replace", f"{address}/64", "dev", "eth0", "nodad")

    def image(self, kind):
        if kind not in self.images:
            body = {"name": kind, "disk_format": "raw", "container_format": "native", "native_kind": kind}
            self.images[kind] = self.hub.post(f"{IMAGE}/images", body, 201).json()["id"]
        return self.images[kind]

    def running(self, server):
        wait_for(lambda: self.hub.get(f"{NOVA}/servers/{server}", 200).json()["server"]["status"] == "ACTIVE", server, 60)
        return server

    def native(self, kind):
        group = self.open_group() if kind == "firewall" else None
        attributes = {"security_groups": [group]} if group else {}
        ports = [self.site.port(self.net, fixed_ips=[], **attributes) for _ in range(2)]
        return self.running(self.site.server(kind, self.image(kind), ports)), ports

    def open_group(self):
        """What a sends may pass: nothing that others open."""
        group = create(self.hub, "security_group", name="firewall")["id"]
        self.open_for_a(group)
        return group

    def open_for_a(self, group):
        for prefix, ethertype in ((self.ip_a + "/32", "IPv4"), (self.ip6_a + "/128", "IPv6")):
            create(self.hub, "security_group_rule", security_group_id=group, direction="ingress", remote_ip_prefix=prefix, ethertype=ethertype)

    def limit(self, kbps):
        policy = self.hub.post(V2 + "/qos/policies", {"policy": {"name": f"{kbps}"}}, 201).json()["policy"]["id"]
        for direction in ("ingress", "egress"):
            body = {"bandwidth_limit_rule": {"max_kbps": kbps, "direction": direction}}
            self.hub.post(f"{V2}/qos/policies/{policy}/bandwidth_limit_rules", body, 201)
        return policy

    def set_chain(self, hops):
        if not self.chain:
            classifiers = [self.site.sfc("flow_classifier", name=f"from-a-{family}", logical_source_port=self.port_a, ethertype=family)
                           for family in ("IPv4", "IPv6")]
            self.chain = self.site.sfc("port_chain", name="all", port_pair_groups=hops, flow_classifiers=classifiers)
        else:
            self.hub.put(f"{SFC}/port_chains/{self.chain}", {"port_chain": {"port_pair_groups": hops}}, 200)

        def settled():
            now = self.hub.get(f"{V1}/chains/{self.chain}", 200).json()["chain"]
            return now["state"] == "active" and [bool(h["in_path"]) for h in now["hops"]] == [True] * len(hops)
        wait_for(settled, "the chain", 60)

    # ---- traffic ----

    def ping(self, *extra):
        return self.site.ping(self.a, self.ip_b, *extra)

    def pings(self):
        return self.ping() and self.site.ping(self.a, self.ip6_b)

    def flood(self, count, size=56, to=None):
        command = ["nsenter", f"--net={self.site.node.run}/netns/{self.a}", "--", "busybox", "ping", "-q", "-i", "0.002", "-c", str(count),
                   "-s", str(size), "-W", "1", to or self.ip_b]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @staticmethod
    def received(ping):
        out = ping.communicate(timeout=120)[0]
        return int(re.search(r"(\d+) packets received", out)[1])

    def fetch(self, port=FREE, to=None):
        """Bytes that come of b's copy of busybox."""
        script = f"busybox timeout 4 wget -qO- http://{to or self.ip_b}:{port}/busybox | busybox wc -c"
        return int(self.site.node.inside(self.a, "/bin/sh", "-c", script, check=False).strip() or 0)

    # ---- looking ----

    def counter(self, name, node=None):
        rows = self.hub.get(f"{V1}/nodes/{(node or self.site.node).id}/status", 200).json()["status"]["counters"]
        return sum(int(c["value"]) for c in rows if c["name"] == name)  # nothing is said of what nothing was dropped for

    def flows(self, **filters):
        query = "&".join(f"{k}={v}" for k, v in filters.items())
        return self.hub.get(f"{V1}/nodes/{self.site.node.id}/flows?{query}", 200).json()["flows"]

    def stages(self, family=4, **packet):
        ends = {"src_ip": self.ip_a, "dst_ip": self.ip_b} if family == 4 else {"src_ip": self.ip6_a, "dst_ip": self.ip6_b}
        body = {"trace": {"port": self.port_a, **ends, **packet}}
        return self.hub.post(f"{V1}/nodes/{self.site.node.id}/trace", body, 200).json()["steps"]


@pytest.fixture(name="all_of_it", scope="module")
def fixture_all_of_it(build, tmp_path_factory):
    site = TwoNodes(build, tmp_path_factory.mktemp("everything"))
    try:
        site.up()
        yield Everything(site)
    finally:
        site.down()


@pytest.mark.timeout(600)
def test_everything_at_once(all_of_it):
    # COVERS(V4 | V6, F_EVERYTHING)
    t, site, hub = all_of_it, all_of_it.site, all_of_it.hub
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind((HUB_ADDR, 0))
        collector.settimeout(60)
        where = f"{HUB_ADDR}:{collector.getsockname()[1]}"
        hub.put(f"{V1}/sites/branch", {"site": {"ipfix_collectors": [where], "ipfix_active_s": 1}}, 200)
        t.set_chain(t.hops[:2])
        for port in (FREE, DENIED, DENIED_6):
            site.far.inside(t.b, "/bin/httpd", "-p", f"[::]:{port}", "-h", "/bin")
        wait_for(t.pings, "through all of it", 60)
        size = t.fetch()
        with open("/bin/busybox", "rb") as f:
            assert size == len(f.read()), "TCP through all of it"
        assert t.fetch(to=f"[{t.ip6_b}]") == size, "the same over IPv6"

        # A hop goes in, out, and elsewhere, while a packet of each family passes each 2 ms and TCP flows.
        pings = [t.flood(3000), t.flood(3000, to=t.ip6_b)]
        during = 0
        for hops, to in zip(itertools.cycle((t.hops, [t.hops[2], t.hops[1]], t.hops[:1])), itertools.cycle((t.ip_b, f"[{t.ip6_b}]"))):
            t.set_chain(hops)
            assert t.fetch(to=to) == size
            during += pings[0].poll() is None
            if pings[0].poll() is not None:
                break
        assert during >= 2, "the changes came while packets passed"
        assert [t.received(ping) for ping in pings] == [3000, 3000], "none was lost"
        t.set_chain(t.hops)

        # Each part has its say.
        steps = json.dumps(t.stages(protocol="tcp", dst_port=FREE, follow=True))
        for part in ("belong to the port", t.rules[-1], "native firewall", "native acl", "native policer", t.firewall[0],
                     t.acl[0], t.policer[0], "[tunnel to 172.31.7.2]"):
            assert part in steps, f"{part}: {steps}"
        steps = json.dumps(t.stages(6, protocol="tcp", dst_port=FREE, follow=True))
        for part in ("belong to the port", t.rules[-2], "native firewall", "native acl", "native policer", "[tunnel to 172.31.7.2]"):
            assert part in steps, f"IPv6: {part}: {steps}"
        wait_for(lambda: collector.recv(2000).find(bytes([10, 40, 0, 10, 10, 40, 0, 11])) > 0, "an IPFIX record of the flow", 60)
    assert t.fetch() == size
    listed = t.flows(protocol="tcp", port=FREE, source=t.ip_a, sort="packets")
    flow = next((f for f in listed if f["source"] == t.ip_a), None)
    assert flow, listed
    assert flow["packets"] > 5 and flow["initiator"] and not flow["dropped"]
    assert flow["in_port_id"] == t.port_a
    for node in (site.node, site.far):
        assert t.counter("flow_records", node) > 0
        assert t.counter("tunnel_unknown", node) == 0 and t.counter("sg_ingress", node) == 0

    # The list: one of ten thousand denies, and is named.
    before = t.counter("acl")
    assert t.fetch(DENIED) == 0 and t.counter("acl") > before
    assert t.rules[DENIED - 1] in json.dumps(t.stages(protocol="tcp", dst_port=DENIED))
    update(hub, "firewall_rule", t.rules[DENIED - 1], enabled=False)
    wait_for(lambda: t.fetch(DENIED) == size, "one rule less", 60)
    before = t.counter("acl")
    assert t.fetch(DENIED_6, f"[{t.ip6_b}]") == 0 and t.counter("acl") > before
    assert t.rules[-3] in json.dumps(t.stages(6, protocol="tcp", dst_port=DENIED_6))

    # Anti-spoofing.
    before = t.counter("spoof_ipv4")
    site.node.inside(t.a, "/bin/ip", "addr", "add", "10.40.0.99/24", "dev", "eth0")
    assert not t.ping("-I", "10.40.0.99") and t.counter("spoof_ipv4") > before
    site.node.inside(t.a, "/bin/ip", "addr", "del", "10.40.0.99/24", "dev", "eth0")

    before = t.counter("spoof_ipv6")
    t.speaks_6(site.node, t.a, "fd40::99")
    assert not site.ping(t.a, t.ip6_b, "-I", "fd40::99") and t.counter("spoof_ipv6") > before
    sh("nsenter", f"--net={site.node.run}/netns/{t.a}", "--", "ip", "addr", "del", "fd40::99/64", "dev", "eth0")

    # The stateful firewall: what a may open goes with its rule, also for flows under way.
    before = t.counter("firewall")
    group = hub.get(f"{V2}/ports/{t.firewall[1][0]}", 200).json()["port"]["security_groups"][0]
    for rule in hub.get(f"{V2}/security-group-rules?security_group_id={group}", 200).json()["security_group_rules"]:
        if rule["direction"] == "ingress":
            hub.delete(f"{V2}/security-group-rules/{rule['id']}", 204)
    wait_for(lambda: not t.ping() and not site.ping(t.a, t.ip6_b), "nothing passes", 60)
    assert t.counter("firewall") > before
    t.open_for_a(group)
    wait_for(t.pings, "it passes again", 60)

    # The policers: the port's own, and the chain's.
    assert t.received(t.flood(200, 1400)) == 200
    for port in (t.port_a, t.policer[1][0]):
        before = t.counter("meter")
        hub.put(f"{V2}/ports/{port}", {"port": {"qos_policy_id": t.qos[1]}}, 200)
        wait_for(lambda: t.received(t.flood(200, 1400)) < 100, "the limit", 60)
        assert t.counter("meter") > before
        hub.put(f"{V2}/ports/{port}", {"port": {"qos_policy_id": t.qos[0]}}, 200)
        wait_for(lambda: t.received(t.flood(100, 1400)) == 100, "no limit", 60)

    # A new agent on either side changes nothing.
    pings = [t.flood(1500), t.flood(1500, to=t.ip6_b)]
    for node in (site.node, site.far):
        node.kill()
        node.start()
    wait_for(lambda: all(site.row(n)["state"] == "up" for n in ("cpe-1", "cpe-2")), "new agents", 60)
    assert [t.received(ping) for ping in pings] == [1500, 1500]
    assert sh("nsenter", f"--net=/run/netns/{site.ns['site']}", "--", "ss", "-Hltun") == "", "a node listens on nothing"


# ---- what a packet costs ----

TOOL = os.path.join(os.environ["DEMARC_BUILD"], "bench/dp/bench-dp")
ROUNDS, ROUND_MS, LIMIT = 11, 100, 2  # the last is what docs/BENCHMARKS.md wants of "everything on"


class Meter:
    """Nanoseconds of CPU per 60-byte packet, in the context of who sends it: until it leaves the underlay's interface, where it is counted and dropped."""

    def __init__(self, pins):
        self.pins, self.filters = pins, []
        os.mkdir(pins)
        sh(TOOL, "floor", "load", pins, "1024")

    def close(self):
        for where in self.filters:
            sh(*where, check=False)
        shutil.rmtree(self.pins)

    def sink(self, ns, dev):
        inside = ["nsenter", f"--net=/run/netns/{ns}", "--", "tc"]
        sh(*inside, "qdisc", "add", "dev", dev, "clsact", check=False)
        sh(*inside, "filter", "add", "dev", dev, "egress", "prio", "1", "bpf", "da", "object-pinned", f"{self.pins}/tc_sink")
        self.filters.append([*inside, "filter", "del", "dev", dev, "egress"])

    def measure(self, netns, dev, smac, dmac, saddr, daddr):
        out = json.loads(sh("nsenter", f"--net={netns}", "--", TOOL, "source", "--dev", dev, "--smac", smac, "--dmac", dmac, "--saddr", saddr,
                            "--daddr", daddr, "--seconds", str(ROUND_MS), "--sink", f"{self.pins}/arrived"))
        assert out["arrived"] >= 0.99 * out["sent"] > 1000, out
        return out["own_ns"] / out["arrived"]


def mac_of(ns_path, dev):
    return json.loads(sh("nsenter", f"--net={ns_path}", "--", "ip", "-j", "link", "show", "dev", dev))[0]["address"]


def floor_path(site, meter):
    """h0 - p0 [lookup, count, redirect] p1: what measure() is told."""
    tag = site.ns["site"].partition("-")[0]
    for name in ("fa", "fs"):
        site.ns[name] = f"{tag}-{name}"
        sh("ip", "netns", "add", site.ns[name])
    site.wire("fa", "h0", "fs", "p0")
    site.wire("fs", "p1", "fs", "p2")
    inside = ["nsenter", f"--net=/run/netns/{site.ns['fs']}", "--"]
    index = {i["ifname"]: str(i["ifindex"]) for i in json.loads(sh(*inside, "ip", "-j", "link"))}
    sh(TOOL, "floor", "map", f"{meter.pins}/nexthop", index["p0"], index["p1"])
    sh(*inside, "ethtool", "-K", "p0", "gro", "on")
    sh(*inside, TOOL, "floor", "attach", "tc", "p0", f"{meter.pins}/tc_flow")
    meter.sink(site.ns["fs"], "p1")
    path = f"/run/netns/{site.ns['fa']}"
    return path, "h0", mac_of(path, "h0"), mac_of(f"/run/netns/{site.ns['fs']}", "p0"), "10.0.1.1", "10.0.2.1"


def full_path(t, meter):
    """From a through everything to b, as far as the underlay."""
    path = f"{t.site.node.run}/netns/{t.a}"
    peer = json.loads(sh("nsenter", f"--net={path}", "--", "ip", "-j", "link", "show", "dev", "eth0"))[0]["link_index"]
    host = next(name for name, i in t.site.node.links().items() if i["ifindex"] == peer)
    sh("nsenter", f"--net=/run/netns/{t.site.ns['site']}", "--", "ethtool", "-K", host, "gro", "on")  # else a veth takes no frames from XDP
    meter.sink(t.site.ns["site"], "ul0")
    return path, "eth0", mac_of(path, "eth0"), mac_of(f"{t.site.far.run}/netns/{t.b}", "eth0"), t.ip_a, t.ip_b


@pytest.mark.timeout(300)
def test_what_everything_costs(all_of_it):
    """CPU time of turns, not time by the clock: other load makes both dearer, and the median leaves out the turns where it hit one of them."""
    t = all_of_it
    t.set_chain(t.hops)
    wait_for(t.ping, "through all of it", 60)
    meter = Meter(f"/sys/fs/bpf/demarc-everything-{os.getpid()}")
    try:
        paths = floor_path(t.site, meter), full_path(t, meter)
        ratios = []
        for n in range(ROUNDS + 1):
            floor, full = (meter.measure(*path) for path in paths)
            print(f"floor {floor:.0f} ns, everything {full:.0f} ns: {full / floor:.2f}")
            ratios += [full / floor] if n else []  # the first ones make records
        flow = next(f for f in t.flows(protocol="udp", source=t.ip_a, sort="packets") if f["in_port_id"] == t.port_a)
        assert flow["packets"] > 1000 * ROUNDS and flow["chain_id"] == t.chain, flow
        assert statistics.median(ratios) <= LIMIT, sorted(ratios)
    finally:
        meter.close()
