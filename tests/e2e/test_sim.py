# SPDX-License-Identifier: Apache-2.0
"""demarc-sim against a hub that it starts: a storm and a killed hub, with a thousand nodes that have functions and chains;
the other scenarios with fewer."""

import contextlib
import glob
import json
import os
import re
import signal
import sqlite3
import subprocess
import time

import pytest
from conftest import wait_for

NODES = 1000


@pytest.fixture(name="sim", scope="module")
def fixture_sim(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sim")

    def run(scenario, *args, nodes=NODES, check=True):
        report = folder / f"{scenario}.json"
        command = [*run.prefix, os.path.join(build, "src/sim/demarc-sim"), scenario, "--nodes", str(nodes), "--state-dir", str(folder / "state"),
                   "--hub-binary", os.path.join(build, "src/hub/demarc-hub"), "--json", str(report),
                   "--html", str(folder / f"{scenario}.html"), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return json.loads(report.read_text()), done

    run.folder, run.prefix = folder, []
    return run


@pytest.mark.timeout(300)
def test_storm(sim):
    report, done = sim("storm", "--churn", "20", "--rate", "1000")
    assert report["nodes"] == NODES and report["steady_s"] > 0, report
    assert (report["lost"], report["not_steady"], report["refused"], report["show_failed"]) == (0, 0, 0, 0), report
    assert report["changes"] > 0 and report["bare_handshakes_s"] > 0, report
    assert report["not_whole"] == 0, "functions go on while their node is not connected"
    assert report["returns"] >= NODES and report["resumed"] > 0.9 * NODES, "nodes keep their tickets"
    assert 0 < report["fresh_p50_ms"] <= report["fresh_p99_ms"] <= report["fresh_max_ms"], report
    assert max(p["steady"] for p in report["points"]) == NODES
    assert re.search(r"^ +[0-9.]+ s  \d+ of 1000 steady", done.stderr, re.M), "progress"
    page = (sim.folder / "storm.html").read_text()
    assert page.count("<svg") == 4 and "http" not in page, "a page by itself"


@pytest.mark.timeout(300)
def test_hub_kill(sim):
    report, _ = sim("hub-kill", "--churn", "50", "--rate", "1000")
    assert (report["lost"], report["not_steady"], report["refused"]) == (0, 0, 0), report
    assert report["steady_s"] > 0 and report["changes"] > 0, report
    assert report["resumed"] > 0.9 * NODES, "the hub that was started opens the tickets of the one that was killed"


def steady(report):
    """Nothing lost, nobody missing, nothing refused."""
    return (report["lost"], report["not_steady"], report["refused"]) == (0, 0, 0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", ["link-flap", "address-change"])
def test_links_that_break(sim, scenario):
    report, _ = sim(scenario, "--churn", "20", "--chains", "10", nodes=100)
    assert steady(report) and report["steady_s"] > 0 and report["show_failed"] == 0, report
    assert report["changes"] > 20, "only nodes with functions are changed"


@pytest.mark.timeout(300)
def test_nodes_that_know_several_hubs(sim):
    """They come from an address each, and the list of hubs brings nobody back before his time."""
    report, _ = sim("storm", "--hub-urls", "3", "--chains", "0", "--state-dir", str(sim.folder / "urls"), nodes=200)
    assert steady(report) and report["returns"] >= 200 and report["show_failed"] == 0, report
    addresses = {address for address, in rows(sim, "SELECT address FROM node", "urls")}
    assert len(addresses) == 200 and all(re.fullmatch(r"127\.(?!0\.0\.)\d+\.\d+\.\d+", a) for a in addresses), addresses


@pytest.mark.timeout(300)
def test_tickets_that_are_lost(sim):
    report, _ = sim("storm", "--chains", "10", "--no-tickets", nodes=100)
    assert steady(report) and report["returns"] >= 100 and report["resumed"] == 0, report


@pytest.mark.timeout(300)
def test_one_change(sim):
    report, _ = sim("one-change", "--seconds", "5", "--churn", "20", nodes=100)
    assert steady(report) and report["changes"] >= 50 and report["confirm_late"] == 0, report
    assert 0 < report["confirm_p50_ms"] <= report["confirm_p99_ms"] <= report["confirm_max_ms"], report


@pytest.mark.timeout(300)
def test_all_change(sim):
    """Also of nodes without functions: each has a port in the group."""
    for _ in range(2):
        report, _ = sim("all-change", "--chains", "50", "--state-dir", str(sim.folder / "all"), nodes=60)
        assert steady(report) and report["changes"] == 3 and report["show_failed"] == 0, report
        assert 0 < report["all_change_p50_s"] <= report["all_change_s"] < 20, report


@pytest.mark.timeout(300)
def test_slow_nodes(sim):
    report, _ = sim("slow-nodes", "--seconds", "14", "--churn", "40", "--percent", "40", "--state-dir", str(sim.folder / "all"),
                    nodes=60)
    assert steady(report) and report["show_failed"] == 0 and report["confirm_late"] == 0, report
    assert 10 <= report["nodes_unlike"] < 60 and report["caught_up_s"] > 0, report
    assert report["confirm_p50_ms"] < 4 * report["confirm_before_p50_ms"] + 50, "the others wait for those that are slow"
    assert report["hub_growth_mb"] < 64 and report["nodes_behind"] > 0, report


@pytest.mark.timeout(300)
def test_mixed_versions(sim):
    report, _ = sim("mixed-versions", "--churn", "10", "--percent", "60", nodes=100)
    assert steady(report) and report["steady_s"] > 0 and report["show_failed"] == 0, report
    assert 30 <= report["nodes_unlike"] < 100 and report["resyncs"] > 0, "without a digest, everything is sent again"
    said = dict(rows(sim, "SELECT release, count(*) FROM node WHERE release IS NOT NULL GROUP BY release"))
    others = {"0.0.8", "0.0.9", "0.2.0"}
    assert others < set(said) and sum(said[release] for release in others) == report["nodes_unlike"], said


def rows(sim, sql, state="state"):
    """What the hub has stored."""
    with contextlib.closing(sqlite3.connect(sim.folder / state / "hub/hub.db")) as db:
        return list(db.execute(sql))


def paths(sim, state="state"):
    """Of every chain: its state, and its hops as its node has reported them."""
    status = [json.loads(text) for text, in rows(sim, "SELECT status FROM sfc_port_chain", state)]
    return [(chain["state"], chain["hops"]) for chain in status]


@pytest.mark.timeout(300)
def test_functions_that_die(sim):
    """Agents start what has ended and what failed to start, and tell the hub of it: events, restarts, chains, vNICs as they are found."""
    report, _ = sim("function-deaths", "--percent", "50", "--fail-percent", "5", "--state-dir", str(sim.folder / "all"), nodes=60)
    assert steady(report) and report["not_whole"] == 0 and report["steps_failed"] > 0, report
    assert 0 < report["healed_s"] < 15 and report["deaths"] > 10 and report["starts"] >= report["deaths"], report
    events = dict(rows(sim, "SELECT kind, count(*) FROM event GROUP BY kind", "all"))
    assert events["function_died"] == report["deaths"] and events["hop_dropped"] >= report["deaths"], events
    assert events["hop_restored"] >= events["hop_dropped"], events
    servers = rows(sim, "SELECT vm_state, healthy, fault, sum(n_restarts) FROM server GROUP BY 1, 2, 3", "all")
    assert servers == [("active", 1, None, report["deaths"])], servers
    for state, hops in paths(sim, "all"):
        assert state == "active" and all(hop["in_path"] and len(hop["healthy_pairs"]) == 1 for hop in hops), hops
    found = rows(sim, "SELECT verified, status, mac_address, observed FROM port WHERE device_owner LIKE 'compute:%'", "all")
    assert len(found) > 100
    assert all((verified, status, json.loads(seen)["mac"]) == (1, "ACTIVE", mac) for verified, status, mac, seen in found), found


@pytest.mark.timeout(300)
def test_functions_that_never_start(sim):
    report, _ = sim("steady", "--seconds", "2", "--fail-percent", "100", "--chains", "100", "--state-dir", str(sim.folder / "never"), nodes=10)
    assert steady(report) and report["not_whole"] == 10 and report["steps_failed"] > 20 and report["starts"] is None, report
    faults = rows(sim, "SELECT DISTINCT vm_state, fault FROM server JOIN image ON image.id = image_id WHERE container_format = 'docker'", "never")
    assert faults and all(state == "error" and "a simulated failure" in fault for state, fault in faults), faults
    for state, hops in paths(sim, "never"):
        assert state == "degraded" and [hop["in_path"] for hop in hops] == [i % 2 == 1 for i in range(len(hops))], hops


@pytest.mark.timeout(300)
def test_certificates_are_renewed(sim):
    """The second run begins with what the first has left."""
    issuers = set()
    for _ in range(2):
        report, _ = sim("renewal", "--chains", "0", "--state-dir", str(sim.folder / "renewed"), nodes=40)
        assert steady(report) and report["renewed_s"] > 0 and report["renewed"] == 40, report
        issuers |= (now := set(rows(sim, "SELECT cert_ca FROM node", "renewed")))
        assert len(now) == 1, "the old CA has gone"
    assert len(issuers) == 2


@pytest.mark.timeout(300)
def test_hub_restart_on_a_full_disk(sim):
    scratch = f"/dev/shm/{sim.folder.name}-{os.getpid()}"
    report, _ = sim("hub-restart-full-disk", "--churn", "40", "--state-dir", str(sim.folder / "all"), "--scratch", scratch, nodes=60)
    assert not os.path.exists(scratch), "left behind"
    assert steady(report) and report["steady_s"] > 0 and 0 < report["space_back_s"] < 30, report
    assert report["refused_no_space"] > report["refused_after_start"] > 0, "by both hubs"
    assert report["reports_waiting"] > 0 and report["reports_unstored"] == 0, "nodes' words are stored in the end"
    assert report["points"][-1]["steady"] == 60
    log = (sim.folder / "all/hub.log").read_text()
    assert "session_closed" not in log, "nodes are not sent away because their reports cannot be stored"
    with open("/proc/self/mounts", encoding="ascii") as mounts:
        assert "demarc-sim" not in mounts.read(), "seen by the run only"


@pytest.mark.timeout(300)
def test_interrupted(sim, build):
    command = [os.path.join(build, "src/sim/demarc-sim"), "steady", "--nodes", "50", "--state-dir", str(sim.folder / "state"),
               "--hub-binary", os.path.join(build, "src/hub/demarc-hub"), "--seconds", "3600", "--json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "50 of 50 steady" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert report["interrupted"] and report["not_steady"] == 0, report


def children(pid):
    """Of a process, and theirs: those of its group and of its hub's."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as f:
            child, rest = f.read().split(" ", 1)
            if int(rest.rsplit(")", 1)[1].split()[1]) == pid:
                found += [int(child), *children(int(child))]
    return found


def gone(pids):
    return all(not os.path.exists(f"/proc/{pid}") for pid in pids)


@pytest.fixture(name="started")
def fixture_started(build, tmp_path):
    """A simulator that a test ends; nothing of it may be left."""
    running = []

    def start(*args, scenario="steady", nodes=40, state="state"):
        command = [os.path.join(build, "src/sim/demarc-sim"), scenario, "--nodes", str(nodes), "--state-dir", str(tmp_path / state),
                   "--hub-binary", os.path.join(build, "src/hub/demarc-hub"), "--seconds", "3600", *args]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.scratch = f"/dev/shm/demarc-sim-{process.pid}"
        running.append(process)
        return process

    start.state = tmp_path / "state"
    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def a_line(process, words):
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"never said: {words}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", ["hub", "setup", "bare"])
def test_interrupted_at_every_phase(started, tmp_path, phase, sig):
    """While the hub starts, while the nodes are made, while bare handshakes are."""
    process = started("--chains", "0", scenario="storm", nodes=500) if phase == "bare" else started(nodes=5000)
    if phase == "hub":
        wait_for(lambda: os.path.exists(process.scratch), "the scratch folder is there", 20)
    elif phase == "setup":
        a_line(process, "setup: ")
    else:
        wait_for(lambda: os.path.exists(process.scratch + "/bare-node.key") and len(children(process.pid)) > 4, "bare handshakes", 120)
    of_it = children(process.pid)
    process.send_signal(sig)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted" in err, (process.returncode, err)
    assert not os.path.exists(process.scratch), "left behind"
    wait_for(lambda: gone(of_it), "its processes have ended", 10)
    if phase == "setup":  # what was made is used: whole lines
        lines = "".join(path.read_text() for path in tmp_path.glob("state/fleet.*")).splitlines()
        assert lines and all(json.loads(line)["cert"] for line in lines)
        again = started("--json", "-", "--seconds", "1", "--chains", "0", nodes=len(lines))
        out, err = again.communicate(timeout=120)
        assert again.returncode == 0 and json.loads(out)["not_steady"] == 0, err


@pytest.mark.timeout(300)
def test_a_killed_run_is_swept_by_the_next(started):
    first = started("--chains", "0")
    a_line(first, "40 of 40 steady")
    of_it = children(first.pid)
    other = started("--chains", "0", state="other")
    a_line(other, "40 of 40 steady")
    first.kill()
    first.communicate()
    wait_for(lambda: gone(of_it), "its processes go with it", 10)
    assert os.path.isdir(first.scratch), "nobody could remove it"
    third = started("--chains", "0", state="third")
    wait_for(lambda: os.path.isdir(third.scratch), "the next run is there", 20)
    assert not os.path.exists(first.scratch) and os.path.isdir(other.scratch), "of those that live, nothing is taken"
    taken = started("--chains", "0", "--scratch", other.scratch, state="fourth")
    _, err = taken.communicate(timeout=60)
    assert taken.returncode == 1 and "in use" in err and os.path.isdir(other.scratch), err
    for process in (third, other):
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert not os.path.exists(process.scratch)


@pytest.mark.timeout(300)
def test_a_ramp_waits_for_a_hub_that_is_slow(started):
    """Where everything shares a processor, nodes that all dial at once would all be too late."""
    workers, rate = os.cpu_count() or 1, 500
    nodes, most = 150 * min(workers, 4) + 400, 150 * workers
    process = started("--chains", "0", "--rate", str(rate), "--json", "-", scenario="ramp", nodes=nodes)
    a_line(process, f" of {nodes} steady")
    hub = next(pid for pid in children(process.pid) if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "demarc-hub")

    def dialled():
        with open(f"/proc/{hub}/net/tcp", encoding="ascii") as f:
            return sum(words[2].endswith(port) and words[3] in ("01", "02") for words in map(str.split, f))

    port = f":{int((started.state / 'hub' / 'port').read_text()):04X}"
    os.kill(hub, signal.SIGSTOP)
    try:
        before, seen, until = dialled(), 0, time.monotonic() + nodes / rate + 2
        while time.monotonic() < until:
            seen = max(seen, dialled())
            assert seen <= before + most + 50, "more at a time than can be served"
        assert seen > before, "and yet they go on"
    finally:
        os.kill(hub, signal.SIGCONT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and json.loads(out)["not_steady"] == 0, err


@pytest.mark.timeout(300)
def test_more_nodes_than_one_table_holds(sim):
    """RLIMIT_NOFILE is 600 for the hub and for each process of nodes: half of it are connections, in each of the hub's fronts."""
    limit, nodes = 600, 900
    sim.prefix = ["prlimit", f"--nofile={limit}:{limit}"]
    try:
        report, _ = sim("storm", "--rate", "500", "--chains", "2", nodes=nodes)
    finally:
        sim.prefix = []
    assert nodes > limit and max(p["steady"] for p in report["points"]) == nodes
    assert (report["lost"], report["not_steady"], report["refused"], report["show_failed"]) == (0, 0, 0, 0), report


def test_wrong_arguments(build):
    program = os.path.join(build, "src/sim/demarc-sim")
    for args, words in (([], "Scenarios:"), (["tempest"], "Scenarios:"), (["storm"], "name a hub"),
                        (["storm", "--nodes", "many"], "--nodes takes a number"), (["storm", "--nods", "1"], "no option '--nods'"),
                        (["storm", "--nodes"], "--nodes needs N"), (["hub-kill", "--hub-port", "1", "--ca", "/nowhere"], "of its own")):
        done = subprocess.run([program, *args], capture_output=True, text=True, timeout=10, check=False)
        assert done.returncode in (1, 2) and words in done.stderr, (args, done)


def test_help_manual_and_completion(build):
    program = os.path.join(build, "src/sim/demarc-sim")

    def said(*args):
        return subprocess.run([program, *args], capture_output=True, text=True, timeout=10, check=True).stdout

    text, manual, completion = said("--help"), said("manual").replace("\\-", "-"), said("completion")
    scenarios = re.findall(r"^  ([a-z]\S+) ", text, re.M)
    options = re.findall(r"^  --(\S+) ", text, re.M)
    assert {"storm", "hub-kill"} <= set(scenarios) and {"nodes", "json"} <= set(options)
    for name in scenarios:
        assert f".It Cm {name}\n" in manual, name
    for name in options:
        assert f".It Fl Fl {name}" in manual, name

    def completed(*words):
        line = "\n".join([completion, f"COMP_WORDS=({' '.join(words)})", f"COMP_CWORD={len(words) - 1}", "_demarc_sim",
                          'printf "%s\\n" "${COMPREPLY[@]}"'])
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=10, check=True).stdout.split()

    assert set(completed("demarc-sim", "''")) == {*scenarios, "completion", "--help", "--version"}
    assert set(completed("demarc-sim", "storm", "--")) == {f"--{name}" for name in options}
    assert program in completed("demarc-sim", "storm", "--hub-binary", program[:-2])
    assert completed("demarc-sim", "storm", "--nodes", "''") == []
