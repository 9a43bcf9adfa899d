# SPDX-License-Identifier: MIT
"""Runs the tests inside the container; the status is left in /results/status."""
import os
import pathlib
import subprocess
import sys
import time
import unittest

import system

RESULTS = pathlib.Path("/results")


class Result(unittest.TextTestResult):
    """A line for each test, with its time; what the service said behind one that has failed."""

    def startTest(self, test):
        super(unittest.TextTestResult, self).startTest(test)
        self.began = time.monotonic()
        self.cursor = system.journal_cursor()

    def _line(self, test, outcome):
        name = test.id() if hasattr(test, "id") else str(test)
        print(f"{outcome:5} {time.monotonic() - getattr(self, 'began', time.monotonic()):5.1f} s  {name}", flush=True)

    def _explain(self, kind):
        print(kind, flush=True)
        lines = subprocess.run(["journalctl", "--no-pager", "-o", "short-precise", "-n", "60",
                                "--after-cursor", getattr(self, "cursor", "")], capture_output=True, text=True)
        print("the journal meanwhile:\n" + lines.stdout, flush=True)

    def addSuccess(self, test):
        super(unittest.TextTestResult, self).addSuccess(test)
        self.passed = getattr(self, "passed", 0) + 1
        self._line(test, "ok")

    def addSkip(self, test, reason):
        super(unittest.TextTestResult, self).addSkip(test, reason)
        self._line(test, "skip")
        print("      " + reason, flush=True)

    def addError(self, test, err):
        super(unittest.TextTestResult, self).addError(test, err)
        self._line(test, "ERROR")
        self._explain(self._exc_info_to_string(err, test))

    def addFailure(self, test, err):
        super(unittest.TextTestResult, self).addFailure(test, err)
        self._line(test, "FAIL")
        self._explain(self._exc_info_to_string(err, test))

    def addSubTest(self, test, subtest, err):
        super(unittest.TextTestResult, self).addSubTest(test, subtest, err)
        if err is not None:
            self._line(subtest, "FAIL")
            print(self._exc_info_to_string(err, test), flush=True)

    def printErrors(self):
        pass


def main():
    (RESULTS / "started").touch()
    here = pathlib.Path(__file__).parent
    names = os.environ.get("ESPAT_TESTS", "").split() or sorted(p.stem for p in here.glob("test_*.py"))
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    result = unittest.TextTestRunner(stream=sys.stdout, resultclass=Result, verbosity=0).run(suite)
    bad = len(result.failures) + len(result.errors)
    passed = getattr(result, "passed", 0)
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"{passed} passed, {bad} failed{skipped}", flush=True)
    # Nothing done is nothing proven.
    (RESULTS / "status").write_text("0" if bad == 0 and passed > 0 else "1")


main()
