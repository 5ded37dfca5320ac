# SPDX-License-Identifier: Apache-2.0
"""A node that has to refuse what the hub says: it asks once for everything, then ever more rarely, tells people, and is in step by itself as soon as it
can be. Its connection stays, and so does all that it need not refuse."""

from conftest import wait_for
from test_certificates import V1, agent, enrolled, sql  # noqa: F401  (fixtures)

WRONG = ("port", "99999999-2222-4333-8444-555555555555")
BODY = b"".join(bytes([number << 3 | 2, len(text)]) + text.encode() for number, text in enumerate(WRONG, 1))  # an Object that is no port

NETWORK = b"\x52\x03\x0a\x01x"  # field 10: a Network of name "x"


def change(hub, node, *, deleted):
    """What a transaction of the hub would write; the hub finds it when it looks for nodes that are behind."""
    sql(hub, "UPDATE node SET intent_revision = intent_revision + 1 WHERE id = ?", node)
    sql(hub, "INSERT OR REPLACE INTO intent_object (node_id, kind, id, version, deleted, body) SELECT id, ?, ?, intent_revision, ?, ? FROM node "
        "WHERE id = ?", *WRONG, int(deleted), BODY, node)


def other(hub, node):
    """A change that nothing is wrong with."""
    name = ("network", "99999999-2222-4333-8444-666666666666")
    body = b"".join(bytes([number << 3 | 2, len(text)]) + text.encode() for number, text in enumerate(name, 1)) + NETWORK
    sql(hub, "UPDATE node SET intent_revision = intent_revision + 1 WHERE id = ?", node)
    sql(hub, "INSERT OR REPLACE INTO intent_object (node_id, kind, id, version, deleted, body) SELECT id, ?, ?, intent_revision, 0, ? FROM node "
        "WHERE id = ?", *name, body, node)


def events(hub, node, kind):
    return [e for e in hub.get(f"{V1}/events?node={node}", 200).json()["events"] if e["kind"] == kind]


def revisions(hub, node):
    return sql(hub, "SELECT intent_revision, acked_revision FROM node WHERE id = ?", node)[0]


def test_what_is_refused_is_asked_for_again(hub, enrolled):  # noqa: F811
    node = enrolled.identity["node_id"]
    hub.allow_log("node_intent_refused")
    wait_for(lambda: "link_up" in enrolled.logged(), "the hub has said hello")
    for _ in range(3):
        change(hub, node, deleted=False)
    wait_for(lambda: events(hub, node, "intent_refused"), "people are told")
    change(hub, node, deleted=False)
    other(hub, node)
    wait_for(lambda: len(set(revisions(hub, node))) == 1, "what is not wrong is taken all the same")
    assert not events(hub, node, "intent_accepted")
    change(hub, node, deleted=True)
    wait_for(lambda: events(hub, node, "intent_accepted"), "the node is in step again")
    wait_for(lambda: len(set(revisions(hub, node))) == 1, "and the hub knows")
    assert len(events(hub, node, "intent_refused")) == 1 and len(events(hub, node, "intent_accepted")) == 1
    log = hub.log()
    assert log.count("node_connected") == 1 and "session_refused" not in log, "its connection stays"
