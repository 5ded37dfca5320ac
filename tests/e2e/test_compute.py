# SPDX-License-Identifier: Apache-2.0
"""Compute v2.1 by the unmodified clients and by hand. Most nodes are rows here: what they report is written as a report
leaves it; the tests at the end play a connected node."""

import base64
import contextlib
import json
import sqlite3
import subprocess
import threading
import time
import uuid

import pytest
from conftest import wait_for
from site_lab import lab_node

NOVA = "/compute/v2.1"
NET = "/network/v2.0"
NOTHING = "00000000-0000-4000-8000-000000000000"


def micro(version):
    return {"OpenStack-API-Version": f"compute {version}"}


@contextlib.contextmanager
def rows(hub):
    db = sqlite3.connect(hub.file("hub.db"), timeout=10)
    try:
        yield db
        db.commit()
    finally:
        db.close()


def add_node(hub, site, node, memory_mb=4096, vcpus=8):
    now = int(time.time() * 1e6)
    with rows(hub) as db:
        db.execute("INSERT OR IGNORE INTO site (id, name, created_us, updated_us) VALUES (?, ?, ?, ?)", (str(uuid.uuid4()), site, now, now))
        site_id = db.execute("SELECT id FROM site WHERE name = ?", (site,)).fetchone()[0]
        node_id = str(uuid.uuid4())
        inventory = json.dumps({"vcpus": vcpus, "memory_mb": memory_mb, "disk_gb": 50})
        db.execute("INSERT INTO node (id, name, site_id, inventory, created_us, updated_us) VALUES (?, ?, ?, ?, ?, ?)",
                   (node_id, node, site_id, inventory, now, now))
    return node_id


def observe(hub, server_id, vm_state="active", power_state=1):
    """The row as the node's report leaves it."""
    with rows(hub) as db:
        db.execute("UPDATE server SET vm_state = ?, task_state = NULL, power_state = ?, launched_us = created_us WHERE id = ?",
                   (vm_state, power_state, server_id))


def new_image(user, **attributes):
    body = {"name": "fw", "disk_format": "raw", "container_format": "docker", **attributes}
    image = user.post("/image/v2/images", body, 201).json()["id"]
    user.put(f"/image/v2/images/{image}/file", data=b"x" * 100, headers={"Content-Type": "application/octet-stream"}, status=204)
    return image


def new_network(user, cidr, **attributes):
    net = user.post(f"{NET}/networks", {"network": {"name": f"net-{cidr}", **attributes}}, 201).json()["network"]["id"]
    user.post(f"{NET}/subnets", {"subnet": {"network_id": net, "cidr": cidr, "ip_version": 4}}, 201)
    return net


def new_port(user, network, **attributes):
    return user.post(f"{NET}/ports", {"port": {"network_id": network, **attributes}}, 201).json()["port"]["id"]


class Cloud:
    """A hub with one site, one node, an image and two networks of the admin's project."""

    def __init__(self, hub):
        self.hub = hub
        self.node = add_node(hub, "branch-1", "node-a")
        self.image = new_image(hub, visibility="public")
        self.nets = [new_network(hub, f"10.{i}.0.0/24") for i in (1, 2)]

    def body(self, **attributes):
        server = {"name": "fw", "imageRef": self.image, "flavorRef": "nf.tiny", "networks": [{"uuid": self.nets[0]}], **attributes}
        return {"server": {k: v for k, v in server.items() if v is not None}}

    def server(self, user=None, version="2.90", **attributes):
        made = (user or self.hub).post(f"{NOVA}/servers", self.body(**attributes), 202, headers=micro(version))
        return made.json()["server"]["id"]

    def active(self, **attributes):
        server = self.server(**attributes)
        observe(self.hub, server)
        return server

    def show(self, server, version="2.90", user=None, status=200):
        return (user or self.hub).get(f"{NOVA}/servers/{server}", status, headers=micro(version)).json().get("server")

    def act(self, server, body, status=202, user=None):
        return (user or self.hub).post(f"{NOVA}/servers/{server}/action", body, status)

    def slots(self, server):
        with rows(self.hub) as db:
            return dict(db.execute("SELECT idx, port_id FROM server_vif WHERE server_id = ?", (server,)).fetchall())

    def delete(self, *servers):
        for server in servers:
            self.hub.delete(f"{NOVA}/servers/{server}", 204)


@pytest.fixture(scope="module")
def cloud(shared_hub):
    return Cloud(shared_hub)


# ---- the real clients ----


def test_cli_whole_life(cloud, tmp_path):
    h = cloud.hub
    (tmp_path / "user-data").write_text("#!/bin/sh\n")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    h.openstack("keypair", "create", "--public-key", str(tmp_path / "key.pub"), "cli-key")
    port = h.openstack("port", "create", "--network", cloud.nets[1], "cli-port")["id"]
    made = h.openstack("server", "create", "--image", "fw", "--flavor", "nf.tiny", "--nic", f"net-id={cloud.nets[0]}", "--nic",
                       f"port-id={port}", "--key-name", "cli-key", "--availability-zone", "branch-1", "--property", "demarc:probe=process",
                       "--user-data", str(tmp_path / "user-data"), "--config-drive", "True", "cli-fw")
    assert made["status"] == "BUILD" and made["OS-EXT-AZ:availability_zone"] == "branch-1" and made["adminPass"]
    assert list(made["addresses"]) == ["net-10.1.0.0/24", "net-10.2.0.0/24"]
    observe(h, made["id"])
    shown = h.openstack("server", "show", "cli-fw")
    assert shown["status"] == "ACTIVE" and shown["key_name"] == "cli-key" and shown["OS-EXT-SRV-ATTR:host"] == "node-a"
    assert h.openstack("server", "list", "--name", "cli-")[0]["Name"] == "cli-fw"
    h.openstack("server", "stop", "cli-fw", parse=False)
    assert h.openstack("server", "show", "cli-fw")["OS-EXT-STS:task_state"] == "powering-off"
    observe(h, made["id"], "stopped", 4)
    assert h.openstack("server", "show", "cli-fw")["status"] == "SHUTOFF"
    h.openstack("server", "start", "cli-fw", parse=False)
    observe(h, made["id"])
    h.openstack("server", "reboot", "cli-fw", parse=False)
    assert h.openstack("server", "show", "cli-fw")["status"] == "REBOOT"
    observe(h, made["id"])
    h.openstack("server", "set", "--name", "cli-fw2", "--property", "role=edge", "cli-fw", parse=False)
    assert h.openstack("server", "show", "cli-fw2")["properties"] == {"demarc:probe": "process", "role": "edge"}
    h.openstack("server", "unset", "--property", "role", "cli-fw2", parse=False)
    h.openstack("server", "remove", "port", "cli-fw2", "cli-port", parse=False)
    assert h.openstack("port", "show", "cli-port")["device_id"] == ""
    h.openstack("server", "add", "port", "cli-fw2", "cli-port", parse=False)
    assert cloud.slots(made["id"])[1] == port
    h.openstack("server", "add", "network", "cli-fw2", cloud.nets[1], parse=False)
    assert len(h.openstack("port", "list", "--server", "cli-fw2")) == 3
    assert "not connected" in h.openstack("console", "log", "show", "cli-fw2", fails=True)
    h.openstack("server", "delete", "cli-fw2", parse=False)
    assert "cli-fw2" not in [s["Name"] for s in h.openstack("server", "list")]
    assert h.openstack("port", "show", "cli-port")["status"] == "DOWN"
    assert "No Port" in h.openstack("port", "show", cloud.slots(made["id"]).get(0, "gone"), fails=True)
    h.openstack("port", "delete", "cli-port", parse=False)
    h.openstack("keypair", "delete", "cli-key", parse=False)


def test_cli_flavors(cloud):
    h = cloud.hub
    h.openstack("flavor", "create", "--ram", "32", "--vcpus", "1", "--disk", "0", "--property", "hw:cpu_policy=shared", "--id", "cli-f", "cli-f")
    assert h.openstack("flavor", "show", "cli-f")["properties"] == {"hw:cpu_policy": "shared"}
    h.openstack("flavor", "set", "--property", "a=b", "cli-f", parse=False)
    h.openstack("flavor", "unset", "--property", "hw:cpu_policy", "cli-f", parse=False)
    assert h.openstack("flavor", "show", "cli-f")["properties"] == {"a": "b"}
    h.openstack("flavor", "create", "--private", "--ram", "32", "--vcpus", "1", "--disk", "0", "cli-private")
    assert "cli-private" in [f["Name"] for f in h.openstack("flavor", "list", "--all")]
    member = h.new_user()
    assert "cli-private" not in [f["Name"] for f in member.openstack("flavor", "list")]
    assert "403" in member.openstack("flavor", "create", "--ram", "1", "--vcpus", "1", "x", fails=True)
    for name in ("cli-f", "cli-private"):
        h.openstack("flavor", "delete", name, parse=False)


def test_flavor_access(cloud):
    h, user = cloud.hub, cloud.hub.new_user()
    user.login()
    h.openstack("flavor", "create", "--private", "--project", user.project_id, "--ram", "32", "--vcpus", "1", "--disk", "0", "--id", "acc", "acc")
    assert h.openstack("flavor", "show", "acc")["access_project_ids"] == [user.project_id]
    assert "acc" in [f["Name"] for f in user.openstack("flavor", "list")]
    user.get(f"{NOVA}/flavors/acc", 200)
    user.post(f"{NOVA}/flavors/acc/action", {"addTenantAccess": {"tenant": "x"}}, 403)
    h.post(f"{NOVA}/flavors/acc/action", {"addTenantAccess": {"tenant": user.project_id}}, 409)
    h.post(f"{NOVA}/flavors/nf.tiny/action", {"addTenantAccess": {"tenant": user.project_id}}, 409)
    h.post(f"{NOVA}/flavors/acc/action", {"addTenantAccess": {}}, 400)
    h.post(f"{NOVA}/flavors/acc/action", {"other": {}}, 400)
    h.openstack("flavor", "unset", "--project", user.project_id, "acc", parse=False)
    h.post(f"{NOVA}/flavors/acc/action", {"removeTenantAccess": {"tenant": user.project_id}}, 404)
    user.get(f"{NOVA}/flavors/acc", 404)
    h.delete(f"{NOVA}/flavors/acc", 202)


def test_cli_hosts(cloud):
    h = cloud.hub
    assert "node-a" in [v["Hypervisor Hostname"] for v in h.openstack("hypervisor", "list")]
    shown = h.openstack("hypervisor", "show", "node-a")
    assert shown["memory_mb"] == 4096 and shown["hypervisor_type"] == "demarc" and shown["state"] == "down"
    assert h.openstack("--os-compute-api-version", "2.90", "hypervisor", "show", "node-a")["id"] == cloud.node
    assert h.openstack("hypervisor", "stats", "show")["count"] >= 1
    services = {s["Host"]: s for s in h.openstack("compute", "service", "list")}
    assert services["node-a"]["Zone"] == "branch-1" and services["node-a"]["Binary"] == "nova-compute"
    assert "branch-1" in [z["Zone Name"] for z in h.openstack("availability", "zone", "list", "--compute")]
    assert h.openstack("limits", "show", "--absolute") and h.openstack("quota", "show")
    assert h.openstack("aggregate", "list") == [] and h.openstack("server", "group", "list") == []
    member = h.new_user()
    assert "403" in member.openstack("hypervisor", "list", fails=True)


def test_sdk(cloud):
    nova = cloud.hub.sdk().compute
    made = nova.create_server(name="sdk-fw", image_id=cloud.image, flavor_id="nf.tiny", networks=[{"uuid": n} for n in cloud.nets],
                              metadata={"a": "b"}, availability_zone="branch-1:node-a", tags=["edge"])
    observe(cloud.hub, made.id)
    server = nova.wait_for_server(made, wait=10)
    assert server.status == "ACTIVE" and server.compute_host == "node-a" and server.metadata == {"a": "b"} and server.flavor.name == "nf.tiny"
    assert [i.net_id for i in nova.server_interfaces(server)] == cloud.nets
    assert nova.find_server("sdk-fw").id == server.id
    assert [s.id for s in nova.servers(details=False, name="^sdk-fw$")] == [server.id]
    nova.set_server_metadata(server, c="d")
    assert nova.get_server_metadata(server).metadata == {"a": "b", "c": "d"}
    nova.delete_server(server)
    nova.wait_for_delete(server, wait=10)
    assert {f.name for f in nova.flavors()} >= {"nf.tiny", "m1.tiny"}


# ---- what a server looks like ----


def test_microversions(cloud):
    server = cloud.active(description="d", tags=["t"], hostname="edge-1")
    old, v47, v90 = cloud.show(server, "2.1"), cloud.show(server, "2.47"), cloud.show(server, "2.90")
    assert old["flavor"]["id"] == "nf.tiny" and "description" not in old and "locked" not in old and "tags" not in old
    assert v47["flavor"]["original_name"] == "nf.tiny" and "id" not in v47["flavor"] and v47["flavor"]["ram"] == 64
    assert v47["tags"] == ["t"] and v47["description"] == "d" and "server_groups" not in v47
    assert v90["OS-EXT-SRV-ATTR:hostname"] == "edge-1" and v90["server_groups"] == [] and v90["locked_reason"] is None
    cloud.hub.get(f"{NOVA}/servers/{server}", 406, headers=micro("2.99"))
    assert cloud.hub.get(f"{NOVA}/flavors/nf.tiny", 200, headers=micro("2.61")).json()["flavor"]["extra_specs"] == {}
    assert cloud.hub.get(f"{NOVA}/flavors/nf.tiny", 200).json()["flavor"]["swap"] == ""
    assert cloud.hub.get(f"{NOVA}/flavors/nf.tiny", 200, headers=micro("2.75")).json()["flavor"]["swap"] == 0
    cloud.delete(server)


def test_view(cloud):
    server = cloud.active(networks=[{"uuid": n} for n in cloud.nets], security_groups=[{"name": "default"}])
    s = cloud.show(server, "2.1")
    address = s["addresses"]["net-10.1.0.0/24"][0]
    assert address["OS-EXT-IPS:type"] == "fixed" and address["version"] == 4 and address["OS-EXT-IPS-MAC:mac_addr"].startswith("fa:16:3e:")
    assert s["security_groups"] == [{"name": "default"}] and len(s["hostId"]) == 56
    assert s["links"][0]["href"].endswith(f"{NOVA}/servers/{server}") and s["image"]["id"] == cloud.image
    assert s["OS-EXT-STS:power_state"] == 1 and s["OS-SRV-USG:launched_at"] and s["config_drive"] == ""
    assert cloud.hub.get(f"{NOVA}/servers/{server}/ips", 200).json()["addresses"] == s["addresses"]
    assert cloud.hub.get(f"{NOVA}/servers/{server}/os-volume_attachments", 200).json() == {"volumeAttachments": []}
    cloud.delete(server)


def test_what_a_member_sees(cloud):
    a, b = cloud.hub.new_user(), cloud.hub.new_user()
    reader = cloud.hub.new_user("reader")
    net = new_network(a, "10.9.0.0/24")
    server = cloud.server(user=a, networks=[{"uuid": net}])
    mine = cloud.show(server, user=a)
    assert mine["status"] == "BUILD" and "OS-EXT-SRV-ATTR:host" not in mine
    cloud.show(server, user=b, status=404)
    b.delete(f"{NOVA}/servers/{server}", 404)
    cloud.act(server, {"os-stop": None}, 404, user=b)
    assert b.get(f"{NOVA}/servers/detail", 200).json()["servers"] == []
    b.get(f"{NOVA}/servers?all_tenants=1", 403)
    assert server in [s["id"] for s in cloud.hub.get(f"{NOVA}/servers?all_tenants=1", 200).json()["servers"]]
    assert server not in [s["id"] for s in cloud.hub.get(f"{NOVA}/servers", 200).json()["servers"]]
    assert "could not be found" in b.post(f"{NOVA}/servers", cloud.body(networks=[{"uuid": net}]), 400).json()["badRequest"]["message"]
    reader.post(f"{NOVA}/servers", cloud.body(), 403)
    a.delete(f"{NOVA}/servers/{server}", 204)


# ---- vNICs ----


def test_order_and_slots(cloud):
    """vNIC i of the request is slot i; an attach after a detach takes the slot that went."""
    h, ports = cloud.hub, [new_port(cloud.hub, cloud.nets[i % 2]) for i in range(4)]
    server = cloud.active(networks=[{"port": ports[3]}, {"uuid": cloud.nets[0]}, {"port": ports[0]}, {"port": ports[1]}])
    before = cloud.slots(server)
    assert [before[0], before[2], before[3]] == [ports[3], ports[0], ports[1]] and len(before) == 4
    h.delete(f"{NOVA}/servers/{server}/os-interface/{ports[0]}", 202)
    h.delete(f"{NOVA}/servers/{server}/os-interface/{ports[3]}", 202)
    assert set(cloud.slots(server)) == {1, 3}
    h.post(f"{NOVA}/servers/{server}/os-interface", {"interfaceAttachment": {"port_id": ports[2]}}, 200)
    h.post(f"{NOVA}/servers/{server}/os-interface", {"interfaceAttachment": {"port_id": ports[0]}}, 200)
    assert cloud.slots(server) == {**before, 0: ports[2], 2: ports[0]}
    listed = h.get(f"{NOVA}/servers/{server}/os-interface", 200, headers=micro("2.70")).json()["interfaceAttachments"]
    assert [i["port_id"] for i in listed] == [cloud.slots(server)[i] for i in range(4)]
    assert listed[0]["fixed_ips"][0]["ip_address"].startswith("10.1.0.") and listed[0]["mac_addr"] and listed[0]["tag"] is None
    cloud.delete(server)
    for port in ports:
        assert h.get(f"{NET}/ports/{port}", 200).json()["port"]["device_id"] == ""
        h.delete(f"{NET}/ports/{port}", 204)
    assert h.get(f"{NET}/ports/{before[1]}").status_code == 404, "the port that the server made goes with it"


def test_attach_forms(cloud):
    h, server = cloud.hub, cloud.active(networks="none")
    url = f"{NOVA}/servers/{server}/os-interface"

    def attach(status=200, version="2.90", **body):
        return h.post(url, {"interfaceAttachment": body}, status, headers=micro(version))

    made = attach(net_id=cloud.nets[0], fixed_ips=[{"ip_address": "10.1.0.77"}], tag="wan").json()["interfaceAttachment"]
    assert made["fixed_ips"][0]["ip_address"] == "10.1.0.77" and made["tag"] == "wan"
    assert h.get(f"{url}/{made['port_id']}", 200).json()["interfaceAttachment"]["net_id"] == cloud.nets[0]
    attach(400, net_id=cloud.nets[0], tag="wan")  # the tag is taken
    attach(400, net_id=cloud.nets[0], tag="a,b")
    attach(400, "2.1", net_id=cloud.nets[0], tag="lan")  # not known yet
    attach(400, fixed_ips=[{"ip_address": "10.1.0.78"}])
    attach(400, net_id=cloud.nets[0], fixed_ips=[])
    attach(400, net_id=cloud.nets[0], port_id=made["port_id"])
    attach(400, net_id="no-uuid")
    attach(400, colour="red")
    attach(404, net_id=NOTHING)
    attach(404, port_id=NOTHING)
    attach(409, port_id=made["port_id"])  # in use
    assert attach(net_id=cloud.nets[0], fixed_ips=[{"ip_address": "10.1.0.77"}], status=None).status_code in (400, 409)
    h.get(f"{url}/{NOTHING}", 404)
    h.delete(f"{url}/{NOTHING}", 404)
    assert len(cloud.slots(server)) == 1
    cloud.delete(server)


def test_device_tags(cloud):
    server = cloud.active(networks=[{"uuid": cloud.nets[0], "tag": "lan"}, {"uuid": cloud.nets[1], "tag": "wan"}])
    listed = cloud.hub.get(f"{NOVA}/servers/{server}/os-interface", 200, headers=micro("2.70")).json()["interfaceAttachments"]
    assert [i["tag"] for i in listed] == ["lan", "wan"]
    cloud.delete(server)


def test_port_deleted_under_a_server(cloud):
    server = cloud.active(networks=[{"uuid": cloud.nets[0]}, {"uuid": cloud.nets[1]}])
    cloud.hub.delete(f"{NET}/ports/{cloud.slots(server)[0]}", 204)
    assert set(cloud.slots(server)) == {1}
    cloud.delete(server)


def test_networks_auto(cloud):
    """auto, and nothing before 2.37: the project's only network."""
    user = cloud.hub.new_user()
    assert "automatically" in user.post(f"{NOVA}/servers", cloud.body(networks="auto"), 400, headers=micro("2.37")).text
    first = cloud.server(user=user, version="2.1", networks=None)
    assert cloud.slots(first) == {}
    net = new_network(user, "10.7.0.0/24")
    second, third = cloud.server(user=user, version="2.1", networks=None), cloud.server(user=user, networks="auto")
    assert len(cloud.slots(second)) == len(cloud.slots(third)) == 1
    new_network(user, "10.8.0.0/24")
    assert "Multiple possible networks" in user.post(f"{NOVA}/servers", cloud.body(networks=None), 409).text
    user.post(f"{NOVA}/servers", cloud.body(networks=None), 400, headers=micro("2.37"))
    assert net
    for server in (first, second, third):
        user.delete(f"{NOVA}/servers/{server}", 204)


# ---- placement ----


def fault(cloud, server):
    shown = cloud.show(server)
    assert shown["status"] == "ERROR" and shown["fault"]["code"] == 500
    return shown["fault"]["message"]


def test_no_valid_host(hub):
    cloud = Cloud(hub)
    with rows(hub) as db:
        db.execute("INSERT INTO site (id, name, created_us, updated_us) VALUES ('empty', 'empty', 0, 0)")
    message = fault(cloud, cloud.server(availability_zone="empty"))
    assert message.startswith("No valid host was found.") and "empty has no enabled node" in message
    hub.post(f"{NOVA}/flavors", {"flavor": {"name": "huge", "ram": 100000, "vcpus": 1, "disk": 0}}, 200)
    huge = next(f["id"] for f in hub.get(f"{NOVA}/flavors", 200).json()["flavors"] if f["name"] == "huge")
    server = cloud.server(flavorRef=huge, availability_zone="branch-1")
    assert "Node node-a has 6144 MB" in fault(cloud, server)
    assert cloud.slots(server) == {}
    cloud.act(server, {"reboot": {"type": "HARD"}}, 409)
    cloud.act(server, {"os-start": None}, 409)
    cloud.act(server, {"os-getConsoleOutput": {}}, 409)
    hub.post(f"{NOVA}/servers/{server}/os-interface", {"interfaceAttachment": {"net_id": cloud.nets[0]}}, 409)
    hub.put(f"{NOVA}/os-services/{cloud.node}", {"status": "disabled"}, 200, headers=micro("2.53"))
    assert "no enabled node" in fault(cloud, cloud.server())
    hub.put(f"{NOVA}/os-services/enable", {"host": "node-a", "binary": "nova-compute"}, 200)
    assert cloud.show(cloud.server())["status"] == "BUILD"
    hub.delete(f"{NOVA}/servers/{server}", 204)


def test_placement(hub):
    cloud = Cloud(hub)
    add_node(hub, "branch-2", "node-b", memory_mb=8192)
    add_node(hub, "branch-2", "node-c", memory_mb=7680)

    def host(**attributes):
        return cloud.show(cloud.server(networks="none", **attributes))["OS-EXT-SRV-ATTR:host"]

    assert host(availability_zone="branch-1") == "node-a"
    assert host(availability_zone="branch-2:node-c") == "node-c"
    assert host() == "node-b", "the most free memory"
    hub.post(f"{NOVA}/flavors", {"flavor": {"name": "half", "id": "half", "ram": 2048, "vcpus": 1, "disk": 0}}, 200)
    assert [host(availability_zone="branch-2", flavorRef="half") for _ in range(3)] == ["node-b", "node-c", "node-b"]
    port = new_port(hub, cloud.nets[0], **{"binding:host_id": "node-a"})
    assert cloud.show(cloud.server(networks=[{"port": port}]))["OS-EXT-SRV-ATTR:host"] == "node-a", "where the port is bound"
    for zone, status in (("nowhere", 400), ("branch-1:node-b", 400)):
        assert hub.post(f"{NOVA}/servers", cloud.body(availability_zone=zone), status).json()["badRequest"]


def test_many_at_once(cloud):
    body = cloud.body(name="many", min_count=2, max_count=3, networks=[{"uuid": cloud.nets[0]}])
    cloud.hub.post(f"{NOVA}/servers", body, 202)
    servers = cloud.hub.get(f"{NOVA}/servers?name=^many-", 200).json()["servers"]
    assert sorted(s["name"] for s in servers) == ["many-1", "many-2", "many-3"]
    assert cloud.hub.post(f"{NOVA}/servers", cloud.body(return_reservation_id=True), 202).json()["reservation_id"].startswith("r-")
    cloud.delete(*[s["id"] for s in servers])


# ---- actions ----


def test_action_states(cloud):
    server = cloud.server(networks="none")
    for body in ({"os-start": None}, {"os-stop": None}, {"reboot": {"type": "SOFT"}}, {"reboot": {"type": "HARD"}}):
        message = cloud.act(server, body, 409).json()["conflictingRequest"]["message"]
        assert f"instance {server} while it is in vm_state building" in message
    observe(cloud.hub, server)
    cloud.act(server, {"os-stop": None})
    assert cloud.show(server)["OS-EXT-STS:task_state"] == "powering-off"
    observe(cloud.hub, server, "stopped", 4)
    cloud.act(server, {"os-stop": None}, 409)
    cloud.act(server, {"reboot": {"type": "SOFT"}}, 409)
    cloud.act(server, {"reboot": {"type": "hard"}})
    assert cloud.show(server)["status"] == "HARD_REBOOT"
    cloud.act(server, {"reboot": {"type": "GENTLE"}}, 400)
    cloud.act(server, {"no-such-action": {}}, 400)
    cloud.act(server, {"resize": {"flavorRef": "1"}}, 501)
    cloud.act(server, {}, 400)
    cloud.act(server, {"os-stop": None, "os-start": None}, 400)
    cloud.act(server, {"os-getConsoleOutput": {"length": "many"}}, 400)
    cloud.act(server, {"os-getConsoleOutput": {"length": 5}}, 503)
    cloud.act(NOTHING, {"os-stop": None}, 404)
    cloud.act(server, {"os-resetState": {"state": "error"}})
    assert cloud.show(server)["status"] == "ERROR"
    cloud.delete(server)


def test_intent_follows(cloud):
    """What is wanted of a node is written with the change: server and ports appear, a reboot counts, a delete leaves a tombstone."""
    server = cloud.server(networks=[{"uuid": cloud.nets[0]}])

    def intent(kind, key):
        with rows(cloud.hub) as db:
            return db.execute("SELECT version, deleted FROM intent_object WHERE node_id = ? AND kind = ? AND id = ?",
                              (cloud.node, kind, key)).fetchone()

    port = cloud.slots(server)[0]
    first = intent("server", server)
    assert first[1] == 0 and intent("port", port)[1] == 0
    observe(cloud.hub, server)
    cloud.act(server, {"reboot": {"type": "HARD"}})
    assert intent("server", server)[0] > first[0]
    cloud.delete(server)
    assert intent("server", server)[1] == 1 and intent("port", port)[1] == 1


# ---- metadata and tags ----


def test_metadata(cloud):
    h, server = cloud.hub, cloud.active(networks="none", metadata={"a": "1"})
    url = f"{NOVA}/servers/{server}/metadata"
    assert h.post(url, {"metadata": {"b": "2"}}, 200).json()["metadata"] == {"a": "1", "b": "2"}
    assert h.put(url, {"metadata": {"c": "3"}}, 200).json()["metadata"] == {"c": "3"}
    assert h.put(f"{url}/d", {"meta": {"d": "4"}}, 200).json()["meta"] == {"d": "4"}
    assert h.get(f"{url}/d", 200).json()["meta"] == {"d": "4"}
    h.put(f"{url}/d", {"meta": {"e": "4"}}, 400)
    h.post(url, {"metadata": {"d": 4}}, 400)
    h.post(url, {"metadata": {"d": "v" * 256}}, 400)
    h.post(url, {"metadata": {"demarc:probe": "tcp:http"}}, 400)
    h.post(url, {"metadata": {str(i): "v" for i in range(128)}}, 403)
    h.get(f"{url}/none", 404)
    h.delete(f"{url}/d", 204)
    h.delete(f"{url}/d", 404)
    assert cloud.show(server)["metadata"] == {"c": "3"}
    cloud.delete(server)


def test_tags(cloud):
    h, server = cloud.hub, cloud.active(networks="none", name="tagged", tags=["a", "b"])
    url, v = f"{NOVA}/servers/{server}/tags", {"headers": micro("2.26")}
    h.get(url, 404)  # before 2.26
    h.put(f"{url}/c", status=201, **v)
    h.put(f"{url}/c", status=204, **v)
    assert h.get(url, 200, **v).json()["tags"] == ["a", "b", "c"]
    h.get(f"{url}/c", 204, **v)
    h.delete(f"{url}/c", 204, **v)
    h.delete(f"{url}/c", 404, **v)
    h.put(f"{url}/{'x' * 61}", status=400, **v)

    def names(query):
        return [s["name"] for s in h.get(f"{NOVA}/servers?{query}", 200, **v).json()["servers"]]

    assert names("tags=a,b") == ["tagged"] and names("tags=a,z") == [] and names("tags-any=z,a") == ["tagged"]
    assert h.put(url, {"tags": ["x"]}, 200, **v).json()["tags"] == ["x"]
    h.put(url, {"tags": ["x", "x"]}, 400, **v)
    h.delete(url, 204, **v)
    assert cloud.show(server)["tags"] == []
    cloud.delete(server)


def test_update(cloud):
    server = cloud.active(networks="none")

    def put(status=200, version="2.90", **attributes):
        return cloud.hub.put(f"{NOVA}/servers/{server}", {"server": attributes}, status, headers=micro(version)).json()

    assert put(name="new", description="why")["server"]["description"] == "why"
    assert put(hostname="h2")["server"]["OS-EXT-SRV-ATTR:hostname"] == "h2"
    put(400, name="")
    put(400, name="x" * 256)
    put(400, name=5)
    put(400, hostname="no good")
    put(400, "2.1", description="not yet")
    put(400, user_data="eA==")
    assert cloud.show(server)["name"] == "new"
    cloud.delete(server)


# ---- lists ----


def test_lists(cloud):
    user = cloud.hub.new_user()
    net = new_network(user, "10.5.0.0/24")
    ids = [cloud.server(user=user, name=f"list-{i}", networks=[{"uuid": net}]) for i in range(5)]
    observe(cloud.hub, ids[0])

    def names(query="", detail=""):
        return [s["name"] for s in user.get(f"{NOVA}/servers{detail}?{query}", 200).json()["servers"]]

    assert names() == [f"list-{i}" for i in (4, 3, 2, 1, 0)], "newest first"
    assert names("sort_key=display_name&sort_dir=asc") == [f"list-{i}" for i in range(5)]
    assert names("status=ACTIVE") == ["list-0"] and names("status=build&sort_dir=asc&sort_key=name&limit=2") == ["list-1", "list-2"]
    assert names("status=NO_SUCH") == []
    assert names("name=list-[01]") == ["list-1", "list-0"]
    assert names(f"ip={user.get(f'{NOVA}/servers/{ids[2]}', 200).json()['server']['addresses']['net-10.5.0.0/24'][0]['addr']}") == ["list-2"]
    assert names(f"image={cloud.image}&flavor=nf.tiny&limit=1000", "/detail") == names()
    assert names(f"image={NOTHING}") == [] and names("flavor=1") == []
    assert names("changes-since=2020-01-01T00:00:00Z") == names() and names("changes-before=2020-01-01T00:00:00Z") == []
    page = user.get(f"{NOVA}/servers/detail?limit=2", 200).json()
    assert [s["name"] for s in page["servers"]] == ["list-4", "list-3"]
    following = page["servers_links"][0]["href"]
    assert following.startswith(cloud.hub.url)
    assert [s["name"] for s in user.get(following[len(cloud.hub.url):], 200).json()["servers"]] == ["list-2", "list-1"]
    assert names(f"marker={ids[1]}") == ["list-0"]
    for bad in ("limit=-1", "limit=x", f"marker={NOTHING}", "sort_key=colour", "sort_dir=up&sort_key=name", "changes-since=then", "name=(",
                "name=a{1,9}"):
        user.get(f"{NOVA}/servers?{bad}", 400)
    for server in ids:
        user.delete(f"{NOVA}/servers/{server}", 204)


# ---- keypairs ----


def test_keypairs(cloud, tmp_path):
    h, user = cloud.hub, cloud.hub.new_user()
    url = f"{NOVA}/os-keypairs"
    made = user.post(url, {"keypair": {"name": "gen"}}, 200).json()["keypair"]
    key = tmp_path / "key"
    key.write_text(made["private_key"])
    key.chmod(0o600)
    public = subprocess.run(["ssh-keygen", "-y", "-f", str(key)], check=True, capture_output=True, text=True).stdout
    assert public.split()[:2] == made["public_key"].split()[:2]
    md5 = subprocess.run(["ssh-keygen", "-E", "md5", "-l", "-f", str(key)], check=True, capture_output=True, text=True).stdout
    assert made["fingerprint"] in md5
    assert "already exists" in user.post(url, {"keypair": {"name": "gen"}}, 409).text
    user.post(url, {"keypair": {"name": "imp", "public_key": made["public_key"], "type": "ssh"}}, 201, headers=micro("2.2"))
    assert [k["keypair"]["name"] for k in user.get(url, 200).json()["keypairs"]] == ["gen", "imp"]
    assert [k["keypair"]["name"] for k in user.get(f"{url}?limit=1&marker=gen", 200, headers=micro("2.35")).json()["keypairs"]] == ["imp"]
    assert "private_key" not in user.get(f"{url}/gen", 200).json()["keypair"]
    h.get(f"{url}/gen", 404)
    h.get(f"{url}/gen?user_id={user.user_id}", 200, headers=micro("2.10"))
    user.get(f"{url}?user_id={h.user_id or 'x'}", 403, headers=micro("2.10"))
    user.delete(f"{url}/gen", 202)
    user.delete(f"{url}/imp", 204, headers=micro("2.2"))
    user.delete(f"{url}/gen", 404)
    for bad in ({"name": "x", "public_key": "ssh-rsa nonsense"}, {"name": "x", "public_key": "AAAA"}, {"name": ""}, {"name": "a/b"}, {},
                {"name": "x", "colour": 1}, {"name": 5}, {"name": "x" * 256}, {"name": "x", "type": "ssh"}):
        user.post(url, {"keypair": bad}, 400)


# ---- bad input ----


@pytest.mark.parametrize("attributes,word", [
    ({"name": ""}, "name"),
    ({"name": "   "}, "name"),
    ({"name": "x" * 256}, "name"),
    ({"name": 5}, "name"),
    ({"name": None}, "name"),
    ({"imageRef": None}, "imageRef"),
    ({"imageRef": ""}, "imageRef"),
    ({"imageRef": "no-uuid"}, "imageRef"),
    ({"imageRef": NOTHING}, "image"),
    ({"flavorRef": None}, "flavorRef"),
    ({"flavorRef": "none"}, "Flavor none"),
    ({"flavorRef": ["1"]}, "flavorRef"),
    ({"key_name": "none"}, "key_name"),
    ({"user_data": "not base 64!"}, "base 64"),
    ({"user_data": base64.b64encode(b"x" * 65536).decode()}, "user_data"),
    ({"metadata": {"a": 1}}, "a"),
    ({"metadata": {"a" * 256: "1"}}, "metadata"),
    ({"metadata": []}, "metadata"),
    ({"metadata": {"demarc:probe": "tcp:70000"}}, "demarc:probe"),
    ({"metadata": {"demarc:restart": "maybe"}}, "demarc:restart"),
    ({"config_drive": "perhaps"}, "config_drive"),
    ({"availability_zone": "nowhere"}, "availability zone"),
    ({"availability_zone": 7}, "availability_zone"),
    ({"min_count": 0}, "min_count"),
    ({"min_count": 3, "max_count": 2}, "min_count"),
    ({"max_count": "x"}, "max_count"),
    ({"networks": "all"}, "networks"),
    ({"networks": [5]}, "networks"),
    ({"networks": [{}]}, "network"),
    ({"networks": [{"uuid": "no-uuid"}]}, "uuid"),
    ({"networks": [{"uuid": NOTHING}]}, NOTHING),
    ({"networks": [{"port": NOTHING}]}, NOTHING),
    ({"networks": [{"uuid": NOTHING, "colour": "red"}]}, "colour"),
    ({"networks": [{"uuid": NOTHING, "fixed_ip": "10.1.0.999"}]}, "fixed_ip"),
    ({"networks": [{"uuid": NOTHING}] * 65}, "networks"),
    ({"security_groups": [{"name": "none"}]}, "none"),
    ({"security_groups": [{}]}, "name"),
    ({"tags": ["a", "a"]}, "tags"),
    ({"tags": ["x" * 61]}, "tags"),
    ({"hostname": "not a host"}, "hostname"),
    ({"description": "x" * 256}, "description"),
    ({"block_device_mapping_v2": [{"source_type": "volume", "uuid": NOTHING}]}, "Block Device"),
    ({"colour": "red"}, "colour"),
])
def test_bad_servers(cloud, attributes, word):
    body = cloud.body(**attributes)
    if attributes.get("imageRef") == "":
        body["server"]["imageRef"] = ""
    with rows(cloud.hub) as db:
        before = db.execute("SELECT (SELECT COUNT(*) FROM server), (SELECT COUNT(*) FROM port)").fetchone()
    r = cloud.hub.post(f"{NOVA}/servers", body, 400, headers=micro("2.90"))
    assert word.lower() in r.json()["badRequest"]["message"].lower()
    with rows(cloud.hub) as db:
        assert db.execute("SELECT (SELECT COUNT(*) FROM server), (SELECT COUNT(*) FROM port)").fetchone() == before


def test_a_failure_halfway_changes_nothing(cloud):
    """The second address is not in the subnet: the port of the first network, made before, is rolled back."""
    ports = len(cloud.hub.get(f"{NET}/ports", 200).json()["ports"])
    body = cloud.body(networks=[{"uuid": cloud.nets[0]}, {"uuid": cloud.nets[1], "fixed_ip": "192.0.2.1"}])
    r = cloud.hub.post(f"{NOVA}/servers", body)
    assert r.status_code == 400, r.text
    assert len(cloud.hub.get(f"{NET}/ports", 200).json()["ports"]) == ports


def test_ports_in_use(cloud):
    port = new_port(cloud.hub, cloud.nets[0])
    cloud.hub.post(f"{NOVA}/servers", cloud.body(networks=[{"port": port}, {"port": port}]), 400)
    server = cloud.server(networks=[{"port": port}])
    assert "in use" in cloud.hub.post(f"{NOVA}/servers", cloud.body(networks=[{"port": port}]), 409).json()["conflictingRequest"]["message"]
    cloud.hub.post(f"{NOVA}/servers", cloud.body(networks=[{"port": port, "fixed_ip": "10.1.0.9"}]), 400)
    cloud.delete(server)
    cloud.hub.delete(f"{NET}/ports/{port}", 204)


def test_images_that_do_not_fit(cloud):
    h = cloud.hub
    queued = h.post("/image/v2/images", {"name": "q", "disk_format": "raw", "container_format": "bare"}, 201).json()["id"]
    assert "not active" in h.post(f"{NOVA}/servers", cloud.body(imageRef=queued), 400).text
    big = new_image(h, min_ram=1024)
    assert "memory is too small" in h.post(f"{NOVA}/servers", cloud.body(imageRef=big), 400).text
    foreign = new_image(h, visibility="private")
    user = h.new_user()
    assert "Can not find requested image" in user.post(f"{NOVA}/servers", cloud.body(imageRef=foreign, networks="none"), 400,
                                                       headers=micro("2.37")).text


def test_image_in_use(cloud):
    image = new_image(cloud.hub)
    server = cloud.server(imageRef=image, networks="none")
    assert server in cloud.hub.delete(f"/image/v2/images/{image}", 409).json()["message"]
    cloud.delete(server)
    cloud.hub.delete(f"/image/v2/images/{image}", 204)


@pytest.mark.parametrize("attributes,status", [
    ({"name": ""}, 400),
    ({"ram": 0}, 400),
    ({"ram": "lots"}, 400),
    ({"vcpus": -1}, 400),
    ({"disk": 2**31}, 400),
    ({"id": "with/slash"}, 400),
    ({"rxtx_factor": -1}, 400),
    ({"os-flavor-access:is_public": "perhaps"}, 400),
    ({"colour": "red"}, 400),
    ({"description": "not before 2.55"}, 400),
    ({"id": "nf.tiny"}, 409),
    ({"name": "nf.tiny"}, 409),
])
def test_bad_flavors(cloud, attributes, status):
    body = {"name": "f", "ram": 1, "vcpus": 1, "disk": 0, **attributes}
    cloud.hub.post(f"{NOVA}/flavors", {"flavor": body}, status)
    assert "f" not in [f["name"] for f in cloud.hub.get(f"{NOVA}/flavors", 200).json()["flavors"]]


def test_flavor_lists(cloud):
    def names(query):
        return [f["name"] for f in cloud.hub.get(f"{NOVA}/flavors?{query}", 200).json()["flavors"]]

    assert names("minRam=4096") == ["m1.medium", "m1.large"] and names("minDisk=80") == ["m1.large"]
    assert names("sort_key=memory_mb&sort_dir=desc&limit=1") == ["m1.large"]
    assert names("marker=nf.small") == ["nf.tiny"]
    for bad in ("minRam=x", "sort_key=colour", "marker=none", "limit=-5"):
        cloud.hub.get(f"{NOVA}/flavors?{bad}", 400)
    cloud.hub.get(f"{NOVA}/flavors/none", 404)
    cloud.hub.delete(f"{NOVA}/flavors/none", 404)
    cloud.hub.get(f"{NOVA}/flavors/nf.tiny/os-extra_specs/none", 404)
    cloud.hub.get(f"{NOVA}/flavors/nf.tiny/os-flavor-access", 404)


def test_bad_bodies(cloud):
    for text in ("{bad", "[]", "{}", '{"server": []}', '{"server": {}}', '{"server": {"name": "a", "name": "b"}}'):
        r = cloud.hub.request("POST", f"{NOVA}/servers", data=text, headers={"Content-Type": "application/json"})
        assert r.status_code == 400 and "badRequest" in r.json(), text


def test_missing(cloud):
    for path in (NOTHING, "no-uuid", "..%2f.."):
        for call in (cloud.hub.get, cloud.hub.delete):
            assert "could not be found" in call(f"{NOVA}/servers/{path}", 404).json()["itemNotFound"]["message"]
    for path in ("metadata", "os-interface", "ips", "os-volume_attachments"):
        cloud.hub.get(f"{NOVA}/servers/{NOTHING}/{path}", 404)


def test_durable(hub):
    """A 202 survives SIGKILL, with its ports and its place."""
    cloud = Cloud(hub)
    server = cloud.server()
    slots = cloud.slots(server)
    hub.kill()
    hub.start()
    assert cloud.show(server)["OS-EXT-SRV-ATTR:host"] == "node-a" and cloud.slots(server) == slots


# ---- with a node that is there ----


@pytest.fixture
def lab(build, hub, tmp_path):
    cloud = Cloud(hub)
    with lab_node(build, hub, tmp_path / "node") as node:
        cloud.site = hub.get(f"/demarc/v1/sites/{node.site_id}", 200).json()["site"]["name"]
        yield cloud, node


def wanted(node, server):
    return wait_for(lambda: node.held().get(("server", server)), "the server in the node's intent")


def told(cloud, node, server, state, **status):
    """The node reports the server in this state, at the version it holds; returns the shown status and task."""
    version = wanted(node, server)["version"]
    node.report(servers=[{"id": server, "state": f"SERVER_{state}", "version": version, **status}])
    shown = cloud.show(server)
    return shown["status"], shown["OS-EXT-STS:task_state"]


def changed(node, server, check):
    wait_for(lambda: check(node.held()[("server", server)]["server"]), "the change in the node's intent")


def test_life_by_reports(lab):
    cloud, node = lab
    server = cloud.server(availability_zone=cloud.site, networks=[{"uuid": n} for n in cloud.nets], metadata={"demarc:probe": "tcp:80"})
    body = wanted(node, server)["server"]
    assert [v["port_id"] for v in body["vifs"]] == [cloud.slots(server)[0], cloud.slots(server)[1]]
    assert body["probe"] == "tcp:80" and body["memory_mb"] == 64 and body["flavor_name"] == "nf.tiny" and body["image"]["size_bytes"] == 100
    assert told(cloud, node, server, "BUILDING", task="fetching image 42 %") == ("BUILD", "spawning")
    assert told(cloud, node, server, "RUNNING", healthy=True, started_us=1_790_000_000_000_000) == ("ACTIVE", None)
    assert cloud.show(server)["OS-SRV-USG:launched_at"].startswith("2026-09-")
    cloud.act(server, {"os-stop": None})
    assert told(cloud, node, server, "RUNNING") == ("ACTIVE", "powering-off"), "an old state undoes nothing"
    changed(node, server, lambda s: not s.get("power") or s["power"] in ("POWER_STOPPED", 0))
    assert told(cloud, node, server, "STOPPED") == ("SHUTOFF", None)
    cloud.act(server, {"os-start": None})
    assert told(cloud, node, server, "STOPPED") == ("SHUTOFF", "powering-on")
    assert told(cloud, node, server, "RUNNING") == ("ACTIVE", None)
    cloud.act(server, {"reboot": {"type": "SOFT"}})
    assert told(cloud, node, server, "RUNNING") == ("REBOOT", "rebooting")
    assert told(cloud, node, server, "RUNNING", reboot_generation=1) == ("ACTIVE", None)
    assert told(cloud, node, server, "FAILED", reboot_generation=1, fault="the archive is corrupt") == ("ERROR", None)
    assert cloud.show(server)["fault"]["message"] == "the archive is corrupt"
    assert told(cloud, node, server, "RUNNING", reboot_generation=1) == ("ACTIVE", None)
    assert "fault" not in cloud.show(server)
    cloud.delete(server)
    wait_for(lambda: ("server", server) not in node.held(), "the tombstone")
    node.report(servers=[{"id": server, "state": "SERVER_RUNNING", "version": 1}])  # late: changes nothing
    cloud.show(server, status=404)


def test_console_log(lab):
    cloud, node = lab
    server = cloud.server(availability_zone=cloud.site, networks="none")
    observe(cloud.hub, server)
    wanted(node, server)
    text = b"one\ntwo\nthree \xff\xc3\xa9\x00\n"

    def ask(count, **result):
        got = []
        body = {"os-getConsoleOutput": {"length": 2} if count == 1 else {}}
        thread = threading.Thread(target=lambda: got.append(cloud.hub.post(f"{NOVA}/servers/{server}/action", body)))
        thread.start()
        call = node.answer("console_log", result, count)
        assert call["server_id"] == server and call["max_bytes"] <= 1 << 18
        thread.join()
        return got[0]

    r = ask(1, console_log={"data": text.hex()})
    assert r.status_code == 200 and r.json()["output"] == "two\nthree ?\u00e9?\n"
    assert ask(2, console_log={"data": text.hex()}).json()["output"].startswith("one\n")
    assert ask(3, error="no such function", fault="NOT_FOUND").status_code == 404


def test_hypervisor_up(lab):
    cloud, node = lab
    h = cloud.hub
    shown = h.openstack("hypervisor", "show", node.name)
    assert shown["state"] == "up" and shown["memory_mb"] == 4096 and shown["vcpus"] == 4
    node.report(node={"memory_used_mb": 5, "uptime_s": 90061})
    assert h.openstack("hypervisor", "show", node.name)["uptime"].startswith("1 days,  1:01")
    assert {s["Host"]: s["State"] for s in h.openstack("compute", "service", "list")}[node.name] == "up"
    detail = h.get(f"{NOVA}/os-availability-zone/detail", 200).json()["availabilityZoneInfo"]
    zone = next(z for z in detail if z["zoneName"] == cloud.site)
    assert zone["hosts"][node.name]["nova-compute"]["available"] is True
    assert cloud.show(cloud.server(networks="none"))["OS-EXT-SRV-ATTR:host"] == node.name, "a connected node goes first"
