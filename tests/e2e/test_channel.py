# SPDX-License-Identifier: Apache-2.0
"""The node channel from outside: a real hub, the real link client in a node without functions, and a hostile client.

Nodes are made with the hub's own CA and a row in its store, so that these tests need no other service than the channel.
"""

import base64
import contextlib
import ctypes
import gzip
import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import threading
import time
import uuid
import zlib

import pytest
from conftest import running_hub, wait_for

CHANNEL = "/demarc/v1/channel"
REFUSALS = ("session_refused", "session_bad_frame", "session_closed")


# ---- nodes ----


def run(*args):
    subprocess.run(args, check=True, capture_output=True)


class Identity:
    """Key and certificate of a node, signed by `ca` (prefix of .crt and .key)."""

    def __init__(self, path, ca, node_id):
        self.node_id = node_id
        self.key, self.cert = os.path.join(path, f"{node_id}.key"), os.path.join(path, f"{node_id}.pem")
        csr = os.path.join(path, f"{node_id}.csr")
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            f"/CN={node_id}", "-keyout", self.key, "-out", csr)
        extensions = os.path.join(path, "client.ext")
        with open(extensions, "w", encoding="ascii") as f:
            f.write("extendedKeyUsage=clientAuth\n")
        run("openssl", "x509", "-req", "-in", csr, "-CA", ca + ".crt", "-CAkey", ca + ".key", "-CAcreateserial", "-CAserial",
            os.path.join(path, "serial"), "-days", "2", "-extfile", extensions, "-out", self.cert)


def make_ca(path):
    prefix = os.path.join(path, "other-ca")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other",
        "-keyout", prefix + ".key", "-out", prefix + ".crt", "-days", "2")
    return prefix


def sql(hub, text, *args):
    with contextlib.closing(sqlite3.connect(hub.file("hub.db"), timeout=30)) as db, db:
        return db.execute(text, args).fetchall()


def add_node(hub, **columns):
    """A node's row, at a site of its own; returns its id."""
    node, site = str(uuid.uuid4()), str(uuid.uuid4())
    sql(hub, "INSERT INTO site (id, name, created_us, updated_us) VALUES (?, ?, 0, 0)", site, "site-" + site[:8])
    sql(hub, "INSERT INTO node (id, name, site_id, created_us, updated_us) VALUES (?, ?, ?, 0, 0)", node, "node-" + node[:8], site)
    for name, value in columns.items():
        sql(hub, f"UPDATE node SET {name} = ? WHERE id = ?", value, node)
    return node


class FakeNode:
    """fake-node as a process; lines() is what it said."""

    def __init__(self, build, hub, identity, *options, url=None, ca=None, env=None, prefix=()):
        program = os.path.join(build, "tests/e2e/fake-node")
        self.output = []
        self.process = subprocess.Popen(
            [*prefix, program, *options, ca or hub.ca, identity.cert, identity.key, identity.node_id, url or hub.url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env={**os.environ, **(env or {})})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.output.append(line.rstrip("\n"))

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def lines(self, word):
        return [line for line in self.output if line.split(" ")[0] == word]

    def wait(self, word, count=1, deadline_s=20):
        """Waits until `count` lines begin with word; returns the last of them."""
        try:
            wait_for(lambda: len(self.lines(word)) >= count, f"{count} x {word}", deadline_s)
        except AssertionError as e:
            raise AssertionError(f"{e}; got {self.output}") from e
        return self.lines(word)[count - 1]

    def child(self):
        """Process id of the network process."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            pids = f.read().split()
        return int(pids[0]) if pids else None

    def stop(self):
        if self.process.poll() is None:
            with contextlib.suppress(BrokenPipeError, OSError):
                self.say("quit")
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.stdin.close()
        self.reader.join(10)
        self.process.stdout.close()
        assert self.process.returncode == 0, f"fake-node exited with {self.process.returncode}"  # a leak, with ASan


@pytest.fixture
def identity(shared_hub, tmp_path):
    """A node that the hub knows."""
    return Identity(str(tmp_path), shared_hub.file("ca"), add_node(shared_hub))


@pytest.fixture
def start(build, shared_hub):
    """start(identity, *options, **kw) -> FakeNode, stopped at the end."""
    nodes = []

    def make(identity, *options, hub=shared_hub, **kwargs):
        nodes.append(FakeNode(build, hub, identity, *options, **kwargs))
        return nodes[-1]

    yield make
    for node in nodes:
        node.stop()


# ---- a client that may misbehave ----


def varint(n):
    out = b""
    while True:
        out += bytes([(n & 0x7F) | (0x80 if n > 0x7F else 0)])
        n >>= 7
        if not n:
            return out


def field(number, value):
    """One protobuf field: bytes and text as length-prefixed, numbers as varint."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def node_hello(node_id, revision=0, digest=""):
    return field(10, field(1, node_id) + field(2, "raw") + field(4, "b") + field(5, "r") +
                 (field(6, revision) if revision else b"") + field(7, digest))


PING = field(12, field(1, 7))


class Raw:
    """TLS and WebSocket by hand."""

    def __init__(self, hub, identity=None, upgrade=True, head=""):
        context = ssl.create_default_context(cafile=hub.ca)
        if identity:
            context.load_cert_chain(identity.cert, identity.key)
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", hub.port), 10), server_hostname="localhost")
        self.buffer = b""
        self.received = 0
        self.head = ""
        if upgrade:
            self.upgrade(head)

    def upgrade(self, more=""):
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall((f"GET {CHANNEL} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                           f"Sec-WebSocket-Protocol: demarc-node\r\n{more}\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.head = head.decode()

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionResetError("closed")
        self.buffer += data

    def need(self, n):
        while len(self.buffer) < n:
            self.fill()

    def send(self, payload, opcode=2, bits=0x80):
        head = bytes([bits | opcode])
        n = len(payload)
        head += bytes([0x80 | n]) if n < 126 else struct.pack("!BH", 0xFE, n) if n < 65536 else struct.pack("!BQ", 0xFF, n)
        mask = os.urandom(4)
        word = (mask * (n // 4 + 1))[:n]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(word, "big")).to_bytes(n, "big") if n else b""
        self.sock.sendall(head + mask + masked)

    def recv(self):
        """One frame: (opcode, payload)."""
        self.need(2)
        opcode, n = self.buffer[0] & 15, self.buffer[1]
        start = 2
        if n == 126:
            self.need(4)
            n, start = struct.unpack("!H", self.buffer[2:4])[0], 4
        elif n == 127:
            self.need(10)
            n, start = struct.unpack("!Q", self.buffer[2:10])[0], 10
        self.need(start + n)
        payload, self.buffer = self.buffer[start:start + n], self.buffer[start + n:]
        self.received += start + n
        return opcode, payload

    def is_closed(self):
        """Reads until the end; True when it came (a close frame or the connection's)."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while self.recv()[0] != 8:
                pass
        return True

    def close(self):
        self.sock.close()


@pytest.fixture
def raw(shared_hub):
    made = []

    def make(*args, hub=shared_hub, **kwargs):
        made.append(Raw(hub, *args, **kwargs))
        return made[-1]

    yield make
    for r in made:
        r.close()


def answers(hub):
    """The hub serves: the one question that needs nobody's rights."""
    return hub.get("/identity/v3", 200)


# ---- the channel as it should be ----


def test_hello_and_reports(shared_hub, identity, start):
    node = start(identity, "--auto-ack")
    assert node.wait("hello") == "hello 0 0 0"
    event = str(uuid.uuid4())
    node.say(f"event 1 {event} first")
    node.wait("ack")
    assert sql(shared_hub, "SELECT text, node_id FROM event WHERE id = ?", event) == [("first", identity.node_id)]
    node.say(f"event 1 {event} again")  # its acknowledgement was lost
    node.say(f"event 2 {event} a repeated event in a new report")
    assert node.wait("ack", 3) == "ack 2"
    assert sql(shared_hub, "SELECT text FROM event WHERE id = ?", event) == [("first",)]
    row = sql(shared_hub, "SELECT report_seq, release, address, inventory FROM node WHERE id = ?", identity.node_id)[0]
    assert row[:3] == (2, "fake", "127.0.0.1")
    assert '"nics":["lan","wan"]' in row[3]


def test_figures_wait_for_each_other(hub, tmp_path, raw):
    """A node's figures wait a second for others', in one transaction; what it says after them is stored after them."""
    nodes = [Identity(str(tmp_path), hub.file("ca"), add_node(hub)) for _ in range(6)]
    peers = [raw(who, hub=hub) for who in nodes]
    for who, peer in zip(nodes, peers):
        peer.send(node_hello(who.node_id))
        assert peer.recv()[1][0] == 0x5A  # field 11, hub_hello

    def report(seq, *parts):
        return field(22, field(1, seq) + b"".join(parts))

    def figures(mb):
        return field(7, field(1, mb))

    def acked(peer):
        message = peer.recv()[1]
        assert message[:2] == b"\xba\x01", message  # field 23, report_ack
        return message[4]

    def said(who):
        seq, seen, status = sql(hub, "SELECT report_seq, last_seen_us, status FROM node WHERE id = ?", who.node_id)[0]
        return seq, seen is not None, json.loads(status)["memory_used_mb"]

    with contextlib.closing(sqlite3.connect(hub.file("hub.db"), timeout=30)) as db:
        before = db.execute("PRAGMA data_version").fetchone()[0]
        for i, peer in enumerate(peers[1:]):
            peer.send(report(1, figures(10 + i)))
        peers[1].send(report(2, figures(77)))  # the newest is what is stored
        assert [acked(peer) for peer in peers[1:]] == [2, 1, 1, 1, 1]
        assert db.execute("PRAGMA data_version").fetchone()[0] != before
    assert [said(who) for who in nodes[1:]] == [(2, True, 77)] + [(1, True, 10 + i) for i in range(1, 5)]
    event = str(uuid.uuid4())
    peers[0].send(report(1, figures(5)))
    peers[0].send(report(2, field(6, field(1, event) + field(2, 1) + field(3, "k") + field(4, "info") + field(6, "after"))))
    while acked(peers[0]) != 2:
        pass
    assert said(nodes[0]) == (2, True, 5) and sql(hub, "SELECT text FROM event WHERE id = ?", event) == [("after",)]
    peers[0].send(report(3, figures(6)))
    peers[0].send(node_hello(nodes[0].node_id))  # one that was set up anew: its numbers start again, after what was on its way
    while peers[0].recv()[1][0] != 0x5A:
        pass
    assert said(nodes[0]) == (0, True, 6)


def test_equal_revision_costs_one_small_message(identity, shared_hub, raw):
    digest = "ab" * 32
    sql(shared_hub, "UPDATE node SET intent_revision = 0, acked_revision = 0 WHERE id = ?", identity.node_id)
    peer = raw(identity)
    assert " 101 " in peer.head.splitlines()[0]
    peer.send(node_hello(identity.node_id))
    opcode, hello = peer.recv()
    assert opcode == 2 and hello[0] == 0x5A  # field 11, hub_hello
    size = peer.received
    peer.send(PING)
    assert peer.recv()[1][:1] == b"\x6a"  # field 13, pong: nothing was between
    assert size < 100, size
    # The same revision with other contents (a hub restored from a backup) gets everything.
    sql(shared_hub, "UPDATE node SET intent_revision = 3, acked_revision = 3 WHERE id = ?", identity.node_id)
    peer = raw(identity)
    peer.send(node_hello(identity.node_id, 3, digest))
    assert peer.recv()[1][0] == 0x5A
    assert peer.recv()[1][:2] == b"\xa2\x01"  # field 20, intent


def test_a_node_that_returns_as_it_left_writes_nothing(hub, tmp_path, raw):
    """After an outage that is every node: no transaction, nothing in the row but when it was last seen, which is written in batches."""
    who = Identity(str(tmp_path), hub.file("ca"), add_node(hub))
    digest_of_it = hashlib.sha256(b"port p 2\n").hexdigest()
    sql(hub, "UPDATE node SET intent_revision = 2, acked_revision = 2 WHERE id = ?", who.node_id)
    sql(hub, "INSERT INTO intent_object VALUES (?, 'port', 'p', 2, 0, ?)", who.node_id, field(1, "port") + field(2, "p"))

    def hello(boot="b", digest=digest_of_it, reports=0, feature="f"):
        return field(10, field(1, who.node_id) + field(2, "raw") + field(3, feature) + field(4, boot) + field(5, "r") + field(6, 2) +
                     field(7, digest) + (field(9, reports) if reports else b""))

    def comes(**what):
        """Whether anything was committed until the hub's answer was here."""
        before = version()
        peer = raw(who, hub=hub)
        peer.send(hello(**what))
        assert peer.recv()[1][0] == 0x5A  # field 11, hub_hello
        after = version()
        peer.close()
        return after != before

    with contextlib.closing(sqlite3.connect(hub.file("hub.db"), timeout=30)) as db:
        def version():
            return db.execute("PRAGMA data_version").fetchone()[0]

        def row():
            db.row_factory = sqlite3.Row
            found = dict(db.execute("SELECT * FROM node WHERE id = ?", (who.node_id,)).fetchone())
            found.pop("last_seen_us")
            return found

        assert comes(), "the first time, what it is goes into its row"
        known = row()
        assert known["hello_digest"] and known["digest_revision"] == 2
        # The node's leaving is written after ten seconds at the earliest: once at most in this time.
        assert [comes() for _ in range(8)].count(True) <= 1
        assert row() == known
        # What differs is written.
        for other in ({"boot": "c"}, {"feature": "g"}, {"digest": "ab" * 32}):
            assert comes(**other), other
        sql(hub, "UPDATE node SET report_seq = 7 WHERE id = ?", who.node_id)
        assert comes(reports=6), "a node that was set up anew counts from where it is"
        assert row()["report_seq"] == 6
        sql(hub, "UPDATE node SET revoked = 1 WHERE id = ?", who.node_id)
        hub.allow_log("session_closed")
        peer = raw(who, hub=hub)
        peer.send(hello(reports=6))
        assert peer.recv()[1][:2] == b"\x92\x03", "a goodbye"


@pytest.mark.parametrize("held, resync", [(0, "1"), (4, "0"), (5, "0"), (6, "0"), (7, "1")])
def test_what_a_returning_node_gets(identity, shared_hub, start, held, resync):
    """The hub is at 6, the node acknowledged 4: older or newer than that gets everything, in between the difference."""
    node_id = identity.node_id
    sql(shared_hub, "UPDATE node SET intent_revision = 6, acked_revision = 4 WHERE id = ?", node_id)
    for kind, name, version, deleted in (("network", "n1", 2, 0), ("port", "p1", 5, 0), ("port", "p2", 6, 1)):
        body = field(1, kind) + field(2, name) if not deleted else b""
        sql(shared_hub, "INSERT INTO intent_object VALUES (?, ?, ?, ?, ?, ?)", node_id, kind, name, version, deleted, body)
    digest = subprocess.run(["sha256sum"], input=b"network n1 2\nport p1 5\n", capture_output=True, check=True).stdout[:64].decode()
    node = start(identity, "--auto-ack", "--hold", str(held), digest)
    now = 8 if held > 6 else 6  # past the node's count, so that no revision means two things
    assert node.wait("hello") == f"hello {now} {resync} 0"
    if held == 6:
        node.say("report 1")
        node.wait("ack")
        assert not node.lines("intent")
        return
    full = resync == "1"
    objects = {0: 2, 7: 2, 4: 2, 5: 1}[held]
    assert node.wait("intent") == f"intent {now} {0 if full else held} {int(full)} {objects}"
    wait_for(lambda: sql(shared_hub, "SELECT acked_revision FROM node WHERE id = ?", node_id) == [(now,)], "the ack stored")
    assert sql(shared_hub, "SELECT count(*) FROM intent_object WHERE node_id = ? AND deleted = 1", node_id) == [(0,)]


def test_second_hello_starts_from_there(identity, shared_hub, raw):
    """A node that could not use an intent says again what it holds."""
    node_id = identity.node_id
    sql(shared_hub, "UPDATE node SET intent_revision = 2 WHERE id = ?", node_id)
    sql(shared_hub, "INSERT INTO intent_object VALUES (?, 'port', 'p', 2, 0, ?)", node_id, field(1, "port") + field(2, "p"))
    peer = raw(identity)
    for _ in range(3):
        peer.send(node_hello(node_id, 1))
        assert peer.recv()[1][0] == 0x5A
        assert peer.recv()[1][:2] == b"\xa2\x01"


def test_a_large_intent_comes_in_parts(identity, shared_hub, start):
    node_id = identity.node_id
    sql(shared_hub, "UPDATE node SET intent_revision = 1 WHERE id = ?", node_id)
    for i in range(40):
        server = field(13, field(1, f"s{i}") + field(12, os.urandom(100000)))
        body = field(1, "server") + field(2, f"{i:04}") + server
        sql(shared_hub, "INSERT INTO intent_object VALUES (?, 'server', ?, 1, 0, ?)", node_id, f"{i:04}", body)
    node = start(identity, "--auto-ack")
    assert node.wait("intent") == "intent 1 0 0 40"
    wait_for(lambda: len(node.lines("object")) == 40, "the objects, each on a line after that of the intent")


def test_a_lost_wake_up_is_repaired(identity, shared_hub, start):
    node = start(identity, "--auto-ack")
    node.wait("hello")
    sql(shared_hub, "INSERT INTO intent_object VALUES (?, 'port', 'p', 1, 0, ?)", identity.node_id, field(1, "port") + field(2, "p"))
    sql(shared_hub, "UPDATE node SET intent_revision = 1 WHERE id = ?", identity.node_id)
    assert node.wait("intent") == "intent 1 0 0 1"


def test_second_connection_replaces_the_first(identity, shared_hub, start):
    shared_hub.allow_log("session_closed")
    first = start(identity)
    first.wait("hello")
    second = start(identity)
    second.wait("hello")
    assert "replaced" in first.wait("goodbye")
    first.wait("down")
    second.say("report 1")
    assert second.wait("ack") == "ack 1"


def test_a_node_comes_back_at_another_front(identity, shared_hub, start):
    """The front that has the new connection ends the old one, which is another front's every other time."""
    shared_hub.allow_log("session_closed")
    before = start(identity)
    before.wait("hello")
    for _ in range(12):
        now = start(identity)
        now.wait("hello")
        assert "replaced" in before.wait("goodbye")
        before.stop()
        before = now


def test_images_of_others_are_not_read(identity, shared_hub, start):
    shared_hub.allow_log("chunk_refused")
    node = start(identity)
    node.wait("hello")
    node.say(f"chunk {uuid.uuid4()} 0 1000")
    assert "no server of this node" in node.wait("chunk")
    node.say("chunk ../../hub.db 0 1000")
    assert "not a valid request" in node.wait("chunk", 2)


# ---- who may not ----


def test_no_certificate(shared_hub, raw):
    peer = raw()
    assert " 101 " not in peer.head.splitlines()[0]
    answers(shared_hub)


def test_certificate_of_another_ca(shared_hub, tmp_path, raw):
    shared_hub.allow_log(*REFUSALS)
    stranger = Identity(str(tmp_path), make_ca(str(tmp_path)), add_node(shared_hub))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        raw(stranger)
    answers(shared_hub)


def test_hub_of_another_ca(identity, shared_hub, tmp_path, start):
    shared_hub.allow_log(*REFUSALS)
    node = start(identity, ca=make_ca(str(tmp_path)) + ".crt")
    assert "certificate" in node.wait("down")
    assert not node.lines("up")


def test_revoked(shared_hub, tmp_path, start):
    shared_hub.allow_log("session_closed")
    node = start(Identity(str(tmp_path), shared_hub.file("ca"), add_node(shared_hub, revoked=1)))
    assert "revoked" in node.wait("goodbye")
    node.wait("down")
    assert not node.lines("hello")


def test_unknown_node(shared_hub, tmp_path, start):
    shared_hub.allow_log("session_closed")
    node = start(Identity(str(tmp_path), shared_hub.file("ca"), str(uuid.uuid4())))
    assert "does not know" in node.wait("goodbye")


def test_name_of_another_node(identity, shared_hub, raw):
    shared_hub.allow_log(*REFUSALS)
    peer = raw(identity)
    peer.send(node_hello(add_node(shared_hub)))
    assert b"not that of the certificate" in peer.recv()[1]
    assert peer.is_closed()


# ---- what may not be said ----


def test_garbage_on_the_port(shared_hub):
    shared_hub.allow_log(*REFUSALS)
    for text in (b"\0" * 1000, os.urandom(3000), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + os.urandom(500)):
        with socket.create_connection(("127.0.0.1", shared_hub.port), 10) as s:
            with contextlib.suppress(OSError):
                s.sendall(text)
                s.shutdown(socket.SHUT_WR)
                while s.recv(4096):
                    pass
    answers(shared_hub)


@pytest.mark.parametrize("frame", [
    b"\xff" * 100,
    field(22, b"\x1a\x00" * 400000),  # a report of 400,000 empty servers: memory
    field(20, field(1, 5)),  # an intent is the hub's to send
    field(50, field(1, b"\xff\xfe")),  # not UTF-8
    field(22, field(1, 1)),  # a report before the hello
], ids=["garbage", "memory", "direction", "utf8", "early"])
def test_bad_frames(identity, shared_hub, raw, frame):
    shared_hub.allow_log(*REFUSALS)
    peer = raw(identity)
    peer.send(frame)
    assert peer.recv()[1][:2] == b"\x92\x03"  # field 50, goodbye
    assert peer.is_closed()
    answers(shared_hub)


def deflated(data):
    """As RFC 7692 has it."""
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (c.compress(data) + c.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_nothing_is_compressed(identity, shared_hub, raw):
    """Not offered, not taken up, not unpacked: what a message or a body can cost is what it weighs."""
    offers = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame\r\nAccept-Encoding: gzip, deflate\r\n"
    peer = raw(identity, head=offers)
    assert " 101 " in peer.head.splitlines()[0]
    assert "extensions" not in peer.head.lower() and "encoding" not in peer.head.lower(), peer.head
    peer.send(node_hello(identity.node_id))
    assert peer.recv()[1][0] == 0x5A
    peer.send(deflated(PING), bits=0xC0)  # RSV1
    opcode, payload = peer.recv()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (8, 1002)
    body = gzip.compress(json.dumps({"project": {"name": "packed"}}).encode())
    for coding in ("gzip", "deflate", "br", "identity, gzip"):
        r = shared_hub.post("/identity/v3/projects", data=body, status=415, headers={"Content-Type": "application/json", "Content-Encoding": coding})
        assert "Content-Encoding" in r.json()["error"]["message"]
    image = shared_hub.post("/image/v2/images", {"disk_format": "raw", "container_format": "docker"}, 201).json()["id"]
    shared_hub.put(f"/image/v2/images/{image}/file", data=gzip.compress(bytes(1 << 20)), status=415,
                   headers={"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"})
    assert shared_hub.get(f"/image/v2/images/{image}", 200).json()["status"] == "queued"
    r = shared_hub.get("/identity/v3/projects", 200, headers={"Accept-Encoding": "gzip, deflate, br", "Content-Encoding": "identity"})
    assert "Content-Encoding" not in r.headers
    assert "packed" not in r.text
    answers(shared_hub)


def test_oversized_frame(identity, shared_hub, raw):
    shared_hub.allow_log(*REFUSALS)
    peer = raw(identity)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        peer.send(b"\0" * ((1 << 20) + 1))
    assert peer.is_closed()
    answers(shared_hub)


def test_later_kinds_are_ignored(identity, raw):
    peer = raw(identity)
    peer.send(node_hello(identity.node_id) + field(900, "from a later release"))
    assert peer.recv()[1][0] == 0x5A
    peer.send(field(901, "a kind that this hub does not know"))
    peer.send(PING)
    assert peer.recv()[1][:1] == b"\x6a"


def test_flood_of_reports_is_bounded(identity, shared_hub, raw):
    shared_hub.allow_log(*REFUSALS)
    peer = raw(identity)
    peer.send(node_hello(identity.node_id))
    peer.recv()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        for seq in range(1, 3000):
            peer.send(field(22, field(1, seq)))
    peer.close()
    answers(shared_hub)


# ---- coming back ----


def test_hub_dies_and_returns(build, hub, tmp_path, start):
    identity = Identity(str(tmp_path), hub.file("ca"), add_node(hub))
    node = start(identity, hub=hub)
    node.wait("hello")
    event = str(uuid.uuid4())
    node.say(f"event 1 {event} kept")
    node.wait("ack")
    hub.kill()
    node.wait("down")
    hub.start()
    assert node.wait("hello", 2) == "hello 0 0 0"  # the node says that it has no report: it starts anew
    assert sql(hub, "SELECT text FROM event WHERE id = ?", event) == [("kept",)]


def test_a_node_that_left_was_seen_when_it_left(hub, tmp_path, raw):
    """It is written ten to twenty seconds later, so that nodes that come back cost nothing, and says when they left; a hub that stops says so at once."""
    who, other = (Identity(str(tmp_path), hub.file("ca"), add_node(hub)) for _ in range(2))

    def left(identity):
        """When it was there for the last time."""
        peer = raw(identity, hub=hub)
        peer.send(node_hello(identity.node_id))
        assert peer.recv()[1][0] == 0x5A  # field 11, hub_hello
        when = time.time_ns() // 1000
        peer.close()
        wait_for(lambda: f"node_disconnected node={identity.node_id}" in hub.log(), "the hub has seen it go")
        return when

    def seen(identity):
        return sql(hub, "SELECT last_seen_us FROM node WHERE id = ?", identity.node_id)[0][0]

    when = left(who)
    said = wait_for(lambda: seen(who) > when and seen(who), "its leaving is stored")
    assert when < said <= time.time_ns() // 1000 - 10_000_000, "not when it was stored"
    when = left(other)
    hub.stop()
    assert when < seen(other) <= time.time_ns() // 1000 and seen(who) == said


def test_silent_hub_is_noticed(build, hub, tmp_path, start):
    """Half-open: the TCP connection stays, nobody answers."""
    hub.allow_log("session_silent")
    identity = Identity(str(tmp_path), hub.file("ca"), add_node(hub))
    node = start(identity, hub=hub)
    node.wait("hello")
    hub.process.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        assert "does not answer" in node.wait("down", deadline_s=30)
        assert time.monotonic() - begin < 15
    finally:
        hub.process.send_signal(signal.SIGCONT)
    node.wait("hello", 2, deadline_s=40)


SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17  # of ptrace(2)


@contextlib.contextmanager
def halted(process, name):
    """One thread of a process stands still, as one does that waits for a disk; all others go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    tid = next(int(t) for t in os.listdir(f"/proc/{process.pid}/task") if thread_name(process.pid, t) == name)
    for request in (SEIZE, INTERRUPT):
        assert libc.ptrace(request, tid, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(tid, 0x40000000)  # __WALL: it has stopped
    try:
        yield
    finally:
        assert libc.ptrace(DETACH, tid, None, None) == 0, os.strerror(ctypes.get_errno())


def thread_name(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/comm", encoding="ascii") as f:
        return f.read().strip()


def goodbye(peer):
    """(reason, milliseconds) of the next message, which is a goodbye."""
    data = peer.recv()[1]
    assert data[:2] == b"\x92\x03" and data[3] == 0x0A, data  # field 50; of it field 1
    rest = data[5 + data[4]:]
    assert rest[0] == 0x10 and len(rest) == 3, rest  # field 2, of two bytes
    return data[5:5 + data[4]].decode(), rest[1] & 0x7F | rest[2] << 7


@pytest.mark.timeout(120)
def test_a_slow_store_sends_hellos_away(build, tmp_path, raw, start):
    """Before they give up after 15 s, and not all for the same moment; who comes back as it left does not need the store to write."""
    with running_hub(build, str(tmp_path), ("--fronts", "1")) as hub:
        hub.allow_log("session_hello_late")
        nodes = [Identity(str(tmp_path), hub.file("ca"), add_node(hub)) for _ in range(4)]
        def comes():
            peer = raw(nodes[0], hub=hub)
            peer.send(node_hello(nodes[0].node_id))
            with contextlib.closing(peer):
                return peer.recv()[1][0] == 0x5A  # field 11, hub_hello

        assert comes()
        with halted(hub.process, "nodes-store"):
            begin = time.monotonic()
            real = start(nodes[1], hub=hub)
            peers = [raw(who, hub=hub) for who in nodes[2:]]
            for who, peer in zip(nodes[2:], peers):
                peer.sock.settimeout(30)
                peer.send(node_hello(who.node_id))
            wait_for(lambda: real.lines("up"), "the real one has said hello, too")
            assert comes() and hub.get("/identity/v3", 200) and time.monotonic() - begin < 11
            told = [goodbye(peer) for peer in peers]
            assert 11 < time.monotonic() - begin < 15
            assert "too slow" in real.wait("goodbye")
        assert all("too slow" in reason for reason, _ in told), told
        waits = sorted(ms for _, ms in told)
        assert waits[0] in (10000, 10100) and waits[1] - waits[0] in (100, 200), told
        assert real.wait("hello") == "hello 0 0 0"
        # What nobody waits for any more is not stored.
        assert sql(hub, "SELECT count(*) FROM node WHERE release = 'raw'") == [(1,)]


@pytest.fixture(name="quick")
def fixture_quick(build, tmp_path):
    """A hub that wants to hear of its nodes each second."""
    with running_hub(build, str(tmp_path), ["--heartbeat", "1"]) as h:
        yield h


def state(hub, node_id):
    return hub.get(f"/demarc/v1/nodes/{node_id}", 200).json()["node"]["state"]


def test_silent_node_is_noticed(quick, tmp_path, start):
    """Half-open, as the hub sees it: the node's kernel acknowledges, and nobody is there."""
    quick.allow_log("session_silent")
    identity = Identity(str(tmp_path), quick.file("ca"), add_node(quick))
    node = start(identity, hub=quick)
    node.wait("hello")
    assert state(quick, identity.node_id) == "up"
    for pid in (stopped := [node.process.pid, node.child()]):
        os.kill(pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        wait_for(lambda: state(quick, identity.node_id) != "up", "the node is gone for the API")
        assert time.monotonic() - begin < 8  # 3 s, and what other work on the machine costs
        assert f"session_silent node={identity.node_id}" in quick.log()
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    node.wait("hello", 2, deadline_s=40)
    wait_for(lambda: state(quick, identity.node_id) == "up", "the node is back")


def test_heartbeats_are_as_the_hub_says(quick, tmp_path, raw, start):
    """The interval is in the hub's hello and in each pong; a node that does not take it over would be called silent here."""
    who = [Identity(str(tmp_path), quick.file("ca"), add_node(quick)) for _ in range(2)]
    peer = raw(who[0], hub=quick)
    peer.send(node_hello(who[0].node_id))
    assert field(3, 1000) in peer.recv()[1][-40:], "HubHello"
    peer.send(PING)
    assert peer.recv()[1] == field(13, field(1, 7) + field(2, 1000)), "Pong"
    peer.close()
    with contextlib.closing(Proxy(quick.port)) as proxy:
        node = start(who[1], hub=quick, env={"FAKE_NODE_PROXY": proxy.address})
        node.wait("hello")
        n = len(proxy.said)
        wait_for(lambda: len(proxy.said) >= n + 5, "five heartbeats, where the usual interval has two", 10)
        assert not node.lines("down")
        node.stop()


def test_network_process_dies(identity, start):
    node = start(identity)
    node.wait("hello")
    os.kill(node.child(), signal.SIGKILL)
    node.wait("down")
    node.wait("hello", 2)


class Premises:
    """Two network namespaces with a link: the hub's side and the node's, which finds the hub by name."""

    def __init__(self):
        self.tag = uuid.uuid4().hex[:6]
        self.hub_ns, self.node_ns = f"ch{self.tag}", f"cn{self.tag}"
        self.etc = f"/etc/netns/{self.node_ns}"
        os.makedirs(self.etc)
        for ns in (self.hub_ns, self.node_ns):
            run("ip", "netns", "add", ns)
            run("ip", "-n", ns, "link", "set", "lo", "up")
        run("ip", "link", "add", "up0", "netns", self.hub_ns, "type", "veth", "peer", "name", "up0", "netns", self.node_ns)
        run("ip", "-n", self.node_ns, "address", "add", "192.0.2.2/24", "dev", "up0")
        for ns in (self.hub_ns, self.node_ns):
            run("ip", "-n", ns, "link", "set", "up0", "up")
        self.move_hub("192.0.2.10")

    def move_hub(self, address):
        with open(f"{self.etc}/hosts", "w", encoding="ascii") as f:
            f.write(f"{address} hub.test\n")
        run("ip", "-n", self.hub_ns, "address", "flush", "dev", "up0")
        run("ip", "-n", self.hub_ns, "address", "add", f"{address}/24", "dev", "up0")

    def close(self):
        for ns in (self.hub_ns, self.node_ns):
            subprocess.run(["ip", "netns", "del", ns], check=False, capture_output=True)
        shutil.rmtree(self.etc, ignore_errors=True)


class Elsewhere:
    """A hub in another namespace, as far as FakeNode asks for one."""

    def __init__(self, build, path, premises):
        self.data_dir = os.path.join(path, "hub")
        self.ca, self.url = os.path.join(self.data_dir, "ca.crt"), "https://hub.test:8443"
        self.log_path = os.path.join(path, "hub.log")
        command = ["ip", "netns", "exec", premises.hub_ns, os.path.join(build, "src/hub/demarc-hub"), "--data-dir",
                   self.data_dir, "--port", "8443", "--public-name", "hub.test"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: b"hub_started" in self._log() or self.process.poll() is not None, "hub_started", 60)

    def _log(self):
        with open(self.log_path, "rb") as f:
            return f.read()

    def file(self, name):
        return os.path.join(self.data_dir, name)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def test_hub_moves_to_another_address(build, tmp_path):
    """The old address is gone without a word; the name leads to the new one."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with contextlib.ExitStack() as stack:
        premises = Premises()
        stack.callback(premises.close)
        hub = Elsewhere(build, str(tmp_path), premises)
        stack.callback(hub.stop)
        identity = Identity(str(tmp_path), hub.file("ca"), add_node(hub))
        node = FakeNode(build, hub, identity, prefix=["ip", "netns", "exec", premises.node_ns])
        stack.callback(node.stop)
        node.wait("hello")
        premises.move_hub("192.0.2.20")
        begin = time.monotonic()
        node.wait("hello", 2, deadline_s=40)
        assert time.monotonic() - begin < 15  # an idle channel: a heartbeat, two unanswered pings, a dial
        # The node's own link goes and comes: the kernel's word makes it look at once.
        run("ip", "-n", premises.node_ns, "link", "set", "up0", "down")
        node.wait("down", 2, deadline_s=20)
        run("ip", "-n", premises.node_ns, "link", "set", "up0", "up")
        begin = time.monotonic()
        node.wait("hello", 3, deadline_s=20)
        assert time.monotonic() - begin < 10


# ---- the network process ----


def test_network_process_has_no_rights(identity, start):
    if os.geteuid() != 0:
        pytest.skip("drops rights only when it has them")
    node = start(identity)
    node.wait("hello")
    with open(f"/proc/{node.child()}/status", encoding="ascii") as f:
        status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == {"65534"} and "0" not in status["Gid"].split()
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert len(os.listdir(f"/proc/{node.child()}/fd")) == 5  # three standard ones, the agent, the hub
    for pid in (node.process.pid, node.child()):
        listening = subprocess.run(["ss", "-Hlnp"], capture_output=True, text=True, check=True).stdout
        assert f"pid={pid}," not in listening


class Proxy:
    """An HTTP CONNECT proxy that leads every name to the hub."""

    def __init__(self, port, refuse="", host="127.0.0.1"):
        self.port, self.refuse, self.asked, self.said = port, refuse, [], []  # said: sizes of what clients sent through it
        self.listener = socket.create_server((host, 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self):
        return "{}:{}".format(*self.listener.getsockname())

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1)
        self.asked.append(head.decode().splitlines()[0])
        if self.refuse:
            client.sendall(f"HTTP/1.1 {self.refuse}\r\n\r\n".encode())
            client.close()
            return
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        hub = socket.create_connection(("127.0.0.1", self.port))
        threading.Thread(target=self._copy, args=(hub, client, []), daemon=True).start()
        self._copy(client, hub, self.said)

    @staticmethod
    def _copy(source, target, sizes):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sizes.append(len(data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_through_a_proxy(identity, shared_hub, start):
    with contextlib.closing(Proxy(shared_hub.port)) as proxy:
        node = start(identity, env={"FAKE_NODE_PROXY": proxy.address})
        node.wait("hello")
        assert proxy.asked == [f"CONNECT localhost:{shared_hub.port} HTTP/1.1"]
        node.stop()


@pytest.mark.parametrize("refuse, told", [("403 Not for you", "403 Not for you"), ("407 Who are you", "let it pass CONNECT localhost:")])
def test_proxy_that_refuses(identity, shared_hub, start, refuse, told):
    with contextlib.closing(Proxy(shared_hub.port, refuse=refuse)) as proxy:
        node = start(identity, env={"FAKE_NODE_PROXY": proxy.address})
        assert told in node.wait("down")
        node.stop()


def test_enrolment_through_a_proxy(build, shared_hub, tmp_path, start):
    """demarc-node's own command; a proxy that refuses costs nothing of the token."""
    token = new_token(shared_hub)

    def enrol_by(proxy):
        command = [os.path.join(build, "src/node/demarc-node"), "enrol", token, "--proxy", proxy.address, "--state-dir", str(tmp_path / "state")]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    with contextlib.closing(Proxy(shared_hub.port, refuse="407 Proxy Authentication Required")) as proxy:
        done = enrol_by(proxy)
        assert done.returncode != 0 and "wants credentials" in done.stderr, done
    with contextlib.closing(Proxy(shared_hub.port)) as proxy:
        done = enrol_by(proxy)
        assert done.returncode == 0, done
        me = Enrolled(tmp_path / "state")
        host = me.identity["hub_urls"][0].removeprefix("https://")
        assert proxy.asked == [f"CONNECT {host} HTTP/1.1"]
        node = start(me, ca=me.ca, url=f"https://{host}", env={"FAKE_NODE_PROXY": proxy.address})
        node.wait("hello")
        node.stop()


def test_certificate_for_another_name(identity, shared_hub, start):
    """Whoever sits between cannot pass the hub's certificate off for another name."""
    shared_hub.allow_log(*REFUSALS)
    with contextlib.closing(Proxy(shared_hub.port)) as proxy:
        node = start(identity, url="https://another.example:8443", env={"FAKE_NODE_PROXY": proxy.address})
        assert "certificate" in node.wait("down")
        assert not node.lines("up")
        node.stop()


# ---- enrolment ----


def new_token(hub, name=None, **body):
    site = hub.post("/demarc/v1/sites", {"site": {"name": f"site-{uuid.uuid4().hex[:8]}"}}, 201).json()["site"]["id"]
    body = {"enrolment_token": {"node_name": name or f"node-{uuid.uuid4().hex[:8]}", **body}}
    return hub.post(f"/demarc/v1/sites/{site}/enrolment_tokens", body, 201).json()["enrolment_token"]["token"]


@pytest.fixture
def enrol(build, tmp_path):
    """enrol(token, directory, url=None, fails=False) -> stderr."""

    def call(token, directory="state", url=None, fails=False):
        command = [os.path.join(build, "tests/e2e/fake-node"), "enrol", str(tmp_path / directory), token] + ([url] if url else [])
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr

    return call


class Enrolled:
    def __init__(self, directory):
        with open(directory / "identity.json", encoding="utf-8") as f:
            self.identity = json.load(f)
        self.node_id = self.identity["node_id"]
        self.cert, self.key = str(directory / "cert.pem"), str(directory / "key.pem")
        self.ca = str(directory / "ca.pem")


def test_enrolled_node_connects(shared_hub, tmp_path, enrol, start):
    enrol(new_token(shared_hub))
    for name in ("key.pem", "cert.pem", "ca.pem", "identity.json"):
        assert os.stat(tmp_path / "state" / name).st_mode & 0o777 == 0o600, name
    me = Enrolled(tmp_path / "state")
    node = start(me, ca=me.ca, url=me.identity["hub_urls"][0])
    node.wait("hello")


def test_token_works_once(shared_hub, enrol):
    token = new_token(shared_hub)
    enrol(token)
    assert "used already" in enrol(token, "another", fails=True)
    assert "enrolled already" in enrol(token, fails=True)


def test_enrolment_survives_a_crash_before_the_answer_was_stored(shared_hub, tmp_path, enrol, start):
    token = new_token(shared_hub)
    enrol(token)
    first = Enrolled(tmp_path / "state")
    # As after a power loss between the hub's commit and the node's: only key and request are on disk.
    for name in ("identity.json", "cert.pem", "ca.pem"):
        os.unlink(tmp_path / "state" / name)
    assert os.path.exists(tmp_path / "state" / "csr.pem")
    enrol(token)
    again = Enrolled(tmp_path / "state")
    assert again.node_id == first.node_id
    start(again, ca=again.ca).wait("hello")


def test_expired_token(shared_hub, enrol):
    token = new_token(shared_hub, expires_in=1)
    secret = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==="))["secret"]
    digest = hashlib.sha256(secret.encode()).hexdigest()
    sql(shared_hub, "UPDATE enrol_token SET expires_us = 1 WHERE secret_sha256 = ?", digest)
    assert "expired" in enrol(token, fails=True)


def test_tokens_that_are_not(shared_hub, enrol):
    token = new_token(shared_hub)
    parts = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==="))

    def packed(**change):
        return "demarc1." + base64.urlsafe_b64encode(json.dumps({**parts, **change}).encode()).decode().rstrip("=")

    assert "not a whole" in enrol(token[:-20], fails=True)
    assert "not a whole" in enrol("x" + token, fails=True)
    assert "not valid" in enrol(packed(secret="0" * 64), fails=True)
    # A hub that is not the one the token names never sees the secret.
    assert "certificate" in enrol(packed(ca_sha256="0" * 64), fails=True)
    enrol(packed())


def test_enrolment_of_a_hub_that_is_away(enrol):
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    text = json.dumps({"url": f"https://localhost:{port}", "ca_sha256": "0" * 64, "secret": "s"})
    token = "demarc1." + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    assert "cannot connect" in enrol(token, fails=True)
