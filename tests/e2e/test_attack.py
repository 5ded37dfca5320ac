# SPDX-License-Identifier: Apache-2.0
"""Hostile clients at the hub's door. Whatever they do, half of the time a real node's heartbeat takes no longer than twice what it takes nine tenths of the
time at a hub that nobody attacks, meanwhile on the same machine, or a floor of some milliseconds where that is more, and the hub's memory stays bounded.
What a node may say once it is in is in test_channel.py; half-open handshakes and full houses are in src/http/server_test.c, where limits can be small."""

import base64
import concurrent.futures
import hashlib
import json
import os
import re
import signal
import ssl
import statistics
import subprocess
import sys
import threading
import time
import uuid

import pytest
from conftest import running_hub, wait_for
from test_channel import PING, FakeNode, Identity, Raw, add_node, answers, field, make_ca, new_token, node_hello, sql

HERE = os.path.dirname(os.path.abspath(__file__))
FLOOR_S = 0.006  # of attacks that are messages, or nothing at all
HANDSHAKES_FLOOR_S = 0.012  # of those that are handshakes: a turn of the hub's loop with all of each kind that it may have (admit.c), and a bit
STORED_FLOOR_S = 0.025  # a flush of a disk that others use
NEWCOMER_S = 15  # until a real node is in, whatever else is in the queue of nodes
QUIET_S, ATTACK_S, EVERY_S = 2, 6, 0.005  # how long heartbeats are looked at, and how often
MEMORY_MAX_KB = 160 << 10  # what an attack may make the hub grow by; an ASan build needs three times of what others do


def peak_kb(hub):
    with open(f"/proc/{hub.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1])


def within_s(looks, part=0.5):
    """What this part of the time is waited at most: a long wait counts for as long as it lasts, during which nothing else was asked."""
    left = part * sum(max(look, EVERY_S) for look in looks)
    for look in sorted(looks):
        left -= max(look, EVERY_S)
        if left <= 0:
            return look
    return max(looks)


@pytest.fixture(autouse=True)
def small_quarantine(monkeypatch):
    """What an ASan build keeps of freed memory, to find late uses, is not what the hub needs."""
    monkeypatch.setenv("ASAN_OPTIONS", ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=8"])))


class Node:
    """A real node's session, by hand, and how long its heartbeats take."""

    def __init__(self, hub, identity):
        self.peer = Raw(hub, identity)
        self.n_reports = 0
        self.peer.send(node_hello(identity.node_id))
        self.peer.recv()

    def latency_s(self, n=80):
        took = []
        for _ in range(n):
            begin = time.monotonic()
            self.peer.send(PING)
            assert self.peer.recv()[1][:1] == b"\x6a"
            took.append(time.monotonic() - begin)
        return statistics.median(took)

    def looks_s(self, other, seconds):
        """One heartbeat each EVERY_S, and one of another hub's node: (ours, its). One after the other as fast as they are answered would
        hardly ever meet a hub that stands still: while it does, nothing is asked."""
        begin, ours, its = time.monotonic(), [], []
        while time.monotonic() < begin + seconds:
            ours.append(self.latency_s(1))
            its.append(other.latency_s(1))
            time.sleep(EVERY_S - (time.monotonic() - begin) % EVERY_S)  # the pace of the samples
        return ours, its

    def stored_s(self, n=20):
        """How long until a report is in the store, and acknowledged: one with an event, because mere figures wait for others."""
        took = []
        for _ in range(n):
            self.n_reports += 1
            event = field(1, str(uuid.uuid4())) + field(3, "attacked") + field(4, "info")
            begin = time.monotonic()
            self.peer.send(field(22, field(1, self.n_reports) + field(6, event)))
            assert self.peer.recv()[1] == field(23, field(1, self.n_reports))
            took.append(time.monotonic() - begin)
        return statistics.median(took)


@pytest.fixture
def connect(hub):
    """connect(identity) -> Node, closed at the end: a hub that stops waits for those that stay."""
    made = []

    def make(identity):
        made.append(Node(hub, identity))
        return made[-1]

    yield make
    for node in made:
        node.peer.close()


@pytest.fixture
def identity(hub, tmp_path):
    return Identity(str(tmp_path), hub.file("ca"), add_node(hub))


@pytest.fixture
def attack(hub):
    """attack(kind, *arguments): under way when it returns; ended with the test."""
    running = []

    def begin(kind, *arguments):
        process = subprocess.Popen([sys.executable, os.path.join(HERE, "attacker.py"), kind, str(hub.port), *arguments],
                                   stdout=subprocess.PIPE, text=True, cwd=HERE)
        running.append(process)
        assert process.stdout.readline() == "ready\n"

    yield begin
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture
def control(build, tmp_path):
    """A node of another hub, which nobody attacks: what the machine, other tests and the attacker's own work make of a heartbeat."""
    (tmp_path / "control").mkdir()
    with running_hub(build, str(tmp_path / "control")) as other:
        node = Node(other, Identity(str(tmp_path), other.file("ca"), add_node(other)))
        yield node
        node.peer.close()


@pytest.fixture
def served_meanwhile(hub, identity, connect, control):
    """served_meanwhile(begin, floor_s): what holds during every attack."""

    def check(begin, floor_s=FLOOR_S):
        node = connect(identity)
        normal, before = within_s(node.looks_s(control, QUIET_S)[0]), peak_kb(hub)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(begin)
            while not under_way.done():
                node.looks_s(control, 10 * EVERY_S)  # heartbeats go on, no faster than a node may
            under_way.result()
        ours, its = node.looks_s(control, ATTACK_S)
        # Nine tenths of the other's: on a machine that others keep busy, it is slow now and then, too, and has less to do meanwhile.
        limit = max(2 * normal, 2 * within_s(its, 0.9), floor_s)
        print(f"{len(ours)} looks: half of the time within {within_s(ours) * 1e3:.2f} ms, nine tenths {within_s(ours, 0.9) * 1e3:.2f}; normally {normal * 1e3:.2f}; "
              f"of the other hub {within_s(its) * 1e3:.2f}, {within_s(its, 0.9) * 1e3:.2f}; limit {limit * 1e3:.2f}")
        assert within_s(ours) <= limit, "half of the time is slower"
        newcomer = Identity(os.path.dirname(identity.cert), hub.file("ca"), add_node(hub))
        connect(newcomer)  # gets in
        answers(hub)
        assert peak_kb(hub) - before < MEMORY_MAX_KB

    return check


@pytest.mark.parametrize("kind", ["garbage", "slowloris", "handshakes", "inflate"])
def test_real_nodes_are_served_meanwhile(hub, attack, served_meanwhile, kind):
    served_meanwhile(lambda: attack(kind), FLOOR_S if kind in ("slowloris", "inflate") else HANDSHAKES_FLOOR_S)


def n_connections(hub):
    text = subprocess.run(["ss", "-Htn", "state", "established", f"( sport = :{hub.port} )"], capture_output=True, text=True, check=True).stdout
    return text.count("\n")


def test_20000_idle_connections(hub, attack, served_meanwhile):
    def begin():
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(attack, ["idle", "idle"]))
        there, took = n_connections(hub), time.monotonic() - start
        print(f"{there} connections after {took:.1f} s")
        # Who says nothing goes after 15 s, and comes again: on a slow machine before the last was there.
        assert there > 19000 or took > 14, (there, took)

    served_meanwhile(begin)


def test_handshakes_in_the_queue_of_nodes(build, hub, attack, served_meanwhile, tmp_path):
    """Who calls itself a node waits where nodes do: those that are there do not notice, a newcomer is in within the time that an agent gives a connection."""
    hub.allow_log("session_silent")  # those that were looked at have nothing more to say

    def begin():
        attack("idle")
        attack("idle")
        attack("handshakes_as_node")

    served_meanwhile(begin, HANDSHAKES_FLOOR_S)
    for _ in range(3):
        came = time.monotonic()
        newcomer = FakeNode(build, hub, Identity(str(tmp_path), hub.file("ca"), add_node(hub)))
        try:
            newcomer.wait("hello", deadline_s=NEWCOMER_S)
        finally:
            newcomer.stop()
        print(f"a newcomer was in after {time.monotonic() - came:.2f} s")


def test_a_slow_hub_is_noticed(hub, served_meanwhile):
    """The judge of all the others: a hub that stands still four fifths of the time does not pass."""
    over, asleep = threading.Event(), []

    def stops():
        while not over.wait(0.06):
            hub.process.send_signal(signal.SIGSTOP)
            over.wait(0.24)
            hub.process.send_signal(signal.SIGCONT)

    def begin():
        asleep.append(threading.Thread(target=stops))
        asleep[0].start()

    try:
        with pytest.raises(AssertionError, match="half of the time"):
            served_meanwhile(begin)
    finally:
        over.set()
        asleep[0].join()


# What a node that the hub knows may be told for it; the log says so, with a limit.
SAID = ("session_closed", "session_refused", "session_bad_frame", "session_silent", "goodbye_unsent", "chunk_refused", "report_dropped",
        "session_store_failed", "node_held_back")


@pytest.mark.parametrize("kind", ["tiny", "deaf", "streams", "oversized", "bomb"])
def test_a_node_that_attacks(hub, attack, served_meanwhile, tmp_path, kind):
    """tiny: it is heard no faster than a tenth of a front's time lets it. deaf: its answers wait up to a limit, then it has to come again."""
    hub.allow_log(*SAID)
    hostile = Identity(str(tmp_path), hub.file("ca"), add_node(hub))
    served_meanwhile(lambda: attack(kind, hostile.cert, hostile.key, hostile.node_id))
    assert kind != "tiny" or "node_held_back" in hub.log()


@pytest.mark.parametrize("kind", ["acks", "hellos"])
def test_messages_that_are_stored(hub, identity, connect, attack, tmp_path, kind):
    """What a node says faster than it can be stored waits neither in memory nor before what others say."""
    hub.allow_log(*SAID)
    hostile = Identity(str(tmp_path), hub.file("ca"), add_node(hub))
    node = connect(identity)
    normal, before = node.stored_s(), peak_kb(hub)
    attack(kind, hostile.cert, hostile.key, hostile.node_id)
    under_way = time.monotonic() + 5
    took = []
    while time.monotonic() < under_way:
        took.append(node.stored_s(1))
    assert statistics.median(took) <= max(2 * normal, STORED_FLOOR_S), (normal, sorted(took)[-5:])
    assert max(took) < 1
    assert peak_kb(hub) - before < 64 << 10
    assert ("too many hellos" in hub.log()) == (kind == "hellos")
    answers(hub)


def test_a_node_that_claims_what_is_others(hub, attack, served_meanwhile, identity, tmp_path):
    hub.allow_log(*SAID)
    hostile = Identity(str(tmp_path), hub.file("ca"), add_node(hub))
    server, image = str(uuid.uuid4()), str(uuid.uuid4())
    sql(hub, "INSERT INTO server (id, name, hostname, project_id, user_id, image_id, flavor, node_id, task_state, created_us, updated_us) "
             "VALUES (?, 'fw', 'fw', 'p', 'u', ?, '{}', ?, 'spawning', 0, 0)", server, image, identity.node_id)
    before = sql(hub, "SELECT * FROM server WHERE id = ?", server)
    served_meanwhile(lambda: attack("claims", hostile.cert, hostile.key, hostile.node_id, server, identity.node_id, image))
    assert sql(hub, "SELECT * FROM server WHERE id = ?", server) == before


def test_used_token_by_the_thousand(hub, attack, served_meanwhile):
    token = new_token(hub)
    secret = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==="))["secret"]
    sql(hub, "UPDATE enrol_token SET uses = 1, used_us = 1 WHERE secret_sha256 = ?", hashlib.sha256(secret.encode()).hexdigest())
    n_nodes = sql(hub, "SELECT count(*) FROM node")
    served_meanwhile(lambda: attack("token", secret), HANDSHAKES_FLOOR_S)
    assert sql(hub, "SELECT count(*) FROM node")[0][0] == n_nodes[0][0] + 1  # the newcomer


@pytest.mark.parametrize("kind", ["another-ca", "expired", "revoked"])
def test_refused_certificates_by_the_thousand(hub, attack, served_meanwhile, tmp_path, kind):
    hub.allow_log(*SAID)
    node_id = add_node(hub, revoked=int(kind == "revoked"))
    ca = make_ca(str(tmp_path)) if kind == "another-ca" else hub.file("ca")
    hostile = Identity(str(tmp_path), ca, node_id)
    if kind == "expired":
        expire(hub, hostile, tmp_path)
    served_meanwhile(lambda: attack("refused", hostile.cert, hostile.key, node_id), HANDSHAKES_FLOOR_S)


@pytest.mark.parametrize("size", [1 << 20 | 1, 1 << 40, (1 << 63) - 1])
def test_frames_that_claim_too_much(hub, identity, size):
    """The head alone is enough: nothing of it is waited for, nor allocated."""
    peer = Raw(hub, identity)
    before = peak_kb(hub)
    peer.sock.sendall(bytes([0x82, 0xFF]) + size.to_bytes(8, "big") + bytes(4))
    opcode, payload = peer.recv()
    peer.close()
    assert opcode == 8 and int.from_bytes(payload[:2], "big") == 1009
    assert peak_kb(hub) - before < 8 << 10
    answers(hub)


def refused(hub, identity):
    """The handshake fails; TLS 1.3 tells the client when it reads."""
    try:
        peer = Raw(hub, identity)
    except (ssl.SSLError, ConnectionError):
        return True
    peer.close()
    return False


def test_certificate_of_another_ca(hub, identity, tmp_path):
    stranger = Identity(str(tmp_path), make_ca(str(tmp_path)), identity.node_id)  # claims a node that exists
    assert refused(hub, stranger)
    assert not refused(hub, Identity(str(tmp_path), hub.file("ca"), identity.node_id))


def expire(hub, identity, tmp_path):
    """Gives it a certificate that was good for a year, long ago."""
    csr, cert = str(tmp_path / f"{identity.node_id}.csr"), str(tmp_path / "old.pem")
    ca = hub.file("ca")
    (tmp_path / "index.txt").write_text("")
    (tmp_path / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={tmp_path}/index.txt\nnew_certs_dir={tmp_path}\ndefault_md=sha256\n"
        f"rand_serial=yes\npolicy=p\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\nextendedKeyUsage=clientAuth\n")
    subprocess.run(["openssl", "ca", "-batch", "-notext", "-config", str(tmp_path / "ca.cnf"), "-cert", ca + ".crt", "-keyfile",
                    ca + ".key", "-in", csr, "-out", cert, "-startdate", "20200101000000Z", "-enddate", "20210101000000Z"],
                   check=True, capture_output=True)
    identity.cert = cert


def test_expired_certificate(hub, identity, tmp_path):
    expire(hub, identity, tmp_path)
    assert refused(hub, identity)


def test_revoked_node(hub, identity, connect):
    """Closed at its hello at the latest, whatever ticket it has."""
    hub.allow_log("session_closed", "session_refused")
    node = connect(identity)
    sql(hub, "UPDATE node SET revoked = 1 WHERE id = ?", identity.node_id)
    node.peer.close()

    def is_out():
        try:
            peer = Raw(hub, identity)
            peer.send(node_hello(identity.node_id))
            opcode, payload = peer.recv()
            peer.close()
        except (ssl.SSLError, ConnectionError):
            return True
        return opcode == 8 or payload[:2] == b"\x92\x03"  # field 50, goodbye

    wait_for(is_out, "the revoked node being refused")
