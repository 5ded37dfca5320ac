# SPDX-License-Identifier: Apache-2.0
"""What tunnels send, as other people's dissectors read it. tests/bpf/encap_test.c writes what the tc program makes, xdptunnel_test.c what XDP does."""

import os
import pathlib
import shutil
import subprocess

import pytest
from scapy.all import GRE, IP, UDP, Ether, IPv6, load_contrib, rdpcap
from scapy.contrib.geneve import GENEVE
from scapy.layers.vxlan import VXLAN

load_contrib("mpls")
from scapy.contrib.mpls import MPLS  # noqa: E402  after load_contrib()

BUILD = pathlib.Path(os.environ["DEMARC_BUILD"])
TYPES = ["vxlan", "vxlan_gpe", "gre", "nvgre", "geneve", "mpls_udp", "mpls_gre", "mpls"]
ID = 4242


@pytest.fixture(scope="module", params=["encap", "xdptunnel"], ids=["tc", "xdp"])
def pcap(request, tmp_path_factory):
    file = tmp_path_factory.mktemp(request.param) / "frames.pcap"
    run = subprocess.run([BUILD / f"tests/bpf/test-bpf-{request.param}", file], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return file


def kinds():
    """The order in which test_types() of both writes them."""
    return [(kind, outer, inner) for kind in TYPES for outer in (4, 6) for inner in (4, 6)]


def tshark(file, *fields):
    args = ["tshark", "-r", str(file), "-d", f"mpls.label=={ID},pwethnocw", "-o", "ip.check_checksum:TRUE", "-T", "fields"]
    for name in ("frame.protocols", "_ws.malformed", "ip.checksum.status", *fields):
        args += ["-e", name]
    out = subprocess.run(args, capture_output=True, text=True, timeout=60, check=True).stdout
    return [line.split("\t") for line in out.splitlines()]


@pytest.mark.timeout(120)
def test_tshark(pcap):
    # COVERS(V4 | V6, TC | XDP, F_DISSECTED)
    assert shutil.which("tshark"), "tshark is in packaging/packages.txt, group test"
    want = {"vxlan": "udp:vxlan:eth", "vxlan_gpe": "udp:nsh:eth", "gre": "gre:eth", "nvgre": "gre:eth", "geneve": "udp:geneve:eth",
            "mpls_udp": "udp:mpls:eth", "mpls_gre": "gre:mpls:eth", "mpls": "mpls:eth"}
    rows = tshark(pcap, "vxlan.vni", "geneve.vni", "gre.key", "mpls.label", "nsh.spi", "nsh.si", "nsh.contextheader", "nsh.metadataclass", "nsh.metadatatype", "nsh.metadatalen", "nsh.metadata")
    assert len(rows) == len(kinds()) + 2
    for (kind, outer, inner), row in zip(kinds(), rows):
        protocols, malformed, checksums, vni, geneve, key, labels, spi, index, context = row[:10]
        ip = {4: "ip", 6: "ipv6"}
        around = "" if kind == "mpls" else f"{ip[outer]}:"
        assert protocols.startswith(f"eth:ethertype:{around}{want[kind]}"), (kind, protocols)
        assert protocols.endswith(f"{ip[inner]}:udp:data"), (kind, protocols)
        assert not malformed
        assert "0" not in checksums.split(","), f"{kind}: bad IPv4 checksum"
        if kind == "vxlan":
            assert vni == str(ID)
        if kind == "geneve":
            assert int(geneve, 0) == ID
        if kind == "gre":
            assert int(key, 0) == ID
        if kind == "nvgre":
            assert int(key, 0) == ID << 8
        if kind.startswith("mpls"):
            assert labels == f"1000,{ID}"
        if kind == "vxlan_gpe":
            assert (int(spi, 0), int(index, 0), context.replace(",", "")) == (77, 254, "ab" * 16)
    for outer, row in zip(("ip", "ipv6"), rows[-2:]):  # metadata of type 2
        assert row[0].startswith(f"eth:ethertype:{outer}:udp:nsh:eth") and row[0].endswith(f"{outer}:udp:data") and not row[1]
        assert (int(row[7], 0), int(row[8], 0)) == (77, 254)
        assert [int(v, 0) for v in row[10:13]] == [0xFFF6, 7, 5] and row[13].replace(":", "").startswith("0102030405")


@pytest.mark.timeout(120)
def test_scapy(pcap):
    # COVERS(V4 | V6, TC | XDP, F_DISSECTED)
    for (kind, outer, inner), frame in zip(kinds(), rdpcap(str(pcap))):
        ip = frame[Ether] if kind == "mpls" else frame[IP] if outer == 4 else frame[IPv6]
        if kind in ("vxlan", "geneve"):
            head = frame[VXLAN if kind == "vxlan" else GENEVE]
            assert head.vni == ID
            payload = head.payload
        elif kind in ("gre", "nvgre"):
            assert frame[GRE].proto == 0x6558 and frame[GRE].key_present
            payload = Ether(bytes(frame[GRE].payload))
        elif kind.startswith("mpls"):
            raw = bytes(ip.payload)[{"mpls_udp": 8, "mpls_gre": 4, "mpls": 0}[kind]:]
            top, bottom = MPLS(raw[:4]), MPLS(raw[4:8])
            assert (top.label, top.s, bottom.label, bottom.s) == (1000, 0, ID, 1)
            payload = Ether(raw[8:])
        else:
            raw = bytes(frame[UDP].payload)
            assert raw[3] == 4 and raw[8 + 3] == 3  # GPE: NSH; NSH: Ethernet
            payload = Ether(raw[8 + 24:])
        assert payload.haslayer(IP if inner == 4 else IPv6), kind
        if outer == 4 and kind != "mpls":
            built = IP(bytes(ip))
            sent, built.chksum = built.chksum, None
            assert IP(bytes(built)).chksum == sent, f"{kind}: checksum"
