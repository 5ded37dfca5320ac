# SPDX-License-Identifier: Apache-2.0
"""A node enrolled through the API, played by fake-node: the test reads what the hub says and answers in its place."""

import contextlib
import json
import os
import subprocess
import uuid

from conftest import wait_for
from test_channel import FakeNode

V1 = "/demarc/v1"
V2 = "/network/v2.0"


def new_token(hub, site=None, name=None, expires_in=3600):
    """An enrolment token, at a site of its own unless one is given."""
    if not site:
        site = hub.post(V1 + "/sites", {"site": {"name": f"s-{uuid.uuid4().hex[:8]}"}}, 201).json()["site"]["id"]
    body = {"enrolment_token": {"node_name": name or f"n-{uuid.uuid4().hex[:8]}", "expires_in": expires_in}}
    return hub.post(f"{V1}/sites/{site}/enrolment_tokens", body, 201).json()["enrolment_token"]


def enrol(build, state_dir, token, url=None):
    """Runs the node's own enrolment; returns the finished process."""
    command = [os.path.join(build, "tests/e2e/fake-node"), "enrol", str(state_dir), token, *([url] if url else [])]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class Enrolled:
    """What enrolment left in the node's state directory, in the form that FakeNode takes."""

    def __init__(self, state_dir):
        self.key, self.cert = os.path.join(state_dir, "key.pem"), os.path.join(state_dir, "cert.pem")
        with open(os.path.join(state_dir, "identity.json"), encoding="utf-8") as f:
            self.node_id = json.load(f)["node_id"]


class LabNode(FakeNode):
    """fake-node with the hub's frames as JSON."""

    def __init__(self, build, hub, identity):
        super().__init__(build, hub, identity, "--auto-ack", "--json")
        self.hub, self.id, self.seq = hub, identity.node_id, 0
        self.wait("hello")

    def frames(self, kind):
        """Frames of the hub with this body."""
        return [f for f in (json.loads(line[5:]) for line in self.lines("json")) if kind in f]

    def send(self, frame):
        self.say("json " + json.dumps(frame))

    def report(self, **parts):
        """A report that the hub has stored when this returns."""
        self.seq += 1
        self.send({"report": {"seq": self.seq, **parts}})
        wait_for(lambda: f"ack {self.seq}" in self.output, f"ack {self.seq}; got {self.output[-5:]}")

    def answer(self, kind, result, count=1):
        """Answers the next call of this kind; returns the call."""
        calls = wait_for(lambda: [f for f in self.frames("call") if kind in f["call"]][count - 1:], f"a call of {kind}")
        self.send({"request": calls[0]["request"], "call_result": result})
        return calls[0]["call"][kind]

    def held(self):
        """What the intent says now: (kind, id) -> object, of all intents so far."""
        objects = {}
        for frame in self.frames("intent"):
            if frame["intent"].get("full"):
                objects.clear()
            for o in frame["intent"].get("objects", []):
                key = (o["kind"], o["id"])
                if o.get("deleted"):
                    objects.pop(key, None)
                else:
                    objects[key] = o
        return objects


@contextlib.contextmanager
def lab_node(build, hub, folder, **kwargs):
    """An enrolled, connected node."""
    token = new_token(hub, **kwargs)
    done = enrol(build, folder, token["token"], hub.url)
    assert done.returncode == 0, done.stdout + done.stderr
    node = LabNode(build, hub, Enrolled(folder))
    node.name, node.site_id = token["node_name"], token["site_id"]
    try:
        yield node
    finally:
        node.stop()
