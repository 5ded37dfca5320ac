# SPDX-License-Identifier: Apache-2.0
"""Frames behind two VLAN tags, as other people's dissectors read them. tests/bpf/vlan_test.c writes the tc program's, xdp_test.c XDP's."""

import os
import pathlib
import subprocess

import pytest
from scapy.all import ARP, IP, UDP, Dot1AD, Dot1Q, Ether, IPv6, rdpcap

BUILD = pathlib.Path(os.environ["DEMARC_BUILD"])
PAIRS = {(100, 7), (200, 9)}


@pytest.fixture(scope="module", params=[("vlan",), ("xdp", "test_vlan")], ids=["tc", "xdp"])
def pcap(request, tmp_path_factory):
    program, *tests = request.param
    file = tmp_path_factory.mktemp("qinq") / f"{program}.pcap"
    run = subprocess.run([BUILD / f"tests/bpf/test-bpf-{program}", file, *tests], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return file


@pytest.mark.timeout(120)
def test_tshark(pcap):
    args = ["tshark", "-r", str(pcap), "-o", "ip.check_checksum:TRUE", "-T", "fields", "-e", "frame.protocols", "-e", "_ws.malformed",
            "-e", "ieee8021ad.id", "-e", "vlan.id", "-e", "eth.type"]
    out = subprocess.run(args, capture_output=True, text=True, timeout=60, check=True).stdout
    rows = [line.split("\t") for line in out.splitlines()]
    assert len(rows) > 5
    seen = set()
    for protocols, malformed, service, customer, ethertype in rows:
        assert not malformed
        assert ethertype == "0x88a8"
        assert protocols.startswith("eth:ethertype:ieee8021ad:"), protocols
        seen.add((int(service, 0), int(customer, 0)))
    assert seen == PAIRS


@pytest.mark.timeout(120)
def test_scapy(pcap):
    kinds = set()
    for frame in rdpcap(str(pcap)):
        assert frame[Ether].type == 0x88A8 and frame[Dot1AD].type == 0x8100
        assert (frame[Dot1AD].vlan, frame[Dot1Q].vlan) in PAIRS
        inside = frame[Dot1Q].payload
        kinds.add(type(inside))
        if isinstance(inside, IP):
            built = IP(bytes(inside))
            del built.chksum, built[UDP].chksum
            assert bytes(IP(bytes(built))) == bytes(inside)
    assert kinds >= ({IP, IPv6, ARP} if pcap.stem == "vlan" else {IP, IPv6})
