# SPDX-License-Identifier: Apache-2.0
"""Networks that reach from node to node, with two real nodes and an underlay between them.

    function a -- [ node cpe-1 ] ul0 ---- ul0 [ node cpe-2 ] -- function b
                       mgmt0 ------ [ hub ] ------ mgmt0
"""

import contextlib
import os
import signal
import subprocess
import uuid

import pytest
from conftest import SANITIZER, wait_for
from real_site import HUB_ADDR, NOVA, V1, V2, RealNode, RealSite, sh

IDLE = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]
VTEP = {"cpe-1": "172.31.7.1", "cpe-2": "172.31.7.2"}
VTEP6 = {"cpe-1": "fd00:7::1", "cpe-2": "fd00:7::2"}
# Kind: bytes that an inner packet lacks over IPv4, what tshark calls the headers, where it shows the number.
KINDS = {"vxlan": (50, "udp:vxlan:eth", "vxlan.vni"), "geneve": (50, "udp:geneve:eth", "geneve.vni"), "gre": (42, "gre:eth", "gre.key"),
         "vxlan-gpe": (74, "udp:nsh:eth", "nsh.spi"), "nvgre": (42, "gre:eth", "gre.key"), "mpls-udp": (46, "udp:mpls:", "mpls.label"),
         "mpls-gre": (42, "gre:mpls:", "mpls.label"), "mpls": (18, "ethertype:mpls:", "mpls.label")}


class TwoNodes(RealSite):
    """A second node at a site of its own."""

    def __init__(self, build, folder):
        super().__init__(build, folder)
        (folder / "far").mkdir()
        self.ns["far"] = self.ns["site"].replace("site", "far")
        self.far = RealNode(build, str(folder / "far"), self.ns["far"], self.node.pin + "-far")

    def up(self):
        super().up()
        self.wire("far", "mgmt0", "hub", "eth1")
        self.address("far", "mgmt0", "198.51.101.20/24")
        self.address("hub", "eth1", "198.51.101.10/24")
        sh("ip", "-n", self.ns["far"], "route", "add", HUB_ADDR, "via", "198.51.101.10")
        self.wire("site", "ul0", "far", "ul0")
        self.address("site", "ul0", VTEP["cpe-1"] + "/24")
        self.address("far", "ul0", VTEP["cpe-2"] + "/24")
        for name, node in (("site", "cpe-1"), ("far", "cpe-2")):
            self.in_ns(name, "sysctl", "-qw", "net.ipv6.conf.ul0.disable_ipv6=0")
            sh("ip", "-n", self.ns[name], "addr", "add", VTEP6[node] + "/64", "dev", "ul0", "nodad")
        site = self.hub.post(V1 + "/sites", {"site": {"name": "remote"}}, 201).json()["site"]["id"]
        body = {"enrolment_token": {"node_name": "cpe-2", "expires_in": 3600}}
        self.far.enrol(self.hub.post(f"{V1}/sites/{site}/enrolment_tokens", body, 201).json()["enrolment_token"]["token"])
        self.far.start()
        wait_for(lambda: self.row("cpe-2")["state"] == "up", "the second node's session", 60)
        for name, address in VTEP.items():
            self.set_vtep(name, address)
        self.host = self.image("host", IDLE)
        return self

    def down(self):
        wrong = self.far.listens()
        if self.far.process and self.far.process.poll() is None:
            self.far.kill()
        try:
            if self.far.id:
                self.far.purge()
        finally:
            super().down()
        assert not wrong, f"a node listens on nothing: {wrong}"
        with contextlib.suppress(FileNotFoundError):
            bad = [line for line in self.far.logged().splitlines() if SANITIZER.search(line)]
            assert not bad, bad[:5]

    def row(self, name):
        return self.hub.get(f"{V1}/nodes/{name}", 200).json()["node"]

    def set_vtep(self, name, address, status=200):
        return self.hub.put(f"{V1}/nodes/{name}", {"node": {"vtep": address}}, status).json()

    def pair(self, net, first=10, others=()):
        """A function on each node; returns their ids, addresses and ports. `others`: one more address of each."""
        subnet = self.hub.get(f"{V2}/subnets?network_id={net}&ip_version=4", 200).json()["subnets"][0]["cidr"].rpartition(".")[0]
        addresses = [[f"{subnet}.{first + i}", *others[i:i + 1]] for i in range(2)]
        ports = [self.port(net, fixed_ips=[{"ip_address": a} for a in own]) for own in addresses]
        servers = [self.server(f"f{i}-{uuid.uuid4().hex[:4]}", self.host, [p], availability_zone=zone)
                   for i, (p, zone) in enumerate(zip(ports, ("branch:cpe-1", "remote:cpe-2")))]
        for s in servers:
            wait_for(lambda s=s: self.hub.get(f"{NOVA}/servers/{s}", 200).json()["server"]["status"] == "ACTIVE", "running", 60)
        return servers, [f"{subnet}.{first + i}" for i in range(2)], ports

    def ping(self, server, to, *extra):
        return "1 packets received" in self.node.inside(server, "/bin/ping", "-c", "1", "-W", "1", *extra, to, check=False)

    @contextlib.contextmanager
    def capture(self, file):
        """What passes the near end of the underlay."""
        command = ["nsenter", f"--net=/run/netns/{self.ns['site']}", "--", "dumpcap", "-i", "ul0", "-w", str(file)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as p:
            assert "Capturing" in p.stderr.readline()
            try:
                yield
            finally:
                p.send_signal(signal.SIGINT)
                p.wait(10)


@pytest.fixture(name="site", scope="module")
def fixture_site(build, tmp_path_factory):
    site = TwoNodes(build, tmp_path_factory.mktemp("overlay"))
    try:
        yield site.up()
    finally:
        site.down()


def traffic(site, net, file, field, decode):
    """A ping of the greatest size and a file over TCP between two nodes; rows of tshark: protocols, `field`, MSS, size, sources."""
    body = {"subnet": {"network_id": net["id"], "cidr": "10.30.0.0/24", "ip_version": 4, "gateway_ip": None, "enable_dhcp": False}}
    site.hub.post(V2 + "/subnets", body, 201)
    servers, (_, ip_b), _ = site.pair(net["id"])
    a, b = servers
    with site.capture(file):
        wait_for(lambda: site.ping(a, ip_b), "the other node's function", 30)
        assert site.ping(a, ip_b, "-s", str(net["mtu"] - 28)), "a packet of the network's MTU"
        assert f"mtu {net['mtu']}" in site.node.ip_inside(a, "link", "show", "eth0")
        site.far.ip_inside(b, "link", "set", "eth0", "gso_max_segs", "1")  # packets as they are on a wire
        site.far.inside(b, "/bin/httpd", "-p", "5001", "-h", "/bin")
        got = site.node.inside(a, "/bin/sh", "-c", f"wget -qO- http://{ip_b}:5001/busybox | busybox wc -c")
        assert int(got) == os.path.getsize("/bin/busybox"), "all bytes"
    for s in servers:
        site.hub.delete(f"{NOVA}/servers/{s}", 204)
    return tshark(file, "frame.protocols", field, "tcp.options.mss_val", "frame.len", "ip.src", "ipv6.src", decode=decode)


def tshark(file, *fields, decode=0):
    command = ["tshark", "-r", str(file), "-T", "fields"] + (["-d", f"mpls.label=={decode},pwethnocw"] if decode else [])
    for field in fields:
        command += ["-e", field]
    out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    return [line.split("\t") for line in out.splitlines()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_network_across_nodes(site, kind, tmp_path):
    # COVERS(V4, F_OVERLAY)
    shown = site.hub.openstack("network", "create", "--provider-network-type", kind, f"over-{kind}")
    lacks, headers, field = KINDS[kind]
    number = shown["provider:segmentation_id"]
    assert (shown["provider:network_type"], shown["mtu"]) == (kind, 1500 - lacks)
    rows = traffic(site, shown, tmp_path / "underlay.pcap", field, decode=number)
    inner = [r for r in rows if f":{headers}" in r[0]]
    assert inner and {int(r[1], 0) for r in inner} == {number << 8 if kind == "nvgre" else number}
    assert {r[2] for r in inner if r[2]} == {str(shown["mtu"] - 40)}, "the segment size that fits"
    assert max(int(r[3]) for r in inner) == 1514, "full packets"
    if kind != "mpls":
        assert {r[4].split(",")[0] for r in inner} == set(VTEP.values())
    assert not [r for r in rows if "10.30.0." in r[4].split(",")[0] and r not in inner], "nothing of the network travels bare"


CONTEXT = "000102030405060708090a0b0c0d0e0f"
TLVS = [{"class": 0xfff6, "type": 7, "value": "0102030405"}, {"class": 0x102, "type": 128, "value": "deadbeef"}]


@pytest.mark.timeout(300)
def test_what_goes_with_nsh(site, tmp_path):
    """A context of 16 bytes, changed to TLVs under way: each as tshark reads it."""
    body = {"name": "nsh", "provider:network_type": "vxlan-gpe", "demarc:nsh_context": CONTEXT, "mtu": 1400}
    net = site.hub.post(V2 + "/networks", {"network": body}, 201).json()["network"]
    assert (net["demarc:nsh_context"], net["demarc:nsh_tlvs"]) == (CONTEXT, None)
    rows = traffic(site, net, tmp_path / "fixed.pcap", "nsh.contextheader", decode=0)
    assert {r[1].replace(",", "").replace(":", "") for r in rows if ":udp:nsh:eth" in r[0]} == {CONTEXT}
    site.hub.put(f"{V2}/networks/{net['id']}", {"network": {"demarc:nsh_md_type": 2, "demarc:nsh_context": None, "demarc:nsh_tlvs": TLVS}}, 200)
    (a, b), (_, ip_b), _ = site.pair(net["id"], first=20)
    wait_for(lambda: site.ping(a, ip_b), "the other node's function", 30)
    with site.capture(tmp_path / "tlvs.pcap"):  # some frames are on disk
        wait_for(lambda: site.ping(a, ip_b) and os.path.getsize(tmp_path / "tlvs.pcap") > 1500, "what was sent", 60)
    rows = tshark(tmp_path / "tlvs.pcap", "frame.protocols", "nsh.mdtype", "nsh.length", "nsh.metadataclass", "nsh.metadatatype", "nsh.metadatalen",
                  "nsh.metadata", "_ws.malformed")
    seen = [r for r in rows if ":udp:nsh:eth" in r[0]]
    assert seen
    for _, kind, words, classes, types, sizes, values, malformed in seen:
        assert (int(kind, 0), int(words, 0), malformed) == (2, 2 + 3 + 2, "")
        assert [int(v, 0) for v in classes.split(",")] == [t["class"] for t in TLVS]
        assert [int(v, 0) for v in types.split(",")] == [t["type"] for t in TLVS]
        assert [int(v, 0) for v in sizes.split(",")] == [5, 4]
        assert [v.replace(":", "") for v in values.split(",")][-1] == "deadbeef"
    for s in (a, b):
        site.hub.delete(f"{NOVA}/servers/{s}", 204)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["vxlan", "gre", "mpls-udp"])
def test_underlay_of_ipv6(site, kind, tmp_path):
    # COVERS(V6, F_OVERLAY)
    for node, address in VTEP6.items():
        site.set_vtep(node, address)
    lacks, headers, field = KINDS[kind]
    body = {"name": f"six-{kind}", "provider:network_type": kind, "mtu": 1480 - lacks}
    net = site.hub.post(V2 + "/networks", {"network": body}, 201).json()["network"]
    try:
        rows = traffic(site, net, tmp_path / "underlay.pcap", field, decode=net["provider:segmentation_id"])
    finally:
        for node, address in VTEP.items():
            site.set_vtep(node, address)
    inner = [r for r in rows if f":{headers}" in r[0]]
    assert {r[5].split(",")[0] for r in inner} == set(VTEP6.values())
    assert {r[2] for r in inner if r[2]} == {str(net["mtu"] - 40)}
    assert max(int(r[3]) for r in inner) == 1514


@pytest.mark.timeout(300)
def test_ends_that_change(site):
    net = site.network("moving", "10.31.0.0/24", **{"provider:network_type": "vxlan"})
    (a, _), (_, ip_b), _ = site.pair(net)
    wait_for(lambda: site.ping(a, ip_b), "the other node's function", 30)
    text = " ".join(s["text"] for s in site.hub.post(f"{V1}/nodes/{site.node.id}/trace", {
        "trace": {"port": site.bindings(a)["bindings"][0]["port_id"], "dst_ip": ip_b, "protocol": "icmp"}}, 200).json()["steps"])
    assert f"[tunnel to {VTEP['cpe-2']}]" in text
    command = ["nsenter", f"--net={site.node.run}/netns/{a}", "--", "busybox", "ping", "-q", "-i", "0.01", "-c", "500", "-W", "1", ip_b]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ping:
        site.node.kill()
        site.node.start()
        wait_for(lambda: site.row("cpe-1")["state"] == "up", "a new agent", 60)
        assert "500 packets received" in ping.communicate(timeout=60)[0], "the tunnel does not need the agent"
    # Another NIC at the far end: the neighbour's MAC is another one.
    sh("ip", "-n", site.ns["far"], "link", "set", "ul0", "address", "02:00:5e:00:00:07")
    sh("ip", "-n", site.ns["site"], "neigh", "flush", "dev", "ul0")
    wait_for(lambda: site.ping(a, ip_b), "the new MAC", 60)
    # Another address.
    site.address("far", "ul0", "172.31.7.3/24")
    assert "172.31.7.1" in str(site.set_vtep("cpe-2", VTEP["cpe-1"], 409)), "one node's only"
    for wrong in ("224.0.0.1", "127.0.0.1", "0.0.0.0", "x"):
        site.set_vtep("cpe-2", wrong, 400)
    site.set_vtep("cpe-2", "172.31.7.3")
    wait_for(lambda: site.ping(a, ip_b), "the new address", 30)
    site.set_vtep("cpe-2", None)
    wait_for(lambda: not site.ping(a, ip_b), "no end, no tunnel", 30)
    site.set_vtep("cpe-2", VTEP["cpe-2"])
    wait_for(lambda: site.ping(a, ip_b), "as before", 30)


@pytest.mark.timeout(300)
def test_functions_come_and_go(site):
    net = site.network("coming", "10.32.0.0/24", **{"provider:network_type": "vxlan"})
    (a, b), (_, ip_b), (_, port_b) = site.pair(net)
    wait_for(lambda: site.ping(a, ip_b), "the other node's function", 30)
    mac = bytes.fromhex(site.hub.get(f"{V2}/ports/{port_b}", 200).json()["port"]["mac_address"].replace(":", ""))
    wait_for(lambda: [k for k, _ in site.node.map("fdb") if mac in k], "its MAC is known, not learned")
    group = site.hub.get(f"{V2}/ports/{port_b}", 200).json()["port"]["security_groups"][0]
    assert any(r["remote_group_id"] == group for r in site.hub.get(f"{V2}/security-group-rules", 200).json()["security_group_rules"]), \
        "the default group let the members of the other site in"
    site.hub.delete(f"{NOVA}/servers/{b}", 204)
    site.hub.delete(f"{V2}/ports/{port_b}", 204)
    wait_for(lambda: not [k for k, _ in site.node.map("fdb") if mac in k], "forgotten")
    assert not site.ping(a, ip_b)
    (_, c), (_, ip_c), _ = site.pair(net, 20)
    wait_for(lambda: site.ping(a, ip_c), "another one", 30)
    assert c


def test_numbers(shared_hub):
    def create(status=201, **attrs):
        return shared_hub.post(V2 + "/networks", {"network": attrs}, status).json().get("network")
    kind, number = "provider:network_type", "provider:segmentation_id"
    one, two = create(**{kind: "vxlan"}), create(**{kind: "vxlan"})
    assert two[number] != one[number] and one["mtu"] == two["mtu"] == 1450
    shared_hub.delete(f"{V2}/networks/{one['id']}", 204)
    assert create(**{kind: "vxlan"})[number] == one[number], "the lowest free one"
    assert create(**{kind: "geneve", number: two[number]})[number] == two[number], "of another type"
    assert create(**{kind: "gre", number: 4000000000})[number] == 4000000000
    assert [create(**{kind: k})[number] for k in ("mpls", "mpls-udp", "mpls-gre", "nvgre", "vxlan-gpe")] == [16, 16, 16, 4096, 1]
    create(409, **{kind: "vxlan", number: two[number]})
    create(400, **{kind: "vxlan", number: 1 << 24})
    create(400, **{kind: "vxlan", "provider:physical_network": "lan"})
    create(400, **{kind: "vxlan", "mtu": 1451})
    create(400, **{kind: "vlan", "provider:physical_network": "lan", number: 4095})
    assert create(**{kind: "vxlan", "mtu": 1200})["mtu"] == 1200
    shared_hub.put(f"{V2}/networks/{two['id']}", {"network": {"mtu": 1500}}, 400)
    assert create()["mtu"] == 1500
    user = shared_hub.new_user("member")
    user.post(V2 + "/networks", {"network": {kind: "vxlan"}}, 403)
