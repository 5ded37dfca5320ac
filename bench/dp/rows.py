# SPDX-License-Identifier: Apache-2.0
"""Rounds in which systems alternate, and rows: a figure of ours, its ratio to a peer's in the same rounds, and the bound."""

import statistics
import sys
import traceback

from lab import Failed, Lab


def log(text):
    print(text, file=sys.stderr, flush=True)


def close(lab):
    try:
        lab.close()
    except (Failed, OSError):
        traceback.print_exc()


class Group:
    """Systems that are up together, by name. One that cannot be built is left out and said so."""

    def __init__(self, makers):
        self.labs = {}
        self.failed = {}
        for name, make in makers.items():
            try:
                self.labs[name] = make(name)
                self.labs[name].pause()
            except (Failed, OSError) as e:
                self.failed[name] = str(e)
                log(f"  {name}: cannot be built: {e}")
                for half in [lab for lab in Lab.alive if lab not in self.labs.values()]:
                    close(half)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        for lab in self.labs.values():
            close(lab)

    def each(self, what, only=None):
        """Calls what(name, system) for each system; one that fails at it is left out from then on."""
        for name, lab in list(self.labs.items()):
            if only and name not in only:
                continue
            try:
                lab.resume()
                what(name, lab)
                lab.pause()
            except (Failed, OSError) as e:
                self.failed[name] = str(e)
                log(f"  {name}: {e}")
                close(self.labs.pop(name))

    def proven(self, raw):
        """Figures of the systems that pass Lab.prove(), which comes after the rounds."""
        self.each(lambda _, lab: lab.prove())
        return {name: values for name, values in raw.items() if name in self.labs}

    def rounds(self, n, measure, only=None):
        """{system: [measure(name, system) of each round]}, the systems taking turns."""
        out = {}
        for _ in range(n):
            self.each(lambda name, lab: out.setdefault(name, []).append(measure(name, lab)), only)
        return {name: values for name, values in out.items() if len(values) == n}


def us(**how):
    return lambda _, lab: lab.source(**how)["us"]


def us_both(**how):
    """For what drops when it is overloaded: see us_of()."""
    return lambda _, lab: lab.source(**how)


def us_of(raw, peer):
    """Figures of us_both(), and those of the peer once more as if sending what was dropped had cost nothing."""
    figures = {name: [v["us"] for v in values] for name, values in raw.items()}
    if peer in raw:
        figures[peer + "-kept"] = [v["us_kept"] for v in raw[peer]]
    return figures


def ratio_of(raw, ours, peer):
    """The median of the ratios of the same rounds."""
    return round(statistics.median(a / b for a, b in zip(raw[ours], raw[peer]) if b), 3)


class Report:
    def __init__(self):
        self.rows = []

    def add(self, row_id, what, value, unit, goal, met, peer="", ratio=None, note="", raw=None):
        self.rows.append({"id": row_id, "what": what, "value": value, "unit": unit, "goal": goal, "met": bool(met), "peer": peer,
                          "ratio": ratio, "note": note, "raw": raw or {}})
        log(f"  {'met   ' if met else 'MISSED'} {what}: {value} {unit} (goal: {goal}){'; ' + peer if peer else ''}{'; ' + note if note else ''}")

    def missing(self, row_id, what, goal, why):
        self.add(row_id, what, None, "", goal, False, note=f"not measured: {why}")

    def ratio(self, row_id, what, raw, ours, peer, bound, unit="us", goal=None, most=True, digits=3, title=None, note=""):
        """Ours against the peer's, round by round; the median ratio is held to the bound. Without a bound it is only shown. `note` stands beside the figures."""
        goal = goal or (f"{'<=' if most else '>='} {bound} x {peer}" if bound else "shown")
        if ours not in raw or peer not in raw:
            return self.missing(row_id, what, goal, f"no figure of {peer if ours in raw else ours}")
        ratio = ratio_of(raw, ours, peer)
        met = not bound or (ratio <= bound if most else ratio >= bound)
        theirs = statistics.median(raw[peer])
        return self.add(row_id, what, round(statistics.median(raw[ours]), digits), unit, goal, met,
                        f"{title or peer}: {round(theirs, digits)} {unit}", ratio, f"min {min(raw[ours]):.{digits}f} against {min(raw[peer]):.{digits}f}{'; ' + note if note else ''}",
                        {name: [round(v, 4) for v in raw[name]] for name in (ours, peer)})
