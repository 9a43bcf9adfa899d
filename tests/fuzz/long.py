#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs fuzz targets for long, each until nothing new has been found in the last third of its executions.

long.py BUILD [NAME]...: the targets in that build, or those named. What an earlier run has found stays in
BUILD/corpus and is gone on from; what a target has said is in BUILD/NAME.log, an input that breaks it in BUILD/NAME-*.
A build without sanitizers is faster; what it has found is run once more by the build of --again, which has them.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]

# Executions at least, and the longest input in bytes where not INPUT_MAX.
TARGETS = {
    "lexer": (10**8, 256),
    "reply": (10**8, 256),
    "chan": (10**7, None),
    "config": (10**7, None),
    "sim-core": (10**7, None),
    "bus": (2 * 10**6, 512),
    "cert": (2 * 10**6, 4096),
    "config-text": (2 * 10**6, None),
    "device": (2 * 10**6, 160),
    "record": (2 * 10**6, None),
    "store": (2 * 10**6, None),
}
INPUT_MAX = 1024
# What an allocation was for is not kept: whoever looks into an input that breaks something runs it by itself.
ASAN_OPTIONS = "malloc_context_size=1:quarantine_size_mb=8"
# Of the planned executions, after which a target that goes on finding things is left at that.
TIMES_MAX = 3


class Target:
    """One target: its executions, and when it has last reached a place that no input had reached before."""

    def __init__(self, build, name, scale, again):
        self.build, self.name, self.again = build, name, again
        runs, self.input_max = TARGETS[name]
        self.planned = max(1, int(runs * scale))
        self.runs = self.last_new = self.edges = 0
        self.began = time.monotonic()

    def program(self, build):
        return next(p for p in build.rglob(f"fuzz-{self.name}") if p.is_file())

    def found(self):
        return self.build / "corpus" / self.name

    def arguments(self, runs):
        found = self.found()
        found.mkdir(parents=True, exist_ok=True)
        seeds = sorted(TESTS.rglob(f"corpus-{self.name}"))
        words = sorted(TESTS.rglob(f"{self.name}.dict"))
        # Leaks are looked for at the end: where a library keeps memory it would be after each input.
        return [self.program(self.build), f"-runs={runs}", f"-max_len={self.input_max or INPUT_MAX}", "-timeout=25",
                "-detect_leaks=0", "-rss_limit_mb=4096", f"-artifact_prefix={self.build / self.name}-",
                *(f"-dict={w}" for w in words), found, *seeds]

    def fuzz(self, runs):
        """Returns what the target has ended with. The first line is of the seeds, which are nothing new."""
        executed = 0
        with (open(self.build / f"{self.name}.log", "w", encoding="utf-8") as log,
              subprocess.Popen(self.arguments(runs), stdout=log, stderr=subprocess.PIPE, text=True,
                               errors="replace", env={"ASAN_OPTIONS": ASAN_OPTIONS} | os.environ) as program):
            for line in program.stderr:
                log.write(line)
                line = re.match(r"#(\d+)\s+(\w+).* cov: (\d+)", line)
                if not line:
                    continue
                executed, edges = int(line[1]), int(line[3])
                if edges > self.edges and line[2] == "NEW":
                    self.last_new = self.runs + executed
                self.edges = max(self.edges, edges)
        self.runs += executed
        return program.returncode

    def is_quiet(self):
        return self.runs >= self.planned and self.last_new * 3 <= self.runs * 2

    def run(self):
        status, most = 0, self.planned * TIMES_MAX
        while status == 0 and not self.is_quiet() and self.runs < most:
            # So many that what is known by now is two thirds of all.
            wanted = max(self.planned, self.last_new * 3 // 2 + 1)
            status = self.fuzz(min(wanted, most) - self.runs)
        self.tell(status)
        return status == 0 and self.run_again() and self.is_quiet()

    def run_again(self):
        """Everything found, once, in the other build, leaks looked for at the end."""
        if not self.again:
            return True
        log = self.again / f"{self.name}.again.log"
        with open(log, "w", encoding="utf-8") as out:
            ran = subprocess.run([self.program(self.again), "-runs=0", "-timeout=25", "-rss_limit_mb=4096",
                                  f"-artifact_prefix={self.again / self.name}-", self.found()],
                                 stdout=out, stderr=out, check=False,
                                 env={"ASAN_OPTIONS": ASAN_OPTIONS} | os.environ)
        count = sum(1 for _ in self.found().iterdir())
        print(f"{self.name}: {count} inputs found, again with sanitizers: "
              + (f"ended with {ran.returncode}: see {log}" if ran.returncode else "nothing is wrong"), flush=True)
        return ran.returncode == 0

    def tell(self, status):
        seconds = time.monotonic() - self.began
        end = f"has ended with {status}: see {self.build / self.name}.log" if status else "nothing is wrong"
        print(f"{self.name}: {self.runs} executions in {seconds:.0f} s ({self.runs / seconds:.0f}/s), {self.edges} "
              f"edges, the last new one after {100 * self.last_new / max(self.runs, 1):.1f} %; {end}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev fuzz --long", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", metavar="BUILD", type=pathlib.Path)
    parser.add_argument("names", metavar="NAME", nargs="*", default=[], help=", ".join(TARGETS))
    parser.add_argument("--again", metavar="BUILD", type=pathlib.Path, help="another build, for what was found")
    parser.add_argument("--scale", type=float, default=1, help="so many times the planned executions")
    options = parser.parse_args()
    unknown = set(options.names) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}")
    targets = [Target(options.build, name, options.scale, options.again) for name in options.names or TARGETS]
    return 0 if all([target.run() for target in targets]) else 1


if __name__ == "__main__":
    sys.exit(main())
