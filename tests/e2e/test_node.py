# SPDX-License-Identifier: Apache-2.0
"""The node by itself: functions, vNICs, chains, images, and what survives what."""

import json
import os
import signal
import subprocess
import uuid

import pytest

from node_lab import (Image, Node, add_file, busybox_layer, layer, oci_archive, sh, wait_for)

IMAGE = Image(oci_archive([busybox_layer()]))
ROUTER = Image(oci_archive([busybox_layer()], cmd=["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]))


@pytest.fixture(name="node")
def fixture_node():
    n = Node()
    yield n
    n.close()


@pytest.fixture(name="site")
def fixture_site():
    """A node with NICs lan and wan, hosts behind both, and a network across lan."""
    n = Node(["lan", "wan"])
    yield n
    n.close()


def one_server(node, image=ROUTER, n_ports=2, **fields):
    net, sub = node.network("10.1.0.0/24")
    sid = str(uuid.uuid4())
    ports = [node.port(net[1], sub, f"10.1.0.{5 + i}", sid) for i in range(n_ports)]
    node.apply(net, *ports, node.server(sid, image, [p[1] for p in ports], **fields))
    return sid, [p[1] for p in ports], net[1]


def delete_all(node):
    node.apply(*[(kind, oid, None) for kind, oid in list(node.objects)])
    wait_for("nothing left", lambda: not node.leftovers())


def test_function_runs_verified_and_leaves_nothing(node):
    node.start()
    sid, ports, net = one_server(node, user_data=b"#!/bin/sh\necho hi".hex(), metadata=[{"key": "k", "value": "v"}])
    node.wait_healthy(sid)
    links = node.inside_links(sid)
    for i, p in enumerate(ports):
        wait_for("verified", lambda p=p: node.ports.get(p, {}).get("verified"))
        body = node.objects["port", p]
        assert links[f"eth{i}"]["address"] == body["mac"] and links[f"eth{i}"]["ifindex"] == i + 2
        assert node.ports[p]["observed"]["network_id"] == net
        assert node.ports[p]["observed"]["addresses"] == [f"10.1.0.{5 + i}/24"]
    assert node.inside(sid, "/bin/cat", "/config-drive/openstack/latest/user_data") == "#!/bin/sh\necho hi"
    meta = json.loads(node.inside(sid, "/bin/wget", "-qO-", "http://169.254.169.254/openstack/latest/meta_data.json"))
    assert meta["uuid"] == sid and meta["meta"] == {"k": "v"}
    assert node.inside(sid, "/bin/hostname").strip() == "vnf"
    listening = sh("nsenter", f"--net=/run/netns/{node.ns}", "ss", "-Hltun")
    assert listening == "", "the node listens on nothing"
    delete_all(node)
    wait_for("gone", lambda: node.servers[sid]["state"] == "SERVER_GONE")


def test_metadata_leaves_port_80_to_the_function(node):
    node.start()
    image = Image(oci_archive([busybox_layer()], cmd=["/bin/sh", "-c", "exec httpd -f -p 80"]))
    sid, _, _ = one_server(node, image, probe="tcp:80")
    node.wait_healthy(sid)
    url = "http://169.254.169.254/latest/meta-data/instance-id"
    assert node.inside(sid, "/bin/wget", "-qO-", url) == sid
    node.kill()
    node.start()
    wait_for("served again", lambda: node.inside(sid, "/bin/wget", "-qO-", url, check=False) == sid)


def test_function_of_an_ordinary_user(node):
    """The agent's own umask closes nothing to it: root directory, implied directories, config drive, resolv.conf."""
    node.start()
    image = Image(oci_archive([busybox_layer(), layer([lambda t: add_file(t, "opt/a/b/file", b"seen")])],
                              cmd=["/bin/sh", "-c", "id -u; cat /opt/a/b/file /etc/resolv.conf; exec sleep 100000"],
                              User="1000:1000"))
    net, sub = node.network("10.1.0.0/24")
    net[2]["subnets"][0]["dns"] = ["10.1.0.2"]
    sid = str(uuid.uuid4())
    port = node.port(net[1], sub, "10.1.0.5", sid)
    node.apply(net, port, node.server(sid, image, [port[1]], user_data=b"#!/bin/sh".hex()))
    node.wait_healthy(sid)
    assert node.inside(sid, "/bin/cat", "/config-drive/openstack/latest/user_data") == "#!/bin/sh"
    wait_for("console", lambda: bytes.fromhex(node.call(console_log={"server_id": sid})["console_log"]["data"]) ==
             b"1000\nseennameserver 10.1.0.2\n")


def test_function_is_confined(node):
    node.start()
    sid, _, _ = one_server(node)
    node.wait_healthy(sid)
    for attempt in (["/bin/mount", "-t", "tmpfs", "x", "/tmp"], ["/bin/sh", "-c", "echo x > /proc/sys/kernel/hostname"],
                    ["/bin/sh", "-c", "echo 1 > /proc/sysrq-trigger"], ["/bin/sh", "-c", "echo x > /config-drive/x"]):
        with pytest.raises(subprocess.CalledProcessError):
            node.inside(sid, *attempt)
    node.inside(sid, "/bin/sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/forwarding")
    assert node.inside(sid, "/bin/cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
    with open(f"/sys/fs/cgroup/memory/demarc-{node.id[:8]}/{sid}/memory.limit_in_bytes", encoding="ascii") as f:
        assert int(f.read()) == 64 << 20


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_agent_restart_keeps_functions(node, sig):
    node.start()
    sid, ports, _ = one_server(node)
    node.wait_healthy(sid)
    before = node.containers()
    node.inside(sid, "/bin/ip", "addr", "add", "192.0.2.1/32", "dev", "eth0")
    node.kill(sig)
    node.forget()
    node.start(link=False)
    wait_for("adopted", lambda: "function_adopted" in node.logged())
    node.send({"link": True})
    node.wait_healthy(sid)
    assert [c["pid"] for c in node.containers()] == [c["pid"] for c in before]
    assert any(a.get("local") == "192.0.2.1" for a in node.inside_links(sid)["eth0"]["addr_info"])
    wait_for("verified", lambda: all(node.ports.get(p, {}).get("verified") for p in ports))
    delete_all(node)


def test_function_death_restarts_it_with_an_event(node):
    node.start()
    sid, ports, _ = one_server(node)
    node.wait_healthy(sid)
    pid = node.containers()[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for("event", lambda: [e for e in node.events if e["kind"] == "function_died"])
    wait_for("restarted", lambda: node.servers[sid]["n_restarts"] == 1 and node.servers[sid]["healthy"])
    assert node.containers()[0]["pid"] != pid
    wait_for("verified", lambda: all(node.ports[p]["verified"] for p in ports))


def test_function_dies_while_no_agent_runs(node):
    node.start()
    sid, _, _ = one_server(node)
    node.wait_healthy(sid)
    pid = node.containers()[0]["pid"]
    node.kill()
    os.kill(pid, signal.SIGKILL)
    node.forget()
    node.start()
    node.wait_healthy(sid)
    assert node.containers()[0]["pid"] != pid


def test_restart_policies(node):
    node.start()
    image = Image(oci_archive([busybox_layer()], cmd=["/bin/true"]))
    never, _, _ = one_server(node, image, restart="RESTART_NEVER")
    on_failure, _, _ = one_server(node, image, restart="RESTART_ON_FAILURE")
    always, _, _ = one_server(node, image)
    wait_for("failed", lambda: node.servers.get(never, {}).get("state") == "SERVER_FAILED")
    wait_for("stopped", lambda: node.servers.get(on_failure, {}).get("state") == "SERVER_STOPPED")
    wait_for("restarts", lambda: node.servers.get(always, {}).get("n_restarts", 0) >= 3)
    assert node.servers[never]["n_restarts"] == 0


def test_a_function_that_stays_dead_wakes_nobody(node):
    """Time is told by another function, so that a slow machine has as long as it needs."""
    node.start()
    clock, _, _ = one_server(node, Image(oci_archive([busybox_layer()], cmd=["/bin/sh", "-c", "while :; do echo tick; sleep 1; done"])))
    node.wait_healthy(clock)
    dead, _, _ = one_server(node, Image(oci_archive([busybox_layer()], cmd=["/bin/false"])), restart="RESTART_NEVER")
    wait_for("failed", lambda: node.servers.get(dead, {}).get("state") == "SERVER_FAILED")

    def ticks():
        with open(f"{node.dir}/state/servers/{clock}/console.log", encoding="utf-8") as f:
            return f.read().count("tick")

    def wakes():
        with open(f"/proc/{node.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches"))

    settled = ticks() + 2  # the end of its back-off is past
    wait_for("a while", lambda: ticks() >= settled)
    before = wakes()
    wait_for("a while more", lambda: ticks() >= settled + 3)
    assert wakes() - before < 300, "a pass each millisecond"


def test_stop_start_reboot(node):
    node.start()
    sid, _, _ = one_server(node)
    node.wait_healthy(sid)
    node.inside(sid, "/bin/touch", "/kept")
    pid = node.containers()[0]["pid"]
    node.change("server", sid, reboot_generation=1)
    wait_for("rebooted", lambda: node.servers[sid]["reboot_generation"] == 1 and node.servers[sid]["healthy"])
    assert node.containers()[0]["pid"] != pid
    node.inside(sid, "/bin/test", "-e", "/kept")
    node.change("server", sid, power="POWER_STOPPED")
    wait_for("stopped", lambda: node.servers[sid]["state"] == "SERVER_STOPPED" and not node.containers())
    node.change("server", sid, power="POWER_RUNNING")
    wait_for("running", lambda: node.servers[sid]["healthy"])
    node.inside(sid, "/bin/test", "-e", "/kept")


def test_delete_after_stop(node):
    node.start()
    sid, _, _ = one_server(node)
    node.wait_healthy(sid)
    node.change("server", sid, power="POWER_STOPPED")
    wait_for("stopped", lambda: node.servers[sid]["state"] == "SERVER_STOPPED" and not node.containers())
    node.apply(("server", sid, None))
    wait_for("its disk is gone, too", lambda: not node.leftovers())


def test_detach_leaves_the_other_vnics_alone(node):
    node.start()
    sid, ports, _ = one_server(node, n_ports=3)
    node.wait_healthy(sid)
    before = node.inside_links(sid)
    pid = node.containers()[0]["pid"]
    node.change("server", sid, vifs=[{"port_id": ports[0]}, {"port_id": ""}, {"port_id": ports[2]}])
    wait_for("detached", lambda: set(node.inside_links(sid)) == {"eth0", "eth2"})
    assert {k: v["link_index"] for k, v in node.inside_links(sid).items()} == \
        {k: before[k]["link_index"] for k in ("eth0", "eth2")}
    node.change("server", sid, vifs=[{"port_id": p} for p in ports])
    wait_for("attached", lambda: set(node.inside_links(sid)) == {"eth0", "eth1", "eth2"})
    after = node.inside_links(sid)
    assert after["eth1"]["ifindex"] == 3 and after["eth1"]["address"] == before["eth1"]["address"]
    wait_for("verified", lambda: all(node.ports[p]["verified"] for p in ports))
    assert node.containers()[0]["pid"] == pid


def test_rewire_keeps_the_link(node):
    node.start()
    sid, ports, net = one_server(node)
    other, _ = node.network("10.1.0.0/24")
    node.wait_healthy(sid)
    before = node.inside_links(sid)["eth1"]
    node.apply(other)
    node.change("port", ports[1], network_id=other[1])
    wait_for("rewired", lambda: node.ports[ports[1]]["observed"]["network_id"] == other[1])
    after = node.inside_links(sid)["eth1"]
    assert after["link_index"] == before["link_index"] and after["ifindex"] == before["ifindex"]
    assert node.ports[ports[0]]["observed"]["network_id"] == net


def test_differences_are_reported_and_an_interface_comes_back(node):
    node.start()
    sid, ports, _ = one_server(node)
    node.wait_healthy(sid)
    node.inside(sid, "/bin/ip", "link", "set", "eth1", "down")
    node.inside(sid, "/bin/ip", "link", "set", "eth1", "address", "02:00:00:00:00:99")
    node.inside(sid, "/bin/ip", "link", "set", "eth1", "up")
    wait_for("differs", lambda: [d for d in node.ports[ports[1]]["differences"] if d["attribute"] == "mac"])
    assert not node.ports[ports[1]]["verified"] and node.ports[ports[0]]["verified"]
    name = [l for l in node.host_links() if l.startswith("dm" + ports[0].replace("-", "")[:12])][0]
    sh("ip", "-n", node.ns, "link", "del", name)
    wait_for("back", lambda: "eth0" in node.inside_links(sid) and node.ports[ports[0]]["verified"])


def test_changes_inside_are_no_differences(node):
    """A function that changes its own addresses all the time, read back all the time."""
    node.start()
    sid, ports, _ = one_server(node)
    node.wait_healthy(sid)
    node.inside(sid, "/bin/sh", "-c", "i=0; while [ $i -lt 300 ]; do ip addr add 192.0.2.1/32 dev lo; "
                "ip addr del 192.0.2.1/32 dev lo; i=$((i+1)); done")
    node.inside(sid, "/bin/ip", "addr", "add", "192.0.2.2/32", "dev", "eth1")
    wait_for("the last change", lambda: "192.0.2.2/32" in node.ports[ports[1]]["observed"]["addresses"])
    wait_for("verified", lambda: all(node.ports[p]["verified"] for p in ports))
    assert not [e for e in node.events if e["kind"] == "binding_differs"]


def test_machine_reboot_without_hub(node):
    """Everything but the disk goes: processes, namespaces, interfaces, mounts, pins, the run directory."""
    node.start()
    sid, ports, _ = one_server(node)
    node.wait_healthy(sid)
    node.inside(sid, "/bin/touch", "/kept")
    node.kill()
    lose_machine(node)
    node.forget()
    node.start(link=False)
    wait_for("started", lambda: node.logged().count("function_started") == 2)
    node.send({"link": True})
    node.wait_healthy(sid)
    wait_for("verified", lambda: all(node.ports.get(p, {}).get("verified") for p in ports))
    node.inside(sid, "/bin/test", "-e", "/kept")


def lose_machine(node):
    for c in node.containers():
        node.runc("delete", "--force", c["id"])
    for what in ("rootfs", "netns"):
        for entry in os.listdir(f"{node.dir}/run/{what}"):
            sh("umount", f"{node.dir}/run/{what}/{entry}", check=False)
    for link in node.host_links():
        sh("ip", "-n", node.ns, "link", "del", link, check=False)
    sh("rm", "-rf", f"{node.dir}/run", node.pin)


def test_intent_is_durable_and_based(node):
    node.start()
    net, _ = node.network("10.9.0.0/24")
    node.apply(net)
    node.kill()
    node.start()
    assert node.hellos[0]["intent_revision"] == 1
    node.send({"request": 4, "intent": {"revision": 9, "base_revision": 7, "objects": []}})
    ack = wait_for("refused", lambda: [a for a in node.acks if a["error"]])[0]
    assert ack["revision"] == 1
    wait_for("hello again", lambda: len(node.hellos) == 2)
    node.send({"request": 4, "intent": {"revision": 9, "full": True, "objects": [
        {"kind": "port", "id": str(uuid.uuid4()), "version": 9, "port": {"network_id": net[1], "mac": "ff:ff:ff:ff:ff:ff"}}]}})
    wait_for("refused with the field", lambda: "mac" in node.acks[-1]["error"])


def test_damaged_image_is_fetched_again(node):
    damaged = []

    def damage(offset, data):
        if offset == 0 and not damaged:
            damaged.append(True)
            return bytes([data[0] ^ 1]) + data[1:]
        return data

    node.damage = damage
    node.start()
    sid, _, _ = one_server(node)
    wait_for("event", lambda: [e for e in node.events if e["kind"] == "image_corrupt"])
    node.wait_healthy(sid)


def test_image_fetch_goes_on_where_it_stopped(node):
    asked = []

    def stop_after(offset, data):
        asked.append((node.process.pid, offset))  # what a dead agent asked may still be read after its end
        if len(asked) == 2 and not node.hellos[1:]:
            node.send({"link": False})
        return data

    node.damage = stop_after
    node.start()
    sid, _, _ = one_server(node, Image(oci_archive([busybox_layer(), layer([lambda t: add_file(t, "big", os.urandom(3 << 20))])],
                                                   compress=False)))
    images = f"{node.dir}/state/images"
    wait_for("cut", lambda: len(asked) >= 2 and any(os.path.getsize(f"{images}/{f}") for f in os.listdir(images)))
    node.kill()
    node.start()
    node.wait_healthy(sid)
    assert next(offset for pid, offset in asked if pid == node.process.pid) > 0, "the second agent began where the first one stopped"
    wait_for("only the used image is kept", lambda: len(os.listdir(f"{node.dir}/state/images")) == 1)
    delete_all(node)
    wait_for("unused image removed", lambda: not os.listdir(f"{node.dir}/state/images"))


@pytest.mark.parametrize("entry,words", [
    (lambda t: add_file(t, "../../etc/evil", b"x"), "leaves its directory"),
    (lambda t: add_file(t, "/etc/evil", b"x"), "absolute path"),
    (lambda t: add_file(t, "h", type=b"1", linkname="../../../etc/passwd"), "leaves its directory"),
])
def test_hostile_image_is_refused(node, entry, words):
    node.start()
    sid, _, _ = one_server(node, Image(oci_archive([busybox_layer(), layer([entry])])))
    wait_for("fault", lambda: words in node.servers.get(sid, {}).get("fault", ""))
    assert not os.path.exists("/etc/evil")


def test_probe_tcp_and_exec(node):
    node.start()
    serve = Image(oci_archive([busybox_layer()], cmd=["/bin/sh", "-c", "exec httpd -f -p 8080"]))
    tcp, _, _ = one_server(node, serve, probe="tcp:8080")
    wrong, _, _ = one_server(node, serve, probe="tcp:8081")
    execd, _, _ = one_server(node, serve, probe="exec:/bin/test -e /ready")
    node.wait_healthy(tcp)
    wait_for("runs", lambda: node.servers.get(execd, {}).get("state") == "SERVER_RUNNING")
    wait_for("not healthy", lambda: node.servers.get(wrong, {}).get("fault"))
    assert not node.servers[wrong]["healthy"] and not node.servers[execd]["healthy"]
    node.inside(execd, "/bin/touch", "/ready")
    node.wait_healthy(execd)


# ---- chains ----

def chain_body(hops, source, destination, **fields):
    return {"name": "chain", "symmetric": True, "change_id": str(uuid.uuid4()),
            "classifiers": [{"id": str(uuid.uuid4()), "family": 4, "logical_source_port": source,
                             "logical_destination_port": destination}],
            "hops": [{"group_id": g, "name": name, "on_failure": policy,
                      "pairs": [{"id": pair, "ingress_port_id": i, "egress_port_id": e, "weight": 1}]}
                     for g, name, policy, pair, i, e in hops], **fields}


def function(node, net, probe=""):
    sid = str(uuid.uuid4())
    ports = [node.port(net, server=sid), node.port(net, server=sid)]
    server = node.server(sid, ROUTER, [p[1] for p in ports], probe=probe)
    return sid, [p[1] for p in ports], [*ports, server]


def hop(name, ports, policy="ON_FAILURE_BYPASS"):
    return (str(uuid.uuid4()), name, policy, str(uuid.uuid4()), ports[0], ports[1])


def chain_site(site):
    site.start()
    net, _ = site.network("10.5.0.0/24", physical_network="lan")
    wan, _ = site.network("10.6.0.0/24", physical_network="wan")
    up = [site.port(net[1], uplink=True), site.port(wan[1], uplink=True)]
    fid, ports, objects = function(site, net[1])
    cid = str(uuid.uuid4())
    site.apply(net, wan, *up, *objects)
    site.wait_healthy(fid)
    return net[1], [u[1] for u in up], fid, ports, cid


def in_path(site, cid):
    return [h["name"] for h in site.chains.get(cid, {}).get("hops", []) if h["in_path"]]


def test_chain_insert_holds_until_healthy(site):
    net, up, _, ports, cid = chain_site(site)
    first = hop("first", ports)
    site.apply(("chain", cid, chain_body([first], *up)))
    wait_for("active", lambda: in_path(site, cid) == ["first"] and site.chains[cid]["state"] == "CHAIN_ACTIVE")
    path = site.chains[cid]["path"]
    sid, new_ports, objects = function(site, net, probe="exec:/bin/test -e /ready")
    second = hop("second", new_ports)
    body = chain_body([first, second], *up)
    site.apply(*objects, ("chain", cid, body))
    wait_for("held", lambda: site.chains[cid]["state"] == "CHAIN_HELD")
    assert site.chains[cid]["held_change_id"] == body["change_id"] and in_path(site, cid) == ["first"]
    assert site.chains[cid]["path"] == path
    wait_for("runs", lambda: site.servers.get(sid, {}).get("state") == "SERVER_RUNNING")
    site.kill()  # a held change survives the agent, and so does the path in force
    site.forget()
    site.start()
    wait_for("still held", lambda: site.chains.get(cid, {}).get("state") == "CHAIN_HELD")
    assert in_path(site, cid) == ["first"]
    site.inside(sid, "/bin/touch", "/ready")
    wait_for("flipped", lambda: in_path(site, cid) == ["first", "second"])
    assert site.chains[cid]["change_id"] == body["change_id"] and site.chains[cid]["path"] != path
    site.apply(("chain", cid, chain_body([second, first], *up)))
    wait_for("reordered", lambda: in_path(site, cid) == ["second", "first"])
    assert 0 < site.chains[cid]["build_us"] < 50_000


def started_since(site, mark):
    return [line.split("server=")[1].split()[0] for line in site.logged()[mark:].splitlines() if " function_started " in line]


def test_a_chain_starts_from_its_front(site):
    """When all of it is new, and again when the agent finds that nothing of it runs any more; a function that fails holds nobody back."""
    site.start()
    net, _ = site.network("10.5.0.0/24", physical_network="lan")
    up = [site.port(net[1], uplink=True), site.port(net[1], uplink=True)]
    made = sorted((function(site, net[1]) for _ in range(6)), key=lambda f: f[0])
    order = [made[i] for i in (1, 0, 3, 2, 5, 4)]
    site.apply(net, *up, *[o for _, _, objects in made for o in objects],
               ("chain", str(uuid.uuid4()), chain_body([hop(f"hop{i}", ports) for i, (_, ports, _) in enumerate(order)], *[u[1] for u in up])))
    ids = [sid for sid, _, _ in order]
    site.wait_healthy(*ids)
    assert started_since(site, 0) == ids
    site.kill()
    for sid in ids:
        site.runc("delete", "--force", sid)
    site.forget()
    mark = len(site.logged())
    site.start()
    site.wait_healthy(*ids)
    assert started_since(site, mark) == ids
    # The second one's program is not there, which only an attempt to start it finds out.
    broken = Image(oci_archive([busybox_layer()], cmd=["/nothing/here"]))
    site.apply(site.server(ids[1], broken, order[1][1]))
    wait_for("it fails", lambda: f"job_failed server={ids[1]} job=starting" in site.logged())
    site.kill()
    for sid in ids:
        site.runc("delete", "--force", sid)
    site.forget()
    mark = len(site.logged())
    site.start()
    well = ids[:1] + ids[2:]
    site.wait_healthy(*well)
    assert started_since(site, mark) == well


def test_nics_are_reported(site):
    site.start()
    seen, report = [], site.on_report
    site.on_report = lambda m, r: (seen.append(m), report(m, r))
    net, _ = site.network("10.5.0.0/24", physical_network="lan")
    site.apply(net, site.port(net[1], uplink=True))
    nics = wait_for("the NIC", lambda: next((m["node"]["nics"] for m in reversed(seen) if m.get("node") and m["node"]["nics"]), None))
    assert [(n["name"], n["device"], n["driver"], n["hook"]) for n in nics] == [("lan", "niclan", "veth", "tc")], "wan is in no network"
    assert "not a device on a bus" in nics[0]["reason"]
    if tuple(int(n) for n in os.uname().release.split(".")[:2]) >= (6, 3):  # the kernel tells
        assert {"xdp", "hint-timestamp", "hint-hash"} <= set(nics[0]["features"]) and "xdp-offload" not in nics[0]["features"]
    assert "nic_hook nic=lan device=niclan driver=veth hook=tc offload=0" in site.logged()


@pytest.mark.parametrize("probe", ["", "exec:/bin/true", "tcp:8080"])
def test_agent_restart_leaves_the_path_alone(site, probe):
    site.start()
    net, _ = site.network("10.5.0.0/24", physical_network="lan")
    up = [site.port(net[1], uplink=True), site.port(net[1], uplink=True)]
    sid = str(uuid.uuid4())
    ports = [site.port(net[1], server=sid), site.port(net[1], server=sid)]
    image = Image(oci_archive([busybox_layer()], cmd=["/bin/sh", "-c", "exec httpd -f -p 8080"]))
    cid = str(uuid.uuid4())
    site.apply(net, *up, *ports, site.server(sid, image, [p[1] for p in ports], probe=probe))
    site.wait_healthy(sid)
    site.apply(("chain", cid, chain_body([hop("only", [p[1] for p in ports], "ON_FAILURE_DROP")], *[u[1] for u in up])))
    wait_for("active", lambda: in_path(site, cid) == ["only"])
    flips = site.logged().count("chain_flipped")
    path = site.chains[cid]["path"]
    site.kill()
    site.forget()
    site.start()
    site.wait_healthy(sid)
    wait_for("reported", lambda: in_path(site, cid) == ["only"])
    assert site.chains[cid]["path"] == path and site.logged().count("chain_flipped") == flips


@pytest.mark.parametrize("policy,event", [("ON_FAILURE_BYPASS", "hop_bypassed"), ("ON_FAILURE_DROP", "hop_dropped")])
def test_function_dies_in_path(site, policy, event):
    _, up, fid, ports, cid = chain_site(site)
    site.apply(("chain", cid, chain_body([hop("only", ports, policy)], *up)))
    wait_for("active", lambda: in_path(site, cid) == ["only"])
    os.kill(site.containers()[0]["pid"], signal.SIGKILL)
    wait_for("policy", lambda: [e for e in site.events if e["kind"] == event], 1)
    wait_for("restored", lambda: [e for e in site.events if e["kind"] == "hop_restored"])
    wait_for("in path", lambda: in_path(site, cid) == ["only"])
    assert site.servers[fid]["n_restarts"] == 1


def test_events_wait_for_the_hub(node):
    node.start()
    sid, _, _ = one_server(node)
    node.wait_healthy(sid)
    node.send({"link": False})
    os.kill(node.containers()[0]["pid"], signal.SIGKILL)
    wait_for("restarted", lambda: node.logged().count("function_started") == 2)
    node.kill()
    node.events.clear()
    node.start()
    wait_for("event", lambda: [e for e in node.events if e["kind"] == "function_died"])
