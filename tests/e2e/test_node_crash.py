# SPDX-License-Identifier: Apache-2.0
"""The agent is killed at random points of a workload of creations, changes and deletions. DEMARC_KILLS sets how often."""

import os
import random
import signal
import time
import uuid

import pytest

from node_lab import Node, sh, wait_for
from test_node import ROUTER, chain_body, function, hop

KILLS = int(os.environ.get("DEMARC_KILLS", "25"))


class Workload:
    def __init__(self, node, rng):
        self.node, self.rng = node, rng
        self.functions, self.chain = {}, None

    def setup(self):
        n = self.node
        net, _ = n.network("10.5.0.0/24", physical_network="lan")
        wan, _ = n.network("10.6.0.0/24", physical_network="wan")
        up = [n.port(net[1], uplink=True), n.port(wan[1], uplink=True)]
        self.net, self.up, self.cid = net[1], [u[1] for u in up], str(uuid.uuid4())
        n.apply(net, wan, *up)

    def changes(self):
        """One random change of the intent."""
        n, rng = self.node, self.rng
        choice = rng.random()
        if choice < 0.35 and len(self.functions) < 4:
            sid, ports, objects = function(n, self.net)
            self.functions[sid] = ports
            return objects
        if choice < 0.5 and self.functions:
            sid = rng.choice(list(self.functions))
            ports = self.functions.pop(sid)
            return [self.chain_change()] + [("server", sid, None)] + [("port", p, None) for p in ports]
        if choice < 0.65 and self.functions:
            sid = rng.choice(list(self.functions))
            body = n.objects["server", sid]
            return [("server", sid, {**body, "reboot_generation": body.get("reboot_generation", 0) + 1})]
        if choice < 0.75 and self.functions:
            sid = rng.choice(list(self.functions))
            body, ports = n.objects["server", sid], self.functions[sid]
            attached = body["vifs"][1]["port_id"] != ""
            return [("server", sid, {**body, "vifs": [{"port_id": ports[0]}, {"port_id": "" if attached else ports[1]}]})]
        return [self.chain_change()]

    def chain_change(self):
        chosen = [f for f in self.functions.items() if self.rng.random() < 0.7]
        self.rng.shuffle(chosen)
        return ("chain", self.cid, chain_body([hop(s[:8], p) for s, p in chosen], *self.up))


def apply_and_kill(work, objects):
    """Sends an intent and kills the agent somewhere in what follows; repeats it until it is acknowledged."""
    node, rng = work.node, work.rng
    acked = len(node.acks)
    base, revision = node.revision, node.revision + 1
    pb = []
    for kind, oid, body in objects:
        o = {"kind": kind, "id": oid, "version": revision}
        o.update({kind: body} if body is not None else {"deleted": True})
        pb.append(o)
    frame = {"request": 2, "intent": {"revision": revision, "base_revision": base, "objects": pb}}
    node.send(frame)
    deadline = time.monotonic() + rng.choice([0.002, 0.01, 0.05, 0.2, 0.5]) * rng.random()
    while time.monotonic() < deadline:
        time.sleep(0.001)  # the random instant of the kill
    node.kill(signal.SIGKILL)
    was_acked = any(a["revision"] == revision for a in node.acks[acked:])
    node.start()
    held = node.hellos[0]["intent_revision"]
    assert held in (base, revision), "neither the old nor the new intent"
    assert held == revision or not was_acked, "an acknowledged change was lost"
    if held == base:
        node.send(frame)
        wait_for("acknowledged", lambda: any(a["revision"] == revision for a in node.acks[acked:]))
    node.revision = revision
    for kind, oid, body in objects:
        if body is None:
            node.objects.pop((kind, oid), None)
        else:
            node.objects[kind, oid] = body


def settled(work):
    node = work.node
    return all(node.servers.get(s, {}).get("healthy") for s in work.functions) and \
        {c["id"] for c in node.containers()} == set(work.functions)


@pytest.mark.timeout(60 + 12 * KILLS)
def test_kill_at_random_points():
    seed = int(os.environ.get("DEMARC_SEED", random.randrange(1 << 30)))
    print(f"DEMARC_SEED={seed}")
    node = Node(["lan", "wan"])
    work = Workload(node, random.Random(seed))
    try:
        node.start()
        node.images[ROUTER.id] = ROUTER
        work.setup()
        for _ in range(KILLS):
            apply_and_kill(work, work.changes())
        node.kill()
        node.forget()
        node.start()
        wait_for("as the intent says", lambda: settled(work), 60)
        for sid, ports in work.functions.items():
            vifs = [v["port_id"] for v in node.objects["server", sid]["vifs"]]
            wanted = {f"eth{i}" for i, p in enumerate(vifs) if p}
            wait_for("interfaces", lambda s=sid, w=wanted: set(node.inside_links(s)) == w)
        names = {"dm" + v["port_id"].replace("-", "")[:12] for s in work.functions
                 for v in node.objects["server", s]["vifs"] if v["port_id"]}
        wait_for("host interfaces", lambda: set(node.host_links()) == names)
        node.apply(*[(kind, oid, None) for kind, oid in list(node.objects)])
        wait_for("nothing left", lambda: not node.leftovers(), 60)
        cgroups = sh("find", "/sys/fs/cgroup", "-path", f"*demarc-{node.id[:8]}/*", "-type", "d", check=False)
        assert cgroups == ""
    finally:
        node.close()
