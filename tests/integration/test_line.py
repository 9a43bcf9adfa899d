# SPDX-License-Identifier: MIT
"""The line: a higher rate, RTS/CTS, and where a chip is found whose daemon has gone."""
import random
import signal
import time

import pytest

from bench import tunnel
from clients import exchange, read_exactly, send_in_background, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import wait_for
from tlsserver import echo, swallow

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


def lines(daemon, pattern, after=0):
    return daemon.matching("^esp0: " + pattern, after)


def test_raised(bench, serve):
    """To the rate that is allowed, with flow control, which is proven; what is sent stays whole."""
    bench.device["max_baud"] = 3000000
    bench.sim(*PACED)
    daemon = bench.espatd(tunnel(serve(echo))).await_tunnels()
    daemon.await_line(READY)
    assert lines(daemon, "the line runs at 3000000 baud, with RTS/CTS$")
    assert bench.chip.commands("+UART_CUR=") == [at(3000000), at(3000000, 3)]
    began = time.monotonic()
    assert carried(daemon) == BIG
    # 17 s at the rate of the start, in one direction.
    assert time.monotonic() - began < 10


def test_nothing_is_raised_that_is_not_asked_for(bench, serve):
    daemon = bench.up(tunnel(serve(echo)), sim=PACED)
    assert works(daemon)
    assert not bench.chip.commands("+UART_CUR=")


def test_bad_above_a_rate(bench, serve):
    """What does not work is told once, and not tried again when the chip comes back."""
    bench.device["max_baud"] = 3000000
    bench.sim(*PACED, "--max-baud", "1500000")
    daemon = bench.espatd(tunnel(serve(echo))).await_tunnels()
    daemon.await_line(READY)
    assert len(lines(daemon, "the line does not work at 3000000 baud")) == 1
    assert len(lines(daemon, "the line does not work at 2000000 baud")) == 1
    assert lines(daemon, "the line runs at 1500000 baud, with RTS/CTS$")
    assert carried(daemon) == BIG
    seen, told = daemon.mark(), bench.chip.mark()
    bench.chip.fault("reset")
    daemon.await_line(READY, seen)
    assert bench.chip.commands("+UART_CUR=", told) == [at(1500000), at(1500000, 3)]
    assert works(daemon)


def test_rts_is_not_wired(bench, serve):
    """The chip's input overflows in the proof: without flow control, and so it is told."""
    pytest.importorskip("dbus")
    bench.device.update(max_baud=921600, flow_control="rtscts")
    bus = bench.with_bus()
    bench.sim(*PACED, "--no-rts")
    daemon = bench.espatd(tunnel(serve(echo))).await_tunnels()
    daemon.await_line(READY)
    assert len(lines(daemon, "RTS/CTS do not work: .*; going on without")) == 1
    assert lines(daemon, "the line runs at 921600 baud, without flow control$")
    assert carried(daemon) == BIG
    chip = bus.chip()
    assert chip["FlowControl"] == "none" and "came back" in chip["FlowControlError"]


def test_cts_is_not_wired(bench, serve):
    """Such a chip is silent until it is reset; then it is not asked for that again."""
    bench.device["max_baud"] = 921600
    bench.sim(*PACED, "--no-cts")
    daemon = bench.espatd(tunnel(serve(echo)))
    daemon.await_line("^esp0: no answer from a chip at 115200 baud, nor at a higher rate")
    told = bench.chip.mark()
    bench.chip.fault("reset")
    daemon.await_tunnels()
    daemon.await_line("^esp0: the line runs at 921600 baud, without flow control$")
    assert bench.chip.commands("+UART_CUR=", told) == [at(921600)]
    assert works(daemon)


@pytest.mark.parametrize("rate", [3000000, 460800])
def test_killed_and_started(bench, serve, rate):
    """The chip still has the raised rate and flow control."""
    bench.device["max_baud"] = rate
    server = serve(echo)
    bench.sim(*PACED)
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    daemon.await_line(READY)
    daemon.process.send_signal(signal.SIGKILL)
    daemon.wait()
    began = time.monotonic()
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    daemon.await_line("^esp0: found")
    # 2 s more than one that is at the rate of the start takes.
    assert time.monotonic() - began < 4
    daemon.await_line(READY)
    assert carried(daemon) == BIG


def test_killed_in_a_send(bench, serve):
    """It is in the middle of a block, at the raised rate: what is tried then never becomes data."""
    bench.device["max_baud"] = 921600
    server = serve(echo)
    bench.sim(*PACED)
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    daemon.await_line(READY)
    with daemon.connect() as s:
        assert exchange(s, b"hello") == b"hello"
        told = bench.chip.mark()
        bench.chip.fault("cmd AT+CIPSEND 1 drop in 1")
        s.sendall(b"abc")
        # It still waits for one byte.
        bench.chip.await_line("^H>D bc$", told)
        daemon.process.send_signal(signal.SIGKILL)
        daemon.wait()
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    daemon.await_line(READY)
    assert bytes(server.connection().received) == b"hello"
    assert carried(daemon) == BIG


def await_silence(chip):
    """
    A process that has a serial port does not end before what it has written has gone. A pseudo-terminal keeps
    that, and the next process would change its rate.
    """
    seen, since = chip.mark(), time.monotonic()
    while time.monotonic() - since < 1:
        time.sleep(0.05)
        if chip.mark() != seen:
            seen, since = chip.mark(), time.monotonic()


def test_killed_in_a_long_block(bench, serve):
    """What the chip is told when it is looked for is no part of what the server gets."""
    bench.device["max_baud"] = 921600
    server = serve(swallow)
    tunnels = tunnel(server), tunnel(serve(echo), name="other")
    bench.sim(*PACED)
    daemon = bench.espatd(*tunnels).await_tunnels()
    daemon.await_line(READY)
    with daemon.connect() as s:
        send_in_background(s, BIG)
        wait_for(lambda: server.connections and len(server.connection().received) > 20000,
                 "the server gets something")
        daemon.process.send_signal(signal.SIGKILL)
        daemon.wait()
    await_silence(bench.chip)
    daemon = bench.espatd(*tunnels).await_tunnels()
    daemon.await_line("^esp0: found")
    daemon.await_line(READY)
    received = bytes(server.connection().received)
    assert len(received) < len(BIG) and BIG.startswith(received)
    assert works(daemon, "other")


def test_stopped_for_longer_than_a_time_out(bench, serve):
    """What the chip has said while the process did not run is read before the chip is given up."""
    bench.device["baud"] = 3000000
    daemon = bench.up(tunnel(serve(echo)), sim=("--baud", "3000000"))
    with daemon.connect() as s:
        assert exchange(s, b"first") == b"first"
        told = bench.chip.mark()
        bench.chip.fault("cmd AT+CIPSEND 1 delay 500")
        s.sendall(b"second")
        bench.chip.await_line(r"^H>D AT\+CIPSEND=", told)
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)  # a prompt is waited for for 2 s
        daemon.process.send_signal(signal.SIGCONT)
        assert read_exactly(s, 6) == b"second"
    assert not daemon.matching("no answer")


def test_stopped_and_started(bench, serve):
    """Who stops in good order leaves the chip as it was found."""
    bench.device["max_baud"] = 921600
    server = serve(echo)
    bench.sim(*PACED)
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    daemon.await_line(READY)
    assert daemon.end() == 0
    bench.chip.await_line(r"^H>D AT\+UART_CUR=115200,")
    del bench.device["max_baud"]
    told = bench.chip.mark()
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    daemon.await_line(READY)
    assert works(daemon)
    assert not bench.chip.commands("+UART_CUR=", told)


def test_reset_in_service(bench, serve):
    """It says `ready` at the rate of the start, which is noise at the raised one."""
    bench.device["max_baud"] = 921600
    bench.sim(*PACED)
    daemon = bench.espatd(tunnel(serve(echo))).await_tunnels()
    daemon.await_line(READY)
    seen = daemon.mark()
    bench.chip.fault("reset")
    daemon.await_line(READY, seen)
    assert lines(daemon, "the line runs at 921600 baud, with RTS/CTS$", seen)
    assert carried(daemon) == BIG


def test_what_is_told_of_it(bench, serve):
    """Over D-Bus: what the line has now, not what the configuration has."""
    pytest.importorskip("dbus")
    bench.device["max_baud"] = 921600
    bus = bench.with_bus()
    bench.sim(*PACED)
    daemon = bench.espatd(tunnel(serve(echo))).await_tunnels()
    daemon.await_line(READY)
    bus.await_name()
    chip = bus.chip()
    assert (chip["Baud"], chip["FlowControl"], chip["FlowControlError"]) == (921600, "rtscts", "")


def test_reset_in_a_long_block(bench, serve):
    """The rest of what a client has sent is no command for a chip that has started anew."""
    bench.device["baud"] = 921600
    server = serve(swallow)
    bench.sim("--baud", "921600", "--boot-ms", "400")  # no real chip starts sooner
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    daemon.await_line(READY)
    command = b'\r\nAT+SYSMFG=0,"client_ca"\r\n'
    before = bench.chip.flash()
    with daemon.connect() as s:
        told = bench.chip.mark()
        thread = send_in_background(s, command * (400000 // len(command)))
        bench.chip.await_line("CIPSENDL=0,", told)
        seen = daemon.mark()
        bench.chip.fault("reset")
        daemon.await_line("connection 1 aborted", seen)
        thread.join()
    daemon.await_line(READY, seen)
    assert bench.chip.flash() == before
    assert not bench.chip.commands("+SYSMFG=0", told)
