# SPDX-License-Identifier: Apache-2.0
"""A network of ours and a logical switch of a real OVN are one: the node is a chassis to it, which speaks Geneve with its option.

    function f -- [ node cpe-1 ] ul0 ---- eth0 [ peer: ovn-northd, ovn-controller, Open vSwitch ] vif1 ---- eth0 [ vm1 ]
                                                                                                 vif2 ---- eth0 [ vm2 ]
"""

import os
import subprocess

import pytest
from conftest import wait_for
from ovn_peer import Ovn
from real_site import NOVA, V2
from test_remote_vtep import HERE, KIND, NUMBER, THERE, WithPeer, sh, whole_checksums

CIDRS = {4: ("10.40.0.", "24"), 6: ("fd40::", "64")}
VMS = {"vm1": 101, "vm2": 102}  # the last number of their addresses, and of their MACs


def at(host, family):
    return f"{CIDRS[family][0]}{host}"


class WithOvn(WithPeer):
    def __init__(self, build, folder):
        super().__init__(build, folder)
        for vm in VMS:
            self.ns[vm] = self.ns["site"].replace("site", vm)
        self.ovn = Ovn(self.ns["peer"], os.path.join(folder, "ovn"))

    def up(self):
        super().up()
        for vm, host in VMS.items():
            self.wire("peer", "vif" + vm[2:], vm, "eth0")
            sh("ip", "-n", self.ns[vm], "link", "set", "eth0", "address", self.mac(vm), "mtu", "1400")
            self.in_ns(vm, "ethtool", "-K", "eth0", "tx", "off")  # Open vSwitch takes frames as they are
            self.in_ns(vm, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0")
            for family, (_, length) in CIDRS.items():
                self.address(vm, "eth0", f"{at(host, family)}/{length}")
        sh("ip", "-n", self.ns["peer"], "addr", "flush", "dev", "eth0")
        os.mkdir(self.ovn.dir)
        self.ovn.start()
        self.ovn.bridge("br-phy", THERE[4] + "/24", device="eth0")
        self.in_ns("peer", "sysctl", "-qw", "net.ipv6.conf.br-phy.disable_ipv6=0")
        sh("ip", "-n", self.ns["peer"], "addr", "add", THERE[6] + "/64", "dev", "br-phy", "nodad")
        self.vtep(4)
        self.ovn.chassis("hypervisor", THERE[4])
        return self

    def down(self):
        self.ovn.stop()
        super().down()

    @staticmethod
    def mac(vm):
        return f"02:00:00:00:41:{VMS[vm]:02x}"

    def function_of(self, net):
        """A function with both addresses: server and MAC."""
        subnet = {"network_id": net, "cidr": "fd40::/64", "ip_version": 6, "gateway_ip": None, "enable_dhcp": False}
        self.hub.post(f"{V2}/subnets", {"subnet": subnet}, 201)
        port = self.port(net, fixed_ips=[{"ip_address": at(10, f)} for f in CIDRS], port_security_enabled=False)
        server = self.server("f", self.host, [port])
        wait_for(lambda: self.hub.get(f"{NOVA}/servers/{server}", 200).json()["server"]["status"] == "ACTIVE", "running", 60)
        self.node.ip_inside(server, "link", "set", "eth0", "gso_max_segs", "1")
        whole_checksums(self, server)
        return server, self.hub.get(f"{V2}/ports/{port}", 200).json()["port"]["mac_address"]

    def logical_switch(self, mac):
        """Its ports are the VMs' and one that is bound to the node's chassis. Something else has the first key of a switch."""
        self.ovn.nbctl("ls-add", "other")
        self.ovn.key("datapath_binding", "external_ids:name=other")
        far = [mac, *(at(10, f) for f in CIDRS)]
        words = ["ls-add", "sw0", "--", "lsp-add", "sw0", "cpe-1", "--", "lsp-set-addresses", "cpe-1", " ".join(far)]
        for vm, host in VMS.items():
            own = " ".join([self.mac(vm), *(at(host, f) for f in CIDRS)])
            words += ["--", "lsp-add", "sw0", vm, "--", "lsp-set-addresses", vm, own, "--", "lsp-set-port-security", vm, own]
        self.ovn.nbctl(*words)
        self.ovn.sbctl("chassis-add", "cpe-1", "geneve", HERE[4])
        keys = {p: self.ovn.key("port_binding", f"logical_port={p}") for p in ("cpe-1", *VMS)}
        self.ovn.sbctl("lsp-bind", "cpe-1", "cpe-1")
        for vm in VMS:
            self.ovn.interface("vif" + vm[2:], vm)
        self.ovn.nbctl("--timeout=30", "--wait=hv", "sync")
        return self.ovn.key("datapath_binding", "external_ids:name=sw0"), keys

    def enter(self, name):
        """Words that go into the namespace of a VM or, by its id, of a function."""
        return ["nsenter", "--net=" + (f"/run/netns/{self.ns[name]}" if name in self.ns else f"{self.node.run}/netns/{name}"), "--"]

    def pings(self, name, to):
        return subprocess.run([*self.enter(name), "busybox", "ping", "-c", "1", "-W", "1", to], check=False, capture_output=True).returncode == 0

    def fetch(self, client, server, address):
        """A file over TCP, from the server in one namespace to the client in another."""
        url = f"[{address}]:5001" if ":" in address else f"{address}:5001"
        with subprocess.Popen([*self.enter(server), "busybox", "httpd", "-f", "-p", url, "-h", "/bin"]) as web:
            try:
                wait_for(lambda: "5001" in sh(*self.enter(server), "ss", "-Hltn"), "a listener")
                done = subprocess.run([*self.enter(client), "timeout", "20", "busybox", "wget", "-qO-", f"http://{url}/busybox"], check=True, capture_output=True)
                assert len(done.stdout) == os.path.getsize("/bin/busybox")
            finally:
                web.kill()

    def tunnels(self):
        return len(self.node.map("tunnels"))

    def passes(self, server, vm, families=(4, 6)):
        """Both ways: pings and files. The kernel's own ways of asking for MACs are used, ARP and ND."""
        for family in families:
            host = at(VMS[vm], family)
            wait_for(lambda h=host: self.pings(server, h), f"{host} from the function", 30)
            assert self.pings(vm, at(10, family))
            self.fetch(server, vm, host)
            self.fetch(vm, server, at(10, family))


@pytest.fixture(name="site", scope="module")
def fixture_site(build, tmp_path_factory):
    site = WithOvn(build, tmp_path_factory.mktemp("ovn"))
    try:
        yield site.up()
    finally:
        site.down()


@pytest.fixture(name="joined", scope="module")
def fixture_joined(site):
    """Network, function, and what OVN has chosen: the switch's key, those of its ports."""
    net = site.network("joined", "10.40.0.0/24", **{KIND: "geneve", NUMBER: 5000, "mtu": 1400})
    server, mac = site.function_of(net)
    return net, server, *site.logical_switch(mac)


def chassis_moves(site, family):
    """Both ends of the tunnel get an address of the other family."""
    site.vtep(family)
    site.ovn.vsctl("set", "Open_vSwitch", ".", f'external_ids:ovn-encap-ip="{THERE[family]}"')
    end = site.ovn.sbctl("--bare", "--columns=_uuid", "find", "encap", "chassis_name=cpe-1").strip()
    site.ovn.sbctl("set", "encap", end, f'ip="{HERE[family]}"')
    site.ovn.nbctl("--timeout=30", "--wait=hv", "sync")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("family", [4, 6])
def test_a_port_by_its_key(site, joined, family):
    net, server, number, keys = joined
    assert number > 1 and len({*keys.values()}) == 3
    chassis_moves(site, family)
    with site.remote(net, ip_address=THERE[family], tunnel_type="geneve", segmentation_id=number, ovn_ingress_port=keys["cpe-1"],
                     ovn_egress_port=keys["vm1"]):
        site.passes(server, "vm1")
        assert not site.pings(server, at(VMS["vm2"], 4)), "the key alone says where a frame goes"


@pytest.mark.timeout(120)
def test_each_port_by_its_own_key(site, joined):
    """What is flooded has the key of the group; what is for a MAC has its port's, and no other port of the hypervisor sees it."""
    net, server, number, keys = joined
    chassis_moves(site, 4)
    switch = site.ovn.sbctl("--bare", "--columns=_uuid", "find", "datapath_binding", f"tunnel_key={number}").strip()
    group = site.ovn.key("multicast_group", "name=_MC_flood", f"datapath={switch}")
    with site.remote(net, ip_address=THERE[4], tunnel_type="geneve", segmentation_id=number, ovn_ingress_port=keys["cpe-1"], ovn_egress_port=group) as end:
        for vm in VMS:
            wait_for(lambda h=at(VMS[vm], 4): site.pings(server, h), "an address behind the key of the group", 30)
        site.change(end, ovn_ports=[{"mac_address": site.mac(vm).upper(), "tunnel_key": keys[vm]} for vm in VMS])
        wait_for(lambda: site.tunnels() == 3, "a tunnel for each port", 30)
        site.passes(server, "vm1")
        site.passes(server, "vm2", [6])
        site.change(end, ovn_ports=[{"mac_address": site.mac(vm), "tunnel_key": keys["vm2"]} for vm in VMS])
        wait_for(lambda: site.tunnels() == 2, "one tunnel for both", 30)
        wait_for(lambda: not site.pings(server, at(VMS["vm1"], 4)), "the key of another port", 30)
        assert site.pings(server, at(VMS["vm2"], 4))
