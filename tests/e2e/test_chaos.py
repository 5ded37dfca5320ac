# SPDX-License-Identifier: Apache-2.0
"""Hub, agent and the agent's network process are killed at random instants of a workload of API requests.

What was acknowledged is kept, what is deleted leaves nothing, and the site ends as the intent says.
DEMARC_CHAOS_KILLS sets how often, DEMARC_SEED repeats a run's choices.
"""

import collections
import json
import os
import random
import threading
import time
import uuid

import pytest
import requests
from conftest import wait_for
from real_site import NOVA, SFC, V1, V2, enter, pid_ends, real_site

KILLS = int(os.environ.get("DEMARC_CHAOS_KILLS", "200"))
IDLE = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]
LOST = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.exceptions.Timeout)
PATHS = {"network": V2 + "/networks", "subnet": V2 + "/subnets", "port": V2 + "/ports", "security_group": V2 + "/security-groups",
         "security_group_rule": V2 + "/security-group-rules", "server": NOVA + "/servers", "port_pair": SFC + "/port_pairs",
         "port_pair_group": SFC + "/port_pair_groups", "port_chain": SFC + "/port_chains", "flow_classifier": SFC + "/flow_classifiers"}
WITHOUT_NAME = ("security_group_rule",)
MAX_FUNCTIONS, MAX_THINGS = 3, 12


class Ledger:
    """What the API acknowledged: (kind, id) -> attributes that the object has; gone: those whose deletion was acknowledged."""

    def __init__(self):
        self.there, self.gone = {}, set()
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.done = 0

    def put(self, kind, oid, **attributes):
        with self.lock:
            self.there.setdefault((kind, oid), {}).update(attributes)
            self.done += 1

    def drop(self, kind, oid):
        with self.lock:
            self.there.pop((kind, oid), None)
            self.gone.add((kind, oid))
            self.done += 1

    def ids(self, kind):
        with self.lock:
            return [i for k, i in self.there if k == kind]


class Actor(threading.Thread):
    """One client of the API, in a thread of its own. A lost connection leaves an unknown: it asks what became of it."""

    def __init__(self, site, ledger, seed):
        super().__init__(daemon=True)
        self.site, self.ledger, self.rng = site, ledger, random.Random(seed)
        self.http = requests.Session()
        self.token, self.stopping, self.failure = site.hub.token, threading.Event(), None

    def run(self):
        self.site.enter_hub()
        try:
            while not self.stopping.is_set():
                self.step()
        except Exception as e:  # told by the main thread
            self.failure = e
        finally:
            self.http.close()

    def send(self, method, path, body=None):
        """The answer; None when the connection was lost."""
        headers = {"X-Auth-Token": self.token, "OpenStack-API-Version": "compute 2.90"}
        try:
            r = self.http.request(method, self.site.hub.url + path, json=body, headers=headers, verify=self.site.hub.ca, timeout=30)
        except LOST:
            return None
        if len(r.content) < int(r.headers.get("Content-Length", 0)):
            return None  # killed in the middle of its answer: this client library does not say so
        assert r.status_code < 500, f"{method} {path} {body}: {r.status_code} {r.text}"
        assert r.status_code not in (400, 401, 403), f"{method} {path} {body}: {r.status_code} {r.text}"
        return r

    def read(self, path):
        """A read, repeated until a hub answers."""
        end = time.monotonic() + 60
        while True:
            r = self.send("GET", path)
            if r is not None:
                return r
            assert time.monotonic() < end, "no hub for a minute"
            time.sleep(0.01)  # the hub is starting

    def object(self, kind, oid):
        r = self.read(f"{PATHS[kind]}/{oid}")
        assert r.status_code in (200, 404), r.text
        return r.json()[kind] if r.status_code == 200 else None

    def count(self, what):
        self.ledger.counts[what] += 1

    # ---- changes: each returns once it is known whether it was done ----

    def create(self, kind, path=None, **attributes):
        """The id, or None when the API refused or the request was lost before it was done."""
        name = f"{kind}-{uuid.uuid4().hex[:12]}"
        if kind in WITHOUT_NAME:
            attributes["description"], key = name, "description"
        else:
            attributes["name"], key = name, "name"
        r = self.send("POST", path or PATHS[kind], {kind: attributes})
        if r is None:
            self.count("unknown create")
            found = self.read(f"{PATHS[kind]}?{key}={name}").json()
            rows = next(v for v in found.values() if isinstance(v, list))
            rows = [row for row in rows if row.get(key, name) == name]
            assert len(rows) <= 1, rows
            oid = rows[0]["id"] if rows else None
        elif r.status_code >= 300:
            self.count(f"create {kind}: {r.status_code}")
            return None
        else:
            oid = r.json()[kind]["id"]
        if oid:
            self.count("create")
            self.ledger.put(kind, oid, **({} if kind in WITHOUT_NAME else {"name": name}))
        return oid

    def update(self, kind, oid, check=None, **attributes):
        """True when done. check: the attributes whose values are kept in the ledger (default: all)."""
        kept = {k: attributes[k] for k in (check or attributes)}
        before = self.object(kind, oid)
        r = self.send("PUT", f"{PATHS[kind]}/{oid}", {kind: attributes})
        if r is None:
            self.count("unknown update")
            now = self.object(kind, oid)
            assert now, f"{kind} {oid} is gone"
            for k, v in kept.items():
                assert now[k] in (v, before[k]), f"{kind} {oid}: {k} is {now[k]}, neither {before[k]} nor {v}"
            self.ledger.put(kind, oid, **{k: now[k] for k in kept})
            return all(now[k] == v for k, v in kept.items())
        if r.status_code >= 300:
            self.count(f"update {kind}: {r.status_code}")
            return False
        self.count("update")
        self.ledger.put(kind, oid, **kept)
        return True

    def delete(self, kind, oid):
        """True when it is gone."""
        r = self.send("DELETE", f"{PATHS[kind]}/{oid}")
        if r is None:
            self.count("unknown delete")
            if self.object(kind, oid) is not None:
                return False  # or on its way, as a server is: the next attempt tells
        elif r.status_code >= 300 and r.status_code != 404:
            self.count(f"delete {kind}: {r.status_code}")
            return False
        self.count("delete")
        self.ledger.drop(kind, oid)
        return True

    def delete_until_gone(self, kind, oid):
        wait_for(lambda: self.delete(kind, oid), f"{kind} {oid} deleted", 60)

    def act(self, server, body):
        r = self.send("POST", f"{NOVA}/servers/{server}/action", body)
        self.count("unknown action" if r is None else f"action {r.status_code}")
        return r is not None and r.status_code < 300


class Networker(Actor):
    """Networks, subnets, ports and security groups that no server uses."""

    def step(self):
        rng, ledger = self.rng, self.ledger
        mine = {k: [i for i in ledger.ids(k) if ledger.there[k, i].get("owner") is self] for k in ("network", "port", "security_group")}
        choice = rng.random()
        if choice < 0.12 and len(mine["network"]) < 4:
            self.make_network()
        elif choice < 0.45 and mine["network"] and len(mine["port"]) < MAX_THINGS:
            place = {"binding:host_id": "cpe-1"} if rng.random() < 0.5 else {}
            self.mine("port", self.create("port", network_id=rng.choice(mine["network"]), **place))
        elif choice < 0.55 and len(mine["security_group"]) < 4:
            self.mine("security_group", self.create("security_group"))
        elif choice < 0.65 and mine["security_group"]:
            self.create("security_group_rule", security_group_id=rng.choice(mine["security_group"]), direction="ingress",
                        ethertype="IPv4", protocol="tcp", port_range_min=rng.randrange(1, 60000), port_range_max=60000)
        elif choice < 0.85 and mine["port"]:
            self.change_port(rng.choice(mine["port"]), mine["security_group"])
        elif choice < 0.95 and mine["port"]:
            self.delete("port", rng.choice(mine["port"]))
        elif choice < 0.97 and mine["security_group"]:
            self.drop_group(rng.choice(mine["security_group"]))
        elif mine["network"]:
            self.drop_network(rng.choice(mine["network"]))

    def mine(self, kind, oid):
        if oid:
            self.ledger.put(kind, oid, owner=self)

    def make_network(self):
        net = self.create("network")
        self.mine("network", net)
        if net:
            cidr = f"10.{self.rng.randrange(100, 250)}.{self.rng.randrange(256)}.0/24"
            self.create("subnet", network_id=net, cidr=cidr, ip_version=4)

    def change_port(self, port, groups):
        choice = self.rng.random()
        if choice < 0.4:
            self.update("port", port, name=f"renamed-{uuid.uuid4().hex[:8]}")
        elif choice < 0.7:
            self.update("port", port, admin_state_up=self.rng.random() < 0.5)
        elif groups:
            self.update("port", port, security_groups=[self.rng.choice(groups)])

    def drop_group(self, group):
        """409 while a port has it. Its rules go with it."""
        rules = {r["id"] for r in (self.object("security_group", group) or {"security_group_rules": []})["security_group_rules"]}
        if self.delete("security_group", group):
            for rule in rules & set(self.ledger.ids("security_group_rule")):
                self.ledger.drop("security_group_rule", rule)

    def drop_network(self, net):
        """409 while it has ports. Its subnets go with it."""
        subnets = set((self.object("network", net) or {"subnets": []})["subnets"])
        if self.delete("network", net):
            for subnet in subnets & set(self.ledger.ids("subnet")):
                self.ledger.drop("subnet", subnet)


class Function:
    def __init__(self):
        self.server = self.pair = self.group = None
        self.ports, self.attached = [], True


class Chainer(Actor):
    """Functions and the chain through them."""

    def __init__(self, site, ledger, seed, image, nets, classifier):
        super().__init__(site, ledger, seed)
        self.image, self.nets, self.classifier = image, nets, classifier
        self.functions, self.chain = [], None

    def step(self):
        rng = self.rng
        ready = [f for f in self.functions if f.group]
        choice = rng.random()
        if choice < 0.2 and len(self.functions) < MAX_FUNCTIONS:
            self.make_function()
        elif choice < 0.28 and self.functions:
            self.drop_function(rng.choice(self.functions))
        elif choice < 0.34 and self.functions:
            self.act(rng.choice(self.functions).server, rng.choice([{"os-stop": None}, {"os-start": None}, {"reboot": {"type": "HARD"}}]))
        elif choice < 0.46 and self.functions:
            self.rewire(rng.choice(rng.choice(self.functions).ports))
        elif choice < 0.58 and self.functions:
            self.plug(rng.choice(self.functions))
        elif ready:
            self.change_chain([f for f in ready if rng.random() < 0.7])

    def needed(self, kind, **attributes):
        """Creates; repeats what was lost."""
        return wait_for(lambda: self.create(kind, **attributes), f"{kind} created", 60)

    def make_function(self):
        f = Function()
        f.ports = [self.needed("port", network_id=self.nets[0]) for _ in range(2)]
        f.server = self.needed("server", imageRef=self.image, flavorRef="nf.tiny", networks=[{"port": p} for p in f.ports],
                               availability_zone="branch:cpe-1")
        self.functions.append(f)
        f.pair = self.needed("port_pair", ingress=f.ports[0], egress=f.ports[1])
        f.group = self.needed("port_pair_group", port_pairs=[f.pair])

    def drop_function(self, f):
        self.functions.remove(f)
        self.change_chain([g for g in self.functions if self.chain and g.group in self.in_chain()])
        for kind, oid in (("port_pair_group", f.group), ("port_pair", f.pair), ("server", f.server), ("port", f.ports[0]), ("port", f.ports[1])):
            self.delete_until_gone(kind, oid)

    def in_chain(self):
        return self.ledger.there["port_chain", self.chain].get("port_pair_groups", [])

    def change_chain(self, functions):
        groups = [f.group for f in functions]
        self.rng.shuffle(groups)
        mode = self.rng.choice(["move", "keep"])
        if self.chain and not groups:
            self.delete_until_gone("port_chain", self.chain)
            self.chain = None
        elif self.chain:
            wait_for(lambda: self.update("port_chain", self.chain, port_pair_groups=groups, **{"demarc:mode": mode}), "the chain changed", 60)
        elif groups:
            self.chain = self.needed("port_chain", port_pair_groups=groups, flow_classifiers=[self.classifier],
                                     chain_parameters={"symmetric": True})
            self.ledger.put("port_chain", self.chain, port_pair_groups=groups)

    def rewire(self, port):
        self.update("port", port, check=["network_id"], network_id=self.rng.choice(self.nets), fixed_ips=[])

    def plug(self, f):
        """Detaches the second vNIC, or attaches it again. 409 while the server starts or is stopped."""
        path = f"{NOVA}/servers/{f.server}/os-interface"
        if f.attached:
            r = self.send("DELETE", f"{path}/{f.ports[1]}")
        else:
            r = self.send("POST", path, {"interfaceAttachment": {"port_id": f.ports[1]}})
        if r is None:
            listed = self.read(path).json()["interfaceAttachments"]
            f.attached = f.ports[1] in [i["port_id"] for i in listed]
        elif r.status_code < 300:
            f.attached = not f.attached
        self.count("unknown interface" if r is None else f"interface {r.status_code}")


class Killer:
    """Ends processes with SIGKILL and starts them again at once."""

    def __init__(self, site, ledger, actors, rng):
        self.site, self.ledger, self.actors, self.rng = site, ledger, actors, rng
        self.counts = collections.Counter()

    def alive(self):
        for a in self.actors:
            if a.failure:
                raise AssertionError(f"{type(a).__name__} failed") from a.failure

    def pause(self):
        """A random instant: some changes later, and then a moment in the middle of one; now and then in step."""
        rng = self.rng
        wanted, end = self.ledger.done + rng.choice([0, 1, 1, 2, 4, 8]), time.monotonic() + 2
        while self.ledger.done < wanted and time.monotonic() < end:
            time.sleep(0.002)  # the pace of a poll
        if rng.random() < 0.3:  # let the site come far enough that there is something to lose
            end = time.monotonic() + 4
            while time.monotonic() < end and not self.quiet():
                time.sleep(0.02)
        time.sleep(rng.random() * rng.choice([0.001, 0.01, 0.05, 0.2]))  # the random instant of the kill
        self.alive()

    def quiet(self):
        """The node is in step and no server is on its way."""
        if not converged(self.site):
            return False
        rows = self.site.hub.get(f"{NOVA}/servers/detail", 200).json()["servers"]
        return not [r for r in rows if r["status"] == "BUILD" or r["OS-EXT-STS:task_state"]]

    def kill(self):
        site, choice = self.site, self.rng.random()
        if choice < 0.4:
            self.counts["hub"] += 1
            site.hub.kill()
            site.hub.start()
        elif choice < 0.8 or not self.kill_child():
            self.counts["agent"] += 1
            orphan = site.node.child()
            site.node.kill()
            site.node.start()
            if orphan:
                wait_for(lambda: pid_ends(orphan), "the end of a killed agent's child")

    def kill_child(self):
        end = time.monotonic() + 1
        while not self.site.node.child() and time.monotonic() < end:
            time.sleep(0.005)  # the agent is starting it
        if not self.site.node.kill_child():
            return False
        self.counts["network process"] += 1
        return True

    def run(self, n):
        for _ in range(n):
            self.pause()
            self.kill()


# ---- what must be true at the end ----


def converged(site):
    row = site.node_row()
    return row["state"] == "up" and row["acked_revision"] == row["intent_revision"]


def check_ledger(site, ledger):
    hub = site.hub
    for (kind, oid), attributes in ledger.there.items():
        now = hub.get(f"{PATHS[kind]}/{oid}", 200).json()[kind]
        for name, value in attributes.items():
            assert name == "owner" or now[name] == value, f"{kind} {oid}: {name} is {now[name]}, not {value}"
    for kind, oid in ledger.gone:
        r = hub.get(f"{PATHS[kind]}/{oid}")
        assert r.status_code == 404, f"the deleted {kind} {oid} is there: {r.text}"


def running(site, servers):
    """Ids of the servers that the API wants running; waits until every one of them is, verified."""
    def settled():
        rows = [site.hub.get(f"{NOVA}/servers/{s}", 200).json()["server"] for s in servers]
        state = {r["id"]: (r["status"], r["OS-EXT-STS:task_state"]) for r in rows}
        assert not [r for r in rows if r["status"] == "ERROR"], rows
        return (state,) if all(s in (("ACTIVE", None), ("SHUTOFF", None)) for s in state.values()) else None

    active = [s for s, state in wait_for(settled, "servers settled", 60)[0].items() if state[0] == "ACTIVE"]
    for s in active:
        def verified(s=s):
            b = site.bindings(s)
            return b["healthy"] and all(x["verified"] for x in b["bindings"])
        try:
            wait_for(verified, f"verified bindings of {s}", 60)
        except AssertionError as e:
            raise AssertionError(f"{e}: {site.bindings(s)}") from None
    return active


def check_site(site, servers, active):
    """Containers, interfaces, namespaces, mounts, control groups and map entries are those of the intent, and no others."""
    node = site.node
    ports = {b["port_id"] for s in active for b in site.bindings(s)["bindings"]}
    wanted = {"dm" + p.replace("-", "")[:12] for p in ports}

    def same(what, get, expected):
        try:
            wait_for(lambda: get() == expected, what)
        except AssertionError as e:
            raise AssertionError(f"{e}: {get()} instead of {expected}") from None

    same("containers", lambda: {c["id"] for c in node.containers() if c["status"] == "running"}, set(active))
    same("host interfaces", lambda: set(node.links()), wanted)
    same("network namespaces", lambda: node.listed("netns"), set(active))
    same("mounts", node.mounts, {f"{node.run}/{what}/{s}" for what in ("netns", "rootfs") for s in active})
    same("control groups", node.cgroups, set(active))
    same("disks", lambda: set(os.listdir(f"{node.state}/servers")), set(servers))
    uplinks = {i["ifindex"] for i in site_links(site) if i["ifname"] in ("lan0", "wan0")}
    indexes = {i["ifindex"] for i in node.links().values()}
    same("ports in the datapath", lambda: node.map_ifindexes("ports"), indexes | uplinks)
    same("filters in the datapath", lambda: node.map_ifindexes("attached"), indexes | uplinks)


def check_chains(site, ledger):
    """The node has carried out the last change of each chain, or says what it waits for."""
    for chain in ledger.ids("port_chain"):
        def carried_out(chain=chain):
            c = site.hub.get(f"{V1}/chains/{chain}", 200).json()["chain"]
            return c["change_id"] in (c["confirmed_change_id"], c["held_change_id"])
        wait_for(carried_out, f"the last change of chain {chain}", 60)
    # A change that was made so that flows stay keeps the path before it until the last of them has ended.
    wait_for(lambda: len(site.node.map("paths")) == len([c for c in ledger.ids("port_chain") if site.node_path(c)]), "no path without a chain", 60)


def site_links(site):
    return json.loads(site.in_ns("site", "ip", "-j", "link"))


def delete_all(site, ledger, extra):
    hub = site.hub
    order = ["port_chain", "flow_classifier", "port_pair_group", "port_pair", "server", "port", "security_group_rule", "security_group",
             "network"]
    rows = [*extra, *ledger.there]
    for kind in order:
        for oid in [i for k, i in rows if k == kind]:
            wait_for(lambda k=kind, o=oid: hub.delete(f"{PATHS[k]}/{o}").status_code in (204, 404), f"{kind} deleted", 30)
            wait_for(lambda k=kind, o=oid: hub.get(f"{PATHS[k]}/{o}").status_code == 404, f"{kind} {oid} gone", 30)


@pytest.mark.timeout(120 + 6 * KILLS)
def test_kills_lose_nothing(build, tmp_path):
    seed = int(os.environ.get("DEMARC_SEED", random.randrange(1 << 30)))
    print(f"DEMARC_SEED={seed}")
    with real_site(build, tmp_path) as site:
        lan, wan, spare = site.provider("lan", "192.168.10.0/24"), site.provider("wan", "203.0.113.0/24"), site.network("spare", "10.99.0.0/24")
        uplinks = [site.uplink(lan), site.uplink(wan)]
        image = site.image("idle", IDLE)
        classifier = site.sfc("flow_classifier", ethertype="IPv4", logical_source_port=uplinks[0], logical_destination_port=uplinks[1])
        ledger = Ledger()
        actors = [Networker(site, ledger, seed + 1), Chainer(site, ledger, seed + 2, image, [lan, spare], classifier)]
        killer = Killer(site, ledger, actors, random.Random(seed))
        for a in actors:
            a.start()
        try:
            killer.run(KILLS)
        finally:
            for a in actors:
                a.stopping.set()
            for a in actors:
                a.join(120)
            print(f"kills {dict(killer.counts)}; requests {dict(ledger.counts)}")
        killer.alive()
        wait_for(lambda: converged(site), "the node has the hub's revision", 60)
        check_ledger(site, ledger)
        servers = ledger.ids("server")
        check_site(site, servers, running(site, servers))
        check_chains(site, ledger)
        check_ledger(site, ledger)
        extra = [("flow_classifier", classifier), *(("port", p) for p in uplinks), *(("network", n) for n in (lan, wan, spare))]
        delete_all(site, ledger, extra)
        wait_for(lambda: converged(site), "the node has the hub's last revision", 60)
        try:
            wait_for(lambda: not site.node.leftovers(), "nothing left", 60)
        except AssertionError as e:
            raise AssertionError(f"{e}: {site.node.leftovers()}") from None
