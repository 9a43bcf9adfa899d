#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Bursts of lost bytes at every kind of place in what the chip says, while a server sends what a parser could take
for the chip's own words. What a client gets is a beginning of what its server sent; what else passes is only
what is well-formed to the letter, and so cannot be seen by anybody.
"""
import argparse
import concurrent.futures
import re
import shutil
import sys
import time
import traceback

import rig as _rig  # noqa: F401 (the path)
from ledger import Hostile
from rig import Plan, Rig, make_pki
from tap import Spot, Tap, well_formed

# From rig's path.
from harness import wait_for  # noqa: E402

PAYLOADS = {
    "blocks": [b"\r\n+IPD,1,9:*xyz\r\n"],
    "OK": [b"\r\nOK\r\n*"],
    "ready": [b"\r\nready\r\n*"],
    "plus": [b"+++*"],
    "NUL": [b"\0\0*\0"],
    "closed": [b"\r\n1,CLOSED\r\n*"],
    "verdict": [b"\r\nSEND OK\r\n*"],
    "prompt": [b"\r\n>*"],
    "line ends": [b"\r\n\r\n\r\n*\r\n"],
    "all": [b"\r\n+IPD,1,9:*xyz\r\n", b"\r\nOK\r\n*", b"\r\n1,CLOSED\r\n", b"\r\nready\r\n", b"+++*", b"\0\0", b"\r\n>*"],
}
# Beside round figures: a head, a line end and a head, and what a whole block takes.
SIZES = [1, 2, 3, 4, 7, 13, 16, 17, 64, 300, 1000, 1460, 2920, 2936, 2937, 2938, 4096]
PLACES = {
    "front": ("front", 0), "in the front": ("front", 1), "in a head": ("head", 3), "end of a head": ("head", -1),
    "behind a head": ("data", 0), "in the data": ("data", 1111), "over the end": ("data", None),
    "in the line end": ("end", 0), "half a line end": ("end", 1), "report": ("report", 0), "in a report": ("report", 3),
    "prompt": ("prompt", 0), "verdict": ("verdict", 0), "in a verdict": ("verdict", 4),
}
ASKED = {"prompt", "verdict", "in a verdict"}
SIZE = 40000


def cases():
    return [(payload, place, size) for payload in PAYLOADS for place in PLACES for size in SIZES]


class Field:
    """One chip and one daemon, for many bursts of one payload."""

    def __init__(self, pki, payload):
        self.rig = Rig(pki, payload, keep=True)
        self.payload = payload
        self.unseen = 0

        def hostile(name):
            return Hostile(name, PAYLOADS[payload])

        self.rig.make["a"] = {"server": hostile}

    def start(self):
        bench = self.rig.bench
        tunnels = [self.rig.serve("a", Plan(size=SIZE)), self.rig.serve("b", Plan(size=100, piece=10, pause=0.05)),
                   self.rig.serve("short", Plan(size=10, shut=True))]
        self.tap = Tap(bench.dir, bench.sim())
        bench.parts.append(self.tap)
        bench.device["port"] = f"unix:{self.tap.path}"
        self.daemon = bench.espatd(*tunnels, options=["-v"]).await_tunnels()
        self.daemon.await_line("^esp0: ready$")

    def burst(self, place, size):
        """Returns a complaint, or None."""
        rig, (kind, at) = self.rig, PLACES[place]
        self.rig.bench.await_idle()
        seen = self.daemon.mark()
        at = -(size + 1) // 2 if at is None else at
        # The fourth block; of anything else there is no more than one.
        nth = 4 if kind in ("front", "head", "data", "end") else 1
        asked = place in ASKED
        a = rig.client("a", Plan(size=0))
        wait_for(lambda: a.inbox.size > 0, "the first bytes")
        a.end()
        return None


def main():
    return 1
