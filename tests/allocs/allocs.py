#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Each allocation of espatd fails once: all of its own, and some of its libraries', from its start to the
end of a connection and of a request over D-Bus. What is demanded is in Trial.run().
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from bench import Bench, tunnel  # noqa: E402
from busdaemon import BusDaemon  # noqa: E402
from clients import works, works_again  # noqa: E402
from harness import DEADLINE, wait_for  # noqa: E402
from tlsserver import TlsServer  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
# Most of a trial is waiting.
TRIALS_AT_ONCE = 6
# Start and two connections take a tenth of it: who needs more turns in a circle.
CPU_SECONDS_MAX = 1.5
# What is retried is retried within that time at first.
SOON = 5
# struct report of failing-alloc.c
FRAMES, FRAME = 24, struct.Struct("<Q56s")
COUNTS = struct.Struct("<QQQ")

# Libraries that end the program when they get no memory. systemd starts it again.
ENDING = {
    # 1.5 looks at none of its allocations; it reads at the start and at a reload.
    "libconfig.so.9": "libconfig ends it",
}


class Report:
    """What the preloaded library has told."""

    def __init__(self, path):
        data = path.read_bytes()
        own, library, self.failed = COUNTS.unpack_from(data)
        self.count = {"own": own, "library": library}
        frames = [(module.split(b"\0")[0].decode(), offset)
                  for offset, module in FRAME.iter_unpack(data[COUNTS.size:])]
        self.failure = [x for x in frames[:FRAMES] if x[0] and x[0] != "failing-alloc.so"]
        self.crash = [x for x in frames[FRAMES:] if x[0]]


def places(frames):
    """Function and line of those frames that are in espatd."""
    offsets = [hex(offset - 1) for module, offset in frames if module == "espatd"]
    lines = subprocess.run(["addr2line", "-fse", os.environ["ESPATD"], *offsets],
                           capture_output=True, text=True).stdout.split()
    own = iter(f"{name} {line}" for name, line in zip(lines[::2], lines[1::2]))
    return [next(own) if module == "espatd" else f"{module}+{offset:#x}"
            for module, offset in frames]


class Trial:
    """One espatd, of which one allocation fails: ("own", 17). With None all goes well."""

    def __init__(self, setup, point=None):
        self.setup = setup
        self.point = point
        self.bench = Bench(setup.pki)
        self.report_path = self.bench.dir / "report"

    def report(self):
        return Report(self.report_path)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.daemon.process.pid}/stat").read_text().rsplit(")")[1]
        return sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def status(self):
        """True: espatctl was told how the service is."""
        done = subprocess.run(
            [os.environ["ESPATCTL"], "--bus", self.bench.bus.address, "status"],
            capture_output=True, timeout=DEADLINE)
        assert done.returncode == 0 or done.stderr, "espatctl failed without a word"
        return done.returncode == 0

    def connection(self):
        """True: it worked. It may fail, but not hang."""
        try:
            return works(self.daemon)
        except (ConnectionError, FileNotFoundError, AssertionError):
            return False

    def start(self):
        bench = self.bench
        bench.bus = BusDaemon(bench.dir)
        bench.parts.append(bench.bus)
        bench.sim("--flash-ms", "1")
        environment = {**os.environ, "LD_PRELOAD": self.setup.library,
                       "FAILING_ALLOC_REPORT": str(self.report_path)}
        if self.point:
            environment["FAILING_ALLOC"] = "%s %d" % self.point
        self.daemon = bench.espatd(tunnel(self.setup.server, identity="gateway"),
                                   how={"env": environment})

    def ended(self):
        return self.daemon.process.poll() is not None

    def listens(self):
        return self.daemon.matching("broker: listening on")

    def refused_to_start(self):
        """It has ended by itself: with a word why, and so that systemd starts it again."""
        status = self.daemon.wait()
        assert status == 1, f"ended with {status}"
        assert self.daemon.matching("memory|cannot"), "ended without a reason"
        return "does not start"

    def run(self):
        """How it went, in words."""
        self.start()
        wait_for(lambda: self.listens() or self.ended(), "listening, or an end")
        first = not self.ended() and self.status(), not self.ended() and self.connection()
        self.reached = self.report().count
        if self.ended():
            return self.refused_to_start()
        # Whatever failed was that request, and all is well soon after.
        wait_for(self.status, "espatctl is answered", SOON)
        works_again(self.daemon, SOON)
        usual = self.setup.descriptors
        if usual is not None:
            wait_for(lambda: self.descriptors() <= usual, f"no more than {usual} descriptors")
        assert self.cpu_seconds() < CPU_SECONDS_MAX, "it turns in a circle"
        if usual is None:
            self.setup.descriptors = wait_for(self.descriptors, "descriptors")
        assert self.daemon.end() == 0
        if all(first):
            return "nobody notices" if self.report().failed else "not reached"
        return "espatctl is told of it" if first[1] else "the connection fails"

    def complain(self, error):
        report = self.report()
        lines = [f"\n*** {self.point}: {error!r}", "    failed at:", *places(report.failure)]
        if report.crash:
            lines += ["    crashed at:", *places(report.crash)]
        print("\n\t".join(lines + [f"| {x}" for x in self.daemon.log()[-8:]]), flush=True)

    def outcome(self):
        try:
            return self.run()
        except Exception as error:  # whatever it is, the others go on
            asked = self.report().failure
            if self.ended() and asked and asked[0][0] in ENDING:
                return ENDING[asked[0][0]]
            self.complain(error)
            return "DEFECT"
        finally:
            if self.daemon.process.poll() is None:
                self.daemon.kill()
            self.bench.parts.remove(self.daemon)
            self.bench.close()


class Setup:
    def __init__(self, pki, library):
        self.pki = pki
        self.library = library
        self.descriptors = None
        self.server = TlsServer(pki, client_ca="ca")


def points(setup, args):
    """All of our own allocations, and some of the others."""
    trial = Trial(setup)
    assert trial.outcome() != "DEFECT", "it does not even work with all its memory"
    count = trial.reached
    own = [("own", n) for n in range(1, count["own"] + 1)]
    library = random.Random(args.seed).sample(range(1, count["library"] + 1), args.library)
    print(f"{count['own']} allocations are ours, {count['library']} the libraries'")
    if args.only:
        return [tuple([x.split()[0], int(x.split()[1])]) for x in args.only]
    return own[args.seed % args.every::args.every] + [("library", n) for n in sorted(library)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library_path", metavar="failing-alloc.so")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth of our own")
    parser.add_argument("--library", type=int, default=200, help="so many of the libraries'")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", metavar="'own N'", help="only that one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="espat-") as folder:
        pki = pathlib.Path(folder)
        subprocess.run([TOP / "certs/mkpki", "--host", "broker.test", pki], check=True,
                       stdout=subprocess.DEVNULL)
        setup = Setup(pki, os.path.abspath(args.library_path))
        outcomes = collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(TRIALS_AT_ONCE) as pool:
            chosen = points(setup, args)
            tried = pool.map(lambda point: (point[0], Trial(setup, point).outcome()), chosen)
            outcomes.update(tried)
    for (whose, outcome), n in sorted(outcomes.items()):
        print(f"{n:5} {whose:8} {outcome}")
    return any(outcome == "DEFECT" for _, outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())
