#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Every fault of the simulator in every phase of the daemon: how long until a client is served again, and
whether what was received on both ends of every connection is a beginning of what was sent.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shutil
import sys
import time
import traceback

import cells
from rig import TIMES, Plan, Rig, make_pki, tunnel
from verdict import explains

# From rig's path.
from clients import works, works_again  # noqa: E402
from tlsserver import TlsServer, echo  # noqa: E402

QUESTION = b"are you there?"
READY = "^esp0: ready$"
# After so long it is not coming back by itself.
GIVE_UP = 60
# A burst lasts no longer, however little is said.
BURST = 3
# So much has come, when it happens in the middle of receiving.
MIDDLE = 6000
# On its way then, a second at the line's rate: the next client need not wait for long behind that.
MUCH = 16000
GREETING = 100
# The other tunnel says a little all the time, each time in a block of its own.
PIECE = 60


@dataclasses.dataclass
class Outcome:
    fault: str
    phase: str
    seconds: float = None  # from the cause gone to the next client
    bound: float = 0
    unseen: bool = False
    reasons: list = dataclasses.field(default_factory=list)
    defect: str = None

    def good(self):
        return not self.defect and self.seconds <= self.bound

    def text(self):
        if self.defect:
            return "DEFECT"
        return f"{self.seconds:.1f}{'!' if self.seconds > self.bound else ''}{' u' if self.unseen else ''}"


class Cell:
    """One fault in one phase, on a bench of its own."""

    def __init__(self, pki, fault, phase, options):
        self.fault, self.phase, self.options = fault, phase, options
        self.rig = Rig(pki, f"{fault.action}/{phase.name}", keep=True)
        self.bench = self.rig.bench
        self.bench.device.update(phase.device)
        self.outcome = Outcome(fault.action, phase.name, bound=fault.bound_in(phase))

    def run(self):
        try:
            self._run()
        except Exception:  # pylint: disable=broad-except
            self.outcome.defect = self.outcome.defect or traceback.format_exc(limit=4)
        finally:
            if self.options.logs and not self.outcome.good():
                self._keep_logs()
            try:
                self.rig.close()
            except AssertionError as error:
                self.outcome.defect = self.outcome.defect or str(error)
        return self.outcome

    def _run(self):
        self.echo = TlsServer(self.rig.pki, echo)
        self.bench.parts.append(self.echo)
        told = self._until_it_happens()
        gone = self._until_it_is_over(told)
        self.bench.daemon.await_line("^broker: listening on", timeout=GIVE_UP)
        works_again(self.bench.daemon, GIVE_UP)
        self.outcome.seconds = max(0, time.monotonic() - gone)
        self._judge()

    # ---- the phase ----

    def _until_it_happens(self):
        """Returns where the simulator's log stood before."""
        say = Plan(MUCH if self.phase.name in ("active", "passive") else GREETING, piece=4096)
        tunnels = [tunnel(self.echo), self.rig.serve("a", say),
                   self.rig.serve("b", Plan(10 ** 6, piece=PIECE, pause=0.1))]
        chip = self.bench.sim("--baud", str(cells.RATE), *TIMES)
        if self.phase.starts:
            told = self._inject()
            self.bench.espatd(*tunnels, options=["-v"])
            return told
        daemon = self.bench.espatd(*tunnels, options=["-v"]).await_tunnels()
        daemon.await_line(READY)
        assert works(daemon)
        self.bench.await_idle()
        if self.phase.name in ("connect", "sending", "active", "passive"):
            self._await(self.rig.client("b", Plan(10 ** 6, piece=PIECE, pause=0.1)), 1)
        return getattr(self, "_" + self.phase.name)(chip)

    def _inject(self):
        told = self.bench.chip.mark()
        self.bench.chip.fault(self.fault.rule(self.phase))
        return told

    @staticmethod
    def _await(client, size):
        end = time.monotonic() + 20
        while client.inbox.size < size and time.monotonic() < end:
            time.sleep(0.005)  # a thread of our own, which tells nobody
        assert client.inbox.size >= size, f"only {client.inbox.size} bytes have come"

    def _connect(self, chip):
        told = self._inject()
        self.rig.client("a", Plan(GREETING))
        return told

    def _sending(self, chip):
        told = self._inject()
        self.rig.client("a", Plan(100000))
        return told

    def _active(self, chip):
        self._await(self.rig.client("a", Plan(GREETING)), MIDDLE)
        return self._inject()

    _passive = _active

    def _closing(self, chip):
        client = self.rig.client("a", Plan(GREETING))
        self._await(client, GREETING)
        # Its own bytes have gone, too.
        self.bench.daemon.await_line(r"< SEND OK", count=2)
        told = self._inject()
        client.end()
        return told

    def _idle(self, chip):
        return self._inject()

    # ---- the fault ----

    def _until_it_is_over(self, told):
        chip, then = self.bench.chip, self.fault.then
        chip.await_line(f"^FAULT {self.fault.kind()}", told, timeout=30)
        gone = time.monotonic()
        if then == "over":
            try:
                chip.await_line("^FAULT over", told, timeout=BURST)
            except AssertionError:
                chip.fault("mend")
            gone = time.monotonic()
        elif then == "plugged":
            chip.await_line("^FAULT plugged", told)
            gone = time.monotonic()
        elif then.startswith("reset"):
            chip.fault(then)
            gone = time.monotonic() + int(then.split()[1]) / 1000
        elif then:
            seen = self.bench.daemon.mark()
            self.rig.client("a", Plan(GREETING))
            self.bench.daemon.await_line("a: connection .*(failed|aborted)|memory", seen)
            chip.fault(then)
            gone = time.monotonic()
        return gone

    # ---- the verdict ----

    def _judge(self):
        rig = self.rig
        rig.settle()
        daemon = self.bench.daemon
        self.outcome.reasons = sorted({x.split(": ", 2)[-1] for x in daemon.matching("aborted: |, starting over|trying again")})
        boxes = [*rig.inboxes, *(client.inbox for client in rig.clients)]
        wrong = [x for x in boxes if x.wrong]
        unseen = [x for x in wrong if self._explained(x)]
        echoes = [bytes(conn.received) for conn in self.echo.connections]
        bad = [x for x in echoes if not QUESTION.startswith(x)]
        told = [x for x in bad if self._explains(x, QUESTION)]
        self.outcome.unseen = bool(unseen or told)
        if len(unseen) < len(wrong):
            self.outcome.defect = "\n".join(rig.ledger.wrong)
        elif len(told) < len(bad):
            self.outcome.defect = f"the echo was told {bad}"
        elif not wrong and rig.ledger.wrong:
            self.outcome.defect = "\n".join(rig.ledger.wrong)

    def _explained(self, inbox):
        streams = self.rig.ledger.streams[inbox.tunnel, inbox.end]
        got = bytes(inbox.data)
        block = PIECE if inbox.tunnel == "b" and inbox.end == "server" else None
        return any(self._explains(got, bytes(s.upto(s.offered)), block) for s in streams)

    def _explains(self, got, want, block=None):
        return len(self.fault.action.split()) == 3 and explains(self.fault.action, got, want, block)

    def _keep_logs(self):
        folder = pathlib.Path(self.options.logs)
        folder.mkdir(parents=True, exist_ok=True)
        text = [self.outcome.defect or self.outcome.text(), "", "=== espatd"]
        text += self.bench.daemon.log() if self.bench.daemon else []
        text += ["", "=== espat-sim", *(self.bench.chip.log() if hasattr(self.bench, "chip") else [])]
        name = f"{self.fault.action}-{self.phase.name}.log".replace(" ", "_")
        (folder / name).write_text("\n".join(text))


# ---- all of them ----

def table(outcomes):
    """Faults down, phases across, in Markdown."""
    found = {(x.fault, x.phase): x.text() for x in outcomes}
    names = [x.name for x in cells.PHASES]
    lines = ["| fault | bound | " + " | ".join(names) + " |", "| --- | ---: |" + " ---: |" * len(names)]
    for fault in cells.FAULTS:
        row = [found.get((fault.action, p), "n/a" if p not in fault.only else "") for p in names]
        lines.append(f"| `{fault.action}` | {fault.bound} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def summary(outcomes):
    defects = [x for x in outcomes if x.defect]
    slow = [x for x in outcomes if not x.defect and x.seconds > x.bound]
    unseen = [x for x in outcomes if x.unseen]
    return defects, slow, f"{len(outcomes)} cells: {len(outcomes) - len(defects)} recovered, " \
        f"{len(slow)} of them later than the bound, {len(unseen)} with bytes that changed unseen; {len(defects)} defects"


def markdown(outcomes):
    n_a = sorted({(x.action, x.why) for x in cells.FAULTS if x.why})
    return "\n".join([
        "Seconds from the cause gone to the next client that is served. `!`: later than the bound; `u`: bytes of a",
        "block have changed, or whole blocks were lost, which nobody can see on this protocol (espatd(8)); n/a: makes",
        "no sense there. The bound stands in front; of damage in `tuning` it is 8, of damage to what the chip gets in",
        "`provision` and `sending` 5.",
        "", table(outcomes), "", summary(outcomes)[2] + ".", "",
        *(f"n/a of `{action}`: {why}." for action, why in n_a)]) + "\n"


def parse():
    parser = argparse.ArgumentParser(prog="./dev matrix", description=__doc__)
    parser.add_argument("--share", action="store_true", help="a fixed seventh of it")
    parser.add_argument("--only", default="", metavar="REGEX", help="cells `FAULT/PHASE` that have it")
    parser.add_argument("--jobs", type=int, default=6, help="so many at a time (%(default)s)")
    parser.add_argument("--markdown", metavar="FILE", help="the table")
    parser.add_argument("--json", metavar="FILE", help="all that was found")
    parser.add_argument("--logs", metavar="DIR", help="what both programs said, of those that are not good")
    parser.add_argument("--strict", action="store_true", help="fails where a bound is not kept")
    parser.add_argument("--list", action="store_true", help="the cells")
    return parser.parse_args()


def main():
    options = parse()
    wanted = [(f, p) for f, p in (cells.share() if options.share else cells.cells())
              if re.search(options.only, f"{f.action}/{p.name}")]
    if options.list:
        print("\n".join(f"{f.action}/{p.name}" for f, p in wanted))
        return 0
    pki, began, outcomes = make_pki(), time.monotonic(), []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(lambda f, p: Cell(pki, f, p, options).run(), f, p) for f, p in wanted]
        for job in concurrent.futures.as_completed(jobs):
            x = job.result()
            outcomes.append(x)
            if not x.good() or os.isatty(1):
                print(f"{x.fault}/{x.phase}: {x.text()}", *([x.defect] if x.defect else []), flush=True)
    shutil.rmtree(pki)
    if options.markdown:
        pathlib.Path(options.markdown).write_text(markdown(outcomes))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps([dataclasses.asdict(x) for x in outcomes], indent=1))
    defects, slow, text = summary(outcomes)
    print(f"{text}; {time.monotonic() - began:.0f} s")
    return 1 if defects or not outcomes or (options.strict and slow) else 0


if __name__ == "__main__":
    sys.exit(main())
