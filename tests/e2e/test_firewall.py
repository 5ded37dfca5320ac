# SPDX-License-Identifier: Apache-2.0
"""Address groups, stateless security groups and FWaaS v2: the unmodified clients, every wrong input, and what the node is told."""

import uuid

import pytest
from conftest import wait_for
from site_lab import V2, lab_node

FW = V2 + "/fwaas"
PATHS = {"address_group": V2 + "/address-groups", "firewall_rule": FW + "/firewall_rules", "firewall_policy": FW + "/firewall_policies",
         "firewall_group": FW + "/firewall_groups", "network": V2 + "/networks", "subnet": V2 + "/subnets", "port": V2 + "/ports",
         "security_group": V2 + "/security-groups", "security_group_rule": V2 + "/security-group-rules"}
BULK = 1000  # rows of one request


def create(session, kind, status=201, **attrs):
    """POST one resource; returns its body, or the NeutronError. '__' in a name stands for ':'."""
    attrs = {name.replace("__", ":"): value for name, value in attrs.items()}
    body = session.post(PATHS[kind], {kind: attrs}, status).json()
    return body[kind] if status == 201 else body["NeutronError"]


def update(session, kind, oid, status=200, **attrs):
    attrs = {name.replace("__", ":"): value for name, value in attrs.items()}
    body = session.put(f"{PATHS[kind]}/{oid}", {kind: attrs}, status).json()
    return body[kind] if status == 200 else body["NeutronError"]


def show(session, kind, oid):
    return session.get(f"{PATHS[kind]}/{oid}", 200).json()[kind]


def delete(session, kind, oid, status=204):
    r = session.delete(f"{PATHS[kind]}/{oid}", status)
    return None if status == 204 else r.json()["NeutronError"]


def action(session, kind, oid, name, status=200, **body):
    got = session.put(f"{PATHS[kind]}/{oid}/{name}", body, status).json()
    return got if status == 200 else got["NeutronError"]


def many_rules(session, count, **attrs):
    """Ids of new rules, in order, made by bulk requests."""
    ids = []
    for start in range(0, count, BULK):
        rows = [{"action": "allow", "protocol": "tcp", "source_ip_address": f"10.{i >> 8}.{i & 255}.0/24", "destination_port": str(1 + i),
                 **attrs} for i in range(start, min(start + BULK, count))]
        ids += [r["id"] for r in session.post(PATHS["firewall_rule"], {"firewall_rules": rows}, 201).json()["firewall_rules"]]
    return ids


@pytest.fixture(name="user")
def fixture_user(shared_hub):
    return shared_hub.new_user("member")


# ---- address groups ----


def test_client_address_groups(user):
    os = user.openstack
    group = os("address", "group", "create", "peers", "--address", "192.0.2.7", "--address", "2001:db8::/32", "--description", "them")
    assert group["addresses"] == ["192.0.2.7/32", "2001:db8::/32"] and group["description"] == "them"
    os("address", "group", "set", "peers", "--address", "10.0.0.0/8", "--name", "others", parse=False)
    assert os("address", "group", "show", "others")["addresses"] == ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]
    os("address", "group", "unset", "others", "--address", "192.0.2.7", parse=False)
    assert os("address", "group", "list")[0]["Addresses"] == ["10.0.0.0/8", "2001:db8::/32"]
    os("security", "group", "create", "sg", "--stateless")
    assert os("security", "group", "show", "sg")["stateful"] is False
    rule = os("security", "group", "rule", "create", "sg", "--protocol", "tcp", "--dst-port", "22", "--remote-address-group", "others")
    assert rule["remote_address_group_id"] == group["id"]
    assert "failed to delete" in os("address", "group", "delete", "others", fails=True), "a group in use stays"
    os("security", "group", "delete", "sg", parse=False)
    os("address", "group", "delete", "others", parse=False)
    assert os("address", "group", "list") == []


def test_address_group_actions(user):
    group = create(user, "address_group", name="g", addresses=["10.1.2.3/24", "10.1.2.0/24", "fd00::1"])
    assert group["addresses"] == ["10.1.2.0/24", "fd00::1/128"] and group["shared"] is False
    gid = group["id"]
    error = action(user, "address_group", gid, "add_addresses", 400, addresses=["10.9.0.0/16", "10.1.2.9/24"])
    assert error["type"] == "AddressesAlreadyExist" and "10.1.2.0/24" in error["message"] and "10.9" not in error["message"]
    error = action(user, "address_group", gid, "remove_addresses", 404, addresses=["fd00::1", "10.9.0.0/16"])
    assert error["type"] == "AddressesNotFound" and "10.9.0.0/16" in error["message"]
    assert show(user, "address_group", gid)["addresses"] == group["addresses"]
    got = action(user, "address_group", gid, "add_addresses", addresses=["10.9.0.0/16"])["address_group"]
    assert got["addresses"] == ["10.1.2.0/24", "10.9.0.0/16", "fd00::1/128"] and got["revision_number"] == group["revision_number"] + 1
    got = action(user, "address_group", gid, "remove_addresses", address_group={"addresses": ["10.9.0.0/16", "fd00::1"]})
    assert got["address_group"]["addresses"] == ["10.1.2.0/24"]
    for bad in (None, "10.0.0.0/8", [7], ["10.0.0.0/33"], ["x"], [None], [{}]):
        assert "addresses" in action(user, "address_group", gid, "add_addresses", 400, addresses=bad)["message"]
        assert "addresses" in create(user, "address_group", 400, addresses=bad)["message"]
    assert "addresses" in update(user, "address_group", gid, 400, addresses=[])["message"]
    assert user.get(f"{PATHS['address_group']}?addresses=10.1.2.0/24", 200).json()["address_groups"][0]["id"] == gid
    sdk = user.sdk().network
    assert sdk.add_addresses_to_address_group(gid, ["10.7.0.0/16"]).addresses == ["10.1.2.0/24", "10.7.0.0/16"]
    assert sdk.remove_addresses_from_address_group(gid, ["10.7.0.0/16"]).addresses == ["10.1.2.0/24"]


def test_ten_thousand_addresses(user):
    addresses = [f"10.{i >> 8}.{i & 255}.0/24" for i in range(10000)]
    group = create(user, "address_group", addresses=addresses)
    assert set(group["addresses"]) == set(addresses)
    error = action(user, "address_group", group["id"], "add_addresses", 409, addresses=["192.0.2.1"])
    assert error["type"] == "OverQuota" and "addresses" in error["message"]
    assert "addresses" in create(user, "address_group", 400, addresses=addresses + ["192.0.2.1"])["message"]


def test_rules_with_address_groups(shared_hub, user):
    group = create(user, "address_group", addresses=["192.0.2.0/24"])
    sg = create(user, "security_group", name="sg")
    rule = {"security_group_id": sg["id"], "direction": "ingress", "protocol": "tcp"}
    made = create(user, "security_group_rule", **rule, remote_address_group_id=group["id"])
    assert show(user, "security_group_rule", made["id"])["remote_address_group_id"] == group["id"]
    assert group["id"] in [r["remote_address_group_id"] for r in show(user, "security_group", sg["id"])["security_group_rules"]]
    assert create(user, "security_group_rule", 409, **rule, remote_address_group_id=group["id"])["type"] == "SecurityGroupRuleExists"
    create(user, "security_group_rule", **rule)
    for other in ({"remote_ip_prefix": "10.0.0.0/8"}, {"remote_group_id": sg["id"]}):
        error = create(user, "security_group_rule", 400, **rule, **other, remote_address_group_id=group["id"])
        assert error["type"] == "SecurityGroupMultipleRemoteEntites"
    assert "remote_address_group_id" in create(user, "security_group_rule", 400, **rule, remote_address_group_id="x")["message"]
    assert create(user, "security_group_rule", 404, **rule, remote_address_group_id=str(uuid.uuid4()))["type"] == "AddressGroupNotFound"
    theirs = create(shared_hub.new_user("member"), "address_group")
    assert create(user, "security_group_rule", 404, **rule, remote_address_group_id=theirs["id"])["type"] == "AddressGroupNotFound"
    assert delete(user, "address_group", theirs["id"], 404)["type"] == "AddressGroupNotFound"
    error = delete(user, "address_group", group["id"], 409)
    assert error["type"] == "AddressGroupInUse" and made["id"] in error["message"]
    delete(user, "security_group_rule", made["id"])
    delete(user, "address_group", group["id"])


def test_stateless_groups(user):
    net = create(user, "network")
    stateless, stateful = create(user, "security_group", name="a", stateful=False), create(user, "security_group", name="b")
    both = [stateless["id"], stateful["id"]]
    assert create(user, "port", 409, network_id=net["id"], security_groups=both)["type"] == "SecurityGroupConflict"
    port = create(user, "port", network_id=net["id"], security_groups=both[:1])
    assert update(user, "port", port["id"], 409, security_groups=both)["type"] == "SecurityGroupConflict"
    assert update(user, "security_group", both[0], 409, stateful=True)["type"] == "SecurityGroupInUse"
    update(user, "port", port["id"], security_groups=both[1:])
    assert update(user, "security_group", both[0], stateful=True)["stateful"] is True


# ---- FWaaS ----


def test_client_firewall(shared_hub, user):
    os = user.openstack
    net = create(user, "network")
    port = create(user, "port", network_id=net["id"], name="p")
    rule = os("firewall", "group", "rule", "create", "--name", "web", "--protocol", "tcp", "--action", "allow", "--source-ip-address",
              "10.0.0.0/8", "--destination-port", "80:90", "--ip-version", "4")
    assert (rule["Protocol"], rule["Action"], rule["Destination Port"], rule["IP Version"]) == ("tcp", "allow", "80:90", 4)
    os("firewall", "group", "rule", "create", "--name", "no", "--protocol", "any", "--action", "reject")
    os("firewall", "group", "rule", "create", "--name", "ping", "--protocol", "icmp", "--action", "allow", "--ip-version", "6",
       "--destination-ip-address", "2001:db8::1")
    os("firewall", "group", "rule", "set", "web", "--destination-port", "443", "--no-source-ip-address", "--disable-rule", parse=False)
    rule = os("firewall", "group", "rule", "show", "web")
    assert (rule["Destination Port"], rule["Source IP Address"], rule["Enabled"]) == ("443", None, False)
    os("firewall", "group", "rule", "unset", "web", "--destination-port", parse=False)
    assert {r["Name"] for r in os("firewall", "group", "rule", "list")} == {"web", "no", "ping"}
    os("firewall", "group", "policy", "create", "in", "--firewall-rule", "no", "--audited")
    os("firewall", "group", "policy", "add", "rule", "in", "web", "--insert-before", "no", parse=False)
    os("firewall", "group", "policy", "add", "rule", "in", "ping", "--insert-after", "no", parse=False)
    ids = {r["Name"]: r["ID"] for r in os("firewall", "group", "rule", "list")}
    policy = os("firewall", "group", "policy", "show", "in")
    assert policy["Firewall Rules"] == [ids[n] for n in ("web", "no", "ping")] and policy["Audited"] is False
    os("firewall", "group", "policy", "remove", "rule", "in", "no", parse=False)
    os("firewall", "group", "policy", "set", "in", "--firewall-rule", "no", "--audited", "--description", "all", parse=False)
    assert os("firewall", "group", "policy", "show", "in")["Firewall Rules"] == [ids[n] for n in ("web", "ping", "no")]
    group = os("firewall", "group", "create", "--name", "fw", "--ingress-firewall-policy", "in", "--port", "p")
    assert (group["Status"], group["Ports"], group["State"]) == ("ACTIVE", [port["id"]], True)
    assert "still active" in os("firewall", "group", "delete", "fw", fails=True)
    assert "being used" in os("firewall", "group", "policy", "delete", "in", fails=True)
    os("firewall", "group", "set", "fw", "--egress-firewall-policy", "in", "--no-ingress-firewall-policy", "--disable", parse=False)
    shown = os("firewall", "group", "show", "fw")
    assert (shown["Ingress Policy ID"], shown["Egress Policy ID"], shown["Status"]) == (None, policy["ID"], "DOWN")
    os("firewall", "group", "unset", "fw", "--all-port", "--egress-firewall-policy", parse=False)
    assert os("firewall", "group", "list", "--long")[0]["Ports"] == []
    os("firewall", "group", "delete", "fw", parse=False)
    os("firewall", "group", "policy", "delete", "in", parse=False)
    os("firewall", "group", "rule", "delete", "web", "no", "ping", parse=False)
    assert os("firewall", "group", "rule", "list") == []
    aliases = {e["Alias"] for e in shared_hub.openstack("extension", "list", "--network")}
    assert {"fwaas_v2", "address-group", "security-groups-remote-address-group", "stateful-security-group"} <= aliases


def test_sdk_firewall(user):
    sdk = user.sdk().network
    rules = [sdk.create_firewall_rule(name=n, protocol="udp", action="allow", source_port=53) for n in "abc"]
    assert rules[0].source_port == "53" and rules[0].action == "allow"
    policy = sdk.create_firewall_policy(name="p", firewall_rules=[rules[0].id])
    policy = sdk.insert_rule_into_policy(policy.id, firewall_rule_id=rules[1].id)
    assert policy.firewall_rules == [rules[1].id, rules[0].id]
    policy = sdk.insert_rule_into_policy(policy.id, firewall_rule_id=rules[2].id, insert_after=rules[1].id, insert_before="")
    assert policy.firewall_rules == [rules[1].id, rules[2].id, rules[0].id]
    assert [show(user, "firewall_rule", r.id)["position"] for r in rules] == [3, 1, 2]
    policy = sdk.remove_rule_from_policy(policy.id, firewall_rule_id=rules[2].id)
    assert policy.firewall_rules == [rules[1].id, rules[0].id]
    assert [show(user, "firewall_rule", r.id)["position"] for r in rules] == [2, 1, None]
    assert [r.id for r in sdk.firewall_rules(firewall_policy_id=policy.id)] == [rules[0].id, rules[1].id]
    group = sdk.create_firewall_group(name="g", egress_firewall_policy_id=policy.id)
    assert sdk.update_firewall_group(group.id, admin_state_up=False).status == "DOWN"
    sdk.delete_firewall_group(group.id)
    sdk.delete_firewall_policy(policy.id)


BAD_RULES = [
    ({"action": "accept"}, "action"), ({"ip_version": 5}, "ip_version"), ({"ip_version": None}, "ip_version"),
    ({"protocol": "nosuch"}, "nosuch"), ({"protocol": 256}, "protocol"), ({"protocol": "x" * 200}, "protocol"),
    ({"source_ip_address": "10.0.0.0/33"}, "source_ip_address"), ({"destination_ip_address": "host"}, "destination_ip_address"),
    ({"source_ip_address": "fd00::1"}, "source_ip_address"),
    ({"ip_version": 6, "destination_ip_address": "10.0.0.1"}, "destination_ip_address"),
    ({"destination_port": "80"}, "protocol"), ({"protocol": "icmp", "source_port": "80"}, "ICMP"),
    ({"protocol": "esp", "source_port": 80}, "protocol"), ({"protocol": "tcp", "source_port": "90:80"}, "90:80"),
    ({"protocol": "tcp", "source_port": 65536}, "65536"), ({"protocol": "tcp", "source_port": "1-2"}, "1-2"),
    ({"protocol": "tcp", "source_port": "1:"}, "1:"), ({"protocol": "tcp", "destination_port": [80]}, "80"),
    ({"protocol": "tcp", "destination_port": "-1"}, "-1"), ({"protocol": "udp", "demarc:tcp_flags": "syn"}, "demarc:tcp_flags"),
    ({"protocol": "tcp", "demarc:tcp_flags": "syn,syn"}, "demarc:tcp_flags"), ({"protocol": "tcp", "demarc:tcp_flags": ""}, "demarc:tcp_flags"),
    ({"protocol": "tcp", "demarc:icmp_type": 8}, "demarc:icmp_type"), ({"protocol": "icmp", "demarc:icmp_code": 0}, "demarc:icmp_code"),
    ({"protocol": "icmp", "demarc:icmp_type": 256}, "demarc:icmp_type"), ({"demarc:dscp": 64}, "demarc:dscp"),
    ({"demarc:vlan": 4095}, "demarc:vlan"), ({"demarc:vlan": 0}, "demarc:vlan"),
    ({"demarc:source_address_group_id": "x"}, "demarc:source_address_group_id"),
    ({"source_firewall_group_id": "00000000-0000-4000-8000-00000000dead"}, "source_firewall_group_id"), ({"position": 1}, "position"),
    ({"firewall_policy_id": None}, "firewall_policy_id"), ({"nosuch": 1}, "nosuch"), ({"enabled": "perhaps"}, "enabled"),
]


@pytest.mark.parametrize("attrs,names", BAD_RULES, ids=lambda v: str(v)[:40])
def test_wrong_rules(user, attrs, names):
    error = user.post(PATHS["firewall_rule"], {"firewall_rule": attrs}, 400).json()["NeutronError"]
    assert names in error["message"], error


def test_rules_are_canonical(user):
    group = create(user, "address_group")
    rule = create(user, "firewall_rule", protocol="TCP", source_ip_address="10.1.2.3/8", destination_ip_address="192.0.2.1",
                  source_port=80, demarc__tcp_flags="SYN,!ack", demarc__dscp=46, demarc__vlan=12)
    assert (rule["protocol"], rule["source_ip_address"], rule["destination_ip_address"], rule["source_port"]) == \
        ("tcp", "10.0.0.0/8", "192.0.2.1", "80")
    assert (rule["action"], rule["enabled"], rule["ip_version"], rule["shared"]) == ("deny", True, 4, False)
    assert "source_port_text" not in rule and rule["firewall_policy_id"] == [] and rule["position"] is None
    assert "protocol" in update(user, "firewall_rule", rule["id"], 400, protocol="gre")["message"]
    assert "destination_ip_address" in update(user, "firewall_rule", rule["id"], 400, ip_version=6, source_ip_address=None)["message"]
    error = update(user, "firewall_rule", rule["id"], 400, demarc__source_address_group_id=group["id"])
    assert "demarc:source_address_group_id" in error["message"]
    rule = update(user, "firewall_rule", rule["id"], source_ip_address=None, demarc__source_address_group_id=group["id"], source_port="1:2")
    assert (rule["demarc:source_address_group_id"], rule["source_port"]) == (group["id"], "1:2")
    assert update(user, "firewall_rule", rule["id"], name="x")["source_port"] == "1:2"
    assert delete(user, "address_group", group["id"], 409)["type"] == "AddressGroupInUse"
    listed = user.get(f"{PATHS['firewall_rule']}?source_port=1:2&action=deny", 200).json()["firewall_rules"]
    assert [r["id"] for r in listed] == [rule["id"]]
    rule = update(user, "firewall_rule", rule["id"], protocol="any", source_port=None, demarc__tcp_flags=None)
    assert (rule["protocol"], rule["source_port"]) == (None, None)


def test_policies(user):
    rules = [create(user, "firewall_rule", name=n)["id"] for n in "abcd"]
    policy = create(user, "firewall_policy", name="p", firewall_rules=rules[:2], audited=True)
    pid = policy["id"]
    assert policy["firewall_rules"] == rules[:2] and policy["audited"] is True
    for bad, names in (([rules[0], rules[0]], "twice"), ([str(uuid.uuid4())], "could not be found"), ([7], "7"), ([None], "null")):
        status = 400 if names == "twice" else 404
        assert names in update(user, "firewall_policy", pid, status, firewall_rules=bad)["message"]
        assert names in create(user, "firewall_policy", status, firewall_rules=bad)["message"]
    assert "firewall_rules" in update(user, "firewall_policy", pid, 400, firewall_rules=None)["message"]
    assert "firewall_rules" in update(user, "firewall_policy", pid, 400, firewall_rules=[rules[0]] * 10001)["message"]
    assert show(user, "firewall_policy", pid)["firewall_rules"] == rules[:2]
    assert show(user, "firewall_policy", pid)["audited"] is True
    update(user, "firewall_rule", rules[0], action="allow")
    assert show(user, "firewall_policy", pid)["audited"] is False
    assert action(user, "firewall_policy", pid, "insert_rule", 400)["type"] == "FirewallRuleInfoMissing"
    assert action(user, "firewall_policy", pid, "insert_rule", 409, firewall_rule_id=rules[0])["type"] == "FirewallRuleAlreadyAssociated"
    error = action(user, "firewall_policy", pid, "insert_rule", 400, firewall_rule_id=rules[2], insert_before=rules[3])
    assert error["type"] == "FirewallRuleNotAssociatedWithPolicy"
    assert action(user, "firewall_policy", pid, "insert_rule", 404, firewall_rule_id="x")["type"] == "FirewallRuleNotFound"
    assert action(user, "firewall_policy", pid, "remove_rule", 400, firewall_rule_id=rules[2])["type"] == "FirewallRuleNotAssociatedWithPolicy"
    got = action(user, "firewall_policy", pid, "insert_rule", firewall_rule_id=rules[2], insert_after=rules[0], insert_before=rules[1])
    assert got["firewall_rules"] == [rules[0], rules[2], rules[1]]
    assert delete(user, "firewall_rule", rules[2], 409)["type"] == "FirewallRuleInUse"
    second = create(user, "firewall_policy", firewall_rules=rules[2:])
    rule = show(user, "firewall_rule", rules[2])
    assert sorted(rule["firewall_policy_id"]) == sorted([pid, second["id"]]) and rule["position"] is None
    delete(user, "firewall_policy", pid)
    assert show(user, "firewall_rule", rules[2])["firewall_policy_id"] == [second["id"]]


def test_sharing(shared_hub, user):
    admin, other = shared_hub, shared_hub.new_user("member")
    assert "shared" in create(user, "firewall_rule", 403, shared=True)["message"]
    private, shared = create(admin, "firewall_rule"), create(admin, "firewall_rule", shared=True)
    assert update(user, "firewall_rule", shared["id"], 403, name="x")
    assert user.delete(f"{PATHS['firewall_rule']}/{shared['id']}").status_code == 403
    assert create(user, "firewall_policy", 404, firewall_rules=[private["id"]])["type"] == "FirewallRuleNotFound"
    mine = create(user, "firewall_policy", firewall_rules=[shared["id"]])
    assert other.get(f"{PATHS['firewall_policy']}/{mine['id']}").status_code == 404
    assert update(admin, "firewall_rule", shared["id"], 409, shared=False)["type"] == "FirewallRuleInUse"
    error = create(admin, "firewall_policy", 409, shared=True, firewall_rules=[shared["id"], private["id"]])
    assert error["type"] == "FirewallRuleSharingConflict" and private["id"] in error["message"]
    policy = create(admin, "firewall_policy", shared=True, firewall_rules=[shared["id"]])
    assert action(admin, "firewall_policy", policy["id"], "insert_rule", 409, firewall_rule_id=private["id"])["type"] == \
        "FirewallRuleSharingConflict"
    assert show(user, "firewall_policy", policy["id"])["firewall_rules"] == [shared["id"]]
    assert action(user, "firewall_policy", policy["id"], "remove_rule", 403, firewall_rule_id=shared["id"])["type"] == "PolicyNotAuthorized"
    group = create(user, "firewall_group", ingress_firewall_policy_id=policy["id"])
    assert update(admin, "firewall_policy", policy["id"], 409, shared=False)["type"] == "FirewallPolicyInUse"
    assert create(admin, "firewall_group", 409, shared=True, egress_firewall_policy_id=create(admin, "firewall_policy")["id"])["type"] == \
        "FirewallPolicySharingConflict"
    delete(user, "firewall_group", group["id"])
    update(admin, "firewall_policy", policy["id"], shared=False)


def test_groups(shared_hub, user):
    net = create(user, "network")
    ports = [create(user, "port", network_id=net["id"])["id"] for _ in range(3)]
    policy = create(user, "firewall_policy")
    group = create(user, "firewall_group", name="g", ports=ports[:2], ingress_firewall_policy_id=policy["id"])
    assert sorted(group["ports"]) == sorted(ports[:2]) and group["status"] == "ACTIVE"
    error = create(user, "firewall_group", 409, ports=[ports[2], ports[1]])
    assert error["type"] == "FirewallGroupPortInUse" and ports[1] in error["message"]
    assert create(user, "firewall_group", 404, ports=[str(uuid.uuid4())])["type"] == "PortNotFound"
    assert create(user, "firewall_group", 404, ports=[7])["type"] == "PortNotFound"
    assert "ports" in create(user, "firewall_group", 400, ports="x")["message"]
    assert create(user, "firewall_group", 404, egress_firewall_policy_id=str(uuid.uuid4()))["type"] == "FirewallPolicyNotFound"
    assert "status" in user.post(PATHS["firewall_group"], {"firewall_group": {"status": "ACTIVE"}}, 400).text
    theirs = create(shared_hub.new_user("member"), "firewall_group")
    assert update(user, "firewall_group", theirs["id"], 404, name="x")["type"] == "FirewallGroupNotFound"
    error = create(shared_hub, "firewall_group", 409, ports=ports[2:])
    assert error["type"] == "FirewallGroupPortInvalidProject"
    assert delete(user, "firewall_policy", policy["id"], 409)["type"] == "FirewallPolicyInUse"
    assert delete(user, "firewall_group", group["id"], 409)["type"] == "FirewallGroupInUse"
    delete(user, "port", ports[0])
    assert show(user, "firewall_group", group["id"])["ports"] == [ports[1]]
    assert update(user, "firewall_group", group["id"], ports=[])["status"] == "INACTIVE"
    delete(user, "firewall_group", group["id"])


# ---- what the node is told ----


@pytest.fixture(name="node")
def fixture_node(build, shared_hub, tmp_path):
    with lab_node(build, shared_hub, tmp_path) as n:
        yield n


def bound_port(admin, node, **attrs):
    net = create(admin, "network")
    return create(admin, "port", network_id=net["id"], binding__host_id=node.name, **attrs)["id"]


def objects(node, kind):
    return {oid: o[kind] for (k, oid), o in node.held().items() if k == kind}


def rules_of(node, acl):
    """The list's rules, of all its parts."""
    held = objects(node, "acl_part")
    return [r for part in objects(node, "acl")[acl].get("part_ids", []) for r in held[part].get("rules", [])]


def eventually(what, condition):
    return wait_for(condition, what)


def port_lists(node, port):
    held = objects(node, "port").get(port, {})
    return held.get("acl_in_ids", []), held.get("acl_out_ids", [])


def test_node_learns_the_rules(shared_hub, node):
    admin = shared_hub
    port = bound_port(admin, node)
    peers = create(admin, "address_group", addresses=["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"])["id"]
    unused = create(admin, "address_group", addresses=["10.3.0.0/16"])["id"]
    first = create(admin, "firewall_rule", action="allow", protocol="tcp", demarc__source_address_group_id=peers, destination_port="80:90",
                   destination_ip_address="192.0.2.9", demarc__tcp_flags="syn,!ack", demarc__dscp=0, demarc__vlan=7)["id"]
    second = create(admin, "firewall_rule", action="reject", protocol="icmp", ip_version=6, demarc__icmp_type=128, demarc__icmp_code=0,
                    source_ip_address="fd00::/8")["id"]
    off = create(admin, "firewall_rule", enabled=False, demarc__source_address_group_id=unused)["id"]
    policy = create(admin, "firewall_policy", firewall_rules=[first, off, second])["id"]
    group = create(admin, "firewall_group", ports=[port], ingress_firewall_policy_id=policy)
    assert group["status"] == "ERROR", "this node has not said that it knows the feature"
    eventually("the port's list", lambda: port_lists(node, port) == ([policy], []))
    rules = rules_of(node, policy)
    assert [r["id"] for r in rules] == [i.replace("-", "") for i in (first, second)], "disabled rules stay here"
    assert rules[0] == {**rules[0], "action": "ACL_ALLOW", "family": 4, "protocol": 6, "destination": "c000020920", "source_group_id": peers,
                        "has_destination_ports": True, "destination_port_min": 80, "destination_port_max": 90, "tcp_flags_mask": 0x12,
                        "tcp_flags": 2, "has_dscp": True, "dscp": 0, "vlan": 7, "has_icmp_type": False, "has_source_ports": False}
    assert rules[1] == {**rules[1], "action": "ACL_REJECT", "family": 6, "protocol": 58, "source": "fd" + "00" * 15 + "08",
                        "destination": "", "has_icmp_type": True, "icmp_type": 128, "has_icmp_code": True, "icmp_code": 0, "vlan": 0}
    held = objects(node, "address_group")
    assert list(held) == [peers], "groups that no rule in force names stay here"
    assert held[peers] == {"cidrs4": "0a00000008" + "c000020120", "cidrs6": "20010db8" + "00" * 12 + "20"}
    update(admin, "firewall_rule", off, enabled=True)
    eventually("the rule between", lambda: [r["id"] for r in rules_of(node, policy)][1:2] == [off.replace("-", "")])
    assert set(objects(node, "address_group")) == {peers, unused}
    action(admin, "address_group", peers, "remove_addresses", addresses=["10.0.0.0/8", "2001:db8::/32"])
    eventually("the address", lambda: objects(node, "address_group")[peers]["cidrs4"] == "c000020120")
    assert objects(node, "address_group")[peers]["cidrs6"] == ""
    update(admin, "firewall_group", group["id"], egress_firewall_policy_id=policy)
    eventually("both directions", lambda: port_lists(node, port) == ([policy], [policy]))
    update(admin, "firewall_group", group["id"], admin_state_up=False)
    eventually("a list that denies all", lambda: port_lists(node, port) == ([group["id"]], [group["id"]]))
    assert set(objects(node, "acl")) == {group["id"]} and rules_of(node, group["id"]) == []
    update(admin, "firewall_group", group["id"], admin_state_up=True, ports=[])
    eventually("no list", lambda: port_lists(node, port) == ([], []))
    assert not objects(node, "acl") and not objects(node, "acl_part") and not objects(node, "address_group")


def test_node_learns_of_security_groups(shared_hub, node):
    admin = shared_hub
    peers = create(admin, "address_group", addresses=["10.0.0.0/8"])["id"]
    sg = create(admin, "security_group", name="sl", stateful=False)["id"]
    port = bound_port(admin, node, security_groups=[sg])
    assert port
    create(admin, "security_group_rule", security_group_id=sg, direction="ingress", remote_address_group_id=peers)
    eventually("the address group", lambda: peers in objects(node, "address_group"))
    group = objects(node, "security_group")[sg]
    assert group["stateless"] is True and peers in [r["remote_address_group_id"] for r in group["rules"]]
    action(admin, "address_group", peers, "add_addresses", addresses=["11.0.0.0/8"])
    eventually("the address", lambda: objects(node, "address_group")[peers]["cidrs4"] == "0a00000008" + "0b00000008")


def test_ten_thousand_rules(shared_hub, node):
    """Created in bulk, put in order by one request; later changes send no more than they change."""
    admin = shared_hub
    port = bound_port(admin, node)
    ids = many_rules(admin, 10000, description="x" * 200)
    assert len(set(ids)) == 10000
    policy = create(admin, "firewall_policy")["id"]
    create(admin, "firewall_group", ports=[port], egress_firewall_policy_id=policy)
    got = update(admin, "firewall_policy", policy, firewall_rules=list(reversed(ids)))
    assert got["firewall_rules"] == list(reversed(ids))
    wanted = [i.replace("-", "") for i in reversed(ids)]
    eventually("all rules", lambda: port_lists(node, port)[1] and [r["id"] for r in rules_of(node, policy)] == wanted)
    one_more = create(admin, "firewall_rule")["id"]
    error = action(admin, "firewall_policy", policy, "insert_rule", 409, firewall_rule_id=one_more)
    assert error["type"] == "OverQuota"

    def sent_after(change):
        before = len(node.frames("intent"))
        change()
        eventually("an intent", lambda: len(node.frames("intent")) > before)
        return sorted({o["kind"] for f in node.frames("intent")[before:] for o in f["intent"]["objects"]}), \
            sum(len(f["intent"]["objects"]) for f in node.frames("intent")[before:])

    assert sent_after(lambda: update(admin, "port", port, name="x")) == (["port"], 1)
    assert sent_after(lambda: update(admin, "firewall_rule", ids[5000], action="deny")) == (["acl", "acl_part"], 2)
    assert sent_after(lambda: action(admin, "firewall_policy", policy, "remove_rule", firewall_rule_id=ids[0])) == (["acl", "acl_part"], 2)
