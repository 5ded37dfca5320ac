# SPDX-License-Identifier: Apache-2.0
"""Native functions through the API, on a real hub and a real node: ordinary servers, ordinary hops, no process and no copy."""

import itertools
import json
import os
import re
import subprocess
import uuid

import pytest
from conftest import wait_for
from real_site import IMAGE, NOVA, SFC, V1, V2, real_site
from test_firewall import create, update
from test_firewall_node import B, Pair

KINDS = ("acl", "firewall", "policer", "mirror")


class Lab(Pair):
    """Two functions on one network, and a chain between them."""

    def __init__(self, site):
        super().__init__(site)
        self.net = self.admin.get(f"{V2}/ports/{self.ports[0]}", 200).json()["port"]["network_id"]
        self.images = {kind: self.image(kind) for kind in KINDS}
        self.open = self.group("open", [("ingress", None), ("egress", None)])
        self.chain = None

    def image(self, kind):
        body = {"name": kind, "disk_format": "raw", "container_format": "native", "visibility": "public", "native_kind": kind}
        return self.admin.post(f"{IMAGE}/images", body, 201).json()["id"]

    def group(self, name, rules):
        group = self.admin.post(V2 + "/security-groups", {"security_group": {"name": name}}, 201).json()["security_group"]
        for rule in group["security_group_rules"]:
            self.admin.delete(f"{V2}/security-group-rules/{rule['id']}", 204)
        for direction, protocol in rules:
            body = {"security_group_id": group["id"], "direction": direction, "ethertype": "IPv4", "protocol": protocol}
            self.admin.post(V2 + "/security-group-rules", {"security_group_rule": body}, 201)
        return group["id"]

    def native(self, kind, ports=None, **attributes):
        """A function and its two ports."""
        ports = ports or [self.site.port(self.net, fixed_ips=[]) for _ in range(2)]
        server = self.site.server(kind, self.images[kind], ports, **attributes)
        wait_for(lambda: self.status(server) == "ACTIVE", f"{kind} runs", 30)
        return server, ports

    def status(self, server):
        return self.admin.get(f"{NOVA}/servers/{server}", 200).json()["server"]["status"]

    def bridge(self):
        """A container that will forward frames as they are; not before it is in a chain, which keeps floods out of it."""
        ports = [self.site.port(self.net, fixed_ips=[], port_security_enabled=False) for _ in range(2)]
        image = next(i["id"] for i in self.admin.get(f"{IMAGE}/images", 200).json()["images"] if i["name"] == "host")
        server = self.site.server("bridge", image, ports)
        wait_for(lambda: self.status(server) == "ACTIVE", "the container", 60)
        ip = self.site.node.ip_inside
        ip(server, "link", "add", "br0", "type", "bridge")
        for dev in ("eth0", "eth1"):
            ip(server, "link", "set", dev, "master", "br0")
        return server, ports

    def hop(self, ports):
        return self.site.hop(f"h-{uuid.uuid4().hex[:6]}", *ports)

    def set_chain(self, *groups):
        if not self.chain:
            classifier = self.site.sfc("flow_classifier", name="c", logical_source_port=self.ports[0],
                                       logical_destination_port=self.ports[1], ethertype="IPv4")
            self.chain = self.site.sfc("port_chain", name="chain", port_pair_groups=list(groups), flow_classifiers=[classifier],
                                       chain_parameters={"symmetric": True})
        else:
            self.admin.put(f"{SFC}/port_chains/{self.chain}", {"port_chain": {"port_pair_groups": list(groups)}}, 200)
        self.settled(len(groups))

    def settled(self, n):
        def chain():
            return self.admin.get(f"{V1}/chains/{self.chain}", 200).json()["chain"]

        def done():
            now = chain()
            return now["state"] == "active" and [bool(h["in_path"]) for h in now["hops"]] == [True] * n
        try:
            wait_for(done, "the chain", 30)
        except AssertionError as e:
            raise AssertionError(chain()) from e

    def flood(self, count, size=56, interval="0.002"):
        """A ping from A; under way when this returns."""
        command = ["nsenter", f"--net={self.site.node.run}/netns/{self.servers[0]}", "--", "busybox", "ping", "-q", "-i", interval,
                   "-c", str(count), "-s", str(size), "-W", "1", B]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def received(self, ping):
        out = ping.communicate(timeout=60)[0]
        return int(re.search(r"(\d+) packets received", out)[1]), out


@pytest.fixture(name="lab", scope="module")
def fixture_lab(build, tmp_path_factory):
    with real_site(build, tmp_path_factory.mktemp("native")) as site:
        yield Lab(site)


@pytest.mark.timeout(300)
def test_client(lab):
    # COVERS(V4, F_NATIVE_API)
    os = lab.admin.openstack
    assert "native_kind" in os("image", "create", "bad", "--property", "native_kind=router", fails=True)
    image = os("image", "create", "fw", "--property", "native_kind=firewall")
    assert (image["status"], image["container_format"], image["size"]) == ("active", "native", 0)
    lab.admin.post(f"{IMAGE}/images", {"name": "x", "disk_format": "raw", "container_format": "native"}, 400)
    lab.admin.put(f"{IMAGE}/images/{image['id']}/file", status=400, data=b"x", headers={"Content-Type": "application/octet-stream"})
    ports = [lab.site.port(lab.net, fixed_ips=[], security_groups=[lab.open]) for _ in range(2)]
    containers, links = lab.site.node.containers(), lab.site.node.links()
    server = os("server", "create", "--image", "fw", "--flavor", "nf.tiny", "--port", ports[0], "--port", ports[1],
                "--availability-zone", "branch:cpe-1", "--wait", "fw-1")
    assert server["status"] == "ACTIVE"
    assert "fw-1" in [s["Name"] for s in os("server", "list")]
    assert lab.site.node.containers() == containers and lab.site.node.links() == links, "neither process nor interface"
    wait_for(lambda: [b["verified"] for b in lab.site.bindings(server["id"])["bindings"]] == [True, True], "verified")
    assert lab.admin.get(f"{V2}/ports/{ports[0]}", 200).json()["port"]["status"] == "ACTIVE"
    assert "native firewall" in os("console", "log", "show", "fw-1", parse=False)
    os("sfc", "port", "pair", "create", "--ingress", ports[0], "--egress", ports[1], "fw-pp")
    os("sfc", "port", "pair", "group", "create", "--port-pair", "fw-pp", "fw-ppg")
    os("sfc", "flow", "classifier", "create", "--ethertype", "IPv4", "--logical-source-port", lab.ports[0],
       "--logical-destination-port", lab.ports[1], "fw-fc")
    lab.chain = os("sfc", "port", "chain", "create", "--port-pair-group", "fw-ppg", "--flow-classifier", "fw-fc",
                   "--chain-parameters", "symmetric=true", "fw-chain")["ID"]
    lab.settled(1)
    lab.passes("the firewall lets it")
    text = lab.traced(protocol="icmp")
    assert "native firewall" in text and f"[server {server['id']} fw-1]" in text
    closed = lab.group("closed", [("egress", None)])
    os("port", "unset", "--security-group", lab.open, ports[0], parse=False)
    os("port", "set", "--security-group", closed, ports[0], parse=False)
    lab.stops("nothing may enter from A")
    lab.passes("B opens: `out` lets it in, `in` lets it out", source=1, destination="10.1.0.5")
    assert "native firewall" in lab.traced(protocol="icmp")
    os("server", "stop", "fw-1", parse=False)
    wait_for(lambda: lab.status(server["id"]) == "SHUTOFF", "stopped")
    wait_for(lambda: lab.admin.get(f"{V1}/chains/{lab.chain}", 200).json()["chain"]["state"] == "degraded", "the chain says so")
    os("server", "start", "fw-1", parse=False)
    lab.settled(1)
    for command in (("chain", "fw-chain"), ("pair", "group", "fw-ppg"), ("pair", "fw-pp"), ("classifier", "fw-fc")):
        kind = {"chain": ["port", "chain"], "pair": ["port", *command[:-1]], "classifier": ["flow", "classifier"]}[command[0]]
        os("sfc", *kind, "delete", command[-1], parse=False)
    lab.chain = None
    os("server", "delete", "--wait", "fw-1", parse=False)
    lab.passes("without a chain")


@pytest.mark.timeout(300)
def test_insert_and_remove_lose_nothing(lab):
    # COVERS(V4, F_NATIVE_API)
    container, ports = lab.bridge()
    bridge = lab.hop(ports)
    lab.set_chain(bridge)
    lab.site.node.ip_inside(container, "link", "set", "br0", "up")
    lab.passes("through the container")
    natives = [lab.hop(lab.native("firewall", [lab.site.port(lab.net, fixed_ips=[], security_groups=[lab.open]) for _ in range(2)])[1]),
               lab.hop(lab.native("acl")[1]), lab.hop(lab.native("policer")[1])]
    ping = lab.flood(3000)
    during = 0
    for groups in itertools.cycle(([natives[0], bridge], [natives[0], bridge, natives[1]], [*natives, bridge], [natives[2], natives[0]], natives, [bridge])):
        lab.set_chain(*groups)
        if ping.poll() is not None:
            break
        during += 1
    assert during >= 4, "the changes came while packets passed"
    got, out = lab.received(ping)
    assert got == 3000, out
    lab.set_chain(natives[0], bridge, natives[2])
    path = lab.site.node_path(lab.chain)
    ping = lab.flood(1000)
    lab.site.node.kill()
    lab.site.node.start()
    wait_for(lambda: lab.site.node.logged().count("native=firewall") >= 2, "up again")
    got, out = lab.received(ping)
    assert got == 1000 and lab.site.node_path(lab.chain) == path, "a new agent changes nothing: " + out


@pytest.mark.timeout(300)
def test_a_firewall_by_the_command_line(lab):
    """What one command inserts filters: security is on at its ports, which have no addresses."""
    admin = lab.admin

    def demarc(*words, status=0):
        env = {**os.environ, "OS_CLIENT_CONFIG_FILE": lab.site.hub.clouds_yaml, "OS_CLOUD": "demarc"}
        done = subprocess.run([os.path.join(lab.site.build, "src/cli/demarc"), "chain", *words], env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode == 0) == (status == 0), done
        return done.stderr

    def ports_now():
        return {p["id"]: p for p in admin.get(V2 + "/ports", 200).json()["ports"]}
    lab.set_chain(lab.hop(lab.native("acl")[1]))
    lab.passes("a list without rules")
    before = ports_now()
    rules = lab.group("rules", [])
    assert "no addresses" in demarc("insert", lab.chain, "firewall", "--first", "--in-ip", "10.1.0.77", status=1)
    assert "native_kind" in demarc("insert", lab.chain, "host", "--first", "--security-group", "rules", status=1)
    assert ports_now().keys() == before.keys(), "nothing was made"
    demarc("insert", lab.chain, "firewall", "--first", "--name", "fw-cli", "--security-group", "rules")
    made = [p for i, p in ports_now().items() if i not in before]
    assert [(p["port_security_enabled"], p["fixed_ips"], p["security_groups"]) for p in made] == [(True, [], [rules])] * 2
    lab.stops("a firewall without rules")
    assert "native firewall" in lab.traced(protocol="icmp")
    for direction in ("ingress", "egress"):
        body = {"security_group_id": rules, "direction": direction, "ethertype": "IPv4", "protocol": "icmp"}
        admin.post(V2 + "/security-group-rules", {"security_group_rule": body}, 201)
    lab.passes("by its rules")
    demarc("remove", lab.chain, "fw-cli", "--drain-timeout", "60")
    assert ports_now().keys() == before.keys(), "and all of it is taken back"


@pytest.mark.timeout(300)
def test_policy_of_ports(lab):
    # COVERS(V4, F_NATIVE_API)
    monitor_port = lab.site.port(lab.net, fixed_ips=[])
    image = next(i["id"] for i in lab.admin.get(f"{IMAGE}/images", 200).json()["images"] if i["name"] == "host")
    monitor = lab.site.server("monitor", image, [monitor_port])
    hops = {kind: lab.native(kind) for kind in ("acl", "policer")}
    hops["mirror"] = lab.native("mirror", metadata={"demarc:mirror_to": monitor_port})
    wait_for(lambda: lab.status(monitor) == "ACTIVE", "the monitor", 60)
    lab.admin.post(f"{NOVA}/servers/{hops['mirror'][0]}/metadata", {"metadata": {"demarc:mirror_to": "x"}}, 400)
    lab.set_chain(*[lab.hop(ports) for _, ports in hops.values()])
    lab.passes("through all three")
    # ACL: a firewall group of the port by which A's packets enter
    deny = create(lab.admin, "firewall_rule", protocol="icmp")["id"]
    rest = create(lab.admin, "firewall_rule", action="allow")["id"]
    policy = create(lab.admin, "firewall_policy", firewall_rules=[deny, rest])["id"]
    group = create(lab.admin, "firewall_group", ingress_firewall_policy_id=policy, ports=[hops["acl"][1][0]])["id"]
    lab.denied_by()
    lab.stops("by the native list")
    wait_for(lambda: not lab.ping() and deny in lab.denied_by(), "the drop names the rule")
    assert deny in lab.traced(protocol="icmp") and hops["acl"][0] in lab.traced(protocol="icmp")
    update(lab.admin, "firewall_group", group, ports=[])
    lab.passes("without the list")
    # Mirror: both directions of a flow
    count = 50

    def seen():
        row = json.loads(lab.site.node.ip_inside(monitor, "-s", "-j", "link", "show", "eth0"))[0]
        return row["stats64"]["rx"]["packets"]
    before = seen()
    assert lab.received(lab.flood(count))[0] == count
    wait_for(lambda: seen() - before >= 2 * count, lambda: f"copies: {seen() - before}")
    # Policer: 64 KiB may burst, then 8 kbit/s
    qos = lab.admin.post(V2 + "/qos/policies", {"policy": {"name": "slow"}}, 201).json()["policy"]["id"]
    rule = {"bandwidth_limit_rule": {"max_kbps": 8, "direction": "ingress"}}
    lab.admin.post(f"{V2}/qos/policies/{qos}/bandwidth_limit_rules", rule, 201)
    assert lab.received(lab.flood(200, size=1400))[0] == 200
    lab.admin.put(f"{V2}/ports/{hops['policer'][1][0]}", {"port": {"qos_policy_id": qos}}, 200)
    wait_for(lambda: lab.received(lab.flood(200, size=1400))[0] < 100, "the limit")


@pytest.mark.timeout(300)
def test_one_way_chain_carries_tcp(lab):
    """Answers go past the container: what they acknowledge is not seen on its segments."""
    if lab.chain:
        lab.admin.delete(f"{SFC}/port_chains/{lab.chain}", 204)
    for c in lab.admin.get(f"{SFC}/flow_classifiers", 200).json()["flow_classifiers"]:
        lab.admin.delete(f"{SFC}/flow_classifiers/{c['id']}", 204)
    container, ports = lab.bridge()
    classifier = lab.site.sfc("flow_classifier", name="one-way", logical_source_port=lab.ports[0], ethertype="IPv4")
    lab.chain = lab.site.sfc("port_chain", name="one-way", port_pair_groups=[lab.hop(ports)], flow_classifiers=[classifier])
    lab.settled(1)
    lab.site.node.ip_inside(container, "link", "set", "br0", "up")
    lab.passes("through the container")
    lab.site.node.inside(lab.servers[1], "/bin/httpd", "-p", "5001", "-h", "/bin")
    script = f"busybox timeout 10 wget -qO- http://{B}:5001/busybox | busybox wc -c"
    assert int(lab.site.node.inside(lab.servers[0], "/bin/sh", "-c", script)) == os.path.getsize("/bin/busybox")
