# SPDX-License-Identifier: MIT
"""Runs the tests inside the container; the status is left in /results/status."""
import os
import pathlib
import subprocess
import sys
import unittest

import result
import system

RESULTS = pathlib.Path("/results")


class Result(result.Result):
    mark = staticmethod(system.journal_cursor)

    @staticmethod
    def since(mark):
        return subprocess.run(["journalctl", "--no-pager", "-o", "short-precise", "-n", "60", "--after-cursor", mark],
                              capture_output=True, text=True).stdout


def main():
    (RESULTS / "started").touch()
    here = pathlib.Path(__file__).parent
    names = os.environ.get("ESPAT_TESTS", "").split() or sorted(p.stem for p in here.glob("test_*.py"))
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    (RESULTS / "status").write_text(str(result.run(suite, Result)))


main()
