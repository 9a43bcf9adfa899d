# SPDX-License-Identifier: MIT
"""How tests in a booted tree are told."""
import sys
import time
import unittest


class Result(unittest.TextTestResult):
    """
    A line for each test, with its time; what the service said behind one that has failed: whoever uses this
    says with mark() where its journal is now, and with since(mark) what has come after that.
    """

    def startTest(self, test):
        super(unittest.TextTestResult, self).startTest(test)
        self.began = time.monotonic()
        self.marked = self.mark()

    def _line(self, test, outcome):
        name = test.id() if hasattr(test, "id") else str(test)
        print(f"{outcome:5} {time.monotonic() - getattr(self, 'began', time.monotonic()):5.1f} s  {name}", flush=True)

    def _explain(self, kind):
        print(kind, flush=True)
        print("the journal meanwhile:\n" + self.since(getattr(self, "marked", "")), flush=True)

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


def run(suite, kind):
    """The exit status, for a suite told by that kind of Result."""
    result = unittest.TextTestRunner(stream=sys.stdout, resultclass=kind, verbosity=0).run(suite)
    bad = len(result.failures) + len(result.errors)
    passed = getattr(result, "passed", 0)
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"{passed} passed, {bad} failed{skipped}", flush=True)
    # Nothing done is nothing proven.
    return 0 if bad == 0 and passed > 0 else 1
