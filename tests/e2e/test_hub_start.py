# SPDX-License-Identifier: Apache-2.0
"""First start, second start, broken starts."""

import hashlib
import os
import random
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

from conftest import Hub, wait_for
from listening import listening, ports

FILES = ("ca.crt", "ca.key", "server.crt", "server.key", "token-keys", "clouds.yaml")


def digests(hub):
    return {n: hashlib.sha256(open(hub.file(n), "rb").read()).hexdigest() for n in FILES}


def run(hub, *args):
    """Runs the program to its end; for starts that must fail."""
    return subprocess.run([hub.program, *args], capture_output=True, text=True, timeout=60, check=False)


def test_second_start_changes_nothing(unstarted_hub):
    hub = unstarted_hub.start()
    before, projects = digests(hub), hub.get("/identity/v3/projects", 200).json()["projects"]
    users = hub.get("/identity/v3/users", 200).json()["users"]
    hub.restart()
    assert digests(hub) == before
    assert [p["id"] for p in hub.get("/identity/v3/projects", 200).json()["projects"]] == [p["id"] for p in projects]
    assert [u["id"] for u in hub.get("/identity/v3/users", 200).json()["users"]] == [u["id"] for u in users]
    for name in ("ca.key", "server.key", "token-keys", "clouds.yaml", "hub.db"):
        assert os.stat(hub.file(name)).st_mode & 0o077 == 0, name
    assert hub.password not in hub.log()
    with open(hub.file("hub.db"), "rb") as f:
        assert hub.password.encode() not in f.read()
    with open(f"/proc/{hub.process.pid}/cmdline", "rb") as f:
        assert hub.password.encode() not in f.read()


def test_killed_during_the_first_start(unstarted_hub):
    """At any instant: the next start repairs it."""
    hub, rng = unstarted_hub, random.Random(7)
    for _ in range(15):
        hub.start(wait=False)
        time.sleep(rng.uniform(0, 0.15))
        hub.kill()
    hub.start()
    hub.password = None
    hub._read_password()
    hub.get("/identity/v3/projects", 200)
    assert not os.path.exists(hub.file("setup-unfinished"))
    assert "password_hash" not in hub.log()


@pytest.mark.parametrize("name", ["ca.key", "server.crt", "token-keys", "hub.db"])
def test_missing_file_is_named(unstarted_hub, name):
    hub = unstarted_hub.start()
    hub.stop()
    os.rename(hub.file(name), hub.file(name) + ".away")
    done = run(hub, "--data-dir", hub.data_dir, "--listen", "127.0.0.1", "--port", "0")
    assert done.returncode == 1
    assert f"{hub.data_dir}/{name} is missing" in done.stderr
    assert not os.path.exists(hub.file(name))
    os.rename(hub.file(name) + ".away", hub.file(name))
    hub.start()
    hub.get("/identity/v3/projects", 200)


def test_port_in_use(unstarted_hub, tmp_path):
    hub = unstarted_hub
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
        done = run(hub, "--data-dir", str(tmp_path / "x"), "--listen", "127.0.0.1", "--port", str(port))
    assert done.returncode == 1
    assert f"Port {port} is in use" in done.stderr and "--port" in done.stderr


def test_one_hub_for_one_directory(hub):
    done = run(hub, "--data-dir", hub.data_dir, "--listen", "127.0.0.1", "--port", "0")
    assert done.returncode == 1
    assert "another demarc-hub" in done.stderr


@pytest.mark.parametrize("args", [["--port", "x"], ["--nonsense"], ["word"], ["--config", "/nonexistent"]])
def test_usage(unstarted_hub, args):
    done = run(unstarted_hub, *args)
    assert done.returncode == 64
    assert done.stderr.startswith("demarc-hub: ")


def test_help_and_version(unstarted_hub):
    assert "--public-name" in run(unstarted_hub, "--help").stdout
    assert run(unstarted_hub, "--version").stdout.startswith("demarc-hub ")


def test_hangup_is_ignored(hub):
    hub.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "signal_ignored" in hub.log(), "SIGHUP in the log")
    hub.get("/identity/v3/projects", 200)


def test_new_public_name(unstarted_hub):
    """The server's certificate follows its names; the CA, the clients' way in and the password stay."""
    hub = unstarted_hub.start()
    before = digests(hub)
    hub.stop()
    hub.start("--public-name", "hub.example.test", "--public-name", "127.0.0.1")
    after = digests(hub)
    assert {n for n in FILES if before[n] != after[n]} == {"server.crt", "server.key", "clouds.yaml"}
    with open(hub.clouds_yaml, encoding="utf-8") as f:
        assert f"https://hub.example.test:{hub.port}/identity/v3" in f.read()
    r = requests.get(f"https://127.0.0.1:{hub.port}/identity", verify=hub.ca, timeout=30)
    assert r.json()["versions"]["values"][0]["links"][0]["href"].startswith(f"https://127.0.0.1:{hub.port}/")


def test_config_file(build, tmp_path):
    config = tmp_path / "hub.yaml"
    config.write_text(f"data-dir: {tmp_path}/hub\nlisten: 127.0.0.1\nport: 1\nlog-level: debug\npublic-name: [a.example.test]\n")
    hub = Hub(build, tmp_path / "hub", tmp_path / "hub.log", ["--config", str(config)])
    try:
        hub.start()
        assert "url=https://a.example.test:" in hub.log()
        hub.stop()
    finally:
        hub.kill()


def test_stop_under_load(hub):
    """SIGTERM while requests run: each one is answered or refused, and the exit is clean."""
    from concurrent.futures import ThreadPoolExecutor

    hub.login()

    def work():
        try:
            return hub.get("/identity/v3/projects").status_code
        except requests.ConnectionError:
            return 0

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(work) for _ in range(200)]
        wait_for(lambda: sum(j.done() for j in jobs) > 20, "some answers")
        hub.stop()
        assert {j.result() for j in jobs} <= {200, 503, 0}


def change_until_killed(hub, rng, there, gone):
    """Projects come and go until the hub is gone; one unanswered change is in neither set."""
    while True:
        victim = rng.choice(sorted(there)) if len(there) > 3 and rng.random() < 0.4 else None
        there.discard(victim)
        try:
            if victim:
                hub.delete(f"/identity/v3/projects/{victim}", 204)
                gone.add(victim)
            else:
                there.add(hub.new_project()["id"])
        except requests.RequestException:
            return


def test_kill_loses_no_acknowledged_change(unstarted_hub):
    """SIGKILL at random instants of a workload: what was answered 201 is there, what was answered 204 is not."""
    hub, rng = unstarted_hub.start(), random.Random(11)
    there, gone = set(), set()
    for _ in range(8):
        hub.login()
        killer = threading.Timer(rng.uniform(0.02, 0.3), hub.process.kill)
        killer.start()
        change_until_killed(hub, rng, there, gone)
        killer.join()
        hub.kill()
        hub.start()
        now = {p["id"] for p in hub.get("/identity/v3/projects", 200).json()["projects"]}
        assert there <= now
        assert not gone & now
    assert there and gone


def test_what_listens_is_seen(hub):
    """The check at the end of every test: the hub has one port, and who opens another one is found out."""
    assert ports(listening(hub.process.pid)) == [("tcp", hub.port)] and not hub.listens_elsewhere()
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        assert {("tcp", tcp.getsockname()[1]), ("udp", udp.getsockname()[1])} <= set(ports(listening(os.getpid())))
