# SPDX-License-Identifier: Apache-2.0
"""QoS policies: the unmodified client, every wrong input, and what the node is told of limits and marks."""

import uuid

import pytest
from conftest import wait_for
from site_lab import V2, lab_node

POLICIES = V2 + "/qos/policies"
KINDS = ("bandwidth_limit", "packet_rate_limit", "dscp_marking")


@pytest.fixture(name="user")
def fixture_user(shared_hub):
    return shared_hub.new_user("member")


@pytest.fixture(name="node")
def fixture_node(build, shared_hub, tmp_path):
    with lab_node(build, shared_hub, tmp_path / "n") as node:
        yield node


def policy_of(session, status=201, **attrs):
    body = session.post(POLICIES, {"policy": attrs}, status).json()
    return body["policy"] if status == 201 else body["NeutronError"]


def rule_of(session, policy, kind, status=201, **attrs):
    body = session.post(f"{POLICIES}/{policy}/{kind}_rules", {kind + "_rule": attrs}, status).json()
    return body[kind + "_rule"] if status == 201 else body["NeutronError"]


def network_of(session, **attrs):
    network = session.post(V2 + "/networks", {"network": attrs}, 201).json()["network"]
    session.post(V2 + "/subnets", {"subnet": {"network_id": network["id"], "cidr": "10.77.0.0/24", "ip_version": 4}}, 201)
    return network


def port_of(session, status=201, **attrs):
    body = session.post(V2 + "/ports", {"port": attrs}, status).json()
    return body["port"] if status == 201 else body["NeutronError"]


def test_client(shared_hub):
    os = shared_hub.openstack
    name = f"q-{uuid.uuid4().hex[:8]}"
    policy = os("network", "qos", "policy", "create", name, "--description", "slow", "--share")
    assert policy["rules"] == [] and policy["shared"] is True and policy["is_default"] is False
    rule = os("network", "qos", "rule", "create", "--type", "bandwidth-limit", "--max-kbps", "1000", "--max-burst-kbits", "200",
              "--ingress", name)
    assert rule["max_kbps"] == 1000 and rule["max_burst_kbps"] == 200 and rule["direction"] == "ingress"
    mark = os("network", "qos", "rule", "create", "--type", "dscp-marking", "--dscp-mark", "46", name)
    os("network", "qos", "rule", "set", name, rule["id"], "--max-kbps", "2000", parse=False)
    assert os("network", "qos", "rule", "show", name, rule["id"])["max_kbps"] == 2000
    assert {r["ID"] for r in os("network", "qos", "rule", "list", name)} == {rule["id"], mark["id"]}
    assert {r["Type"] for r in os("network", "qos", "rule", "type", "list")} == set(KINDS)
    shown = os("network", "qos", "rule", "type", "show", "bandwidth_limit")
    assert "max_kbps" in str(shown), shown
    network = os("network", "create", name, "--qos-policy", name)
    assert network["qos_policy_id"] == policy["id"]
    assert "used by" in os("network", "qos", "policy", "delete", name, fails=True)
    os("network", "set", name, "--no-qos-policy", parse=False)
    os("network", "qos", "rule", "delete", name, mark["id"], parse=False)
    os("network", "qos", "policy", "set", name, "--no-share", "--name", name + "x", parse=False)
    os("network", "delete", name, parse=False)
    os("network", "qos", "policy", "delete", name + "x", parse=False)


@pytest.mark.parametrize("kind,attrs,field", [
    ("bandwidth_limit", {}, "max_kbps"), ("bandwidth_limit", {"max_kbps": 0}, "max_kbps"), ("bandwidth_limit", {"max_kbps": "x"}, "max_kbps"),
    ("bandwidth_limit", {"max_kbps": 1 << 31}, "max_kbps"), ("bandwidth_limit", {"max_kbps": 1, "max_burst_kbps": -1}, "max_burst_kbps"),
    ("bandwidth_limit", {"max_kbps": 1, "direction": "any"}, "direction"), ("packet_rate_limit", {"max_kpps": 0}, "max_kpps"),
    ("packet_rate_limit", {"max_kpps": 1, "direction": "up"}, "direction"), ("dscp_marking", {}, "dscp_mark"),
    ("dscp_marking", {"dscp_mark": 1}, "dscp_mark"), ("dscp_marking", {"dscp_mark": 64}, "dscp_mark"),
    ("dscp_marking", {"dscp_mark": 0, "max_kbps": 1}, "max_kbps"),
    ("bandwidth_limit", {"max_kbps": 1, "qos_policy_id": str(uuid.uuid4())}, "qos_policy_id"),
])
def test_bad_rules(shared_hub, kind, attrs, field):
    policy = policy_of(shared_hub)["id"]
    assert field in rule_of(shared_hub, policy, kind, 400, **attrs)["message"]


def test_rules_of_a_policy(shared_hub):
    one, other = (policy_of(shared_hub)["id"] for _ in range(2))
    rule = rule_of(shared_hub, one, "packet_rate_limit", max_kpps=1, direction="egress")
    assert rule["qos_policy_id"] == one
    assert rule_of(shared_hub, one, "packet_rate_limit", 409, max_kpps=1, direction="any")["type"] == "QoSRulesConflict"
    second = rule_of(shared_hub, one, "packet_rate_limit", max_kpps=1, direction="ingress")
    path = f"{POLICIES}/{one}/packet_rate_limit_rules"
    shared_hub.put(f"{path}/{second['id']}", {"packet_rate_limit_rule": {"direction": "egress"}}, 409)
    for method, body in (("get", ()), ("delete", ()), ("put", ({"packet_rate_limit_rule": {"max_kpps": 2}},))):
        error = getattr(shared_hub, method)(f"{POLICIES}/{other}/packet_rate_limit_rules/{rule['id']}", *body, 404).json()
        assert error["NeutronError"]["type"] == "QosRuleNotFound", "it is a rule of another policy"
    rule_of(shared_hub, one, "dscp_marking", dscp_mark=8)
    assert rule_of(shared_hub, one, "dscp_marking", 409, dscp_mark=10)["type"] == "QoSRulesConflict"
    assert rule_of(shared_hub, str(uuid.uuid4()), "dscp_marking", 404, dscp_mark=8)["type"] == "QosPolicyNotFound"
    shown = shared_hub.get(f"{POLICIES}/{one}", 200).json()["policy"]
    assert [r["type"] for r in shown["rules"]] == ["dscp_marking", "packet_rate_limit", "packet_rate_limit"]
    assert shown["revision_number"] > 1
    assert shared_hub.get(f"{POLICIES}/{other}/dscp_marking_rules", 200).json() == {"dscp_marking_rules": []}
    assert shared_hub.get(V2 + "/qos/rule-types/minimum_bandwidth", 404).json()["NeutronError"]["type"] == "QosRuleTypeNotFound"


def test_who_may(shared_hub, user):
    private, shared = policy_of(shared_hub, name="private")["id"], policy_of(shared_hub, name="open", shared=True)["id"]
    assert {private, shared} & {p["id"] for p in user.get(POLICIES, 200).json()["policies"]} == {shared}
    user.post(POLICIES, {"policy": {}}, 403)
    user.post(f"{POLICIES}/{shared}/dscp_marking_rules", {"dscp_marking_rule": {"dscp_mark": 8}}, 403)
    user.get(f"{POLICIES}/{private}/dscp_marking_rules", 404)
    network = network_of(user, qos_policy_id=shared)["id"]
    assert port_of(user, 404, network_id=network, qos_policy_id=private)["type"] == "QosPolicyNotFound"
    port = port_of(user, network_id=network, qos_policy_id=shared)
    assert port["qos_policy_id"] == shared
    user.put(f"{V2}/ports/{port['id']}", {"port": {"qos_policy_id": private}}, 404)
    error = shared_hub.put(f"{POLICIES}/{shared}", {"policy": {"shared": False}}, 409).json()["NeutronError"]
    assert error["type"] == "QosPolicyInUse"
    shared_hub.delete(f"{POLICIES}/{shared}", 409)
    shared_hub.delete(f"{POLICIES}/{private}", 204)


def test_default_policy(shared_hub, user):
    project = port_of(user, network_id=network_of(user)["id"])["project_id"]
    default = policy_of(shared_hub, project_id=project, is_default=True)["id"]
    assert policy_of(shared_hub, 409, project_id=project, is_default=True)["type"] == "QoSPolicyDefaultAlreadyExists"
    assert network_of(user)["qos_policy_id"] == default
    assert network_of(user, qos_policy_id=None)["qos_policy_id"] is None
    assert network_of(shared_hub)["qos_policy_id"] is None, "another project's"


def test_node_learns(shared_hub, node):
    policies = [policy_of(shared_hub)["id"] for _ in range(2)]
    network = network_of(shared_hub, qos_policy_id=policies[0])["id"]
    rule = rule_of(shared_hub, policies[0], "bandwidth_limit", max_kbps=1000, max_burst_kbps=80, direction="egress")["id"]
    rule_of(shared_hub, policies[0], "packet_rate_limit", max_kpps=5, direction="any")
    rule_of(shared_hub, policies[1], "dscp_marking", dscp_mark=46)
    host = {"device_owner": "compute:x", "device_id": str(uuid.uuid4()), "binding:host_id": node.name}
    port = port_of(shared_hub, network_id=network, **host)["id"]

    def told():
        body = node.held().get(("port", port), {}).get("port", {})
        parts = {name: {k: int(v) for k, v in (body.get(name) or {}).items() if int(v)} for name in ("limit_from", "limit_to")}
        return {**parts, "dscp": body.get("dscp") if body.get("has_dscp") else None}

    both = {"limit_from": {"kbps": 1000, "burst_kbit": 80, "pps": 5000}, "limit_to": {"pps": 5000}, "dscp": None}
    wait_for(lambda: told() == both, "the network's limits")
    shared_hub.put(f"{POLICIES}/{policies[0]}/bandwidth_limit_rules/{rule}", {"bandwidth_limit_rule": {"max_kbps": 9}}, 200)
    both["limit_from"]["kbps"] = 9
    wait_for(lambda: told() == both, "the new limit")
    shared_hub.put(f"{V2}/ports/{port}", {"port": {"qos_policy_id": policies[1]}}, 200)
    wait_for(lambda: told() == {"limit_from": {}, "limit_to": {}, "dscp": 46}, "the port's own policy instead")
    shared_hub.put(f"{V2}/ports/{port}", {"port": {"qos_policy_id": None}}, 200)
    wait_for(lambda: told() == both, "the network's again")
    shared_hub.delete(f"{POLICIES}/{policies[0]}/bandwidth_limit_rules/{rule}", 204)
    wait_for(lambda: told() == {"limit_from": {"pps": 5000}, "limit_to": {"pps": 5000}, "dscp": None}, "one rule less")
