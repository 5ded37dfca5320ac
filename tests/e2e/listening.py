# SPDX-License-Identifier: Apache-2.0
"""On what a process listens: the hub on one port, a node on nothing. Asked at the end of every test that has one."""

import subprocess


def listening(pid, ns=None):
    """Lines of ss(8) about a process, in the caller's network namespace or a named one. A UDP socket without a peer listens, too."""
    enter = ["nsenter", f"--net=/run/netns/{ns}", "--"] if ns else []
    text = subprocess.run([*enter, "ss", "-Hltnup"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    return [line for line in text.splitlines() if f"pid={pid}," in line]


def ports(lines):
    """Protocol and port of each: many sockets, one for each front of a hub, are one port."""
    return sorted({(line.split()[0], int(line.split()[4].rpartition(":")[2])) for line in lines})


def alive(process):
    return process is not None and process.poll() is None
