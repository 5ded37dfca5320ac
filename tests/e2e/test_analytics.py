# SPDX-License-Identifier: Apache-2.0
"""Live flows, volumes, drops, captures and metrics as the operator asks for them: CLI, hub and node are real."""

import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import threading
import time
import uuid

import pytest

from conftest import wait_for
from node_lab import sh
from real_site import HUB_ADDR, V1, V2, real_site


class Site:
    """Two functions of one network in a site; the second one's port has a group that lets only TCP port 80 in."""

    def __init__(self, site):
        self.site, self.hub = site, site.hub
        image = site.image("peer", ["/bin/sh", "-c", "while :; do nc -l -p 80 >/dev/null; done"])
        net = site.network("inner", "10.7.0.0/24")
        group = self.hub.post(V2 + "/security-groups", {"security_group": {"name": "web"}}, 201).json()["security_group"]["id"]
        self.hub.post(V2 + "/security-group-rules", {"security_group_rule": {
            "security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
            "port_range_min": 80, "port_range_max": 80}}, 201)
        self.ports = [site.port(net, name="client", fixed_ips=[{"ip_address": "10.7.0.5"}]),
                      site.port(net, name="web", fixed_ips=[{"ip_address": "10.7.0.6"}], security_groups=[group])]
        self.servers = [site.server(n, image, [p]) for n, p in zip(("client", "web"), self.ports)]
        for s in self.servers:
            wait_for(lambda s=s: self.verified(s), "the function's port", 60)

    def verified(self, server):
        rows = self.site.bindings(server)["bindings"]
        return rows and all(r["verified"] for r in rows)

    def talk(self):
        self.site.node.inside(self.servers[0], "/bin/sh", "-c", "echo hello | nc -w 1 10.7.0.6 80", check=False)

    def ping(self, n=2):
        self.site.node.inside(self.servers[0], "/bin/ping", "-c", str(n), "-i", "0.2", "-W", "1", "10.7.0.6", check=False)

    def argv(self, *words):
        return [os.path.join(self.site.build, "src/cli/demarc"), *words]

    def demarc(self, *words, code=0):
        done = subprocess.run(self.argv(*words), env=self.hub.env(), capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def json(self, *words):
        return json.loads(self.demarc(*words, "--json"))


@pytest.fixture(name="site", scope="module")
def fixture_site(build, tmp_path_factory):
    with real_site(build, tmp_path_factory.mktemp("analytics")) as site:
        yield Site(site)


def test_flows(site):
    site.talk()
    got = site.json("flows", "cpe-1", "--proto", "tcp", "--port", "80")
    flows = {f["source"]: f for f in got["flows"]}
    assert set(flows) == {"10.7.0.5", "10.7.0.6"} and got["totals"]["matched"] >= 2
    there = flows["10.7.0.5"]
    assert there["in"] == "client (port client)" and there["out"] == "web (port web)" and there["node"] == "cpe-1"
    assert there["destination_port"] == 80 and there["initiator"] and there["packets"] >= 3
    assert any(f["rtt_us"] for f in got["flows"])
    text = site.demarc("flows", "branch", "--dst", "10.7.0.6/32", "--sort", "packets")
    assert "10.7.0.6:80" in text and "flows that match" in text
    assert site.json("flows", "cpe-1", "--interface", "web", "--state", "SYN_SENT")["flows"] == []
    assert "no node and no site" in site.demarc("flows", "nowhere", code=3)
    assert "state" in site.demarc("flows", "cpe-1", "--state", "NOPE", code=2)
    assert "address" in site.demarc("flows", "cpe-1", "--address", "10.7.0/99", code=2)
    assert site.hub.get(f"{V1}/nodes/cpe-1/flows?colour=red").status_code == 400
    assert site.hub.get(f"{V1}/nodes/cpe-1/flows?limit=5000").status_code == 400


def test_top(site):
    site.talk()
    got = site.json("top", "cpe-1")
    assert "http" in {a["name"] for a in got["applications"]}
    assert {"10.7.0.5", "10.7.0.6"} <= {t["name"] for t in got["talkers"]}
    assert "http" in site.demarc("top", "branch")


def test_watch_drops(site):
    with subprocess.Popen(site.argv("watch", "cpe-1", "--drops", "--json", "--count", "2"), env=site.hub.env(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        wait_for(lambda: site.ping() or watch.poll() is not None, "two drops", 40)
        rows = [json.loads(line) for line in watch.stdout.read().splitlines()]
    assert watch.returncode == 0 and len(rows) == 2
    for row in rows:
        assert row["reason"] == "sg_ingress" and row["source"] == "10.7.0.5" and row["protocol_name"] == "icmp"
        assert row["icmp_type"] == 8 and row["port"] == "client (port client)" and "security groups" in row["text"]
    with subprocess.Popen(site.argv("watch", "branch", "--drops"), env=site.hub.env(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as watch:
        wait_for(lambda: site.ping(1) or select_line(watch.stdout), "a line", 40)
        watch.send_signal(signal.SIGINT)
        watch.wait(20)
    assert watch.returncode == 0, "Ctrl-C ends it well"
    assert "--drops" in site.demarc("watch", "cpe-1", code=2)


def select_line(stream):
    import select

    return bool(select.select([stream], [], [], 0)[0]) and "sg_ingress" in stream.readline()


FIELDS = [word for name in ("ip.src", "ip.dst", "tcp.dstport", "_ws.malformed") for word in ("-e", name)]


def read_capture(path):
    return sh("tshark", "-r", path, "-T", "fields", *FIELDS).splitlines()


@contextlib.contextmanager
def capturing(site, *words, **kwargs):
    """`demarc capture`, ended by Ctrl-C unless it has ended; it must end well."""
    with subprocess.Popen(site.argv("capture", *words), env=site.hub.env(), stderr=subprocess.PIPE, **kwargs) as capture:
        try:
            yield capture
        finally:
            if capture.poll() is None:
                capture.send_signal(signal.SIGINT)
            capture.wait(20)
    assert capture.returncode == 0


@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
def test_capture(site, tmp_path):
    path = str(tmp_path / "web.pcapng")
    with capturing(site, "web", "--write", path, "--count", "6", "--json", stdout=subprocess.PIPE, text=True) as capture:
        wait_for(lambda: site.talk() or capture.poll() is not None, "six frames", 40)
        got = json.loads(capture.stdout.read())
    assert got["packets"] == 6 and got["lost"] == 0
    rows = read_capture(path)
    assert len(rows) == 6 and "10.7.0.5\t10.7.0.6\t80\t" in rows and not any("Malformed" in row for row in rows)
    assert "--write" in site.demarc("capture", "web", code=2)
    events = lambda kind: [e["text"] for e in site.hub.get(f"{V1}/events?kind={kind}", 200).json()["events"]]
    assert any(f"capture of port {site.ports[1]}" in text for text in events("stream_opened"))
    wait_for(lambda: any("capture of port" in text and "ended" in text for text in events("stream_closed")), "the end is an event")


@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
def test_capture_is_read_while_it_runs(site):
    """Frames reach a dissector on the other end of a pipe as they come, not when the capture ends."""
    with capturing(site, "web", "-f", "-w", "-", "--proto", "tcp", stdout=subprocess.PIPE) as capture, \
         subprocess.Popen(["tshark", "-l", "-i", "-", "-T", "fields", *FIELDS], stdin=capture.stdout, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as tshark:
        capture.stdout.close()
        rows = []
        reader = threading.Thread(target=lambda: rows.extend(tshark.stdout), daemon=True)

        def talked():
            site.talk()
            return any(row.startswith("10.7.0.5\t10.7.0.6\t80") for row in rows)
        reader.start()
        try:
            wait_for(talked, "a frame at tshark", 40)
            assert capture.poll() is None and tshark.poll() is None
            capture.send_signal(signal.SIGINT)
            assert tshark.wait(20) == 0
        finally:
            tshark.kill()
        reader.join(10)
    assert all(row.strip() == "" or row.split("\t")[3].strip() == "" for row in rows), rows


@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
def test_capture_ends_and_filters(site, tmp_path):
    path = str(tmp_path / "cut.pcapng")
    frame_bytes = lambda: os.path.exists(path) and os.path.getsize(path) > 400
    with capturing(site, "web", "-f", "-w", path, "--proto", "tcp", "--port", "80", "--dst", "10.7.0.6") as capture:
        # Another one at the same time is refused; the one that runs goes on.
        wait_for(lambda: os.path.exists(path) and os.path.getsize(path) > 0, "the header, before any frame", 20)
        assert "one at a time" in site.demarc("capture", "client", "-f", "-w", "/dev/null", code=5)
        wait_for(lambda: site.ping() or site.talk() or frame_bytes(), "frames", 40)
        assert read_capture(path), "a valid file while it is written"
        assert capture.poll() is None
    rows = read_capture(path)
    assert rows and all(row.startswith("10.7.0.5\t10.7.0.6\t80") for row in rows), "neither pings nor answers"
    started = time.monotonic()
    assert "0 packets" in site.demarc("capture", "web", "--seconds", "1", "-w", path, "--address", "192.0.2.1")
    assert 1 <= time.monotonic() - started < 20 and read_capture(path) == []
    # Who reads has gone: the capture ends by itself.
    with subprocess.Popen(site.argv("capture", "web", "-f", "-w", "-"), env=site.hub.env(), stdout=subprocess.PIPE) as capture:
        capture.stdout.read(20)
        capture.stdout.close()
        wait_for(lambda: site.talk() or capture.poll() is not None, "the end", 40)
    assert capture.returncode == 0


def test_capture_counts_what_does_not_fit(site):
    """Nobody reads the stream: what waits is bounded, and what found no room is counted in the capture itself."""
    stream = site.hub.post(f"{V1}/nodes/cpe-1/capture", {"port_id": site.ports[1]}, 201).json()["stream"]["id"]
    flood = ["/bin/ping", "-c", "1500", "-i", "0.002", "-s", "900", "-q", "10.7.0.5"]
    site.site.node.inside(site.servers[1], *flood, check=False)
    data, end = b"", time.monotonic() + 40

    def lost():
        at, total = 0, 0
        while at + 8 <= len(data):
            kind, size = struct.unpack_from("<II", data, at)
            assert 12 <= size <= 2048 and size % 4 == 0
            if kind == 5 and at + size <= len(data):
                total = struct.unpack_from("<Q", data, at + 24)[0]
            at += size
        return total
    while not lost() and time.monotonic() < end:
        data += bytes.fromhex(site.hub.get(f"{V1}/streams/{stream}?wait_ms=500", 200).json()["stream"]["data"])
    assert 0 < lost() <= 3000 and len(data) < 1 << 20
    site.hub.delete(f"{V1}/streams/{stream}", 204)


def line_bytes(ns):
    return json.loads(sh("tc", "-n", ns, "-s", "-j", "qdisc", "show", "dev", "mgmt0"))[0]["bytes"]


def test_streams_that_nobody_reads_on_a_slow_line(site):
    """A capture and seven commands fill their credit on 512 kbit/s with a deep queue: half a minute of data. Nothing else waits behind it."""
    ns, get = site.site.ns["site"], lambda s, ms: site.hub.get(f"{V1}/streams/{s}?wait_ms={ms}", 200).json()["stream"]
    downs = site.site.node.logged().count(" link_down ")
    write = ["/bin/sh", "-c", "i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done"]
    sh("tc", "-n", ns, "qdisc", "add", "dev", "mgmt0", "root", "tbf", "rate", "512kbit", "burst", "4096", "limit", "1000000")
    try:
        capture = site.hub.post(f"{V1}/nodes/cpe-1/capture", {"port_id": site.ports[1]}, 201).json()["stream"]["id"]
        site.site.node.inside(site.servers[1], "/bin/ping", "-c", "400", "-i", "0.002", "-s", "900", "-q", "10.7.0.5", check=False)
        shells = [site.hub.post(f"{V1}/servers/{site.servers[0]}/shell", {"argv": write}, 201).json()["stream"]["id"] for _ in range(7)]
        took, before = [], line_bytes(ns)
        while line_bytes(ns) - before < 1_000_000:
            started = time.monotonic()
            site.hub.get(f"{V1}/nodes/cpe-1/status", 200)
            took.append(time.monotonic() - started)
        print(f"answers of the node beside streams: {len(took)}, median {sorted(took)[len(took) // 2]:.2f} s, longest {max(took):.2f} s")
        assert max(took) < 3
        assert site.site.node.logged().count(" link_down ") == downs
    finally:
        sh("tc", "-n", ns, "qdisc", "del", "dev", "mgmt0", "root")
    # Nothing is lost or out of its order, and the end comes last.
    for s in shells:
        text, last = b"", {"open": True}
        while last["open"]:
            last = get(s, 1000)
            text += bytes.fromhex(last["data"])
        assert (last["exit_status"], text.split()) == (0, [str(i).encode() for i in range(30000)])
    site.hub.delete(f"{V1}/streams/{capture}", 204)


def test_captures_that_are_refused(site):
    path = f"{V1}/nodes/cpe-1/capture"
    member = site.hub.new_user("member")
    assert member.post(path, {"port_id": site.ports[1]}).status_code == 403
    for body, word in (({}, "port_id"), ({"port_id": 7}, "port_id"), ({"port_id": site.ports[1], "colour": "red"}, "colour"),
                       ({"port_id": site.ports[1], "every": -1}, "every"), ({"port_id": site.ports[1], "filter": []}, "filter"),
                       ({"port_id": site.ports[1], "filter": {"state": "NEW"}}, "state"),
                       ({"port_id": site.ports[1], "filter": {"port": 70000}}, "port"),
                       ({"port_id": site.ports[1], "filter": {"protocol": "nonsense"}}, "protocol")):
        answer = site.hub.post(path, body)
        assert answer.status_code == 400 and word in answer.text, answer.text
    assert site.hub.post(path, {"port_id": str(uuid.uuid4())}).status_code == 404
    assert site.hub.get(f"{V1}/nodes/cpe-1/watch?capture={site.ports[1]}").status_code == 400
    stream = site.hub.post(path, {"port_id": site.ports[1], "filter": {"address": "nonsense"}}, 201).json()["stream"]["id"]
    got = wait_for(lambda: [s for s in [site.hub.get(f"{V1}/streams/{stream}?wait_ms=500", 200).json()["stream"]] if not s["open"]], "the node's word", 20)
    assert "address" in got[0]["error"]


def test_metrics(site):
    # COVERS(V4, F_METRICS)
    def sample(name, text):
        found = re.search(rf"^demarc_{name}\{{site=\"branch\",node=\"cpe-1\"[^}}]*\}} (\d+)$", text, re.M)
        return int(found.group(1)) if found else 0

    def text():
        answer = site.hub.get(f"{V1}/metrics", 200)
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.text
    site.talk()
    site.ping()
    wait_for(lambda: sample('port_tx_packets_total', text()) > 3, "figures", 40)
    got = text()
    assert re.search(r'^demarc_flows_early_total\{site="branch",node="cpe-1"[^}]*\} 0$', got, re.M)
    assert sample("node_up", got) == 1 and sample("flows_made_total", got) >= 1 and sample("flow_records_max", got) > 1000
    wait_for(lambda: re.search(r'demarc_drops_total\{[^}]*reason="sg_ingress"\} [1-9]', text()), "drops", 40)
    for line in got.splitlines():
        assert line.startswith("#") or re.fullmatch(r'demarc_[a-z_0-9]+\{([a-z_]+="[^"]*",?)+\} -?\d+', line), line
        assert not (line.startswith("demarc_drops_total") and line.endswith(" 0")), line
    reader = site.hub.new_user("reader")
    assert reader.get(f"{V1}/metrics").status_code == 403
    assert reader.get(f"{V1}/nodes/cpe-1/flows").status_code == 403
    assert site.hub.http.get(site.hub.url + f"{V1}/metrics", verify=site.hub.ca).status_code == 401


def test_the_site_names_its_collectors(site):
    import socket

    put = lambda body: site.hub.put(f"{V1}/sites/branch", {"site": body})
    for wrong in (["nowhere:80"], ["10.0.0.1:0"], [7], ["::1"], [f"10.0.0.{i}" for i in range(5)]):
        answer = put({"ipfix_collectors": wrong})
        assert answer.status_code == 400 and "ollector" in answer.text, answer.text
    assert put({"ipfix_active_s": 0}).status_code == 400
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind((HUB_ADDR, 0))
        collector.settimeout(30)
        where = f"{HUB_ADDR}:{collector.getsockname()[1]}"
        site.demarc("site", "set", "branch", "--ipfix", where, "--ipfix-active", "1")
        assert site.json("site", "show", "branch")["ipfix_collectors"] == [where]
        message = collector.recv(2000)
        assert message[:2] == b"\x00\x0a" and int.from_bytes(message[2:4], "big") == len(message)
        site.talk()
        wanted = bytes([10, 7, 0, 5, 10, 7, 0, 6])
        wait_for(lambda: wanted in collector.recv(2000), "a record of the flow")
        site.demarc("site", "set", "branch", "--ipfix", "")
        assert site.json("site", "show", "branch")["ipfix_collectors"] == []
    listening = site.site.in_ns("site", "ss", "-Hlun")
    assert listening == "", "the exporter listens on nothing"
