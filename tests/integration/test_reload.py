# SPDX-License-Identifier: MIT
"""Another configuration while espatd runs: what has not changed does not notice."""
import fcntl
import signal

import pytest

from bench import tunnel
from clients import exchange, read_all, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import wait_for

RELOADED = "^reloaded the configuration"
NOT_RELOADED = "^not reloaded, all stays as it was"


def reload(bench, *tunnels, text=None, pattern=RELOADED):
    """The new configuration is in effect; where the log was before."""
    bench.rewrite(*tunnels, text=text)
    seen = bench.reload()
    bench.daemon.await_line(pattern, seen)
    return seen


def test_added_tunnel(bench, serve):
    server = serve()
    daemon = bench.up(tunnel(server, "one"))
    with daemon.connect("one") as s:
        assert exchange(s, b"before") == b"before"
        seen = reload(bench, tunnel(server, "one"), tunnel(server, "two"))
        daemon.await_line("^two: listening on", seen)
        assert works(daemon, "two")
        assert exchange(s, b"after") == b"after"
    assert not daemon.matching("aborted", seen)


def test_removed_tunnel(bench, serve):
    server = serve()
    daemon = bench.up(tunnel(server, "one"), tunnel(server, "two"))
    with daemon.connect("one") as stays, daemon.connect("two") as goes:
        assert exchange(stays, b"one") == b"one" and exchange(goes, b"two") == b"two"
        seen = reload(bench, tunnel(server, "one"))
        daemon.await_line("^two: removed by the new configuration", seen)
        assert read_all(goes) == b""
        assert exchange(stays, b"still") == b"still"
    assert not daemon.socket_path("two").exists()
    assert works(daemon, "one")


def test_changed_tunnel(bench, serve):
    """It is made anew; the others go on."""
    first, second = serve(), serve()
    daemon = bench.up(tunnel(first, "one"), tunnel(first, "two"))
    with daemon.connect("one") as stays, daemon.connect("two") as goes:
        assert exchange(stays, b"one") == b"one" and exchange(goes, b"two") == b"two"
        seen = reload(bench, tunnel(first, "one"), tunnel(second, "two"))
        daemon.await_line("^two: listening on", seen)
        assert read_all(goes) == b""
        assert exchange(stays, b"still") == b"still"
        assert works(daemon, "two")
    assert len(second.connections) == 1


def test_same_configuration_changes_nothing(bench, serve):
    server = serve(client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"))
    with daemon.connect() as s:
        assert exchange(s, b"before") == b"before"
        told = bench.chip.mark()
        for _ in range(3):
            reload(bench, tunnel(server, identity="gateway"))
        assert exchange(s, b"after") == b"after"
    assert not bench.chip.commands("+SYSMFG", told)
    assert works(daemon)


def test_order_of_everything_changed(bench, serve):
    """Names count, not places: nothing is written, nothing ends."""
    server = serve(client_ca="ca")
    bench.more["authorities"] = [{"name": "other", "file": f"{bench.pki}/ca2.pem"}]
    bench.more["identities"] = [{"name": "second", "cert": f"{bench.pki}/ecclient.pem",
                                 "key": f"{bench.pki}/ecclient.key"}]
    all = [tunnel(server, "one", identity="gateway"),
           tunnel(server, "two", identity="second"),
           tunnel(serve(cert="otherca"), "three", authority="other")]
    daemon = bench.up(*all)
    with daemon.connect("one") as s:
        assert exchange(s, b"before") == b"before"
        text = bench.config(*reversed(all))
        for kind in "authorities", "identities":
            # The two entries of each list change places.
            head, _, rest = text.partition(f"{kind} = ( ")
            inner, _, tail = rest.partition(" );")
            a, _, b = inner.partition(", { ")
            text = f"{head}{kind} = ( {{ {b}, {a} );{tail}"
        told = bench.chip.mark()
        seen = reload(bench, text=text)
        assert exchange(s, b"after") == b"after"
        for name in "one", "two":
            assert works(daemon, name)
    assert not bench.chip.commands("+SYSMFG=2", told) and not bench.chip.commands("+SYSMFG=0", told)
    assert not daemon.matching("by the new configuration", seen)


def test_new_authority_is_written_for_the_tunnel_that_needs_it(bench, serve):
    first = serve()
    daemon = bench.up(tunnel(first, "one"))
    second = serve(cert="otherca")
    bench.more["authorities"] = [{"name": "other", "file": f"{bench.pki}/ca2.pem"}]
    told = bench.chip.mark()
    with daemon.connect("one") as s:
        assert exchange(s, b"before") == b"before"
        seen = reload(bench, tunnel(first, "one"), tunnel(second, "two", authority="other"))
        daemon.await_line("authority other is in slot", seen)
        assert works(daemon, "two")
        assert exchange(s, b"after") == b"after"
    assert len([x for x in bench.chip.commands('+SYSMFG=2,"client_ca"', told)]) == 1


def test_broken_one_is_refused_as_a_whole(bench, serve):
    server = serve()
    daemon = bench.up(tunnel(server, "one"))
    with daemon.connect("one") as s:
        assert exchange(s, b"before") == b"before"
        seen = reload(bench, tunnel(server, "two"), tunnel(server, "one", keep_alive=99999),
                      pattern=NOT_RELOADED)
        assert daemon.matching(r"espatd\.conf:\d+: `keep_alive` is 99999, expected", seen)
        assert exchange(s, b"after") == b"after"
    assert works(daemon, "one") and not daemon.socket_path("two").exists()
    # And it can be mended.
    seen = reload(bench, tunnel(server, "two"), tunnel(server, "one"))
    daemon.await_line("^two: listening on", seen)
    assert works(daemon, "two")


@pytest.mark.parametrize("key", ["runtime_dir", "state_dir"])
def test_folders_stay(bench, serve, key):
    server = serve()
    bench.sim()
    daemon = bench.espatd(tunnel(server), options=[])
    daemon.await_tunnels()
    # The command line has both, and wins: nothing to complain about.
    bench.root[key] = "/nowhere"
    reload(bench, tunnel(server))
    assert works(daemon)


def test_another_device_comes_and_goes(bench, serve):
    server = serve()
    daemon = bench.up(tunnel(server, "one"))
    with daemon.connect("one") as s:
        assert exchange(s, b"before") == b"before"
        bench.another("esp1")
        seen = reload(bench, tunnel(server, "one", device="esp0"), tunnel(server, "two", device="esp1"))
        daemon.await_line("^two: listening on", seen)
        assert works(daemon, "two")
        # `device` named or not is the same, where there was only one.
        assert exchange(s, b"between") == b"between"
        del bench.more["devices"]
        seen = reload(bench, tunnel(server, "one"))
        daemon.await_line("^esp1: removed by the new configuration", seen)
        assert exchange(s, b"after") == b"after"
    assert not daemon.socket_path("two").exists()


def test_changed_device_is_set_up_anew(bench, serve):
    server = serve()
    daemon = bench.up(tunnel(server))
    bench.device["time"] = "host"  # as it is
    with daemon.connect() as s:
        assert exchange(s, b"before") == b"before"
        reload(bench, tunnel(server))
        assert exchange(s, b"same") == b"same"
        bench.wifi["hostname"] = "gateway"
        seen = reload(bench, tunnel(server))
        daemon.await_line("^esp0: changed by the new configuration", seen)
        assert read_all(s) == b""
    daemon.await_line("^esp0: ready$", seen)
    daemon.await_line("^broker: listening on", seen)
    assert works(daemon)


def test_while_the_chip_is_provisioned(bench, serve):
    """A reload in the middle of the bring-up, that takes away and adds what is being written."""
    server = serve(client_ca="ca")
    chip = bench.sim("--flash-ms", "300")
    daemon = bench.espatd(tunnel(server, "one", identity="gateway"))
    chip.await_line(r"AT\+SYSMFG=2,\"client_ca\"")
    other = serve(cert="otherca")
    bench.identity["name"] = "another"
    bench.authority["name"] = "renamed"
    seen = reload(bench, tunnel(server, "two", authority="renamed", identity="another"))
    daemon.await_line("^two: listening on", seen)
    assert works(daemon, "two")
    assert not daemon.socket_path("one").exists()
    assert other


def test_drop_in(bench, serve):
    server = serve()
    daemon = bench.up(tunnel(server, "one"))
    (bench.dir / "conf.d").mkdir()
    (bench.dir / "conf.d" / "two.conf").write_text(
        f'tunnels = ( {{ name = "two"; host = "broker.test"; port = {server.port}; authority = "corp"; }} );')
    seen = bench.reload()
    daemon.await_line("^two: listening on", seen)
    assert works(daemon, "two") and works(daemon, "one")
    (bench.dir / "conf.d" / "two.conf").write_text("tunnels = ( { } );")
    seen = bench.reload()
    daemon.await_line(NOT_RELOADED, seen)
    assert daemon.matching(r"conf\.d/two\.conf:1: no `name`", seen)
    assert works(daemon, "two")
    (bench.dir / "conf.d" / "two.conf").unlink()
    seen = bench.reload()
    daemon.await_line("^two: removed by the new configuration", seen)
    wait_for(lambda: not daemon.socket_path("two").exists(), "its socket is gone")


def has_hangup(daemon, mask):
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as f:
        value = next(line.split()[1] for line in f if line.startswith(f"{mask}:"))
    return bool(int(value, 16) & 1 << signal.SIGHUP - 1)


def test_asked_for_while_it_starts(bench, serve):
    """It is done when all else is up, and ends nothing."""
    bench.sim()
    (bench.dir / "state").mkdir(mode=0o700, exist_ok=True)
    with open(bench.dir / "state/lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        daemon = bench.espatd(tunnel(serve(), "one"))
        wait_for(lambda: has_hangup(daemon, "SigBlk"), "the program's own first steps")
        daemon.process.send_signal(signal.SIGHUP)
        assert has_hangup(daemon, "ShdPnd")
    daemon.await_line(RELOADED)
    daemon.await_line("^esp0: ready")
    assert works(daemon, "one")
