# SPDX-License-Identifier: Apache-2.0
"""Image v2 by the unmodified clients and by hand."""

import hashlib
import json
import os
import socket
import ssl
import subprocess
import threading

import pytest
from conftest import running_hub, wait_for

V2 = "/image/v2"
BYTES = {"Content-Type": "application/octet-stream"}
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}


def new_image(user, **attributes):
    body = {"name": "fw", "disk_format": "raw", "container_format": "bare", **attributes}
    return user.post(f"{V2}/images", body, 201).json()


def upload(user, image_id, data=b"abc", status=204, **headers):
    return user.put(f"{V2}/images/{image_id}/file", data=data, headers={**BYTES, **headers}, status=status)


def show(user, image_id):
    return user.get(f"{V2}/images/{image_id}", 200).json()


def patch(user, image_id, ops, status=200, headers=None):
    return user.patch(f"{V2}/images/{image_id}", data=json.dumps(ops), headers=headers or PATCH, status=status)


def files(hub):
    return sorted(os.listdir(hub.file("images")))


# ---- the real clients ----


def test_cli_whole_life(shared_hub, tmp_path):
    h, data = shared_hub, os.urandom(3_000_001)
    (tmp_path / "in").write_bytes(data)
    made = h.openstack("image", "create", "--file", str(tmp_path / "in"), "--disk-format", "raw", "--container-format", "docker",
                       "--property", "demarc:probe=tcp:80", "--tag", "edge", "cli-router")
    image = h.openstack("image", "show", "cli-router")
    assert image["id"] == made["id"] and image["status"] == "active" and image["size"] == len(data)
    assert image["checksum"] == hashlib.md5(data).hexdigest()
    assert image["properties"]["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert image["properties"]["demarc:probe"] == "tcp:80" and image["tags"] == ["edge"]
    h.openstack("image", "save", "--file", str(tmp_path / "out"), "cli-router", parse=False)
    assert (tmp_path / "out").read_bytes() == data
    h.openstack("image", "set", "--name", "cli-r2", "--property", "a=b", "--min-ram", "64", "--tag", "t2", "cli-router", parse=False)
    image = h.openstack("image", "show", "cli-r2")
    assert image["properties"]["a"] == "b" and image["min_ram"] == 64 and sorted(image["tags"]) == ["edge", "t2"]
    h.openstack("image", "unset", "--property", "a", "--tag", "t2", "cli-r2", parse=False)
    assert "a" not in h.openstack("image", "show", "cli-r2")["properties"]
    assert "cli-r2" in [i["Name"] for i in h.openstack("image", "list", "--long")]
    h.openstack("image", "delete", "cli-r2", parse=False)
    assert "cli-r2" not in [i["Name"] for i in h.openstack("image", "list")]
    assert made["id"] not in files(h)


def test_sdk_pages_and_filters(shared_hub):
    user = shared_hub.new_user()
    ids = [new_image(user, name=f"page-{i}", tags=["even"] if i % 2 == 0 else [], colour="red" if i else "blue")["id"] for i in range(7)]
    upload(user, ids[0], b"x" * 10)
    upload(user, ids[1], b"x" * 1000)
    glance = user.sdk().image
    assert {i.id for i in glance.images(limit=2)} == set(ids)
    assert [i.name for i in glance.images(sort="name:asc", limit=3)] == [f"page-{i}" for i in range(7)]

    def names(query):
        return sorted(i["name"] for i in user.get(f"{V2}/images?{query}", 200).json()["images"])

    assert names("name=page-3") == ["page-3"]
    assert names("name=in:page-1,page-2") == ["page-1", "page-2"]
    assert names("tag=even") == ["page-0", "page-2", "page-4", "page-6"]
    assert names("status=active") == ["page-0", "page-1"]
    assert names("size_min=11") == ["page-1"] and names("size_max=11") == ["page-0"]
    assert names("colour=blue") == ["page-0"]
    assert names("disk_format=qcow2") == []
    assert len(names("created_at=gt:2020-01-01T00:00:00Z")) == 7 and names("created_at=lt:2020-01-01T00:00:00Z") == []
    assert names(f"id=in:{ids[5]},{ids[6]}") == ["page-5", "page-6"]
    first = user.get(f"{V2}/images?limit=3&sort=name:asc", 200).json()
    assert first["first"] == "/v2/images" and first["next"].startswith("/v2/images?")
    second = user.get("/image" + first["next"], 200).json()
    assert [i["name"] for i in second["images"]] == ["page-3", "page-4", "page-5"]


@pytest.mark.parametrize("query", ["size_min=x", "sort=zz:asc", "sort=name:up", "created_at=yesterday", "marker=none",
                                   "limit=-1", "limit=x", "visibility=mine", "protected=maybe"])
def test_bad_filters(shared_hub, query):
    assert shared_hub.get(f"{V2}/images?{query}").status_code == 400


def test_schemas(shared_hub):
    schema = shared_hub.get(f"{V2}/schemas/image", 200).json()
    assert schema["properties"]["disk_format"]["enum"] == [None, "raw", "qcow2", "aki", "ari"]
    assert schema["additionalProperties"] == {"type": "string"}
    for name in ("images", "member", "members"):
        assert shared_hub.get(f"{V2}/schemas/{name}", 200).json()["name"] == name
    shared_hub.get(f"{V2}/schemas/nothing", 404)


# ---- who sees and changes what ----


def test_visibility(shared_hub):
    h, owner, other = shared_hub, shared_hub.new_user(), shared_hub.new_user()
    reader = h.new_user("reader")
    mine = new_image(owner, visibility="private")["id"]
    everyones = new_image(h, visibility="public")["id"]
    community = new_image(owner, visibility="community")["id"]
    other.get(f"{V2}/images/{mine}", 404)
    other.delete(f"{V2}/images/{mine}", 404)
    assert show(other, everyones)["visibility"] == "public"
    assert show(other, community)["id"] == community
    listed = {i["id"] for i in other.get(f"{V2}/images", 200).json()["images"]}
    assert everyones in listed and mine not in listed and community not in listed
    assert community in {i["id"] for i in other.get(f"{V2}/images?visibility=community", 200).json()["images"]}
    other.delete(f"{V2}/images/{everyones}", 403)
    patch(other, community, [{"op": "replace", "path": "/name", "value": "mine"}], 403)
    owner.post(f"{V2}/images", {"name": "x", "visibility": "public"}, 403)
    patch(owner, mine, [{"op": "replace", "path": "/visibility", "value": "public"}], 403)
    owner.post(f"{V2}/images", {"name": "x", "owner": h.login() and h.project_id}, 403)
    reader.post(f"{V2}/images", {"name": "x"}, 403)


def test_members(shared_hub):
    """A shared image: offered by its owner, seen by id at once, listed when the member has accepted."""
    owner, member, other = shared_hub.new_user(), shared_hub.new_user(), shared_hub.new_user()
    for user in (owner, member, other):
        user.login()
    image = new_image(owner, visibility="shared", name="for-friends")["id"]
    url = f"{V2}/images/{image}/members"
    member.get(f"{V2}/images/{image}", 404)
    owner.openstack("image", "add", "project", image, member.project_id)
    owner.post(url, {"member": member.project_id}, 409)
    assert show(member, image)["name"] == "for-friends"
    other.get(f"{V2}/images/{image}", 404)

    def listed(query=""):
        return [i["id"] for i in member.get(f"{V2}/images?limit=1000{query}", 200).json()["images"]]

    assert image not in listed() and image in listed("&visibility=shared&member_status=pending")
    owner.put(f"{url}/{member.project_id}", {"status": "accepted"}, 403)
    member.put(f"{url}/{member.project_id}", {"status": "maybe"}, 400)
    member.openstack("image", "set", "--accept", image, parse=False)
    assert image in listed()
    assert [m["status"] for m in owner.get(url, 200).json()["members"]] == ["accepted"]
    assert member.get(f"{url}/{member.project_id}", 200).json()["member_id"] == member.project_id
    member.post(url, {"member": other.project_id}, 403)
    patch(member, image, [{"op": "replace", "path": "/name", "value": "mine"}], 403)
    for bad in ({}, {"member": 5}, {"member": ""}, {"member": "x", "colour": "red"}, []):
        owner.post(url, bad, 400)
    shared_hub.get(f"{V2}/images?member_status=maybe", 200)  # admins see all
    member.get(f"{V2}/images?member_status=maybe", 400)
    owner.openstack("image", "remove", "project", image, member.project_id, parse=False)
    member.get(f"{V2}/images/{image}", 404)
    owner.delete(f"{url}/{member.project_id}", 404)
    private = new_image(owner, visibility="private")["id"]
    owner.post(f"{V2}/images/{private}/members", {"member": member.project_id}, 403)


def test_hidden_images_are_not_listed(shared_hub):
    user = shared_hub.new_user()
    hidden = new_image(user, os_hidden=True)["id"]
    assert hidden not in {i["id"] for i in user.get(f"{V2}/images", 200).json()["images"]}
    assert [i["id"] for i in user.get(f"{V2}/images?os_hidden=true", 200).json()["images"]] == [hidden]


def test_deactivate(shared_hub):
    h, user = shared_hub, shared_hub.new_user()
    image = new_image(user)["id"]
    h.post(f"{V2}/images/{image}/actions/deactivate", status=403)  # queued
    upload(user, image)
    user.post(f"{V2}/images/{image}/actions/deactivate", status=403)
    h.post(f"{V2}/images/{image}/actions/deactivate", status=204)
    assert show(user, image)["status"] == "deactivated"
    user.get(f"{V2}/images/{image}/file", 403)
    h.post(f"{V2}/images/{image}/actions/reactivate", status=204)
    assert user.get(f"{V2}/images/{image}/file", 200).content == b"abc"


def test_protected(shared_hub):
    image = new_image(shared_hub, protected=True)["id"]
    assert "protected" in shared_hub.delete(f"{V2}/images/{image}", 403).json()["message"]
    patch(shared_hub, image, [{"op": "replace", "path": "/protected", "value": False}])
    shared_hub.delete(f"{V2}/images/{image}", 204)
    shared_hub.get(f"{V2}/images/{image}", 404)


def test_tags(shared_hub):
    image = new_image(shared_hub)["id"]
    shared_hub.put(f"{V2}/images/{image}/tags/a%20b", status=204)
    shared_hub.put(f"{V2}/images/{image}/tags/a%20b", status=204)
    assert show(shared_hub, image)["tags"] == ["a b"]
    shared_hub.delete(f"{V2}/images/{image}/tags/a%20b", 204)
    shared_hub.delete(f"{V2}/images/{image}/tags/a%20b", 404)
    shared_hub.put(f"{V2}/images/{image}/tags/{'x' * 256}", status=400)


# ---- data ----


def test_streams_of_any_length(shared_hub, tmp_path):
    """Chunked upload of 64 MiB: the hub's memory stays where it was."""
    h, image = shared_hub, new_image(shared_hub)["id"]
    block = os.urandom(1 << 20)

    def peak():
        with open(f"/proc/{h.process.pid}/status", encoding="ascii") as f:
            return int(next(line for line in f if line.startswith("VmHWM")).split()[1])

    with open(f"/proc/{h.process.pid}/maps", encoding="ascii", errors="replace") as f:
        sanitized = "libasan" in f.read()  # ASan keeps what was freed
    before = peak()
    upload(h, image, (block for _ in range(64)))
    digest = hashlib.sha512()
    for _ in range(64):
        digest.update(block)
    assert show(h, image)["os_hash_value"] == digest.hexdigest()
    got = hashlib.sha512()
    with h.get(f"{V2}/images/{image}/file", 200, stream=True) as r:
        assert r.headers["Content-MD5"] == show(h, image)["checksum"]
        for piece in r.iter_content(1 << 20):
            got.update(piece)
    assert got.hexdigest() == digest.hexdigest()
    assert sanitized or peak() - before < 24 * 1024, "the image went through memory"


def test_ranges(shared_hub):
    image = new_image(shared_hub)["id"]
    upload(shared_hub, image, b"0123456789")

    def part(text, status=206):
        return shared_hub.get(f"{V2}/images/{image}/file", status, headers={"Range": text})

    assert part("bytes=3-5").content == b"345" and part("bytes=8-").content == b"89" and part("bytes=-2").content == b"89"
    assert part("bytes=3-5").headers["Content-Range"] == "bytes 3-5/10"
    part("bytes=10-", 400)


def test_no_data_yet(shared_hub):
    image = new_image(shared_hub)["id"]
    assert shared_hub.get(f"{V2}/images/{image}/file", 204).content == b""
    bare = shared_hub.post(f"{V2}/images", {"name": "no formats"}, 201).json()["id"]
    upload(shared_hub, bare, status=400)
    assert show(shared_hub, bare)["status"] == "queued"


@pytest.mark.parametrize("headers", [{"Content-MD5": "f" * 32}, {"x-image-meta-checksum": "0" * 32}, {"x-image-meta-size": "4"},
                                     {"x-image-meta-os_hash_value": "0" * 128}, {"x-openstack-image-size": "2"}])
def test_wrong_declarations(hub, headers):
    """The upload fails, the image stays queued, no file stays; then the right upload works."""
    image = new_image(hub)["id"]
    assert list(headers)[0].lower() in upload(hub, image, status=400, **headers).json()["message"].lower()
    assert show(hub, image)["status"] == "queued" and files(hub) == []
    upload(hub, image, **{"Content-MD5": hashlib.md5(b"abc").hexdigest()})
    assert show(hub, image)["status"] == "active" and files(hub) == [image]


def raw_upload(hub, image, length, data):
    """A TLS connection that has sent the head of an upload and some of its bytes."""
    context = ssl.create_default_context(cafile=hub.ca)
    sock = context.wrap_socket(socket.create_connection(("127.0.0.1", hub.port)), server_hostname="localhost")
    head = (f"PUT {V2}/images/{image}/file HTTP/1.1\r\nHost: localhost:{hub.port}\r\nX-Auth-Token: {hub.token}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n")
    sock.sendall(head.encode() + data)
    return sock


def test_truncated_upload(hub):
    image = new_image(hub)["id"]
    sock = raw_upload(hub, image, 1_000_000, b"x" * 5000)
    wait_for(lambda: show(hub, image)["status"] == "saving", "the upload to begin")
    upload(hub, image, status=409)  # one at a time
    sock.close()
    wait_for(lambda: show(hub, image)["status"] == "queued", "the upload to be given up")
    assert files(hub) == []
    upload(hub, image)
    assert show(hub, image)["status"] == "active"


def test_deleted_while_saving(hub):
    image = new_image(hub)["id"]
    sock = raw_upload(hub, image, 10, b"12345")
    wait_for(lambda: show(hub, image)["status"] == "saving", "the upload to begin")
    hub.delete(f"{V2}/images/{image}", 204)
    sock.sendall(b"67890")
    assert b" 410 " in sock.recv(4096).split(b"\r\n")[0]
    sock.close()
    assert files(hub) == []


def test_killed_while_saving(hub):
    image, kept = new_image(hub)["id"], new_image(hub)["id"]
    upload(hub, kept)
    sock = raw_upload(hub, image, 1_000_000, b"x" * 5000)
    wait_for(lambda: show(hub, image)["status"] == "saving", "the upload to begin")
    hub.kill()
    sock.close()
    with open(os.path.join(hub.file("images"), "12345678-1234-1234-1234-123456789abc"), "wb") as f:
        f.write(b"renamed, not committed")
    hub.start()
    assert show(hub, image)["status"] == "queued" and files(hub) == [kept]
    assert hub.get(f"{V2}/images/{kept}/file", 200).content == b"abc"


def test_content_type(shared_hub):
    image = new_image(shared_hub)["id"]
    shared_hub.put(f"{V2}/images/{image}/file", data=b"abc", headers={"Content-Type": "text/plain"}, status=415)


def test_uploads_side_by_side(shared_hub):
    images = [new_image(shared_hub)["id"] for _ in range(4)]
    users = [shared_hub.session(shared_hub.username, shared_hub.password, "admin") for _ in images]
    data = [os.urandom(2_000_000) for _ in images]
    threads = [threading.Thread(target=upload, args=(u, i, d)) for u, i, d in zip(users, images, data)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [show(shared_hub, i)["checksum"] for i in images] == [hashlib.md5(d).hexdigest() for d in data]


def test_disk_full(build, tmp_path):
    """On a file system of 160 MB: 413, the image stays queued, and the hub goes on."""
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(mount)], check=True)
    try:
        with running_hub(build, str(mount)) as h:
            image = new_image(h)["id"]
            r = h.put(f"{V2}/images/{image}/file", data=(b"z" * (1 << 20) for _ in range(120)), headers=BYTES)
            assert r.status_code == 413 and "full" in r.json()["message"]
            assert show(h, image)["status"] == "queued" and files(h) == []
            small = new_image(h)["id"]
            upload(h, small)
            assert show(h, small)["status"] == "active"
    finally:
        subprocess.run(["umount", str(mount)], check=True)


# ---- bad input ----


@pytest.mark.parametrize("attributes,status,word", [
    ({"disk_format": "vmdk"}, 400, "disk_format"),
    ({"container_format": "ovf"}, 400, "container_format"),
    ({"container_format": "docker", "disk_format": "qcow2"}, 400, "docker"),
    ({"name": "x" * 256}, 400, "name"),
    ({"name": 5}, 400, "name"),
    ({"min_ram": -1}, 400, "min_ram"),
    ({"min_disk": "1"}, 400, "min_disk"),
    ({"protected": "yes"}, 400, "protected"),
    ({"visibility": "mine"}, 400, "visibility"),
    ({"tags": "x"}, 400, "tags"),
    ({"tags": ["x" * 256]}, 400, "tags"),
    ({"tags": [str(i) for i in range(129)]}, 413, "tags"),
    ({"id": "zzz"}, 400, "id"),
    ({"status": "active"}, 403, "status"),
    ({"size": 5}, 403, "size"),
    ({"os_glance_x": "y"}, 403, "os_glance_x"),
    ({"extra": 1}, 400, "extra"),
    ({"extra": "v" * 65537}, 413, "extra"),
    ({"k" * 256: "v"}, 400, "name"),
    ({f"p{i}": "v" for i in range(129)}, 413, "properties"),
    ({"demarc:probe": "tcp:0"}, 400, "demarc:probe"),
    ({"demarc:restart": "sometimes"}, 400, "demarc:restart"),
])
def test_bad_attributes(shared_hub, attributes, status, word):
    body = {"name": "bad", "disk_format": "raw", "container_format": "bare", **attributes}
    r = shared_hub.post(f"{V2}/images", body, status)
    assert word in r.json()["message"]
    assert not [i for i in shared_hub.get(f"{V2}/images?limit=1000", 200).json()["images"] if i["name"] == "bad"]


def test_bad_bodies(shared_hub):
    for text in ("{bad", "[]", '"text"', "", "[" * 1000, '{"name": "a", "name": "b"}'):
        r = shared_hub.request("POST", f"{V2}/images", data=text, headers={"Content-Type": "application/json"})
        assert r.status_code == 400, text[:20]


def test_same_id_twice(shared_hub):
    image = new_image(shared_hub)["id"]
    assert "already exists" in shared_hub.post(f"{V2}/images", {"id": image}, 409).json()["message"]


@pytest.mark.parametrize("ops,status", [
    ([{"op": "remove", "path": "/nothing"}], 409),
    ([{"op": "replace", "path": "/nothing", "value": "1"}], 409),
    ([{"op": "replace", "path": "/size", "value": 1}], 403),
    ([{"op": "remove", "path": "/name"}], 403),
    ([{"op": "replace", "path": "/disk_format", "value": "qcow2"}], 403),
    ([{"op": "move", "path": "/x", "from": "/y"}], 400),
    ([{"op": "add", "path": "/a/b", "value": "1"}], 400),
    ([{"op": "add", "path": "/a~2", "value": "1"}], 400),
    ([{"op": "add", "path": "/a"}], 400),
    ([{"op": "add", "path": "/a", "value": 1}], 400),
    ([{"op": "add", "path": "/demarc:probe", "value": "icmp"}], 400),
    ([5], 400),
    ({"op": "add"}, 400),
])
def test_bad_patches(shared_hub, ops, status):
    image = new_image(shared_hub)["id"]
    upload(shared_hub, image)
    before = show(shared_hub, image)
    patch(shared_hub, image, ops, status)
    # A later operation that fails takes the earlier ones with it.
    if isinstance(ops, list):
        patch(shared_hub, image, [{"op": "replace", "path": "/name", "value": "changed"}, *ops], status)
    assert show(shared_hub, image) == before


def test_patch_forms(shared_hub):
    image = new_image(shared_hub)["id"]
    patch(shared_hub, image, [{"op": "add", "path": "/a~1b~0c", "value": "1"}, {"op": "add", "path": "/x", "value": "2"}])
    assert show(shared_hub, image)["a/b~c"] == "1"
    patch(shared_hub, image, [{"replace": "/x", "value": "3"}, {"remove": "/a~1b~0c"}], headers={
        "Content-Type": "application/openstack-images-v2.0-json-patch"})
    assert show(shared_hub, image)["x"] == "3" and "a/b~c" not in show(shared_hub, image)
    patch(shared_hub, image, [], 415, {"Content-Type": "application/json"})


def test_missing(shared_hub):
    nothing = "00000000-0000-4000-8000-000000000000"
    for path in (nothing, "no-uuid", "..%2f..%2fetc%2fpasswd"):
        for call in (shared_hub.get, shared_hub.delete):
            assert "No image found" in call(f"{V2}/images/{path}", 404).json()["message"]
    upload(shared_hub, nothing, status=404)


def test_durable(hub):
    """What was answered 2xx is there after SIGKILL."""
    image = new_image(hub, name="durable")["id"]
    upload(hub, image, b"kept")
    hub.kill()
    hub.start()
    assert show(hub, image)["status"] == "active"
    assert hub.get(f"{V2}/images/{image}/file", 200).content == b"kept"
