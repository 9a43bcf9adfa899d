# SPDX-License-Identifier: MIT
"""Changes of material that are not over when the next thing happens."""
import os
import signal
import subprocess

import pytest

pytest.importorskip("dbus")

from bench import tunnel  # noqa: E402
from clients import exchange, works  # noqa: E402
from fixtures import bench, pki, serve  # noqa: E402,F401 (used by name)
from harness import Program, wait_for  # noqa: E402
from privatebus import NAME, ROOT, BusError  # noqa: E402


def pem(pki, name):
    return (pki / f"{name}.pem").read_text()


def later(bus, method, signature, *args):
    """A call of the manager's that is not waited for."""
    return subprocess.Popen(
        ["busctl", f"--address={bus.address}", "--", "call", NAME, ROOT, f"{NAME}.Manager", method, signature, *args],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def full(chip):
    """Of its slots for authorities only one is free."""
    chip.await_line("^D>H .*ready")
    for slot in range(3, 10):
        value = b"%d of somebody else" % slot
        chip.ask(f'AT+SYSMFG=2,"client_ca","client_ca.{slot}",8,{len(value)}', value)


def test_old_one_stays_as_long_as_one_chip_lacks_the_new(bench, serve):
    """Whatever else is changed meanwhile; and no longer."""
    bench.own_files()
    server = serve()
    bus = bench.with_bus()
    full(bench.another("esp1"))
    daemon = bench.up(tunnel(server, "one", device="esp0"), tunnel(server, "two", device="esp1"))
    daemon.await_line("^esp1: ready$")
    bus.await_name()
    with daemon.connect("two") as s:
        assert exchange(s, b"hello") == b"hello"
        result = bus.manager("SetAuthority", "ss", "corp", pem(bench.pki, "both"))
        assert result["esp0"] == (True, "it is on the chip")
        assert result["esp1"][0] is False and "no slot is free until" in result["esp1"][1]
        assert bus.manager("SetAuthority", "ss", "other", pem(bench.pki, "ca2")) == {}
        gone = (True, "nothing of it is on the chip")
        assert bus.manager("RemoveAuthority", "s", "other") == {"esp0": gone, "esp1": gone}
        # An answer of the chip's behind whatever that has begun.
        bus.device("Device", "SyncTime")
        assert not daemon.matching("^esp0: erased")
        assert exchange(s, b"still") == b"still"
        seen = daemon.mark()
    daemon.await_line("^esp0: erased client_ca", seen)
    assert works(daemon, "one") and works(daemon, "two")


def test_name_that_goes_while_it_is_written(bench, serve):
    """Nobody looks for its place any more."""
    server = serve()
    bus = bench.with_bus()
    daemon = bench.up(tunnel(server), sim=["--flash-ms", "600"])
    bus.await_name()
    bus.manager("SetAuthority", "ss", "made", pem(bench.pki, "ca2"))
    bus.manager("CreateTunnel", "sa{sv}", "more", {"host": "broker.test", "port": server.port, "authority": "made"})
    call = later(bus, "SetAuthority", "ss", "made", pem(bench.pki, "both"))
    daemon.await_line("^authority made was set over D-Bus", count=2)
    bus.manager("RemoveTunnel", "s", "more")
    gone = later(bus, "RemoveAuthority", "s", "made")
    daemon.await_line("^authority made was removed over D-Bus")
    assert call.poll() is None, "it is over already"
    bus.manager("CreateTunnel", "sa{sv}", "less", {"host": "broker.test", "port": server.port, "authority": "corp"})
    assert call.wait(30) == 0 and gone.wait(30) == 0, (call.stderr.read(), gone.stderr.read())
    assert works(daemon, "less")


def test_name_that_goes_while_a_chip_is_not_there(bench, serve):
    """Its result says what becomes of it there."""
    server = serve()
    bus = bench.with_bus()
    second = bench.another("esp1")
    daemon = bench.up(tunnel(server, "one", device="esp0"))
    daemon.await_line("^esp1: ready$")
    bus.await_name()
    assert bus.manager("SetAuthority", "ss", "made", pem(bench.pki, "ca2")) == {}
    second.kill()
    daemon.await_line("^esp1: the port .* is gone")
    told = bus.manager("RemoveAuthority", "s", "made")
    assert told["esp0"] == (True, "nothing of it is on the chip")
    assert told["esp1"][0] is False and told["esp1"][1].endswith("it stays there as an orphan")


def test_kept_tunnel_that_was_left_out_is_not_lost(bench, serve):
    """By one of its name that is refused."""
    server = serve()
    bus = bench.with_bus()
    bench.up(tunnel(server))
    bus.await_name()
    options = {"host": "broker.test", "port": server.port, "authority": "corp", "persist": True}
    bus.manager("CreateTunnel", "sa{sv}", "kept", options)
    kept = bench.dir / "state" / "tunnels" / "kept.conf"
    text = kept.read_bytes()
    assert bench.daemon.end() == 0
    bench.authority["name"] = "other"
    daemon = bench.espatd(tunnel(server, authority="other")).await_tunnels()
    assert daemon.matching("the kept tunnel kept is left out")
    bus.await_name()
    with pytest.raises(BusError) as error:
        bus.manager("CreateTunnel", "sa{sv}", "kept", {**options, "port": 1})
    assert error.value.name == "BadConfiguration"
    assert kept.read_bytes() == text
    bus.manager("CreateTunnel", "sa{sv}", "kept", {**options, "authority": "other"})
    assert b"other" in kept.read_bytes()


def test_name_of_a_configuration_of_before_is_set(bench, serve):
    """What its files held is still kept, and set again it is no less there than anything else."""
    server = serve()
    bench.more["authorities"] = [{"name": "made", "file": f"{bench.pki}/ca2.pem"}]
    bus = bench.with_bus()
    daemon = bench.up(tunnel(server))
    bus.await_name()
    bench.more["authorities"] = []
    bench.rewrite(tunnel(server))
    bus.manager("Reload")
    assert [x["Name"] for x in bus.manager("ListAuthorities")] == ["corp"]
    bus.manager("SetAuthority", "ss", "made", pem(bench.pki, "ca2"))
    told = {x["Name"]: x["Source"] for x in bus.manager("ListAuthorities")}
    assert told == {"corp": "file", "made": "set"}
    assert works(daemon)


@pytest.mark.parametrize("method", ["Reload", "CreateTunnel"])
def test_nothing_is_changed_at_the_end(bench, serve, method):
    """Who would come in by a new socket would never get out in time."""
    server = serve()
    bench.root["drain_timeout"] = 60
    bus = bench.with_bus()
    daemon = bench.up(tunnel(server, "one"))
    bus.await_name()
    with daemon.connect("one") as s:
        assert exchange(s, b"hello") == b"hello"
        daemon.process.send_signal(signal.SIGTERM)
        daemon.await_line("^SIGTERM, stopping$")
        with pytest.raises(BusError) as error:
            if method == "Reload":
                bench.rewrite(tunnel(server, "one"), tunnel(server, "two"))
                bus.manager("Reload")
            else:
                bus.manager("CreateTunnel", "sa{sv}", "two",
                            {"host": "broker.test", "port": server.port, "authority": "corp"})
        assert error.value.name == "Stopping"
        assert exchange(s, b"still there?") == b"still there?"
        assert not daemon.matching("^two: ")
    assert daemon.wait() == 0


def test_hangup_at_the_end(bench, serve):
    server = serve()
    bench.root["drain_timeout"] = 60
    daemon = bench.up(tunnel(server, "one"))
    with daemon.connect("one") as s:
        assert exchange(s, b"hello") == b"hello"
        daemon.process.send_signal(signal.SIGTERM)
        daemon.await_line("^SIGTERM, stopping$")
        bench.rewrite(tunnel(server, "one"), tunnel(server, "two"))
        seen = bench.reload()
        daemon.await_line("^not reloaded", seen)
        assert exchange(s, b"still there?") == b"still there?"
        assert not daemon.matching("^two: ")
    assert daemon.wait() == 0


def test_hangup_where_chips_are_only_provisioned(bench):
    """It makes no sockets, and changes nothing of what it was asked to do."""
    chip = bench.sim("--flash-ms", "300")
    (bench.dir / "espatd.conf").write_text(bench.config(tunnel(7)))
    daemon = Program([os.environ["ESPATD"], "-c", bench.dir / "espatd.conf", "--runtime-dir", bench.dir / "run",
                      "--state-dir", bench.dir / "state", "--provision-only"])
    bench.parts.append(daemon)
    chip.await_line(r"AT\+SYSMFG=2,")
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.wait() == 0
    assert not daemon.matching("listening|reloaded the configuration")
    wait_for(lambda: not (bench.dir / "run").exists(), "no runtime folder")
