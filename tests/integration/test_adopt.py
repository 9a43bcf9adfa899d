# SPDX-License-Identifier: MIT
"""Which chip is whose: another one on the same port gets no secret, until somebody accepts it."""
import os
import shutil
import subprocess

import pytest

from bench import tunnel
from clients import read_all, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import DEADLINE, as_nobody, wait_for, why_not_nobody
from tlsserver import echo

FIRST, SECOND = "24:0a:c4:00:00:01", "24:0a:c4:00:00:02"
READY = "^esp0: ready"
UNKNOWN = "^esp0: the chip .* is not the one of this device"


class Port:
    """One port and two chips, each with a flash of its own, of which one is plugged in."""

    def __init__(self, bench):
        self.bench = bench
        self.flashes = {}

    def plug(self, mac, *options):
        """This chip instead of the one that was there."""
        b = self.bench
        flash = b.dir / "flash"
        if self.flashes:
            b.chip.kill()
            shutil.move(flash, b.dir / f"flash-{self.there}")
        self.there = mac
        if mac in self.flashes:
            shutil.move(b.dir / f"flash-{mac}", flash)
        self.flashes[mac] = True
        return b.sim("--mac", mac, *options)


@pytest.fixture
def port(bench):
    return Port(bench)


@pytest.fixture
def psk(bench):
    """A file with a PSK; what a tunnel with it has to say."""
    path = bench.dir / "psk"
    path.write_text("psk-e81f92c7\n")
    path.chmod(0o600)
    return {"psk": {"identity": "gateway", "file": str(path)}, "authority": None}


def swapped(bench, port, there):
    """The daemon runs with the first chip, then the second one is on its port."""
    port.plug(FIRST)
    daemon = bench.espatd(*there).await_tunnels()
    assert works(daemon)
    seen = daemon.mark()
    port.plug(SECOND)
    daemon.await_line(UNKNOWN, seen)
    return daemon


def refused_for_the_chip(daemon, tunnel="broker"):
    """A client waits as long as it may, then it is sent away and told why."""
    seen = daemon.mark()
    with daemon.connect(tunnel) as s:
        assert read_all(s) == b""
    return daemon.await_line(f"^{tunnel}: connection failed: ", seen)


def told_no_secret(chip):
    """After the question who it is nothing more is said to it."""
    wait_for(lambda: chip.commands()[-1:] == ["AT+CIPSTAMAC?"], "this is the last question")
    told = chip.commands()
    assert not [x for x in told if x.startswith(("AT+SYSMFG", "AT+CWJAP", "AT+CIPSSLC"))]
    return True


def adopt(bench, mac, name="esp0"):
    result = bench.run("--adopt", f"{name}={mac}")
    assert result.returncode == 0, result.stderr
    assert mac.lower() in result.stdout
    return result


def test_another_chip_gets_nothing(bench, port, serve, psk):
    there = [tunnel(serve(echo, client_ca="ca"), identity="gateway", wait_timeout=1),
             tunnel(7, "meter", wait_timeout=1, **psk)]
    daemon = swapped(bench, port, there)
    line, = daemon.matching(UNKNOWN)
    assert FIRST in line and SECOND in line and "--adopt" in line, line
    for name in "broker", "meter":
        line = refused_for_the_chip(daemon, name)
        assert "the chip is not the one of this device" in line and "[no-material]" in line, line
    assert told_no_secret(bench.chip)
    # The right one comes back: nobody has to do anything.
    seen = daemon.mark()
    port.plug(FIRST)
    daemon.await_line(READY, seen)
    assert works(daemon)
    assert not bench.chip.commands("+SYSMFG=2,")
    # And the wrong one: it is told again.
    seen = daemon.mark()
    port.plug(SECOND)
    daemon.await_line(UNKNOWN, seen)
    assert told_no_secret(bench.chip)


def test_clients_wait_for_the_right_chip(bench, port, serve):
    """Whoever waits while the wrong one is there is served when the right one is."""
    daemon = swapped(bench, port, [tunnel(serve(echo))])
    with daemon.connect() as s:
        s.sendall(b"patience")
        port.plug(FIRST)
        assert s.recv(100) == b"patience"


def test_reset_of_an_unknown_chip(bench, port, serve):
    """It is looked at again, and is still another one, which is not told twice."""
    daemon = swapped(bench, port, [tunnel(serve(echo))])
    told = bench.chip.mark()
    bench.chip.fault("reset")
    bench.chip.await_line(r"AT\+CIPSTAMAC\?", told)
    bench.chip.await_line("^D>H .*CIPSTAMAC.*OK", told)
    assert told_no_secret(bench.chip)
    adopt(bench, SECOND)
    daemon.await_line(READY, count=2)
    assert len(daemon.matching(UNKNOWN)) == 1


def test_adopted_while_the_daemon_runs(bench, port, serve):
    server = serve(echo, client_ca="ca")
    daemon = swapped(bench, port, [tunnel(server, identity="gateway")])
    seen = daemon.mark()
    adopt(bench, SECOND.upper())
    daemon.await_line(READY, seen, timeout=5)
    assert works(daemon)
    assert bench.chip.commands("+SYSMFG=2,")
    # The first one is the other one now, also for the next daemon.
    seen = daemon.mark()
    port.plug(FIRST)
    daemon.await_line(UNKNOWN, seen)
    assert told_no_secret(bench.chip)
    assert daemon.end() == 0
    daemon = bench.espatd(tunnel(server, identity="gateway"))
    line = daemon.await_line(UNKNOWN)
    assert FIRST in line and SECOND in line
    assert told_no_secret(bench.chip)


def test_remembered_over_a_restart(bench, port, serve):
    there = tunnel(serve(echo))
    port.plug(FIRST)
    daemon = bench.espatd(there)
    daemon.await_line(f"^esp0: {FIRST} is the chip of this device from now on")
    daemon.await_tunnels()
    assert daemon.end() == 0
    assert (bench.dir / "state/chips/esp0").read_text() == FIRST + "\n"
    port.plug(SECOND)
    daemon = bench.espatd(there)
    daemon.await_line(UNKNOWN)
    assert not daemon.matching("from now on")
    assert told_no_secret(bench.chip)


def test_memory_that_is_lost_takes_the_chip_that_is_there(bench, port, serve):
    there = tunnel(serve(echo))
    port.plug(FIRST)
    assert bench.espatd(there).await_tunnels().end() == 0
    shutil.rmtree(bench.dir / "state")
    port.plug(SECOND)
    daemon = bench.espatd(there)
    daemon.await_line(f"^esp0: {SECOND} is the chip of this device from now on")
    daemon.await_line(READY)


def test_memory_that_is_damaged_takes_nothing(bench, port, serve):
    there = tunnel(serve(echo))
    port.plug(FIRST)
    assert bench.espatd(there).await_tunnels().end() == 0
    (bench.dir / "state/chips/esp0").write_text("24:0a:c4\n")
    port.plug(SECOND)
    daemon = bench.espatd(there)
    daemon.await_line("^esp0: cannot read which chip belongs to this device")
    assert told_no_secret(bench.chip)
    adopt(bench, SECOND)
    daemon.await_line(READY)
    assert works(daemon)


@pytest.mark.parametrize("pinned", [FIRST, FIRST.upper()])
def test_pinned(bench, port, serve, pinned):
    bench.device["mac"] = pinned
    there = tunnel(serve(echo))
    port.plug(SECOND)
    daemon = bench.espatd(there)
    line = daemon.await_line(UNKNOWN)
    assert FIRST in line.lower() and SECOND in line and "`mac`" in line, line
    assert told_no_secret(bench.chip)
    # There is nothing to remember for it.
    result = bench.run("--adopt", f"esp0={SECOND}")
    assert result.returncode == 1 and "`mac`" in result.stderr
    seen = daemon.mark()
    port.plug(FIRST)
    daemon.await_line(READY, seen)
    assert works(daemon)
    assert not (bench.dir / "state/chips").exists()


def test_any_chip(bench, port, serve):
    bench.device["adopt"] = "any"
    there = tunnel(serve(echo))
    # Of the time when it was one only.
    memory = bench.dir / "state/chips/esp0"
    memory.parent.mkdir(parents=True)
    memory.write_text("24:0a:c4:00:00:77\n")
    port.plug(FIRST)
    daemon = bench.espatd(there).await_tunnels()
    for mac in SECOND, FIRST:
        seen = daemon.mark()
        port.plug(mac)
        daemon.await_line(READY, seen)
        assert works(daemon)
    assert not daemon.matching(UNKNOWN)
    result = bench.run("--adopt", f"esp0={SECOND}")
    assert result.returncode == 1 and "any" in result.stderr
    assert memory.read_text() == "24:0a:c4:00:00:77\n"


# ---- a state folder that is of no use ----

def test_state_folder_that_is_a_file(bench):
    (bench.dir / "state").write_text("")
    daemon = bench.espatd(tunnel(7))
    assert daemon.wait() == 1
    line, = daemon.log()
    assert str(bench.dir / "state") in line and "ot a directory" in line, line


@pytest.mark.skipif(why_not_nobody() is not None, reason=str(why_not_nobody()))
@pytest.mark.parametrize("action", ["run", "adopt", "chips"])
def test_state_folder_that_may_not_be_written(bench, action):
    """For the daemon, for --adopt; and where only the folder of the chips is not ours."""
    port = bench.sim("--mac", FIRST)
    os.chmod(os.path.realpath(port.tty), 0o666)
    state = bench.dir / "state"
    text = (f'devices = ( {{ name = "esp0"; port = "{bench.dir}/tty"; }} );\n'
            'tunnels = ( { name = "t"; host = "broker.test"; port = 1; insecure = true; } );\n')
    (bench.dir / "espatd.conf").write_text(text)
    bench.dir.chmod(0o777)
    state.mkdir()
    if action == "chips":
        state.chmod(0o777)
        (state / "chips").mkdir(mode=0o755)
    else:
        state.chmod(0o555)
    command = as_nobody(os.environ["ESPATD"], "-c", bench.dir / "espatd.conf", "--bus", "none",
                        "--runtime-dir", bench.dir / "run", "--state-dir", state)
    if action == "adopt":
        command += ["--adopt", f"esp0={FIRST}"]
    if action == "chips":
        command += ["--provision-only"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert result.returncode == 1
    assert "Permission denied" in result.stderr
    if action == "chips":
        assert "esp0: cannot remember the chip of this device" in result.stderr
        assert told_no_secret(bench.chip)
    else:
        assert str(state) in result.stderr, result.stderr


# ---- arguments ----

BAD = ["esp0", "esp0=", "=" + FIRST, "esp0=24:0a:c4:00:00", "esp0=24:0a:c4:00:00:0g",
       "esp0=24-0a-c4-00-00-01", "esp0=" + FIRST + ":03", "esp9=" + FIRST, ""]


@pytest.mark.parametrize("argument", BAD)
def test_bad_argument(bench, argument):
    (bench.dir / "espatd.conf").write_text(bench.config(tunnel(7)))
    result = bench.run("--adopt", argument)
    name, _, mac = argument.partition("=")
    if mac == FIRST:
        assert result.returncode == 1 and "no device has the name" in result.stderr
    else:
        assert result.returncode == 2 and "--adopt" in result.stderr
    assert not result.stdout
    assert not (bench.dir / "state/chips").exists()


def test_adopted_before_the_chip_was_ever_seen(bench, port, serve):
    there = tunnel(serve(echo))
    (bench.dir / "espatd.conf").write_text(bench.config(there))
    adopt(bench, SECOND)
    port.plug(FIRST)
    daemon = bench.espatd(there)
    daemon.await_line(UNKNOWN)
    assert told_no_secret(bench.chip)
    seen = daemon.mark()
    port.plug(SECOND)
    daemon.await_line(READY, seen)
    assert works(daemon)


def test_the_next_one(bench, port, serve):
    """A bench where the chip goes out, and another one comes."""
    daemon = swapped(bench, port, [tunnel(serve(echo))])
    result = bench.run("--adopt", "esp0=next")
    assert result.returncode == 0 and "found next" in result.stdout, result.stderr
    daemon.await_line(READY, count=2)
    assert works(daemon)
    # The first one is another one now.
    seen = daemon.mark()
    port.plug(FIRST)
    line = daemon.await_line(UNKNOWN, seen)
    assert FIRST in line and SECOND in line
    assert told_no_secret(bench.chip)
