# SPDX-License-Identifier: Apache-2.0
"""What a node says of its live flows and of packets that end, asked as the hub asks it."""

import struct
import uuid

import pytest

from node_lab import Image, Node, busybox_layer, oci_archive, wait_for

IMAGE = Image(oci_archive([busybox_layer()], cmd=["/bin/sh", "-c", "while :; do nc -l -p 80 >/dev/null; done"]))


@pytest.fixture(name="site")
def fixture_site():
    node = Node()
    try:
        node.start()
        net, sub = node.network("10.8.0.0/24")
        ids = [str(uuid.uuid4()), str(uuid.uuid4())]
        ports = [node.port(net[1], sub, f"10.8.0.{5 + i}", s) for i, s in enumerate(ids)]
        node.apply(net, *ports, *[node.server(s, IMAGE, [p[1]]) for s, p in zip(ids, ports)])
        node.wait_healthy(*ids)
        yield node, ids, [p[1] for p in ports]
    finally:
        node.close()


def ask(node, **call):
    answer = node.call(**call)
    assert not answer["error"], answer
    return next(answer[k] for k in ("flows", "volumes", "watch") if k in answer)


def refused(node, **call):
    answer = node.call(**call)
    assert answer["error"]
    return answer


def number(v):
    return int(v or 0)


def test_live_flows(site):
    node, ids, ports = site
    node.inside(ids[0], "/bin/ping", "-c", "3", "-i", "0.2", "10.8.0.6")
    node.inside(ids[0], "/bin/sh", "-c", "echo hello | nc -w 1 10.8.0.6 80", check=False)
    got = ask(node, flows={"filter": {"protocol": 1}})
    assert len(got["flows"]) == 2 and number(got["totals"]["matched"]) == 2
    there = next(f for f in got["flows"] if f["source"] == "10.8.0.5")
    assert there["destination"] == "10.8.0.6" and there["in_port_id"] == ports[0] and there["out_port_id"] == ports[1]
    assert there["state"] == "ICMP" and number(there["packets"]) == 3 and number(there["bytes"]) == 3 * (14 + 84)
    assert there["initiator"] and number(there["age_ms"]) >= number(there["idle_ms"])
    tcp = ask(node, flows={"filter": {"port": 80, "port_id": ports[1]}, "sort": "packets"})
    assert len(tcp["flows"]) == 2 and all(number(f["tcp_flags"]) & 2 for f in tcp["flows"])
    assert any(number(f["rtt_us"]) for f in tcp["flows"]), "the handshake was timed"
    assert len(ask(node, flows={"limit": 1})["flows"]) == 1
    for filters, n in (({"address": "10.8.0.6"}, 4), ({"source": "10.8.0.0/24", "protocol": 6}, 2), ({"family": 6, "address": "fd00::/8"}, 0),
                       ({"destination": "10.8.0.9"}, 0), ({"dropped": True}, 0)):
        assert len(ask(node, flows={"filter": filters})["flows"]) == n, filters
    for filters, field in (({"address": "nonsense"}, "address"), ({"state": "NOPE"}, "state"), ({"family": 5}, "4 or 6"),
                           ({"port_id": str(uuid.uuid4())}, "port"), ({"chain_id": "x"}, "chain"), ({"port": 70000}, "range")):
        assert field in refused(node, flows={"filter": filters})["error"]
    assert "newest" in refused(node, flows={"sort": "beauty"})["error"]
    sums = ask(node, volumes={})
    assert {a["name"] for a in sums["applications"]} >= {"icmp", "http"}
    assert {t["name"] for t in sums["talkers"]} >= {"10.8.0.5", "10.8.0.6"}
    assert sum(number(a["bytes"]) for a in sums["applications"]) == number(sums["totals"]["bytes"])


def test_drops_are_watched(site):
    node, ids, ports = site
    group = str(uuid.uuid4())
    node.apply(("security_group", group, {"rules": []}))
    first = ask(node, watch={})
    assert first["packets"] == []
    node.change("port", ports[1], port_security=True, security_group_ids=[group])
    ping = ["/bin/ping", "-c", "2", "-i", "0.2", "-W", "1", "10.8.0.6"]
    wait_for("the group", lambda: "100% packet loss" in node.inside(ids[0], *ping, check=False))

    def echoes():
        got = ask(node, watch={"after": first["last"]})
        return [p for p in got["packets"] if p["reason"] == "sg_ingress"]
    drops = wait_for("drops", echoes)
    assert drops[0]["port_id"] == ports[0] and "security groups" in drops[0]["text"]
    head = bytes.fromhex(drops[0]["head"])
    assert len(head) == 64 and number(drops[0]["size"]) == 98
    assert struct.unpack("!H", head[12:14])[0] == 0x800 and head[30:34] == bytes([10, 8, 0, 6])
    later = ask(node, watch={"after": drops[-1]["seq"]})
    assert all(number(p["seq"]) > number(drops[-1]["seq"]) for p in later["packets"])
    assert "one at a time" in refused(node, watch={"every": 7})["error"]


def test_figures_are_reported(site):
    node, ids, _ = site
    seen = []
    report = node.on_report
    node.on_report = lambda m, r: (seen.append(m), report(m, r))
    node.inside(ids[0], "/bin/ping", "-c", "3", "-i", "0.2", "10.8.0.6")

    def counters():
        for m in reversed(seen):
            if m.get("node"):
                return {c["name"]: number(c["value"]) for c in m["node"]["counters"]}
        return {}
    got = wait_for("the node's figures", lambda: counters() if counters().get("port_tx_packets", 0) >= 6 else None)
    asked = {c["name"]: number(c["value"]) for c in node.call(status={})["status"]["counters"]}
    assert asked["flows_early"] == 0 == got["flows_early"]
    assert asked["flows_made"] >= 1 and asked.keys() >= got.keys(), "the same when the node is asked"
    assert got["flows_made"] >= 1 and got["flow_records_max"] > 1000 and got["flow_records"] >= 2
