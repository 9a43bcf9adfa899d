# SPDX-License-Identifier: MIT
"""The line: a higher rate, RTS/CTS, and where a chip is found whose daemon has gone."""
import random
import signal
import time

import pytest

from bench import tunnel
from clients import exchange, read_exactly, send_in_background, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import echo

BIG = random.Random(11).randbytes(200000)
PACED = ("--baud", "115200")
READY = "^esp0: ready"


def carried(daemon, data=BIG):
    """What an echo makes of it, both ways at once."""
    with daemon.connect() as s:
        s.settimeout(40)
        thread = send_in_background(s, data)
        got = read_exactly(s, len(data))
        thread.join()
    return got


def at(rate, flow=0):
    return f"AT+UART_CUR={rate},8,1,0,{flow}"


def test_raised(bench, serve):
    """To the rate that is allowed, with flow control, which is proven; what is sent stays whole."""
    bench.device["max_baud"] = 3000000
    bench.sim(*PACED)
    daemon = bench.espatd(tunnel(serve(echo))).await_tunnels()  # DBG
    daemon.await_line("^esp0: the line runs at 3000000 baud, with RTS/CTS")
    assert bench.chip.commands("+UART_CUR=") == [at(3000000), at(3000000, 3)]
    began = time.monotonic()
    assert carried(daemon) == BIG
    # 17 s at the rate of the start, in one direction.
    assert time.monotonic() - began < 10
