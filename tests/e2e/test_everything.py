# SPDX-License-Identifier: Apache-2.0
"""Everything at once, on one flow, with real daemons: anti-spoofing, a list of 10,000 rules, a stateful firewall, policers, a chain of three
functions, VXLAN to a second node, analytics with IPFIX. And all of it changes while packets pass.

    a -- spoof check, list, groups -- [firewall] -- [acl] -- [policer] -- meter -- VXLAN ---- cpe-2 -- b
"""

import itertools
import json
import re
import socket
import subprocess

import pytest
from conftest import wait_for
from real_site import HUB_ADDR, IMAGE, NOVA, SFC, V1, V2, sh
from test_firewall import create, many_rules, update
from test_overlay import TwoNodes

RULES = 10000
DENIED, FREE = 9000, 20080  # TCP ports: of one of the rules, of none
KBPS = {"fast": 10_000_000, "slow": 8}


class Everything:
    """The whole of it, made through the API."""

    def __init__(self, site):
        self.site, self.hub = site, site.hub
        self.net = site.network("all", "10.40.0.0/24", **{"provider:network_type": "vxlan"})
        (self.a, self.b), (self.ip_a, self.ip_b), (self.port_a, self.port_b) = site.pair(self.net)
        self.images = {}
        self.firewall, self.acl, self.policer = [self.native(kind) for kind in ("firewall", "acl", "policer")]
        self.hops = [site.hop(name, *ports) for name, (_, ports) in
                     (("firewall", self.firewall), ("acl", self.acl), ("policer", self.policer))]
        self.qos = [self.limit(kbps) for kbps in KBPS.values()]
        self.hub.put(f"{V2}/ports/{self.port_a}", {"port": {"qos_policy_id": self.qos[0]}}, 200)
        self.hub.put(f"{V2}/ports/{self.policer[1][0]}", {"port": {"qos_policy_id": self.qos[0]}}, 200)
        self.rules = many_rules(self.hub, RULES - 1, action="deny", source_ip_address=self.ip_a)
        self.rules.append(create(self.hub, "firewall_rule", action="allow")["id"])
        for port, direction, rules in ((self.port_a, "egress", self.rules), (self.acl[1][0], "ingress", self.rules[-1:])):
            policy = create(self.hub, "firewall_policy", firewall_rules=rules)["id"]
            create(self.hub, "firewall_group", ports=[port], **{direction + "_firewall_policy_id": policy})
        self.chain = None

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
        create(self.hub, "security_group_rule", security_group_id=group, direction="ingress", remote_ip_prefix=self.ip_a + "/32")
        return group

    def limit(self, kbps):
        policy = self.hub.post(V2 + "/qos/policies", {"policy": {"name": f"{kbps}"}}, 201).json()["policy"]["id"]
        for direction in ("ingress", "egress"):
            body = {"bandwidth_limit_rule": {"max_kbps": kbps, "direction": direction}}
            self.hub.post(f"{V2}/qos/policies/{policy}/bandwidth_limit_rules", body, 201)
        return policy

    def set_chain(self, hops):
        if not self.chain:
            classifier = self.site.sfc("flow_classifier", name="from-a", logical_source_port=self.port_a, ethertype="IPv4")
            self.chain = self.site.sfc("port_chain", name="all", port_pair_groups=hops, flow_classifiers=[classifier])
        else:
            self.hub.put(f"{SFC}/port_chains/{self.chain}", {"port_chain": {"port_pair_groups": hops}}, 200)

        def settled():
            now = self.hub.get(f"{V1}/chains/{self.chain}", 200).json()["chain"]
            return now["state"] == "active" and [bool(h["in_path"]) for h in now["hops"]] == [True] * len(hops)
        wait_for(settled, "the chain", 60)

    # ---- traffic ----

    def ping(self, *extra):
        return self.site.ping(self.a, self.ip_b, *extra)

    def flood(self, count, size=56):
        command = ["nsenter", f"--net={self.site.node.run}/netns/{self.a}", "--", "busybox", "ping", "-q", "-i", "0.002", "-c", str(count),
                   "-s", str(size), "-W", "1", self.ip_b]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @staticmethod
    def received(ping):
        out = ping.communicate(timeout=120)[0]
        return int(re.search(r"(\d+) packets received", out)[1])

    def fetch(self, port=FREE):
        """Bytes that come of b's copy of busybox."""
        script = f"busybox timeout 4 wget -qO- http://{self.ip_b}:{port}/busybox | busybox wc -c"
        return int(self.site.node.inside(self.a, "/bin/sh", "-c", script, check=False).strip() or 0)

    # ---- looking ----

    def counter(self, name, node=None):
        rows = self.hub.get(f"{V1}/nodes/{(node or self.site.node).id}/status", 200).json()["status"]["counters"]
        return next(int(c["value"]) for c in rows if c["name"] == name)

    def flows(self, **filters):
        query = "&".join(f"{k}={v}" for k, v in filters.items())
        return self.hub.get(f"{V1}/nodes/{self.site.node.id}/flows?{query}", 200).json()["flows"]

    def stages(self, **packet):
        body = {"trace": {"port": self.port_a, "dst_ip": self.ip_b, **packet}}
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
    t, site, hub = all_of_it, all_of_it.site, all_of_it.hub
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind((HUB_ADDR, 0))
        collector.settimeout(60)
        where = f"{HUB_ADDR}:{collector.getsockname()[1]}"
        hub.put(f"{V1}/sites/branch", {"site": {"ipfix_collectors": [where], "ipfix_active_s": 1}}, 200)
        t.set_chain(t.hops[:2])
        for port in (FREE, DENIED):
            site.far.inside(t.b, "/bin/httpd", "-p", str(port), "-h", "/bin")
        wait_for(t.ping, "through all of it", 60)
        size = t.fetch()
        with open("/bin/busybox", "rb") as f:
            assert size == len(f.read()), "TCP through all of it"

        # A hop goes in, out, and elsewhere, while a packet passes each 2 ms and TCP flows.
        ping = t.flood(3000)
        during = 0
        for hops in itertools.cycle((t.hops, [t.hops[2], t.hops[1]], t.hops[:1])):
            t.set_chain(hops)
            assert t.fetch() == size
            during += ping.poll() is None
            if ping.poll() is not None:
                break
        assert during >= 2, "the changes came while packets passed"
        assert t.received(ping) == 3000, "none was lost"
        t.set_chain(t.hops)

        # Each part has its say.
        steps = json.dumps(t.stages(protocol="tcp", dst_port=FREE, follow=True))
        for part in ("belong to the port", t.rules[-1], "native firewall", "native acl", "native policer", t.firewall[0],
                     t.acl[0], t.policer[0], "[tunnel to 172.31.7.2]"):
            assert part in steps, f"{part}: {steps}"
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

    # Anti-spoofing.
    before = t.counter("spoof_ipv4")
    site.node.inside(t.a, "/bin/ip", "addr", "add", "10.40.0.99/24", "dev", "eth0")
    assert not t.ping("-I", "10.40.0.99") and t.counter("spoof_ipv4") > before
    site.node.inside(t.a, "/bin/ip", "addr", "del", "10.40.0.99/24", "dev", "eth0")

    # The stateful firewall: what a may open goes with its rule, also for flows under way.
    before = t.counter("firewall")
    group = hub.get(f"{V2}/ports/{t.firewall[1][0]}", 200).json()["port"]["security_groups"][0]
    rule = next(r["id"] for r in hub.get(f"{V2}/security-group-rules?security_group_id={group}", 200).json()["security_group_rules"]
                if r["direction"] == "ingress")
    hub.delete(f"{V2}/security-group-rules/{rule}", 204)
    wait_for(lambda: not t.ping(), "nothing passes", 60)
    assert t.counter("firewall") > before
    create(hub, "security_group_rule", security_group_id=group, direction="ingress", remote_ip_prefix=t.ip_a + "/32")
    wait_for(t.ping, "it passes again", 60)

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
    ping = t.flood(1500)
    for node in (site.node, site.far):
        node.kill()
        node.start()
    wait_for(lambda: all(site.row(n)["state"] == "up" for n in ("cpe-1", "cpe-2")), "new agents", 60)
    assert t.received(ping) == 1500
    assert sh("nsenter", f"--net=/run/netns/{site.ns['site']}", "--", "ss", "-Hltun") == "", "a node listens on nothing"
