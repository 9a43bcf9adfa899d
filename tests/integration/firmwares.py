# SPDX-License-Identifier: MIT
"""Test files that run with each firmware: one chip and one daemon for each, for all tests of the file."""
import contextlib
import functools

import pytest

from bench import Bench

FIRMWARE = ["3.2", "4.1", "4.2", "5.0"]


def each_firmware(firmware=None):
    return pytest.mark.parametrize("bench", firmware or FIRMWARE, indirect=True)


def bench_of_each(pki, start):
    """For a fixture `benches`: makes the bench of a firmware when it is asked for, by @start(bench)."""
    with contextlib.ExitStack() as stack:
        @functools.cache
        def make(firmware):
            made = Bench(pki)
            stack.callback(made.close)
            made.firmware = firmware
            start(made)
            return made

        yield make


@pytest.fixture
def bench(request, benches):
    return benches(request.param)
