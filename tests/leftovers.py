# SPDX-License-Identifier: Apache-2.0
"""What a test may leave behind: a snapshot of the machine, and the difference of two.

Used by tests/run around everything, and free to be used by a test around itself.
"""

import os
import time

MARK = "DEMARC_TEST_RUN"  # environment variable of a run: what it started is told from what others did
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


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def _is_ours(pid, name):
    """Started by this run: it carries the run's mark, or is a demarc process that shed its environment."""
    environ = _read(f"/proc/{pid}/environ").split("\0")
    if MARK not in os.environ:
        return name.startswith("demarc")
    return f"{MARK}={os.environ[MARK]}" in environ or (name.startswith("demarc") and not any(environ))


def _processes():
    found = set()
    for pid in filter(str.isdigit, _listdir("/proc")):
        text = _read(f"/proc/{pid}/stat")
        if not text:
            continue
        name, state = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2]
        if state != "Z" and _is_ours(pid, name):
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
