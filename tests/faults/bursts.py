#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Bursts of lost bytes at every kind of place in what the chip says, while a server sends what a parser could take
for the chip's own words. What a client gets is a beginning of what its server sent; what else passes is only
what is well-formed to the letter, and so cannot be seen by anybody.
"""
import argparse
import collections
import concurrent.futures
import re
import shutil
import sys
import threading
import time
import traceback

from rig import Plan, Rig, make_pki  # first: it knows where harness.py is
from ledger import Hostile
from tap import Spot, Tap, well_formed

PAYLOADS = {
    "blocks": [b"\r\n+IPD,1,9:*xyz\r\n", b"\r\n+IPD,0,9:*xyz\r\n"],
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
BLOCKS = {"front", "head", "data", "end"}
ASKED = {"prompt", "verdict", "in a verdict"}
SIZE = 40000
# Nothing more comes.
STILL = 1
# Behind a report nothing may come.
LAST = 17
# A chip that loses step too often is set aside for a while: this daemon's have been enough.
STEPS = 4
BACK = 60
READY = "^esp0: ready$"


class Field:
    """One chip and one daemon, for the bursts at one place of one payload."""

    def __init__(self, pki, payload, place):
        self.rig = Rig(pki, f"{payload}/{place}", keep=True)
        self.payload, self.place = payload, place
        self.kind, self.at = PLACES[place]
        self.counts = collections.Counter()
        self.go = threading.Event()

    def start(self):
        rig, bench = self.rig, self.rig.bench
        rig.make["a"] = {"server": lambda name: Hostile(name, PAYLOADS[self.payload])}
        closes = self.kind == "report"
        tunnels = [rig.serve("a", lambda: Plan(size=SIZE, gate=self.go)),
                   rig.serve("b", lambda: Plan(size=100 if closes else 10 ** 6, piece=50, pause=0.05, shut=closes,
                                               gate=self.go if closes else None))]
        chip = bench.sim()
        self.tap = Tap(bench.dir, chip)
        bench.parts.append(self.tap)
        bench.device["port"] = f"unix:{self.tap.path}"
        self.text = bench.config(*tunnels)
        self._start_daemon()

    def _start_daemon(self):
        if self.rig.bench.daemon:
            assert self.rig.bench.daemon.end() == 0
        self.daemon = self.rig.bench.espatd(text=self.text, options=["-v"]).await_tunnels()
        self.daemon.await_line(READY)

    def _open(self, name, plan):
        """A client, and the link that it is on; one that comes while step is lost is told so."""
        end = time.monotonic() + 30
        while True:
            seen = self.daemon.mark()
            if name == "b":
                self.tap.record()
            client = self.rig.client(name, plan)
            line = self.daemon.await_line(f"^{name}: connection (.* is open on|failed)", seen, timeout=BACK)
            if "is open" in line:
                client.link = int(line[-1])
                return client
            assert time.monotonic() < end, "no connection comes about"

    def burst(self, size):
        """What came of it is counted; returns a complaint, or None."""
        asked = self.place in ASKED
        self.go.clear()
        # Where a CLOSED was lost nothing tells that the link is closed.
        if self.kind == "report" or len(self.daemon.matching("lost step")) >= STEPS:
            self._start_daemon()
        self.rig.bench.await_idle()
        seen = self.daemon.mark()
        b = self._open("b", Plan())
        a = self._open("a", Plan(size=4000 if asked else 0, piece=400, pause=0.02, gate=self.go))
        at = -(size + 1) // 2 if self.at is None else self.at
        # The fourth block; of anything else there is less.
        until = self.tap.arm(Spot(self.kind, at, size, 4 if self.kind in BLOCKS else 1))
        self.go.set()
        self.tap.await_fired()
        self._await_end(a)
        for client in a, b:
            client.end()
        text = self.tap.disarm()
        links, end = well_formed(text, until, asked)
        complaint = None
        for client in a, b:
            if client.inbox.wrong and bytes(links.get(client.link, b"")).startswith(bytes(client.inbox.data)):
                self.counts["unseen"] += 1
            elif client.inbox.wrong:
                complaint = "\n".join([*self.rig.ledger.wrong, f"by the letter until {text[end - 30:end]!r} {text[end:end + 50]!r}"])
        self.rig.ledger.wrong.clear()
        self.rig.clients.clear()
        if self.daemon.matching("lost step", seen):
            self.counts["seen"] += 1
            if self.daemon.await_line(f"{READY}|trying again until", seen, timeout=BACK) != "esp0: ready":
                self._start_daemon()
        return complaint and f"{self.payload}/{self.place}/{size}: {complaint}"

    def _await_end(self, client):
        """It is cut off, or all has come that is left, and nothing more."""
        size, since = 0, time.monotonic()
        while not client.is_over() and time.monotonic() < since + STILL:
            if client.inbox.size > size:
                size, since = client.inbox.size, time.monotonic()
            client.thread.join(0.01)

    def run(self, sizes):
        complaints = []
        try:
            self.start()
            for size in sizes:
                if self.kind == "report" and size > LAST:
                    continue  # it would be an answer that is lost, later
                self.counts["bursts"] += 1
                if complaint := self.burst(size):
                    complaints.append(complaint)
            self.rig.settle()
            complaints += self.rig.ledger.wrong
        except Exception:  # pylint: disable=broad-except
            log = self.daemon.log()[-20:] if hasattr(self, "daemon") else []
            complaints.append("\n".join([f"{self.payload}/{self.place}", traceback.format_exc(limit=2), *log]))
        finally:
            try:
                self.rig.close()
            except (AssertionError, OSError) as error:
                complaints.append(f"{self.payload}/{self.place}: {error}")
        return complaints


def parse():
    parser = argparse.ArgumentParser(prog="./dev bursts", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="fields `PAYLOAD/PLACE` that have it")
    parser.add_argument("--share", action="store_true", help="a few of them")
    parser.add_argument("--jobs", type=int, default=3, help="so many at a time (%(default)s)")
    return parser.parse_args()


def main():
    options = parse()
    fields = [(payload, place) for payload in PAYLOADS for place in PLACES]
    if options.share:
        fields = fields[::9]
    fields = [x for x in fields if re.search(options.only, "/".join(x))]
    sizes = SIZES[::3] if options.share else SIZES
    pki, began, complaints, counts = make_pki(), time.monotonic(), [], collections.Counter()

    def one(payload, place):
        field = Field(pki, payload, place)
        found = field.run(sizes)
        return found, field.counts

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for job in concurrent.futures.as_completed([pool.submit(one, *x) for x in fields]):
            found, some = job.result()
            complaints += found
            counts += some
            for complaint in found:
                print(complaint, flush=True)
    shutil.rmtree(pki)
    print(f"{counts['bursts']} bursts: {counts['seen']} seen, {counts['unseen']} of which what was left is "
          f"well-formed to the letter, {len(complaints)} defects; {time.monotonic() - began:.0f} s")
    return 1 if complaints or not fields else 0


if __name__ == "__main__":
    sys.exit(main())
