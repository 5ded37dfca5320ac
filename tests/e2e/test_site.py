# SPDX-License-Identifier: Apache-2.0
"""Sites, nodes and one-time enrolment; bindings, trace, status, events and health, with a node that the test plays."""

import base64
import json
import os
import re
import socket
import subprocess
import time
import uuid

import pytest
import requests
from conftest import wait_for
from site_lab import V1, V2, enrol, lab_node, new_token
from test_channel import sql


@pytest.fixture
def node(build, shared_hub, tmp_path):
    with lab_node(build, shared_hub, tmp_path / "node") as n:
        yield n


def make_csr(folder):
    key, csr = folder / "k.key", folder / "k.csr"
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=me",
                    "-keyout", str(key), "-out", str(csr)], check=True, capture_output=True)
    return csr.read_text()


def secret_of(token):
    kind, body = token["token"].split(".")
    assert kind == "demarc1"
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def post_enrol(hub, **body):
    return requests.post(hub.url + V1 + "/enrol", json=body, verify=hub.ca, timeout=30)


# ---- sites ----


def test_sites(shared_hub):
    h = shared_hub
    site = h.post(V1 + "/sites", {"site": {"name": "branch-9", "location": "Harbour Road"}}, 201).json()["site"]
    assert (site["name"], site["location"], site["n_nodes"]) == ("branch-9", "Harbour Road", 0)
    assert h.get(V1 + "/sites/branch-9", 200).json()["site"]["id"] == site["id"]
    assert [s["name"] for s in h.get(V1 + "/sites?name=branch-9", 200).json()["sites"]] == ["branch-9"]
    assert h.post(V1 + "/sites", {"site": {"name": "branch-9"}}).status_code == 409
    for bad in ({}, {"name": ""}, {"name": "a:b"}, {"name": "a b"}, {"name": "x" * 64}, {"name": 7}, {"name": "ok", "color": 1}):
        r = h.post(V1 + "/sites", {"site": bad})
        assert r.status_code == 400, r.text
        assert r.json()["error"]["message"]
    h.put(f"{V1}/sites/{site['id']}", {"site": {"description": "d"}}, 200)
    zones = [z["zoneName"] if "zoneName" in z else z["name"]
             for z in h.get(V2 + "/availability_zones", 200).json()["availability_zones"]]
    assert "branch-9" in zones
    user = h.new_user("member")
    assert user.post(V1 + "/sites", {"site": {"name": "mine"}}).status_code == 403
    assert user.get(V1 + "/sites").status_code == 200
    assert user.get(V1 + "/nodes").status_code == 403
    h.delete(V1 + "/sites/branch-9", 204)
    assert h.get(V1 + "/sites/branch-9").status_code == 404


def test_health_is_public(shared_hub):
    r = requests.get(shared_hub.url + V1 + "/health", verify=shared_hub.ca, timeout=10)
    assert r.status_code == 200
    assert (r.json()["status"], r.json()["store"]) == ("ok", "ok")
    assert r.json()["uptime_s"] >= 0 and r.json()["release"]
    assert requests.get(shared_hub.url + V1 + "/sites", verify=shared_hub.ca, timeout=10).status_code == 401


# ---- enrolment ----


def test_enrol(build, shared_hub, tmp_path):
    h = shared_hub
    token = new_token(h)
    parts = secret_of(token)
    assert set(parts) == {"url", "ca_sha256", "secret"}
    listed = h.get(f"{V1}/sites/{token['site_id']}/enrolment_tokens", 200).json()["enrolment_tokens"]
    assert listed[0]["state"] == "open" and "token" not in listed[0]
    done = enrol(build, tmp_path / "a", token["token"], h.url)
    assert done.returncode == 0, done.stdout + done.stderr
    nodes = h.get(f"{V1}/nodes?name={token['node_name']}", 200).json()["nodes"]
    assert len(nodes) == 1
    assert (nodes[0]["state"], nodes[0]["enabled"], nodes[0]["site_id"]) == ("enrolled", True, token["site_id"])
    assert nodes[0]["certificate_expires_at"] and nodes[0]["certificate_serial"]
    listed = h.get(f"{V1}/sites/{token['site_id']}/enrolment_tokens", 200).json()["enrolment_tokens"]
    assert (listed[0]["state"], listed[0]["node_id"]) == ("used", nodes[0]["id"])
    again = enrol(build, tmp_path / "b", token["token"], h.url)
    assert again.returncode != 0
    assert "used already" in again.stdout + again.stderr
    assert h.post(f"{V1}/sites/{token['site_id']}/enrolment_tokens",
                  {"enrolment_token": {"node_name": token["node_name"]}}).status_code == 409
    assert h.delete(f"{V1}/sites/{token['site_id']}").status_code == 409
    h.delete(f"{V1}/nodes/{nodes[0]['id']}", 204)
    h.delete(f"{V1}/sites/{token['site_id']}", 204)


def test_lost_answer_is_not_a_lost_node(shared_hub, tmp_path):
    token = new_token(shared_hub)
    secret, csr = secret_of(token)["secret"], make_csr(tmp_path)
    first = post_enrol(shared_hub, secret=secret, csr=csr, inventory={"hostname": "x"})
    assert first.status_code == 201, first.text
    again = post_enrol(shared_hub, secret=secret, csr=csr)
    assert again.status_code == 201
    assert again.json()["node_id"] == first.json()["node_id"]
    assert "BEGIN CERTIFICATE" in again.json()["certificate"] and "BEGIN CERTIFICATE" in again.json()["ca"]
    assert first.json()["hub_urls"] and first.json()["name"] == token["node_name"]
    other = tmp_path / "other"
    other.mkdir()
    assert post_enrol(shared_hub, secret=secret, csr=make_csr(other)).status_code == 409
    node = shared_hub.get(f"{V1}/nodes/{first.json()['node_id']}", 200).json()["node"]
    assert node["inventory"] == {"hostname": "x"}


def test_wrong_enrolment(shared_hub, tmp_path):
    h, csr = shared_hub, make_csr(tmp_path)
    n_nodes = len(h.get(V1 + "/nodes", 200).json()["nodes"])
    assert post_enrol(h, secret="0" * 64, csr=csr).status_code == 401
    token = new_token(h, expires_in=1)
    secret = secret_of(token)["secret"]
    wait_for(lambda: h.get(f"{V1}/sites/{token['site_id']}/enrolment_tokens", 200).json()[
        "enrolment_tokens"][0]["state"] == "expired", "the token's end")
    r = post_enrol(h, secret=secret, csr=csr)
    assert r.status_code == 410 and "expired" in r.json()["error"]["message"]
    secret = secret_of(new_token(h))["secret"]
    for body in ({}, {"secret": secret}, {"secret": 7, "csr": csr}, {"secret": secret, "csr": ""}, {"secret": secret, "csr": "nonsense"},
                 {"secret": secret, "csr": csr.replace("M", "N")}, {"secret": secret, "csr": csr, "inventory": []}):
        r = post_enrol(h, **body)
        assert r.status_code == 400, (body, r.text)
    assert post_enrol(h, secret=secret, csr="x" * 20000).status_code == 413
    assert post_enrol(h, secret=secret, csr=csr).status_code == 201
    assert len(h.get(V1 + "/nodes", 200).json()["nodes"]) == n_nodes + 1


def test_wrong_tokens(shared_hub):
    h = shared_hub
    site = h.post(V1 + "/sites", {"site": {"name": f"s-{uuid.uuid4().hex[:8]}"}}, 201).json()["site"]
    path = f"{V1}/sites/{site['id']}/enrolment_tokens"
    for bad in ({}, {"node_name": ""}, {"node_name": "a/b"}, {"node_name": "x" * 64}, {"node_name": 7},
                {"node_name": "n", "expires_in": 0}, {"node_name": "n", "expires_in": "1h"}, {"node_name": "n", "x": 1},
                {"node_name": "n", "expires_in": 10**9}):
        r = h.post(path, {"enrolment_token": bad})
        assert r.status_code == 400, (bad, r.text)
        assert r.json()["error"].get("field")
    assert h.post(f"{V1}/sites/{uuid.uuid4()}/enrolment_tokens", {"enrolment_token": {"node_name": "n"}}).status_code == 404
    token = h.post(path, {"enrolment_token": {"node_name": "n"}}, 201).json()["enrolment_token"]
    assert h.new_user("member").post(path, {"enrolment_token": {"node_name": "n"}}).status_code == 403
    h.delete(f"{path}/{token['id']}", 204)
    assert h.delete(f"{path}/{token['id']}").status_code == 404
    assert post_enrol(h, secret=secret_of(token)["secret"], csr="x").status_code == 401


# ---- nodes ----


def test_node_lives(shared_hub, node):
    h = shared_hub
    row = h.get(f"{V1}/nodes/{node.name}", 200).json()["node"]
    assert (row["id"], row["state"], row["release"], row["inventory"]["vcpus"]) == (node.id, "up", "fake", 4)
    agents = h.get(V2 + "/agents?host=" + node.name, 200).json()["agents"]
    assert len(agents) == 1 and agents[0]["alive"] is True
    assert [a["Host"] for a in h.openstack("network", "agent", "list") if a["ID"] == node.id] == [node.name]
    new_name = node.name + "-b"
    assert h.put(f"{V1}/nodes/{node.id}", {"node": {"enabled": False, "name": new_name}}, 200).json()["node"]["enabled"] is False
    assert h.put(f"{V1}/nodes/{node.id}", {"node": {"id": "x"}}).status_code == 400
    h.allow_log("session_refused", "session_closed")
    h.delete(f"{V1}/nodes/{node.id}", 204)
    node.wait("down")
    assert h.get(f"{V1}/nodes/{node.id}").status_code == 404


# ---- bindings ----


@pytest.fixture
def port(shared_hub, node):
    """A port on the node, without a server."""
    h = shared_hub
    net = h.post(V2 + "/networks", {"network": {"name": "n"}}, 201).json()["network"]
    h.post(V2 + "/subnets", {"subnet": {"network_id": net["id"], "cidr": "10.1.0.0/24", "ip_version": 4}}, 201)
    body = {"network_id": net["id"], "name": "p", "binding:host_id": node.name}
    return h.post(V2 + "/ports", {"port": body}, 201).json()["port"]


def binding(hub, port):
    return hub.get(f"{V1}/ports/{port['id']}/binding", 200).json()["binding"]


def port_status(node, port, **changes):
    """What a healthy node reports of the port as its intent has it now."""
    held = wait_for(lambda: node.held().get(("port", port["id"])), "the port in the intent")
    observed = {"name": "eth0", "mac": port["mac_address"], "ifindex": 2, "addresses": ["10.1.0.2/24"],
                "network_id": port["network_id"], "link_up": True}
    return {"id": port["id"], "verified": True, "observed": observed, "version": held["version"], "checked_us": 1, **changes}


def test_binding_is_verified_by_the_node(shared_hub, node, port):
    h = shared_hub
    assert (port["status"], port["binding:vif_type"], port["binding:host_id"]) == ("BUILD", "demarc", node.name)
    before = binding(h, port)
    assert before["verified"] is None and before["wanted"]["addresses"] == ["10.1.0.2/24"]
    node.report(ports=[port_status(node, port)])
    after = binding(h, port)
    assert after["verified"] is True and after["differences"] == [] and after["observed"]["mac"] == port["mac_address"]
    assert (after["port_name"], after["network_name"], after["node_name"]) == ("p", "n", node.name)
    assert h.get(f"{V2}/ports/{port['id']}", 200).json()["port"]["status"] == "ACTIVE"
    different = [{"attribute": "mac", "wanted": port["mac_address"], "found": "02:00:00:00:00:01"}]
    node.report(ports=[port_status(node, port, verified=False, differences=different)])
    assert binding(h, port)["verified"] is False and binding(h, port)["differences"] == different


def test_binding_is_unknown_after_a_change(shared_hub, node, port):
    node.report(ports=[port_status(node, port)])
    assert binding(shared_hub, port)["verified"] is True
    old = port_status(node, port)
    shared_hub.put(f"{V2}/ports/{port['id']}", {"port": {"fixed_ips": [{"ip_address": "10.1.0.9"}]}}, 200)
    assert binding(shared_hub, port)["verified"] is None
    wait_for(lambda: node.held()[("port", port["id"])]["version"] != old["version"], "the new version")
    node.report(ports=[old])
    assert binding(shared_hub, port)["verified"] is None
    node.report(ports=[port_status(node, port)])
    assert binding(shared_hub, port)["verified"] is True


def test_nics_are_shown(build, shared_hub, node):
    def show():
        argv = [os.path.join(build, "src/cli/demarc"), "node", "show", node.name]
        return subprocess.run(argv, env=shared_hub.env(), capture_output=True, text=True, check=True, timeout=60).stdout
    assert "WHY NOT XDP" not in show(), "nothing was reported yet"
    nics = [{"name": "lan", "device": "eth1", "driver": "ice", "hook": "xdp", "features": ["xdp", "xdp-out", "hint-vlan"]},
            {"name": "wan", "device": "eth2", "driver": "r8169", "hook": "tc", "reason": "its driver has no XDP"}]
    node.report(node={"nics": nics})
    got = shared_hub.get(f"{V1}/nodes/{node.name}", 200).json()["node"]["status"]["nics"]
    assert got == [{"reason": "", "features": [], **n} for n in nics]
    assert re.search(r"^NIC +DEVICE +DRIVER +HOOK +FEATURES +WHY NOT XDP$", show(), re.M)
    assert re.search(r"^lan +eth1 +ice +xdp +xdp, xdp-out, hint-vlan +-$", show(), re.M)
    assert re.search(r"^wan +eth2 +r8169 +tc +- +its driver has no XDP$", show(), re.M)
    node.report(node={"nics": nics[:1]})
    assert not re.search("^wan", show(), re.M), "a NIC that is gone is not shown"


def test_report_of_too_much_about_nics(shared_hub, node):
    shared_hub.allow_log("report_dropped")
    node.report(node={"nics": [{"name": "lan"}]})
    before = shared_hub.get(f"{V1}/nodes/{node.name}", 200).json()["node"]["status"]
    for nics in [{"name": "n"}] * 65, [{"name": "n", "reason": "x" * 129}], [{"features": ["x"] * 33}], [{"features": ["x" * 129]}]:
        node.report(node={"nics": nics})
        assert shared_hub.get(f"{V1}/nodes/{node.name}", 200).json()["node"]["status"] == before
    assert re.search(r"report_dropped node=\S+ reason=.*node\.nics: more than 64", shared_hub.log())


def test_report_of_a_foreign_port(shared_hub, node):
    net = shared_hub.post(V2 + "/networks", {"network": {}}, 201).json()["network"]
    other = shared_hub.post(V2 + "/ports", {"port": {"network_id": net["id"]}}, 201).json()["port"]
    node.report(ports=[{"id": other["id"], "verified": True, "observed": {"link_up": True}}, {"id": str(uuid.uuid4())}])
    assert shared_hub.get(f"{V2}/ports/{other['id']}", 200).json()["port"]["status"] == "DOWN"


def test_binding_is_the_owners(shared_hub, port):
    user = shared_hub.new_user("member")
    assert user.get(f"{V1}/ports/{port['id']}/binding").status_code == 404
    assert user.get(f"{V1}/servers/{uuid.uuid4()}/bindings").status_code == 404


# ---- asking the node ----


def trace(hub, node, **packet):
    return hub.post(f"{V1}/nodes/{node.name}/trace", {"trace": packet})


def test_trace(shared_hub, node, port):
    import concurrent.futures

    steps = [{"stage": "ingress", "text": "from the function", "at_port_id": port["id"]},
             {"stage": "deliver", "text": "to nobody", "at_port_id": port["id"], "drop": True}]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(trace, shared_hub, node, port=port["id"], dst_ip="10.1.0.7", protocol="udp", dst_port=53, follow=False)
        call = node.answer("trace", {"trace": {"steps": steps}})
        answer = asked.result(30)
    assert answer.status_code == 200, answer.text
    got = answer.json()["steps"]
    assert [s["stage"] for s in got] == ["ingress", "deliver"]
    assert (got[0]["at"], got[1]["drop"]) == ("port p", True)
    frame = bytes.fromhex(call["frame"])
    assert frame[6:12].hex(":") == port["mac_address"]
    assert frame[12:14] == b"\x08\x00" and frame[23] == 17
    assert (frame[26:30], frame[30:34]) == (bytes([10, 1, 0, 2]), bytes([10, 1, 0, 7]))
    assert frame[36:38] == (53).to_bytes(2, "big")
    assert call["port_id"] == port["id"] and not call.get("follow")


def test_trace_of_other_headers(shared_hub, node, port):
    import concurrent.futures

    def frame(nth, **attrs):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(trace, shared_hub, node, port=port["id"], **attrs)
            call = node.answer("trace", {"trace": {"steps": []}}, nth)
            assert asked.result(30).status_code == 200, asked.result().text
        return bytes.fromhex(call["frame"]), call
    f, call = frame(1, dst_ip="10.1.0.7", protocol="icmp", icmp_type=13, icmp_code=1, dscp=46, vlan=7)
    assert (f[15] >> 2, f[23], f[34], f[35], call["vlan"]) == (46, 1, 13, 1, 7)
    f, _ = frame(2, dst_ip="10.1.0.7", protocol="icmp", icmp_type=0)
    assert (f[34], f[35]) == (0, 0)
    f, _ = frame(3, src_ip="fd00::1", dst_ip="fd00::2", protocol="udp", dscp=10, ipv6_extensions="hopopt,ipv6-frag")
    assert ((f[14] << 8 | f[15]) >> 6 & 63, f[20], f[54], f[62]) == (10, 0, 44, 17)


def test_trace_from_the_ports_own_address(shared_hub, node):
    """Of the destination's family; what the port lacks is asked for by name."""
    import concurrent.futures

    h = shared_hub
    net = h.post(V2 + "/networks", {"network": {}}, 201).json()["network"]
    for version, cidr in (4, "10.5.0.0/24"), (6, "fd00:5::/64"):
        h.post(V2 + "/subnets", {"subnet": {"network_id": net["id"], "cidr": cidr, "ip_version": version}}, 201)
    both = h.post(V2 + "/ports", {"port": {"network_id": net["id"], "binding:host_id": node.name}}, 201).json()["port"]
    own = {":" in i["ip_address"]: i["ip_address"] for i in both["fixed_ips"]}
    assert len(own) == 2
    for nth, (dst, family, at) in enumerate([("10.5.0.99", socket.AF_INET, 26), ("fd00:5::99", socket.AF_INET6, 22)], 1):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(trace, h, node, port=both["id"], dst_ip=dst, protocol="udp")
            frame = bytes.fromhex(node.answer("trace", {"trace": {"steps": []}}, nth)["frame"])
            assert asked.result(30).status_code == 200, asked.result().text
        src = socket.inet_pton(family, own[":" in dst])
        assert frame[at:at + len(src)] == src
    subnet = next(i["subnet_id"] for i in both["fixed_ips"] if ":" not in i["ip_address"])
    body = {"network_id": net["id"], "binding:host_id": node.name, "fixed_ips": [{"subnet_id": subnet}]}
    only4 = h.post(V2 + "/ports", {"port": body}, 201).json()["port"]
    r = trace(h, node, port=only4["id"], dst_ip="fd00:5::99")
    assert r.status_code == 400 and "src_ip" in r.text and "no IPv6 address of its own" in r.text


def test_trace_fault_of_the_node(shared_hub, node, port):
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(trace, shared_hub, node, port=port["id"], dst_ip="10.1.0.7")
        node.answer("trace", {"error": "the port has no interface yet", "fault": "UNAVAILABLE"})
        answer = asked.result(30)
    assert answer.status_code == 503 and "no interface yet" in answer.json()["error"]["message"]


def test_status(shared_hub, node):
    import concurrent.futures

    result = {"status": {"counters": [{"name": "drop spoofed", "value": 7}],
                         "paths": [{"path": 3, "chain_id": "c", "current": True, "flows": 9}]}}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(shared_hub.get, f"{V1}/nodes/{node.name}/status")
        node.answer("status", result)
        answer = asked.result(30)
    assert answer.json()["status"]["counters"] == [{"name": "drop spoofed", "value": 7}]
    assert answer.json()["status"]["paths"][0] == {"path": 3, "chain_id": "c", "current": True, "flows": 9}


def test_wrong_trace(shared_hub, node, port):
    h, good = shared_hub, dict(port=port["id"], dst_ip="10.1.0.7")
    bad = [dict(port=str(uuid.uuid4())), dict(dst_ip="x"), dict(dst_ip="2001:db8::1"), dict(src_ip=7), dict(src_port=70000),
           dict(protocol="bogus"), dict(tcp_flags="Q"), dict(vlan=5000), dict(src_mac="x"), dict(dscp=64), dict(dscp="46"), dict(icmp_type=1),
           dict(icmp_code=0, protocol="udp"), dict(icmp_type=256, protocol="icmp"), dict(icmp_code=-1, protocol="icmp"), dict(ipv6_extensions="hopopt"),
           dict(ipv6_extensions=[0], src_ip="fd00::1", dst_ip="fd00::2"), dict(ipv6_extensions="esp", src_ip="fd00::1", dst_ip="fd00::2"), dict(color=1), dict(dst_port="80")]
    for b in bad:
        r = trace(h, node, **{**good, **b})
        assert r.status_code in (400, 404), (b, r.text)
    assert h.post(f"{V1}/nodes/{node.name}/trace", {}).status_code == 400
    assert trace(h, node, port=port["id"]).status_code == 400
    assert not node.frames("call")
    net = h.post(V2 + "/networks", {"network": {}}, 201).json()["network"]
    elsewhere = h.post(V2 + "/ports", {"port": {"network_id": net["id"]}}, 201).json()["port"]
    assert trace(h, node, port=elsewhere["id"], dst_ip="10.1.0.7", src_ip="10.1.0.1").status_code == 400


def test_node_that_is_away(build, shared_hub, tmp_path):
    token = new_token(shared_hub)
    assert enrol(build, tmp_path / "a", token["token"], shared_hub.url).returncode == 0
    r = shared_hub.get(f"{V1}/nodes/{token['node_name']}/status")
    assert r.status_code == 503, r.text


def test_silent_nodes_hold_a_share_of_the_workers(build, shared_hub, node, tmp_path):
    """Two questions wait for a node, four for all of them; the API answers meanwhile, and those that waited get what they came for."""
    import concurrent.futures

    def status_of(n):
        return shared_hub.get(f"{V1}/nodes/{n.name}/status")

    with (lab_node(build, shared_hub, tmp_path / "b") as second, lab_node(build, shared_hub, tmp_path / "c") as third,
          concurrent.futures.ThreadPoolExecutor(18) as pool):
        asked = []
        for n, waits in ((node, 2), (second, 2), (third, 0)):
            more = [pool.submit(status_of, n) for _ in range(6)]
            wait_for(lambda more=more, waits=waits: sum(f.done() for f in more) == 6 - waits, "all but those that wait are answered")
            for refused in (f.result() for f in more if f.done()):
                assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1"), refused.text
                assert "ask again" in refused.json()["error"]["message"]
            asked += more
        begin = time.monotonic()
        shared_hub.get(V2 + "/networks", 200)
        assert time.monotonic() - begin < 1
        for n in (node, second):
            for count in (1, 2):
                n.answer("status", {"status": {}}, count)
        assert [f.result(30).status_code for f in asked].count(200) == 4


# ---- events ----


def test_events(shared_hub, node, port):
    h = shared_hub
    events = [{"id": str(uuid.uuid4()), "time_us": 1_700_000_000_000_000 + i, "kind": kind, "severity": severity,
               "resource": f"port/{port['id']}", "text": f"event {i}"}
              for i, (kind, severity) in enumerate([("function_died", "error"), ("hop_restored", "info")])]
    node.report(events=events)
    node.report(events=events)
    got = h.get(f"{V1}/events?node={node.name}", 200).json()["events"]
    assert [e["kind"] for e in got] == ["hop_restored", "function_died", "node_enrolled"]
    assert got[0]["node_name"] == node.name and got[0]["time"].startswith("2023-11-14T")
    assert [e["text"] for e in h.get(f"{V1}/events?node={node.id}&severity=error", 200).json()["events"]] == ["event 0"]
    assert [e["kind"] for e in h.get(f"{V1}/events?node={node.id}&since={got[1]['seq']}", 200).json()["events"]] == ["hop_restored"]
    assert h.get(f"{V1}/events?node={node.id}&since=2030-01-01T00:00:00Z", 200).json()["events"] == []
    assert len(h.get(f"{V1}/events?node={node.id}&limit=1", 200).json()["events"]) == 1
    assert h.get(f"{V1}/events?since=yesterday").status_code == 400
    assert h.get(f"{V1}/events?limit=many").status_code == 400
    assert h.new_user("member").get(V1 + "/events", 200).json()["events"] == []


def test_events_are_seen_by_who_owns_what_they_are_about(build, shared_hub, node, tmp_path):
    """The project's own things on the node that says so: nothing that another node says of them, and nothing of another project's."""
    h, member = shared_hub, shared_hub.new_user("member")
    net = member.post(V2 + "/networks", {"network": {"name": "n"}}, 201).json()["network"]
    member.post(V2 + "/subnets", {"subnet": {"network_id": net["id"], "cidr": "10.3.0.0/24", "ip_version": 4}}, 201)
    port = h.post(V2 + "/ports", {"port": {"network_id": net["id"], "project_id": net["project_id"], "binding:host_id": node.name}}, 201).json()["port"]
    chain, server = str(uuid.uuid4()), str(uuid.uuid4())
    sql(h, "INSERT INTO sfc_port_chain (id, project_id, chain_serial, node_id) VALUES (?, ?, 4000000, ?)", chain, net["project_id"], node.id)
    sql(h, "INSERT INTO server (id, name, hostname, project_id, user_id, image_id, flavor, node_id, created_us, updated_us) "
           "VALUES (?, 's', 's', ?, 'u', 'i', '{}', ?, 0, 0)", server, net["project_id"], node.id)
    about = [f"network/{net['id']}", f"port/{port['id']}", f"chain/{chain}", f"server/{server}", server]  # the last: earlier agents

    def say(who, *resources):
        who.report(events=[{"id": str(uuid.uuid4()), "time_us": 1, "kind": "k", "severity": "info", "resource": r, "text": who.id} for r in resources])

    with lab_node(build, h, tmp_path / "other") as other:
        say(other, *about)
        assert member.get(V1 + "/events", 200).json()["events"] == []
        say(node, *about, "", "/", "server/", "nothing/" + server, "server/" + port["id"])
        assert sorted(e["resource"] for e in member.get(V1 + "/events", 200).json()["events"]) == sorted(about)
        assert h.new_user("member").get(V1 + "/events", 200).json()["events"] == []
        assert len(h.get(f"{V1}/events?node={other.id}&kind=k", 200).json()["events"]) == len(about)
    sql(h, "DELETE FROM server WHERE id = ?", server)
    sql(h, "DELETE FROM sfc_port_chain WHERE id = ?", chain)


# ---- a server's vNICs ----


@pytest.fixture
def server(shared_hub, node):
    """A server with two ports on the node, on networks "inner" and "outer"."""
    h = shared_hub
    image = h.post("/image/v2/images", {"name": "f", "disk_format": "raw", "container_format": "docker"}, 201).json()
    h.put(f"/image/v2/images/{image['id']}/file", status=204, data=b"x" * 1024, headers={"Content-Type": "application/octet-stream"})
    ports = []
    for i, name in enumerate(("inner", "outer")):
        net = h.post(V2 + "/networks", {"network": {"name": name}}, 201).json()["network"]
        h.post(V2 + "/subnets", {"subnet": {"network_id": net["id"], "cidr": f"10.{i}.0.0/24", "ip_version": 4}}, 201)
        ports.append(h.post(V2 + "/ports", {"port": {"network_id": net["id"], "name": f"p-{name}"}}, 201).json()["port"])
    flavor = h.get("/compute/v2.1/flavors", 200).json()["flavors"][0]["id"]
    site = h.get(f"{V1}/sites/{node.site_id}", 200).json()["site"]["name"]
    body = {"name": "fw", "imageRef": image["id"], "flavorRef": flavor, "availability_zone": f"{site}:{node.name}",
            "networks": [{"port": p["id"]} for p in ports]}
    made = h.post("/compute/v2.1/servers", {"server": body}, 202).json()["server"]
    wait_for(lambda: node.held().get(("server", made["id"])), "the server in the intent")
    return {"id": made["id"], "ports": ports}


def test_server_bindings(shared_hub, node, server):
    h = shared_hub
    bindings = h.get(f"{V1}/servers/{server['id']}/bindings", 200).json()["bindings"]
    assert [(b["wanted"]["name"], b["port_name"], b["network_name"], b["server_name"], b["verified"]) for b in bindings] == [
        ("eth0", "p-inner", "inner", "fw", None), ("eth1", "p-outer", "outer", "fw", None)]
    port = h.get(f"{V2}/ports/{server['ports'][0]['id']}", 200).json()["port"]
    assert port["device_id"] == server["id"] and port["device_owner"].startswith("compute:")
    assert (port["binding:host_id"], port["status"]) == (node.name, "BUILD")
    node.report(ports=[port_status(node, p) for p in server["ports"]])
    assert [b["verified"] for b in h.get(f"{V1}/servers/{server['id']}/bindings", 200).json()["bindings"]] == [True, True]


def test_rewire_of_a_bound_port_reaches_the_node(shared_hub, node, server):
    h, (inner, outer) = shared_hub, server["ports"]
    h.put(f"{V2}/ports/{inner['id']}", {"port": {"network_id": outer["network_id"]}}, 200)
    held = wait_for(lambda: (o := node.held()[("port", inner["id"])])["port"]["network_id"] == outer["network_id"] and o, "the new network")
    assert held["port"]["mac"] == inner["mac_address"]
    assert held["port"]["fixed_ips"][0]["ip"] == "10.1.0.3"


def test_rule_reaches_the_node(shared_hub, node, server):
    h, port = shared_hub, server["ports"][0]
    group = port["security_groups"][0]
    wait_for(lambda: node.held().get(("security_group", group)), "the group in the intent")
    body = {"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 8081, "port_range_max": 8081}
    rule = h.post(V2 + "/security-group-rules", {"security_group_rule": body}, 201).json()["security_group_rule"]
    wait_for(lambda: [r for r in node.held()[("security_group", group)]["security_group"]["rules"] if r["id"] == rule["id"]], "the rule")
    h.delete(f"{V2}/security-group-rules/{rule['id']}", 204)
    wait_for(lambda: not [r for r in node.held()[("security_group", group)]["security_group"]["rules"] if r["id"] == rule["id"]],
             "the rule to go")


def test_deleted_port_is_detached(shared_hub, node, server):
    h, port = shared_hub, server["ports"][1]
    h.delete(f"{V2}/ports/{port['id']}", 204)
    wait_for(lambda: ("port", port["id"]) not in node.held(), "the port to leave the intent")
    assert len(h.get(f"{V1}/servers/{server['id']}/bindings", 200).json()["bindings"]) == 1


def test_node_with_servers_stays(shared_hub, node, server):
    r = shared_hub.delete(f"{V1}/nodes/{node.id}")
    assert r.status_code == 409 and "server" in r.json()["error"]["message"]
