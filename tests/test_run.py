# SPDX-License-Identifier: Apache-2.0
"""The test runner itself: a run that should fail must fail, and the counts must be true."""

import importlib.machinery
import importlib.util
import os
import pathlib
import subprocess
import uuid

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(name="runner")
def load_runner():
    loader = importlib.machinery.SourceFileLoader("tests_run", os.path.join(HERE, "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tests_run", loader))
    loader.exec_module(module)
    return module


def program(stdout, result="OK", status=0, stderr=""):
    return {"name": "prog", "stdout": stdout, "stderr": stderr, "result": result, "returncode": status}


def count(runner, **kwargs):
    tally = runner.Tally()
    runner.count_program(tally, program(**kwargs))
    return tally


def test_functions_are_counted_not_programs(runner):
    tally = count(runner, stdout="1..3\nok 1 - a\nok 2 - b\nnot ok 3 - c\n# 1 != 2\n", result="FAIL", status=1)
    assert tally.line() == "2 passed, 1 failed, 0 skipped"
    assert tally.failed == ["prog: c"]


def test_a_program_that_crashes_after_its_last_ok_has_failed(runner):
    tally = count(runner, stdout="1..1\nok 1 - a\n", result="ERROR", status=-6)
    assert tally.line() == "1 passed, 1 failed, 0 skipped"


def test_a_program_without_tap_is_one_test(runner):
    assert count(runner, stdout="").line() == "1 passed, 0 failed, 0 skipped"
    assert count(runner, stdout="", result="TIMEOUT").line() == "0 passed, 1 failed, 0 skipped"


def test_skips_need_a_reason_that_is_listed(runner):
    tally = count(runner, stdout="1..2\nnot ok 1 # SKIP no such kernel\nok 2 - b\n")
    assert tally.line() == "1 passed, 0 failed, 1 skipped"
    runner.check_skips(tally)
    assert len(tally.problems) == 1
    assert "no such kernel" in tally.problems[0]


@pytest.mark.parametrize("text", [
    "==1==ERROR: AddressSanitizer: heap-use-after-free on address",
    "==1==ERROR: LeakSanitizer: detected memory leaks",
    "../src/x.c:3:4: runtime error: signed integer overflow",
], ids=["address", "leak", "undefined"])
def test_sanitizer_reports_are_problems(runner, text, tmp_path):
    assert count(runner, stdout="1..1\nok 1 - a\n", stderr=f"x\n{text}\ny").problems
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "hub.log").write_text("fine\n")
    tally = runner.Tally()
    runner.check_logs(tally, str(tmp_path))
    assert not tally.problems
    # Joined here, so that this file's own output is not taken for a report.
    (tmp_path / "deep" / "hub.log").write_text(f"fine\n{text}\n")
    runner.check_logs(tally, str(tmp_path))
    (tmp_path / "deep" / "hub.log").unlink()
    assert len(tally.problems) == 1


def test_pytest_reports_are_counted(runner, tmp_path):
    path = tmp_path / "junit.xml"
    path.write_text('<testsuites><testsuite><testcase classname="m" name="a"/><testcase classname="m" name="b">'
                    '<failure message="x"/></testcase><testcase classname="m" name="c"><error message="x"/></testcase>'
                    '<testcase classname="m" name="d"><skipped message="why"/></testcase></testsuite></testsuites>')
    tally = runner.Tally()
    runner.count_junit(tally, str(path))
    assert tally.line() == "1 passed, 2 failed, 1 skipped"
    assert tally.skipped == ["m::d: why"]
    runner.count_junit(tally, str(tmp_path / "none.xml"))
    assert tally.problems


def test_nothing_passed_is_a_failure(runner):
    assert runner.report(runner.Tally()) == 1
    assert runner.report(count(runner, stdout="1..1\nok 1 - a\n")) == 0


def test_leftovers_are_seen(runner, monkeypatch):
    monkeypatch.setattr(runner.leftovers, "GRACE_S", 0)
    name = f"left{uuid.uuid4().hex[:8]}"
    before = runner.leftovers.snapshot()
    folder = f"/sys/fs/bpf/demarc-{name}"
    os.mkdir(folder)
    try:
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"], check=True)
        left = runner.leftovers.since(before)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "link", "del", name], check=False)
        os.rmdir(folder)
    assert {f"network namespace {name}", f"link {name}", f"pin {folder}", f"mount /run/netns/{name}"} <= set(left)
    assert not any(name in thing for thing in runner.leftovers.since(before))


def test_a_process_left_behind_is_seen(runner, monkeypatch):
    monkeypatch.setattr(runner.leftovers, "GRACE_S", 0)
    monkeypatch.setenv(runner.leftovers.MARK, uuid.uuid4().hex)
    before = runner.leftovers.snapshot()
    # Popen() returns when exec has begun; the environment is there a moment later.
    with subprocess.Popen(["/bin/sh", "-c", "echo started; exec sleep 60"], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        while pathlib.Path(f"/proc/{child.pid}/comm").read_text() != "sleep\n" or \
                not pathlib.Path(f"/proc/{child.pid}/environ").read_bytes():
            pass
        left = runner.leftovers.since(before)
        child.kill()
    assert f"process {child.pid} (sleep)" in left
    assert f"process {child.pid} (sleep)" not in runner.leftovers.since(before)
