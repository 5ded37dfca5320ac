# SPDX-License-Identifier: Apache-2.0
"""The rows of the table, part by part. Each part builds its systems, measures them in turns, and adds rows to the report."""

import json
import os
import statistics
import subprocess
import tempfile
import time

from lab import IP_B, OTHER_CPU, SOURCE_CPU, STREAM, TOOL, Failed, wait_for
from rows import Group, log, ratio_of, us, us_both, us_of
from systems import (Bridge, BridgeChain, BridgeVxlan, Conntrack, Demarc, DemarcAll, DemarcChain, DemarcNat, DemarcNative, DemarcNic, DemarcNicNat, DemarcNicOut, DemarcNicTunnel, DemarcOne,
                     DemarcOpen, DemarcTunnel, DemarcUplink, Direct, Floor, FloorChain, FloorOut, Nft, NftNat, OVS_CT, Ovs, OvsChain, TapBridge, TapDemarc, TapFloor, TapSourceBridge, TapSourceDemarc,
                     TapSourceFloor, ovs_best)

DATA = (0x18, 1001, 5001)  # a segment of a connection that establish(tcp=True) made


class Bench:
    """How much to measure."""

    def __init__(self, report, quick):
        self.report = report
        self.quick = quick
        self.rounds = 2 if quick else 5
        self.ms = 200 if quick else 400
        self._ovs = False

    def ovs(self):
        if self._ovs is False:
            self._ovs = ovs_best()
            log(f"  Open vSwitch's best port type here: {self._ovs}")
        if not self._ovs:
            raise Failed("Open vSwitch forwards on no port type here")
        return self._ovs


def prepared(flows=1, tcp=False):
    def prepare(_, lab):
        lab.sinks()
        lab.establish(flows, tcp)
    return prepare


def tc_floor(name):
    return Floor(name, "tc_flow")


def tc_floor_peer(name):
    return Floor(name, "tc_flow_peer")


# ---- one established flow

def established(b):
    for tcp in (False, True):
        proto = "TCP" if tcp else "UDP"
        makers = {"direct": Direct, "redirect": tc_floor, "floor": tc_floor_peer, "nft": Nft, "bridge": Bridge,
                  "ovs": lambda name: Ovs(name, b.ovs(), OVS_CT), "demarc": lambda name: Demarc(name, acl=10000)}
        with Group(makers) as g:
            g.each(prepared(1, tcp))
            raw = us_of(g.proven(g.rounds(b.rounds, us_both(ms=b.ms, tcp=DATA if tcp else None))), "ovs")
        what = f"established {proto} flow, tc: anti-spoof, stateful group, ACL of 10,000 rules, analytics"
        kind = proto.lower()
        b.report.ratio(f"established-{kind}-floor", what, raw, "demarc", "floor", 1.25, title="floor (lookup, count, redirect_peer)")
        b.report.ratio(f"established-{kind}-redirect", what, raw, "demarc", "redirect", 1.25, title="floor (lookup, count, redirect)")
        b.report.ratio(f"established-{kind}-nft", what, raw, "demarc", "nft", 0.7, title="nftables, stateful, 10 rules")
        b.report.ratio(f"established-{kind}-ovs", what, raw, "demarc", "ovs", 0.3, title=f"OVS, conntrack, {b.ovs()}, sending what it dropped counted")
        b.report.ratio(f"established-{kind}-ovs-kept", what, raw, "demarc", "ovs-kept", None,
                       title=f"OVS, conntrack, {b.ovs()}, sending what it dropped not counted")


def nat(b):
    """The source is translated."""
    for tcp in (False, True):
        kind = "tcp" if tcp else "udp"
        makers = {"floor": lambda name: Floor(name, "tc_nat_peer"), "nft": NftNat, "plain": Demarc, "demarc": DemarcNat}
        with Group(makers) as g:
            g.each(prepared(1, tcp))
            raw = g.proven(g.rounds(b.rounds, us(ms=b.ms, tcp=DATA if tcp else None)))
        what = f"established {kind.upper()} flow, tc: source translated, anti-spoof, stateful group, analytics"
        b.report.ratio(f"nat-{kind}-floor", what, raw, "demarc", "floor", 1.25, title="floor (lookup, count, source and checksums, redirect_peer)")
        b.report.ratio(f"nat-{kind}-nft", what, raw, "demarc", "nft", 0.7, title="nftables, stateful, 10 rules, snat")
        b.report.ratio(f"nat-{kind}-plain", what, raw, "demarc", "plain", 1.3, title="the same without translation")
    makers = {"direct": Direct, "nft": NftNat, "demarc": lambda name: DemarcNat(name, flows=1 << 22)}
    n = 50000 if b.quick else 150000
    Conntrack.room_for(1 << 21)

    def first(_, lab):
        where = {"flows": n, "first": lab.first, "count": n}
        lab.first += n
        return core_us(lab.source(**where))

    with Group(makers) as g:
        g.each(prepared())
        firsts = g.proven(g.rounds(min(b.rounds, 4), first))
    cost = {name: [v - d for v, d in zip(values, firsts["direct"])] for name, values in firsts.items() if name != "direct"}
    b.report.ratio("nat-first", "first packet of a flow with its source translated, the source's own cost taken off", cost, "demarc", "nft", 1,
                   title="nftables, snat")


def xdp(b):
    """From a NIC, whose frames are XDP frames, to a container's port with everything on, and to another NIC."""
    makers = {"direct": Direct, "floor": lambda name: Floor(name, "xdp_flow"), "nft": Nft,
              "container": lambda name: DemarcNic(name, acl=10000), "nic": lambda name: DemarcNic(name, to_nic=True),
              "nat": DemarcNicNat, "vxlan": DemarcNicTunnel, "out": lambda name: DemarcNicOut(name, acl=10000),
              "floor-out": FloorOut}

    def prepare(group, lab):
        if lab.longer or lab.outer:
            one_way(group, lab, "xdp")
            return
        lab.sinks("xdp")
        lab.establish()

    with Group(makers) as g:
        g.each(prepare)
        raw = g.proven(g.rounds(b.rounds, us(ms=b.ms)))
    out = "NIC to container, out of VXLAN, stateful group, ACL of 10,000 rules"
    b.report.ratio("xdp-out-least", f"established flow, XDP: {out}", raw, "out", "floor-out", 1.3, title="XDP floor (strip, lookup, count, redirect)")
    for key, what in (("container", "NIC to container, stateful group, ACL of 10,000 rules"), ("nic", "NIC to NIC"),
                      ("nat", "NIC to NIC, source translated"), ("vxlan", "NIC to NIC, VXLAN"),
                      ("out", out)):
        bound = None if key == "out" else 1.3  # that floor has nothing to strip
        b.report.ratio(f"xdp-{key}-floor", f"established flow, XDP: {what}", raw, key, "floor", bound, title="XDP floor (lookup, count, redirect)")
        b.report.ratio(f"xdp-{key}-nft", f"established flow, XDP: {what}", raw, key, "nft", 0.45, title="nftables, stateful, 10 rules")


# ---- many rules

def rules(b):
    """One system whose list is replaced between measurements, since two differ by more than the bound in where their memory is."""
    sizes = [10, 10000] if b.quick else [10, 100, 1000, 10000]
    makers = {"direct": Direct, "list": lambda name: Nft(name, rules=10000), "set": lambda name: Nft(name, rules=10000, named_set=True),
              "demarc": lambda name: Demarc(name, acl=10, flows=1 << 19),
              "strangers": lambda name: DemarcOpen(name, acl=10, flows=1 << 19)}  # each packet from another address
    packets, firsts, took = {}, {}, []

    def first(name, lab):
        count = 500 if name == "list" else 10000  # what walks a list is given fewer flows
        where = {"flows": count, "first": lab.first, "count": count}
        lab.first += count
        return core_us(lab.source(*(["--spoof"] if name == "strangers" else []), **where))

    def each_size(name, lab):
        sizes.reverse()
        for size in sizes:
            began = time.monotonic()
            lab.say(f"acl 1 rules={size}")
            took.append((size, time.monotonic() - began))
            time.sleep(0.3)  # the kernel frees the old list's memory, and would do so in the source's context
            lab.source(flows=1, count=100)
            key = f"acl {size}" if name == "demarc" else f"{name} {size}"
            packets.setdefault(key, []).append(lab.source(ms=1000)["us"])  # one turn of aging in each
            firsts.setdefault(key, []).append(first(name, lab))

    with Group(makers) as g:
        g.each(prepared())
        for _ in range(b.rounds):
            g.each(each_size, only=("demarc", "strangers"))
            g.each(lambda name, lab: firsts.setdefault(name, []).append(first(name, lab)), only=("direct", "list", "set"))
        g.proven({})
    for failed in g.failed:
        for key in [key for key in firsts if key == failed or key.split()[0] == {"demarc": "acl"}.get(failed, failed)]:
            firsts.pop(key)
            packets.pop(key, None)
    cost = {key: [v - d for v, d in zip(values, firsts["direct"])] for key, values in firsts.items() if key != "direct"}
    b.report.ratio("rules-established", "ACL of 10,000 rules against 10: established packet", packets, "acl 10000", "acl 10", 1.05, goal="<= 1.05 x")
    b.report.ratio("rules-first", "ACL of 10,000 rules against 10: first packet of a flow, the source's own cost taken off", cost, "acl 10000", "acl 10", 2,
                   goal="<= 2 x")
    b.report.ratio("rules-strangers", "the same, each packet from an address that never came before, no groups and no anti-spoofing", cost, "strangers 10000",
                   "strangers 10", None)
    b.report.ratio("rules-first-list", "first packet of a flow at 10,000 rules", cost, "acl 10000", "list", 1, title="nftables, a list of 10,000 rules")
    b.report.ratio("rules-first-set", "first packet of a flow at 10,000 rules", cost, "acl 10000", "set", None, title="nftables, a set of 10,000 elements")
    seconds = [t for size, t in took if size == 10000]
    if seconds:
        log(f"  replacing the list by one of 10,000 rules takes {min(seconds) * 1e3:.0f} ms")


# ---- many flows

def core_us(out):
    """On the core that forwards. Records are aged elsewhere: nftables' by a kernel worker that nobody can meter, ours by the agent."""
    return out["own_ns"] / 1e3 / max(out["sent"], 1)


AGING_S = 32  # with many records they are walked every 15 s (dp_age())


def flows(b):
    sizes = (1, 1000, 100000) if b.quick else (1, 1000, 100000, 1000000)
    most = sizes[-1]
    Conntrack.room_for(1 << 21)
    makers = {"nft": Nft, "demarc": lambda name: Demarc(name, flows=4 * most)}
    raw = {}
    with Group(makers) as g:
        g.each(lambda _, lab: lab.sinks())
        for n in sizes:
            g.each(lambda _, lab, n=n: lab.establish(n))
            turns = g.rounds(min(b.rounds, 3), lambda _, lab, n=n: core_us(lab.source(flows=n, ms=2 * b.ms)))
            raw |= {f"{name} {n}": values for name, values in turns.items()}
        held = {name: lab.connections() for name, lab in g.labs.items()}
        memory = g.labs["demarc"].say("memory") if "demarc" in g.labs else None
        aging = g.labs["demarc"].busy(AGING_S) * 100 if "demarc" in g.labs else 0
        proven = g.proven(held)
        raw = {key: values for key, values in raw.items() if key.split()[0] in proven}
    for name in [name for name, n in held.items() if n < most]:
        raise Failed(f"{name} holds {held[name]} of {most} connections")
    b.report.ratio("flows-growth", f"concurrent flows, {most} against 1, on the core that forwards", raw, f"demarc {most}", "demarc 1", 2,
                   goal="<= 2 x one flow")
    for n in reversed(sizes[1:]):
        b.report.ratio(f"flows-{n}", f"{n} concurrent flows, on the core that forwards", raw, f"demarc {n}", f"nft {n}", 0.6, title="nftables")
    if memory:
        b.report.add("flows-memory", "memory of a flow (tables / records they can hold)", memory["bytes"], "bytes", "<= 256",
                     memory["bytes"] <= 256, raw=memory)
        b.report.add("flows-aging", f"the agent's share of one core with {most} flows: aging, counters, flow events", round(aging, 1), "%", "shown", True)


def new_flows(b):
    n = 50000 if b.quick else 150000
    Conntrack.room_for(1 << 21)
    makers = {"direct": Direct, "floor": lambda name: Floor(name, "tc_flow_peer", flows=1 << 21), "nft": Nft,
              "demarc": lambda name: Demarc(name, flows=1 << 22), "one": lambda name: DemarcOne(name, flows=1 << 22)}
    udp, tcp, raw = {}, {}, {}
    steps = (((0x02, 1000, 0), False), ((0x12, 5000, 1001), True), ((0x10, 1001, 5001), False), (DATA, False),
             ((0x11, 1007, 5001), False), ((0x11, 5001, 1008), True), ((0x10, 1008, 5002), False))

    def fresh(_, lab):
        where = {"flows": n, "first": lab.first, "count": n}
        lab.first += n
        return tuple(core_us(lab.source(**where, backwards=back)) for back in (False, True))

    def connections(_, lab):
        where = {"flows": n, "first": lab.first, "count": n}
        lab.first += n
        return sum(core_us(lab.source(**where, tcp=segment, backwards=back)) for segment, back in steps)

    with Group(makers) as g:
        g.each(prepared())
        udp = g.rounds(min(b.rounds, 4), fresh)
        tcp = g.proven(g.rounds(min(b.rounds, 3), connections))
        udp = {name: values for name, values in udp.items() if name in tcp}
    for name in udp:
        alone = [d[0] for d in udp["direct"]]
        raw[name + " first"] = [v[0] for v in udp[name]]
        raw[name + " reply"] = [v[1] for v in udp[name]]
        if name != "direct":
            raw[name + " rate"] = [1e3 / max(v[0] - d, 0.01) for v, d in zip(udp[name], alone)]
            raw[name + " both"] = [1e3 / max(v[0] + v[1] - 2 * d, 0.01) for v, d in zip(udp[name], alone)]
    for name in tcp:
        if name != "direct":
            raw[name + " tcp"] = [1e3 / max(v - d, 0.01) for v, d in zip(tcp[name], tcp["direct"])]
    kw = {"unit": "k/s", "most": False, "digits": 0}
    b.report.ratio("new-rate", "new flows per second, one core (first packets; the source's own cost taken off)", raw, "demarc rate", "nft rate", 2,
                   title="nftables conntrack", **kw)
    b.report.ratio("new-rate-one", "the same, one stateful group of 10 rules as the peer has, not one at each port", raw, "one rate", "nft rate", None,
                   title="nftables conntrack", **kw)
    b.report.ratio("new-rate-both", "the same, first packet and first reply", raw, "demarc both", "nft both", 1, title="nftables conntrack", **kw)
    b.report.ratio("new-rate-tcp", "whole TCP connections per second, one core (7 segments, SYN to last ACK)", raw, "demarc tcp", "nft tcp", 1,
                   title="nftables conntrack", **kw)
    b.report.ratio("new-first", "first packet of a flow, source included", raw, "demarc first", "nft first", 1, title="nftables conntrack")


# ---- tunnels

def one_way(_, lab, hook="tc"):
    """The far end is not there to answer. What a tunnel carries is longer by its headers; what came out of one is not."""
    lab.sinks(hook)
    out = lab.source(count=100)
    if lab.outer and out["arrived_bytes"] != 60 * out["arrived"]:
        raise Failed(f"{lab.name}: frames of {out['arrived_bytes'] / max(out['arrived'], 1):.0f} bytes did not leave their tunnel")
    if lab.longer and out["arrived_bytes"] < (60 + lab.longer) * out["arrived"]:
        raise Failed(f"{lab.name}: frames of {out['arrived_bytes'] / max(out['arrived'], 1):.0f} bytes are not encapsulated")


def encap(b):
    kinds = {"vxlan": "VXLAN", "vxlan_gpe": "VXLAN-GPE + NSH", "gre": "GRE", "mpls_udp": "MPLSoUDP", "geneve": "Geneve"}
    makers = {"bridge": Bridge, "bridge-vxlan": BridgeVxlan, "uplink": DemarcUplink}
    makers |= {kind: lambda name, kind=kind: DemarcTunnel(name.replace("_", ""), kind) for kind in kinds}
    with Group(makers) as g:
        g.each(one_way)
        raw = g.proven(g.rounds(b.rounds, us(ms=b.ms)))
    extra = {}
    if {"bridge", "bridge-vxlan"} <= raw.keys():
        extra["kernel"] = [v - w for v, w in zip(raw["bridge-vxlan"], raw["bridge"])]
    for kind in kinds:
        if {kind, "uplink"} <= raw.keys():
            extra[kind] = [v - w for v, w in zip(raw[kind], raw["uplink"])]
    for kind, what in kinds.items():
        b.report.ratio(f"encap-{kind}", f"{what} encapsulation: extra CPU per packet over a plain NIC", extra, kind, "kernel", 0.3,
                       title="bridge + VXLAN adds to a bridge")


# ---- sockets: bulk and round trips

def bulk(lab, seconds, here="a", there="b", to=IP_B):
    server = lab.spawn(there, ["taskset", "-c", OTHER_CPU, "iperf3", "-s", "-1", "-p", "5999"])
    wait_for("iperf3", lambda: ":176F" in lab.inside(there, "cat", "/proc/net/tcp", "/proc/net/tcp6"))
    out = lab.inside(here, "taskset", "-c", SOURCE_CPU, "iperf3", "-c", to, "-p", "5999", "-t", str(seconds), "-J")
    lab.end(server)
    end = json.loads(out)["end"]["sum_received"]
    return end["bytes"] * 8 / max(end["seconds"], 1e-9) / 1e9


def plain(_, lab):
    """Host stacks do their own aggregation: without GRO on veth, segments pass whole."""
    for short, dev in (("a", "h0"), ("b", "h1"), ("s", "p0"), ("s", "p1")):
        if short in lab.spaces:
            lab.features(short, dev, "gro", "off")


def tcp_bulk(b):
    makers = {"redirect_peer": lambda name: Floor(name, "tc_peer"), "bridge": Bridge, "demarc": Demarc}
    with Group(makers) as g:
        g.each(plain)
        raw = g.rounds(b.rounds, lambda _, lab: bulk(lab, 1 if b.quick else 1.5))
    best = max(("redirect_peer", "bridge"), key=lambda name: statistics.median(raw.get(name, [0])))
    b.report.ratio("tcp-containers", "TCP bulk, container to container", raw, "demarc", best, 0.95, unit="Gbit/s", most=False, digits=1)


def taps(b):
    makers = {"redirect_peer": lambda name: TapFloor(name, "tc_peer"), "bridge": TapBridge, "demarc": TapDemarc}
    with Group(makers) as g:
        raw = g.rounds(b.rounds, lambda _, lab: bulk(lab, 1 if b.quick else 1.5))
    best = max(("redirect_peer", "bridge"), key=lambda name: statistics.median(raw.get(name, [0])))
    b.report.ratio("tcp-tap", "TCP bulk, virtual machine (tap) to container", raw, "demarc", best, 0.95, unit="Gbit/s", most=False, digits=1)
    makers = {"floor": lambda name: TapSourceFloor(name, "tc_flow_peer"), "bridge": TapSourceBridge, "demarc": TapSourceDemarc}
    with Group(makers) as g:
        raw = g.rounds(b.rounds, lambda _, lab: lab.write())
    b.report.ratio("tap-floor", "virtual machine (tap, one write a frame) to container", raw, "demarc", "floor", 1.25)
    b.report.ratio("tap-bridge", "virtual machine (tap, one write a frame) to container", raw, "demarc", "bridge", 1)


def ping(lab, count):
    p = lab.spawn("b", ["taskset", "-c", SOURCE_CPU, TOOL, "pong", "7100"])
    wait_for("pong", lambda: ":1BBC" in lab.inside("b", "cat", "/proc/net/udp"))
    out = json.loads(lab.inside("a", "taskset", "-c", SOURCE_CPU, TOOL, "ping", IP_B, "7100", str(count)))
    lab.end(p)
    if out["answered"] < count * 0.99:
        raise Failed(f"{lab.name}: {out['answered']} of {count} pings answered")
    return out["p50_us"]


def rtt(b):
    makers = {"direct": Direct, "bridge": Bridge, "redirect": tc_floor, "redirect_peer": tc_floor_peer, "demarc": Demarc}
    awake = subprocess.Popen(["taskset", "-c", SOURCE_CPU, "chrt", "-i", "0", "sh", "-c", "while :; do :; done"])
    try:
        with Group(makers) as g:
            g.each(plain)
            # A single turn is off by 0.2 us and more; what is to be told apart is less than 0.1.
            raw = g.rounds(5 * b.rounds, lambda _, lab: ping(lab, 3000 if b.quick else 8000))
    finally:
        awake.kill()
        awake.wait()
    if not {"direct", "demarc"} <= raw.keys():
        return b.report.missing("rtt", "added round-trip latency, p50", "<= 0.6 us", "no figure")
    added = {name: [v - d for v, d in zip(raw[name], raw["direct"])] for name in raw if name != "direct"}
    value = round(statistics.median(added["demarc"]), 2)
    others = ", ".join(f"{name} adds {statistics.median(v):.2f} us" for name, v in added.items() if name != "demarc")
    b.report.add("rtt", "added round-trip latency, p50, over a direct veth, same CPU", value, "us", "<= 0.6 us", value <= 0.6, others,
                 note=f"direct {statistics.median(raw['direct']):.2f} us", raw=raw)
    # The 0.6 us were asked for on a machine where a bridge adds 0.9 us.
    return b.report.ratio("rtt-bridge", "the same against what a bridge adds", added, "demarc", "bridge", 0.67, goal="<= 0.67 x (0.6 to 0.9 us)",
                          title="bridge adds")


# ---- chains

def native(b):
    makers = {"f1": lambda name: DemarcNative(name, ["firewall"]), "f8": lambda name: DemarcNative(name, ["firewall"] * 8),
              "p1": lambda name: DemarcNative(name, ["policer"]), "p8": lambda name: DemarcNative(name, ["firewall"] * 7 + ["policer"])}
    with Group(makers) as g:
        g.each(prepared())
        raw = g.proven(g.rounds(b.rounds, us(ms=b.ms)))
    b.report.ratio("native", "chain of 8 native functions (firewalls), established packet", raw, "f8", "f1", 1.1, goal="<= 1.1 x a chain of 1")
    b.report.ratio("native-policer", "chain of 8 native functions, one a policer, established packet", raw, "p8", "p1", 1.1,
                   goal="<= 1.1 x a chain of 1 policer")


def batch_for(k):
    """
    How many frames come at once to each system of a row of k containers. After a batch the kernel takes ten times 64 packets off a processor's backlog and leaves the
    rest to ksoftirqd, and each veth that a bridge sends to puts a packet there: 17 times with eight functions. 64 frames at once do not fit into that, and are
    dropped when ksoftirqd gets no processor beside the source. Half of what fits, 64 at most.
    """
    batch = 64
    while batch * (2 * k + 1) > 10 * 64 / 2:
        batch //= 2
    return batch


def beside_floor(raw, bound):
    """Where Open vSwitch's row stands for what does nothing but hand frames on, in the same rounds: nothing at tc is below that."""
    if not {"floor", "ovs"} <= raw.keys():
        return ""
    least = ratio_of(raw, "floor", "ovs")
    return f"bare redirect_peer: {least:g} x" + (", which is above the goal itself" if least > bound else "")


def chains(b):
    for k in ((1, 4) if b.quick else (1, 2, 4, 8)):
        makers = {"bridge": lambda name, k=k: BridgeChain(name, k, filtered=True), "plain": lambda name, k=k: BridgeChain(name, k),
                  "ovs": lambda name, k=k: OvsChain(name, k, b.ovs()), "floor": lambda name, k=k: FloorChain(name, k),
                  "demarc": lambda name, k=k: DemarcChain(name, k)}
        with Group(makers) as g:
            g.each(prepared())
            raw = us_of(g.proven(g.rounds(min(b.rounds, 3), us_both(ms=b.ms, batch=batch_for(k)))), "ovs")
        what = f"chain of {k} container{'s' if k > 1 else ''}, CPU per packet"
        b.report.ratio(f"chain-{k}-floor", what, raw, "demarc", "floor", 1.25, title="bare redirect_peer")
        b.report.ratio(f"chain-{k}-bridge", what, raw, "demarc", "bridge", 0.45, title="Linux bridges as the kernel makes them (br_netfilter on, no rule)")
        b.report.ratio(f"chain-{k}-plain", what, raw, "demarc", "plain", None, title="Linux bridges, br_netfilter off")
        b.report.ratio(f"chain-{k}-floor-ovs", f"chain of {k}, bare redirect_peer: the least that tc can do", raw, "floor", "ovs", None, title="OVS, sending what it dropped counted")
        b.report.ratio(f"chain-{k}-ovs", what, raw, "demarc", "ovs", 0.15, title="OVS, sending what it dropped counted", note=beside_floor(raw, 0.15))
        b.report.ratio(f"chain-{k}-ovs-kept", what, raw, "demarc", "ovs-kept", None, title="OVS, sending what it dropped not counted")


class Stream:
    """A numbered UDP stream from a to b; end() gives what was lost, duplicated and reordered."""

    def __init__(self, lab, rate, seconds, flows=1, send_cpu=SOURCE_CPU):
        self.lab = lab
        self.ready = os.path.join(tempfile.mkdtemp(prefix="dpb-"), "ready")
        self.recv = lab.spawn("b", ["taskset", "-c", OTHER_CPU, STREAM, "recv", "--port", "5201", "--idle-ms", "500", "--ready-file", self.ready],
                              stdout=subprocess.PIPE)
        wait_for("the receiver", lambda: os.path.exists(self.ready))
        self.send = lab.spawn("a", ["taskset", "-c", send_cpu, STREAM, "send", "--to", IP_B, "--port", "5201", "--rate", str(rate),
                                    "--seconds", str(seconds), "--flows", str(flows)], stdout=subprocess.PIPE)

    def end(self):
        sent, got = (json.loads(p.communicate(timeout=60)[0]) for p in (self.send, self.recv))
        for p in (self.send, self.recv):
            self.lab.end(p)
        os.unlink(self.ready)
        os.rmdir(os.path.dirname(self.ready))
        return {"sent": sent["sent"], "lost": sent["sent"] - got["received"] + got["duplicated"], "duplicated": got["duplicated"],
                "reordered": got["reordered"], "pps": sent["pps"]}


def insert(b):
    makers = {"bridge": lambda name: BridgeChain(name, 3, used=2), "ovs": lambda name: OvsChain(name, 3, b.ovs(), used=2),
              "demarc": lambda name: DemarcChain(name, 3, used=2)}
    results = {}

    def one(lab, change):
        before = lab.passed(3)
        stream = Stream(lab, 100000, 2)
        time.sleep(0.7)  # the stream runs
        if change:
            lab.wire(3)
        time.sleep(0.7)
        out = stream.end()
        passed = lab.passed(3) - before
        if change != (passed > out["sent"] / 10):
            raise Failed(f"{lab.name}: {passed} of {out['sent']} packets passed the function that {'was' if change else 'is not'} inserted")
        if change:
            lab.wire(2)
        results.setdefault((lab.name, change), []).append(out)

    with Group(makers) as g:
        g.each(plain)
        for _ in range(1 if b.quick else 3):
            for change in (True, False):
                g.each(lambda _, lab, change=change: one(lab, change))
    lost = {key: [r["lost"] + r["duplicated"] for r in v] for key, v in results.items()}
    peers = ", ".join(f"{name} {lost.get((name, True))} (unchanged: {lost.get((name, False))})" for name in ("bridge", "ovs"))
    ours = lost.get(("demarc", True))
    if not ours:
        return b.report.missing("insert", "insert a hop at 100,000 packets/s: lost", "0", "no figure")
    return b.report.add("insert", "insert a hop at 100,000 packets/s: lost + duplicated, worst round", max(ours), "packets", "0", max(ours) == 0, peers,
                        note=f"each round {ours}, unchanged {lost[('demarc', False)]}; sent {results[('demarc', True)][0]['sent']}",
                        raw={f"{name} {'insert' if change else 'unchanged'}": v for (name, change), v in lost.items()})


# ---- a flood

def flood(b):
    """SYNs from every address as fast as they come, through one NIC, while a stream of 200 established flows comes in by another."""
    makers = {"nft": lambda name: Nft(name, flooded=True), "synproxy": lambda name: Nft(name, flooded="synproxy"), "unlimited": lambda name: Demarc(name, flooded=True),
              "cookies": lambda name: Demarc(name, flooded="cookies"), "xdp": lambda name: Demarc(name, flooded="xdp")}
    results, cost = {}, {}

    def one(name, lab, flooding):
        stream = Stream(lab, 20000, 3, flows=200, send_cpu=OTHER_CPU)
        time.sleep(0.5)  # every flow has had packets
        for when in ("start", "end") if flooding else ():
            out = lab.flood(750)
            cost.setdefault(f"{name} {when}", []).append((out["own_ns"] + out["other_ns"]) / 1e3 / out["sent"])
        results.setdefault((name, flooding), []).append(stream.end())

    Conntrack.room_for(1 << 18)
    with Group(makers) as g:
        g.each(plain)
        for _ in range(1 if b.quick else 3):
            for flooding in (True, False):
                g.each(lambda name, lab, flooding=flooding: one(name, lab, flooding))
    lost = {key: [r["lost"] for r in v] for key, v in results.items()}
    raw = {f"{name} {'flood' if f else 'calm'}": v for (name, f), v in lost.items()}
    for ours, what in (("cookies", "SYN cookies above 1,000 half-open connections"), ("xdp", "SYN cookies, answered by XDP at the NIC"),
                       ("unlimited", "no limit, table full")):
        if not lost.get((ours, True)):
            b.report.missing(f"flood-{ours}", f"SYN flood, {what}: established flows' loss", "0", "no figure")
            continue
        worst = max(lost[(ours, True)])
        b.report.add(f"flood-{ours}", f"SYN flood, {what}: established flows' loss, worst round", worst, "packets", "0", worst == 0,
                     f"nftables {lost.get(('nft', True))}, its synproxy {lost.get(('synproxy', True))}",
                     note=f"each round {lost[(ours, True)]}, without flood {lost.get((ours, False))}", raw=raw)
        bound = 2 if ours == "unlimited" else 1.25  # a full table costs two deletions for each new connection
        b.report.ratio(f"flood-{ours}-bounded", f"SYN flood, {what}: CPU per SYN, second half against first", cost, f"{ours} end", f"{ours} start",
                       bound, goal=f"<= {bound} x")
    for ours, what in (("cookies", "SYN cookies"), ("xdp", "SYN cookies, answered by XDP at the NIC")):
        b.report.ratio(f"flood-{ours}-synproxy", f"SYN flood, {what}: CPU per SYN", cost, f"{ours} end", "synproxy end", 1, title="nftables synproxy")


# ---- everything at once

def everything(b):
    """Anti-spoofing, ACL, stateful groups, a policer, a chain of three native functions, VXLAN to another node, records; against the bare floor."""
    kinds = ["acl", "firewall", "policer"]
    makers = {"floor": tc_floor_peer, "redirect": tc_floor, "local": lambda name: DemarcNative(name, kinds, acl=10000, policer=True),
              "floor chain": lambda _: FloorChain("floorchain", 3), "containers": lambda name: DemarcChain(name, 3, acl=10000, policer=True)}
    with Group(makers) as g:
        g.each(prepared())
        raw = g.proven(g.rounds(b.rounds, us(ms=b.ms)))
    with Group({"redirect": tc_floor, "floor": tc_floor_peer, "demarc": DemarcAll}) as g:
        g.each(one_way)
        away = g.proven(g.rounds(b.rounds, us(ms=b.ms)))
    what = "everything on: anti-spoof, ACL of 10,000 rules, stateful group, policer, chain of 3 native functions, analytics"
    b.report.ratio("everything", what + ", VXLAN to another node", away, "demarc", "redirect", 2, title="floor (lookup, count, redirect)")
    b.report.ratio("everything-peer", what + ", VXLAN to another node", away, "demarc", "floor", 2, title="floor (lookup, count, redirect_peer)")
    b.report.ratio("everything-local", what + ", on one node", raw, "local", "floor", 2, title="floor (lookup, count, redirect_peer)")
    b.report.ratio("everything-containers", "anti-spoof, ACL of 10,000 rules, stateful group, policer, chain of 3 containers, analytics", raw, "containers",
                   "floor chain", 2, title="the same containers, bare redirect_peer between them")


PARTS = {"established": established, "nat": nat, "xdp": xdp, "rules": rules, "flows": flows, "new": new_flows, "tcp": tcp_bulk, "taps": taps, "rtt": rtt,
         "encap": encap, "native": native, "chains": chains, "insert": insert, "flood": flood, "everything": everything}
