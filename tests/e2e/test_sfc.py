# SPDX-License-Identifier: Apache-2.0
"""Service function chains: networking-sfc by the unmodified client and by hand, changes and their reports."""

import uuid

import pytest
from conftest import wait_for
from site_lab import V1, V2, lab_node

SFC = V2 + "/sfc"
PLURAL = {"port_pair": "port_pairs", "port_pair_group": "port_pair_groups", "flow_classifier": "flow_classifiers",
          "port_chain": "port_chains"}


def create(session, kind, status=201, **attrs):
    body = session.post(f"{SFC}/{PLURAL[kind]}", {kind: attrs}, status).json()
    return body[kind] if status == 201 else body["NeutronError"]


def update(session, kind, resource, status=200, **attrs):
    body = session.put(f"{SFC}/{PLURAL[kind]}/{resource['id']}", {kind: attrs}, status).json()
    return body[kind] if status == 200 else body["NeutronError"]


def delete(session, kind, resource, status=204):
    r = session.delete(f"{SFC}/{PLURAL[kind]}/{resource['id']}", status)
    return None if status == 204 else r.json()["NeutronError"]


def show(session, kind, resource):
    return session.get(f"{SFC}/{PLURAL[kind]}/{resource['id']}", 200).json()[kind]


class Bench:
    """A network with ports, and functions made of them."""

    def __init__(self, session, node=None):
        self.session, self.node = session, node
        self.network = session.post(V2 + "/networks", {"network": {"name": "n"}}, 201).json()["network"]
        session.post(V2 + "/subnets", {"subnet": {"network_id": self.network["id"], "cidr": "10.0.0.0/16", "ip_version": 4}}, 201)

    def port(self, name="", node=None, **attrs):
        body = {"network_id": self.network["id"], "name": name, **attrs}
        host = node or (self.node and self.node.name)
        if host:
            body["binding:host_id"] = host
        return self.session.post(V2 + "/ports", {"port": body}, 201).json()["port"]["id"]

    def pair(self, name, **kwargs):
        return create(self.session, "port_pair", name=name, ingress=self.port(name + "-in", **kwargs),
                      egress=self.port(name + "-out", **kwargs))

    def group(self, name, n_pairs=1, **attrs):
        pairs = [self.pair(f"{name}{i}")["id"] for i in range(n_pairs)]
        return create(self.session, "port_pair_group", name=name, port_pairs=pairs, **attrs)

    def chain(self, groups, classifiers=(), **attrs):
        return create(self.session, "port_chain", port_pair_groups=[g["id"] for g in groups],
                      flow_classifiers=[c["id"] for c in classifiers], **attrs)


@pytest.fixture
def user(shared_hub):
    return shared_hub.new_user("member")


@pytest.fixture
def bench(user):
    return Bench(user)


# ---- the client ----


def test_client(shared_hub):
    user = shared_hub.new_user("member")
    os = user.openstack
    os("network", "create", "n")
    os("subnet", "create", "s", "--network", "n", "--subnet-range", "10.0.0.0/24")
    for port in ("in1", "out1", "in2", "out2"):
        os("port", "create", port, "--network", "n")
    os("sfc", "port", "pair", "create", "pp1", "--ingress", "in1", "--egress", "out1")
    pair = os("sfc", "port", "pair", "create", "pp2", "--ingress", "in2", "--egress", "out2", "--service-function-parameters",
              "correlation=None,weight=3")
    assert pair["Service Function Parameters"] == {"correlation": None, "weight": 3}
    os("sfc", "port", "pair", "group", "create", "g1", "--port-pair", "pp1")
    os("sfc", "port", "pair", "group", "create", "g2", "--port-pair", "pp2")
    os("sfc", "flow", "classifier", "create", "fc", "--protocol", "tcp", "--source-ip-prefix", "10.0.0.0/24", "--destination-port",
       "80:81", "--logical-source-port", "in1")
    chain = os("sfc", "port", "chain", "create", "c", "--port-pair-group", "g1", "--flow-classifier", "fc", "--chain-parameters",
               "correlation=mpls,symmetric=true")
    assert chain["Chain Parameters"] == {"correlation": "mpls", "symmetric": True}
    os("sfc", "port", "chain", "set", "c", "--port-pair-group", "g2", parse=False)
    assert len(os("sfc", "port", "chain", "show", "c")["Port Pair Groups"]) == 2
    assert [c["Name"] for c in os("sfc", "port", "chain", "list")] == ["c"]
    assert [g["Name"] for g in os("sfc", "port", "pair", "group", "list")] == ["g1", "g2"]
    assert [f["Name"] for f in os("sfc", "flow", "classifier", "list")] == ["fc"]
    assert "in use" in os("sfc", "port", "pair", "delete", "pp1", fails=True)
    assert "in use" in os("sfc", "port", "pair", "group", "delete", "g2", fails=True)
    assert "in use" in os("sfc", "flow", "classifier", "delete", "fc", fails=True)
    assert "Port Pair" in os("port", "delete", "in1", fails=True)
    os("sfc", "port", "chain", "unset", "c", "--port-pair-group", "g2", parse=False)
    os("sfc", "port", "pair", "group", "delete", "g2", parse=False)
    os("sfc", "port", "chain", "delete", "c", parse=False)
    os("sfc", "flow", "classifier", "delete", "fc", parse=False)
    os("sfc", "port", "pair", "group", "delete", "g1", parse=False)
    for pair_name in ("pp1", "pp2"):
        os("sfc", "port", "pair", "delete", pair_name, parse=False)
    os("port", "delete", "in1", "out1", "in2", "out2", parse=False)


# ---- bodies ----


def test_defaults(user, bench):
    pair = bench.pair("p")
    assert pair["service_function_parameters"] == {"correlation": None, "weight": 1}
    assert pair["tenant_id"] == pair["project_id"]
    group = create(user, "port_pair_group", name="g", port_pairs=[pair["id"]])
    assert group["port_pair_group_parameters"] == {
        "lb_fields": [], "ppg_n_tuple_mapping": {"ingress_n_tuple": {}, "egress_n_tuple": {}}}
    assert (group["port_pairs"], group["tap_enabled"], group["demarc:on_failure"]) == ([pair["id"]], False, "drop")
    classifier = create(user, "flow_classifier", name=None, logical_source_port=bench.port())
    assert (classifier["name"], classifier["ethertype"], classifier["protocol"], classifier["l7_parameters"]) == ("", "IPv4", None, {})
    chain = bench.chain([group], [classifier])
    assert chain["chain_parameters"] == {"correlation": "mpls", "symmetric": False}
    assert chain["chain_id"] > 0
    assert (chain["demarc:mode"], chain["demarc:status"]) == ("move", None)
    assert chain["demarc:change_id"]
    delete(user, "port_chain", chain)
    assert show(user, "port_pair_group", group)["port_pairs"] == [pair["id"]]


def test_group_keeps_its_order(user, bench):
    pairs = [bench.pair(f"p{i}")["id"] for i in range(3)]
    group = create(user, "port_pair_group", port_pairs=pairs[::-1])
    assert group["port_pairs"] == pairs[::-1]
    assert update(user, "port_pair_group", group, port_pairs=pairs[1:])["port_pairs"] == pairs[1:]
    delete(user, "port_pair", {"id": pairs[0]})
    assert delete(user, "port_pair", {"id": pairs[1]}, 409)["type"] == "PortPairInUse"
    other = create(user, "port_pair_group", 409, port_pairs=[pairs[1]])
    assert other["type"] == "PortPairInUse"
    delete(user, "port_pair_group", group)
    delete(user, "port_pair", {"id": pairs[1]})


def test_pairs(shared_hub, user, bench):
    a, b = bench.port(), bench.port()
    pair = create(user, "port_pair", ingress=a, egress=b, service_function_parameters={"weight": "7", "correlation": "nsh"})
    assert pair["service_function_parameters"] == {"weight": 7, "correlation": "nsh"}
    assert create(user, "port_pair", 400, ingress=a, egress=b)["type"] == "PortPairIngressEgressInUse"
    assert create(user, "port_pair", 400, ingress=bench.port(), egress=a)["type"] == "PortPairIngressEgressInUse"
    one_armed = bench.port()
    create(user, "port_pair", ingress=one_armed, egress=one_armed)
    for params in ({"weight": -1}, {"weight": "x"}, {"correlation": "vxlan"}, {"x": 1}):
        error = create(user, "port_pair", 400, ingress=bench.port(), egress=bench.port(), service_function_parameters=params)
        assert error["type"] == "HTTPBadRequest"
    assert create(user, "port_pair", 404, ingress=str(uuid.uuid4()), egress=bench.port())["type"] == "PortPairPortNotFound"
    assert create(user, "port_pair", 400, ingress=bench.port())["type"] == "HTTPBadRequest"
    foreign = Bench(shared_hub.new_user("member")).port()
    assert create(user, "port_pair", 404, ingress=bench.port(), egress=foreign)["type"] == "PortPairPortNotFound"
    error = create(user, "port_pair", 400, ingress=bench.port(device_id="server-a"), egress=bench.port(device_id="server-b"))
    assert error["type"] == "PortPairIngressEgressDifferentHost"
    assert update(user, "port_pair", pair, 400, ingress=b)["type"] == "HTTPBadRequest"
    assert update(user, "port_pair", pair, name="x")["name"] == "x"


BAD_CLASSIFIERS = [
    (dict(protocol="gre"), "FlowClassifierInvalidProtocol"),
    (dict(ethertype="ARP"), "FlowClassifierInvalidEthertype"),
    (dict(source_port_range_min=80), "FlowClassifierProtocolRequiredWithPorts"),
    (dict(protocol="icmp", source_port_range_min=80), "FlowClassifierProtocolRequiredWithPorts"),
    (dict(protocol="tcp", source_port_range_min=81, source_port_range_max=80), "FlowClassifierInvalidPortRange"),
    (dict(protocol="tcp", destination_port_range_max=70000), "FlowClassifierInvalidPortValue"),
    (dict(source_ip_prefix="10.0.0.0"), "HTTPBadRequest"),
    (dict(source_ip_prefix="2001:db8::/32"), "FlowClassifierIpPrefixFormatConflictWithEthertype"),
    (dict(l7_parameters={"url": "/"}), "HTTPBadRequest"),
    (dict(logical_source_port="x"), "HTTPBadRequest"),
    (dict(color=1), "HTTPBadRequest"),
]


@pytest.mark.parametrize("attrs,kind", BAD_CLASSIFIERS, ids=[f"{i}-{b[1]}" for i, b in enumerate(BAD_CLASSIFIERS)])
def test_wrong_classifier(user, attrs, kind):
    assert create(user, "flow_classifier", 400, **attrs)["type"] == kind
    assert user.get(SFC + "/flow_classifiers", 200).json()["flow_classifiers"] == []


def test_classifier_conflict(user, bench):
    a, b = bench.port(), bench.port()
    first = create(user, "flow_classifier", protocol="tcp", source_ip_prefix="10.0.0.0/8", destination_port_range_min=80,
                   destination_port_range_max=90, logical_source_port=a)
    error = create(user, "flow_classifier", 400, protocol="TCP", source_ip_prefix="10.1.0.0/16", destination_port_range_min=90,
                   logical_source_port=a)
    assert error["type"] == "FlowClassifierInConflict" and first["id"] in error["message"]
    create(user, "flow_classifier", protocol="tcp", source_ip_prefix="10.1.0.0/16", destination_port_range_min=91, logical_source_port=a)
    create(user, "flow_classifier", protocol="tcp", source_ip_prefix="10.1.0.0/16", destination_port_range_min=80, logical_source_port=b)
    create(user, "flow_classifier", protocol="udp", source_ip_prefix="10.1.0.0/16", logical_source_port=a)
    create(user, "flow_classifier", ethertype="IPv6", logical_source_port=a)
    # One host: in a prefix, of any port, or without any prefix; not a host beside it.
    for prefix, port in (("10.9.0.0/16", None), (None, b)):
        wide = create(user, "flow_classifier", protocol="udp", destination_port_range_min=5000, source_ip_prefix=prefix, logical_source_port=port)
        error = create(user, "flow_classifier", 400, protocol="udp", destination_port_range_min=5000, source_ip_prefix="10.9.8.7/32")
        assert error["type"] == "FlowClassifierInConflict" and wide["id"] in error["message"]
        user.delete(f"{SFC}/flow_classifiers/{wide['id']}", 204)
    create(user, "flow_classifier", protocol="udp", destination_port_range_min=5000, source_ip_prefix="10.9.8.6/32")
    create(user, "flow_classifier", protocol="udp", destination_port_range_min=5000, source_ip_prefix="10.9.8.7/32")
    assert create(user, "flow_classifier", 404, logical_source_port=str(uuid.uuid4()))["type"] == "FlowClassifierPortNotFound"


def test_wrong_chains(user, bench):
    group, other = bench.group("g"), bench.group("h")
    assert create(user, "port_chain", 400)["type"] == "HTTPBadRequest"
    assert create(user, "port_chain", 400, port_pair_groups=[])["type"] == "PortPairGroupNotSpecified"
    assert create(user, "port_chain", 404, port_pair_groups=[str(uuid.uuid4())])["type"] == "PortPairGroupNotFound"
    assert create(user, "port_chain", 400, port_pair_groups=[7])["type"] == "HTTPBadRequest"
    assert create(user, "port_chain", 409, port_pair_groups=[group["id"]] * 2)["type"] == "InvalidPortPairGroups"
    for params in ({"correlation": "vlan"}, {"symmetric": "maybe"}, {"x": 1}):
        create(user, "port_chain", 400, port_pair_groups=[group["id"]], chain_parameters=params)
    create(user, "port_chain", 400, port_pair_groups=[group["id"]], **{"demarc:mode": "later"})
    create(user, "port_chain", 404, port_pair_groups=[group["id"]], flow_classifiers=[str(uuid.uuid4())])
    assert user.get(SFC + "/port_chains", 200).json()["port_chains"] == []
    chain = bench.chain([group])
    error = create(user, "port_chain", 409, port_pair_groups=[other["id"], group["id"]])
    assert error["type"] == "InvalidPortPairGroups" and chain["id"] in error["message"]
    assert create(user, "port_chain", 400, port_pair_groups=[other["id"]], chain_id=chain["chain_id"])["type"] == "PortChainChainIdInConflict"
    assert update(user, "port_chain", chain, 400, chain_parameters={})["type"] == "HTTPBadRequest"
    assert update(user, "port_chain", chain, 400, port_pair_groups=[])["type"] == "PortPairGroupNotSpecified"
    assert show(user, "port_chain", chain)["port_pair_groups"] == [group["id"]]


def test_classifier_of_two_chains(user, bench):
    classifier = create(user, "flow_classifier", protocol="tcp", logical_source_port=bench.port())
    bench.chain([bench.group("g")], [classifier])
    error = create(user, "port_chain", 409, port_pair_groups=[bench.group("h")["id"]], flow_classifiers=[classifier["id"]])
    assert error["type"] == "FlowClassifierInUse"


def test_classifier_of_all_ports_is_the_admins(user, bench):
    classifier = create(user, "flow_classifier", protocol="tcp")
    error = create(user, "port_chain", 400, port_pair_groups=[bench.group("g")["id"]], flow_classifiers=[classifier["id"]])
    assert error["type"] == "FlowClassifierBadRequest"


def test_foreign_rows(shared_hub, user, bench):
    group = bench.group("g")
    other = shared_hub.new_user("member")
    for kind, resource in (("port_pair_group", group), ("port_pair", {"id": group["port_pairs"][0]})):
        assert other.get(f"{SFC}/{PLURAL[kind]}/{resource['id']}").status_code == 404
    assert create(other, "port_chain", 404, port_pair_groups=[group["id"]])["type"] == "PortPairGroupNotFound"
    assert create(other, "port_pair_group", 404, port_pairs=group["port_pairs"])["type"] == "PortPairNotFound"


# ---- changes ----


def changes(session, chain):
    return session.get(f"{V1}/chains/{chain['id']}/changes", 200).json()["changes"]


def test_changes_say_what(user, bench):
    a, b, c = (bench.group(name) for name in "abc")
    chain = bench.chain([a, b])
    for groups, mode in (([a, c, b], "keep"), ([c, a, b], None), ([c, a], None), ([b, a], "move")):
        attrs = {"port_pair_groups": [g["id"] for g in groups], **({"demarc:mode": mode} if mode else {})}
        r = user.put(f"{SFC}/port_chains/{chain['id']}", {"port_chain": attrs}, 200)
        assert r.headers["X-Demarc-Change-Id"] == r.json()["port_chain"]["demarc:change_id"]
    pairs = [*b["port_pairs"], bench.pair("b9")["id"]]
    update(user, "port_pair_group", b, port_pairs=pairs)
    update(user, "port_pair_group", b, **{"demarc:on_failure": "bypass"})
    update(user, "port_chain", chain, flow_classifiers=[create(user, "flow_classifier", logical_source_port=bench.port())["id"]])
    before = show(user, "port_chain", chain)["demarc:change_id"]
    update(user, "port_chain", chain, name="other name")
    update(user, "port_pair_group", b, name="other")
    assert show(user, "port_chain", chain)["demarc:change_id"] == before
    got = [(x["what"], x["mode"]) for x in reversed(changes(user, chain))]
    assert got == [("created: a, b", "move"), ("inserted c after a", "keep"), ("reordered: c, a, b", "keep"), ("removed b", "keep"),
                   ("replaced c by b", "move"),
                   ("1 port pair added to b", "move"), ("b: on failure bypass", "move"), ("changed flow classifiers", "move")]
    assert {x["status"] for x in changes(user, chain)} == {"pending"}
    one = user.get(f"{V1}/changes/{before}", 200).json()["change"]
    assert (one["id"], one["chain_id"], one["confirmed_at"], one["duration_ms"]) == (before, chain["id"], None, None)
    delete(user, "port_chain", chain)
    assert user.get(f"{V1}/changes/{before}").status_code == 404


def test_rejected_change_leaves_nothing(user, bench):
    a, b = bench.group("a"), bench.group("b")
    chain, other = bench.chain([a]), bench.chain([b])
    assert update(user, "port_chain", chain, 409, port_pair_groups=[a["id"], b["id"]])["type"] == "InvalidPortPairGroups"
    assert len(changes(user, chain)) == 1
    assert show(user, "port_chain", other)["port_pair_groups"] == [b["id"]]


@pytest.fixture
def node(build, shared_hub, tmp_path):
    with lab_node(build, shared_hub, tmp_path / "node") as n:
        yield n


@pytest.fixture
def placed(shared_hub, node):
    """A bench whose ports are on the node."""
    return Bench(shared_hub, node)


def chain_status(hub, chain):
    return hub.get(f"{V1}/chains/{chain['id']}", 200).json()["chain"]


def report_chain(node, chain, state="CHAIN_ACTIVE", **changes_):
    node.report(chains=[{"id": chain["id"], "state": state, "change_id": chain["demarc:change_id"], "version": 1, "path": 3, "flipped_us": 1,
                         "build_us": 250, "flows_moved": 5, "flows_kept": 2, "flows_draining": 1, **changes_}])


def test_chain_reaches_the_node_and_comes_back(shared_hub, node, placed):
    h, groups = shared_hub, [placed.group("a"), placed.group("b", 2)]
    classifier = create(h, "flow_classifier", protocol="tcp", logical_source_port=placed.port("lan"))
    chain = placed.chain(groups, [classifier], name="c", chain_parameters={"symmetric": True})
    assert chain_status(h, chain)["state"] == "pending"
    held = wait_for(lambda: node.held().get(("chain", chain["id"])), "the chain in the intent")["chain"]
    assert [hop["name"] for hop in held["hops"]] == ["a", "b"]
    assert [len(hop["pairs"]) for hop in held["hops"]] == [1, 2]
    assert held["symmetric"] is True and held["change_id"] == chain["demarc:change_id"]
    hops = [{"group_id": g["id"], "name": g["name"], "in_path": True, "healthy_pairs": g["port_pairs"]} for g in groups]
    report_chain(node, chain, hops=hops)
    status = chain_status(h, chain)
    assert (status["state"], status["path"], status["flows_draining"], status["node_name"]) == ("active", 3, 1, node.name)
    assert [(x["number"], x["name"], x["in_path"], len(x["servers"])) for x in status["hops"]] == [(1, "a", True, 1), (2, "b", True, 2)]
    change = h.get(f"{V1}/changes/{chain['demarc:change_id']}", 200).json()["change"]
    assert (change["status"], change["flows_moved"], change["flows_kept"], change["draining"], change["build_us"], change["path"]) == (
        "confirmed", 5, 2, 1, 250, 3)
    assert change["duration_ms"] > 0 and change["hops"][0]["in_path"] is True
    report_chain(node, chain, hops=hops, flows_draining=0)
    again = h.get(f"{V1}/changes/{chain['demarc:change_id']}", 200).json()["change"]
    assert (again["draining"], again["confirmed_at"]) == (0, change["confirmed_at"])
    assert [c["name"] for c in h.get(V1 + "/chains", 200).json()["chains"] if c["id"] == chain["id"]] == ["c"]
    delete(h, "port_chain", chain)
    wait_for(lambda: ("chain", chain["id"]) not in node.held(), "the chain to leave the intent")


def test_superseded_held_failed(shared_hub, node, placed):
    h, a, b, c = shared_hub, placed.group("a"), placed.group("b"), placed.group("c")
    first = placed.chain([a])
    second = update(h, "port_chain", first, port_pair_groups=[a["id"], b["id"]])
    third = update(h, "port_chain", first, port_pair_groups=[a["id"], c["id"]])
    report_chain(node, first, "CHAIN_HELD", held_change_id=third["demarc:change_id"], reason="c0 is not healthy")
    assert [x["status"] for x in reversed(changes(h, first))] == ["confirmed", "pending", "held"]
    status = chain_status(h, third)
    assert (status["state"], status["reason"], status["held_change_id"]) == ("held", "c0 is not healthy", third["demarc:change_id"])
    report_chain(node, third)
    assert [x["status"] for x in reversed(changes(h, first))] == ["confirmed", "superseded", "confirmed"]
    assert changes(h, first)[1]["id"] == second["demarc:change_id"]
    fourth = update(h, "port_chain", first, port_pair_groups=[b["id"]])
    assert chain_status(h, fourth)["state"] == "changing"
    report_chain(node, third, "CHAIN_FAILED", held_change_id=fourth["demarc:change_id"], reason="no such port")
    assert (changes(h, first)[0]["status"], changes(h, first)[0]["reason"]) == ("failed", "no such port")


def test_chain_of_another_node(build, shared_hub, tmp_path, node, placed):
    h, chain = shared_hub, placed.chain([placed.group("a")])
    with lab_node(build, h, tmp_path / "second") as second:
        report_chain(second, chain)
        assert changes(h, chain)[0]["status"] == "pending"
        pair = placed.pair("far", node=second.name)
        group = create(h, "port_pair_group", name="far", port_pairs=[pair["id"]])
        error = update(h, "port_chain", chain, 400, port_pair_groups=[*chain["port_pair_groups"], group["id"]])
        assert error["type"] == "PortChainPortsOnDifferentNodes"
        assert node.name in error["message"] and second.name in error["message"]
        assert show(h, "port_chain", chain)["port_pair_groups"] == chain["port_pair_groups"]


def test_chain_follows_its_ports(shared_hub, node):
    """Made before its functions are anywhere, the chain reaches the node when they are."""
    bench = Bench(shared_hub)
    pair = bench.pair("p")
    chain = bench.chain([create(shared_hub, "port_pair_group", port_pairs=[pair["id"]])])
    assert chain_status(shared_hub, chain)["state"] == "unplaced"
    for side in ("ingress", "egress"):
        shared_hub.put(f"{V2}/ports/{pair[side]}", {"port": {"binding:host_id": node.name}}, 200)
    assert chain_status(shared_hub, chain)["state"] == "pending"
    wait_for(lambda: ("chain", chain["id"]) in node.held(), "the chain in the intent")
    assert not [x for x in changes(shared_hub, chain) if x["status"] != "pending"]


def test_uplinks(shared_hub, node):
    h = shared_hub
    net = h.post(V2 + "/networks", {"network": {"provider:network_type": "vlan", "provider:physical_network": "lan",
                                                "provider:segmentation_id": 12}}, 201).json()["network"]
    body = {"network_id": net["id"], "device_owner": "network:uplink", "binding:host_id": node.id, "name": "uplink-lan"}
    port = h.post(V2 + "/ports", {"port": body}, 201).json()["port"]
    assert (port["fixed_ips"], port["status"], port["security_groups"], port["port_security_enabled"]) == ([], "ACTIVE", [], False)
    held = wait_for(lambda: node.held().get(("port", port["id"])), "the uplink in the intent")
    assert held["port"]["uplink"] is True
    assert h.post(V2 + "/ports", {"port": body}).status_code == 409
    plain = h.post(V2 + "/networks", {"network": {}}, 201).json()["network"]
    assert h.post(V2 + "/ports", {"port": {**body, "network_id": plain["id"]}}).status_code == 400
    classifier = create(h, "flow_classifier", logical_source_port=port["id"], protocol="udp")
    assert h.delete(f"{V2}/ports/{port['id']}", 409).json()["NeutronError"]["type"] == "ServicePortInUse"
    delete(h, "flow_classifier", classifier)
    h.delete(f"{V2}/ports/{port['id']}", 204)
    wait_for(lambda: ("port", port["id"]) not in node.held(), "the uplink to leave the intent")
