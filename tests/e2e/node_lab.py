# SPDX-License-Identifier: Apache-2.0
"""A node without a hub: node-drive in a network namespace, and what tests ask of it."""

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import time
import uuid

from listening import sockets

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("DEMARC_BUILD", os.path.join(ROOT, "build-san"))
CHUNK = 256 << 10


def sh(*argv, check=True):
    return subprocess.run(argv, check=check, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def wait_for(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)  # the pace of a poll, not a wait for luck


def runc_list(root):
    """Containers as runc lists them. It reads one directory after the other and fails when one goes away meanwhile."""
    def listed():
        done = subprocess.run(["runc", "--root", root, "list", "--format", "json"], check=False, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL)
        gone = "does not exist" in done.stderr or "no such file" in done.stderr
        assert done.returncode == 0 or gone, done.stderr
        return [json.loads(done.stdout) or []] if done.returncode == 0 else None

    return wait_for("runc list", listed)[0]


def add_file(tar, name, data=b"", mode=0o644, **attributes):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    for key, value in attributes.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


def layer(entries):
    """A layer as bytes; entries: functions that take the tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in entries:
            entry(tar)
    return out.getvalue()


def busybox_layer():
    names = ["bin/sh", "bin/sleep", "bin/ip", "bin/echo", "bin/nc", "bin/cat", "bin/true", "bin/wget", "bin/httpd",
             "bin/test", "bin/touch", "bin/kill", "bin/hostname", "bin/mount", "bin/id", "bin/ping"]
    with open("/bin/busybox", "rb") as f:
        data = f.read()
    entries = [lambda t: add_file(t, "bin", type=tarfile.DIRTYPE, mode=0o755),
               lambda t: add_file(t, "tmp", type=tarfile.DIRTYPE, mode=0o1777),
               lambda t: add_file(t, "bin/busybox", data, 0o755)]
    entries += [lambda t, n=n: add_file(t, n, type=tarfile.SYMTYPE, linkname="busybox") for n in names]
    return layer(entries)


def blob(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def oci_archive(layers, cmd=("/bin/sh", "-c", "echo hello; exec sleep 100000"), compress=True, **config):
    blobs = {}

    def put(data):
        digest = blob(data)
        blobs[digest] = data
        return {"digest": digest, "size": len(data)}

    packed = [put(gzip.compress(l, 1, mtime=0) if compress else l) for l in layers]
    conf = put(json.dumps({"os": "linux", "architecture": "amd64",
                           "config": {"Cmd": list(cmd), "Env": ["PATH=/bin"], **config}}).encode())
    manifest = put(json.dumps({"schemaVersion": 2, "config": conf, "layers": packed}).encode())
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        add_file(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add_file(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode())
        for digest, data in blobs.items():
            add_file(tar, "blobs/" + digest.replace(":", "/"), data)
    return out.getvalue()


class Image:
    def __init__(self, data):
        self.id, self.data = str(uuid.uuid4()), data
        self.sha512 = hashlib.sha512(data).hexdigest()

    def pb(self):
        return {"id": self.id, "name": "image", "sha512": self.sha512, "size_bytes": len(self.data),
                "disk_format": "raw", "container_format": "docker"}


class Node:
    """node-drive with its own namespace and directories. Frames from it end up in `status` and `events`."""

    def __init__(self, nics=()):
        self.tag = uuid.uuid4().hex[:8]
        self.id = str(uuid.uuid4())
        self.dir = tempfile.mkdtemp(prefix="demarc-node-")
        self.ns = "dmn" + self.tag
        self.pin = f"/sys/fs/bpf/demarc-test-{self.tag}"
        self.nics = [f"{n}=nic{n}" for n in nics]
        self.revision = 0
        self.objects, self.images = {}, {}
        self.process = None
        self.damage = None  # function on chunk bytes
        self.forget()
        sh("ip", "netns", "add", self.ns)
        sh("ip", "-n", self.ns, "link", "set", "lo", "up")
        for nic in nics:  # a cable: one end in the node, the other in a host of its own
            sh("ip", "netns", "add", f"{self.ns}{nic}")
            sh("ip", "-n", self.ns, "link", "add", f"nic{nic}", "type", "veth", "peer", "name", "eth0", "netns",
               f"{self.ns}{nic}")
            sh("ip", "-n", f"{self.ns}{nic}", "link", "set", "eth0", "up")
            sh("ip", "-n", f"{self.ns}{nic}", "link", "set", "lo", "up")
        self.host_ns = [f"{self.ns}{nic}" for nic in nics]

    def forget(self):
        self.servers, self.ports, self.chains = {}, {}, {}
        self.events, self.acks, self.results, self.hellos = [], [], {}, []

    # ---- process ----

    def argv(self, verb):
        return ["nsenter", f"--net=/run/netns/{self.ns}", os.path.join(BUILD, "tests/e2e/node-drive"), self.id, verb,
                f"{self.dir}/state", f"{self.dir}/run", self.pin, *self.nics]

    def start(self, link=True):
        self.log = open(f"{self.dir}/log", "ab")
        self.process = subprocess.Popen(self.argv("run"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log)
        self.thread = threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True)
        self.thread.start()
        if link:
            self.send({"link": True})
            wait_for("hello", lambda: self.hellos or self.process.poll() is not None)
            assert self.process.poll() is None, self.logged()
        return self

    def logged(self):
        with open(f"{self.dir}/log", encoding="utf-8", errors="replace") as f:
            return f.read()

    def send(self, frame):
        try:
            self.process.stdin.write(json.dumps(frame).encode() + b"\n")
            self.process.stdin.flush()
        except (BrokenPipeError, AttributeError, ValueError):
            pass  # the test has just killed it

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        self.process.wait(30)
        self.thread.join(10)
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # what was still to be sent died with it
        self.process.stdout.close()
        self.log.close()
        code, self.process = self.process.returncode, None
        self.hellos = []
        return code

    def read(self, stream):
        for line in stream:
            frame = json.loads(line)
            for name in ("node_hello", "intent_ack", "report", "chunk_request", "call_result"):
                if name in frame:
                    getattr(self, "on_" + name)(frame[name], frame["request"])

    def on_node_hello(self, m, _):
        self.hellos.append(m)
        self.send({"hub_hello": {"release": "test", "intent_revision": self.revision}})

    def on_intent_ack(self, m, _):
        self.acks.append(m)

    def on_report(self, m, _):
        for s in m["servers"]:
            self.servers[s["id"]] = s
        for p in m["ports"]:
            self.ports[p["id"]] = p
        for c in m["chains"]:
            self.chains[c["id"]] = c
        self.events += m["events"]
        self.send({"report_ack": {"seq": m["seq"]}})

    def on_chunk_request(self, m, request):
        image = self.images.get(m["image_id"])
        if not image:
            self.send({"request": request, "chunk": {"image_id": m["image_id"], "error": "no such image"}})
            return
        data = image.data[m["offset"]:m["offset"] + m["size"]]
        if self.damage:
            data = self.damage(m["offset"], data)
        self.send({"request": request, "chunk": {"image_id": image.id, "offset": m["offset"], "data": data.hex(),
                                                 "last": m["offset"] + len(data) == len(image.data)}})

    def on_call_result(self, m, request):
        self.results[request] = m

    # ---- intent ----

    def apply(self, *changes, full=False):
        """changes: (kind, id, body) or (kind, id, None) to delete. Returns when acknowledged."""
        base, self.revision = self.revision, self.revision + 1
        objects = []
        for kind, oid, body in changes:
            o = {"kind": kind, "id": oid, "version": self.revision}
            o.update({kind: body} if body is not None else {"deleted": True})
            if body is None:
                self.objects.pop((kind, oid), None)
            else:
                self.objects[kind, oid] = body
            objects.append(o)
        self.send({"request": 2, "intent": {"revision": self.revision, "base_revision": base, "full": full,
                                            "objects": objects}})
        ack = wait_for("acknowledgement", lambda: [a for a in self.acks if a["revision"] == self.revision or a["error"]])
        assert not ack[-1]["error"], ack

    def change(self, kind, oid, **fields):
        self.apply((kind, oid, {**self.objects[kind, oid], **fields}))

    def call(self, **body):
        request = 2 + 2 * len(self.results) + 100
        self.send({"request": request, "call": body})
        return wait_for("answer", lambda: self.results.get(request))

    # ---- objects ----

    def network(self, cidr, **fields):
        nid, sid = str(uuid.uuid4()), str(uuid.uuid4())
        body = {"name": "net", "subnets": [{"id": sid, "cidr": cidr}], **fields}
        return ("network", nid, body), sid

    def port(self, network, subnet=None, ip=None, server="", **fields):
        mac = "02:" + ":".join(f"{b:02x}" for b in os.urandom(5))
        body = {"name": "port", "network_id": network, "mac": mac, "admin_up": True, "server_id": server, **fields}
        if ip:
            body["fixed_ips"] = [{"subnet_id": subnet, "ip": ip, "prefix_len": 24}]
        return ("port", str(uuid.uuid4()), body)

    def server(self, sid, image, ports, **fields):
        self.images[image.id] = image
        body = {"name": "vnf", "hostname": "vnf", "image": image.pb(), "vcpus": 1, "memory_mb": 64,
                "power": "POWER_RUNNING", "vifs": [{"port_id": p} for p in ports], **fields}
        return ("server", sid, body)

    # ---- looking ----

    def wait_healthy(self, *ids, seconds=30):
        for sid in ids:
            wait_for(f"server {sid} healthy: {self.servers.get(sid)}",
                     lambda s=sid: self.servers.get(s, {}).get("healthy"), seconds)

    def runc(self, *argv):
        return sh("runc", "--root", f"{self.dir}/run/runc", *argv)

    def containers(self):
        return runc_list(f"{self.dir}/run/runc")

    def inside(self, sid, *argv, check=True):
        return sh("runc", "--root", f"{self.dir}/run/runc", "exec", sid, *argv, check=check)

    def inside_links(self, sid):
        out = sh("nsenter", f"--net={self.dir}/run/netns/{sid}", "ip", "-j", "addr")
        return {i["ifname"]: i for i in json.loads(out) if i["ifname"] != "lo"}

    def host_links(self):
        return {i["ifname"]: i for i in json.loads(sh("ip", "-n", self.ns, "-j", "link")) if i["ifname"].startswith("dm")}

    def leftovers(self):
        """What a node without servers must not have."""
        found = [f"container {c['id']}" for c in self.containers()] + [f"link {l}" for l in self.host_links()]
        for what in ("netns", "rootfs", "bundle"):
            found += [f"{what} {e}" for e in os.listdir(f"{self.dir}/run/{what}")]
        found += [f"disk {e}" for e in os.listdir(f"{self.dir}/state/servers")] \
            if os.path.isdir(f"{self.dir}/state/servers") else []
        with open("/proc/self/mountinfo", encoding="ascii") as f:
            found += [line for line in f if self.dir in line]
        return found

    def close(self):
        wrong = sockets(self.ns, but=["nfcapd"])
        if self.process:
            self.kill(signal.SIGTERM)
        done = subprocess.run(self.argv("purge"), check=False, capture_output=True, text=True)
        for ns in [self.ns, *self.host_ns]:
            sh("ip", "netns", "del", ns, check=False)
        with open(f"{self.dir}/log", encoding="utf-8", errors="replace") as f:
            log = f.read()
        shutil.rmtree(self.dir, ignore_errors=True)
        assert done.returncode == 0, done.stderr
        assert not wrong, f"a node listens on nothing: {wrong}"
        assert "Sanitizer" not in log and "runtime error" not in log, log[-4000:]
