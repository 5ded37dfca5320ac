# SPDX-License-Identifier: Apache-2.0
"""Events of a long outage: demarc-node's own process against a real hub."""

import os
import signal
import struct
import uuid

import pytest
from conftest import wait_for
from test_certificates import agent, new_site, new_token, sql, up  # noqa: F401 (agent is a fixture)

KEPT = 2000  # EVENT_LOG_MAX


def field(number, data):
    """Of an Event, as protobuf packs it; below 128 bytes."""
    data = data.encode()
    return bytes([number << 3 | 2, len(data)]) + data


def record(number):
    event = b"".join((field(1, str(uuid.uuid4())), bytes([2 << 3, 1]), field(3, "outage"), field(4, "info"), field(5, "node"),
                      field(6, f"event {number}")))
    return struct.pack("<I", len(event)) + event


def stored(hub):
    """Texts in the order in which the hub has stored them."""
    return [text for (text,) in sql(hub, "SELECT text FROM event WHERE kind IN ('outage', 'events_lost') ORDER BY seq")]


@pytest.mark.parametrize("written", [KEPT, 3000])
def test_events_of_an_outage_come_once_and_in_order(hub, agent, written):  # noqa: F811
    """The node is killed as soon as the first of them have come, and says the rest when it is back."""
    a = agent()
    a.enrol(new_token(hub, new_site(hub))["token"])
    with open(a.file("events.log"), "wb") as f:
        f.write(b"".join(record(i) for i in range(written)))
    lost = written - (KEPT - 1)
    want = [f"event {i}" for i in range(written)] if written <= KEPT else \
        [f"{lost} older events were lost: more than {KEPT} waited for the hub"] + [f"event {i}" for i in range(lost, written)]
    for _ in range(3):
        before = len(stored(hub))
        a.start()
        wait_for(lambda n=before: len(stored(hub)) > n or len(stored(hub)) == len(want), "some events come")
        a.process.send_signal(signal.SIGKILL)
        a.process.wait(30)
    up(hub, a.start())
    wait_for(lambda: len(stored(hub)) >= len(want), "all events come")
    wait_for(lambda: os.stat(a.file("events.log")).st_size == 0, "the node knows that they are stored")
    a.stop()
    up(hub, a.start())
    assert stored(hub) == want
