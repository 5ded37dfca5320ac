# SPDX-License-Identifier: Apache-2.0
"""Images that come from another node of the site: real hub, real nodes, each in a namespace; what crosses the hub's links is counted.

    hub eth-N --- mgmt0 [ node N ] lan0 --- [ the site's switch ]
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import uuid

import pytest
from conftest import SANITIZER, Hub, running_hub, wait_for
from listening import alive
from node_lab import add_file, busybox_layer, layer, oci_archive, sh
from real_site import IMAGE, NOVA, V1, V2, RealNode, enter
from site_lab import lab_node
from test_channel import Identity, make_ca, sql
from test_image_rate import add_server, upload

HUB_ADDR = "198.51.100.1"
MB = 8  # of each image: what is packed is random
LAN = {4: "192.0.2.{}", 6: "2001:db8::{}"}


class Node(RealNode):
    def __init__(self, lab, number, lan):
        self.folder = os.path.join(lab.folder, f"n{number}")
        os.makedirs(self.folder)
        super().__init__(lab.build, self.folder, f"{lab.tag}-{number}", f"/sys/fs/bpf/demarc-{lab.tag}-{number}", nics=())
        self.lan, self.name = lan.format(number), f"cpe-{number}"
        self.nics = ["--peer-copy", self.lan]

    def copying(self):
        """Process ids of those that give or take an image."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            return [int(pid) for pid in f.read().split() if "--peer-child" in command(pid)]
        return []

    def from_hub(self):
        """Bytes so far."""
        return json.loads(sh("ip", "-n", self.ns, "-s", "-j", "link", "show", "mgmt0"))[0]["stats64"]["rx"]["bytes"]

    def file(self, suffix):
        """The one of its images with this suffix; None: there is none."""
        names = [n for n in os.listdir(f"{self.state}/images") if n.endswith(suffix)]
        return f"{self.state}/images/{names[0]}" if names else None

    def taken(self):
        """How takings have ended: (node, end)."""
        return re.findall(r'image_from_node image=\S+ node=(\S+) end="?(.*?)"?$', self.logged(), re.M)


def command(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", encoding="ascii") as f:
        return f.read()
    return ""


class Lab:
    def __init__(self, build, folder):
        self.build, self.folder, self.tag = build, str(folder), f"dmp{uuid.uuid4().hex[:6]}"
        self.hub = Hub(build, os.path.join(self.folder, "hub"), os.path.join(self.folder, "hub.log"),
                       ["--listen", "0.0.0.0", "--public-name", HUB_ADDR])
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.nodes, self.spaces, self.heard, self.over = [], [], [], threading.Event()
        self.watch = threading.Thread(target=self.listen, daemon=True)

    def space(self, name):
        sh("ip", "netns", "add", name)
        self.spaces.append(name)
        sh("ip", "-n", name, "link", "set", "lo", "up")

    def wire(self, a, dev_a, b, dev_b):
        sh("ip", "link", "add", dev_a, "netns", a, "type", "veth", "peer", "name", dev_b, "netns", b)
        sh("ip", "-n", a, "link", "set", dev_a, "up")
        sh("ip", "-n", b, "link", "set", dev_b, "up")

    def up(self):
        self.space(self.tag + "-hub")
        self.space(self.tag + "-lan")
        sh("ip", "-n", self.tag + "-lan", "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", self.tag + "-lan", "link", "set", "br0", "up")
        sh("ip", "-n", self.tag + "-hub", "addr", "add", f"{HUB_ADDR}/32", "dev", "lo")
        enter(f"/run/netns/{self.tag}-hub")
        self.hub.start()
        self.site = self.new_site("branch")
        self.watch.start()
        return self

    def new_site(self, name):
        return self.hub.post(V1 + "/sites", {"site": {"name": name}}, 201).json()["site"]["id"]

    def node(self, site=None, family=4, *options):
        number = len(self.nodes) + 1
        n = Node(self, number, LAN[family])
        n.nics += options
        self.space(n.ns)
        self.wire(n.ns, "mgmt0", self.tag + "-hub", f"eth{number}")
        self.wire(n.ns, "lan0", self.tag + "-lan", f"p{number}")
        sh("ip", "-n", self.tag + "-lan", "link", "set", f"p{number}", "master", "br0")
        sh("ip", "-n", n.ns, "addr", "add", f"198.51.100.{100 + number}/32", "dev", "mgmt0")
        sh("ip", "-n", n.ns, "route", "add", HUB_ADDR, "dev", "mgmt0", "src", f"198.51.100.{100 + number}")
        sh("ip", "-n", self.tag + "-hub", "route", "add", f"198.51.100.{100 + number}", "dev", f"eth{number}", "src", HUB_ADDR)
        sh("ip", "-n", n.ns, "addr", "add", n.lan + ("/24" if family == 4 else "/64"), "dev", "lan0", *(["nodad"] if family == 6 else []))
        self.nodes.append(n)
        body = {"enrolment_token": {"node_name": n.name, "expires_in": 3600}}
        n.enrol(self.hub.post(f"{V1}/sites/{site or self.site}/enrolment_tokens", body, 201).json()["enrolment_token"]["token"])
        n.site = "branch" if not site else "other"
        self.start(n)
        return n

    def start(self, node):
        node.start()
        wait_for(lambda: self.hub.get(f"{V1}/nodes/{node.id}", 200).json()["node"]["state"] == "up", "the node's session", 60)

    def image(self):
        """An image that packs to MB; its id and its size."""
        data = oci_archive([busybox_layer(), layer([lambda t: add_file(t, "random", os.urandom(MB << 20))])], compress=False)
        body = {"name": "big", "disk_format": "raw", "container_format": "docker", "visibility": "public"}
        image = self.hub.post(f"{IMAGE}/images", body, 201).json()["id"]
        self.hub.put(f"{IMAGE}/images/{image}/file", status=204, data=data, headers={"Content-Type": "application/octet-stream"})
        return image, len(data)

    def server(self, node, image):
        """Of that image on that node; not waited for."""
        net = self.hub.post(f"{V2}/networks", {"network": {"name": "n"}}, 201).json()["network"]["id"]
        port = self.hub.post(f"{V2}/ports", {"port": {"network_id": net}}, 201).json()["port"]["id"]
        body = {"name": "f", "imageRef": image, "flavorRef": "nf.tiny", "networks": [{"port": port}],
                "availability_zone": f"{node.site}:{node.name}"}
        return self.hub.post(f"{NOVA}/servers", {"server": body}, 202).json()["server"]["id"]

    def wait_active(self, server, seconds=60):
        wait_for(lambda: self.hub.get(f"{NOVA}/servers/{server}", 200).json()["server"]["status"] == "ACTIVE", "the function", seconds)

    def installed(self, node, image):
        """The bytes that the node took from the hub, in all, for a function of that image."""
        before = node.from_hub()
        self.wait_active(self.server(node, image))
        return node.from_hub() - before

    def listen(self):
        """What listens in the nodes' namespaces, at any time: the whole test long."""
        while not self.over.wait(0.05):
            for node in list(self.nodes):
                done = subprocess.run(["nsenter", f"--net=/run/netns/{node.ns}", "--", "ss", "-Hltnup"], stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, check=False)
                self.heard += [f"{node.name}: {line}" for line in done.stdout.splitlines()]

    def down(self):
        self.over.set()
        self.watch.join(30)
        for node in self.nodes:
            if alive(node.process):
                node.kill(signal.SIGTERM)
        if alive(self.hub.process):
            self.hub.kill()
        self.hub.http.close()
        enter(f"/proc/self/fd/{self.home}")
        os.close(self.home)
        for node in self.nodes:
            if node.id:
                node.purge()
        for ns in self.spaces:
            sh("ip", "netns", "del", ns, check=False)
        assert not self.heard, self.heard[:5]
        for path in [self.hub.log_path, *(n.log_path for n in self.nodes)]:
            with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as f:
                assert not [line for line in f if SANITIZER.search(line)], path


@pytest.fixture
def lab(build, tmp_path):
    lab = Lab(build, tmp_path)
    try:
        yield lab.up()
    finally:
        lab.down()


@pytest.mark.parametrize("family", [4, 6])
def test_the_second_node_takes_it_from_the_first(lab, family):
    first, second = lab.node(None, family), lab.node(None, family)
    image, size = lab.image()
    assert lab.installed(first, image) > size
    assert first.taken() == [("-", "no other node of the site gives it")]
    assert lab.installed(second, image) < size / 8, "the site's line has carried it once"
    assert second.taken() == [(first.id, "done")]
    assert os.path.getsize(second.file(".packed")) == size and not second.file(".part"), "it is given further"
    images, before = [lab.image()[0] for _ in range(2)], second.from_hub()
    for image in images:
        lab.installed(first, image)
    for server in [lab.server(second, image) for image in images]:
        lab.wait_active(server)
    assert second.from_hub() - before < size / 4 and second.taken()[1:] == 2 * [(first.id, "done")], "one after the other"
    wait_for(lambda: not first.copying() and not second.copying(), "the end of their processes")
    assert first.logged().count("image_given") == 3


def test_a_node_of_another_site_takes_it_from_the_hub(lab):
    first, other = lab.node(), lab.node(lab.new_site("other"))
    image, size = lab.image()
    lab.installed(first, image)
    assert lab.installed(other, image) > size
    assert other.taken() == [("-", "no other node of the site gives it")] and "image_given" not in first.logged()


def test_a_node_that_does_not_want_to_is_not_asked(lab):
    first, second = lab.node(None, 4, "--peer-copy", "no"), lab.node()
    image, size = lab.image()
    lab.installed(first, image)
    assert not first.file(".packed")
    assert lab.installed(second, image) > size


def test_a_giver_that_dies_is_followed_by_the_hub(lab):
    first, second = lab.node(None, 4, "--peer-copy-rate", "1"), lab.node()
    image, size = lab.image()
    lab.installed(first, image)
    before = second.from_hub()
    server = lab.server(second, image)
    wait_for(lambda: second.file(".part") and os.path.getsize(second.file(".part")) > size / 4, "a quarter of it", 30, 0.005)
    first.kill()
    lab.wait_active(server)
    assert size / 8 < second.from_hub() - before < size * 7 / 8, "it went on where it stopped"
    assert [node for node, end in second.taken()] == [first.id] and second.taken()[0][1] != "done"


def test_wrong_bytes_are_refused(lab):
    first, second = lab.node(), lab.node()
    image, size = lab.image()
    lab.installed(first, image)
    with open(first.file(".packed"), "r+b") as f:
        f.seek(size // 2)
        f.write(b"somebody else's")
    assert lab.installed(second, image) > size, "all of it came from the hub"
    assert second.taken() == [(first.id, "done")] and "image_corrupt" in json.dumps(
        lab.hub.get(f"{V1}/events", 200).json())
    image, size = lab.image()
    lab.installed(first, image)
    assert lab.installed(second, image) > size, "who gave them is not asked again"
    assert second.taken()[1:] == [("-", "no other node of the site gives it")]


def test_a_taker_that_is_stopped_goes_on(lab):
    first, second = lab.node(None, 4, "--peer-copy-rate", "1"), lab.node()
    image, size = lab.image()
    lab.installed(first, image)
    server = lab.server(second, image)
    wait_for(lambda: second.file(".part") and os.path.getsize(second.file(".part")) > size / 4, "a quarter of it", 30, 0.005)
    pids = second.copying()
    second.kill()
    wait_for(lambda: not any(command(pid) for pid in pids), "the end of its process")
    have, before = os.path.getsize(second.file(".part")), second.from_hub()
    lab.start(second)
    lab.wait_active(server)
    assert have > size / 4 and second.from_hub() - before < size / 4, "the rest came from the other node as well"
    assert second.taken() == [(first.id, "done")]


# ---- the two processes, without agents ----

DONE, TLS, STRANGER, CLOSED, GARBAGE = 0, 2, 3, 4, 5  # link/peer.h
DATA = os.urandom(200000)
SHA512 = hashlib.sha512(DATA)


def start(build, identity, ca, sock, file, other, give=False, have=0):
    """The process of a node that gives or takes DATA, from or to the node `other`."""
    config = {"give": give, "node_id": other, "sha512": SHA512.hexdigest(), "size": len(DATA), "have": have, "rate": 100000000}
    for key, path in (("ca", ca), ("cert", identity.cert), ("key", identity.key)):
        with open(path, encoding="ascii") as f:
            config[key] = f.read()
    memory = os.memfd_create("config")
    os.write(memory, json.dumps(config).encode())
    os.lseek(memory, 0, os.SEEK_SET)
    fds = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (memory, sock.fileno(), file.fileno())]

    def give_fds():
        for i, fd in enumerate(fds):
            os.dup2(fd, 3 + i)

    process = subprocess.Popen([f"{build}/src/node/demarc-node", "--peer-child"], preexec_fn=give_fds, close_fds=False, stdin=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    for fd in [memory, *fds]:
        os.close(fd)
    sock.close()
    return process


def ended(process):
    _, err = process.communicate(timeout=60)
    assert not SANITIZER.search(err.decode()), err.decode()
    return process.returncode


class Pair:
    """Two nodes with certificates, a file for each, and a connection."""

    def __init__(self, build, path):
        self.build, self.path = build, str(path)
        self.ca = make_ca(self.path)
        self.giver, self.taker = (Identity(self.path, self.ca, str(uuid.uuid4())) for _ in range(2))
        with open(f"{self.path}/image", "wb") as f:
            f.write(DATA)
        self.ends = socket.socketpair()

    def give(self, identity=None, other=None, ca=None):
        with open(f"{self.path}/image", "rb") as file:
            return start(self.build, identity or self.giver, (ca or self.ca) + ".crt", self.ends[0], file, other or self.taker.node_id, give=True)

    def take(self, identity=None, other=None, ca=None):
        with open(f"{self.path}/part", "w+b") as file:
            return start(self.build, identity or self.taker, (ca or self.ca) + ".crt", self.ends[1], file, other or self.giver.node_id)

    def part(self):
        with open(f"{self.path}/part", "rb") as f:
            return f.read()

    def play(self, identity, end, server):
        """That node's end of TLS, in the test's hands."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(identity.cert, identity.key)
        end.settimeout(30)
        return context.wrap_socket(end, server_side=server)


@pytest.fixture
def pair(build, tmp_path):
    pair = Pair(build, tmp_path)
    yield pair
    for end in pair.ends:
        end.close()


def test_the_processes_copy(pair):
    giver, taker = pair.give(), pair.take()
    assert (ended(taker), ended(giver)) == (DONE, DONE) and pair.part() == DATA


@pytest.mark.parametrize("case", ["giver", "taker", "ca", "hub"])
def test_each_end_knows_whom_it_expects(pair, case):
    third = str(uuid.uuid4())
    if case == "giver":
        giver, taker = pair.give(Identity(pair.path, pair.ca, third)), pair.take()
        assert ended(taker) == STRANGER
    elif case == "taker":
        giver, taker = pair.give(), pair.take(Identity(pair.path, pair.ca, third))
        assert ended(giver) == STRANGER
    elif case == "ca":
        os.mkdir(f"{pair.path}/ca")
        giver, taker = pair.give(Identity(pair.path, make_ca(f"{pair.path}/ca"), pair.giver.node_id)), pair.take()
        assert ended(taker) == TLS
    else:
        server = Identity(pair.path, pair.ca, pair.giver.node_id)
        with open(f"{pair.path}/server.ext", "w", encoding="ascii") as f:
            f.write("extendedKeyUsage=serverAuth\n")
        sh("openssl", "x509", "-req", "-in", f"{pair.path}/{server.node_id}.csr", "-CA", pair.ca + ".crt", "-CAkey", pair.ca + ".key", "-CAcreateserial",
           "-CAserial", f"{pair.path}/serial", "-days", "2", "-extfile", f"{pair.path}/server.ext", "-out", server.cert)
        giver, taker = pair.give(server), pair.take()
        assert ended(taker) == TLS
    assert DONE not in (ended(giver) if case != "giver" else STRANGER, ended(taker)) and pair.part() == b""


REQUEST, ANSWER = struct.Struct(">64sQI"), struct.Struct(">QI")


@pytest.mark.parametrize("answer", [(1, 65536), (0, 65535), (0, 65537), (0, 0), (2**64 - 1, 2**32 - 1), (65536, 65536)])
def test_a_giver_that_lies(pair, answer):
    taker = pair.take()
    with pair.play(pair.giver, pair.ends[0], server=True) as tls:
        assert REQUEST.unpack(tls.recv(REQUEST.size)) == (SHA512.digest(), 0, 65536)
        with contextlib.suppress(OSError):  # it has hung up before all of it is there
            tls.sendall(ANSWER.pack(*answer) + bytes(70000))
        assert ended(taker) == GARBAGE
    assert pair.part() == b"", "of what was not asked for nothing is stored"


def test_a_giver_that_ends_early(pair):
    taker = pair.take()
    with pair.play(pair.giver, pair.ends[0], server=True) as tls:
        for offset in range(0, len(DATA), 65536):
            assert REQUEST.unpack(tls.recv(REQUEST.size))[1] == offset
        tls.sendall(ANSWER.pack(0, 65536) + DATA[:65536] + ANSWER.pack(65536, 65536) + DATA[:100])
    assert ended(taker) == CLOSED and pair.part() == DATA[:65536]


@pytest.mark.parametrize("request_", [(bytes(64), 0, 10), (SHA512.digest(), 0, 0), (SHA512.digest(), 0, 65537), (SHA512.digest(), len(DATA), 1),
                                      (SHA512.digest(), 2**64 - 1, 2)])
def test_a_taker_that_wants_more(pair, request_):
    giver = pair.give()
    with pair.play(pair.taker, pair.ends[1], server=False) as tls:
        tls.sendall(REQUEST.pack(SHA512.digest(), len(DATA) - 5, 5) + REQUEST.pack(*request_))
        assert ended(giver) == GARBAGE
        assert tls.recv(100) == ANSWER.pack(len(DATA) - 5, 5) + DATA[-5:], "what it may have"


def test_who_is_introduced(build, tmp_path):
    """Nodes that say what they like: the hub's part alone."""
    with running_hub(build, str(tmp_path)) as hub, contextlib.ExitStack() as stack:
        first = stack.enter_context(lab_node(build, hub, tmp_path / "1"))
        second = stack.enter_context(lab_node(build, hub, tmp_path / "2", site=first.site_id))
        image = upload(hub, DATA)
        end = {"address": "192.0.2.1", "port": 4000, "seq": 7}

        def ask(request, **more):
            second.send({"request": request, "peer_ask": {"image_id": image, "end": end, **more}})
            return wait_for(lambda: [f["peer_take"] for f in second.frames("peer_take") if int(f["request"]) == request], "an answer")[0]

        assert "no server" in ask(1)["error"]
        add_server(hub, second.id, image)
        add_server(hub, first.id, image)
        assert ask(3)["error"] == "no other node of the site gives it", "the other node has not said that it does"
        sql(hub, "UPDATE node SET features = ? WHERE id = ?", '["peer-copy"]', first.id)
        assert ask(5, not_node_ids=[first.id])["error"] == "no other node of the site gives it"
        second.send({"request": 7, "peer_ask": {"image_id": image, "end": end}})
        asked = wait_for(lambda: first.frames("peer_give"), "the other node's being asked")[0]
        assert asked["peer_give"]["node_id"] == second.id and asked["peer_give"]["sha512"] == SHA512.hexdigest()
        assert asked["peer_give"]["end"] == end
        second.send({"request": int(asked["request"]), "peer_given": {"end": end}})  # not the one who was asked
        first.send({"request": int(asked["request"]), "peer_given": {"error": "", "end": {**end, "port": 5000}}})
        taken = wait_for(lambda: [f for f in second.frames("peer_take") if int(f["request"]) == 7], "the introduction")
        assert taken[0]["peer_take"]["node_id"] == first.id and taken[0]["peer_take"]["end"]["port"] == 5000
        first.send({"request": int(asked["request"]), "peer_given": {"end": end}})  # once more
        for request in range(9, 29, 2):
            second.send({"request": request, "peer_ask": {"image_id": image, "end": end, "not_node_ids": [first.id]}})
        wait_for(lambda: any(f["peer_take"].get("error") == "the hub introduces nobody now" for f in second.frames("peer_take")), "its refusal")
        assert len([f for f in second.frames("peer_take") if int(f["request"]) == 7]) == 1
