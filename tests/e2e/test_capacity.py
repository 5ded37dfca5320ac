# SPDX-License-Identifier: Apache-2.0
"""demarc capacity: a ladder of a few nodes, and simulators that are missing, hostile or do not end."""

import glob
import json
import os
import re
import resource
import signal
import subprocess

import pytest
from conftest import wait_for

# What a loaded machine or a sanitizer makes of the figures is not what is tested here.
LOOSE = ["--api-ms", "60000", "--changes-percent", "1", "--cpu-percent", "100", "--recover-seconds", "100"]
FIGURES = {"steady_s": 0.5, "bare_handshakes_s": 0.4, "bare_ratio": 1.25, "hub_cpu_s": 0.2, "sim_cpu_s": 0.1, "show_p99_ms": 3.0,
           "show_failed": 0, "changes": 10, "changes_failed": 0, "lost": 0, "not_steady": 0, "refused": 0, "returns": 10, "resumed": 9, "interrupted": False,
           "points": [{"t_s": 1.0, "steady": 10, "hub_mb": 30.0}]}


class Lab:
    def __init__(self, build, folder):
        self.build, self.folder, self.state = build, folder, folder / "state"
        # A cloud that is in use: no request of the simulator may go there.
        self.env = {**os.environ, "OS_AUTH_URL": "https://127.0.0.1:1/v3", "OS_CLOUD": "in-use", "OS_USERNAME": "nobody"}

    def command(self, *args):
        return [os.path.join(self.build, "src/cli/demarc"), "capacity", "--state-dir", str(self.state), *args]

    def run(self, *args, **more):
        return subprocess.run(self.command(*args), capture_output=True, text=True, timeout=240, check=False, env=self.env, **more)

    def stub(self, text):
        """A simulator that does what `text`, shell commands, says; $1 is the scenario, $3 the number of nodes."""
        path = self.folder / "sim"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return ["--sim", str(path)]

    def reports(self, **changed):
        """A stub that answers with these figures."""
        text = json.dumps({**FIGURES, **changed})
        return self.stub(f"""printf '{{"scenario": "%s", "nodes": %d, ' "$1" "$3"\necho '{text[1:]}'\n""")

    def left(self):
        """Processes that have something to do with the state directory, and files outside it."""
        found = glob.glob(f"/dev/shm/demarc-capacity-{self.pid}") if hasattr(self, "pid") else []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as f:
                    if str(self.folder).encode() in f.read():
                        found.append(path)
            except OSError:
                pass
        return found


@pytest.fixture(name="lab")
def fixture_lab(build, tmp_path):
    lab = Lab(build, tmp_path)
    yield lab
    assert not lab.left(), "something is left"


@pytest.mark.timeout(300)
def test_quick(lab):
    done = lab.run("--quick", "--json", "--churn", "5", *LOOSE)
    assert done.returncode == 0, done.stdout + done.stderr
    j = json.loads(done.stdout)
    assert [r["nodes"] for r in j["rungs"]] == [50, 100] and (j["nodes"], j["complete"]) == (100, True), j
    assert all(r["verdict"] == "ok" and r["storm_s"] > 0 and r["hub_mb"] > 1 and r["api_p99_ms"] > 0 for r in j["rungs"]), j
    assert {limit["by"] for limit in j["limits"]} >= {"memory", "CPU at steady", "file descriptors", "the time of a storm"}, j
    assert all(r["resumed_percent"] > 90 for r in j["rungs"]), "nodes that have been there come back by their tickets"
    assert "carries at least 100 nodes at 5 changes a second" in j["conclusion"], j
    assert not lab.state.exists(), "the state directory goes"


@pytest.mark.timeout(300)
def test_nodes_are_kept_and_a_rung_fails(lab):
    done = lab.run("--rungs", "10,20,30", "--seconds", "1", "--churn", "0", "--hub-kill", "--keep", *LOOSE, "--memory-percent", "0")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^10 .* memory ", done.stdout, re.M) and not re.search(r"^20 ", done.stdout, re.M), done.stdout
    assert "does not carry 10 nodes at 0 changes a second; the limit is memory: " in done.stdout, done.stdout
    assert re.findall(r"^  ok +10 nodes: (\S+) ", done.stderr, re.M) == ["steady", "storm", "hub-kill"], done.stderr
    assert f"kept: --state-dir {lab.state}" in done.stderr
    made = (lab.state / "fleet.0").read_bytes()
    done = lab.run("--rungs", "10", "--seconds", "1", "--churn", "0", "--no-tickets", "--json", *LOOSE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["rungs"][0]["resumed_percent"] == 0, done.stdout
    assert (lab.state / "fleet.0").read_bytes() == made, "what was kept is used, and is not this run's to take away"


@pytest.mark.timeout(300)
def test_interrupted(lab):
    with subprocess.Popen(lab.command("--rungs", "10", "--seconds", "3600", "--churn", "1"), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=lab.env) as process:
        lab.pid = process.pid
        wait_for((lab.state / "hub" / "port").exists, "the hub is there", 60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 5 and "interrupted" in err and out == "", (process.returncode, out, err)
    assert not lab.state.exists()


@pytest.mark.timeout(60)
def test_a_simulator_that_does_not_end(lab):
    """And has a child that does not, either."""
    stub = lab.stub("trap '' TERM INT\n(trap '' TERM INT; while :; do sleep 0.2; done) &\ntouch \"$0.up\"\nwhile :; do sleep 0.2; done\n")
    with subprocess.Popen(lab.command("--quick", *stub), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=lab.env) as process:
        lab.pid = process.pid
        wait_for((lab.folder / "sim.up").exists, "the simulator runs")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=40)
    assert process.returncode == 5 and "interrupted" in err, err
    assert not lab.state.exists()


@pytest.mark.parametrize("stub, says", [
    ("echo no room for nodes >&2; exit 1", "demarc-sim steady with 50 nodes: no room for nodes"),
    ("exit 0", "it said nothing"),
    ("kill -9 $$", "it said nothing"),
    ("echo '{'", "the simulator's report: line"),
    ("echo '{\"scenario\": \"steady\"}'", "'nodes' is missing"),
    ("echo '{\"scenario\": \"storm\", \"nodes\": 50}'", "not of steady with 50 nodes"),
    ("head -c 17000000 /dev/zero", "more than 16777216 bytes"),
    ("printf '\\033[2J\\007bad\\n' >&2", "[2Jbad"),
])
def test_hostile_simulators(lab, stub, says):
    done = lab.run("--quick", *lab.stub(stub))
    assert done.returncode in (1, 2) and says in done.stderr and "\033" not in done.stderr, done
    assert not lab.state.exists() and done.stdout == "", done


def test_what_was_measured_is_told(lab):
    """A rung that could not be measured is no verdict about the hub."""
    stub = lab.reports()
    path = lab.folder / "sim"
    path.write_text(path.read_text().replace("#!/bin/sh\n", '#!/bin/sh\n[ "$3" -lt 20 ] || { echo "no ports" >&2; exit 1; }\n'))
    done = lab.run("--rungs", "10,20,30", "--seconds", "1", *stub)
    assert done.returncode == 1 and "with 20 nodes: no ports" in done.stderr, done
    assert "carries at least 10 nodes" in done.stdout and "not climbed to its end" in done.stdout, done.stdout


def test_the_verdict_names_what_fails(lab):
    for changed, verdict in (({"lost": 1}, "changes lost or nodes not steady"), ({"show_p99_ms": 101}, "the API's p99"), ({"changes": 8}, "the rate of changes"),
                             ({"steady_s": -1, "bare_ratio": -2}, "the time of a storm"), ({"show_failed": 1}, "API requests that failed"),
                             ({"hub_cpu_s": 1e6}, "CPU at steady"), ({"show_p99_ms": None}, "the API's p99"), ({}, "ok")):
        done = lab.run("--rungs", "10", "--seconds", "1", "--json", *lab.reports(**changed))
        assert json.loads(done.stdout)["rungs"][0]["verdict"] == verdict, (changed, done.stdout, done.stderr)
        assert done.returncode == (0 if verdict == "ok" else 1), done


def test_descriptors_are_known_before(lab):
    """Nothing is run for a rung that the hub has no descriptors for."""
    done = lab.run("--rungs", "10,8000", "--seconds", "1", *lab.reports(), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024)))
    assert done.returncode == 0, done
    assert "carries 10 nodes at 10 changes a second; the limit is file descriptors, met at 7281" in done.stdout, done.stdout
    assert "8000 nodes: " not in done.stderr, done.stderr


def test_wrong_arguments(lab):
    (lab.folder / "mine").mkdir()
    (lab.folder / "mine" / "file").write_text("precious")
    for args, code, words in ((["--rungs", "5,4"], 2, "rising numbers"), (["--max-nodes", "0"], 2, "at least 1"), (["--seconds", "0"], 2, "at least 1"),
                              (["--chains", "0"], 2, "--churn 0"), (["--sim", "/nowhere/demarc-sim"], 3, "/nowhere/demarc-sim is not a program"),
                              (["--hub-binary", str(lab.folder)], 3, "is not a program"),
                              (["--state-dir", str(lab.folder / "mine")], 1, "name one that does not exist"),
                              (["--state-dir", "/nowhere/at/all"], 3, "cannot make /nowhere/at/all")):
        done = lab.run("--quick", *args)
        assert done.returncode == code and words in done.stderr, (args, done)
    assert (lab.folder / "mine" / "file").read_text() == "precious"


def test_no_simulator(lab):
    """The command by itself, as from a package that lacks it."""
    alone = lab.folder / "bin" / "demarc"
    alone.parent.mkdir()
    alone.write_bytes(open(os.path.join(lab.build, "src/cli/demarc"), "rb").read())
    alone.chmod(0o755)
    done = subprocess.run([str(alone), "capacity", "--quick"], capture_output=True, text=True, timeout=20, check=False,
                          env={**lab.env, "PATH": "/nowhere"})
    assert done.returncode == 3 and "demarc-sim is not installed: it is in the package demarc" in done.stderr, done
