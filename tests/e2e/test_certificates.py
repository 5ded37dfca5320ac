# SPDX-License-Identifier: Apache-2.0
"""Enrolment by count, by file and again; renewal over the channel, revocation at once, rotation of the CA, the list of hubs: demarc-node's own
process against a real hub."""

import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import ssl
import socket
import subprocess
import time
import uuid

import pytest
from conftest import ROOT, wait_for

V1 = "/demarc/v1"


class Agent:
    """demarc-node with no NICs, in the test's own namespace: it listens on nothing and makes nothing there."""

    def __init__(self, build, folder):
        self.program = os.path.join(build, "src/node/demarc-node")
        self.state, self.log_path = str(folder / "state"), str(folder / "node.log")
        self.dirs = ["--run-dir", str(folder / "run"), "--pin-dir", f"/sys/fs/bpf/demarc-cert-{uuid.uuid4().hex[:8]}"]
        self.process = None

    def enrol(self, token, *args, fails=False):
        done = subprocess.run([self.program, "enrol", token, "--state-dir", self.state, *args], capture_output=True, text=True,
                              timeout=60, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr

    def start(self, *args):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([self.program, "run", "--state-dir", self.state, *self.dirs, *args], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        return self

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(30) == 0, self.logged()
            self.process = None

    def file(self, name):
        return os.path.join(self.state, name)

    @property
    def identity(self):
        with open(self.file("identity.json"), encoding="utf-8") as f:
            return json.load(f)

    def logged(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def sockets(self):
        """What listens, of this process and its child; none of them ever does."""
        text = subprocess.run(["ss", "-Hltnup"], capture_output=True, text=True, check=True).stdout
        return [line for line in text.splitlines() if "demarc-node" in line]

    def end(self):
        wrong = self.sockets()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        if os.path.exists(self.file("identity.json")):
            subprocess.run([self.program, "purge", "--state-dir", self.state, *self.dirs], capture_output=True, check=False)
        assert not wrong, f"a node listens on nothing: {wrong}"


@pytest.fixture
def agent(build, tmp_path):
    with contextlib.ExitStack() as stack:
        def make(name="agent"):
            folder = tmp_path / name
            folder.mkdir()
            a = Agent(build, folder)
            stack.callback(a.end)
            return a

        yield make


def new_site(hub):
    return hub.post(V1 + "/sites", {"site": {"name": f"site-{uuid.uuid4().hex[:8]}"}}, 201).json()["site"]["id"]


def new_token(hub, site, name=None, **more):
    body = {"enrolment_token": {"node_name": name or f"n-{uuid.uuid4().hex[:8]}", **more}}
    return hub.post(f"{V1}/sites/{site}/enrolment_tokens", body, 201).json()["enrolment_token"]


def node_of(hub, agent):
    return hub.get(f"{V1}/nodes/{agent.identity['node_id']}", 200).json()["node"]


def up(hub, agent):
    wait_for(lambda: node_of(hub, agent)["state"] == "up", "the node is up")
    return agent


def sql(hub, text, *args):
    db = sqlite3.connect(hub.file("hub.db"), timeout=30)
    with contextlib.closing(db), db:
        return db.execute(text, args).fetchall()


def due(hub, agent):
    sql(hub, "UPDATE node SET cert_renew_us = 1, cert_offer_us = 1 WHERE id = ?", agent.identity["node_id"])


def speaks(hub, cert, key, ca=None):
    """Whether the hub takes a client certificate: a refused one ends the connection."""
    context = ssl.create_default_context(cafile=ca or hub.ca)
    context.load_cert_chain(cert, key)
    try:
        with socket.create_connection(("localhost", hub.port), 10) as s, context.wrap_socket(s, server_hostname="localhost") as t:
            t.sendall(b"GET /demarc/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return t.recv(100).startswith(b"HTTP/1.1 200")
    except (ssl.SSLError, ConnectionError):
        return False


@pytest.fixture
def enrolled(hub, agent):
    a = agent()
    a.site = new_site(hub)
    a.enrol(new_token(hub, a.site)["token"])
    return up(hub, a.start())


# ---- tokens ----


def test_a_token_for_many(hub, agent):
    site = new_site(hub)
    token = new_token(hub, site, "box", uses=2)
    agents = [agent(f"a{i}") for i in range(3)]
    for a in agents[:2]:
        a.enrol(token["token"])
    assert "used already" in agents[2].enrol(token["token"], fails=True)
    assert sorted(n["name"] for n in hub.get(f"{V1}/nodes?site_id={site}", 200).json()["nodes"]) == ["box-1", "box-2"]
    listed = hub.get(f"{V1}/sites/{site}/enrolment_tokens", 200).json()["enrolment_tokens"][0]
    assert (listed["state"], listed["used"], listed["uses"]) == ("used", 2, 2)
    for bad in ({"uses": 0}, {"uses": 10001}, {"uses": "2"}, {"again": 1}, {"again": True}, {"again": True, "uses": 2}):
        r = hub.post(f"{V1}/sites/{site}/enrolment_tokens", {"enrolment_token": {"node_name": "x", **bad}})
        assert r.status_code in (400, 404), r.text


def test_zero_touch(hub, agent, tmp_path, build):
    site = new_site(hub)
    env = {**os.environ, "OS_CLIENT_CONFIG_FILE": hub.clouds_yaml, "OS_CLOUD": "demarc"}
    cli = os.path.join(build, "src/cli/demarc")
    name = hub.get(f"{V1}/sites/{site}", 200).json()["site"]["name"]
    done = subprocess.run([cli, "enrol", name, "box", "--out", str(tmp_path / "zero")], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.stat(tmp_path / "zero").st_mode & 0o777 == 0o600
    a = up(hub, await_identity(agent().start("--enrol-file", str(tmp_path / "zero"))))
    assert node_of(hub, a)["name"] == "box"
    done = subprocess.run([cli, "enrol", name, "other", "--qr"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    url = next(line.strip() for line in done.stdout.splitlines() if "/enrol#demarc1." in line)
    assert "\u2588" in done.stdout
    agent("by-url").enrol(url)


def unit_of_the_package():
    """Lines of demarc-node.service: key -> values."""
    lines = {}
    with open(os.path.join(ROOT, "packaging/systemd/demarc-node.service"), encoding="utf-8") as f:
        for key, _, value in (line.strip().partition("=") for line in f if "=" in line and line[0] != "#"):
            lines.setdefault(key, []).append(value)
    return lines


def test_zero_touch_as_the_package_starts_it(hub, agent):
    """Each of the unit's conditions is enough; a node that finds the other file than its identity enrols with it, without an option."""
    unit = unit_of_the_package()
    argv = unit["ExecStart"][0].split()
    state = argv[argv.index("--state-dir") + 1]
    names = [c.removeprefix(f"|{state}/") for c in unit["ConditionPathExists"]]
    assert argv[1] == "run" and "--enrol-file" not in argv and len(names) == 2
    names.remove("identity.json")
    a = agent()
    os.mkdir(a.state, 0o700)
    with open(a.file(names[0]), "w", encoding="ascii") as f:
        f.write(new_token(hub, new_site(hub), "box")["token"] + "\n")
    up(hub, await_identity(a.start()))
    # Later the file is not looked at: the node is enrolled.
    a.stop()
    os.remove(a.file(names[0]))
    up(hub, a.start())


def await_identity(a):
    wait_for(lambda: os.path.exists(a.file("identity.json")), "the node is enrolled")
    return a


# ---- renewal ----


def test_renewed_over_the_channel(hub, enrolled):
    a = enrolled
    first = node_of(hub, a)
    assert a.sockets() == []
    assert speaks(hub, a.file("cert.pem"), a.file("key.pem"))
    due(hub, a)
    wait_for(lambda: node_of(hub, a)["certificate_serial"] != first["certificate_serial"], "a new certificate is used")
    wait_for(lambda: "certificate_renewed" in a.logged(), "the node keeps it")
    assert not os.path.exists(a.file("node-next.pem")) and not os.path.exists(a.file("renew.key"))
    assert os.stat(a.file("node.pem")).st_mode & 0o777 == 0o600
    assert speaks(hub, a.file("node.pem"), a.file("node.pem"))
    # The one before is refused from then on.
    wait_for(lambda: not speaks(hub, a.file("cert.pem"), a.file("key.pem")), "the old certificate is refused")
    # A second one before its time is not given.
    assert sql(hub, "SELECT cert_renew_us > 1, cert_next_serial FROM node WHERE id = ?", first["id"]) == [(1, None)]
    # The new one is what a restart uses, on both sides.
    a.stop()
    hub.restart()
    up(hub, a.start())
    assert not speaks(hub, a.file("cert.pem"), a.file("key.pem"))


def test_a_new_certificate_that_does_not_work(hub, enrolled):
    """What the hub issued is refused there (it lost the node's row to a backup): the one in use goes on."""
    a = enrolled
    a.stop()
    other = a.file("other")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
                    "-keyout", other + ".key", "-out", other + ".crt"], check=True, capture_output=True)
    with open(a.file("node-next.pem"), "w", encoding="ascii") as f:
        for name in (".crt", ".key"):
            with open(other + name, encoding="ascii") as part:
                f.write(part.read())
    up(hub, a.start())


def test_expired_node_comes_back(hub, enrolled, tmp_path):
    a = enrolled
    node = node_of(hub, a)
    a.stop()
    # The same key, certified until yesterday.
    csr, cert = str(tmp_path / "x.csr"), a.file("cert.pem")
    subprocess.run(["openssl", "req", "-new", "-key", a.file("key.pem"), "-subj", f"/CN={node['id']}", "-out", csr], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", csr, "-CA", hub.ca, "-CAkey", hub.file("ca.key"), "-CAcreateserial", "-days", "-1",
                    "-out", cert], check=True, capture_output=True)
    assert not speaks(hub, cert, a.file("key.pem"))
    site = node["site_id"]
    assert "not for the node" in a.enrol(new_token(hub, site)["token"], "--again", fails=True)
    assert "enrolled already" in a.enrol(new_token(hub, site)["token"], fails=True)
    a.enrol(new_token(hub, site, node["name"], again=True)["token"], "--again")
    assert a.identity["node_id"] == node["id"]
    up(hub, a.start())


# ---- tickets ----


def returned(hub, a, resumed, ticket=None):
    """The agent is killed, and comes back so, with that content of its ticket's file. What its next process said of tickets that it dropped."""
    a.process.kill()
    a.process.wait(30)
    if ticket is not None:
        write(a.file("ticket"), ticket)
    seen, told = len(hub.log()), len(a.logged())
    a.start("--debug")
    wait_for(lambda: "node_connected" in hub.log()[seen:], "the node is back")
    line = next(line for line in hub.log()[seen:].splitlines() if "node_connected" in line)
    assert f"resumed={resumed:d}" in line, line + a.logged()[told:]
    return " ".join(line for line in a.logged()[told:].splitlines() if "ticket_dropped" in line)


def has_ticket(a, other_than=b""):
    """The hub gives it when nobody has waited for a handshake for two seconds."""
    wait_for(lambda: os.path.exists(a.file("ticket")) and read(a.file("ticket")) != other_than, "the node has stored its ticket")
    assert os.stat(a.file("ticket")).st_mode & 0o777 == 0o600
    return read(a.file("ticket"))


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, content):
    with open(path, "wb") as f:
        f.write(content)


def test_a_killed_agent_is_resumed(hub, enrolled):
    a = enrolled
    first = has_ticket(a)
    assert returned(hub, a, True) == ""
    hub.restart()
    assert returned(hub, a, True) == "" and read(a.file("ticket")) == first, "what is as good as the stored one is not stored"
    # Damaged at any place: a full handshake, and another one is stored.
    assert "damaged" in returned(hub, a, False, first[:40] + b"x" + first[41:])
    assert "damaged" in returned(hub, a, False, first[:-30] + bytes([first[-30] ^ 1]) + first[-29:])
    has_ticket(a, other_than=first[:-30] + bytes([first[-30] ^ 1]) + first[-29:])
    assert returned(hub, a, True) == ""
    # The hub's keys have gone: it says so in the handshake, and nothing is wrong with the file.
    hub.stop()
    os.remove(hub.file("tls-tickets"))
    hub.start()
    assert returned(hub, a, False, first) == ""
    has_ticket(a, other_than=first)
    assert returned(hub, a, True) == ""


def test_a_ticket_is_of_a_certificate_a_ca_and_hubs(hub, enrolled):
    a = enrolled
    first = has_ticket(a)
    # A new certificate is shown once: the hub must see it. From then on its own ticket is good.
    serial = node_of(hub, a)["certificate_serial"]
    due(hub, a)
    wait_for(lambda: node_of(hub, a)["certificate_serial"] != serial, "a new certificate is used")
    assert "resumed=0" in [line for line in hub.log().splitlines() if "node_connected" in line][-1]
    wait_for(lambda: "certificate_renewed" in a.logged(), "the node keeps it")
    assert "another certificate, CA or hub" in returned(hub, a, False, first), "as a power cut may leave it"
    second = has_ticket(a, other_than=first)
    assert returned(hub, a, True) == ""
    # One more CA that is trusted; another hub.
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other",
                    "-keyout", "/dev/null", "-out", a.file("other.crt")], check=True, capture_output=True)
    identity, ca = read(a.file("identity.json")), read(a.file("ca.pem"))
    write(a.file("ca.pem"), ca + read(a.file("other.crt")))
    assert "another certificate, CA or hub" in returned(hub, a, False, second)
    write(a.file("ca.pem"), ca)
    write(a.file("identity.json"), json.dumps({**json.loads(identity), "hub_urls": [*a.identity["hub_urls"], "https://127.0.0.1:1"]}).encode())
    assert "another certificate, CA or hub" in returned(hub, a, False, second)
    write(a.file("identity.json"), identity)
    assert returned(hub, a, True, second) == ""


def aged(ticket, seconds):
    """The same ticket, whose full handshake was so long before it."""
    head, _, session = ticket.partition(b"\n")
    magic, version, made, _, binding, _ = head.split(b" ")
    head = b" ".join([magic, version, made, b"%d" % seconds, binding, b""])
    return head + hashlib.sha256(head + session).hexdigest().encode() + b"\n" + session


def test_each_week_a_full_handshake(hub, enrolled):
    """Else a ticket would beget a ticket for good, and who has stolen one would be the hub to this node."""
    a, week = enrolled, 7 * 86400
    first = has_ticket(a)
    assert "too old" in returned(hub, a, False, aged(first, week))
    seen = len(hub.log())
    age = int(time.time()) - int(first.split(b" ")[2]) + 15
    assert returned(hub, a, True, aged(first, week - age)) == ""
    wait_for(lambda: "resumed=0" in hub.log()[seen:], "a full handshake before the week is over")
    assert "a full handshake is due" in a.logged()
    later = has_ticket(a, other_than=aged(first, week - age))
    assert int(later.split(b" ")[3]) < 60, "the week begins anew"
    assert returned(hub, a, True) == ""


# ---- revocation ----


def test_revoked_at_once(hub, enrolled):
    a = enrolled
    node = node_of(hub, a)
    hub.allow_log("session_closed", "session_refused")
    hub.post(f"{V1}/nodes/{node['id']}/revoke", status=204)
    wait_for(lambda: node_of(hub, a)["state"] == "revoked", "the node is revoked", 5)
    wait_for(lambda: "revoked" in a.logged(), "the node's connection is closed", 5)
    assert not speaks(hub, a.file("cert.pem"), a.file("key.pem"))
    hub.restart()
    assert not speaks(hub, a.file("cert.pem"), a.file("key.pem"))
    a.stop()
    events = [e["kind"] for e in hub.get(f"{V1}/events?node={node['id']}", 200).json()["events"]]
    assert "node_revoked" in events and "node_enrolled" in events
    a.enrol(new_token(hub, a.site, node["name"], again=True)["token"], "--again")
    up(hub, a.start())
    assert a.identity["node_id"] == node["id"]
    assert not speaks(hub, a.file("cert.pem"), a.file("key.pem"))
    assert hub.new_user("member").post(f"{V1}/nodes/{node['id']}/revoke").status_code == 403


# ---- CA ----


def test_ca_rotation(hub, enrolled, agent, tmp_path):
    a, away = enrolled, agent("away")
    old_ca = tmp_path / "old.crt"
    with open(hub.ca, encoding="ascii") as f:
        old_ca.write_text(f.read())
    away.enrol(new_token(hub, a.site, "away")["token"])
    assert hub.post(V1 + "/ca/retire", {}).status_code == 409
    ca = hub.post(V1 + "/ca/rotate", status=200).json()["ca"]
    assert (ca["rotating"], ca["nodes_waiting"], [c["role"] for c in ca["certificates"]]) == (True, 2, ["anchor", "next"])
    assert hub.post(V1 + "/ca/rotate").status_code == 409
    wait_for(lambda: hub.get(V1 + "/ca", 200).json()["ca"]["nodes_waiting"] == 1, "the node that is there has a certificate of the new CA")
    r = hub.post(V1 + "/ca/retire", {})
    assert r.status_code == 409 and "1 node" in r.text
    # Both CAs are good meanwhile, also after a restart; the hub's own certificate is still the old one's.
    hub.restart()
    up(hub, a)
    assert speaks(hub, a.file("node.pem"), a.file("node.pem"), str(old_ca))
    assert speaks(hub, away.file("cert.pem"), away.file("key.pem"))
    hub.post(V1 + "/ca/retire", {"force": True}, 200)
    hub.http.close()
    assert not speaks(hub, a.file("node.pem"), a.file("node.pem"), str(old_ca))
    assert not speaks(hub, away.file("cert.pem"), away.file("key.pem"))
    assert speaks(hub, a.file("node.pem"), a.file("node.pem"))
    hub.restart()
    up(hub, a)
    late = agent("late")
    late.enrol(new_token(hub, a.site)["token"])
    up(hub, late.start())
    away.enrol(new_token(hub, a.site, "away", again=True)["token"], "--again")
    up(hub, away.start())


# ---- hubs ----


def test_list_of_hubs(hub, enrolled):
    a = enrolled
    first = a.identity["hub_urls"]
    hub.stop()
    hub.start("--other-hub", "https://127.0.0.1:1")
    up(hub, a)
    wait_for(lambda: "https://127.0.0.1:1" in a.identity["hub_urls"], "the node knows the other hub")
    assert set(first) <= set(a.identity["hub_urls"])
    # A list whose first hubs do not answer: the next one is asked.
    a.stop()
    identity = a.identity
    identity["hub_urls"] = ["https://127.0.0.1:1", "https://nowhere.invalid:8443", *first]
    with open(a.file("identity.json"), "w", encoding="utf-8") as f:
        json.dump(identity, f)
    up(hub, a.start())
