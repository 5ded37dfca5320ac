# SPDX-License-Identifier: Apache-2.0
"""Tunnels to what is no node: devices of the kernel, Open vSwitch; and provider networks behind two tags.

    function -- [ node cpe-1 ] ul0 ---- eth0 [ peer: a tunnel device, or Open vSwitch ]
                     |   lan0 ---- eth0 [ lan: a host behind two tags ]
                   mgmt0 ---- [ hub ]
"""

import contextlib
import json
import os
import subprocess

import pytest
from conftest import wait_for
from ovs_peer import Ovs
from real_site import NOVA, V1, V2, RealSite, sh

IDLE = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]
HERE, THERE = {4: "172.31.8.1", 6: "fd00:8::1"}, {4: "172.31.8.9", 6: "fd00:8::9"}
KIND, NUMBER, NIC, OUTER = "provider:network_type", "provider:segmentation_id", "provider:physical_network", "demarc:outer_segmentation_id"
# A device of the kernel for each kind that it has, over both families. It takes a UDP checksum of 0 over IPv6 when told so (RFC 6935).
MAC = "02:00:00:00:40:99"  # the same for each peer: a function asks for another one after seconds only
DEVICES = {("vxlan", 4): "type vxlan id {id} dstport 4789 local {here} remote {there}",
           ("vxlan", 6): "type vxlan id {id} dstport 4789 local {here} remote {there} udp6zerocsumrx",
           ("geneve", 4): "type geneve id {id} remote {there}", ("geneve", 6): "type geneve id {id} remote {there} udp6zerocsumrx",
           ("gre", 4): "type gretap key {id} local {here} remote {there}", ("gre", 6): "type ip6gretap key {id} local {here} remote {there}",
           ("nvgre", 4): "type gretap key {key} local {here} remote {there}"}


# Counts what one connection sends, and says so.
SINK = """
import socket, sys
c = socket.create_server((sys.argv[1], 5002)).accept()[0]
n = 0
while part := c.recv(65536):
    n += len(part)
print(n)
"""


class WithPeer(RealSite):
    def __init__(self, build, folder):
        super().__init__(build, folder)
        self.ns["peer"] = self.ns["site"].replace("site", "peer")

    def up(self):
        super().up()
        self.wire("site", "ul0", "peer", "eth0")
        for name, device, at in (("site", "ul0", HERE), ("peer", "eth0", THERE)):
            self.in_ns(name, "sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=0")
            self.address(name, device, at[4] + "/24")
            sh("ip", "-n", self.ns[name], "addr", "add", at[6] + "/64", "dev", device, "nodad")
        self.host = self.image("host", IDLE)
        return self

    def vtep(self, family):
        self.hub.put(f"{V1}/nodes/cpe-1", {"node": {"vtep": HERE[family]}}, 200)

    @contextlib.contextmanager
    def remote(self, net, **attributes):
        """A remote VTEP, for as long as the block lasts."""
        body = {"remote_vtep": {"network_id": net, **attributes}}
        end = self.hub.post(f"{V2}/remote-vteps", body, 201).json()["remote_vtep"]
        try:
            yield end
        finally:
            self.hub.delete(f"{V2}/remote-vteps/{end['id']}", 204)

    def change(self, end, **attributes):
        self.hub.put(f"{V2}/remote-vteps/{end['id']}", {"remote_vtep": attributes}, 200)

    def function(self, name, net, ip):
        """A function on the network: server and MAC of its port."""
        port = self.port(net, fixed_ips=[{"ip_address": ip}])
        server = self.server(name, self.host, [port])
        wait_for(lambda: self.hub.get(f"{NOVA}/servers/{server}", 200).json()["server"]["status"] == "ACTIVE", "running", 60)
        self.node.ip_inside(server, "link", "set", "eth0", "gso_max_segs", "1")  # packets as they are on a wire
        return server, self.hub.get(f"{V2}/ports/{port}", 200).json()["port"]["mac_address"]

    def ping(self, server, to, *extra):
        return "1 packets received" in self.node.inside(server, "/bin/ping", "-c", "1", "-W", "1", *extra, to, check=False)

    def files(self, server, to):
        """A file from the peer over TCP, and one to it."""
        size = os.path.getsize("/bin/busybox")
        enter = ["nsenter", f"--net=/run/netns/{self.ns['peer']}", "--"]
        with subprocess.Popen([*enter, "busybox", "httpd", "-f", "-p", f"{to}:5001", "-h", "/bin"]) as web, \
                subprocess.Popen([*enter, "/usr/bin/python3", "-c", SINK, to], stdout=subprocess.PIPE) as sink:
            try:
                wait_for(lambda: self.in_ns("peer", "ss", "-Hltn").count("\n") == 2, "two listeners")
                got = self.node.inside(server, "/bin/sh", "-c", f"timeout 20 wget -qO- http://{to}:5001/busybox | busybox wc -c")
                assert int(got) == size, "all bytes from the peer"
                self.node.inside(server, "/bin/sh", "-c", f"timeout 20 busybox nc {to} 5002 < /bin/busybox")
                assert int(sink.communicate(timeout=30)[0]) == size, "all bytes to the peer"
            finally:
                web.kill()
                sink.kill()

    def received(self):
        return json.loads(sh("ip", "-n", self.ns["peer"], "-s", "-j", "link", "show", "t0"))[0]["stats64"]["rx"]["packets"]

    def events(self, kind):
        return [e for e in self.hub.get(f"{V1}/events", 200).json()["events"] if e["kind"] == kind]


@pytest.fixture(name="site", scope="module")
def fixture_site(build, tmp_path_factory):
    site = WithPeer(build, tmp_path_factory.mktemp("remote"))
    try:
        yield site.up()
    finally:
        site.down()


@pytest.fixture(name="function", scope="module")
def fixture_function(site):
    """A network between nodes whose remote ends come and go: its row, a function on it, its MAC."""
    net = site.network("over", "10.40.0.0/24", **{KIND: "vxlan", NUMBER: 5000, "mtu": 1400})
    server, mac = site.function("f", net, "10.40.0.10")
    return net, server, mac


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "family"), DEVICES)
def test_devices_of_the_kernel(site, function, kind, family):
    # COVERS(V4 | V6, F_REMOTE_END)
    net, server, _ = function
    number = 5000 if kind == "vxlan" else 6000
    words = DEVICES[kind, family].format(id=number, key=number << 8, here=THERE[family], there=HERE[family])
    site.vtep(family)
    made = subprocess.run(["ip", "-n", site.ns["peer"], "link", "add", "t0", "mtu", "1400", "address", MAC, *words.split()], capture_output=True, text=True, check=False)
    if "Unknown device type" in made.stderr:
        pytest.skip(f"the kernel has no device of type {words.split()[1]}")
    assert made.returncode == 0, made.stderr
    try:
        sh("ip", "-n", site.ns["peer"], "addr", "add", "10.40.0.99/24", "dev", "t0")
        sh("ip", "-n", site.ns["peer"], "link", "set", "t0", "up")
        given = {} if kind == "vxlan" else {"tunnel_type": kind, "segmentation_id": number}  # else the network's
        with site.remote(net, ip_address=THERE[family], **given) as end:
            assert (end["tunnel_type"], end["segmentation_id"], end["flood"]) == (kind, number, True)
            wait_for(lambda: site.ping(server, "10.40.0.99"), "the peer", 30)
            assert site.ping(server, "10.40.0.99", "-s", str(1400 - 28)), "a packet of the network's MTU"
            site.files(server, "10.40.0.99")
        wait_for(lambda: not site.ping(server, "10.40.0.99"), "no end, no tunnel", 30)
    finally:
        sh("ip", "-n", site.ns["peer"], "link", "del", "t0")


@pytest.mark.timeout(120)
def test_what_goes_there(site, function):
    """An end that is not flooded gets what is for its MACs; one that is learns and is learned from."""
    net, server, mac = function
    site.vtep(4)
    sh("ip", "-n", site.ns["peer"], "link", "add", "t0", "mtu", "1400", "address", MAC, *DEVICES["vxlan", 4].format(
        id=5000, here=THERE[4], there=HERE[4]).split())
    try:
        sh("ip", "-n", site.ns["peer"], "addr", "add", "10.40.0.99/24", "dev", "t0")
        sh("ip", "-n", site.ns["peer"], "link", "set", "t0", "up")
        sh("ip", "-n", site.ns["peer"], "neigh", "replace", "10.40.0.10", "lladdr", mac, "dev", "t0")
        with site.remote(net, ip_address=THERE[4], flood=False, mac_addresses=[MAC.replace(":", "-")]) as end:
            assert end["mac_addresses"] == [MAC]
            site.node.ip_inside(server, "neigh", "replace", "10.40.0.99", "lladdr", MAC, "dev", "eth0")
            wait_for(lambda: site.ping(server, "10.40.0.99"), "its MAC is known", 30)
            before = site.received()
            site.node.inside(server, "/bin/busybox", "arping", "-c", "3", "-w", "3", "-I", "eth0", "10.40.0.98", check=False)
            assert site.received() == before, "no broadcast"
            site.change(end, flood=True, mac_addresses=[])
            site.node.ip_inside(server, "neigh", "del", "10.40.0.99", "dev", "eth0")
            wait_for(lambda: site.ping(server, "10.40.0.99"), "asked by a broadcast", 30)
    finally:
        sh("ip", "-n", site.ns["peer"], "link", "del", "t0")


@pytest.mark.timeout(120)
def test_an_end_that_changes_networks(site, function):
    """While the agent is away: the tunnel that is there has the ends and the number of the one that is to be."""
    net, server, _ = function
    other = site.network("other", "10.42.0.0/24", **{KIND: "vxlan", NUMBER: 5001, "mtu": 1400})
    second, _ = site.function("s", other, "10.42.0.10")
    site.vtep(4)
    sh("ip", "-n", site.ns["peer"], "link", "add", "t0", "mtu", "1400", "address", MAC, *DEVICES["vxlan", 4].format(id=8000, here=THERE[4], there=HERE[4]).split())
    try:
        for address in ("10.40.0.99/24", "10.42.0.99/24"):
            sh("ip", "-n", site.ns["peer"], "addr", "add", address, "dev", "t0")
        sh("ip", "-n", site.ns["peer"], "link", "set", "t0", "up")
        with site.remote(net, ip_address=THERE[4], segmentation_id=8000):
            wait_for(lambda: site.ping(server, "10.40.0.99"), "the peer on one network", 30)
            site.node.kill()
        with site.remote(other, ip_address=THERE[4], segmentation_id=8000):
            site.node.start()
            wait_for(lambda: site.ping(second, "10.42.0.99"), "the peer on the other", 60)
            assert not site.ping(server, "10.40.0.99")
    finally:
        sh("ip", "-n", site.ns["peer"], "link", "del", "t0")
    assert not [e for e in site.events("tunnel_refused") if "another tunnel" in e["text"]]
    site.hub.delete(f"{NOVA}/servers/{second}", 204)


@pytest.mark.timeout(120)
def test_what_cannot_be_made_is_told(site, function):
    net, _, _ = function
    site.vtep(4)
    with site.remote(net, ip_address=THERE[6]):
        wait_for(lambda: any("IPv6" in e["text"] and "one family" in e["text"] for e in site.events("tunnel_refused")), "an event", 30)
    site.address("peer", "eth0", "172.31.8.254/24")
    sh("ip", "-n", site.ns["site"], "route", "add", "203.0.113.77/32", "via", "172.31.8.254")
    with site.remote(net, ip_address="203.0.113.77", tunnel_type="mpls", segmentation_id=777):
        wait_for(lambda: any("behind 172.31.8.254: take mpls-udp" in e["text"] for e in site.events("tunnel_refused")), "an event", 60)
    event = site.events("tunnel_refused")[0]
    assert (event["severity"], event["resource"]) == ("warning", f"network/{net}")


@pytest.fixture(name="ovs", scope="module")
def fixture_ovs(site, function, tmp_path_factory):
    """After the kernel's devices: the underlay's NIC is Open vSwitch's from here on, and with it the customer's behind two tags."""
    sh("ip", "-n", site.ns["peer"], "addr", "flush", "dev", "eth0")
    sh("ip", "-n", site.ns["lan"], "link", "set", "eth0", "name", "lan9", "netns", site.ns["peer"])
    sh("ip", "-n", site.ns["peer"], "link", "set", "lan9", "up")
    site.node.ip_inside(function[1], "link", "show", "eth0")
    ovs = Ovs(site.ns["peer"], tmp_path_factory.mktemp("ovs"))
    try:
        ovs.start()
        ovs.bridge("br-phy", THERE[4] + "/24", device="eth0")
        site.in_ns("peer", "sysctl", "-qw", "net.ipv6.conf.br-phy.disable_ipv6=0")
        sh("ip", "-n", site.ns["peer"], "addr", "add", THERE[6] + "/64", "dev", "br-phy", "nodad")
        ovs.bridge("br-int", "10.40.0.99/24", "10.41.0.99/24", mtu=1400, mac=MAC)
        yield ovs
    finally:
        ovs.stop()


def whole_checksums(site, server):
    """Open vSwitch reads frames from a packet socket, where checksums that nobody has computed are wrong."""
    sh("nsenter", f"--net={site.node.run}/netns/{server}", "--", "ethtool", "-K", "eth0", "tx", "off")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "family"), [(k, f) for k in ("vxlan", "geneve", "gre") for f in (4, 6)])
def test_open_vswitch(site, function, ovs, kind, family):
    # COVERS(V4 | V6, F_REMOTE_END)
    net, server, _ = function
    whole_checksums(site, server)
    site.vtep(family)
    ovs.flows("actions=normal")
    ovs.tunnel(kind, 7000, HERE[family])
    with site.remote(net, ip_address=THERE[family], tunnel_type=kind, segmentation_id=7000):
        wait_for(lambda: site.ping(server, "10.40.0.99"), "Open vSwitch", 30)
        site.files(server, "10.40.0.99")


@pytest.mark.timeout(120)
def test_option_of_ovn(site, function, ovs):
    net, server, _ = function
    whole_checksums(site, server)
    site.vtep(4)
    ovs.tunnel("geneve", 7001, HERE[4])
    option = f"tun_metadata0=0x{3 << 16 | 9:x}"
    ovs.flows(f"priority=10,in_port=t0,{option},actions=normal", "priority=5,in_port=t0,actions=drop", "priority=1,actions=normal",
              tlv="{class=0x102,type=0x80,len=4}->tun_metadata0")
    with site.remote(net, ip_address=THERE[4], tunnel_type="geneve", segmentation_id=7001, ovn_ingress_port=3, ovn_egress_port=9) as end:
        wait_for(lambda: site.ping(server, "10.40.0.99"), "Open vSwitch, that takes nothing without the option", 30)
        wait_for(lambda: ovs.packets(option), "its counters")
        site.change(end, ovn_egress_port=10)
        wait_for(lambda: not site.ping(server, "10.40.0.99"), "another port", 30)


def tagged(*tags):
    """Flows between lan9 behind these tags, outermost first, and the host."""
    push = ",".join(f"push_vlan:0x{kind:x},set_field:{4096 + vlan}->vlan_vid" for kind, vlan in reversed(tags))
    strip = [f"table={i},in_port=lan9,dl_vlan={vlan},actions=pop_vlan,resubmit(,{i + 1})" for i, (_, vlan) in enumerate(tags)]
    return [*strip, f"table={len(tags)},in_port=lan9,vlan_tci=0,actions=LOCAL", f"in_port=LOCAL,actions={push},output:lan9"]


@pytest.mark.timeout(120)
def test_two_tags(site, ovs):
    shown = site.hub.openstack("network", "create", "--provider-network-type", "vlan", "--provider-physical-network", "lan", "--provider-segment",
                               "7", "--extra-property", f"type=int,name={OUTER},value=100", "stacked")
    net = site.hub.get(f"{V2}/networks/{shown['id']}", 200).json()["network"]
    assert (net[NUMBER], net[OUTER]) == (7, 100)
    body = {"subnet": {"network_id": net["id"], "cidr": "10.41.0.0/24", "ip_version": 4, "gateway_ip": None, "enable_dhcp": False}}
    site.hub.post(V2 + "/subnets", body, 201)
    server, _ = site.function("q", net["id"], "10.41.0.10")
    whole_checksums(site, server)
    ovs.vsctl("--if-exists", "del-port", "t0", "--", "add-port", "br-int", "lan9")
    ovs.flows(*tagged((0x88A8, 100), (0x8100, 7)))
    wait_for(lambda: site.ping(server, "10.41.0.99"), "the host behind two tags", 30)
    site.files(server, "10.41.0.99")
    steps = site.hub.post(f"{V1}/nodes/{site.node.id}/trace", {"trace": {
        "port": site.uplink(net["id"]), "src_ip": "10.41.0.99", "dst_ip": "10.41.0.10", "protocol": "icmp"}}, 200).json()["steps"]
    assert any("destination MAC is the one of" in s["text"] for s in steps), steps
    at = f"{V2}/networks/{net['id']}"
    site.hub.put(at, {"network": {OUTER: 200}}, 200)
    wait_for(lambda: not site.ping(server, "10.41.0.99"), "another service tag", 30)
    site.hub.put(at, {"network": {OUTER: None}}, 200)
    ovs.flows(*tagged((0x8100, 7)))
    wait_for(lambda: site.ping(server, "10.41.0.99"), "the host behind one tag", 30)


def test_what_is_refused(shared_hub):
    def network(status=201, **attrs):
        return shared_hub.post(V2 + "/networks", {"network": attrs}, status).json().get("network")

    def remote(status=400, **attrs):
        body = {"network_id": net, "ip_address": "192.0.2.99", **attrs}
        answer = shared_hub.post(V2 + "/remote-vteps", {"remote_vtep": body}, status).json()
        return answer.get("remote_vtep") or answer["NeutronError"]["message"]

    aliases = {e["alias"] for e in shared_hub.get(V2 + "/extensions", 200).json()["extensions"]}
    assert {"provider", "demarc-encapsulations", "demarc-remote-vteps"} <= aliases
    # Networks: each number within its kind, each attribute with its type.
    for kind, low, high in (("nvgre", 4095, 0xFFFFFF), ("mpls", 15, 1 << 20), ("mpls-udp", 15, 1 << 20), ("mpls-gre", 15, 1 << 20), ("vxlan-gpe", 0, 1 << 24)):
        for wrong in (low, high):
            network(400, **{KIND: kind, NUMBER: wrong})
        network(400, **{KIND: kind, NIC: "lan"})
    network(400, **{KIND: "vxlan_gpe"})
    gpe = network(**{KIND: "vxlan-gpe", NUMBER: 77})
    assert (gpe["demarc:nsh_path"], gpe["demarc:nsh_index"], gpe["demarc:nsh_md_type"], gpe["mtu"]) == (77, 255, 1, 1426)
    assert network(**{KIND: "vxlan-gpe", "demarc:nsh_md_type": 2, "demarc:nsh_path": 5})["mtu"] == 1442
    network(400, **{KIND: "vxlan", "demarc:nsh_path": 5})
    refuse = [({"demarc:nsh_context": "00" * 15}, "give 32 hexadecimal digits"), ({"demarc:nsh_context": "0g" * 16}, "give 32 hexadecimal digits"),
              ({"demarc:nsh_context": "00" * 16, "demarc:nsh_md_type": 2}, "demarc:nsh_tlvs with type 2"),
              ({"demarc:nsh_tlvs": [{"class": 1, "type": 1, "value": ""}]}, "demarc:nsh_md_type 2 beside them"),
              ({"demarc:nsh_tlvs": [{"class": 1, "type": 300, "value": ""}], "demarc:nsh_md_type": 2}, "demarc:nsh_tlvs[0].type: a type is 0 to 255"),
              ({"demarc:nsh_tlvs": [{"class": 1, "type": 1, "value": "00" * 61}], "demarc:nsh_md_type": 2}, "room for 64 bytes")]
    for attributes, says in refuse:
        answer = shared_hub.post(V2 + "/networks", {"network": {KIND: "vxlan-gpe", **attributes}}, 400).json()["NeutronError"]
        assert says in answer["message"], answer
    network(400, **{KIND: "vxlan", "demarc:nsh_context": "00" * 16})
    assert network(**{KIND: "vxlan-gpe", "demarc:nsh_md_type": 2, "demarc:nsh_tlvs": [{"class": 1, "type": 1, "value": "00" * 5}]})["mtu"] == 1430
    network(400, **{KIND: "vxlan-gpe", "demarc:nsh_index": 256})
    network(400, **{KIND: "vxlan", OUTER: 5})
    network(400, **{KIND: "flat", NIC: "lan", OUTER: 5})
    pair = {KIND: "vlan", NIC: "lan", NUMBER: 70, OUTER: 700}
    network(**pair)
    network(**{**pair, OUTER: 701})
    network(**{**pair, OUTER: None})
    network(409, **pair)
    network(400, **{**pair, OUTER: 4095})
    shared_hub.put(f"{V2}/networks/{gpe['id']}", {"network": {NUMBER: None}}, 400)
    # Remote VTEPs.
    local = network()["id"]
    net = network(**{KIND: "vxlan"})["id"]
    assert "vxlan" in remote(network_id=local), "the remedy"
    for wrong in ("224.0.0.1", "fe80::1", "127.0.0.1", "x"):
        assert "ip_address" in remote(ip_address=wrong)
    assert "16 to 1048575" in remote(tunnel_type="mpls", segmentation_id=5)
    assert "station" in remote(mac_addresses=["ff:ff:ff:ff:ff:ff"])
    assert "mpls_labels" in remote(mpls_labels=[16])
    assert "label of 16" in remote(tunnel_type="mpls-gre", segmentation_id=16, mpls_labels=[3])
    assert "geneve" in remote(ovn_egress_port=1)
    assert "ovn_egress_port" in remote(tunnel_type="geneve", ovn_ingress_port=1)
    station = {"mac_address": "02:00:00:00:50:07", "tunnel_key": 5}
    assert "ovn_egress_port" in remote(tunnel_type="geneve", ovn_ports=[station])
    assert "geneve" in remote(ovn_ports=[station])
    for wrong in (station["mac_address"], {**station, "tunnel_key": 0}, {**station, "tunnel_key": 1 << 15}, {**station, "x": 1}, {"tunnel_key": 5, "x": 1}):
        assert "tunnel_key of 1 to 32767" in remote(tunnel_type="geneve", ovn_egress_port=32768, ovn_ports=[wrong])
    assert "station" in remote(tunnel_type="geneve", ovn_egress_port=32768, ovn_ports=[{**station, "mac_address": "ff:ff:ff:ff:ff:ff"}])
    for twice in ({"ovn_ports": [station, {**station, "tunnel_key": 6}]}, {"ovn_ports": [station], "mac_addresses": [station["mac_address"]]}):
        assert "in the lists already" in remote(tunnel_type="geneve", ovn_egress_port=32768, **twice)
    one = remote(201, mac_addresses=["02:00:00:00:50:01"], tunnel_type="mpls-udp", segmentation_id=16, mpls_labels=[16, 17])
    assert one["mpls_labels"] == [16, 17]
    remote(409)
    remote(409, ip_address="192.0.2.98", mac_addresses=["02:00:00:00:50:01"])
    taken = {"tunnel_type": "geneve", "ovn_egress_port": 32768, "ovn_ports": [{"mac_address": "02:00:00:00:50:01", "tunnel_key": 5}]}
    remote(409, ip_address="192.0.2.98", **taken)
    other = network(**{KIND: "vxlan"})["id"]
    remote(409, network_id=other, tunnel_type="mpls-udp", segmentation_id=16)
    shared_hub.put(f"{V2}/remote-vteps/{one['id']}", {"remote_vtep": {"segmentation_id": 1 << 20}}, 400)
    shared_hub.put(f"{V2}/remote-vteps/{one['id']}", {"remote_vtep": {"tunnel_type": "vxlan", "mpls_labels": []}}, 200)
    user = shared_hub.new_user("member")
    user.post(V2 + "/remote-vteps", {"remote_vtep": {"network_id": net, "ip_address": "192.0.2.97"}}, 403)
    user.get(V2 + "/remote-vteps", 403)
    shared_hub.delete(f"{V2}/networks/{net}", 204)
    shared_hub.get(f"{V2}/remote-vteps/{one['id']}", 404)


def test_commands(build, shared_hub):
    def demarc(*words):
        done = subprocess.run([f"{build}/src/cli/demarc", *words, "--json"], env=shared_hub.env(), capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    net = shared_hub.post(V2 + "/networks", {"network": {"name": "commanded", KIND: "vxlan"}}, 201).json()["network"]
    end = demarc("vtep", "add", "commanded", "2001:db8::77", "--type", "gre", "--number", "4000000000", "--macs", "02:00:00:00:77:01, 02:00:00:00:77:02",
                 "--no-flood", "--name", "router")
    assert (end["tunnel_type"], end["segmentation_id"], end["flood"], len(end["mac_addresses"])) == ("gre", 4000000000, False, 2)
    assert demarc("vtep", "add", "commanded", "192.0.2.77")["segmentation_id"] == net[NUMBER]
    assert end["id"] in [v["id"] for v in demarc("vtep", "list")]
    demarc("vtep", "delete", "router")
    assert end["id"] not in [v["id"] for v in demarc("vtep", "list")]
