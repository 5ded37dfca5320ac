# SPDX-License-Identifier: Apache-2.0
"""On what a process listens: the hub on one port, a node on nothing. Asked at the end of every test that has one."""

import subprocess


def sockets(ns=None, but=()):
    """
    Lines of ss(8) about all that listens in a network namespace, the caller's or a named one: the kernel's own sockets, too, and helpers
    whose names nobody knows. `but`: names of programs of the test. A UDP socket without a peer listens, too.
    """
    enter = ["nsenter", f"--net=/run/netns/{ns}", "--"] if ns else []
    text = subprocess.run([*enter, "ss", "-Hltnup"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    return [line for line in text.splitlines() if not any(f'("{name}",' in line for name in but)]


def listening(pid):
    """Of them, those of a process in the caller's network namespace."""
    return [line for line in sockets() if f"pid={pid}," in line]


def ports(lines):
    """Protocol and port of each: many sockets, one for each front of a hub, are one port."""
    return sorted({(line.split()[0], int(line.split()[4].rpartition(":")[2])) for line in lines})


def alive(process):
    return process is not None and process.poll() is None
