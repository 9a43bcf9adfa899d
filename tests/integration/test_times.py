# SPDX-License-Identifier: MIT
"""
How long it takes from the end of a fault to the next successful client, and that this stays within its bound.

A chip takes 1 s to join and 0.5 s for a handshake here, and its line is as slow as it says. Some of them, in the
usual suite; with ESPAT_TIMES=FILE all, at both rates and for the firmware profiles, and a table in that file.
"""
import os
import signal
import termios
import time

import pytest

from bench import tunnel
from clients import refused, works, works_again
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import echo

TABLE = os.environ.get("ESPAT_TIMES")
READY = "^esp0: ready"
SLOW, FAST = 115200, 921600
BOOT = 0.3
SIM = ("--baud", str(SLOW), "--join-ms", "1000", "--handshake-ms", "500", "--boot-ms", str(int(BOOT * 1000)),
       "--flash-ms", "20", "--join-fail-ms", "2000")
BLOCK = b"x" * 6000

pytestmark = pytest.mark.timeout(90)


class Place:
    """A chip in service, with a tunnel to an echo."""

    def __init__(self, bench, serve, rate, firmware="4.1"):
        self.bench, self.serve = bench, serve
        self.server = serve(echo)
        if rate > SLOW:
            bench.device["max_baud"] = rate
        # Who asks for a connection while nothing works is not told so at once.
        self.tunnels = [tunnel(self.server, connect_timeout=10, wait_timeout=30)]
        bench.sim(*SIM, "--firmware", firmware)
        self.start()

    def start(self):
        self.daemon = self.bench.espatd(*self.tunnels).await_tunnels()
        self.daemon.await_line(READY)

    def kill(self):
        self.daemon.process.send_signal(signal.SIGKILL)
        self.daemon.wait()

    @property
    def chip(self):
        return self.bench.chip

    def fault(self, line):
        """Returns when that was."""
        self.chip.fault(line)
        return time.monotonic()

    def send(self, data=b"hello"):
        """A client that sends; when the chip has been told to."""
        told = self.chip.mark()
        s = self.daemon.connect()
        s.sendall(data)
        self.chip.await_line(r"^H>D AT\+CIPSEND", told)
        return s

    def until_it_works(self, began):
        """Seconds."""
        works_again(self.daemon, 60)
        return time.monotonic() - began


# ---- what happens; each returns how long it took from the end of it ----

def reset(place):
    return place.until_it_works(place.fault("reset") + BOOT)


def no_prompt(place):
    place.fault("cmd AT+CIPSEND= 1 no-prompt")
    with place.send():
        return place.until_it_works(time.monotonic())


def lost_in_a_send(place):
    place.fault("cmd AT+CIPSEND= 1 drop in 1")
    with place.send(BLOCK):
        return place.until_it_works(time.monotonic())


def lost_in_a_value(place):
    """While it is replaced in service."""
    in_a_value(place)
    return place.until_it_works(time.monotonic())


def lost_answer(command):
    def happen(place):
        place.fault(f"cmd {command} 1 mute")
        began = time.monotonic()
        with place.daemon.connect():
            return place.until_it_works(began)
    return happen


def replugged(place):
    place.fault("unplug")
    place.daemon.await_line("the port .* is gone")
    return place.until_it_works(place.fault("plug"))


def replugged_with_its_power(place):
    place.chip.kill()
    place.daemon.await_line("the port .* is gone")
    place.bench.sim(*SIM)
    return place.until_it_works(time.monotonic())


def wifi_back(place):
    """It finds its network by itself when it looks again, after a second."""
    began = place.fault("wifi-drop 1") + 1
    place.daemon.await_line("Wi-Fi is gone")
    return place.until_it_works(began)


def wifi_back_at_once(place):
    """It does not look for it."""
    began = place.fault("wifi-drop 0")
    place.daemon.await_line("Wi-Fi is gone")
    return place.until_it_works(began)


def wifi_away(seconds):
    def happen(place):
        began = place.fault(f"wifi-away {seconds * 1000}") + seconds
        time.sleep(seconds)
        return place.until_it_works(began)
    return happen


def silent(seconds):
    """It neither hears nor says anything, and then goes on as if nothing had been."""
    def happen(place):
        place.chip.process.send_signal(signal.SIGSTOP)
        with place.daemon.connect():
            time.sleep(seconds)
            place.chip.process.send_signal(signal.SIGCONT)
            return place.until_it_works(time.monotonic())
    return happen


def hung_and_reset(place):
    place.fault("hang")
    with place.daemon.connect():
        place.daemon.await_line("lost step")
        return place.until_it_works(place.fault("reset") + BOOT)


def at_another_rate(place):
    """Another program has left it at one that the daemon may use, too."""
    place.kill()
    place.chip.ask("AT+UART_CUR=460800,8,1,0,0", rate=termios.B921600)
    began = time.monotonic()
    place.start()
    return place.until_it_works(began)


def server_back(place):
    place.server.close()
    assert refused(place.daemon)
    place.serve(echo, port=place.server.port)
    began = time.monotonic()
    assert works(place.daemon)
    return time.monotonic() - began


# ---- the daemon is killed in the middle of something, and started ----

def killed(prepare):
    def happen(place):
        left = prepare(place)
        place.kill()
        began = time.monotonic()
        place.daemon = place.bench.espatd(*place.tunnels).await_tunnels()
        took = place.until_it_works(began)
        if left:
            left.close()
        return took
    return happen


def in_nothing(place):
    pass


def in_a_send(place):
    """The chip waits for the last byte of a block."""
    place.fault("cmd AT+CIPSEND= 1 drop in 1")
    s = place.send(BLOCK)
    time.sleep(len(BLOCK) * 10 / SLOW)
    return s


def in_a_value(place):
    """Of a certificate the chip waits for the last byte."""
    place.bench.own_files()
    place.daemon.config.write_text(place.bench.config(*place.tunnels))
    told = place.chip.mark()
    place.fault("cmd AT+SYSMFG=2 2 drop in 1")
    place.bench.replace(ca="both")
    place.bench.reload()
    place.chip.await_line(r"^H>D AT\+SYSMFG=2", told, count=2)
    time.sleep(0.5)


def in_a_handshake(place):
    told = place.chip.mark()
    s = place.daemon.connect()
    place.chip.await_line(r"^H>D AT\+CIPSTART", told)
    return s


def in_passthrough(place):
    assert place.daemon.end() == 0
    place.chip.ask("AT+CIPMUX=0")
    place.chip.ask("AT+CIPMODE=1")
    place.chip.ask(f'AT+CIPSTART="TCP","10.9.9.9",{place.server.port}')
    place.chip.ask("AT+CIPSEND", b"")


CAUSES = {
    # name: (bound in s, what happens, at which rates in the usual suite)
    "chip reset": (4, reset, [FAST]),
    "stuck prompt: none came": (5, no_prompt, []),
    "stuck prompt: a byte of a send was lost": (5, lost_in_a_send, [SLOW]),
    "stuck prompt: a byte of a certificate was lost": (8, lost_in_a_value, []),
    "an answer to CIPSTART was lost": (5, lost_answer("AT+CIPSTART"), [SLOW]),
    "an answer to a TLS setting was lost": (5, lost_answer("AT+CIPSSLCCN"), []),
    "silent chip, 3 s": (15, silent(3), []),
    "silent chip, 40 s": (15, silent(40), []),
    "silent chip, then reset": (4, hung_and_reset, []),
    "wrong baud": (8, at_another_rate, [FAST]),
    "replug": (3, replugged, [FAST]),
    "replug of a chip without power": (5, replugged_with_its_power, []),
    "Wi-Fi back": (5, wifi_back, []),
    "Wi-Fi back, the chip does not look for it": (5, wifi_back_at_once, [FAST]),
    "Wi-Fi back after 12 s": (5, wifi_away(12), []),
    "kill -9": (4, killed(in_nothing), []),
    "kill -9 in a send": (4, killed(in_a_send), [SLOW]),
    "kill -9 in a certificate": (4, killed(in_a_value), [FAST]),
    "kill -9 in a handshake": (4, killed(in_a_handshake), []),
    "kill -9 in passthrough": (4, killed(in_passthrough), []),
    "server back": (1.5, server_back, []),
}


# Of the others one, 4.1.
PROFILES = ["3.2", "5.0"]
PROFILED = ["chip reset", "stuck prompt: a byte of a send was lost", "Wi-Fi back", "kill -9 in a certificate"]


def cases():
    for name, (_, happen, usual) in CAUSES.items():
        for rate in (SLOW, FAST) if TABLE else usual:
            for firmware in ["4.1", *(PROFILES if TABLE and name in PROFILED else [])]:
                if happen is not at_another_rate or rate > SLOW:
                    yield pytest.param(name, rate, firmware, id=f"{name}, {rate} baud, {firmware}")


@pytest.fixture(scope="module")
def measured():
    """{cause: {rate: [seconds]}}, and a table of that."""
    found = {}
    yield found
    if not TABLE:
        return
    with open(TABLE, "w") as f:
        f.write(f"| fault | at most, s | {SLOW} baud | {FAST} baud |\n| --- | --- | --- | --- |\n")
        for name, rates in found.items():
            worst = (f"{max(rates[rate]):.1f}" if rate in rates else "" for rate in (SLOW, FAST))
            f.write(f"| {name} | {CAUSES[name][0]:g} | {' | '.join(worst)} |\n")


@pytest.mark.parametrize("name, rate, firmware", cases())
def test_time(bench, serve, measured, name, rate, firmware):
    bound, happen, _ = CAUSES[name]
    took = happen(Place(bench, serve, rate, firmware))
    measured.setdefault(name, {}).setdefault(rate, []).append(took)
    assert took <= bound, "\n".join(bench.daemon.log()[-20:])
