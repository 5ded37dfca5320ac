# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: a real demarc-hub on loopback, and ways to talk to it.

    def test_x(hub):                 # started, first start done; stopped and checked at the end
        hub.get("/network/v2.0/ports")            -> requests.Response, as the admin
        hub.post("/identity/v3/projects", {"project": {"name": "x"}}, status=201).json()
        hub.openstack("project", "list")          -> parsed JSON of the real client
        hub.sdk().network.networks()              -> openstacksdk connection
        member = hub.new_user("member")           -> Session of a new user in a new project; same get/post/…
        hub.kill(); hub.start()                   -> SIGKILL and again, same port and data
        hub.allow_log("image_upload_failed")      -> a warning this test provokes on purpose

DEMARC_BUILD names the build directory (default: build, then build-san). A test fails when its hub
logs a warning, an error or a sanitizer report that the test did not allow.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import uuid

import openstack as openstacksdk
import pytest
import requests
import yaml

from listening import alive, listening, ports

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SANITIZER = re.compile(r"(Address|Leak|Memory|Thread)Sanitizer|: runtime error: ")
LOG_LINE = re.compile(r"^\S+Z (debug|info|warn|error) (\w+)")
START_S, STOP_S = 60, 30


def find_build():
    for name in (os.environ.get("DEMARC_BUILD"), "build", "build-san"):
        path = os.path.join(ROOT, name) if name else None
        if path and os.path.exists(os.path.join(path, "src/hub/demarc-hub")):
            return path
    pytest.fail("no demarc-hub: build first, or set DEMARC_BUILD")


@pytest.fixture(scope="session")
def build():
    """Path of the build directory that holds src/hub/demarc-hub and the other daemons."""
    return find_build()


def wait_for(condition, what, deadline_s=30.0, step_s=0.02):
    """Polls until condition() is true; returns its value."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out after {deadline_s} s: {what}")
        time.sleep(step_s)


class Session:
    """One user's way to the hub: requests with a token that is renewed by itself."""

    def __init__(self, hub, username, password, project, user_domain="default", project_domain="default"):
        self.hub, self.username, self.password, self.project = hub, username, password, project
        self.user_domain, self.project_domain = user_domain, project_domain
        self.http = requests.Session()
        self.token = None
        self.project_id = self.user_id = None

    def login_body(self):
        user = {"name": self.username, "domain": {"id": self.user_domain}, "password": self.password}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
        if self.project:
            body["auth"]["scope"] = {"project": {"name": self.project, "domain": {"id": self.project_domain}}}
        return body

    def login(self):
        """Fetches a new token and returns it."""
        r = self.http.post(self.hub.url + "/identity/v3/auth/tokens", json=self.login_body(), verify=self.hub.ca)
        assert r.status_code == 201, f"{r.status_code} {r.text}"
        self.token = r.headers["X-Subject-Token"]
        body = r.json()["token"]
        self.user_id = body["user"]["id"]
        self.project_id = body.get("project", {}).get("id")
        return self.token

    def request(self, method, path, body=None, status=None, headers=None, **kwargs):
        if not self.token:
            self.login()
        all_headers = {"X-Auth-Token": self.token, **(headers or {})}
        if body is not None:
            kwargs["json"] = body
        r = self.http.request(method, self.hub.url + path, headers=all_headers, verify=self.hub.ca, timeout=60, **kwargs)
        if status is not None:
            assert r.status_code == status, f"{method} {path}: {r.status_code} {r.text}"
        return r

    def get(self, path, status=None, **kwargs):
        return self.request("GET", path, None, status, **kwargs)

    def head(self, path, status=None, **kwargs):
        return self.request("HEAD", path, None, status, **kwargs)

    def post(self, path, body=None, status=None, **kwargs):
        return self.request("POST", path, body, status, **kwargs)

    def put(self, path, body=None, status=None, **kwargs):
        return self.request("PUT", path, body, status, **kwargs)

    def patch(self, path, body=None, status=None, **kwargs):
        return self.request("PATCH", path, body, status, **kwargs)

    def delete(self, path, status=None, **kwargs):
        return self.request("DELETE", path, None, status, **kwargs)

    def env(self):
        """Environment of the openstack client for this user."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
        env["PYTHONPATH"] = os.path.join(ROOT, "packaging/osc-sfc")
        env.update(
            OS_AUTH_URL=self.hub.url + "/identity/v3",
            OS_USERNAME=self.username,
            OS_PASSWORD=self.password,
            OS_PROJECT_NAME=self.project or "",
            OS_USER_DOMAIN_ID=self.user_domain,
            OS_PROJECT_DOMAIN_ID=self.project_domain,
            OS_IDENTITY_API_VERSION="3",
            OS_REGION_NAME="RegionOne",
            OS_CACERT=self.hub.ca,
            OS_INTERFACE="public",
        )
        return env

    def openstack(self, *args, parse=True, fails=False):
        """Runs the real client. parse: adds -f json and returns the value. fails: returns what it wrote on stderr."""
        command = ["openstack", *args] + (["-f", "json"] if parse and not fails else [])
        done = subprocess.run(command, env=self.env(), capture_output=True, text=True, timeout=120, check=False)
        if fails:
            assert done.returncode != 0, f"{command} did not fail: {done.stdout}"
            return done.stderr
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout) if parse else done.stdout

    def sdk(self, **kwargs):
        """openstacksdk connection as this user."""
        return openstacksdk.connect(
            auth_url=self.hub.url + "/identity/v3",
            username=self.username,
            password=self.password,
            project_name=self.project,
            user_domain_id=self.user_domain,
            project_domain_id=self.project_domain,
            region_name="RegionOne",
            cacert=self.hub.ca,
            load_yaml_config=False,
            load_envvars=False,
            **kwargs,
        )


class Hub(Session):
    """A demarc-hub with its own data directory; as a Session it is the admin."""

    def __init__(self, build_dir, data_dir, log_path, args=(), keep_port=True):
        super().__init__(self, "admin", None, "admin")
        self.program = os.path.join(build_dir, "src/hub/demarc-hub")
        self.data_dir, self.log_path, self.args = str(data_dir), str(log_path), list(args)
        self.port, self.keep_port, self.process = 0, keep_port, None
        self.allowed = set()

    @property
    def url(self):
        return f"https://localhost:{self.port}"

    @property
    def ca(self):
        return os.path.join(self.data_dir, "ca.crt")

    @property
    def clouds_yaml(self):
        return os.path.join(self.data_dir, "clouds.yaml")

    def file(self, name):
        return os.path.join(self.data_dir, name)

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def start(self, *more_args, wait=True):
        """Starts the process; returns when it answers. The port stays the same from the second start on."""
        env = dict(os.environ)
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99")
        env.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1:exitcode=99")
        seen = len(self.log())
        command = [self.program, "--data-dir", self.data_dir, "--listen", "127.0.0.1", "--port", str(self.port)]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command + self.args + list(more_args), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=env)
        if wait:
            wait_for(lambda: "hub_started" in self.log()[seen:] or self.process.poll() is not None, "hub_started", START_S)
            assert self.process.poll() is None, f"demarc-hub did not start: {self.log()[seen:]}"
            with open(self.file("port"), encoding="ascii") as f:
                self.port = int(f.read())
            self._read_password()
            self.http.close()
        return self

    def _read_password(self):
        if self.password or not os.path.exists(self.clouds_yaml):
            return
        with open(self.clouds_yaml, encoding="utf-8") as f:
            self.password = yaml.safe_load(f)["clouds"]["demarc"]["auth"]["password"]

    def stop(self):
        """SIGTERM; the exit must be clean."""
        if not self.process or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_S)
        assert code == 0, f"demarc-hub exited with {code}: {self.log()[-4000:]}"

    def kill(self):
        """SIGKILL, as power loss for the process."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_S)

    def restart(self):
        self.stop()
        return self.start()

    def listens_elsewhere(self):
        """What the hub, if it runs, listens on instead of its one port: []."""
        found = ports(listening(self.process.pid)) if alive(self.process) and self.port else []
        return [] if found in ([], [("tcp", self.port)]) else found

    def allow_log(self, *events):
        """Warnings and errors of these events are expected in this test."""
        self.allowed |= set(events)

    def problems(self):
        """What the log says that it must not say."""
        bad = []
        for line in self.log().splitlines():
            m = LOG_LINE.match(line)
            if SANITIZER.search(line) or (m and m[1] in ("warn", "error") and m[2] not in self.allowed):
                bad.append(line)
        return bad

    def session(self, username, password, project, **kwargs):
        return Session(self, username, password, project, **kwargs)

    def new_project(self, name=None):
        """A new project's id."""
        body = {"project": {"name": name or f"p-{uuid.uuid4().hex[:8]}"}}
        return self.post("/identity/v3/projects", body, 201).json()["project"]

    def role_id(self, name):
        return self.get(f"/identity/v3/roles?name={name}", 200).json()["roles"][0]["id"]

    def new_user(self, role="member", project=None):
        """A new user with a role in a project (an object of new_project(), or a new one): a Session."""
        project = project or self.new_project()
        name, password = f"u-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
        body = {"user": {"name": name, "password": password}}
        user = self.post("/identity/v3/users", body, 201).json()["user"]
        self.put(f"/identity/v3/projects/{project['id']}/users/{user['id']}/roles/{self.role_id(role)}", status=204)
        return self.session(name, password, project["name"])


@contextlib.contextmanager
def running_hub(build_dir, path, args=()):
    """A started hub; at the end it is stopped, its log checked."""
    h = Hub(build_dir, os.path.join(path, "hub"), os.path.join(path, "hub.log"), args)
    try:
        yield h.start()
        assert not h.listens_elsewhere()
        h.stop()
    finally:
        h.kill()
        h.http.close()
    assert not h.problems(), "\n".join(h.problems())


@pytest.fixture
def hub(build, tmp_path):
    """A hub of this test's own, started."""
    with running_hub(build, str(tmp_path)) as h:
        yield h


@pytest.fixture
def unstarted_hub(build, tmp_path):
    """A hub that the test starts by itself, on an empty data directory."""
    h = Hub(build, tmp_path / "hub", tmp_path / "hub.log")
    yield h
    try:
        assert not h.listens_elsewhere()
        h.stop()
    finally:
        h.kill()
        h.http.close()
    assert not h.problems(), "\n".join(h.problems())


@pytest.fixture(scope="module")
def shared_hub(build, tmp_path_factory):
    """One hub for all tests of a file: for tests that do not mind each other's rows."""
    with running_hub(build, str(tmp_path_factory.mktemp("shared"))) as h:
        yield h
