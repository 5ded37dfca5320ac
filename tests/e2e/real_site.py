# SPDX-License-Identifier: Apache-2.0
"""A whole small system: a real hub and a real node, each in a network namespace, hosts behind the node's NICs.

    lan host --- lan0 [ node ] wan0 --- wan host
                        | mgmt0 --- eth0 [ hub, and the test itself ]
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import uuid

from conftest import SANITIZER, Hub, wait_for
from listening import sockets
from node_lab import busybox_layer, oci_archive, runc_list, sh

V1, V2, NOVA, IMAGE = "/demarc/v1", "/network/v2.0", "/compute/v2.1", "/image/v2"
SFC = V2 + "/sfc"
HUB_ADDR, NODE_ADDR = "198.51.100.10", "198.51.100.20"
LAN_HOST, ROUTER_LAN, ROUTER_WAN, WAN_HOST = "192.168.10.10", "192.168.10.1", "203.0.113.2", "203.0.113.1"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def enter(path):
    """The calling thread goes to another network namespace."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if LIBC.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(fd)


def pid_ends(pid):
    """The process is gone; its parent may not have asked for its status yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class RealNode:
    """demarc-node with directories of its own in the namespace of the site."""

    def __init__(self, build, folder, ns, pin, nics=("lan=lan0", "wan=wan0")):
        self.build, self.ns, self.pin = build, ns, pin
        self.nics = [a for n in nics for a in ("--nic", n)]
        self.state, self.run, self.log_path = (os.path.join(folder, n) for n in ("node", "run", "node.log"))
        self.id = self.process = None

    def argv(self, verb, *args):
        dirs = ["--state-dir", self.state] + ([] if verb == "enrol" else [
            "--run-dir", self.run, "--pin-dir", self.pin, *self.nics])
        return ["nsenter", f"--net=/run/netns/{self.ns}", "--", os.path.join(self.build, "src/node/demarc-node"), verb, *args, *dirs]

    def enrol(self, token):
        done = subprocess.run(self.argv("enrol", token), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        with open(os.path.join(self.state, "identity.json"), encoding="utf-8") as f:
            self.id = json.load(f)["node_id"]

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.argv("run"), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def child(self):
        """Process id of the process that talks to the hub; None while there is none."""
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
                pids = f.read().split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        for pid in pids:
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/exe").endswith("demarc-node"):
                    return int(pid)
        return None

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        return self.process.wait(30)

    def kill_child(self):
        pid = self.child()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pid

    def logged(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def listens(self):
        """What listens in the site's namespace, whoever it is: []."""
        return sockets(self.ns) if os.path.exists(f"/run/netns/{self.ns}") else []

    def purge(self):
        done = subprocess.run(self.argv("purge"), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    # ---- looking ----

    def runc(self, *argv, check=True):
        return sh("runc", "--root", f"{self.run}/runc", *argv, check=check)

    def containers(self):
        return runc_list(f"{self.run}/runc")

    def inside(self, sid, *argv, check=True):
        return self.runc("exec", sid, *argv, check=check)

    def ip_inside(self, sid, *argv):
        """The machine's own ip, in the function's namespace."""
        return sh("nsenter", f"--net={self.run}/netns/{sid}", "--", "ip", *argv)

    def links(self):
        """Host ends of vNICs: name -> row."""
        rows = json.loads(sh("ip", "-n", self.ns, "-j", "link"))
        return {i["ifname"]: i for i in rows if i["ifname"].startswith("dm")}

    def listed(self, what):
        with contextlib.suppress(FileNotFoundError):
            return set(os.listdir(f"{self.run}/{what}"))
        return set()

    def mounts(self):
        """Mount points below the run directory, without those of namespaces."""
        with open("/proc/self/mountinfo", encoding="ascii") as f:
            points = [line.split()[4] for line in f]
        return {p for p in points if p.startswith(self.run + "/")}

    def cgroups(self):
        out = sh("find", "/sys/fs/cgroup", "-path", f"*/demarc-{self.id[:8]}/*", "-type", "d", check=False)
        return {line.rpartition("/")[2] for line in out.splitlines()}

    def map(self, name):
        """Entries of a pinned map of the datapath: (key bytes, value bytes)."""
        folders = sorted(e for e in os.listdir(self.pin) if re.fullmatch(r"v\d+", e))
        out = json.loads(sh("bpftool", "-j", "map", "dump", "pinned", f"{self.pin}/{folders[-1]}/{name}"))

        def raw(items):
            return bytes(int(b, 16) for b in items)

        return [(raw(e["key"]), raw(e["value"]) if "value" in e else b"") for e in out]

    def map_ifindexes(self, name):
        return {int.from_bytes(k[:4], "little") for k, _ in self.map(name)}

    def leftovers(self):
        """What a node without any intent must not have."""
        found = [f"container {c['id']}" for c in self.containers()] + [f"link {n}" for n in self.links()]
        for what in ("netns", "rootfs", "bundle"):
            found += [f"{what} {e}" for e in self.listed(what)]
        found += [f"mount {m}" for m in self.mounts()] + [f"cgroup {c}" for c in self.cgroups()]
        disks = f"{self.state}/servers"
        found += [f"disk {e}" for e in os.listdir(disks)] if os.path.isdir(disks) else []
        for name in ("ports", "attached", "nets", "addrs", "policy_tables", "policy_trie", "policy_rules", "port_class", "port_chain", "path_ports", "paths"):
            entries = self.map(name)
            found += [f"{len(entries)} entries of {name}"] if entries else []
        return found

    def lose_machine(self):
        """What a power cut takes: every process, interface, namespace, mount and pin; the disk stays."""
        child = self.child()
        self.kill()
        if child:
            wait_for(lambda: pid_ends(child), "the end of the agent's child")
        for c in self.containers():
            self.runc("delete", "--force", c["id"])
        for point in sorted(self.mounts(), reverse=True):
            sh("umount", "-l", point, check=False)
        for link in self.links():
            sh("ip", "-n", self.ns, "link", "del", link, check=False)
        for cgroup in sorted(sh("find", "/sys/fs/cgroup", "-path", f"*/demarc-{self.id[:8]}*", "-type", "d", check=False).split(), reverse=True):
            os.rmdir(cgroup)
        for nic in ("lan0", "wan0"):
            sh("tc", "-n", self.ns, "qdisc", "del", "dev", nic, "clsact", check=False)
        shutil.rmtree(self.run)
        shutil.rmtree(self.pin)
        assert not self.containers() and not self.links() and not self.mounts() and not self.cgroups()


class RealSite:
    """Namespaces, hub and node. While it lives, the thread that made it is in the hub's namespace."""

    def __init__(self, build, folder, **node):
        tag = uuid.uuid4().hex[:6]
        self.build, self.folder = build, str(folder)
        self.ns = {name: f"dmc{tag}-{name}" for name in ("hub", "site", "lan", "wan")}
        self.hub = Hub(build, os.path.join(self.folder, "hub"), os.path.join(self.folder, "hub.log"),
                       ["--listen", "0.0.0.0", "--public-name", HUB_ADDR])
        self.node = RealNode(build, self.folder, self.ns["site"], f"/sys/fs/bpf/demarc-chaos-{tag}", **node)
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)  # the path would name wherever the thread is then

    def wire(self, a, dev_a, b, dev_b):
        sh("ip", "link", "add", dev_a, "netns", self.ns[a], "type", "veth", "peer", "name", dev_b, "netns", self.ns[b])
        sh("ip", "-n", self.ns[a], "link", "set", dev_a, "up")
        sh("ip", "-n", self.ns[b], "link", "set", dev_b, "up")

    def address(self, name, dev, address):
        sh("ip", "-n", self.ns[name], "addr", "add", address, "dev", dev)

    def up(self):
        for ns in self.ns.values():
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
            sh("nsenter", f"--net=/run/netns/{ns}", "--", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
               "net.ipv6.conf.default.disable_ipv6=1")
        self.wire("lan", "eth0", "site", "lan0")
        self.wire("site", "wan0", "wan", "eth0")
        self.wire("site", "mgmt0", "hub", "eth0")
        self.address("lan", "eth0", f"{LAN_HOST}/24")
        sh("ip", "-n", self.ns["lan"], "route", "add", "default", "via", ROUTER_LAN)
        self.address("wan", "eth0", f"{WAN_HOST}/24")
        sh("ip", "-n", self.ns["wan"], "route", "add", "192.168.10.0/24", "via", ROUTER_WAN)
        self.address("site", "mgmt0", f"{NODE_ADDR}/24")
        self.address("hub", "eth0", f"{HUB_ADDR}/24")
        self.enter_hub()
        self.hub.start()
        site = self.hub.post(V1 + "/sites", {"site": {"name": "branch"}}, 201).json()["site"]["id"]
        body = {"enrolment_token": {"node_name": "cpe-1", "expires_in": 3600}}
        self.node.enrol(self.hub.post(f"{V1}/sites/{site}/enrolment_tokens", body, 201).json()["enrolment_token"]["token"])
        self.node.start()
        wait_for(lambda: self.node_row()["state"] == "up", "the node's session", 60)
        return self

    def enter_hub(self):
        enter("/run/netns/" + self.ns["hub"])

    def node_row(self):
        return self.hub.get(f"{V1}/nodes/{self.node.id}", 200).json()["node"]

    def in_ns(self, name, *argv, check=True):
        return sh("nsenter", f"--net=/run/netns/{self.ns[name]}", "--", *argv, check=check)

    def down(self):
        """Everything goes, even after a failure; then what listened is looked at, and the logs are read."""
        wrong = self.node.listens() + self.hub.listens_elsewhere()
        for process, stop in ((self.node.process, self.node.kill), (self.hub.process, self.hub.kill)):
            if process and process.poll() is None:
                stop()
        self.hub.http.close()
        enter(f"/proc/self/fd/{self.home}")
        os.close(self.home)
        try:
            if self.node.id:
                self.node.purge()
        finally:
            for ns in self.ns.values():
                sh("ip", "netns", "del", ns, check=False)
        assert not wrong, f"a node listens on nothing, a hub on one port: {wrong}"
        for name in ("hub.log", "node.log"):
            with contextlib.suppress(FileNotFoundError), open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as f:
                bad = [line for line in f if SANITIZER.search(line)]
                assert not bad, f"{name}: {bad[:5]}"

    # ---- the API, for a test that does not disturb it ----

    def image(self, name, cmd, **properties):
        body = {"name": name, "disk_format": "raw", "container_format": "docker", "visibility": "public", **properties}
        image = self.hub.post(f"{IMAGE}/images", body, 201).json()["id"]
        self.hub.put(f"{IMAGE}/images/{image}/file", status=204, data=oci_archive([busybox_layer()], cmd=cmd),
                     headers={"Content-Type": "application/octet-stream"})
        return image

    def network(self, name, cidr, **attributes):
        net = self.hub.post(f"{V2}/networks", {"network": {"name": name, **attributes}}, 201).json()["network"]["id"]
        body = {"subnet": {"network_id": net, "cidr": cidr, "ip_version": 4, "gateway_ip": None, "enable_dhcp": False}}
        self.hub.post(f"{V2}/subnets", body, 201)
        return net

    def provider(self, name, cidr):
        return self.network(name, cidr, **{"provider:network_type": "flat", "provider:physical_network": name})

    def port(self, net, **attributes):
        body = {"port": {"network_id": net, **attributes}}
        return self.hub.post(f"{V2}/ports", body, 201).json()["port"]["id"]

    def uplink(self, net):
        return self.port(net, device_owner="network:uplink", fixed_ips=[], **{"binding:host_id": "cpe-1"})

    def bindings(self, server):
        return self.hub.get(f"{V1}/servers/{server}/bindings", 200).json()

    def server(self, name, image, ports, **attributes):
        body = {"name": name, "imageRef": image, "flavorRef": "nf.tiny", "networks": [{"port": p} for p in ports],
                "availability_zone": "branch:cpe-1", **attributes}
        return self.hub.post(f"{NOVA}/servers", {"server": body}, 202).json()["server"]["id"]

    def sfc(self, kind, **attributes):
        return self.hub.post(f"{SFC}/{kind}s", {kind: attributes}, 201).json()[kind]["id"]

    def hop(self, name, ingress, egress):
        pair = self.sfc("port_pair", name=name, ingress=ingress, egress=egress)
        return self.sfc("port_pair_group", name=name, port_pairs=[pair])

    def node_path(self, chain):
        """Number of the path in force; 0 or None without one."""
        return self.hub.get(f"{V1}/chains/{chain}", 200).json()["chain"]["path"]

    def chain_state(self, chain):
        return self.hub.get(f"{V1}/chains/{chain}", 200).json()["chain"]["state"]


@contextlib.contextmanager
def real_site(build, folder, **node):
    """`node`: more arguments of RealNode."""
    site = RealSite(build, folder, **node)
    try:
        yield site.up()
    finally:
        site.down()
