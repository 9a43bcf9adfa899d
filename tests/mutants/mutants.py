#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breaks one rule of the protocol after the other, and says which test has noticed.

mutants.py FOLDER [WORD]...: those whose name has a WORD in it, in a copy of the sources in FOLDER.
"""

import pathlib
import subprocess
import sys
import time

import mutate
import rules

# s; the slowest unit test takes a few of them, and one that hangs has noticed, too.
LIMIT = 60


def notices(copy, test):
    """Whether the unit test fails."""
    program = copy.build_dir / "tests" / "unit" / f"test-{test}"
    try:
        return subprocess.run([program], cwd=copy.build_dir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=LIMIT).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def programs(tests):
    return [f"tests/unit/test-{test}" for test in tests]


def suite_notices(copy):
    """Whether any test of the whole suite does, which takes its time."""
    copy.build()
    return subprocess.run(["meson", "test", "-C", copy.build_dir, "--no-rebuild", "--no-suite", "replay"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0


def found_by(copy, rule):
    """The name of the test, or None."""
    tests = rule.finders.split()
    with copy.changed(rule):
        copy.build(*programs(tests))
        for test in tests:
            if notices(copy, test):
                return test
        return "the suite" if suite_notices(copy) else None


def main():
    broken = mutate.chosen(rules.RULES, sys.argv[2:])
    mutate.check(broken)
    copy = mutate.Copy(pathlib.Path(sys.argv[1]).resolve())
    named = sorted({test for rule in broken for test in rule.finders.split()})
    copy.build(*programs(named))
    wrong = [test for test in named if notices(copy, test)]
    if wrong:
        sys.exit(f"these fail although nothing is broken: {' '.join(wrong)}")
    survived = 0
    for rule in broken:
        start = time.monotonic()
        test = found_by(copy, rule)
        survived += test is None
        print(f"{rule.name:64} {test or 'NOBODY HAS NOTICED':20} {time.monotonic() - start:6.1f} s", flush=True)
    print(f"{len(broken) - survived} of {len(broken)} broken rules were noticed")
    sys.exit(survived > 0)


main()
