# SPDX-License-Identifier: Apache-2.0
"""Network v2.0 by the unmodified client and by hand: addresses, security groups, ports, and every wrong input."""

import concurrent.futures
import ipaddress
import re
import uuid

import pytest

from test_compute import add_node

V2 = "/network/v2.0"


def create(session, kind, status=201, **attrs):
    """POST one resource; returns its body, or the NeutronError."""
    path = {"security_group": "security-groups", "security_group_rule": "security-group-rules"}.get(kind, kind + "s")
    body = session.post(f"{V2}/{path}", {kind: attrs}, status).json()
    return body[kind] if status == 201 else body["NeutronError"]


def update(session, kind, resource, status=200, headers=None, **attrs):
    path = {"security_group": "security-groups"}.get(kind, kind + "s")
    body = session.put(f"{V2}/{path}/{resource['id']}", {kind: attrs}, status, headers=headers).json()
    return body[kind] if status == 200 else body["NeutronError"]


def delete(session, kind, resource, status=204):
    path = {"security_group": "security-groups", "security_group_rule": "security-group-rules"}.get(kind, kind + "s")
    r = session.delete(f"{V2}/{path}/{resource['id']}", status)
    return None if status == 204 else r.json()["NeutronError"]


def addresses(port):
    return [f["ip_address"] for f in port["fixed_ips"]]


@pytest.fixture
def member(shared_hub):
    """A user of a project of this test's own."""
    return shared_hub.new_user("member")


@pytest.fixture
def net(member):
    """A network with one subnet 10.0.0.0/24, pool .10 to .14."""
    network = create(member, "network", name="n")
    network["subnet"] = create(member, "subnet", network_id=network["id"], cidr="10.0.0.0/24", ip_version=4,
                               allocation_pools=[{"start": "10.0.0.10", "end": "10.0.0.14"}])
    return network


# ---- the client ----


def test_client_networks(shared_hub):
    h = shared_hub
    net = h.openstack("network", "create", "lan", "--provider-network-type", "vlan", "--provider-physical-network", "lan",
                      "--provider-segment", "100", "--mtu", "1400", "--description", "the LAN")
    assert (net["provider:network_type"], net["provider:segmentation_id"], net["mtu"]) == ("vlan", 100, 1400)
    sub = h.openstack("subnet", "create", "lan-v4", "--network", "lan", "--subnet-range", "192.0.2.0/24", "--gateway", "none",
                      "--dns-nameserver", "198.51.100.53", "--host-route", "destination=10.0.0.0/8,gateway=192.0.2.9", "--no-dhcp")
    assert sub["gateway_ip"] is None and sub["enable_dhcp"] is False
    assert sub["allocation_pools"] == [{"start": "192.0.2.1", "end": "192.0.2.254"}]
    h.openstack("subnet", "set", "lan-v4", "--gateway", "192.0.2.254", "--no-allocation-pool", "--allocation-pool", "start=192.0.2.10,end=192.0.2.19", "--name", "v4", parse=False)
    error = h.openstack("subnet", "set", "v4", "--gateway", "192.0.2.300", fails=True)
    assert "not a valid" in error or "Invalid" in error
    h.openstack("network", "set", "lan", "--share", "--tag", "site", parse=False)
    assert h.openstack("network", "list", "--tags", "site")[0]["Name"] == "lan"
    assert h.openstack("network", "show", "lan")["subnets"] == [sub["id"]]
    h.openstack("network", "delete", "lan", parse=False)
    assert "v4" not in [s["Name"] for s in h.openstack("subnet", "list")]


def test_client_ports_and_groups(shared_hub):
    user = shared_hub.new_user("member")
    user.openstack("network", "create", "n")
    user.openstack("subnet", "create", "s", "--network", "n", "--subnet-range", "10.9.0.0/24")
    user.openstack("security", "group", "create", "web")
    rule = user.openstack("security", "group", "rule", "create", "web", "--protocol", "tcp", "--dst-port", "80:81", "--remote-ip",
                          "0.0.0.0/0")
    assert (rule["protocol"], rule["port_range_min"], rule["port_range_max"]) == ("tcp", 80, 81)
    assert "already exists" in user.openstack("security", "group", "rule", "create", "web", "--protocol", "tcp", "--dst-port",
                                              "80:81", "--remote-ip", "0.0.0.0/0", fails=True)
    assert len(user.openstack("security", "group", "rule", "list", "web")) == 3
    port = user.openstack("port", "create", "p", "--network", "n", "--security-group", "web", "--fixed-ip",
                          "subnet=s,ip-address=10.9.0.77", "--allowed-address", "ip-address=10.8.0.0/16", "--dns-name", "host")
    assert port["fixed_ips"] == [{"subnet_id": port["fixed_ips"][0]["subnet_id"], "ip_address": "10.9.0.77"}]
    assert port["mac_address"].startswith("fa:16:3e:")
    assert [p["Name"] for p in user.openstack("port", "list", "--fixed-ip", "ip-address=10.9.0.77")] == ["p"]
    user.openstack("port", "set", "p", "--no-security-group", "--no-allowed-address", "--disable-port-security", parse=False)
    assert user.openstack("port", "show", "p")["port_security_enabled"] is False
    user.openstack("port", "unset", "p", "--fixed-ip", "subnet=s,ip-address=10.9.0.77", parse=False)
    assert user.openstack("port", "show", "p")["fixed_ips"] == []
    assert "in use" in user.openstack("network", "delete", "n", fails=True)
    user.openstack("port", "delete", "p", parse=False)
    user.openstack("network", "delete", "n", parse=False)


def test_client_listings(shared_hub):
    aliases = [e["Alias"] for e in shared_hub.openstack("extension", "list", "--network")]
    assert {"security-group", "port-security", "provider", "binding", "sfc", "flow_classifier", "standard-attr-tag"} <= set(aliases)
    assert "router" not in aliases
    assert shared_hub.openstack("network", "agent", "list") == []
    assert shared_hub.get(V2 + "/routers").status_code == 404
    quota = shared_hub.get(f"{V2}/quotas/{shared_hub.project_id}", 200).json()["quota"]
    assert quota["port"] == -1
    assert shared_hub.get(f"{V2}/quotas/{shared_hub.project_id}/details.json", 200).json()["quota"]["port"]["limit"] == -1


# ---- addresses ----


def test_lowest_free_address(member, net):
    ports = [create(member, "port", network_id=net["id"]) for _ in range(5)]
    assert [addresses(p) for p in ports] == [[f"10.0.0.{i}"] for i in range(10, 15)]
    error = create(member, "port", 409, network_id=net["id"])
    assert error["type"] == "IpAddressGenerationFailure"
    delete(member, "port", ports[3])
    delete(member, "port", ports[1])
    assert addresses(create(member, "port", network_id=net["id"])) == ["10.0.0.11"]
    assert addresses(create(member, "port", network_id=net["id"])) == ["10.0.0.13"]
    assert member.get(f"{V2}/ports?network_id={net['id']}", 200).json()["ports"].__len__() == 5


def test_given_addresses_are_passed(member, net):
    given = create(member, "port", network_id=net["id"], fixed_ips=[{"ip_address": "10.0.0.11"}, {"ip_address": "10.0.0.200"}])
    assert addresses(given) == ["10.0.0.11", "10.0.0.200"]
    assert [addresses(create(member, "port", network_id=net["id"]))[0] for _ in range(2)] == ["10.0.0.10", "10.0.0.12"]
    delete(member, "port", given)
    assert addresses(create(member, "port", network_id=net["id"])) == ["10.0.0.11"]
    error = create(member, "port", 409, network_id=net["id"], fixed_ips=[{"ip_address": "10.0.0.11"}])
    assert error["type"] == "IpAddressAlreadyAllocated"


def test_no_address_and_update(member, net):
    port = create(member, "port", network_id=net["id"], fixed_ips=[])
    assert port["fixed_ips"] == []
    sub = net["subnet"]["id"]
    port = update(member, "port", port, fixed_ips=[{"subnet_id": sub}, {"ip_address": "10.0.0.99"}])
    assert addresses(port) == ["10.0.0.10", "10.0.0.99"]
    port = update(member, "port", port, fixed_ips=[{"ip_address": "10.0.0.99"}, {"subnet_id": sub}])
    assert addresses(port) == ["10.0.0.99", "10.0.0.10"]
    assert port["revision_number"] == 3
    error = update(member, "port", port, 409, fixed_ips=[{"ip_address": "10.0.0.98"}, {"ip_address": "10.0.0.98"}])
    assert error["type"] == "IpAddressAlreadyAllocated"
    assert addresses(member.get(f"{V2}/ports/{port['id']}", 200).json()["port"]) == ["10.0.0.99", "10.0.0.10"]


def test_both_families(member):
    network = create(member, "network")
    create(member, "subnet", network_id=network["id"], cidr="10.0.0.0/24", ip_version=4)
    v6 = create(member, "subnet", network_id=network["id"], cidr="2001:db8::/64", ip_version=6)
    assert v6["gateway_ip"] == "2001:db8::1"
    assert v6["allocation_pools"] == [{"start": "2001:db8::2", "end": "2001:db8::ffff:ffff:ffff:ffff"}]
    assert addresses(create(member, "port", network_id=network["id"])) == ["10.0.0.2", "2001:db8::2"]
    create(member, "subnet", network_id=network["id"], cidr="2001:db8:1::/64", ip_version=6, ipv6_address_mode="slaac",
           ipv6_ra_mode="slaac")
    port = create(member, "port", network_id=network["id"], mac_address="fa:16:3e:01:02:03")
    assert "2001:db8:1:0:f816:3eff:fe01:203" in addresses(port)


def test_pools_may_change(member, net):
    create(member, "port", network_id=net["id"])
    sub = update(member, "subnet", net["subnet"], allocation_pools=[{"start": "10.0.0.20", "end": "10.0.0.29"},
                                                                    {"start": "10.0.0.10", "end": "10.0.0.11"}])
    assert len(sub["allocation_pools"]) == 2
    got = [addresses(create(member, "port", network_id=net["id"]))[0] for _ in range(2)]
    assert got == ["10.0.0.11", "10.0.0.20"]


def test_concurrent_creates_get_different_addresses(shared_hub, member):
    network = create(member, "network")
    create(member, "subnet", network_id=network["id"], cidr="10.0.0.0/16", ip_version=4)

    def one(_):
        return create(member, "port", network_id=network["id"])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ports = list(pool.map(one, range(64)))
    got = {addresses(p)[0] for p in ports}
    assert got == {str(ipaddress.ip_address("10.0.0.2") + i) for i in range(64)}
    assert len({p["mac_address"] for p in ports}) == 64


# ---- wrong subnets ----

BAD_SUBNETS = [
    (dict(cidr="10.0.0.5/24"), 400, "HTTPBadRequest", "'10.0.0.0/24' is recommended"),
    (dict(cidr="10.0.0.0"), 400, "HTTPBadRequest", "not a valid IP subnet"),
    (dict(cidr="10.0.0.0/33"), 400, "HTTPBadRequest", "not a valid IP subnet"),
    (dict(cidr="0.0.0.0/0"), 400, "InvalidInput", "0 is not allowed"),
    (dict(cidr="2001:db8::/64"), 400, "InvalidInput", "does not match the ip_version"),
    (dict(ip_version=5), 400, "InvalidInput", "ip_version"),
    (dict(ip_version="four"), 400, "HTTPBadRequest", "ip_version"),
    (dict(gateway_ip="10.1.0.1"), 400, "InvalidInput", "Gateway is not valid on subnet"),
    (dict(gateway_ip="10.0.0.255"), 400, "InvalidInput", "Gateway is not valid on subnet"),
    (dict(gateway_ip="x"), 400, "HTTPBadRequest", "not a valid IP address"),
    (dict(allocation_pools=[{"start": "10.0.0.9", "end": "10.0.0.8"}]), 400, "InvalidAllocationPool", "10.0.0.9-10.0.0.8"),
    (dict(allocation_pools=[{"start": "10.0.0.9"}]), 400, "InvalidAllocationPool", "10.0.0.9"),
    (dict(allocation_pools=[{"start": "10.0.0.9", "end": "10.0.1.8"}]), 400, "OutOfBoundsAllocationPool", "10.0.0.0/24"),
    (dict(allocation_pools=[{"start": "10.0.0.9", "end": "10.0.0.19"}, {"start": "10.0.0.19", "end": "10.0.0.29"}]), 409,
     "OverlappingAllocationPools", "10.0.0.9-10.0.0.19 10.0.0.19-10.0.0.29"),
    (dict(allocation_pools=[{"start": "10.0.0.1", "end": "10.0.0.9"}]), 409, "GatewayConflictWithAllocationPools", "10.0.0.1"),
    (dict(dns_nameservers=["ns.example"]), 400, "HTTPBadRequest", "dns_nameservers"),
    (dict(dns_nameservers=["9.9.9.9"] * 2), 400, "HTTPBadRequest", "Duplicate nameserver"),
    (dict(dns_nameservers=["9.9.9.%d" % i for i in range(9)]), 400, "HTTPBadRequest", "dns_nameservers"),
    (dict(host_routes=[{"destination": "10.0.0.0/8"}]), 400, "HTTPBadRequest", "host_routes"),
    (dict(host_routes=[{"destination": "10.0.0.0/8", "nexthop": "::1"}]), 400, "InvalidInput", "host_routes"),
    (dict(ipv6_ra_mode="slaac"), 400, "InvalidInput", "ipv6_ra_mode"),
    (dict(cidr=7), 400, "HTTPBadRequest", "cidr"),
    (dict(name="x" * 300), 400, "HTTPBadRequest", "name"),
    (dict(color="red"), 400, "HTTPBadRequest", "color"),
    (dict(network_id=str(uuid.uuid4())), 404, "NetworkNotFound", "could not be found"),
]


@pytest.mark.parametrize("attrs,status,kind,text", BAD_SUBNETS, ids=[f"{i}-{b[2]}" for i, b in enumerate(BAD_SUBNETS)])
def test_wrong_subnet(member, attrs, status, kind, text):
    network = create(member, "network")
    error = create(member, "subnet", status, **{"network_id": network["id"], "cidr": "10.0.0.0/24", "ip_version": 4, **attrs})
    assert (error["type"], error["detail"]) == (kind, "")
    assert text in error["message"]
    assert member.get(f"{V2}/networks/{network['id']}", 200).json()["network"]["subnets"] == []


def test_overlapping_subnet(member, net):
    error = create(member, "subnet", 400, network_id=net["id"], cidr="10.0.0.128/25", ip_version=4)
    assert error["type"] == "InvalidInput" and "overlaps with another subnet" in error["message"]


def test_subnet_in_use(member, net):
    port = create(member, "port", network_id=net["id"])
    assert delete(member, "subnet", net["subnet"], 409)["type"] == "SubnetInUse"
    assert delete(member, "network", net, 409)["type"] == "NetworkInUse"
    delete(member, "port", port)
    delete(member, "subnet", net["subnet"])
    delete(member, "network", net)


# ---- wrong ports ----

BAD_PORTS = [
    (dict(fixed_ips=[{"ip_address": "10.7.0.1"}]), 400, "InvalidIpForNetwork", "10.7.0.1"),
    (dict(fixed_ips=[{"ip_address": "10.0.0.255"}]), 400, "InvalidIpForNetwork", "10.0.0.255"),
    (dict(fixed_ips=[{"subnet_id": str(uuid.uuid4())}]), 400, "InvalidInput", "invalid subnet"),
    (dict(fixed_ips=[{}]), 400, "HTTPBadRequest", "fixed_ips"),
    (dict(fixed_ips=[{"ip_address": "10.0.0.12", "x": 1}]), 400, "HTTPBadRequest", "fixed_ips"),
    (dict(fixed_ips="10.0.0.12"), 400, "HTTPBadRequest", "fixed_ips"),
    (dict(fixed_ips=[{"ip_address": "10.0.0.%d" % (50 + i)} for i in range(20)]), 400, "InvalidInput", "fixed ips"),
    (dict(mac_address="01:00:5e:00:00:01"), 400, "HTTPBadRequest", "mac_address"),
    (dict(mac_address="nonsense"), 400, "HTTPBadRequest", "mac_address"),
    (dict(admin_state_up="maybe"), 400, "HTTPBadRequest", "admin_state_up"),
    (dict(allowed_address_pairs=[{"mac_address": "fa:16:3e:00:00:01"}]), 400, "HTTPBadRequest", "allowed_address_pairs"),
    (dict(allowed_address_pairs=[{"ip_address": "10.0.0.0/33"}]), 400, "HTTPBadRequest", "allowed_address_pairs"),
    (dict(allowed_address_pairs=[{"ip_address": "10.1.0.0/24"}] * 2), 400, "DuplicateAddressPairInRequest", "10.1.0.0/24"),
    (dict(allowed_address_pairs=[{"ip_address": "10.1.%d.0/24" % i} for i in range(25)]), 400, "AllowedAddressPairExhausted", "24"),
    (dict(allowed_address_pairs=[{"ip_address": "10.1.0.0/24"}], port_security_enabled=False), 409,
     "AddressPairAndPortSecurityRequired", "Port Security"),
    (dict(security_groups=[str(uuid.uuid4())]), 404, "SecurityGroupNotFound", "does not exist"),
    (dict(security_groups=[7]), 404, "SecurityGroupNotFound", "7"),
    (dict(extra_dhcp_opts=[{"value": "x"}]), 400, "HTTPBadRequest", "extra_dhcp_opts"),
    (dict(dns_name="a_b"), 400, "HTTPBadRequest", "dns_name"),
    (dict(dns_name="-a"), 400, "HTTPBadRequest", "dns_name"),
    (dict(device_owner="network:uplink"), 403, "PolicyNotAuthorized", "device_owner"),
    (dict(dns_name="x" * 64), 400, "HTTPBadRequest", "dns_name"),
    (dict(network_id="net"), 400, "HTTPBadRequest", "network_id"),
    (dict(network_id=str(uuid.uuid4())), 404, "NetworkNotFound", "could not be found"),
    ({"binding:host_id": "n1"}, 403, "PolicyNotAuthorized", "binding:host_id"),
    (dict(revision_number=7), 400, "HTTPBadRequest", "revision_number"),
    (dict(project_id="0" * 32), 403, "PolicyNotAuthorized", "another project"),
]


@pytest.mark.parametrize("attrs,status,kind,text", BAD_PORTS, ids=[f"{i}-{b[2]}" for i, b in enumerate(BAD_PORTS)])
def test_wrong_port(member, net, attrs, status, kind, text):
    error = create(member, "port", status, **{"network_id": net["id"], **attrs})
    assert error["type"] == kind
    assert text in error["message"]
    assert member.get(f"{V2}/ports?network_id={net['id']}", 200).json()["ports"] == []


def test_same_mac_twice(member, net):
    port = create(member, "port", network_id=net["id"])
    error = create(member, "port", 409, network_id=net["id"], mac_address=port["mac_address"])
    assert error["type"] == "MacAddressInUse"


def test_body_that_is_none(member):
    for body in ({}, {"ports": []}, {"port": []}, {"port": {}, "x": 1}, {"port": None}):
        r = member.post(V2 + "/ports", body)
        assert r.status_code == 400, r.text
        assert r.json()["NeutronError"]["type"]
    r = member.request("POST", V2 + "/ports", data=b'{"port": {', headers={"Content-Type": "application/json"})
    assert r.status_code == 400 and "NeutronError" in r.json()


def test_bulk_is_all_or_nothing(member, net):
    item = {"network_id": net["id"]}
    ports = member.post(V2 + "/ports", {"ports": [item, item]}, 201).json()["ports"]
    assert [addresses(p) for p in ports] == [["10.0.0.10"], ["10.0.0.11"]]
    member.post(V2 + "/ports", {"ports": [item, {**item, "mac_address": "x"}]}, 400)
    assert len(member.get(f"{V2}/ports?network_id={net['id']}", 200).json()["ports"]) == 2


# ---- whose is what ----


def test_foreign_rows(shared_hub, member, net):
    other = shared_hub.new_user("member")
    port = create(member, "port", network_id=net["id"])
    for path in (f"/networks/{net['id']}", f"/subnets/{net['subnet']['id']}", f"/ports/{port['id']}"):
        assert other.get(V2 + path).status_code == 404
        assert other.delete(V2 + path).status_code == 404
    assert create(other, "port", 404, network_id=net["id"])["type"] == "NetworkNotFound"
    assert other.get(V2 + "/ports", 200).json()["ports"] == []
    reader = shared_hub.new_user("reader")
    assert reader.get(V2 + "/networks").status_code == 200
    assert reader.post(V2 + "/networks", {"network": {}}).status_code == 403


def test_shared_network(shared_hub, member):
    network = create(shared_hub, "network", shared=True)
    sub = create(shared_hub, "subnet", network_id=network["id"], cidr="10.3.0.0/24", ip_version=4)
    assert member.get(f"{V2}/networks/{network['id']}", 200).json()["network"]["subnets"] == [sub["id"]]
    port = create(member, "port", network_id=network["id"])
    assert addresses(port) == ["10.3.0.2"]
    assert member.put(f"{V2}/networks/{network['id']}", {"network": {"name": "x"}}).status_code == 403
    assert member.delete(f"{V2}/networks/{network['id']}").status_code == 403
    assert create(member, "subnet", 403, network_id=network["id"], cidr="10.4.0.0/24", ip_version=4)
    for name in ("provider:network_type", "provider:physical_network"):
        assert name not in member.get(f"{V2}/networks/{network['id']}", 200).json()["network"]
    delete(member, "port", port)
    delete(shared_hub, "network", network)


def test_trust_on_a_shared_network(shared_hub, member, net):
    """On somebody else's network a port may not pretend to be another one."""
    network = create(shared_hub, "network", shared=True)
    create(shared_hub, "subnet", network_id=network["id"], cidr="10.3.0.0/24", ip_version=4)
    for attrs in (dict(mac_address="fa:16:3e:00:00:09"), dict(port_security_enabled=False), dict(fixed_ips=[{"ip_address": "10.3.0.9"}]),
                  dict(allowed_address_pairs=[{"ip_address": "10.3.0.0/24"}])):
        assert create(member, "port", 403, network_id=network["id"], **attrs)["type"] == "PolicyNotAuthorized"
        port = create(member, "port", network_id=network["id"])
        assert update(member, "port", port, 403, **attrs)["type"] == "PolicyNotAuthorized"
        delete(member, "port", port)
    for attrs in (dict(port_security_enabled=False, security_groups=[]), dict(allowed_address_pairs=[{"ip_address": "10.3.0.0/24"}])):
        own = create(member, "port", network_id=net["id"], **attrs)
        assert update(member, "port", own, 403, network_id=network["id"])["type"] == "PolicyNotAuthorized"
    delete(shared_hub, "network", network)


def test_admin_attributes(shared_hub, member):
    assert create(member, "network", 403, shared=True)["type"] == "PolicyNotAuthorized"
    assert create(member, "network", 403, **{"provider:network_type": "flat", "provider:physical_network": "lan"})
    flat = {"provider:network_type": "flat", "provider:physical_network": "wan"}
    network = create(shared_hub, "network", **flat)
    assert create(shared_hub, "network", 409, **flat)["type"] == "FlatNetworkInUse"
    vlan = {"provider:network_type": "vlan", "provider:physical_network": "wan", "provider:segmentation_id": 7}
    tagged = create(shared_hub, "network", **vlan)
    assert create(shared_hub, "network", 409, **vlan)["type"] == "VlanIdInUse"
    elsewhere = create(shared_hub, "network", project_id=member.login() and member.project_id, **vlan)
    for bad in ({**vlan, "provider:segmentation_id": 4095}, {**flat, "provider:segmentation_id": 1},
                {"provider:network_type": "flat"}, {"provider:network_type": "vxlan", "provider:physical_network": "lan"},
                {"provider:physical_network": "lan"},
                {k: vlan[k] for k in ("provider:network_type", "provider:physical_network")}):
        create(shared_hub, "network", 400, **bad)
    for n in (network, tagged, elsewhere):
        delete(shared_hub, "network", n)


# ---- port updates ----


def test_rewire_in_place(member, net):
    other = create(member, "network")
    create(member, "subnet", network_id=other["id"], cidr="172.16.0.0/24", ip_version=4)
    port = create(member, "port", network_id=net["id"], name="p")
    moved = update(member, "port", port, network_id=other["id"])
    assert (moved["network_id"], moved["mac_address"], addresses(moved)) == (other["id"], port["mac_address"], ["172.16.0.2"])
    back = update(member, "port", moved, network_id=net["id"], fixed_ips=[{"ip_address": "10.0.0.12"}])
    assert addresses(back) == ["10.0.0.12"]
    assert addresses(create(member, "port", network_id=other["id"])) == ["172.16.0.2"]
    twin = create(member, "port", network_id=other["id"], mac_address=port["mac_address"])
    assert update(member, "port", back, 409, network_id=other["id"])["type"] == "MacAddressInUse"
    assert update(member, "port", back, 404, network_id=str(uuid.uuid4()))["type"] == "NetworkNotFound"
    assert addresses(member.get(f"{V2}/ports/{port['id']}", 200).json()["port"]) == ["10.0.0.12"]
    delete(member, "port", twin)


def test_if_match(member, net):
    port = create(member, "port", network_id=net["id"])
    port = update(member, "port", port, headers={"If-Match": f"revision_number={port['revision_number']}"}, name="a")
    error = update(member, "port", port, 412, headers={"If-Match": "revision_number=1"}, name="b")
    assert error["type"] == "RevisionNumberConstraintFailed"
    assert member.delete(f"{V2}/ports/{port['id']}", headers={"If-Match": "revision_number=77"}).status_code == 412
    assert member.get(f"{V2}/ports/{port['id']}", 200).json()["port"]["name"] == "a"


def test_port_security_and_groups(member, net):
    group = create(member, "security_group", name="g")
    port = create(member, "port", network_id=net["id"])
    names = {g["id"]: g["name"] for g in member.get(V2 + "/security-groups", 200).json()["security_groups"]}
    assert [names[i] for i in port["security_groups"]] == ["default"]
    port = update(member, "port", port, security_groups=[group["id"]])
    assert port["security_groups"] == [group["id"]]
    assert delete(member, "security_group", group, 409)["type"] == "SecurityGroupInUse"
    assert update(member, "port", port, 409, port_security_enabled=False)["type"] == "PortSecurityPortHasSecurityGroup"
    port = update(member, "port", port, port_security_enabled=False, security_groups=[])
    assert update(member, "port", port, 409, security_groups=[group["id"]])["type"] == "PortSecurityAndIPRequiredForSecurityGroups"
    delete(member, "security_group", group)


def test_uplink_needs_node_and_provider_network(shared_hub):
    flat = create(shared_hub, "network", **{"provider:network_type": "flat", "provider:physical_network": "uplink-test"})
    error = create(shared_hub, "port", 400, network_id=flat["id"], device_owner="network:uplink", **{"binding:host_id": "nowhere"})
    assert error["type"] == "HostNotFound"
    delete(shared_hub, "network", flat)


# ---- security groups ----


def test_default_rules(member):
    group = create(member, "security_group", name="g", description="d")
    rules = group["security_group_rules"]
    assert {(r["direction"], r["ethertype"], r["protocol"]) for r in rules} == {("egress", "IPv4", None), ("egress", "IPv6", None)}
    default = member.get(V2 + "/security-groups?name=default", 200).json()["security_groups"][0]
    assert sorted((r["direction"], r["ethertype"], r["remote_group_id"] or "") for r in default["security_group_rules"]) == [
        ("egress", "IPv4", ""), ("egress", "IPv6", ""), ("ingress", "IPv4", default["id"]), ("ingress", "IPv6", default["id"])]
    assert create(member, "security_group", 409, name="default")["type"] == "SecurityGroupDefaultAlreadyExists"
    assert delete(member, "security_group", default, 409)["type"] == "SecurityGroupCannotRemoveDefault"
    assert update(member, "security_group", default, 409, name="x")["type"] == "SecurityGroupCannotUpdateDefault"


GOOD_RULES = [
    dict(protocol="tcp", port_range_min=80, port_range_max=80),
    dict(protocol="6"),
    dict(protocol="icmp", port_range_min=8, port_range_max=0),
    dict(protocol="icmpv6", ethertype="IPv6", port_range_min=128),
    dict(protocol="vrrp"),
    dict(remote_ip_prefix="192.0.2.7"),
    dict(remote_ip_prefix="2001:db8::/32", ethertype="ipv6"),
    dict(direction="egress", protocol="udp", port_range_min="53", port_range_max="53"),
    dict(protocol="any", direction="egress", remote_ip_prefix="0.0.0.0/0"),
]
BAD_RULES = [
    (dict(direction="up"), 400, "HTTPBadRequest", "direction"),
    (dict(ethertype="ARP"), 400, "HTTPBadRequest", "ethertype"),
    (dict(protocol="bogus"), 400, "SecurityGroupRuleInvalidProtocol", "bogus"),
    (dict(protocol="256"), 400, "SecurityGroupRuleInvalidProtocol", "256"),
    (dict(protocol="icmpv6"), 400, "SecurityGroupEthertypeConflictWithProtocol", "IPv4"),
    (dict(port_range_min=80, port_range_max=80), 400, "SecurityGroupProtocolRequiredWithPorts", "protocol"),
    (dict(protocol="tcp", port_range_min=81, port_range_max=80), 400, "SecurityGroupInvalidPortRange", "<="),
    (dict(protocol="tcp", port_range_min=80), 400, "SecurityGroupInvalidPortRange", "<="),
    (dict(protocol="tcp", port_range_min=80, port_range_max=65536), 400, "SecurityGroupInvalidPortValue", "65536"),
    (dict(protocol="udp", port_range_min=-1, port_range_max=5), 400, "SecurityGroupInvalidPortValue", "-1"),
    (dict(protocol="gre", port_range_min=1, port_range_max=5), 400, "SecurityGroupInvalidProtocolForPort", "gre"),
    (dict(protocol="icmp", port_range_min=300), 400, "SecurityGroupInvalidIcmpValue", "300"),
    (dict(protocol="icmp", port_range_max=3), 400, "SecurityGroupMissingIcmpType", "3"),
    (dict(remote_ip_prefix="10.0.0.0/40"), 400, "SecurityGroupInvalidCidr", "10.0.0.0/40"),
    (dict(remote_ip_prefix="2001:db8::/32"), 400, "SecurityGroupRuleParameterConflict", "2001:db8::/32"),
    (dict(remote_group_id=str(uuid.uuid4())), 404, "SecurityGroupNotFound", "does not exist"),
    (dict(security_group_id=str(uuid.uuid4())), 404, "SecurityGroupNotFound", "does not exist"),
    (dict(color=1), 400, "HTTPBadRequest", "color"),
]


@pytest.mark.parametrize("attrs", GOOD_RULES, ids=range(len(GOOD_RULES)))
def test_rule(member, attrs):
    group = create(member, "security_group", name="g")
    rule = create(member, "security_group_rule", **{"security_group_id": group["id"], "direction": "ingress", **attrs})
    assert create(member, "security_group_rule", 409, **{"security_group_id": group["id"], "direction": "ingress", **attrs})[
        "type"] == "SecurityGroupRuleExists"
    delete(member, "security_group_rule", rule)
    assert delete(member, "security_group_rule", rule, 404)["type"] == "SecurityGroupRuleNotFound"


@pytest.mark.parametrize("attrs,status,kind,text", BAD_RULES, ids=[f"{i}-{b[2]}" for i, b in enumerate(BAD_RULES)])
def test_wrong_rule(member, attrs, status, kind, text):
    group = create(member, "security_group", name="g")
    error = create(member, "security_group_rule", status,
                   **{"security_group_id": group["id"], "direction": "ingress", **attrs})
    assert error["type"] == kind
    assert text in error["message"]
    assert len(member.get(f"{V2}/security-groups/{group['id']}", 200).json()["security_group"]["security_group_rules"]) == 2


def test_two_remotes(member):
    group = create(member, "security_group", name="g")
    error = create(member, "security_group_rule", 400, security_group_id=group["id"], direction="ingress",
                   remote_ip_prefix="10.0.0.0/8", remote_group_id=group["id"])
    assert error["type"] == "SecurityGroupMultipleRemoteEntites"


# ---- tags, filters, pages ----


def test_tags(member, net):
    path = f"{V2}/networks/{net['id']}/tags"
    assert member.put(path, {"tags": ["red", "blue", "red"]}, 200).json()["tags"] == ["red", "blue"]
    member.put(path + "/green", status=201)
    member.get(path + "/green", 204)
    member.delete(path + "/red", 204)
    assert member.get(path + "/red", 404).json()["NeutronError"]["type"] == "TagNotFound"
    assert member.get(path, 200).json()["tags"] == ["blue", "green"]
    assert [n["id"] for n in member.get(V2 + "/networks?tags=green,blue", 200).json()["networks"]] == [net["id"]]
    assert member.get(V2 + "/networks?tags=green,red", 200).json()["networks"] == []
    assert member.put(path, {"tags": "red"}).status_code == 400
    assert member.put(path, {"tags": ["x" * 61]}).status_code == 400
    member.delete(path, 204)
    assert member.get(path, 200).json()["tags"] == []


def test_filters_and_pages(member, net):
    ports = [create(member, "port", network_id=net["id"], name=f"p{i}") for i in range(5)]
    assert [p["name"] for p in member.get(f"{V2}/ports?name=p1&name=p3", 200).json()["ports"]] == ["p1", "p3"]
    assert [p["name"] for p in member.get(f"{V2}/ports?mac_address={ports[2]['mac_address']}", 200).json()["ports"]] == ["p2"]
    got = member.get(f"{V2}/ports?fixed_ips=ip_address=10.0.0.11&fields=name", 200).json()["ports"]
    assert got == [{"name": "p1"}]
    group = ports[0]["security_groups"][0]
    assert len(member.get(f"{V2}/ports?security_groups={group}", 200).json()["ports"]) == 5
    page = member.get(f"{V2}/ports?limit=2&sort_key=name&sort_dir=desc", 200).json()
    assert [p["name"] for p in page["ports"]] == ["p4", "p3"]
    following = [link["href"] for link in page["ports_links"] if link["rel"] == "next"][0]
    page = member.get(following[following.index("/network/"):], 200).json()
    assert [p["name"] for p in page["ports"]] == ["p2", "p1"]


def test_survives_kill(hub):
    """What was answered is there after a kill, and the next address is the next one."""
    network = create(hub, "network", name="n")
    create(hub, "subnet", network_id=network["id"], cidr="10.0.0.0/24", ip_version=4)
    first = create(hub, "port", network_id=network["id"])
    hub.kill()
    hub.start()
    assert hub.get(f"{V2}/ports/{first['id']}", 200).json()["port"]["fixed_ips"] == first["fixed_ips"]
    assert addresses(create(hub, "port", network_id=network["id"])) == ["10.0.0.3"]


# ---- what a change costs ----


def compiled(hub, response):
    """(nodes whose intent was compiled by the request, nodes that got a new one), from the hub's log."""
    lines = re.findall(rf"intents_compiled request={response.headers['X-Openstack-Request-Id']} nodes=(\d+) changed=(\d+)", hub.log())
    return tuple(sum(int(n) for n in column) for column in zip(*lines)) or (0, 0)


def test_a_change_compiles_what_it_concerns(unstarted_hub):
    """Ports of the project's default group, whose rule names the group itself, on five nodes of one site and one of another."""
    h = unstarted_hub.start("--log-level", "debug")
    nodes = [add_node(h, "here", f"here-{i}") for i in range(5)] + [add_node(h, "there", "there-0")]
    names = [f"here-{i}" for i in range(5)] + ["there-0"]
    net = create(h, "network", name="n")
    overlay = create(h, "network", name="other", **{"provider:network_type": "vxlan"})
    for n, cidr in ((net, "10.0.0.0/24"), (overlay, "10.1.0.0/24")):
        create(h, "subnet", network_id=n["id"], cidr=cidr, ip_version=4)
    ports = [create(h, "port", network_id=net["id"], **{"binding:host_id": name}) for name in names]
    assert len(nodes) == 6 and all(p["security_groups"] == ports[0]["security_groups"] for p in ports)

    def change(i, **attrs):
        return compiled(h, h.put(f"{V2}/ports/{ports[i]['id']}", {"port": attrs}, 200))

    # What is about the port alone reaches its node, and no other is looked at.
    assert change(0, name="renamed") == (1, 1)
    assert change(0, name="renamed") == (1, 0)
    assert change(0, description="a text that no node holds") == (1, 0)
    assert change(0, admin_state_up=False) == (1, 1)
    assert change(0, allowed_address_pairs=[]) == (1, 0)
    # What members are is known to every node with the rule at the site, and to nobody elsewhere.
    assert change(0, fixed_ips=[{"ip_address": "10.0.0.200"}]) == (5, 5)
    assert change(5, fixed_ips=[{"ip_address": "10.0.0.201"}]) == (1, 1)
    assert change(0, allowed_address_pairs=[{"ip_address": "10.9.0.0/24"}]) == (5, 5)
    own = create(h, "security_group", name="own")["id"]
    assert change(0, security_groups=[own]) == (5, 5)
    assert change(0, name="again") == (1, 1)
    assert change(0, security_groups=ports[0]["security_groups"]) == (5, 5)
    # From site to site: those who knew it and those who will.
    assert change(0, **{"binding:host_id": "there-0"}) == (6, 6)
    assert compiled(h, h.delete(f"{V2}/ports/{ports[1]['id']}", 204)) == (4, 4)
    # An overlay reaches from site to site, those that are on it.
    ports[2] = create(h, "port", network_id=overlay["id"], **{"binding:host_id": "here-2"})
    assert change(2, name="renamed") == (1, 1)
    assert change(2, fixed_ips=[{"ip_address": "10.1.0.200"}]) == (3, 3)
    create(h, "port", network_id=overlay["id"], **{"binding:host_id": "there-0"})
    assert change(2, fixed_ips=[{"ip_address": "10.1.0.201"}]) == (4, 4)
