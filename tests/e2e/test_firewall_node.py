# SPDX-License-Identifier: Apache-2.0
"""Firewall groups, address groups and stateless security groups on a real hub and a real node: what traffic makes of them."""

import time

import pytest
from conftest import wait_for
from real_site import LAN_HOST, ROUTER_LAN, V1, V2, real_site
from test_firewall import action, create, delete, many_rules, show, update

SLEEP = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]
A, B = "10.1.0.5", "10.1.0.6"


class Pair:
    """Two functions on one network."""

    def __init__(self, site):
        self.site, self.admin = site, site.hub
        net = site.network("n", "10.1.0.0/24")
        self.ports = [site.port(net, fixed_ips=[{"ip_address": ip}]) for ip in (A, B)]
        image = site.image("host", SLEEP)
        self.servers = [site.server(f"s{i}", image, [p]) for i, p in enumerate(self.ports)]
        for s in self.servers:
            wait_for(lambda s=s: site.hub.get(f"/compute/v2.1/servers/{s}", 200).json()["server"]["status"] == "ACTIVE", "running", 60)

    def ping(self, source=0, destination=B, extra=()):
        done = self.site.node.inside(self.servers[source], "/bin/ping", "-c", "1", "-W", "1", *extra, destination, check=False)
        return "1 packets received" in done

    def tcp(self, port):
        """A connection from A to a listener on B: what arrives."""
        self.site.node.inside(self.servers[1], "/bin/sh", "-c", f"(echo hello | nc -l -p {port} >/dev/null 2>&1 &)")
        return "hello" in self.site.node.inside(self.servers[0], "/bin/sh", "-c", f"nc -w 1 {B} {port} </dev/null", check=False)

    def denied_by(self):
        """Rules by which watched drops were decided; the watch goes on."""
        answer = self.admin.get(f"{V1}/nodes/{self.site.node.id}/watch?after=0", 200).json()
        return {d["rule_id"] for d in next(v for v in answer.values() if isinstance(v, list)) if d["reason"] in ("acl", "reject")}

    def traced(self, **packet):
        """What the stages say of a packet from A to B."""
        body = {"trace": {"port": self.ports[0], "dst_ip": B, "follow": False, **packet}}
        answer = self.admin.post(f"{V1}/nodes/{self.site.node.id}/trace", body, 200).json()
        return " ".join(s["text"] for s in answer["steps"])

    def passes(self, what="passes", **kwargs):
        wait_for(lambda: self.ping(**kwargs), what, 30)

    def stops(self, what="stops", **kwargs):
        wait_for(lambda: not self.ping(**kwargs), what, 30)


@pytest.fixture(name="pair", scope="module")
def fixture_pair(build, tmp_path_factory):
    with real_site(build, tmp_path_factory.mktemp("firewall")) as site:
        yield Pair(site)


def test_rules_stop_and_pass_traffic(pair):
    admin = pair.admin
    pair.passes("without rules")
    peers = create(admin, "address_group")["id"]
    deny = create(admin, "firewall_rule", protocol="icmp", source_ip_address=A)["id"]
    rest = create(admin, "firewall_rule", action="allow")["id"]
    friends = create(admin, "firewall_rule", action="allow", protocol="icmp", demarc__source_address_group_id=peers)["id"]
    policy = create(admin, "firewall_policy", firewall_rules=[deny, rest])["id"]
    group = create(admin, "firewall_group", ingress_firewall_policy_id=policy, ports=[pair.ports[1]])
    assert group["status"] == "ACTIVE"
    pair.denied_by()
    pair.stops("by the first rule")
    wait_for(lambda: not pair.ping() and deny in pair.denied_by(), "the drop names the rule")
    assert deny in pair.traced(protocol="icmp")
    text = pair.traced(protocol="tcp", dst_port=7001)
    assert rest in text and deny not in text
    assert any(r["id"] in text for r in admin.get(f"{V2}/security-group-rules", 200).json()["security_group_rules"])
    assert pair.tcp(7001), "the second rule allows the rest"
    pair.stops("answers to B are packets to B", source=1, destination=A)
    action(admin, "firewall_policy", policy, "insert_rule", firewall_rule_id=friends)
    assert not pair.ping(), "the address group is empty"
    action(admin, "address_group", peers, "add_addresses", addresses=["10.1.0.4/31"])
    pair.passes("by the address group")
    action(admin, "address_group", peers, "remove_addresses", addresses=["10.1.0.4/31"])
    pair.stops("as the address has left its group")
    update(admin, "firewall_rule", deny, enabled=False)
    pair.passes("as the rule is disabled")
    update(admin, "firewall_policy", policy, firewall_rules=[])
    pair.stops("by the end of an empty policy")
    assert not pair.tcp(7002)
    update(admin, "firewall_policy", policy, firewall_rules=[rest])
    pair.passes("by the only rule")
    update(admin, "firewall_group", group["id"], admin_state_up=False)
    pair.stops("as the group is down")
    update(admin, "firewall_group", group["id"], ports=[])
    pair.passes("as the port has left its group")
    delete(admin, "firewall_group", group["id"])


def test_tcp_flags_and_ports(pair):
    """Stateless: what answers may be allowed by its flags."""
    admin = pair.admin
    syn = create(admin, "firewall_rule", protocol="tcp", demarc__tcp_flags="syn,!ack")["id"]
    rest = create(admin, "firewall_rule", action="allow")["id"]
    policy = create(admin, "firewall_policy", firewall_rules=[syn, rest])["id"]
    group = create(admin, "firewall_group", egress_firewall_policy_id=policy, ports=[pair.ports[1]])["id"]
    pair.passes("icmp")
    assert pair.tcp(7003), "B answers connections, but opens none"
    update(admin, "firewall_group", group, ports=[pair.ports[0]])
    wait_for(lambda: not pair.tcp(7004), "A opens none")
    update(admin, "firewall_rule", syn, destination_port="1:7004")
    wait_for(lambda: pair.tcp(7005), "the port is above the rule's")
    assert not pair.tcp(7004)
    update(admin, "firewall_group", group, ports=[])
    delete(admin, "firewall_group", group)


def test_reject_is_answered(pair):
    """A client fails at once, where a denied one waits for its own timeout."""
    admin = pair.admin
    reject = create(admin, "firewall_rule", action="reject", protocol="tcp", destination_port="7100:7199")["id"]
    deny = create(admin, "firewall_rule", action="deny", protocol="tcp", destination_port="7200")["id"]
    rest = create(admin, "firewall_rule", action="allow")["id"]
    policy = create(admin, "firewall_policy", firewall_rules=[reject, deny, rest])["id"]
    group = create(admin, "firewall_group", ingress_firewall_policy_id=policy, ports=[pair.ports[1]])["id"]

    def connect(port, wait):
        """What the client is told, and after how long."""
        start = time.monotonic()
        said = pair.site.node.inside(pair.servers[0], "/bin/sh", "-c", f"nc -w {wait} {B} {port} </dev/null 2>&1", check=False)
        return said, time.monotonic() - start

    wait_for(lambda: "refused" in connect(7100, 20)[0], "the rule is in force", 60)
    for port in range(7101, 7106):
        said, seconds = connect(port, 20)
        assert "refused" in said and seconds < 10, (port, said, seconds)
    said, seconds = connect(7200, 2)
    assert "refused" not in said and seconds > 1.5, (said, seconds)
    text = pair.traced(protocol="tcp", dst_port=7150)
    assert reject in text and "rejects it" in text and "answered with a TCP reset" in text
    pair.passes("icmp")
    update(admin, "firewall_group", group, ports=[])
    delete(admin, "firewall_group", group)


def test_ten_thousand_rules_in_force(pair):
    admin = pair.admin
    rules = many_rules(admin, 9999, action="deny", protocol="tcp", source_ip_address=A)
    last = create(admin, "firewall_rule", action="allow")["id"]
    policy = create(admin, "firewall_policy", firewall_rules=rules + [last])["id"]
    start = time.monotonic()
    group = create(admin, "firewall_group", ingress_firewall_policy_id=policy, ports=[pair.ports[1]])["id"]
    wait_for(lambda: not pair.tcp(9000), "a rule among many", 60)
    print(f"10,000 rules in force after {time.monotonic() - start:.1f} s")
    pair.passes("by the last rule")
    assert pair.tcp(10050), "no rule denies this port"
    update(admin, "firewall_rule", rules[8999], enabled=False)
    wait_for(lambda: pair.tcp(9000), "one rule less", 60)
    update(admin, "firewall_group", group, ports=[])
    delete(admin, "firewall_group", group)
    assert show(admin, "firewall_policy", policy)["firewall_rules"][-1] == last


@pytest.fixture(name="open_a")
def fixture_open_a(pair):
    """A takes everything; both ports get their groups back at the end. The group's id."""
    before = [show(pair.admin, "port", p)["security_groups"] for p in pair.ports]
    sg = create(pair.admin, "security_group", name="open")["id"]
    create(pair.admin, "security_group_rule", security_group_id=sg, direction="ingress")
    update(pair.admin, "port", pair.ports[0], security_groups=[sg])
    yield sg
    for port, groups in zip(pair.ports, before):
        update(pair.admin, "port", port, security_groups=groups, allowed_address_pairs=[])


def test_remote_address_group_of_a_security_group(pair, open_a):
    admin = pair.admin
    peers = create(admin, "address_group", addresses=["10.1.0.0/29"])["id"]
    sg = create(admin, "security_group", name="sg")["id"]
    create(admin, "security_group_rule", security_group_id=sg, direction="ingress", remote_address_group_id=peers)
    update(admin, "port", pair.ports[1], security_groups=[sg])
    pair.passes("by the address group")
    action(admin, "address_group", peers, "remove_addresses", addresses=["10.1.0.0/29"])
    pair.stops("as the group is empty")
    pair.passes("answers belong to their connection", source=1, destination=A)


def test_stateless_security_group(pair, open_a):
    admin = pair.admin
    sg = create(admin, "security_group", name="sl", stateful=False)["id"]
    update(admin, "port", pair.ports[1], security_groups=[sg])
    pair.stops("without an ingress rule")
    pair.stops("the answer needs a rule as well", source=1, destination=A)
    rule = create(admin, "security_group_rule", security_group_id=sg, direction="ingress", protocol="icmp", remote_group_id=open_a)["id"]
    pair.passes("by the remote group")
    pair.passes("so does the answer", source=1, destination=A)
    assert not pair.tcp(7010), "only icmp"
    delete(admin, "security_group_rule", rule)
    pair.stops("without the rule")
    create(admin, "security_group_rule", security_group_id=sg, direction="ingress", protocol="tcp", port_range_min=7011, port_range_max=7012)
    wait_for(lambda: pair.tcp(7011), "by its port")
    assert not pair.tcp(7013)


def test_subnets_of_address_pairs_are_members(pair, open_a):
    """A subnet among a member's allowed addresses counts as the member's."""
    admin = pair.admin
    sg = create(admin, "security_group", name="by-group")["id"]
    create(admin, "security_group_rule", security_group_id=sg, direction="ingress", remote_group_id=open_a)
    update(admin, "port", pair.ports[1], security_groups=[sg])
    pair.passes("by the fixed address")
    pair.site.node.inside(pair.servers[0], "/bin/ip", "addr", "add", "10.1.0.130/24", "dev", "eth0")
    assert not pair.ping(extra=("-I", "10.1.0.130")), "an address that is not A's"
    update(admin, "port", pair.ports[0], allowed_address_pairs=[{"ip_address": "10.1.0.128/26"}])
    pair.passes("by the pair", extra=("-I", "10.1.0.130"))


def test_group_of_an_uplink(pair):
    """The port that stands for a NIC: from it comes what the premises' hosts send."""
    admin, site = pair.admin, pair.site
    lan = site.provider("lan", "192.168.10.0/24")
    uplink = site.uplink(lan)
    port = site.port(lan, fixed_ips=[{"ip_address": ROUTER_LAN}], port_security_enabled=False)
    server = site.server("edge", site.image("edge", SLEEP), [port])
    wait_for(lambda: site.bindings(server)["healthy"], "running", 60)

    def lan_pings():
        return "1 packets received" in site.in_ns("lan", "/bin/busybox", "ping", "-c", "1", "-W", "1", ROUTER_LAN, check=False)

    wait_for(lan_pings, "without rules")
    deny = create(admin, "firewall_rule", protocol="icmp", source_ip_address=LAN_HOST)["id"]
    policy = create(admin, "firewall_policy", firewall_rules=[deny, create(admin, "firewall_rule", action="allow")["id"]])["id"]
    group = create(admin, "firewall_group", ingress_firewall_policy_id=policy, ports=[uplink])["id"]
    assert lan_pings(), "nothing from that host goes to the LAN"
    update(admin, "firewall_group", group, egress_firewall_policy_id=policy)
    wait_for(lambda: not lan_pings(), "what comes from the LAN is denied")
    update(admin, "firewall_rule", deny, demarc__icmp_type=13)
    wait_for(lan_pings, "another ICMP type")
    update(admin, "firewall_group", group, ports=[])
    delete(admin, "firewall_group", group)
