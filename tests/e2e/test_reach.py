# SPDX-License-Identifier: Apache-2.0
"""The way to the hub changes while traffic goes through a site: the node's address, a NAT's mapping and address, an HTTP CONNECT proxy. The session
comes back each time, no packet of the site is lost, and nothing listens in the node's namespace. On the same site: a shell in a function, and its log."""

import contextlib
import os
import re
import signal
import subprocess

import pytest
from conftest import wait_for
from node_lab import sh
from real_site import HUB_ADDR, NOVA, V1, V2, WAN_HOST, real_site
from test_channel import Proxy
from test_reboot import build_chain, pings

NAT_INSIDE, NODE_INSIDE = "10.77.0.1", "10.77.0.2"


@pytest.fixture(scope="module", name="site")
def fixture_site(build, tmp_path_factory):
    with real_site(build, tmp_path_factory.mktemp("reach")) as s:
        s.hub.allow_log("session_silent", "session_closed")
        s.servers = build_chain(s)
        wait_for(lambda: pings(s), "a ping through both functions", 60)
        yield s


@contextlib.contextmanager
def nothing_lost(site):
    """A ping each 50 ms through both functions, all of them answered."""
    ping = subprocess.Popen(["nsenter", f"--net=/run/netns/{site.ns['lan']}", "--", "busybox", "ping", "-i", "0.05", WAN_HOST],
                            stdout=subprocess.PIPE, text=True)
    try:
        yield
        ping.send_signal(signal.SIGINT)
        text = ping.communicate(timeout=30)[0]
        sent, got = map(int, re.search(r"(\d+) packets transmitted, (\d+) packets received", text).groups())
        assert got >= sent - 1 and sent > 5, text  # the last one may be on its way
        answered = {int(n) for n in re.findall(r"seq=(\d+)", text)}
        assert answered >= set(range(max(answered))), text
    finally:
        if ping.poll() is None:
            ping.kill()
            ping.wait()


def back_from(site, address, what):
    wait_for(lambda: site.node_row()["state"] == "up" and (site.node_row()["address"] or "").split(":")[0] == address, what, 60)
    # The session is whole: a question is answered. The row has the new address a moment before the session of before ends, with what it was asked.
    wait_for(lambda: site.hub.get(f"{V1}/nodes/{site.node.id}/status").ok, "an answer")
    assert site.node.listens() == []


def test_nothing_listens(site):
    assert site.node.listens() == []
    for server in site.servers.values():
        inside = site.in_ns("site", "nsenter", f"--net={site.node.run}/netns/{server}", "--", "ss", "-Hltnu")
        assert all("169.254.169.254" in line for line in inside.splitlines()), inside


def test_the_node_gets_another_address(site):
    with nothing_lost(site):
        sh("ip", "-n", site.ns["site"], "addr", "del", "198.51.100.20/24", "dev", "mgmt0")
        sh("ip", "-n", site.ns["site"], "addr", "add", "198.51.100.33/24", "dev", "mgmt0")
        back_from(site, "198.51.100.33", "the session from the new address")


def test_a_proxy(site):
    with contextlib.closing(Proxy(site.hub.port, host=HUB_ADDR)) as proxy:
        site.node.nics += ["--proxy", proxy.address]
        with nothing_lost(site):
            site.node.kill(signal.SIGTERM)
            site.node.start()
            wait_for(lambda: proxy.asked, "the proxy is asked")
            back_from(site, "127.0.0.1", "the session through the proxy")
        assert proxy.asked[0] == f"CONNECT {HUB_ADDR}:{site.hub.port} HTTP/1.1"
    del site.node.nics[-2:]
    with nothing_lost(site):
        site.node.kill(signal.SIGTERM)
        site.node.start()
        back_from(site, "198.51.100.33", "the session without a proxy")


def test_a_project_learns_of_its_function(site):
    """What the agent says of a function that ended reaches who owns it, and no other project."""
    member = site.hub.new_user("member")
    image = site.image("short", ["/bin/sh", "-c", "exit 7"])
    net = member.post(f"{V2}/networks", {"network": {"name": "mine"}}, 201).json()["network"]["id"]
    member.post(f"{V2}/subnets", {"subnet": {"network_id": net, "cidr": "10.9.0.0/24", "ip_version": 4}}, 201)
    body = {"name": "short", "imageRef": image, "flavorRef": "nf.tiny", "networks": [{"uuid": net}], "availability_zone": "branch"}
    server = member.post(f"{NOVA}/servers", {"server": body}, 202).json()["server"]["id"]

    def told():
        return [e for e in member.get(f"{V1}/events", 200).json()["events"] if e["kind"] == "function_died"]

    event = wait_for(told, "the event", 60)[-1]
    assert event["resource"] == f"server/{server}" and "status 7" in event["text"], event
    assert site.hub.new_user("member").get(f"{V1}/events", 200).json()["events"] == []
    member.delete(f"{NOVA}/servers/{server}", 204)
    wait_for(lambda: member.get(f"{NOVA}/servers/{server}").status_code == 404, "the function to go", 60)


@pytest.fixture(name="nat")
def fixture_nat(site):
    """mgmt0 goes behind a NAT."""
    ns = site.ns["nat"] = site.ns["hub"].replace("-hub", "-nat")
    sh("ip", "netns", "add", ns)
    sh("nsenter", f"--net=/run/netns/{ns}", "--", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.disable_ipv6=1")
    site.in_ns("nat", "nft", "add table ip n; add chain ip n p { type nat hook postrouting priority 100; }; add rule ip n p oifname out masquerade")
    sh("ip", "-n", site.ns["site"], "link", "del", "mgmt0")
    site.wire("site", "mgmt0", "nat", "in")
    site.wire("nat", "out", "hub", "eth0")
    site.address("site", "mgmt0", f"{NODE_INSIDE}/24")
    site.address("nat", "in", f"{NAT_INSIDE}/24")
    site.address("nat", "out", "198.51.100.40/24")
    site.address("hub", "eth0", f"{HUB_ADDR}/24")
    sh("ip", "-n", site.ns["site"], "route", "add", "default", "via", NAT_INSIDE)
    return ns


def test_nat_rebinding(site, nat):
    back_from(site, "198.51.100.40", "the session through the NAT")
    with nothing_lost(site):
        # The line of the NAT goes down: its mappings are forgotten, and it comes back with another address.
        sh("ip", "-n", nat, "link", "set", "out", "down")
        sh("ip", "-n", nat, "addr", "del", "198.51.100.40/24", "dev", "out")
        site.address("nat", "out", "198.51.100.41/24")
        sh("ip", "-n", nat, "link", "set", "out", "up")
        back_from(site, "198.51.100.41", "the session through the NAT's new address")


def test_who_may_have_a_shell_or_a_log(site):
    site.hub.login()
    own = {"id": site.hub.project_id, "name": site.hub.project}
    member, reader, stranger = site.hub.new_user("member", own), site.hub.new_user("reader", own), site.hub.new_user("member")
    path = f"{V1}/servers/{site.servers['router']}"
    assert member.post(path + "/shell", {}).status_code == 403
    assert reader.post(path + "/log", {}).status_code == 403
    assert stranger.post(path + "/log", {}).status_code == 404
    assert stranger.post(path + "/shell", {}).status_code == 403
    stream = member.post(path + "/log", {}, 201).json()["stream"]["id"]
    member.delete(f"{V1}/streams/{stream}", 204)


def test_shell_and_log_of_a_function(site, build):
    env = {**os.environ, "OS_CLIENT_CONFIG_FILE": site.hub.clouds_yaml, "OS_CLOUD": "demarc"}
    cli = os.path.join(build, "src/cli/demarc")
    done = subprocess.run([cli, "shell", "router", "--", "/bin/sh", "-c", "echo inside-$((3*7)); ip -4 addr show eth0; exit 3"], env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert "inside-21" in done.stdout and "192.168.10.1" in done.stdout, done
    assert done.returncode != 0 and "status 3" in done.stderr, done
    assert subprocess.run([cli, "shell", "router", "false"], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False).returncode != 0
    follow = subprocess.Popen([cli, "logs", "-f", "inner"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        site.node.inside(site.servers["inner"], "/bin/sh", "-c", "echo a line of the log > /proc/1/fd/1")
        assert "a line of the log" in follow.stdout.readline()
        site.node.inside(site.servers["inner"], "/bin/sh", "-c", "echo and another > /proc/1/fd/1")
        assert "and another" in follow.stdout.readline()
    finally:
        follow.send_signal(signal.SIGINT)
        follow.wait(30)
        follow.stdout.close()
    done = subprocess.run([cli, "logs", "inner"], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.endswith("and another\n"), done
