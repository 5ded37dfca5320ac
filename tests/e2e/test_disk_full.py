# SPDX-License-Identifier: Apache-2.0
"""A full disk: changes are refused with 507, reads go on, and what was there stays whole."""

import contextlib
import os
import sqlite3
import subprocess

import pytest

from conftest import Hub

DISK_MB = 64


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own; unmounted at the end."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "demarc-test", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


def fill(path):
    """A file that takes all the space there is."""
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"\0" * 65536)
        except OSError:
            pass


def assert_whole(hub):
    """Of a stopped hub: its store passes SQLite's own checks."""
    with contextlib.closing(sqlite3.connect(hub.file("hub.db"))) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def test_disk_full(build, small_disk, tmp_path):
    hub = Hub(build, small_disk / "hub", tmp_path / "hub.log")
    hub.allow_log("request_failed")
    hub.allow_log("first_rows_unchecked")
    ballast = small_disk / "ballast"
    try:
        hub.start()
        kept = hub.new_project("kept")["id"]
        fill(ballast)
        statuses = [hub.post("/identity/v3/projects", {"project": {"name": f"x-{i}"}}).status_code for i in range(5)]
        assert set(statuses) <= {201, 507} and statuses[-1] == 507
        body = hub.post("/identity/v3/projects", {"project": {"name": "y"}}, 507).json()
        assert body["error"]["code"] == 507
        hub.get(f"/identity/v3/projects/{kept}", 200)
        hub.login()
        n_before = len(hub.get("/identity/v3/projects", 200).json()["projects"])
        assert n_before == 2 + statuses.count(201)
        hub.delete(f"/identity/v3/projects/{kept}")  # may fail, must not break anything
        hub.kill()
        fill(ballast)  # also what the killed process gave back
        hub.start()
        assert len(hub.get("/identity/v3/projects", 200).json()["projects"]) >= n_before - 1, "it starts on a full disk, and reads"
        hub.post("/identity/v3/projects", {"project": {"name": "y"}}, 507)
        os.unlink(ballast)
        hub.post("/identity/v3/projects", {"project": {"name": "z"}}, 201)
        hub.restart()
        assert "z" in [p["name"] for p in hub.get("/identity/v3/projects", 200).json()["projects"]]
        hub.stop()
        assert_whole(hub)
    finally:
        hub.kill()
        hub.http.close()
    assert not hub.problems()
