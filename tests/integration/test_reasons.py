# SPDX-License-Identifier: MIT
"""Why a connect has failed: each reason of the fixed set, with each firmware, and what asking for it costs."""
import random
import re
import threading
import time

import pytest

from bench import tunnel
from clients import exchange, read_all, read_exactly, refused, works
from firmwares import bench, bench_of_each, each_firmware  # noqa: F401 (bench: by name)
from fixtures import pki  # noqa: F401 (used by name)
from servers import Nobody, TcpServer
from tlsserver import TlsServer, say_and_hold

WITH_ERRNO = ["5.0"]  # it tells a number with the ERROR of a connect
UNTRUSTED, UNEXPLAINED = "not-trusted-or-handshake-failed", "unexplained"
CLOCK, MEMORY, MATERIAL = "clock-not-set", "out-of-memory", "no-material"
WIFI, RESET, TIMEOUT = "wifi-down", "chip-reset", "timeout"
BIG = random.Random(8).randbytes(2000000)
READY = "^esp0: ready"
# A tunnel's failures are looked into once a minute: each test has its own ones.
FAILING = ["retried", "undiagnosed", "failing", "stalled"]
GOOD = ["other", "clock-0", "clock-4102444800", "memory", "ca", "hasty"]
# Clients that come one after the other.
RETRIES = 10
# What explains a failure, other than the questions of the bring-up.
LONG_QUESTION = r'AT\+(CIPDOMAIN=|CIPSTART=\d,"TCP")'
QUESTION = r'AT\+(SYSRAM\?|SYSTIMESTAMP\?|CIPDOMAIN=|CIPSTART=\d,"TCP")'


@pytest.fixture(scope="module")
def servers(pki):
    made = {"good": TlsServer(pki), "big": TlsServer(pki, say_and_hold(BIG)), "silent": TcpServer(),
            "nobody": Nobody(), **{name: TcpServer(b"this is no TLS\r\n") for name in FAILING}}
    yield made
    for server in made.values():
        server.close()


@pytest.fixture(scope="module")
def benches(pki, servers):
    """Each server has a tunnel of its name, and the good one more."""
    def start(bench):
        bench.up(*(tunnel(server, name, diagnose=name != "undiagnosed") for name, server in servers.items()),
                 *(tunnel(servers["good"], name, wait_timeout=1 if name == "hasty" else 30) for name in GOOD),
                 sim=["--firmware", bench.firmware], options=["-v"])
        # From the first failure on +ERRNO is told, where there is one.
        assert refused(bench.daemon, "nobody")

    yield from bench_of_each(pki, start)


def reasons(daemon, name, after, count=1):
    """What the next failures were put down to."""
    failed = f"^{name}: connection failed: "
    daemon.await_line(failed, after, count)
    lines = daemon.matching(failed, after)
    return [re.search(r" \[([a-z-]+)\]$", line)[1] for line in lines]


@each_firmware()
@pytest.mark.parametrize("seconds", [0, 4102444800])
def test_clock(bench, seconds):
    """The wrong clock is told, and set right again."""
    daemon, told, name = bench.daemon, bench.daemon.mark(), f"clock-{seconds}"
    bench.await_idle()
    bench.chip.fault(f"clock {seconds}")
    try:
        assert refused(daemon, name)
        assert reasons(daemon, name, told) == [CLOCK]
        assert works(daemon, name)
    finally:
        bench.chip.fault(f"clock {int(time.time())}")


@each_firmware()
def test_memory(bench):
    daemon, told = bench.daemon, bench.daemon.mark()
    bench.await_idle()
    bench.chip.fault("heap 20000")
    try:
        assert refused(daemon, "memory")
        assert reasons(daemon, "memory", told) == [MEMORY]
    finally:
        bench.chip.fault("heap 0")
    assert works(daemon, "memory")


@each_firmware(["3.2", "4.1", "4.2"])  # what +ERRNO v5.0 tells then is not known
def test_material(bench):
    """What another program has erased is told, and written again."""
    daemon, told = bench.daemon, bench.daemon.mark()
    bench.await_idle()
    slot = bench.chip.commands("+CIPSSLCCONF=0,2,")[-1][-1]
    bench.chip.fault(f"mfg-erase client_ca client_ca.{slot}")
    assert refused(daemon, "ca")
    assert reasons(daemon, "ca", told) == [MATERIAL]
    assert works(daemon, "ca")


@each_firmware()
def test_without_diagnosis(bench, servers):
    """No connection but those that were asked for."""
    daemon, told, mark = bench.daemon, bench.daemon.mark(), servers["undiagnosed"].mark()
    for _ in range(RETRIES):
        assert refused(daemon, "undiagnosed")
    # +ERRNO costs nothing.
    reason = UNTRUSTED if bench.firmware in WITH_ERRNO else UNEXPLAINED
    assert reasons(daemon, "undiagnosed", told, RETRIES) == [reason] * RETRIES
    assert [x[:1] for x in servers["undiagnosed"].settled(mark)] == [b"\x16"] * RETRIES


@each_firmware()
def test_retries_are_not_explained_anew(bench, servers):
    """One probe, and it sends nothing; what it has found out is still so for the others."""
    daemon, told, mark = bench.daemon, bench.daemon.mark(), servers["retried"].mark()
    bench.await_idle()
    for _ in range(RETRIES):
        assert refused(daemon, "retried")
    assert reasons(daemon, "retried", told, RETRIES) == [UNTRUSTED] * RETRIES
    probes = [] if bench.firmware in WITH_ERRNO else [b""]
    assert sorted(x[:1] for x in servers["retried"].settled(mark)) == probes + [b"\x16"] * RETRIES


@each_firmware()
def test_a_busy_tunnel_is_not_held_up(bench, servers):
    """While one tunnel is busy another one's failures are not looked into; when it is quiet, they are."""
    daemon, told, stop = bench.daemon, bench.daemon.mark(), threading.Event()
    bench.await_idle()
    mark = bench.chip.mark()

    def stream(s):
        while not stop.is_set():
            exchange(s, b"x" * 500)

    with daemon.connect("other") as s:
        assert exchange(s, b"first") == b"first"
        bench.chip.await_line(r"^H>D AT\+CIPSEND=0,5\\r", mark)
        mark = bench.chip.mark()
        thread = threading.Thread(target=stream, args=(s,), daemon=True)
        thread.start()
        assert refused(daemon, "failing") and refused(daemon, "failing")
        stop.set()
        thread.join()
        bench.chip.await_line(r'^H>D AT\+CIPSTART=\d,"SSL"', mark, 2)
        between = "\n".join(bench.chip.commands("", mark)).split("AT+CIPSEND=0,500")
        # No question that takes its time, and between two blocks at most the one connect that a client has asked for.
        assert not re.search(LONG_QUESTION, "".join(between))
        assert sorted(x.count("AT+CIPSTART=") for x in between)[-3:] == [0, 1, 1]
        told_by_itself = bench.firmware in WITH_ERRNO
        assert reasons(daemon, "failing", told, 2) == [UNTRUSTED if told_by_itself else UNEXPLAINED] * 2
        assert refused(daemon, "failing")
        assert reasons(daemon, "failing", told, 3)[2:] == [UNTRUSTED]
        if told_by_itself:
            assert not re.search(QUESTION, "\n".join(bench.chip.commands("", mark)))
        else:
            bench.chip.await_line("^H>D " + QUESTION, mark)
        assert exchange(s, b"last") == b"last"


@each_firmware(["3.2", "4.1", "4.2"])
def test_who_waits_for_a_link_is_not_held_up(bench, servers):
    """Another one's failure is looked into when he has been served."""
    daemon, told, stalled = bench.daemon, bench.daemon.mark(), servers["stalled"]
    bench.await_idle()
    mark = stalled.mark()
    stalled.go.clear()
    with daemon.connect("stalled") as s, daemon.connect("other") as t:
        stalled.await_hello(mark)
        stalled.go.set()
        assert exchange(t, b"now") == b"now"
        assert not daemon.matching("^stalled: connection failed", told)
        assert read_all(s) == b""
    assert reasons(daemon, "stalled", told) == [UNTRUSTED]


# ---- after a reset +ERRNO is off again: these are the last ones ----


@each_firmware()
@pytest.mark.parametrize("fault, reason", [("wifi-drop", WIFI), ("reset", RESET), ("reset-rom", RESET)])
def test_in_the_middle_of_a_connect(bench, servers, fault, reason):
    daemon, told, mark = bench.daemon, bench.daemon.mark(), servers["silent"].mark()
    with daemon.connect("silent") as s:
        servers["silent"].await_hello(mark)
        bench.chip.fault(fault)
        assert read_all(s) == b""
    assert reasons(daemon, "silent", told) == [reason]
    daemon.await_line(READY, told)
    assert works(daemon, "good")


@each_firmware()
@pytest.mark.parametrize("fault, text", [("wifi-drop", "the chip has lost its Wi-Fi network"),
                                         ("reset", "the chip was reset or lost")])
def test_on_an_open_link(bench, fault, text):
    """What the client has is the beginning of what was sent, and that it is no more than that is told."""
    daemon, told = bench.daemon, bench.daemon.mark()
    with daemon.connect("big") as s:
        head = read_exactly(s, 20000)
        bench.chip.fault(fault)
        got = head + read_all(s)
    assert BIG.startswith(got) and len(got) < len(BIG)
    daemon.await_line(rf"^big: connection \d+ aborted: {text}$", told)
    daemon.await_line(READY, told)
    assert works(daemon, "good")


@each_firmware(["4.1"])
@pytest.mark.parametrize("fault, reason, back", [("wifi-drop 0", WIFI, None), ("unplug", RESET, "plug")])
def test_who_waits_for_the_chip(bench, fault, reason, back):
    daemon, told = bench.daemon, bench.daemon.mark()
    bench.chip.fault(fault)
    daemon.await_line("^esp0: (Wi-Fi is gone|the port .* is gone)", told)
    assert refused(daemon, "hasty")
    assert reasons(daemon, "hasty", told) == [reason]
    if back:
        bench.chip.fault(back)
    daemon.await_line(READY, told)
    assert works(daemon, "good")


@each_firmware(["3.2"])
def test_the_patience_of_the_chip(bench, servers):
    """It has given up before the client has; that was the answer, and no plain connection is tried."""
    daemon, told, mark = bench.daemon, bench.daemon.mark(), servers["silent"].mark()
    assert refused(daemon, "silent")
    assert reasons(daemon, "silent", told) == [TIMEOUT]
    assert len(servers["silent"].settled(mark)) == 1
    assert not daemon.matching("no answer", told)
