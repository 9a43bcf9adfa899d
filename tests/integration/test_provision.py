# SPDX-License-Identifier: MIT
"""Certificates get into the chip whole, whatever happens while they are written."""
import pytest

from bench import tunnel
from clients import exchange, read_exactly, send_in_background, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import echo

# A flash may take 15 s, so that is how long a lost byte goes unnoticed.
PATIENCE = 45


def is_provisioned(bench, daemon, there):
    """The chip connects with what it holds, and a daemon that compares finds nothing to write."""
    assert works(daemon)
    assert daemon.end() == 0
    seen = bench.chip.mark()
    daemon = bench.espatd(there).await_tunnels()
    assert works(daemon)
    return bench.chip.commands("+SYSMFG=1,", seen) and not bench.chip.commands("+SYSMFG=2,", seen)


def started(bench, there):
    """Started, and waited for with much patience."""
    daemon = bench.espatd(there)
    daemon.await_line("broker: listening on", timeout=PATIENCE)
    return daemon


@pytest.mark.parametrize("write", [1, 2, 3])
def test_killed_while_the_flash_is_written(bench, serve, write):
    there = tunnel(serve(echo, client_ca="ca"), identity="gateway")
    bench.sim("--flash-ms", "150")
    daemon = bench.espatd(there)
    bench.chip.await_line(r"AT\+SYSMFG=2,", count=write)
    daemon.kill()
    assert is_provisioned(bench, started(bench, there), there)


@pytest.mark.parametrize("what", ["client_cert", "client_key"])
def test_killed_in_the_middle_of_a_block(bench, serve, what):
    """The chip waits for the rest for ever, and takes whatever comes for it."""
    there = tunnel(serve(echo, client_ca="ca"), identity="gateway")
    bench.sim()
    # What the daemon has written the line still carries: some of it must get lost there.
    bench.chip.fault(f'cmd AT+SYSMFG=2,"{what}" 1 drop in 300')
    daemon = bench.espatd(there)
    command = bench.chip.await_line(rf'AT\+SYSMFG=2,"{what}"')
    bench.chip.await_line(r"^H>D (?!AT\+)", after=bench.chip.log().index(command))
    daemon.kill()
    assert is_provisioned(bench, started(bench, there), there)


QUICK = ["flip in 1", "double in 1", "brownout-old", "brownout-new", "reset", "busy 2"]
SLOW = [("client_ca", "drop in 1"), ("client_key", "drop in 300"), ("client_ca", "mute"),
        ("client_key", "no-prompt")]  # these are found by time-outs


@pytest.mark.parametrize("what, fault", [*(("client_key", fault) for fault in QUICK), *SLOW])
def test_write_goes_wrong(bench, serve, what, fault):
    """What is damaged is found by reading it back, and written again."""
    there = tunnel(serve(echo, client_ca="ca"), identity="gateway")
    bench.sim()
    bench.chip.fault(f'cmd AT+SYSMFG=2,"{what}" 1 {fault}')
    assert is_provisioned(bench, started(bench, there), there)
    assert len(bench.chip.commands(f'+SYSMFG=2,"{what}"')) >= (1 if fault == "brownout-new" else 2)


def test_damage_is_told(bench, serve):
    there = tunnel(serve(echo, client_ca="ca"), identity="gateway")
    bench.sim()
    bench.chip.fault('cmd AT+SYSMFG=2,"client_cert" 1 flip in 1')
    daemon = started(bench, there)
    daemon.await_line("esp0: client_cert.* does not read back as it was written")
    assert works(daemon)


def test_killed_in_mid_transfer(bench, serve):
    """The chip has open links, and sends what comes for them: none of it reaches the next client."""
    server = serve(echo)
    there = tunnel(server)
    daemon = bench.up(there)
    for _ in range(2):
        clients = [daemon.connect() for _ in range(3)]
        for s in clients:
            send_in_background(s, b"of the time before. " * 100000)
            read_exactly(s, 20000)
        daemon.kill()
        daemon = started(bench, there)
        for s in clients:
            s.close()
    with daemon.connect() as s:
        assert exchange(s, b"of now") == b"of now"
    last = server.connections[-1]
    assert last.ended.wait(20)
    assert last.received == b"of now"


def test_simulator_killed_and_started_again(bench, serve):
    """A power cut: the flash stays, all else is gone."""
    there = tunnel(serve(echo, client_ca="ca"), identity="gateway")
    daemon = bench.up(there)
    assert works(daemon)
    bench.chip.kill()
    daemon.await_line("esp0: the port .* is gone")
    seen = daemon.mark()
    bench.sim()
    daemon.await_line("^esp0: ready", seen)
    assert works(daemon)
    assert not bench.chip.commands("+SYSMFG=2,")
