# SPDX-License-Identifier: Apache-2.0
"""The systems under test: the floor, demarc, and what a user would pick instead."""

import json
import os
import shutil
import signal
import subprocess
import time

from lab import IP_A, IP_B, IP_NAT, MAC_A, MAC_B, MAC_P0, MAC_P1, OTHER_CPU, P0, P1, PIN_ROOT, PROOF, PROOF_PORT, SOURCE_CPU, TOOL, Failed, Lab, run, wait_for

BRIDGE = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
P2, MAC_C, MAC_P2 = 103, "02:00:00:00:00:0c", "02:00:00:00:01:02"  # where a flood comes in
NATIVE = 0x40000000  # first number of a port without an interface
TUNNEL = NATIVE + 100
HALF_OPEN = 1000


class Flood:
    """A third host c, at p2, that sends SYNs from every address of 11.0.0.0/8; b's stack sees none of them."""

    answers = False  # each SYN with a cookie, above HALF_OPEN

    def flood_host(self, dmac):
        self.flood_dmac = dmac
        self.add("c")
        self.veth("c", "h2", MAC_C, "s", "p2", MAC_P2, P2)
        self.load()
        self.attach("b", "h1", "tc_sinktcp")
        self.attach("c", "h2", "tc_sink")  # what is answered

    def flood(self, ms):
        before = self.figures("c", "h2")["rx"]["packets"]
        out = json.loads(self.inside("c", "taskset", "-c", SOURCE_CPU, TOOL, "source", "--dev", "h2", "--smac", MAC_C, "--dmac", self.flood_dmac, "--saddr",
                          "11.0.0.0", "--daddr", IP_B, "--flows", str(1 << 28), "--seconds", str(ms), "--tcp", "2", "--spoof", "--meter",
                                     ",".join(map(str, self.softirq)), "--sink", f"{self.pins}/arrived"))
        answered = self.figures("c", "h2")["rx"]["packets"] - before
        if out["arrived"] < 0.99 * out["sent"]:
            raise Failed(f"{self.name}: of {out['sent']} SYNs {out['arrived']} were answered or reached b")
        if answered < 0.99 * out["sent"] - HALF_OPEN if self.answers else answered > 0.01 * out["sent"]:
            raise Failed(f"{self.name}: of {out['sent']} SYNs {answered} were answered")
        return out


class Direct(Lab):
    """One veth pair: what the source and the sink cost by themselves."""

    def __init__(self, name="direct"):
        super().__init__(name)
        self.direct()


class Bridge(Lab):
    def __init__(self, name="bridge"):
        super().__init__(name)
        self.hosts()
        self.ip("s", f"link add br0 {BRIDGE}", "link set br0 up", "link set p0 master br0", "link set p1 master br0")
        # The kernel has br_netfilter built in; who measures a plain bridge turns it off.
        self.inside("s", "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", check=False)
        self.inside("s", "bridge", "fdb", "replace", MAC_B, "dev", "p1", "master", "static")  # else frames are flooded until b sends one


class BridgeVxlan(Bridge):
    """The bridge's other port is a VXLAN tunnel over p1."""

    longer = 50

    def __init__(self, name="bridge-vxlan"):
        super().__init__(name)
        self.ip("s", "link set p1 nomaster", "addr add 10.9.0.1/24 dev p1", f"neigh replace 10.9.0.2 lladdr {MAC_B} dev p1 nud permanent",
                "link add vx0 type vxlan id 42 dstport 4789 local 10.9.0.1 remote 10.9.0.2 nolearning noudpcsum", "link set vx0 master br0 up")
        self.inside("s", "bridge", "fdb", "replace", MAC_B, "dev", "vx0", "master", "static")


class Conntrack:
    """The kernel's connection table is one for all namespaces; its limit and its buckets as they were come back at the end."""

    DIR = "/proc/sys/net/netfilter/"
    before = {}

    @classmethod
    def put(cls, name, value):
        with open(cls.DIR + name, "r+", encoding="ascii") as f:
            cls.before.setdefault(name, f.read().strip())
            f.seek(0)
            f.write(str(value))

    @classmethod
    def room_for(cls, connections):
        """Else early drop is what is measured."""
        cls.put("nf_conntrack_max", 2 * connections)
        cls.put("nf_conntrack_buckets", connections)

    @classmethod
    def restore(cls):
        for name, value in list(cls.before.items()):
            cls.put(name, value)
        cls.before.clear()


# Counts what comes by, after the rules that are measured; there only while something is proven.
PROBE = """table inet proof {{
counter through {{
}}
chain probe {{ type filter hook {hook} priority 10; {state} counter name "through"
}}
}}
"""


def probed(lab):
    out = json.loads(lab.inside("s", "nft", "-j", "list", "counter", "inet", "proof", "through"))
    return next(x["counter"]["packets"] for x in out["nftables"] if "counter" in x)


class Nft(Flood, Lab):
    """Router with a stateful forward chain of n rules: what is established first, the rule that lets new connections in last."""

    def __init__(self, name="nft", rules=10, named_set=False, flooded=False):
        super().__init__(name)
        self.hosts(routed=True)
        if flooded:
            self.flood_host(MAC_P2)
        self.inside("s", "nft", "-f", "-", text=self.ruleset(rules, named_set))
        self.answers = flooded == "synproxy"
        if self.answers:
            self.ip("s", "addr add 10.0.9.1/24 dev p2", f"neigh replace 10.0.9.2 lladdr {MAC_C} dev p2 nud permanent", "route add 11.0.0.0/8 via 10.0.9.2")
            self.inside("s", "nft", "-f", "-", text=self.SYNPROXY)

    # What answers every SYN from p2 by a cookie; the others' rules as they are.
    SYNPROXY = """table inet cookies {
chain untracked { type filter hook prerouting priority raw; iifname "p2" tcp flags syn notrack
}
chain answer { type filter hook forward priority -10; iifname "p2" ct state { invalid, untracked } synproxy mss 1460 wscale 7 timestamp sack-perm
}
}
"""

    def connections(self):
        return int(self.inside("s", "cat", Conntrack.DIR + "nf_conntrack_count"))

    def prove(self, n=1000):
        self.inside("s", "nft", "-f", "-", text=PROBE.format(hook="forward", state="ct state established"))
        try:
            super().prove(n)
        finally:
            self.inside("s", "nft", "delete", "table", "inet", "proof")

    def seen(self):
        return {"what nftables forwards as established": (probed(self), 1)}

    @staticmethod
    def net(i, prefix_len=32):
        number = (172 << 24) + (16 << 16) + i & ~((1 << 32 - prefix_len) - 1)
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0)) + (f"/{prefix_len}" if prefix_len < 32 else "")

    @classmethod
    def rule(cls, i):
        """The i-th rule that no packet matches; other_acl_rule() of demarc.c has the same ones."""
        proto, port = ("udp", "tcp")[i % 2], 1000 + i % 100
        match = (f"ip saddr {cls.net(i)} {proto} dport {port}",
                 f"ip daddr {cls.net(i, 24)} {proto} dport {port}-{port + i % 50}",
                 f"ip saddr {cls.net(i, 24)} ip daddr {cls.net(7 * i)} {proto} dport {port}",
                 f"ip saddr {cls.net(i, 28)} {proto} sport {2000 + i % 300}-{2020 + i % 300} {proto} dport {port}")
        return match[i % 4] + " drop\n"

    @classmethod
    def ruleset(cls, rules, named_set):
        n = max(rules - 3, 0)
        text = "table inet filter {\n"
        if named_set:  # of one shape only: a set knows no ranges in more than one field
            text += "set others { type ipv4_addr . inet_service; elements = { " + ", ".join(f"{cls.net(i)} . {1000 + i % 100}" for i in range(n)) + " } }\n"
        text += "chain forward { type filter hook forward priority 0; policy drop;\nct state established,related accept\nct state invalid drop\n"
        text += "ip saddr . udp dport @others drop\n" if named_set else "".join(map(cls.rule, range(n)))
        return text + 'iifname { "p0", "p2" } ct state new meta l4proto { tcp, udp } accept\n}\n}\n'


class NftNat(Nft):
    """a is behind the router's address."""

    translated = True

    def __init__(self, name="nft-nat"):
        super().__init__(name)
        self.known_as = IP_NAT

    @classmethod
    def ruleset(cls, rules, named_set):
        return super().ruleset(rules, named_set) + ("table ip nat {\nchain postrouting { type nat hook postrouting priority srcnat;\n"
                                                    f'oifname "p1" snat to {IP_NAT}\n}}\n}}\n')


class Tap:
    """In front of a system: p0 is the tap of a virtual machine, whose side (h0, in namespace a) a process without vhost feeds."""

    p0_flags = "nopeer"

    def hosts(self, routed=False):
        self.add("a", "b", "s")
        self.veth("b", "h1", MAC_B, "s", "p1", MAC_P1, P1)
        self.monitor = self.spawn("s", ["taskset", "-c", OTHER_CPU, TOOL, "tap-pump", "p0", str(P0), f"/run/netns/{self.space('a')}", "h0"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
        if not self.monitor.stdout.readline():
            raise Failed("no tap can be made")
        self.ip("s", "link set p0 up")
        self.ip("a", f"link set h0 address {MAC_A}", "link set h0 up")
        self.addresses(MAC_B, MAC_A)


class TapSource:
    """In front of a system: p0 is a tap into which a process writes frames one by one."""

    p0_flags = "nopeer"

    def hosts(self, routed=False):
        self.add("a", "b", "s")
        self.veth("b", "h1", MAC_B, "s", "p1", MAC_P1, P1)
        self.monitor = self.spawn("s", ["taskset", "-c", SOURCE_CPU, TOOL, "tap-source", "p0", "--index", str(P0), "--smac", MAC_A, "--dmac", MAC_B,
                                        "--saddr", IP_A, "--daddr", IP_B, "--seconds", "300"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
        if not self.monitor.stdout.readline():
            raise Failed("no tap can be made")
        self.ip("s", "link set p0 up")
        self.ip("b", f"addr add {IP_B}/8 dev h1")
        self.load()
        self.attach("b", "h1", "tc_sink")

    def write(self):
        """CPU microseconds per frame."""
        before = self.figures("b", "h1")["rx"]["packets"]
        self.monitor.stdin.write("\n")
        self.monitor.stdin.flush()
        out = json.loads(self.monitor.stdout.readline())
        arrived = self.figures("b", "h1")["rx"]["packets"] - before
        if arrived < 0.99 * out["sent"]:
            raise Failed(f"{self.name}: {arrived} of {out['sent']} frames arrived")
        return out["own_ns"] / 1e3 / max(out["sent"], 1)


def redirected(lab):
    lines = (line.split(":") for line in lab.inside("s", "ethtool", "-S", "p0").splitlines())
    return {"what XDP redirects": (sum(int(line[1]) for line in lines if line[0].endswith("_xdp_redirect")), 1)}


class Floor(Lab):
    """The least an eBPF program can do; program as floor.bpf.c names it."""

    by_egress = {"tc_peer": "tc_redirect", "tc_flow_peer": "tc_flow"}  # towards a tap, which has no peer

    def __init__(self, name, program, flows=1 << 16):
        super().__init__(name)
        self.program = program
        self.translated = program == "tc_nat_peer"
        self.hosts()
        self.load(flows)
        pairs = [str(x) for x in (P0, P1, P1, P0)]
        self.inside("s", TOOL, "floor", "map", f"{self.pins}/{'devs' if program.startswith('xdp') else 'nexthop'}", *pairs)
        if program.startswith("xdp"):
            for short, dev in (("a", "h0"), ("b", "h1")):
                self.features(short, dev, "tx", "off")
        self.attach("s", "p0", program)
        self.attach("s", "p1", self.by_egress[program] if isinstance(self, (Tap, TapSource)) else program)

    def seen(self):
        counts = redirected(self) if self.program.startswith("xdp") else {}
        if self.program not in ("tc_peer", "tc_redirect", "xdp_redirect"):
            counts["packets of the floor's records"] = json.loads(run([TOOL, "floor", "counted", f"{self.pins}/flows"]))["pkts"], 1
        return counts


class Demarc(Flood, Lab):
    """The datapath through its API. Ports of containers; both have anti-spoofing, a security group of `rules` rules and records."""

    p0_flags = ""
    segments = 1  # records of each connection and direction: one more with each container of a chain
    guarded = True  # its ports have security groups and what else was asked for
    spoof = "spoof_mac"  # p0 is a container's port: why frames of others' addresses are dropped

    def __init__(self, name="demarc", rules=10, flows=0, security=True, acl=0, policer=False, flooded=False):
        super().__init__(name)
        self.hosts()
        self.pin = os.path.join(PIN_ROOT, name + "-dp")
        os.makedirs(PIN_ROOT, exist_ok=True)
        self.agent = self.spawn("s", ["taskset", "-c", OTHER_CPU, TOOL, "demarc", "--pin", self.pin, "--flows", str(flows)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
        self.daemons.append(self.agent.pid)
        self.answer("open")
        if security:
            self.say(f"sg 1 rules={rules}")
        if acl:
            self.say(f"acl 1 rules={acl}")
        self.say("net 1")
        self.say(self.METER)
        # What stands in the way, when it lets nothing through, and again as it is measured; why it drops.
        self.guards = ([(f"sg 1 rules={rules} closed", f"sg 1 rules={rules}", ("sg_egress", "sg_ingress", "firewall"))] if security else [])
        self.guards += [(f"acl 1 rules={acl} deny", f"acl 1 rules={acl}", ("acl",))] if acl else []
        self.guards += [self.POLICER] if policer else []
        self.policy = ("security sg=1" if security else "") + (" acl=1" if acl else "") + (" meter=1" if policer else "")
        self.ports()
        if flooded:
            self.flood_host(MAC_B)
            self.say(f"port {P2} net=1 uplink {'xdp' if flooded == 'xdp' else ''}")
            if flooded == "xdp":  # what XDP answers is an XDP frame
                self.inside("c", "tc", "qdisc", "del", "dev", "h2", "clsact")
                self.attach("c", "h2", "xdp_sink")
            self.answers = flooded in ("cookies", "xdp")
            if self.answers:
                self.say(f"port {P1} net=1 mac={MAC_B} {self.policy} addr={IP_B}/32 half_open={HALF_OPEN}")

    METER = "meter 1 bps=1000000000000"
    POLICER = ("meter 1 bps=8000", METER, ("meter",))

    def ports(self):
        self.say(f"port {P0} net=1 mac={MAC_A} {self.p0_flags} {self.policy} addr={IP_A}/32")
        self.say(f"port {P1} net=1 mac={MAC_B} {self.policy} addr={IP_B}/32")

    def connections(self):
        return self.say("maps")["flow4"] // 2

    def seen(self):
        return {"packets of its records": (self.say(f"flows {PROOF_PORT}")["pkts"], self.segments)}

    def prove(self, n=1000):
        super().prove(n)
        drops = self.say("drops")
        if drops:
            raise Failed(f"{self.name} drops: {drops}")
        for shut, opened, why in self.guards if self.guarded else ():
            self.say(shut)
            self.refused(10 * n if why == ("meter",) else n, why, n)
            self.say(opened)
        if self.guarded and self.spoof:
            self.refused(n, (self.spoof,), n, smac="02:00:00:00:00:99")

    def refused(self, n, why, least, **how):
        """Of n packets at least that many must be dropped, for one of these reasons."""
        before = self.say("drops")
        out = self.send(first=PROOF, count=n, **how)
        after = self.say("drops")
        dropped = sum(after.get(reason, 0) - before.get(reason, 0) for reason in why)
        if dropped < least or out["arrived"] > n - least:
            raise Failed(f"{self.name}: of {n} packets {out['arrived']} arrived and {dropped} were dropped by {' or '.join(why)}")

    def busy(self, seconds):
        """The agent's share of one processor while nothing is asked of it: it ages the records."""
        def spent():
            with open(f"/proc/{self.agent.pid}/schedstat", encoding="ascii") as f:
                return int(f.read().split()[0])
        before = spent()
        time.sleep(seconds)
        return (spent() - before) / 1e9 / seconds

    def say(self, line):
        """One line to the agent; its JSON, if any."""
        self.agent.stdin.write(" ".join(line.split()) + "\n")
        self.agent.stdin.flush()
        return self.answer(line)

    def answer(self, line):
        text = self.agent.stdout.readline().strip()
        if not text.startswith("ok"):
            raise Failed(f"demarc: {line}: {text or 'the agent ended'}")
        return json.loads(text[3:]) if text[3:] else None

    def close(self):
        try:
            if hasattr(self, "agent"):
                self.say("remove")
        except (Failed, OSError):
            pass  # it has ended, and said why; its pins go with those of a run that was killed
        finally:
            super().close()


class DemarcOne(Demarc):
    """One group, at the port of the side that opens connections."""

    def ports(self):
        self.say(f"port {P0} net=1 mac={MAC_A} {self.policy} addr={IP_A}/32")
        self.say(f"port {P1} net=1 mac={MAC_B}")


class DemarcNat(Demarc):
    """a is behind an address of b's port."""

    translated = True

    def ports(self):
        self.known_as = IP_NAT
        self.say(f"nat 1 to={IP_NAT}")
        self.say(f"port {P0} net=1 mac={MAC_A} {self.p0_flags} {self.policy} addr={IP_A}/32")
        self.say(f"port {P1} net=1 mac={MAC_B} {self.policy} addr={IP_B}/32 nat=1")


class DemarcOpen(Demarc):
    """Ports without groups and anti-spoofing: every source passes, if its list permits."""

    spoof = None

    def __init__(self, name, acl, flows):
        super().__init__(name, flows=flows, security=False, acl=acl)


class DemarcNic(Demarc):
    """p0 is a NIC: the datapath puts its XDP program there. p1 is a container's port, or another NIC."""

    spoof = None

    def __init__(self, name, to_nic=False, **more):
        self.to_nic = to_nic
        self.guarded = self.guarded and not to_nic
        super().__init__(name, **more)
        for short, dev in (("a", "h0"), ("b", "h1")):
            self.features(short, dev, "tx", "off")
        if "xdp" not in self.inside("s", "ip", "link", "show", "dev", "p0"):
            raise Failed("the datapath has put no XDP program on the NIC")

    def sinks(self, hook):
        super().sinks(hook)
        self.ports()  # now p1 takes XDP frames

    def seen(self):
        return super().seen() | redirected(self)

    def ports(self):
        self.say(f"port {P0} net=1 uplink xdp")
        self.say(f"port {P1} net=1 uplink xdp" if self.to_nic else f"port {P1} net=1 xdpout mac={MAC_B} {self.policy} addr={IP_B}/32")


class DemarcUplink(Demarc):
    """p0 is a container's port, p1 a NIC: frames leave by egress."""

    def ports(self):
        self.say(f"port {P0} net=1 mac={MAC_A} {self.policy} addr={IP_A}/32")
        self.say(f"port {P1} net=1 uplink")


class DemarcTunnel(DemarcUplink):
    """p0 is a container's port; its network goes on in a tunnel over the NIC p1."""

    longer = 38  # GRE without a key

    def __init__(self, name, kind, **more):
        self.kind = kind
        super().__init__(name, **more)

    def ports(self):
        self.say(f"port {P0} net=1 mac={MAC_A} {self.policy} addr={IP_A}/32")
        self.say("net 2")
        self.say(f"port {P1} net=2 uplink")
        self.say(f"tunnel {TUNNEL} net=1 type={self.kind} id=42 local=10.9.0.1 remote=10.9.0.2 underlay={P1} smac={MAC_P1} dmac={MAC_B}")


class DemarcNicNat(DemarcNic):
    """From NIC to NIC; a is behind an address of the second."""

    translated = True
    guarded = False

    def ports(self):
        self.known_as = IP_NAT
        self.say(f"nat 1 to={IP_NAT}")
        self.say(f"port {P0} net=1 uplink xdp")
        self.say(f"port {P1} net=1 uplink xdp nat=1")


class DemarcNicTunnel(DemarcNic):
    """From a NIC into a tunnel over another one."""

    longer = 50  # VXLAN over IPv4
    guarded = False

    def ports(self):
        self.say(f"port {P0} net=1 uplink xdp")
        self.say("net 2")
        self.say(f"port {P1} net=2 uplink xdp")
        self.say(f"tunnel {TUNNEL} net=1 type=vxlan id=42 local=10.9.0.1 remote=10.9.0.2 underlay={P1} smac={MAC_P1} dmac={MAC_B}")


class FloorOut(Floor):
    """The least that takes frames out of VXLAN."""

    outer = MAC_P0

    def __init__(self, name):
        super().__init__(name, "xdp_out")


class DemarcNicOut(DemarcNic):
    """Out of a tunnel over a NIC, to a container's port."""

    outer = MAC_P0

    def ports(self):
        self.say("net 2")
        self.say(f"port {P0} net=2 uplink xdp")
        self.say(f"port {P1} net=1 xdpout mac={MAC_B} {self.policy} addr={IP_B}/32")
        self.say(f"tunnel {TUNNEL} net=1 type=vxlan id=42 local=10.9.0.1 remote=10.9.0.2 underlay={P0} smac={MAC_P0} dmac={MAC_A}")


class TapFloor(Tap, Floor):
    pass


class TapBridge(Tap, Bridge):
    pass


class TapDemarc(Tap, Demarc):
    pass


class TapSourceFloor(TapSource, Floor):
    pass


class TapSourceBridge(TapSource, Bridge):
    pass


class TapSourceDemarc(TapSource, Demarc):
    pass


OVS_CT = ["table=0,priority=100,ip,ct_state=-trk,actions=ct(table=1)", "table=0,priority=10,actions=NORMAL",
          "table=1,priority=100,in_port=1,ip,ct_state=+trk+new,actions=ct(commit),output:2",
          "table=1,priority=100,in_port=1,ip,ct_state=+trk+est,actions=output:2",
          "table=1,priority=100,in_port=2,ip,ct_state=+trk+est,actions=output:1"]


class Ovs(Lab):
    """Open vSwitch in user space (this kernel has no module), with a database and a run directory of its own."""

    polls = True

    def __init__(self, name, kind, flows, connections=0):
        super().__init__(name)
        self.hosts()
        for short, dev in (("a", "h0"), ("b", "h1"), ("s", "p0"), ("s", "p1")):
            self.features(short, dev, "tx", "off")
        self.start(["p0", "p1"], kind)
        self.flows(flows)
        if connections:
            self.appctl("dpctl/ct-set-maxconns", str(connections))

    def start(self, ports, kind):
        self.dir = f"/run/{self.space('ovs')}"
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.env = dict(os.environ, OVS_RUNDIR=self.dir, OVS_DBDIR=self.dir, OVS_LOGDIR=self.dir, OVS_SYSCONFDIR=self.dir)
        run(["ovsdb-tool", "create", f"{self.dir}/conf.db", "/usr/share/openvswitch/vswitch.ovsschema"], env=self.env)
        self.spawn(None, ["ovsdb-server", f"--remote=punix:{self.dir}/db.sock", f"--unixctl={self.dir}/db.ctl", f"{self.dir}/conf.db"], env=self.env)
        wait_for("ovsdb-server", lambda: os.path.exists(f"{self.dir}/db.sock"))
        self.vsctl("--no-wait", "init")
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:pmd-cpu-mask=0x2")
        self.switch = self.spawn("s", ["taskset", "-c", OTHER_CPU, "/usr/lib/openvswitch-switch/ovs-vswitchd", f"unix:{self.dir}/db.sock",
                                       f"--unixctl={self.dir}/sw.ctl", f"--log-file={self.dir}/sw.log"], env=self.env)
        self.daemons.append(self.switch.pid)
        wait_for("ovs-vswitchd", lambda: os.path.exists(f"{self.dir}/sw.ctl"))
        words = ["add-br", "ob", "--", "set", "bridge", "ob", "datapath_type=netdev", "fail_mode=secure"]
        for i, port in enumerate(ports):
            words += ["--", "add-port", "ob", port, "--", "set", "interface", port, f"ofport_request={i + 1}"]
            words += [f"type={kind}", "options:n_rxq=1"] if kind.startswith("afxdp") else []
        self.vsctl(*words)
        errors = self.vsctl("--columns=error", "--format=csv", "--no-headings", "list", "interface").strip().splitlines()
        if any(e not in ("", "[]", '""') for e in errors):
            raise Failed(f"OVS ports of type {kind}: {errors}")

    def vsctl(self, *words):
        return run(["ovs-vsctl", "--timeout=30", f"--db=unix:{self.dir}/db.sock", *words], env=self.env)

    def flows(self, flows, bundle=True):
        run(["ovs-ofctl", *(["--bundle"] if bundle else []), "add-flows", "ob", "-"], "\n".join(flows) + "\n", env=self.env)

    def appctl(self, *words):
        return run(["ovs-appctl", "-t", f"{self.dir}/sw.ctl", *words], env=self.env, check=False)

    def prove(self, n=200):
        super().prove(n)
        if f"dport={PROOF_PORT}" not in self.appctl("dpctl/dump-conntrack"):
            raise Failed(f"{self.name}: Open vSwitch tracks no connection")

    def pause(self):
        self.switch.send_signal(signal.SIGSTOP)

    def resume(self):
        self.switch.send_signal(signal.SIGCONT)

    def close(self):
        if hasattr(self, "switch"):
            self.resume()
        super().close()
        shutil.rmtree(getattr(self, "dir", "/nonexistent"), ignore_errors=True)


# ---- chains of containers


class Functions:
    """k namespaces fI, each forwarding between lan and wan by the same tc program; their other ends are fIl and fIr in the switch."""

    def functions(self, k):
        self.load()
        for i in range(1, k + 1):
            f, inside = f"f{i}", 1000 + 2 * i
            self.add(f)
            for j, (dev, side) in enumerate((("lan", "l"), ("wan", "r"))):
                self.ip("s", f"link add name f{i}{side} index {self.port(i, side)} type veth peer name {dev} index {inside + j} netns {self.space(f)}",
                        f"link set f{i}{side} up")
                self.ip(f, f"link set {dev} up")
                self.features(f, dev, "gro", "on")
                self.features("s", f"f{i}{side}", "gro", "on")
                self.attach(f, dev, "tc_redirect")
            self.inside(f, TOOL, "floor", "map", f"{self.pins}/nexthop", str(inside), str(inside + 1), str(inside + 1), str(inside))

    def passed(self, i):
        """Frames that the i-th function has given back on its wan side."""
        return self.figures(f"f{i}", "wan")["tx"]["packets"]

    def through(self, k):
        return {f"what function {i} forwards": (self.passed(i), 1) for i in range(1, k + 1)}

    @staticmethod
    def port(i, side):
        return 200 + 2 * i + (side == "r")

    @staticmethod
    def stitches(order):
        """Which of the switch's ports belong together."""
        line = ["p0"] + [f"f{i}{side}" for i in order for side in "lr"] + ["p1"]
        return list(zip(line[::2], line[1::2]))

    @staticmethod
    def order(n):
        """The third function goes in between the first and the second."""
        return [1, 3, 2] if n == 3 else list(range(1, n + 1))


class FloorChain(Functions, Floor):
    """Bare redirect_peer between the ports that belong together: no lookup, no count."""

    def __init__(self, name, k):
        super().__init__(name, "tc_peer")
        self.k = k
        self.functions(k)
        number = {"p0": P0, "p1": P1, **{f"f{i}{side}": self.port(i, side) for i in range(1, k + 1) for side in "lr"}}
        pairs = [(number[a], number[b]) for a, b in self.stitches(range(1, k + 1))]
        self.inside("s", TOOL, "floor", "map", f"{self.pins}/nexthop", *[str(x) for a, b in pairs for x in (a, b, b, a)])
        for port in number:
            self.attach("s", port, "tc_peer")

    def seen(self):
        return self.through(self.k)


class BridgeChain(Functions, Lab):
    """`filtered`: as the kernel makes bridges where br_netfilter is there, which OpenStack, Kubernetes and Docker ask for."""

    def __init__(self, name, k, used=None, filtered=False):
        super().__init__(name)
        self.k, self.filtered = k, filtered
        self.hosts()
        self.functions(k)
        self.inside("s", "sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={int(filtered)}", check=filtered)
        for i, pair in enumerate(self.stitches(range(1, (used or k) + 1))):
            self.ip("s", f"link add br{i} {BRIDGE}", f"link set br{i} up", *[f"link set {port} master br{i}" for port in pair])
        if used:
            self.ip("s", f"link add br9 {BRIDGE}", "link set br9 up", "link set f3r master br9")

    def prove(self, n=1000):
        self.inside("s", "nft", "-f", "-", text=PROBE.format(hook="prerouting", state=""))
        try:
            super().prove(n)
        finally:
            self.inside("s", "nft", "delete", "table", "inet", "proof")

    def seen(self):
        return self.through(self.k) | {"what br_netfilter shows to nftables": (probed(self), (self.k + 1) * self.filtered)}

    def wire(self, n):
        """f3 into the bridge between f1 and f2, and out again."""
        if n == 3:
            self.ip("s", "link set f2l master br9", "link set f3l master br1")
        else:
            self.ip("s", "link set f3l nomaster", "link set f2l master br1")


class OvsChain(Functions, Ovs):
    def __init__(self, name, k, kind, used=None):
        Lab.__init__(self, name)
        self.k = k
        self.hosts()
        self.functions(k)
        self.ports = ["p0", "p1"] + [f"f{i}{side}" for i in range(1, k + 1) for side in "lr"]
        for short, dev in [("a", "h0"), ("b", "h1")] + [("s", port) for port in self.ports]:
            self.features(short, dev, "tx", "off")
        self.start(self.ports, kind)
        self.wire(used or k)

    def prove(self, n=200):
        """What it cannot take it must drop at its first port: else work on frames that never arrive counts as that of those that do."""
        passed = [self.passed(i) for i in range(1, self.k + 1)]
        if min(passed) < max(passed) * 0.8:
            raise Failed(f"{self.name}: its functions forwarded {passed} packets")

    def wire(self, n):
        number = {port: i + 1 for i, port in enumerate(self.ports)}
        pairs = self.stitches(self.order(n)) if n == 3 else self.stitches(range(1, n + 1))
        self.flows([f"in_port={number[x]},actions=output:{number[y]}" for a, b in pairs for x, y in ((a, b), (b, a))])


class DemarcChain(Functions, Demarc):
    def __init__(self, name, k, used=None, **more):
        super().__init__(name, **more)
        self.k, self.segments = k, k + 1
        self.functions(k)
        for i in range(1, k + 1):
            for side in "lr":
                self.say(f"port {self.port(i, side)} net=1 mac=02:00:00:00:{i:02x}:{2 if side == 'r' else 1:02x}")
        self.wire(used or k)

    def seen(self):
        return super().seen() | self.through(self.k)

    def wire(self, n):
        hops = ",".join(f"{self.port(i, 'l')}:{self.port(i, 'r')}" for i in (self.order(n) if n == 3 else range(1, n + 1)))
        self.say(f"chain 1 src={P0} dst={P1} hops={hops} mode=move")


class DemarcNative(Demarc):
    """A chain of native functions, by kind."""

    def __init__(self, name, kinds, **more):
        super().__init__(name, **more)
        if "policer" in kinds and self.POLICER not in self.guards:
            self.guards.append(self.POLICER)
        self.chain(kinds, P1)

    def chain(self, kinds, end):
        hops = []
        for i, kind in enumerate(kinds):
            policy = {"firewall": "security sg=1", "policer": "meter=1", "acl": "acl=1"}[kind]
            hops.append(f"{kind}@{NATIVE + 2 * i}:{NATIVE + 2 * i + 1}")
            for j in (0, 1):
                self.say(f"port {NATIVE + 2 * i + j} net=1 native {policy}")
        self.say(f"chain 1 src={P0} dst={end} hops={','.join(hops)} mode=move")


class DemarcAll(DemarcTunnel, DemarcNative):
    """Everything on, and b is on another node."""

    def __init__(self, name):
        DemarcTunnel.__init__(self, name, "vxlan", kinds=["acl", "firewall", "policer"], acl=10000, policer=True)

    def ports(self):
        self.policy = self.policy.replace(" meter=", " meter_from=")  # of p0: what it sends is measured
        super().ports()

    def chain(self, kinds, end):
        super().chain(kinds, TUNNEL)


def ovs_best():
    """AF_XDP where it works, else packet sockets."""
    for kind in ("afxdp", "system"):
        trial = None
        try:
            trial = Ovs("try", kind, OVS_CT)
            trial.sinks()
            trial.source(count=200)
            time.sleep(0.3)
            if trial.source(count=200)["arrived"] >= 190:
                return kind
        except Failed:
            pass
        finally:
            if trial:
                trial.close()
    return None
