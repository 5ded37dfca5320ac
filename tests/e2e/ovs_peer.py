# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch with its datapath in user space, in a network namespace: a tunnel endpoint and a host that are not ours."""

import json
import os
import subprocess

from conftest import wait_for
from node_lab import sh


class Ovs:
    """Bridge br-phy has `device` and its addresses; br-int, the host, has the other end of the tunnel and an address of the network."""

    def __init__(self, ns, folder):
        self.ns, self.dir = ns, str(folder)
        self.env = dict(os.environ, **{f"OVS_{n}DIR": self.dir for n in ("RUN", "DB", "LOG", "SYSCONF")})
        self.daemons = []

    def start(self):
        sh("ovsdb-tool", "create", f"{self.dir}/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
        self.spawn("ovsdb-server", f"--remote=punix:{self.dir}/db.sock", f"--unixctl={self.dir}/db.ctl", f"{self.dir}/conf.db")
        wait_for(lambda: os.path.exists(f"{self.dir}/db.sock"), "ovsdb-server")
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
        self.spawn("/usr/lib/openvswitch-switch/ovs-vswitchd", f"unix:{self.dir}/db.sock", f"--unixctl={self.dir}/sw.ctl", f"--log-file={self.dir}/sw.log")
        wait_for(lambda: os.path.exists(f"{self.dir}/sw.ctl"), "ovs-vswitchd")
        return self

    def spawn(self, *argv):
        with open(f"{self.dir}/out.log", "ab") as log:
            self.daemons.append(subprocess.Popen(["nsenter", f"--net=/run/netns/{self.ns}", "--", *argv], env=self.env, stdin=subprocess.DEVNULL,
                                                 stdout=log, stderr=log))

    def stop(self):
        for p in reversed(self.daemons):
            p.kill()
            p.wait(10)
        for bridge in ("br-int", "br-phy", "ovs-netdev"):
            sh("ip", "-n", self.ns, "link", "del", bridge, check=False)

    def run(self, *argv):
        done = subprocess.run(argv, env=self.env, check=False, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def vsctl(self, *words):
        return self.run("ovs-vsctl", "--timeout=20", f"--db=unix:{self.dir}/db.sock", *words)

    def bridge(self, name, *addresses, device=None, mtu=1500, mac=None):
        words = ["add-br", name, "--", "set", "bridge", name, "datapath_type=netdev"]
        if device:
            mac = json.loads(sh("ip", "-n", self.ns, "-j", "link", "show", device))[0]["address"]
        words += [f'other-config:hwaddr="{mac}"']
        if device:
            words += ["--", "add-port", name, device]
        self.vsctl(*words, "--", "set", "interface", name, f"mtu_request={mtu}")
        sh("ip", "-n", self.ns, "link", "set", name, "up")
        for a in addresses:
            sh("ip", "-n", self.ns, "addr", "add", a, "dev", name, *(["nodad"] if ":" in a else []))

    def tunnel(self, kind, number, remote, **options):
        words = [f"options:{k}={v}" for k, v in {"key": number, "remote_ip": f'"{remote}"', **options}.items()]
        self.vsctl("--may-exist", "add-port", "br-int", "t0", "--", "set", "interface", "t0", f"type={kind}", *words)
        error = self.vsctl("get", "interface", "t0", "error").strip()
        assert error == "[]", error

    def ofctl(self, verb, *words):
        return self.run("ovs-ofctl", "-O", "OpenFlow14", verb, "br-int", *words)

    def flows(self, *flows, tlv=None):
        if tlv:
            self.ofctl("add-tlv-map", tlv)
        self.ofctl("del-flows")
        for flow in flows:
            self.ofctl("add-flow", flow)

    def packets(self, flow):
        """Packets that met the flow that has this text."""
        rows = [r for r in self.ofctl("dump-flows").splitlines() if flow in r]
        return sum(int(r.split("n_packets=")[1].split(",")[0]) for r in rows)
