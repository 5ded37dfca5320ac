# SPDX-License-Identifier: Apache-2.0
"""Flow records at a collector of Debian's: nfcapd receives, nfdump prints; tshark dissects the same messages."""

import json
import os
import re
import shutil
import signal
import subprocess
import uuid

import pytest

from node_lab import Image, Node, busybox_layer, oci_archive, sh, wait_for

IMAGE = Image(oci_archive([busybox_layer()], cmd=["/bin/sh", "-c", "while :; do nc -l -p 9 >/dev/null; done"]))
PORT = 4739


class Dissector:
    """tshark on the loopback of a namespace, from before the first templates on."""

    def __init__(self, node):
        self.dump = os.path.join(node.dir, f"ipfix{uuid.uuid4().hex[:4]}.pcap")
        self.process = subprocess.Popen(["nsenter", f"--net=/run/netns/{node.ns}", "tshark", "-q", "-i", "lo", "-f", f"udp port {PORT}",
                                         "-w", self.dump], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # The file is opened after the interface.
        wait_for("tshark", lambda: os.path.exists(self.dump) and os.path.getsize(self.dump))

    def records(self):
        """Of every data record, what tshark calls its fields, and what it makes of them."""
        rows, row = [], None
        text = sh("tshark", "-r", self.dump, "-d", f"udp.port=={PORT},cflow", "-V", check=False)
        for line in text.splitlines():
            if re.fullmatch(r"        Flow \d+", line):
                rows.append(row := {})
            elif not line.startswith("         "):
                row = None
            elif row is not None:
                name, _, value = line.strip().rpartition(" = ")[2].partition(": ")
                row[name] = value
        return rows

    def close(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


class Collector:
    """nfcapd in the node's namespace, on an address of its loopback."""

    def __init__(self, node, address):
        self.dir = os.path.join(node.dir, "nfcapd" + uuid.uuid4().hex[:4])
        os.mkdir(self.dir)
        self.log = open(os.path.join(node.dir, "nfcapd.log"), "ab")
        self.process = subprocess.Popen(["nsenter", f"--net=/run/netns/{node.ns}", "nfcapd", "-w", self.dir, "-b", address,
                                         "-p", str(PORT), "-t", "2"], stdout=self.log, stderr=self.log)
        wait_for("nfcapd", lambda: f":{PORT}" in sh("nsenter", f"--net=/run/netns/{node.ns}", "ss", "-Hlun"))

    def flows(self):
        """Rows of every finished file."""
        rows = []
        for name in sorted(os.listdir(self.dir)):
            if name.startswith("nfcapd.2"):
                out = sh("nfdump", "-r", os.path.join(self.dir, name), "-o", "json", check=False)
                rows += [] if "No matching flows" in out else json.loads(out)
        return rows

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()


class Namespace:
    """A loopback alone: in the place of a node, for what sends records of its own."""

    def __init__(self, folder):
        self.dir, self.ns = str(folder), f"dm-ix-{uuid.uuid4().hex[:8]}"
        sh("ip", "netns", "add", self.ns)
        sh("ip", "-n", self.ns, "link", "set", "lo", "up")

    def close(self):
        sh("ip", "netns", "del", self.ns)


def total(rows, field, **wanted):
    return sum(int(r[field]) for r in rows if all(r.get(k) == v for k, v in wanted.items()))


@pytest.fixture(name="site")
def fixture_site(request):
    """Two functions in one network, and a collector."""
    address = request.param
    node = Node()
    host = f"[{address}]" if ":" in address else address
    node.nics = [f"--ipfix={host}:{PORT}", "--ipfix_active=1"]
    collector = Collector(node, address)
    try:
        node.start()
        net, sub = node.network("10.9.0.0/24")
        ids = [str(uuid.uuid4()), str(uuid.uuid4())]
        ports = [node.port(net[1], sub, f"10.9.0.{5 + i}", s) for i, s in enumerate(ids)]
        node.apply(net, *ports, *[node.server(s, IMAGE, [p[1]]) for s, p in zip(ids, ports)])
        node.wait_healthy(*ids)
        for i, sid in enumerate(ids):
            inside = ["nsenter", f"--net={node.dir}/run/netns/{sid}"]
            sh(*inside, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0")
            sh(*inside, "ip", "addr", "add", f"fd09::{5 + i}/64", "dev", "eth0", "nodad")
        yield node, collector, ids, ports
    finally:
        collector.close()
        node.close()


@pytest.mark.skipif(not shutil.which("nfcapd"), reason="needs nfdump")
@pytest.mark.parametrize("site", ["127.0.0.1", "::1"], indirect=True)
def test_a_collector_reads_the_flows(site):
    # COVERS(V4 | V6, F_IPFIX)
    node, collector, ids, ports = site
    names = {5: "10.9.0.5", 6: "10.9.0.6"}
    node.inside(ids[0], "/bin/ping", "-c", "5", "-i", "0.3", "-s", "100", names[6])
    node.inside(ids[0], "/bin/ping", "-c", "4", "-i", "0.3", "-s", "200", "fd09::6")
    node.inside(ids[0], "/bin/sh", "-c", f"echo hello | nc -w 1 {names[6]} 9", check=False)

    def arrived():
        rows = collector.flows()
        return rows if total(rows, "in_packets", src4_addr=names[6], proto=1) >= 5 and \
            total(rows, "in_packets", src6_addr="fd09::6", proto=58) >= 4 and \
            total(rows, "in_packets", src4_addr=names[6], proto=6) >= 3 else None
    rows = wait_for("the flows at the collector", arrived)
    for src, dst in ((5, 6), (6, 5)):
        v4 = {"src4_addr": names[src], "dst4_addr": names[dst]}
        assert total(rows, "in_packets", proto=1, **v4) == 5
        assert total(rows, "in_bytes", proto=1, **v4) == 5 * (20 + 8 + 100)
        v6 = {"src6_addr": f"fd09::{src}", "dst6_addr": f"fd09::{dst}"}
        echo = [r for r in rows if r["proto"] == 58 and all(r.get(k) == v for k, v in v6.items())]
        assert total(echo, "in_packets") == 4
        assert total(echo, "in_bytes") == 4 * (40 + 8 + 200)
    syn = [r for r in rows if r["proto"] == 6 and r.get("dst4_addr") == names[6] and r["dst_port"] == 9]
    assert syn and all("S" in r["tcp_flags"] for r in syn)
    places = json.loads(sh("ip", "-n", node.ns, "-j", "link"))
    host = {l["ifindex"] for l in places}
    assert all(r["input_snmp"] in host and r["output_snmp"] in host for r in rows)
    listening = sh("nsenter", f"--net=/run/netns/{node.ns}", "ss", "-Hltunp")
    assert "node-drive" not in listening, "the exporter listens on nothing"


@pytest.mark.skipif(not shutil.which("nfcapd"), reason="needs nfdump")
@pytest.mark.parametrize("site", ["127.0.0.1"], indirect=True)
def test_denied_flows_say_so(site):
    # COVERS(V4, F_IPFIX)
    node, collector, ids, ports = site
    group = str(uuid.uuid4())
    node.apply(("security_group", group, {"rules": []}))
    node.change("port", ports[1][1], port_security=True, security_group_ids=[group])
    ping = ["/bin/ping", "-c", "3", "-i", "0.2", "-W", "1", "10.9.0.6"]
    wait_for("the group", lambda: "100% packet loss" in node.inside(ids[0], *ping, check=False))
    denied = {"src4_addr": "10.9.0.5", "dst4_addr": "10.9.0.6", "proto": 1, "output_snmp": 0}
    rows = wait_for("denied flows", lambda: [r for r in collector.flows() if all(r.get(k) == v for k, v in denied.items())])
    assert total(rows, "in_packets") >= 1


@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
@pytest.mark.parametrize("site", ["127.0.0.1"], indirect=True)
def test_why_packets_are_dropped(site):
    # COVERS(V4 | V6, F_IPFIX)
    node, _, ids, ports = site
    shark = Dissector(node)
    try:
        node.kill(signal.SIGTERM)  # a new agent sends its templates first
        node.forget()
        node.start()
        node.wait_healthy(*ids)
        group = str(uuid.uuid4())
        node.apply(("security_group", group, {"rules": []}))
        (fixed,) = ports[1][2]["fixed_ips"]
        node.change("port", ports[1][1], port_security=True, security_group_ids=[group],
                    fixed_ips=[fixed, {**fixed, "ip": "fd09::6", "prefix_len": 64}])
        ping = ["/bin/ping", "-c", "3", "-i", "0.2", "-W", "1"]
        wait_for("the group", lambda: "100% packet loss" in node.inside(ids[0], *ping, "10.9.0.6", check=False))
        denied = {"Firewall Event": "Flow denied (3)", "ForwardingStatusDropCode": "Drop ACL Deny (1)"}

        def told():
            node.inside(ids[0], *ping, "10.9.0.6", check=False)
            node.inside(ids[0], *ping, "fd09::6", check=False)
            rows = [r for r in shark.records() if r.items() >= denied.items()]
            return {f for f in ("10.9.0.6", "fd09::6") if any(r.get("DstAddr") == f for r in rows)} == {"10.9.0.6", "fd09::6"} and rows
        rows = wait_for("denied flows of both families", told, 60)
        assert all("Flow End Reason" in r and int(r["Dropped Packets"]) > 0 and "OutputInt" not in r for r in rows)
        # What is forged has no record: its reason and count are told all the same.
        node.change("port", ports[0][1], port_security=True, security_group_ids=[group])
        sh("nsenter", f"--net={node.dir}/run/netns/{ids[0]}", "ip", "addr", "add", "10.9.0.99/24", "dev", "eth0")

        def counted():
            node.inside(ids[0], *ping, "-I", "10.9.0.99", "10.9.0.6", check=False)
            by_reason = {r["Selector Name"]: r for r in shark.records() if "Selector Name" in r}
            forged = [r for name, r in by_reason.items() if name.startswith("spoof_")]
            return forged and (by_reason, forged)
        by_reason, forged = wait_for("drop counters", counted, 60)
        assert int(by_reason["sg_ingress"]["Dropped Total Packets"]) >= 6
        assert by_reason["sg_ingress"]["ForwardingStatusDropCode"] == "Drop ACL Deny (1)"
        assert all(r["ForwardingStatusDropCode"] == "Drop RPF (12)" and int(r["Dropped Total Packets"]) > 0 for r in forged)
        process = wait_for("the agent's figures", lambda: {r["FlowExporter"] for r in shark.records() if "FlowExporter" in r})
        assert len(process) == 1
    finally:
        shark.close()


@pytest.mark.skipif(not shutil.which("nfcapd") or not shutil.which("tshark"), reason="needs nfdump and tshark")
def test_every_kind_of_record_is_read(build, tmp_path):
    # COVERS(V4 | V6, F_IPFIX)
    # By programs that are not ours: also the events of translations, and ends that flows seldom have.
    here = Namespace(tmp_path)
    collector = shark = None
    try:
        collector, shark = Collector(here, "127.0.0.1"), Dissector(here)
        sh("nsenter", f"--net=/run/netns/{here.ns}", os.path.join(build, "tests/e2e/ipfix-events"), str(PORT))
        events = wait_for("nfdump's events", lambda: [r for r in collector.flows() if "nat_event" in r])
        rows = wait_for("tshark's records", lambda: r if len(r := shark.records()) >= 19 else None)
    finally:
        for part in (collector, shark, here):
            if part:
                part.close()
    assert [(e["nat_event_id"], e["nat_event"]) for e in events] == [
        ("4", "NAT44 session create"), ("5", "NAT44 session delete"),
        ("1", "NAT translation create"), ("2", "NAT translation delete")]
    for e in events:
        assert (e["src_port"], e["dst_port"], e["src_xlt_port"], e["dst_xlt_port"], e["proto"]) == (1234, 443, "40000", "443", 6)
        assert e["t_event"].startswith("20")
    assert {(e["src4_addr"], e["src4_xlt_ip"], e["dst4_xlt_ip"]) for e in events[:2]} == {("10.0.0.5", "198.51.100.1", "192.0.2.9")}
    assert {(e["src6_addr"], e["dst6_addr"]) for e in events[2:]} == {("fd00::5", "2001:db8::9")}
    nat = [r for r in rows if "Nat Event" in r]
    assert [r["Nat Event"].rpartition(" ")[2] for r in nat] == ["(4)", "(5)", "(1)", "(2)"]
    assert [r["Post NAT Source IPv6 Address"] for r in nat[2:]] == ["2001:db8:1::1"] * 2
    for src in ("10.0.0.5", "fd00::5"):
        flows = [r for r in rows if r.get("SrcAddr") == src and "Flow End Reason" in r]
        ends = ["Idle timeout (1)", "Active timeout (2)", "End of Flow detected (3)", "Forced end (4)", "Lack of resources (5)"]
        assert [r["Flow End Reason"] for r in flows] == [*ends, ends[3], ends[1]]
        assert [r["ForwardingStatus"] for r in flows] == ["Forward (1)"] * 5 + ["Drop (2)"] * 2
        assert [r["ForwardingStatusDropCode"] for r in flows[5:]] == ["Drop ACL Deny (1)", "Drop Policer (10)"]
        assert [r.get("Firewall Event") for r in flows] == [None] * 5 + ["Flow denied (3)"] * 2
        assert [(r["Dropped Packets"], r["Dropped Octets"]) for r in flows[5:]] == [("10", "1129"), ("10", "1138")]
    assert (rows[-1]["Selector Name"], rows[-1]["ForwardingStatusDropCode"], rows[-1]["Dropped Total Packets"]) == \
        ("spoof_ipv4", "Drop RPF (12)", "12345678901")


@pytest.mark.skipif(not shutil.which("nfcapd"), reason="needs nfdump")
@pytest.mark.parametrize("site", ["127.0.0.1"], indirect=True)
def test_a_new_agent_reports_nothing_twice(site):
    node, collector, ids, _ = site

    def carried(octets):
        """Packets of this size from the first function, of all that was reported."""
        return sum(int(r["in_packets"]) for r in collector.flows()
                   if r.get("src4_addr") == "10.9.0.5" and r["proto"] == 1 and int(r["in_bytes"]) == octets * int(r["in_packets"]))
    with subprocess.Popen(["runc", "--root", f"{node.dir}/run/runc", "exec", ids[0], "/bin/ping", "-c", "40", "-i", "0.2",
                           "10.9.0.6"], stdout=subprocess.DEVNULL) as ping:
        wait_for("a report of the first agent", lambda: carried(84) >= 5)
        node.kill()
        node.forget()
        node.start()
        ping.wait(30)
    node.wait_healthy(*ids)
    before = carried(84)
    node.inside(ids[0], "/bin/ping", "-c", "2", "-i", "0.1", "-s", "300", "10.9.0.6")
    wait_for("a later flow", lambda: carried(328) == 2)
    assert 5 <= before <= carried(84) <= 40


@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
@pytest.mark.parametrize("site", ["127.0.0.1"], indirect=True)
def test_tshark_finds_nothing_wrong(site):
    # COVERS(V4, F_IPFIX)
    node, _, ids, ports = site
    dump = os.path.join(node.dir, "ipfix.pcap")
    with subprocess.Popen(["nsenter", f"--net=/run/netns/{node.ns}", "tshark", "-q", "-i", "lo", "-f", f"udp port {PORT}",
                           "-w", dump, "-a", "duration:25", "-c", "8"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as shark:
        wait_for("tshark", lambda: "Capturing" in shark.stderr.readline())
        node.kill(signal.SIGTERM)  # a new agent sends its templates first
        node.forget()
        node.start()
        node.wait_healthy(*ids)
        for n in range(8):
            node.inside(ids[0], "/bin/ping", "-c", "2", "-i", "1", "10.9.0.6")
            if shark.poll() is not None:
                break
        shark.wait(40)
    fields = ["cflow.version", "cflow.template_id", "cflow.srcaddr", "cflow.packets", "_ws.malformed", "_ws.expert.message"]
    out = sh("tshark", "-r", dump, "-d", f"udp.port=={PORT},cflow", "-T", "fields", *[a for f in fields for a in ("-e", f)])
    lines = [line.split("\t") for line in out.splitlines()]
    assert lines and all(l[0] == "10" for l in lines)
    assert any("10.9.0.5" in l[2] for l in lines)
    assert not any(l[4] for l in lines), out
    text = sh("tshark", "-r", dump, "-d", f"udp.port=={PORT},cflow", "-V")
    assert ports[0][1] in text, "the interface's description is the port"
    for what in ("Malformed", "No template found", "not enough bytes", "Unknown Field"):
        assert what not in text
