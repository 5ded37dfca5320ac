# SPDX-License-Identifier: Apache-2.0
"""Namespaces, links, processes and meters of the datapath's benchmark.

    dpb-NAME-a [ h0 ] <==veth==> [ p0 ] dpb-NAME-s [ p1 ] <==veth==> [ h1 ] dpb-NAME-b
      source                        the system under test                   sink

Several systems are up at once, each in namespaces of its own, so that measurements alternate without building anything in between.
"""

import ctypes
import ipaddress
import json
import os
import signal
import subprocess
import time

MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
MAC_P0, MAC_P1 = "02:00:00:00:01:00", "02:00:00:00:01:01"
IP_A, IP_B = "10.0.1.1", "10.0.2.1"
IP_NAT = "10.0.2.254"
P0, P1 = 101, 102  # ifindexes of the switch's ports
SOURCE_CPU, OTHER_CPU = "0", "1"
PIN_ROOT = "/sys/fs/bpf/demarc-bench"
LIMIT_S = 120
PROOF = 1 << 29  # a flow that no measurement sends; see source.h for its ports
PROOF_PORT = 5000 + (PROOF >> 15)
QUIET = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.conf.all.rp_filter=0",
         "net.ipv4.conf.default.rp_filter=0", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0")

BUILD = os.path.abspath(os.environ.get("DEMARC_BUILD", "build"))
TOOL = os.path.join(BUILD, "bench/dp/bench-dp")
STREAM = os.path.join(BUILD, "tools/stream")


class Failed(Exception):
    """A command did not do what it was asked."""


def run(argv, text=None, check=True, env=None):
    done = subprocess.run(argv, input=text, text=True, capture_output=True, timeout=LIMIT_S, env=env)
    if check and done.returncode:
        raise Failed(f"{' '.join(argv)[:300]}: {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout


def die_with_parent():
    """In a child: it ends when this program does, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def ksoftirqd():
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                if f.read().startswith("ksoftirqd/"):
                    pids.append(int(pid))
        except OSError:
            pass
    return pids


class Lab:
    """Namespaces and processes of one system; everything ends with close()."""

    softirq = ksoftirqd()
    longer = 0  # bytes that a tunnel adds, at least
    outer = None  # MAC of the NIC that gets the frames of `a` in VXLAN
    translated = False  # b sees a as IP_NAT
    polls = False  # takes a whole processor, and drops what it cannot take; all others forward in the source's context
    alive = []  # every one that is not closed yet, also one whose making failed half way

    def __init__(self, name):
        Lab.alive.append(self)
        self.name = name
        self.spaces = []
        self.processes = []
        self.daemons = []  # process ids whose time counts
        self.pins = os.path.join(PIN_ROOT, name)
        self.dmac = MAC_B
        self.known_as = IP_A  # a's address, as b sees it
        self.hook = None  # of the sinks
        self.first = 0  # next flow that was never seen

    # ---- namespaces and links

    def space(self, short):
        return f"dpb-{self.name}-{short}"

    def add(self, *shorts):
        for short in shorts:
            run(["ip", "netns", "add", self.space(short)])
            self.spaces.append(short)
            self.inside(short, "sysctl", "-qw", *QUIET)
            self.ip(short, "link set lo up")

    def inside(self, short, *argv, text=None, check=True):
        return run(["nsenter", f"--net=/run/netns/{self.space(short)}", "--", *argv], text, check)

    def ip(self, short, *lines):
        run(["ip", "-n", self.space(short), "-batch", "-"], "\n".join(lines) + "\n")

    def features(self, short, dev, *words):
        self.inside(short, "ethtool", "-K", dev, *words, check=False)

    def veth(self, a, dev_a, mac_a, b, dev_b, mac_b, index_b):
        """dev_a in namespace a, dev_b (of that ifindex) in namespace b."""
        self.ip(b, f"link add name {dev_b} index {index_b} address {mac_b} type veth peer name {dev_a} address {mac_a} netns {self.space(a)}",
                f"link set {dev_b} up")
        self.ip(a, f"link set {dev_a} up")
        for space, dev in ((a, dev_a), (b, dev_b)):  # without it a veth has no NAPI, and frames from XDP are lost
            self.features(space, dev, "gro", "on")

    def hosts(self, routed=False):
        """The two ends and the switch's ports; `routed`: the switch is their gateway."""
        self.add("a", "b", "s")
        self.veth("a", "h0", MAC_A, "s", "p0", MAC_P0, P0)
        self.veth("b", "h1", MAC_B, "s", "p1", MAC_P1, P1)
        self.addresses(MAC_P0 if routed else MAC_B, MAC_P1 if routed else MAC_A)
        if routed:
            self.dmac = MAC_P0
            self.ip("s", "addr add 10.0.1.254/24 dev p0", "addr add 10.0.2.254/24 dev p1",
                    f"neigh replace {IP_A} lladdr {MAC_A} dev p0 nud permanent", f"neigh replace {IP_B} lladdr {MAC_B} dev p1 nud permanent")

    def addresses(self, a_sees, b_sees):
        self.ip("a", f"addr add {IP_A}/8 dev h0", f"neigh replace {IP_B} lladdr {a_sees} dev h0 nud permanent")
        self.ip("b", f"addr add {IP_B}/8 dev h1", f"neigh replace {IP_A} lladdr {b_sees} dev h1 nud permanent")

    def direct(self):
        self.add("a", "b")
        self.veth("a", "h0", MAC_A, "b", "h1", MAC_B, 11)
        self.addresses(MAC_B, MAC_A)

    # ---- the floor's programs, and sinks

    def load(self, flows=1 << 16):
        if not os.path.isdir(self.pins):
            os.makedirs(self.pins)
            run([TOOL, "floor", "load", self.pins, str(flows)])

    def attach(self, short, dev, program):
        self.inside(short, TOOL, "floor", "attach", program.split("_")[0], dev, f"{self.pins}/{program}")

    def sinks(self, kind="tc"):
        self.hook = kind
        self.load()
        for short, dev in (("a", "h0"), ("b", "h1")):
            self.attach(short, dev, kind + "_sink")

    def no_sinks(self):
        for short, dev in (("a", "h0"), ("b", "h1")):
            self.inside(short, "tc", "qdisc", "del", "dev", dev, "clsact", check=False)
            self.inside(short, "ip", "link", "set", "dev", dev, "xdpdrv", "off", check=False)

    # ---- processes

    def spawn(self, short, argv, env=None, stdin=None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        where = ["nsenter", f"--net=/run/netns/{self.space(short)}", "--"] if short else []
        p = subprocess.Popen(where + argv, env=env, stdin=stdin, stdout=stdout, stderr=stderr, text=True, preexec_fn=die_with_parent)
        self.processes.append(p)
        return p

    def end(self, p):
        if p.poll() is None:
            p.terminate()
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        if p in self.processes:
            self.processes.remove(p)
        if p.pid in self.daemons:
            self.daemons.remove(p.pid)

    def close(self):
        if self in Lab.alive:
            Lab.alive.remove(self)
        for p in list(self.processes):
            self.end(p)
        for short in self.spaces:
            run(["ip", "netns", "del", self.space(short)], check=False)
        self.spaces = []
        if os.path.isdir(self.pins):
            for name in os.listdir(self.pins):
                path = os.path.join(self.pins, name)
                if not os.path.isdir(path):
                    os.unlink(path)
            os.rmdir(self.pins)

    def pause(self):
        """Between measurements a system that polls gives its processor back."""

    def resume(self):
        pass

    def figures(self, short, dev):
        return json.loads(run(["ip", "-n", self.space(short), "-s", "-j", "link", "show", "dev", dev]))[0]["stats64"]

    # ---- packets

    def send(self, *more, flows=1, first=0, count=0, ms=400, backwards=False, tcp=None, size=60, smac=None, batch=None, tool="source"):
        here, dev, dmac = ("b", "h1", MAC_P1 if self.dmac == MAC_P0 else MAC_A) if backwards else ("a", "h0", self.dmac)
        argv = ["taskset", "-c", SOURCE_CPU, TOOL, tool, "--dev", dev, "--smac", smac or (MAC_B if backwards else MAC_A), "--dmac", dmac,
                "--saddr", IP_B if backwards else IP_A, "--daddr", self.known_as if backwards else IP_B, "--flows", str(flows), "--first", str(first),
                "--size", str(size), "--meter", ",".join(map(str, self.softirq + self.daemons)), "--sink", f"{self.pins}/arrived"]
        argv += ["--count", str(count)] if count else ["--seconds", str(ms)]
        argv += ["--batch", str(batch)] if batch else []
        argv += ["--backwards"] if backwards else []
        argv += ["--vxlan", self.outer] if self.outer else []
        if tcp:
            argv += ["--tcp", str(tcp[0]), "--seq", str(tcp[1]), "--ack", str(tcp[2])]
        out = json.loads(self.inside(here, *argv, *more))
        sent, there = max(out["sent"], 1), max(out["arrived"], 1)
        if self.polls:  # it is as busy while the kernel sets a test run up, which is no part of the measurement
            out["other_ns"] *= min(out["seconds"] / max(out["metered_s"], 1e-9), 1)
        out["us"] = (out["own_ns"] + out["other_ns"]) / 1e3 / there
        out["us_kept"] = out["own_ns"] / 1e3 / sent + out["other_ns"] / 1e3 / there  # as if sending what was dropped had cost nothing
        out["kpps"] = out["arrived"] / max(out["seconds"], 1e-9) / 1e3
        return out

    def source(self, *more, **how):
        """send(), which fails when packets do not arrive, or not as long as they must be."""
        out = self.send(*more, **how)
        least = 0.99 if not self.polls else 0 if how.get("count") else 0.002
        if out["arrived"] < least * out["sent"]:
            raise Failed(f"{self.name}: {out['arrived']} of {out['sent']} packets arrived")
        right = how.get("size", 60) * out["arrived"]
        long = out["arrived_bytes"] >= right + self.longer * out["arrived"] if self.longer else out["arrived_bytes"] == right
        if not long and not (how.get("tcp") or (0,))[0] & 2:  # routers cut off what pads a SYN
            raise Failed(f"{self.name}: {out['arrived']} packets of {out['arrived_bytes']} bytes arrived")
        return out

    def establish(self, flows=1, tcp=False, first=0):
        """Every flow seen in both directions."""
        where = {"flows": flows, "first": first, "count": flows}
        send = self.send if self.hook == "xdp" else self.source  # XDP sinks do not see what tc forwards to a container
        if tcp:
            send(**where, tcp=(0x02, 1000, 0))
            send(**where, tcp=(0x12, 5000, 1001), backwards=True)
            send(**where, tcp=(0x10, 1001, 5001))
        else:
            send(**where)
            send(**where, backwards=True)

    # ---- whether the system does what its row says

    def seen(self):
        """{what the system itself counts: (how much it is now, what one packet adds to it)}."""
        return {}

    def prove(self, n=1000):
        """Packets of an established flow must be counted by everything that they are said to pass. Not before a measurement: it may change the system."""
        self.send(first=PROOF, count=10)  # where a flow's first packets go another way, the sink does not see them
        if not self.longer and not self.outer:
            self.send(first=PROOF, count=10, backwards=True)
        before = self.seen()
        self.source(first=PROOF, count=n)
        for what, (now, times) in self.seen().items():
            if now - before[what][0] != n * times:
                raise Failed(f"{self.name}: {what} grew by {now - before[what][0]}, not by {n * times}")
        if self.translated and self.sender() != IP_NAT:
            raise Failed(f"{self.name}: packets come from {self.sender()}, which is not translated")

    LISTEN = "import socket; s = socket.socket(17, 3); s.bind(('h1', 3)); print(flush=True); print(s.recv(64)[26:30].hex(), flush=True)"

    def sender(self):
        """Whose address a frame bears that b receives."""
        if self.hook == "xdp":
            self.inside("b", "ip", "link", "set", "dev", "h1", "xdpdrv", "off")
            self.attach("b", "h1", "xdp_pass")
        p = self.spawn("b", ["/usr/bin/python3", "-c", self.LISTEN], stdout=subprocess.PIPE)
        p.stdout.readline()
        self.send(first=PROOF, count=10)
        try:
            return str(ipaddress.IPv4Address(bytes.fromhex(p.communicate(timeout=5)[0].strip())))
        except subprocess.TimeoutExpired as e:
            raise Failed(f"{self.name}: no frame") from e
        finally:
            self.end(p)


def wait_for(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"timed out waiting for {what}")
        time.sleep(0.02)
