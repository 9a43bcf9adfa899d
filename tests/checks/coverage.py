#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the tests that have run reach of src/, by folder, beside the bars below."""
import argparse
import collections
import fnmatch
import json
import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
EXCEPTIONS = pathlib.Path(__file__).with_name("coverage-exceptions")

# Per cent of lines and of branches; None: only told.
STRICT, USUAL, NONE = (97, 90), (90, None), (None, None)
BARS = collections.defaultdict(lambda: USUAL, at=STRICT, chan=STRICT, device=STRICT)
# Of the unit tests alone; the other folders are for the integration tests.
UNIT_BARS = collections.defaultdict(lambda: NONE, at=STRICT, chan=STRICT, device=(96, 88), bus=USUAL,
                                    cert=USUAL, config=USUAL, tunnel=(85, None), util=USUAL)


class Exceptions:
    """Lines "FILES REGEX" under comments that give the reason."""

    def __init__(self, path):
        self.rules, reason = [], ""
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.startswith("#"):
                reason += line
            elif not line.strip():
                reason = ""
            else:
                assert reason, f"{path}:{number}: no reason"
                files, _, regex = line.partition("\t")
                self.rules.append((files, re.compile(regex.strip())))
        self.used = collections.Counter()

    def has(self, name, text):
        for rule in self.rules:
            if fnmatch.fnmatch(name, rule[0]) and rule[1].search(text):
                self.used[rule] += 1
                return True
        return False

    def unused(self):
        return [f"{files} {regex.pattern}" for files, regex in self.rules
                if not self.used[files, regex]]


def measure(build):
    """What gcov knows: [{"file": ..., "lines": [...]}]"""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "coverage.json"
        subprocess.run(["gcovr", "--root", TOP, "--filter", f"{TOP}/src/", "-j", "2",
                        "--object-directory", build, "--json", out, build], check=True)
        return json.loads(out.read_text())["files"]


class Score:
    def __init__(self):
        self.all = [0, 0]  # lines, branches
        self.hit = [0, 0]
        self.excepted = [0, 0]
        self.missed = []

    def add(self, what, hit):
        self.all[what] += 1
        self.hit[what] += hit

    def percent(self, what):
        return 100 * self.hit[what] / self.all[what] if self.all[what] else 100


def is_condition(text):
    return re.match(r"\s*(if|else if|while|for) \(", text) is not None


def add_file(score, name, lines, exceptions):
    """An excepted line takes the condition in front of it along: that is the way to it."""
    source = (TOP / name).read_text().splitlines()

    def excepted(number):
        if number <= len(source) and exceptions.has(name, source[number - 1]):
            return True
        return is_condition(source[number - 1]) and number < len(source) \
            and exceptions.has(name, source[number])

    for line in lines:
        number, branches = line["line_number"], line["branches"]
        if line.get("gcovr/noncode"):
            continue
        missing = [b for b in branches if not b["count"]]
        if (not line["count"] or missing) and excepted(number):
            # Of a condition only the way to the exception is left out.
            score.excepted[0] += not line["count"]
            score.excepted[1] += len(missing)
            if line["count"]:
                score.add(0, True)
            for _ in range(len(branches) - len(missing)):
                score.add(1, True)
            continue
        score.add(0, line["count"] > 0)
        for branch in branches:
            score.add(1, branch["count"] > 0)
        if not line["count"] or missing:
            what = f"{len(missing)} of {len(branches)} ways" if line["count"] else "never"
            score.missed.append(f"{name}:{number}: {what}: {source[number - 1].strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--unit", action="store_true", help="only the unit tests have run")
    parser.add_argument("--missed", metavar="FOLDER", action="append", default=[],
                        help="tells each line of src/FOLDER that is not wholly reached")
    args = parser.parse_args()
    exceptions = Exceptions(EXCEPTIONS)
    scores = collections.defaultdict(Score)
    for file in measure(args.build):
        folder = file["file"].split("/")[1]
        add_file(scores[folder], file["file"], file["lines"], exceptions)
    below = False
    print(f"{'':8} {'lines':>14} {'bar':>4}  {'branches':>14} {'bar':>4}  excepted")
    for folder, score in sorted(scores.items()):
        words = [f"{folder:8}"]
        for what, bar in enumerate((UNIT_BARS if args.unit else BARS)[folder]):
            short = bar is not None and score.percent(what) < bar
            below |= short
            words.append(f"{score.percent(what):6.2f} of {score.all[what]:5}"
                         f" {bar or '':>4}{'!' if short else ' '}")
        print(*words, "%d, %d" % tuple(score.excepted))
        if folder in args.missed:
            print("".join(f"\t{line}\n" for line in score.missed), end="")
    for rule in exceptions.unused():
        print(f"coverage-exceptions: not needed: {rule}")
    if below:
        print("below the bar (!): ./dev coverage --missed FOLDER tells where")
    return below


if __name__ == "__main__":
    sys.exit(main())
