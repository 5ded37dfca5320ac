# SPDX-License-Identifier: Apache-2.0
"""Identity v3 by the unmodified clients and by hand."""

import base64
import time

import pytest
import requests

V3 = "/identity/v3"


def test_token_issue(shared_hub):
    token = shared_hub.openstack("token", "issue")
    assert token["user_id"] and token["project_id"]
    assert shared_hub.openstack("project", "list")[0]["Name"] == "admin"


def test_clouds_yaml(shared_hub, tmp_path):
    import os
    import subprocess

    assert os.stat(shared_hub.clouds_yaml).st_mode & 0o777 == 0o600
    env = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    env.update(OS_CLIENT_CONFIG_FILE=shared_hub.clouds_yaml, OS_CLOUD="demarc", OS_CACERT=shared_hub.ca,
               OS_AUTH_URL=shared_hub.url + V3)
    done = subprocess.run(["openstack", "token", "issue"], env=env, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


def test_project_user_role_cli(shared_hub):
    h = shared_hub
    h.openstack("project", "create", "acme", "--description", "a customer")
    assert h.openstack("project", "show", "acme")["description"] == "a customer"
    h.openstack("project", "set", "acme", "--description", "another", parse=False)
    assert h.openstack("project", "show", "acme")["description"] == "another"
    h.openstack("user", "create", "alice", "--password", "pw-alice", "--project", "acme", "--email", "a@example.org")
    h.openstack("role", "add", "--user", "alice", "--project", "acme", "member", parse=False)
    names = [(r["Role"], r["User"], r["Project"]) for r in h.openstack("role", "assignment", "list", "--names")]
    assert ("member", "alice@Default", "acme@Default") in names
    alice = h.session("alice", "pw-alice", "acme")
    assert alice.openstack("token", "issue")["project_id"] == h.openstack("project", "show", "acme")["id"]
    assert [p["Name"] for p in alice.openstack("project", "list")] == ["acme"]
    assert "403" in alice.openstack("user", "create", "bob", fails=True)
    h.openstack("role", "remove", "--user", "alice", "--project", "acme", "member", parse=False)
    assert "401" in alice.openstack("token", "issue", fails=True)
    h.openstack("user", "delete", "alice", parse=False)
    h.openstack("project", "delete", "acme", parse=False)
    assert "acme" not in [p["Name"] for p in h.openstack("project", "list")]


def test_cli_listings(shared_hub):
    h = shared_hub
    assert {r["Name"] for r in h.openstack("role", "list")} >= {"admin", "member", "reader"}
    assert [d["ID"] for d in h.openstack("domain", "list")] == ["default"]
    assert "identity" in [s["Type"] for s in h.openstack("service", "list")]
    assert h.openstack("endpoint", "list", "--service", "identity")[0]["Region"] == "RegionOne"
    assert h.openstack("region", "list")[0]["Region"] == "RegionOne"
    assert "identity" in [s["Type"] for s in h.openstack("catalog", "list")]


def test_domain_cli(shared_hub):
    h = shared_hub
    h.openstack("domain", "create", "customers")
    h.openstack("project", "create", "one", "--domain", "customers")
    assert "409" in h.openstack("project", "create", "one", "--domain", "customers", fails=True)
    h.openstack("project", "delete", "one", "--domain", "customers", parse=False)
    h.openstack("domain", "set", "--disable", "customers", parse=False)
    h.openstack("domain", "delete", "customers", parse=False)


def test_sdk(shared_hub):
    c = shared_hub.sdk()
    project = c.identity.create_project(name="sdk-project")
    assert c.identity.find_project("sdk-project").id == project.id
    user = c.identity.create_user(name="sdk-user", password="x", default_project_id=project.id)
    role = c.identity.find_role("reader")
    c.identity.assign_project_role_to_user(project, user, role)
    assert c.identity.validate_user_has_project_role(project, user, role) is not False
    c.identity.unassign_project_role_from_user(project, user, role)
    c.identity.update_user(user, enabled=False)
    c.identity.delete_user(user)
    c.identity.delete_project(project)
    c.close()


def scoped(hub, scope, **user):
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    if scope is not None:
        body["auth"]["scope"] = scope
    return requests.post(hub.url + V3 + "/auth/tokens", json=body, verify=hub.ca, timeout=30)


def test_scopes(shared_hub):
    h = shared_hub
    h.login()
    me = {"id": h.user_id, "password": h.password}
    token = scoped(h, None, **me).json()["token"]
    assert token["project"]["name"] == "admin"  # the default project
    token = scoped(h, "unscoped", **me).json()["token"]
    assert "project" not in token and "catalog" not in token
    token = scoped(h, {"system": {"all": True}}, **me).json()["token"]
    assert token["system"] == {"all": True} and token["roles"][0]["name"] == "admin"
    token = scoped(h, {"project": {"id": h.project_id}}, **me).json()["token"]
    assert token["project"]["domain"] == {"id": "default", "name": "Default"}
    assert [s["type"] for s in token["catalog"]].count("identity") == 1
    assert scoped(h, {"domain": {"id": "default"}}, **me).status_code == 401
    assert scoped(h, {"project": {"id": "0" * 32}}, **me).status_code == 401


@pytest.mark.parametrize("user", [
    {"name": "admin", "domain": {"id": "default"}, "password": "wrong"},
    {"name": "nobody", "domain": {"id": "default"}, "password": "wrong"},
    {"name": "admin", "domain": {"name": "Nowhere"}, "password": "wrong"},
    {"id": "0" * 32, "password": "x" * 5000},
])
def test_refused(shared_hub, user):
    r = scoped(shared_hub, None, **user)
    assert r.status_code == 401
    assert r.json()["error"]["message"] == "The request you have made requires authentication."
    assert r.headers["WWW-Authenticate"].startswith("Keystone uri=")


@pytest.mark.parametrize("body,status", [
    ({}, 400), ({"auth": []}, 400), ({"auth": {"identity": {}}}, 400),
    ({"auth": {"identity": {"methods": ["password"]}}}, 400),
    ({"auth": {"identity": {"methods": ["magic"]}}}, 401),
    ({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "password": "x"}}}}}, 400),
])
def test_malformed_login(shared_hub, body, status):
    r = requests.post(shared_hub.url + V3 + "/auth/tokens", json=body, verify=shared_hub.ca, timeout=30)
    assert r.status_code == status, r.text


def test_validate_and_revoke(shared_hub):
    h = shared_hub
    user = h.new_user("member")
    token = user.login()
    r = h.get(V3 + "/auth/tokens", 200, headers={"X-Subject-Token": token})
    assert r.json()["token"]["user"]["name"] == user.username
    assert r.headers["X-Subject-Token"] == token
    head = h.head(V3 + "/auth/tokens", 200, headers={"X-Subject-Token": token})
    assert head.content == b"" and int(head.headers["Content-Length"]) > 0
    user.get(V3 + "/auth/tokens", 200, headers={"X-Subject-Token": token})
    user.get(V3 + "/auth/tokens", 403, headers={"X-Subject-Token": h.token})
    user.delete(V3 + "/auth/tokens", 204, headers={"X-Subject-Token": token})
    h.get(V3 + "/auth/tokens", 404, headers={"X-Subject-Token": token})
    user.get(V3 + "/auth/projects", 401)


def test_revocation_survives_a_restart(hub):
    user = hub.new_user("member")
    token = user.login()
    hub.delete(V3 + "/auth/tokens", 204, headers={"X-Subject-Token": token})
    admin = hub.token
    hub.kill()
    hub.start()
    user.get(V3 + "/auth/projects", 401)
    hub.get(V3 + "/auth/tokens", 200, headers={"X-Subject-Token": admin})  # keys are the same


def test_token_method(shared_hub):
    h = shared_hub
    token = h.login()
    body = {"auth": {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": {"project": {"id": h.project_id}}}}
    r = requests.post(h.url + V3 + "/auth/tokens", json=body, verify=h.ca, timeout=30)
    assert r.status_code == 201
    first = h.get(V3 + "/auth/tokens", 200, headers={"X-Subject-Token": token}).json()["token"]
    second = r.json()["token"]
    assert second["expires_at"] == first["expires_at"]
    assert second["audit_ids"][1] == first["audit_ids"][0]
    assert second["methods"] == ["password", "token"]


def test_forged_tokens(shared_hub):
    h = shared_hub
    good = h.login()
    raw = bytearray(base64.urlsafe_b64decode(good + "=" * (-len(good) % 4)))
    for i in (0, 1, 3, 10, 40, 60, len(raw) - 1):
        bad = bytearray(raw)
        bad[i] ^= 1
        text = base64.urlsafe_b64encode(bytes(bad)).decode().rstrip("=")
        r = requests.get(h.url + V3 + "/auth/projects", headers={"X-Auth-Token": text}, verify=h.ca, timeout=30)
        assert r.status_code == 401, i
    for text in ("", "x", "A" * 300, "A" * 8000, good[:-1], good + "A", "é".encode().decode("latin-1")):
        r = requests.get(h.url + V3 + "/auth/projects", headers={"X-Auth-Token": text}, verify=h.ca, timeout=30)
        assert r.status_code == 401, text[:20]


def test_disable_takes_effect_at_once(shared_hub):
    h = shared_hub
    project = h.new_project()
    user = h.new_user("member", project)
    user.get(V3 + "/auth/projects", 200)
    h.patch(f"{V3}/projects/{project['id']}", {"project": {"enabled": False}}, 200)
    user.get(V3 + "/auth/projects", 401)
    h.patch(f"{V3}/projects/{project['id']}", {"project": {"enabled": True}}, 200)
    user.get(V3 + "/auth/projects", 200)
    h.patch(f"{V3}/users/{user.user_id}", {"user": {"enabled": False}}, 200)
    user.get(V3 + "/auth/projects", 401)
    h.patch(f"{V3}/users/{user.user_id}", {"user": {"enabled": True}}, 200)
    user.get(V3 + "/auth/projects", 401)  # what was revoked stays so
    user.login()
    user.get(V3 + "/auth/projects", 200)


def test_deleted_project_and_user(shared_hub):
    h = shared_hub
    project = h.new_project()
    user = h.new_user("member", project)
    user.login()
    h.delete(f"{V3}/projects/{project['id']}", 204)
    user.get(V3 + "/auth/catalog", 401)
    other = h.new_user("reader")
    other.login()
    h.delete(f"{V3}/users/{other.user_id}", 204)
    other.get(V3 + "/auth/catalog", 401)


def test_change_password(shared_hub):
    h = shared_hub
    user = h.new_user("member")
    old = user.login()
    path = f"{V3}/users/{user.user_id}/password"
    user.post(path, {"user": {"password": "new", "original_password": "wrong"}}, 401)
    user.post(path, {"user": {"password": "new", "original_password": user.password}}, 204)
    h.get(V3 + "/auth/tokens", 404, headers={"X-Subject-Token": old})
    user.password = "new"
    user.login()
    h.patch(f"{V3}/users/{user.user_id}", {"user": {"password": "n" * 600}}, 400)


def test_reader_and_member_policy(shared_hub):
    h = shared_hub
    for role in ("reader", "member"):
        user = h.new_user(role)
        user.login()
        user.get(V3 + "/users", 403)
        user.get(V3 + "/projects", 403)
        user.post(V3 + "/projects", {"project": {"name": "x"}}, 403)
        user.get(f"{V3}/projects/{user.project_id}", 200)
        user.get(f"{V3}/users/{user.user_id}", 200)
        h.login()
        user.get(f"{V3}/projects/{h.project_id}", 404)
        user.get(f"{V3}/users/{h.user_id}", 403)
        user.get(f"{V3}/users/{user.user_id}/projects", 200)


@pytest.mark.parametrize("body,text", [
    ({"project": {"name": ""}}, "project.name"),
    ({"project": {"name": 5}}, "project.name"),
    ({"project": {"name": None}}, "project.name"),
    ({"project": {"name": "x" * 65}}, "project.name"),
    ({"project": {}}, "name"),
    ({"project": {"name": "x", "wrong": 1}}, "wrong"),
    ({"project": {"name": "x", "enabled": "yes"}}, "project.enabled"),
    ({"project": {"name": "x", "id": "y"}}, "id"),
    ({"project": []}, "project"),
    ({"user": {"name": "x"}}, "project"),
    ([], ""),
])
def test_bad_bodies(shared_hub, body, text):
    r = shared_hub.post(V3 + "/projects", body, 400)
    assert text in r.json()["error"]["message"]
    assert r.json()["error"]["title"] == "Bad Request"


def test_bad_texts(shared_hub):
    h = shared_hub
    h.login()
    head = {"Content-Type": "application/json"}
    for data in (b"", b"{", b'{"project": {"name": "\xff"}}', b"[" * 100000, b'{"a":' * 1000, b'{"project": {"name": "a\\u0000b"}}',
                 b'{"project": {"name": "a"}, "project": {"name": "b"}}'):
        h.post(V3 + "/projects", status=400, data=data, headers=head)
    h.post(V3 + "/projects", status=413, data=b" " * (2 << 20), headers=head)
    h.post(V3 + "/projects", status=415, data=b"<a/>", headers={"Content-Type": "text/xml"})
    h.get(V3 + "/projects/%ff", 400)
    h.get(V3 + "/projects/%00", 400)
    h.get(V3 + "/projects?name=%ff", 400)


def test_names_that_are_taken(shared_hub):
    """409 that names what is taken; nothing is added, and a rename to it changes nothing."""
    h = shared_hub
    for plural, kind in (("projects", "project"), ("users", "user"), ("roles", "role"), ("domains", "domain")):
        taken, other = f"taken-{kind}", f"other-{kind}"
        h.post(f"{V3}/{plural}", {kind: {"name": taken}}, 201)
        row = h.post(f"{V3}/{plural}", {kind: {"name": other}}, 201).json()[kind]
        error = h.post(f"{V3}/{plural}", {kind: {"name": taken}}, 409).json()["error"]
        assert error["title"] == "Conflict" and taken in error["message"]
        assert taken in h.patch(f"{V3}/{plural}/{row['id']}", {kind: {"name": taken}}, 409).json()["error"]["message"]
        assert h.get(f"{V3}/{plural}/{row['id']}", 200).json()[kind]["name"] == other
        assert len(h.get(f"{V3}/{plural}?name={taken}", 200).json()[plural]) == 1


def test_not_found_and_method(shared_hub):
    h = shared_hub
    r = h.get(V3 + "/nothing", 404)
    assert r.json()["error"]["code"] == 404
    r = h.put(V3 + "/projects", status=405)
    assert set(r.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}
    r = h.get(f"{V3}/projects/{'0' * 32}", 404)
    assert r.json()["error"]["message"] == f"Could not find project: {'0' * 32}."
    assert r.headers["X-Openstack-Request-Id"].startswith("req-")


def test_paging_sorting_filters(shared_hub):
    h = shared_hub
    made = sorted(h.new_project(f"page-{i:02}")["name"] for i in range(7))
    seen, url = [], V3 + "/projects?limit=3&sort_key=name"
    while url:
        body = h.get(url, 200).json()
        assert len(body["projects"]) <= 3
        seen += [p["name"] for p in body["projects"]]
        url = body["links"]["next"] and body["links"]["next"].replace(h.url, "")
    assert [n for n in seen if n.startswith("page-")] == made
    assert len(seen) == len(set(seen))
    down = [p["name"] for p in h.get(V3 + "/projects?sort=name:desc", 200).json()["projects"]]
    assert down == sorted(down, reverse=True)
    names = [p["name"] for p in h.get(V3 + "/projects?name=page-01&name=page-02", 200).json()["projects"]]
    assert sorted(names) == ["page-01", "page-02"]
    some = h.get(V3 + "/projects?fields=id&fields=name&name=page-01", 200).json()["projects"][0]
    assert set(some) == {"id", "name"}
    assert h.get(V3 + "/projects?enabled=false", 200).json()["projects"] == []
    h.get(V3 + "/projects?enabled=maybe", 400)
    h.get(V3 + "/projects?limit=-1", 400)
    h.get(V3 + "/projects?sort_key=options", 400)
    h.get(V3 + "/projects?marker=nope", 400)
    assert h.get(V3 + "/projects?unknown=1&name=page-01", 200).json()["projects"]


def test_version_documents(shared_hub):
    h = shared_hub
    get = lambda path: requests.get(h.url + path, verify=h.ca, timeout=30)  # noqa: E731
    r = get("/identity")
    assert r.status_code == 300 and r.json()["versions"]["values"][0]["id"] == "v3.14"
    assert get("/identity/v3").json()["version"]["status"] == "CURRENT"
    assert get("/identity/v3/").status_code == 200
    assert get("/").status_code == 300


def test_base_url_follows_the_client(shared_hub):
    h = shared_hub
    h.login()
    for name, expected in (("localhost", f"https://localhost:{h.port}"), ("127.0.0.1:9", "https://127.0.0.1:9")):
        r = h.get(V3 + "/auth/catalog", 200, headers={"Host": name if ":" in name else f"{name}:{h.port}"})
        assert r.json()["catalog"][0]["endpoints"][0]["url"].startswith(expected)
    r = h.get(V3 + "/auth/catalog", 200, headers={"Host": "evil.example:1"})
    assert "evil" not in r.text


def test_login_speed(shared_hub):
    """No figure here, only that a storm of logins leaves the others served."""
    from concurrent.futures import ThreadPoolExecutor

    h = shared_hub
    h.login()
    with ThreadPoolExecutor(16) as pool:
        logins = [pool.submit(lambda: scoped(h, None, id=h.user_id, password=h.password).status_code) for _ in range(48)]
        start = time.monotonic()
        h.get(V3 + "/auth/projects", 200)
        took = time.monotonic() - start
        assert {f.result() for f in logins} == {201}
    assert took < 20
