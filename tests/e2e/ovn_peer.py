# SPDX-License-Identifier: Apache-2.0
"""A whole OVN in a network namespace: both databases, ovn-northd, and a chassis with Open vSwitch's datapath in user space. Nothing of the system's own is touched."""

import os

from conftest import wait_for
from node_lab import sh
from ovs_peer import Ovs

SCHEMAS = "/usr/share/ovn"


class Ovn(Ovs):
    """Bridge br-phy has `device` and its addresses; br-int is ovn-controller's, whose chassis is `there`."""

    def __init__(self, ns, folder):
        super().__init__(ns, folder)
        self.env.update({f"OVN_{n}DIR": self.dir for n in ("RUN", "DB", "LOG", "SYSCONF")})
        self.nb, self.sb = f"unix:{self.dir}/nb.sock", f"unix:{self.dir}/sb.sock"

    def start(self):
        for db in ("nb", "sb"):
            sh("ovsdb-tool", "create", f"{self.dir}/{db}.db", f"{SCHEMAS}/ovn-{db}.ovsschema")
            self.spawn("ovsdb-server", f"--remote=punix:{self.dir}/{db}.sock", f"--unixctl={self.dir}/{db}.ctl", f"{self.dir}/{db}.db")
        super().start()
        wait_for(lambda: all(os.path.exists(f"{self.dir}/{db}.sock") for db in ("nb", "sb")), "the databases of OVN")
        self.spawn("ovn-northd", f"--ovnnb-db={self.nb}", f"--ovnsb-db={self.sb}", f"--unixctl={self.dir}/northd.ctl", f"--log-file={self.dir}/northd.log")
        return self

    def chassis(self, name, address):
        """This machine becomes one. Its integration bridge is in user space, too."""
        ids = {"system-id": name, "hostname": name, "ovn-remote": self.sb, "ovn-encap-type": "geneve", "ovn-encap-ip": address,
               "ovn-bridge-datapath-type": "netdev"}
        self.vsctl("set", "Open_vSwitch", ".", *(f'external_ids:{k}="{v}"' for k, v in ids.items()))
        self.spawn("ovn-controller", f"unix:{self.dir}/db.sock", f"--log-file={self.dir}/controller.log")
        wait_for(lambda: self.sbctl("--columns=name", "find", "chassis", f"name={name}"), "the chassis", 30)

    def nbctl(self, *words):
        return self.run("ovn-nbctl", "--timeout=20", f"--db={self.nb}", *words)

    def sbctl(self, *words):
        return self.run("ovn-sbctl", "--timeout=20", f"--db={self.sb}", *words)

    def key(self, table, *conditions):
        """tunnel_key of a row of the southbound database, which ovn-northd has chosen."""
        def get():
            return self.sbctl("--bare", "--columns=tunnel_key", "find", table, *conditions).strip()
        wait_for(get, f"{conditions} of {table}")
        return int(get())

    def interface(self, device, port):
        """A device becomes the logical port's."""
        self.vsctl("add-port", "br-int", device, "--", "set", "interface", device, f"external_ids:iface-id={port}")
