# SPDX-License-Identifier: Apache-2.0
"""One attack on a hub's port, until it is ended: attacker.py KIND PORT [CERT KEY NODE_ID]; says "ready" when it is under way.

    garbage     connections that send random bytes, new ones all the time
    slowloris   300 that send a ClientHello byte by byte, and 100 that do so with a request's head
    handshakes  TLS handshakes without a certificate, one after the other, from four threads
    idle        2000 connections that never send anything

As a node that is enrolled:
    tiny        pings by the hundred thousand, whose answers are never read
    acks        acknowledgements of ever higher revisions, by the million
    hellos      a hello after the other, each when the one before is answered
"""

import contextlib
import os
import socket
import ssl
import sys
import threading
import time

CLIENT_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), 30)


def tls(port, cert=None, key=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(cert, key)
    return context.wrap_socket(connect(port))


def ready():
    print("ready", flush=True)


def garbage(port):
    ready()
    while True:
        with contextlib.suppress(OSError), connect(port) as s:
            s.sendall(os.urandom(600))


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


def handshakes(port):
    def flood():
        while True:
            with contextlib.suppress(OSError), tls(port):
                pass

    for _ in range(4):
        threading.Thread(target=flood, daemon=True).start()
    ready()
    threading.Event().wait()


def idle(port):
    kept = [connect(port) for _ in range(2000)]
    ready()
    threading.Event().wait()
    del kept


def frame(payload):
    """Of 125 bytes at most, masked with zeroes."""
    return bytes([0x82, 0x80 | len(payload)]) + bytes(4) + payload


def node(port, cert, key, node_id):
    """A node's connection that has sent its hello; and the hello."""
    import test_channel  # noqa: PLC0415: only these attacks speak as a node

    s = tls(port, cert, key)
    s.sendall(("GET /demarc/v1/channel HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Protocol: demarc-node\r\n\r\n").encode())
    s.recv(4096)
    hello = frame(test_channel.node_hello(node_id))
    s.sendall(hello)
    return s, hello


def tiny(*who):
    s, _ = node(*who)
    ping = frame(bytes.fromhex("62020807"))
    ready()
    with contextlib.suppress(OSError):
        for _ in range(3000):
            s.sendall(ping * 100)
    threading.Event().wait()


def acks(*who):
    import test_channel  # noqa: PLC0415

    s, _ = node(*who)
    s.recv(4096)  # the hub's hello: before it, an acknowledgement is refused
    ready()
    for first in range(1, 1 << 40, 1000):
        s.sendall(b"".join(frame(test_channel.field(21, test_channel.field(1, n))) for n in range(first, first + 1000)))


def hellos(*who):
    s, hello = node(*who)
    ready()
    with contextlib.suppress(OSError):
        while s.recv(4096):
            s.sendall(hello)
    threading.Event().wait()


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])
