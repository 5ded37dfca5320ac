# SPDX-License-Identifier: Apache-2.0
"""What a test may leave behind: a snapshot of the machine, and the difference of two.

Used by tests/run around everything, and free to be used by a test around itself.
"""

import os
import time

GRACE_S = 10  # the kernel frees namespaces and links after the process that held them is gone


def _listdir(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def _netns():
    return {f"network namespace {n}" for n in _listdir("/run/netns")}


def _links():
    return {f"link {n}" for n in _listdir("/sys/class/net")}


def _pins():
    found = set()
    for folder, dirs, files in os.walk("/sys/fs/bpf"):
        found |= {f"pin {os.path.join(folder, n)}" for n in dirs + files}
    return found


def _processes():
    found = set()
    for pid in filter(str.isdigit, _listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                text = f.read()
        except OSError:
            continue
        name, state = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2]
        if name.startswith("demarc") and state != "Z":
            found.add(f"process {pid} ({name})")
    return found


def _containers():
    return {f"container {n}" for n in _listdir("/run/runc")}


def _cgroups():
    found = set()
    for folder, dirs, _ in os.walk("/sys/fs/cgroup"):
        found |= {f"cgroup {os.path.join(folder, n)}" for n in dirs if n.startswith("demarc")}
    return found


def _mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return {f"mount {line.split()[4]}" for line in f}


def snapshot():
    """The set of things that exist now, each as the text to show a person."""
    found = set()
    for part in (_netns, _links, _pins, _processes, _containers, _cgroups, _mounts):
        found |= part()
    return found


def since(before):
    """Sorted list of what is there now and was not in `before`; waits for what is going away."""
    deadline = time.monotonic() + GRACE_S
    while True:
        left = snapshot() - before
        if not left or time.monotonic() > deadline:
            return sorted(left)
        time.sleep(0.1)
