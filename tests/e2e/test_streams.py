# SPDX-License-Identifier: Apache-2.0
"""Reverse access: shells and logs through the channel, demarc-node's own process against a real hub."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import time
import uuid

import pytest
from conftest import wait_for
from site_lab import lab_node
from test_certificates import V1, Agent, agent, new_site, new_token, node_of, up  # noqa: F401 (agent is a fixture)


class Stream:
    """A stream by hand."""

    def __init__(self, session, path, **body):
        self.session = session
        r = session.post(V1 + path, body)
        self.status, self.text = r.status_code, r.text
        self.id = r.json()["stream"]["id"] if r.ok else None
        self.data, self.last = b"", {"open": True}

    def read(self, wait_ms=2000):
        self.last = self.session.get(f"{V1}/streams/{self.id}?wait_ms={wait_ms}", 200).json()["stream"]
        self.data += bytes.fromhex(self.last["data"])
        return self.last

    def until(self, text):
        wait_for(lambda: text in self.data or not self.read() or text in self.data, f"{text} in {self.data!r}", 20)
        return self

    def to_the_end(self):
        wait_for(lambda: not self.read()["open"], "the stream ends", 20)
        return self.last

    def write(self, data):
        while data:
            r = self.session.post(f"{V1}/streams/{self.id}", {"data": data[:8192].hex()}, 200)
            data = data[r.json()["stream"]["taken"]:]


@pytest.fixture
def site(hub, agent):  # noqa: F811
    a = agent()
    a.enrol(new_token(hub, new_site(hub))["token"])
    a.start("--shell", "yes")
    return up(hub, a)


def shell(hub, a, **body):
    return Stream(hub, f"/nodes/{a.identity['node_id']}/shell", **body)


def events(hub, kind):
    return [e["text"] for e in hub.get(f"{V1}/events?kind={kind}", 200).json()["events"]]


def test_shell_on_a_node(hub, site):
    s = shell(hub, site, rows=33, columns=99, term="xterm")
    assert s.status == 201, s.text
    s.write(b"stty size; echo $TERM; tty >/dev/null && echo a-$((40+2))-terminal\n")
    s.until(b"a-42-terminal")
    assert b"33 99" in s.data and b"xterm" in s.data
    hub.post(f"{V1}/streams/{s.id}", {"rows": 44, "columns": 111}, 200)
    s.write(b"stty size\n")
    s.until(b"44 111")
    s.write(b"exit 7\n")
    assert s.to_the_end()["exit_status"] == 7
    assert hub.get(f"{V1}/streams/{s.id}").status_code == 404
    assert any("shell on the node" in t for t in events(hub, "stream_opened"))
    wait_for(lambda: any("ended" in t for t in events(hub, "stream_closed")), "the end is an event")


def test_a_command_that_writes_much_is_held_back(hub, site):
    """The window: what nobody reads is not sent, and nothing is lost."""
    s = shell(hub, site, argv=["/bin/sh", "-c", "stty -onlcr; seq 1 200000"])
    child = wait_for(lambda: [p for p in subprocess.run(["pgrep", "-x", "seq"], capture_output=True, text=True, check=False).stdout.split()
                              if owned_by(p, site.process.pid)], "the command runs")
    # The terminal, the node's and the hub's buffers are all bounded, and far smaller than what it says.
    wait_for(lambda: state(child[0]) == "S", "the command waits for its reader")
    s.to_the_end()
    assert s.data == b"".join(b"%d\n" % i for i in range(1, 200001))


def owned_by(pid, ancestor):
    while int(pid) > 1:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                pid = f.read().rpartition(")")[2].split()[1]
        except FileNotFoundError:
            return False
        if int(pid) == ancestor:
            return True
    return False


def state(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rpartition(")")[2].split()[0]
    return ""


def test_what_is_refused(hub, site, agent):  # noqa: F811
    member = hub.new_user("member")
    assert shell(member, site).status == 403
    s = shell(hub, site)
    assert s.status == 201
    admin = hub.new_user("admin")
    for call in (lambda: admin.get(f"{V1}/streams/{s.id}"), lambda: admin.post(f"{V1}/streams/{s.id}", {"data": "0a"}),
                 lambda: admin.delete(f"{V1}/streams/{s.id}")):
        assert call().status_code == 404
    for bad in ({"argv": "x"}, {"argv": [1]}, {"argv": ["x"] * 65}, {"argv": ["x" * 5000]}, {"rows": -1}, {"columns": 9999}, {"rows": "1"}):
        assert shell(hub, site, **bad).status == 400, bad
    for bad in ({"data": "0"}, {"data": "zz"}, {"data": "00" * 20000}):
        assert hub.post(f"{V1}/streams/{s.id}", bad).status_code == 400
    assert hub.post(f"{V1}/servers/{uuid.uuid4()}/shell", {}).status_code == 404
    assert "too many" in [shell(hub, site) for _ in range(8)][-1].to_the_end()["error"]
    # A node whose configuration says nothing allows nobody.
    other = agent("shut")
    other.enrol(new_token(hub, new_site(hub))["token"])
    up(hub, other.start())
    assert "does not allow" in shell(hub, other).to_the_end()["error"]


def test_nothing_outlives_the_connection(hub, site):
    s = shell(hub, site, argv=["/bin/sh", "-c", "echo pid=$$; exec sleep 1000"])
    s.until(b"pid=")
    wait_for(lambda: b"\n" in s.data or s.read() is None or b"\n" in s.data, "the whole line")
    pid = int(s.data.split(b"pid=")[1].split()[0])
    os.kill(pid, 0)
    hub.delete(f"{V1}/streams/{s.id}", 204)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the command is gone with its stream")
    s = shell(hub, site, argv=["/bin/sh", "-c", "echo pid=$$; exec sleep 1000"])
    s.until(b"pid=")
    pid = int(s.data.split(b"pid=")[1].split()[0])
    site.process.send_signal(signal.SIGTERM)
    assert "lost" in s.to_the_end()["error"]
    assert site.process.wait(30) == 0
    assert not os.path.exists(f"/proc/{pid}")
    assert shell(hub, site).status == 503


def test_the_operators_command(hub, site, build):
    """demarc shell on a terminal, as a person has it."""
    name = node_of(hub, site)["name"]
    env = {**os.environ, "OS_CLIENT_CONFIG_FILE": hub.clouds_yaml, "OS_CLOUD": "demarc", "TERM": "xterm"}
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(os.path.join(build, "src/cli/demarc"), ["demarc", "shell", name], env)
    seen = b""

    def until(text, deadline_s=20):
        nonlocal seen
        end = time.monotonic() + deadline_s
        while text not in seen:
            assert time.monotonic() < end, seen
            if select.select([fd], [], [], 0.1)[0]:
                seen += os.read(fd, 4096)

    try:
        os.write(fd, b"echo one-$((1+1))-three\n")
        until(b"one-2-three")
        os.write(fd, b"sh -c 'echo r-$((5+5)); exec sleep 1000'\n")
        until(b"r-10")
        os.write(fd, b"\x03")  # goes to the other side
        until(b"^C")
        os.write(fd, b"echo still-$((2+2))\n")
        until(b"still-4")
        os.write(fd, b"exit\n")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.close(fd)


# ---- a node that abuses streams ----

PIECE, WINDOW, CREDIT_MAX = 16 << 10, 256 << 10, 1 << 20


@pytest.fixture
def nodes(build, hub, tmp_path):
    """Two nodes that the test plays."""
    with lab_node(build, hub, tmp_path / "one") as one, lab_node(build, hub, tmp_path / "two") as two:
        yield one, two


def opened(hub, node):
    """A stream that the node has been asked for; not answered."""
    before = len(node.frames("stream_open"))
    s = Stream(hub, f"/nodes/{node.id}/shell")
    assert s.status == 201, s.text
    wait_for(lambda: len(node.frames("stream_open")) > before, "the opening")
    return s


def grant(node, s, add):
    node.send({"stream_window": {"id": s.id, "add": add}})


def data(node, s, what):
    node.send({"stream_data": {"id": s.id, "data": what.hex()}})


def closed_by_hub(node, s):
    wait_for(lambda: [f for f in node.frames("stream_close") if int(f["stream_close"]["id"]) == s.id], "the hub's StreamClose")


def test_a_node_has_no_say_in_anothers_stream(hub, nodes):
    one, two = nodes
    s = opened(hub, one)
    for stranger in (s.id, s.id + 1, 0, (1 << 64) - 1):
        for body in ({"stream_data": {"id": stranger, "data": b"forged".hex()}}, {"stream_window": {"id": stranger, "add": 1000}},
                     {"stream_close": {"id": stranger, "error": "forged"}}):
            two.send(body)
    two.report()  # all of it has been taken
    assert hub.post(f"{V1}/streams/{s.id}", {"data": "00"}, 200).json()["stream"]["taken"] == 0, "no credit from a stranger"
    grant(one, s, 100)
    data(one, s, b"mine")
    one.report()
    assert s.read()["open"] and s.data == b"mine"
    assert hub.post(f"{V1}/streams/{s.id}", {"data": "00"}, 200).json()["stream"]["taken"] == 1
    assert not two.frames("stream_data") and not two.frames("stream_close")


@pytest.mark.parametrize("pieces", [[PIECE] * (WINDOW // PIECE) + [1], [PIECE + 1]], ids=["window", "piece"])
def test_a_node_that_sends_more_than_granted_loses_the_stream(hub, nodes, pieces):
    one, _ = nodes
    s, other = opened(hub, one), opened(hub, one)
    for each in (s, other):
        grant(one, each, 100)
    for size in pieces:
        data(one, s, b"x" * size)
    closed_by_hub(one, s)
    assert s.to_the_end()["error"] == "the node sent more than it was granted"
    assert len(s.data) == sum(pieces[:-1]), "what was granted is there"
    data(one, other, b"whole")
    other.until(b"whole")


def test_a_node_that_goes_on_after_the_end(hub, nodes):
    one, _ = nodes
    s = opened(hub, one)
    grant(one, s, 100)
    data(one, s, b"before")
    one.send({"stream_close": {"id": s.id, "error": "", "exit_status": 5}})
    for _ in range(WINDOW // PIECE + 2):
        data(one, s, b"after" * 100)
    grant(one, s, 100)
    one.send({"stream_close": {"id": s.id, "error": "another end", "exit_status": 6}})
    one.report()
    assert hub.post(f"{V1}/streams/{s.id}", {"data": "00"}).status_code == 410
    assert (s.to_the_end()["exit_status"], s.last["error"], s.data) == (5, "", b"before")


def test_a_node_that_grants_without_end(hub, nodes):
    """What waits for a node that does not read is bounded, whatever it has granted."""
    one, _ = nodes
    s = opened(hub, one)
    for _ in range(100):
        grant(one, s, (1 << 32) - 1)
    one.report()
    taken = 0
    for _ in range(CREDIT_MAX // PIECE + 2):
        taken += hub.post(f"{V1}/streams/{s.id}", {"data": "00" * PIECE}, 200).json()["stream"]["taken"]
    assert taken == CREDIT_MAX
