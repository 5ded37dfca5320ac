# SPDX-License-Identifier: Apache-2.0
"""The datapath's answers to what a rule rejects, as scapy reads them."""

import os
import pathlib
import subprocess

import pytest
from scapy.all import ICMP, IP, TCP, UDP, ICMPv6DestUnreach, IPerror, IPerror6, IPv6, rdpcap

BUILD = pathlib.Path(os.environ["DEMARC_BUILD"])


def sums(packet):
    """Checksums of a packet's own headers."""
    layers = [layer for layer in (IP, TCP, ICMP, ICMPv6DestUnreach) if layer in packet]
    return [packet[layer].cksum if layer is ICMPv6DestUnreach else packet[layer].chksum for layer in layers]


def rebuilt(packet):
    """The packet as scapy would have made it."""
    ip = IP if IP in packet else IPv6
    copy = packet[ip].copy()
    for layer in (IP, TCP, ICMP):
        if layer in copy:
            copy[layer].chksum = None
    if ICMPv6DestUnreach in copy:
        copy[ICMPv6DestUnreach].cksum = None
    return ip(bytes(copy))


@pytest.mark.timeout(120)
def test_scapy(tmp_path):
    file = tmp_path / "answers.pcap"
    run = subprocess.run([BUILD / "tests/bpf/test-bpf-reject", file], capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    resets = errors = 0
    for packet in rdpcap(str(file)):
        assert sums(packet) == sums(rebuilt(packet)), packet.show(dump=True)
        if TCP in packet:
            assert "R" in packet[TCP].flags and not packet[TCP].payload and not packet[TCP].options
            resets += 1
            continue
        v6 = IPv6 in packet
        inner = packet[IPerror6] if v6 else packet[IPerror]
        outer = packet[IPv6] if v6 else packet[IP]
        assert (inner.src, inner.dst) == (outer.dst, outer.src)
        error = packet[ICMPv6DestUnreach] if v6 else packet[ICMP]
        udp = (inner.nh if v6 else inner.proto) == 17
        assert (error.type, error.code) == ((1, 4 if udp else 1) if v6 else (3, 3 if udp else 13))
        assert not udp or UDP in packet or inner.payload
        errors += 1
    assert resets == 32 and errors == 33
