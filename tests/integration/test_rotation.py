# SPDX-License-Identifier: MIT
"""Certificates that change while connections are open; those of before that come back; what is left over."""
import contextlib
import random
import shutil
import threading

import pytest

from bench import tunnel
from clients import exchange, read_all, read_exactly, refused, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import wait_for
from tlsserver import echo

READY = "^esp0: ready"
RELOADED = "^reloaded the configuration"
NOT_RELOADED = "^not reloaded, all stays as it was"
OLD, NEW = (((("commonName", "device-000" + n),),) for n in "12")
VALUES = "client_ca", "client_cert", "client_key"


def places(chip):
    """What is where: {"client_ca": {2: bytes}}, without what the factory has put into slots 0 and 1."""
    found = {name: {} for name in VALUES}
    for key, value in chip.flash().items():
        namespace, _, name = key.partition("/")
        slot = name.partition(".")[2]
        if namespace in found and slot and int(slot) > 1:
            found[namespace][int(slot)] = value
    return found


def subject(server, number):
    return server.connection(number).peer["subject"]


class Streaming:
    """A client that sends and gets back without a pause, until it is asked how it went."""

    def __init__(self, daemon, tunnel="broker"):
        self.socket = daemon.connect(tunnel)
        self.rounds = 0
        self.error = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.goes_on()

    def _run(self):
        source = random.Random(1)
        try:
            while not self.stop.is_set():
                data = source.randbytes(500)
                assert exchange(self.socket, data) == data
                self.rounds += 1
        except (AssertionError, OSError) as error:
            self.error = error

    def goes_on(self):
        """Data that was sent from here on has come back."""
        rounds = self.rounds
        wait_for(lambda: self.error or self.rounds >= rounds + 2, "the stream goes on")
        assert not self.error, self.error
        return True

    def close(self):
        self.stop.set()
        self.thread.join()
        self.socket.close()


@pytest.fixture
def stream():
    """stream(daemon): one that is closed in the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *args: stack.enter_context(contextlib.closing(Streaming(*args)))


@pytest.fixture(autouse=True)
def own_files(bench):
    """Files that may be replaced."""
    bench.own_files()


def reloaded(bench, pattern=RELOADED):
    seen = bench.reload()
    bench.daemon.await_line(pattern, seen)
    return seen


# ---- while a client is connected ----

def test_identity(bench, serve, stream):
    """The open connection is left alone, the next one has the new certificate."""
    server = serve(echo, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"))
    client = stream(daemon)
    (old, _), = places(bench.chip)["client_cert"].items()
    told = bench.chip.mark()
    bench.replace(cert="ecclient", key="ecclient")
    seen = reloaded(bench)
    line = daemon.await_line("^esp0: identity gateway is generation 2 now, in slot", seen)
    new = int(line.rsplit(" ", 1)[1])
    assert new != old and client.goes_on()
    assert works(daemon)
    assert (subject(server, 0), subject(server, 1)) == (OLD, NEW)
    # The old one is not erased while a connection has it; when it closes it is.
    assert client.goes_on()
    assert not bench.chip.commands("+SYSMFG=0", told)
    there = places(bench.chip)
    assert set(there["client_cert"]) == set(there["client_key"]) == {old, new}
    client.close()
    for name in "client_cert", "client_key":
        bench.chip.await_line(rf'AT\+SYSMFG=0,"{name}","{name}.{old}"', told)
        daemon.await_line(f"erased {name}.{old}, which is not used any more", seen)
    there = places(bench.chip)
    assert set(there["client_cert"]) == set(there["client_key"]) == {new}
    # The authority has not changed, so nothing was done to it.
    assert not [x for x in bench.chip.commands("+SYSMFG", told) if "client_ca" in x]
    assert len(server.connections) == 2
    assert works(daemon) and subject(server, 2) == NEW


def test_without_a_connection_the_old_one_is_erased_at_once(bench, serve):
    server = serve(echo, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"))
    bench.replace(cert="ecclient", key="ecclient")
    seen = reloaded(bench)
    for name in "client_cert", "client_key":
        daemon.await_line(f"erased {name}.2, which is not used any more", seen)
    assert works(daemon) and subject(server, 0) == NEW


def test_several_connections_with_the_old_one(bench, serve, stream):
    """It goes with the last of them, whichever that is."""
    server = serve(echo, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"), tunnel(serve(echo), "other"))
    clients = [stream(daemon) for _ in range(2)]
    told = bench.chip.mark()
    bench.replace(cert="ecclient", key="ecclient")
    seen = reloaded(bench)
    daemon.await_line("identity gateway is generation 2 now", seen)
    clients[0].close()
    daemon.await_line("connection 1 ended", seen)
    # Another command behind the close has been answered: erasing would have come before.
    assert works(daemon, "other") and clients[1].goes_on()
    assert not bench.chip.commands("+SYSMFG=0", told)
    clients[1].close()
    daemon.await_line("erased client_key", seen)


def test_three_generations(bench, serve, stream):
    """Each open connection keeps its own; what no connection has goes at once."""
    server = serve(echo, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"))
    first = stream(daemon)
    bench.replace(cert="ecclient", key="ecclient")
    daemon.await_line("identity gateway is generation 2 now", reloaded(bench))
    second = stream(daemon)
    bench.replace(cert="chain", key="client")
    seen = reloaded(bench)
    daemon.await_line("identity gateway is generation 3 now", seen)
    assert works(daemon)
    assert len(places(bench.chip)["client_cert"]) == 3
    assert first.goes_on() and second.goes_on()
    second.close()
    daemon.await_line("erased client_key", seen)
    assert first.goes_on()
    assert len(places(bench.chip)["client_cert"]) == 2
    first.close()
    daemon.await_line("erased client_key", seen, count=2)
    assert len(places(bench.chip)["client_cert"]) == 1
    assert works(daemon)


def test_reloaded_again_while_it_is_written(bench, serve, stream):
    """What counts is what the files hold in the end."""
    server = serve(echo, client_ca="ca")
    bench.sim("--flash-ms", "100")
    daemon = bench.espatd(tunnel(server, identity="gateway")).await_tunnels()
    client = stream(daemon)
    told = bench.chip.mark()
    bench.replace(cert="ecclient", key="ecclient")
    seen = reloaded(bench)
    bench.chip.await_line(r'AT\+SYSMFG=2,"client_cert"', told)
    bench.replace(cert="chain", key="client")
    reloaded(bench)
    daemon.await_line("identity gateway is generation 3 now", seen)
    assert client.goes_on()
    assert works(daemon)
    assert subject(server, 1) == OLD

    def are_left(n):
        there = places(bench.chip)
        return len(there["client_cert"]) == len(there["client_key"]) == n

    wait_for(lambda: are_left(2), "what was begun first is gone")
    client.close()
    wait_for(lambda: are_left(1), "the old one is gone")
    assert works(daemon)


def test_authority(bench, serve, stream):
    """From then on the new CA's server is the one that is trusted, and only that one."""
    server = serve(echo)
    daemon = bench.up(tunnel(server, diagnose=False))
    client = stream(daemon)
    told = bench.chip.mark()
    server.use("otherca")
    assert refused(daemon)
    bench.replace(ca="ca2")
    seen = reloaded(bench)
    daemon.await_line("authority corp is generation 2 now", seen)
    assert works(daemon) and client.goes_on()
    server.use("server")
    assert refused(daemon)
    assert not bench.chip.commands("+SYSMFG=0", told)
    client.close()
    daemon.await_line("erased client_ca.2, which is not used any more", seen)
    assert list(places(bench.chip)["client_ca"].values()) == [(bench.pki / "ca2.pem").read_bytes()]


@pytest.mark.parametrize("what", ["authority", "identity"])
def test_pinned_slot(bench, serve, stream, what):
    """It is written in place, whoever has it; new connections wait for that, and have the new one."""
    getattr(bench, what)["slot"] = 7
    server = serve(echo, client_ca="ca")
    bench.sim("--flash-ms", "100")
    daemon = bench.espatd(tunnel(server, identity="gateway")).await_tunnels()
    client = stream(daemon)
    told = bench.chip.mark()
    if what == "authority":
        bench.replace(ca="ca2")
        server.use("otherca")
    else:
        bench.replace(cert="ecclient", key="ecclient")
    seen = reloaded(bench)
    assert works(daemon)
    assert client.goes_on()
    daemon.await_line(f"{what} .* is generation 2 now, in slot 7", seen)
    if what == "identity":
        assert subject(server, 1) == NEW
    name = {"authority": "client_ca", "identity": "client_key"}[what]
    assert list(places(bench.chip)[name]) == [7]
    assert not bench.chip.commands("+SYSMFG=0", told)
    client.close()
    # Nothing is left to be erased.
    assert works(daemon)
    assert not bench.chip.commands("+SYSMFG=0", told)


def test_nvs_entry(bench, serve, stream):
    """It is rewritten in place, and no connection notices."""
    ca = bench.dir / "mqtt.pem"
    shutil.copyfile(bench.pki / "ca.pem", ca)
    bench.more["nvs"] = [{"namespace": "mqtt_ca", "file": str(ca)}]
    daemon = bench.up(tunnel(serve(echo)))
    client = stream(daemon)
    assert bench.chip.flash()["mqtt_ca/mqtt_ca"] == (bench.pki / "ca.pem").read_bytes()
    told = bench.chip.mark()
    shutil.copyfile(bench.pki / "ca2.pem", ca)
    seen = reloaded(bench)
    daemon.await_line("^esp0: wrote mqtt_ca, ", seen)
    assert works(daemon) and client.goes_on()
    assert bench.chip.flash()["mqtt_ca/mqtt_ca"] == (bench.pki / "ca2.pem").read_bytes()
    assert not [x for x in bench.chip.commands("+SYSMFG=2", told) if "client_" in x]
    assert not bench.chip.commands("+SYSMFG=0", told)


def test_nothing_has_changed(bench, serve, stream):
    daemon = bench.up(tunnel(serve(echo, client_ca="ca"), identity="gateway"))
    client = stream(daemon)
    told = bench.chip.mark()
    seen = reloaded(bench)
    assert works(daemon) and client.goes_on()
    assert not bench.chip.commands("+SYSMFG", told)
    assert not daemon.matching("generation", seen)


def test_chip_that_is_not_there_meanwhile(bench, serve):
    """It gets the new ones when it comes."""
    server = serve(echo, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"))
    bench.chip.fault("unplug")
    daemon.await_line("esp0: .*waiting for it")
    bench.replace(cert="ecclient", key="ecclient")
    seen = reloaded(bench)
    bench.chip.fault("plug")
    daemon.await_line(READY, seen)
    assert works(daemon) and subject(server, 0) == NEW
    assert len(places(bench.chip)["client_cert"]) == 1


def test_reset_while_it_is_changed(bench, serve):
    server = serve(echo, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"))
    bench.chip.fault('cmd AT+SYSMFG=2,"client_key" 1 reset')
    bench.replace(cert="ecclient", key="ecclient")
    seen = reloaded(bench)
    daemon.await_line(READY, seen)
    assert works(daemon) and subject(server, 0) == NEW
    assert len(places(bench.chip)["client_cert"]) == 1
    assert len(places(bench.chip)["client_key"]) == 1


# ---- files that are of no use ----

@pytest.mark.parametrize("what, of", [("cert", "junk"), ("ca", "gone"), ("key", "other")])
def test_broken_file(bench, serve, stream, what, of):
    """It is told what is wrong, nothing else is done, not even with the files that are right."""
    server = serve(echo, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"))
    client = stream(daemon)
    told = bench.chip.mark()
    path = bench.dir / "pki" / f"{what}.pem"
    bench.replace(**({"cert": "ecclient", "key": "ecclient"} if what == "ca" else {"ca": "ca2"}))
    if of == "junk":
        path.write_text("-----BEGIN CERTIFICATE-----\nnot at all\n-----END CERTIFICATE-----\n")
    elif of == "gone":
        path.unlink()
    else:
        bench.replace(key="ecclient")
    seen = reloaded(bench, NOT_RELOADED)
    line, = daemon.matching(str(path), seen)
    assert "expected" in line
    if of == "other":
        assert "does not belong to the certificate" in line
    assert client.goes_on() and works(daemon)
    assert subject(server, 1) == OLD
    assert not bench.chip.commands("+SYSMFG", told)
    assert not (bench.dir / "state/material/authority-corp.previous").exists()
    # And when they are right again, they are taken.
    bench.replace(ca="ca", cert="ecclient", key="ecclient")
    seen = reloaded(bench)
    daemon.await_line("identity gateway is generation 2 now", seen)
    assert works(daemon) and subject(server, 2) == NEW


def test_expired(bench, serve):
    """What has expired by and by is told and stays in use; what is new has to be valid."""
    server = serve(echo)
    bench.replace(cert="oldclient")
    daemon = bench.up(tunnel(server, identity="gateway"))
    told = f"{bench.dir}/pki/cert.pem: .*expired on 2021-01-01"
    assert len(daemon.matching(told)) == 1 and works(daemon)
    seen = reloaded(bench)
    assert len(daemon.matching(told, seen)) == 1 and works(daemon)
    bench.replace(cert="client")
    at_chip = bench.chip.mark()
    seen = reloaded(bench)
    daemon.await_line("identity gateway is generation 2 now", seen)
    # The last thing that is done to the chip, and then something else.
    daemon.await_line("flash writes", seen)
    assert works(daemon)
    bench.chip.await_line(r"AT\+CIPSTART", at_chip)
    at_chip = bench.chip.mark()
    bench.replace(cert="oldclient")
    seen = reloaded(bench, NOT_RELOADED)
    assert len(daemon.matching(told, seen)) == 1
    assert works(daemon) and not bench.chip.commands("+SYSMFG", at_chip)


# ---- back to the one before ----

def wrong_authority(bench, good, stream):
    """A new CA is taken with which the server does not verify; another tunnel has a client."""
    bench.more["authorities"] = [{"name": "other", "file": f"{bench.pki}/ca.pem"}]
    daemon = bench.up(tunnel(good, "bad"), tunnel(good, "good", authority="other"))
    client = stream(daemon, "good")
    assert works(daemon, "bad")
    bench.replace(ca="ca2")
    seen = reloaded(bench)
    daemon.await_line("authority corp is generation 2 now", seen)
    return daemon, client, seen


def roll_back(bench, what="authority:corp", status=0):
    result = bench.run("--rollback", what)
    assert result.returncode == status, result.stderr
    return result


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "quiet"])
def test_rollback(bench, serve, stream, busy):
    """While others are busy the chip is not asked for the reason, and it is told all the same."""
    daemon, client, seen = wrong_authority(bench, serve(echo), stream)
    if not busy:
        client.close()
    assert refused(daemon, "bad")
    line = daemon.await_line("^bad: it connected with generation 1 of authority corp", seen)
    assert "generation 2" in line and "espatctl certs rollback authority:corp" in line
    reason = "unexplained" if busy else "not-trusted-or-handshake-failed"
    assert f"[{reason}]" in daemon.matching("^bad: connection failed", seen)[0]
    # It is told once, not for each client.
    assert refused(daemon, "bad")
    assert len(daemon.matching("it connected with generation", seen)) == 1
    result = roll_back(bench)
    assert "authority:corp" in result.stdout and "SIGHUP" in result.stdout
    assert refused(daemon, "bad")
    seen = reloaded(bench)
    daemon.await_line("authority corp is generation 3 now", seen)
    assert works(daemon, "bad")
    assert len(daemon.matching("^good: connection .* is open")) == 1
    assert not busy or client.goes_on()


def test_rolled_back_wins_until_the_file_changes(bench, serve, stream):
    server = serve(echo)
    daemon, client, _ = wrong_authority(bench, server, stream)
    client.close()
    roll_back(bench)
    seen = reloaded(bench)
    daemon.await_line("authority corp is generation 3 now", seen)
    daemon.await_line("erased client_ca.3", seen)
    # The record of that, too.
    assert works(daemon, "good")
    tunnels = tunnel(server, "bad"), tunnel(server, "good", authority="other")
    for _ in range(2):
        assert bench.daemon.end() == 0
        told = bench.chip.mark()
        daemon = bench.espatd(*tunnels).await_tunnels()
        assert works(daemon, "bad")
        assert not bench.chip.commands("+SYSMFG=2,", told)
        assert not daemon.matching(NOT_RELOADED)
    reloaded(bench)
    assert works(daemon, "bad")
    # Other bytes in the file are another certificate to take, and not a bad one for ever.
    bench.replace(ca="both")
    seen = reloaded(bench)
    daemon.await_line("authority corp is generation 4 now", seen)
    assert works(daemon, "bad")
    # It is also the one before of what comes next.
    bench.replace(ca="ca2")
    seen = reloaded(bench)
    daemon.await_line("authority corp is generation 5 now", seen)
    assert refused(daemon, "bad")
    roll_back(bench)
    daemon.await_line("authority corp is generation 6 now", reloaded(bench))
    assert works(daemon, "bad")


def test_rollback_of_an_identity(bench, serve):
    server = serve(echo, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"))
    assert works(daemon)
    bench.replace(cert="client2", key="client")
    seen = reloaded(bench)
    daemon.await_line("identity gateway is generation 2 now", seen)
    assert refused(daemon)
    roll_back(bench, "identity:gateway")
    seen = reloaded(bench)
    daemon.await_line("identity gateway is generation 3 now", seen)
    assert works(daemon)
    assert server.connections[-1].peer["subject"] == OLD


def test_rollback_twice_is_where_it_began(bench, serve):
    """The one before of the one before is the one after."""
    server = serve(echo, client_ca="ca")
    daemon = bench.up(tunnel(server, identity="gateway"))
    bench.replace(cert="ecclient", key="ecclient")
    daemon.await_line("generation 2 now", reloaded(bench))
    for n, name in (3, OLD), (4, NEW):
        roll_back(bench, "identity:gateway")
        daemon.await_line(f"generation {n} now", reloaded(bench))
        assert works(daemon)
        assert server.connections[-1].peer["subject"] == name


def test_rollback_without_one_before(bench, serve):
    daemon = bench.up(tunnel(serve(echo), identity="gateway"))
    for what in "authority:corp", "identity:gateway":
        result = roll_back(bench, what, 1)
        assert f"nothing is kept of {what} from before" in result.stderr and not result.stdout
    reloaded(bench)
    assert works(daemon)


@pytest.mark.parametrize("what", ["authority:nobody", "identity:corp", "corp", "", "authority:"])
def test_rollback_of_nothing(bench, what):
    (bench.dir / "espatd.conf").write_text(bench.config(tunnel(7)))
    assert "is no authority:NAME or identity:NAME" in roll_back(bench, what, 1).stderr


# ---- what is left over ----

def kept_of(bench, name):
    return [x.name for x in (bench.dir / "state/material").iterdir() if name in x.name]


def test_forget(bench, serve):
    """What has gone from the configuration is kept, told at each start, and removed for good."""
    server = serve(echo)
    assert bench.up(tunnel(server, identity="gateway")).end() == 0
    bench.replace(cert="chain", key="client")
    assert bench.up(tunnel(server, identity="gateway")).end() == 0
    assert len(kept_of(bench, "identity-gateway")) == 2
    result = bench.run("--forget", "identity:gateway")
    assert result.returncode == 1 and "is in the configuration" in result.stderr
    assert len(kept_of(bench, "identity-gateway")) == 2
    # Without it.
    bench.identity["name"] = "other"
    daemon = bench.up(tunnel(server))
    assert daemon.matching("espatd -c FILE --forget identity:gateway")
    assert daemon.end() == 0
    assert len(kept_of(bench, "identity-gateway")) == 2
    (bench.dir / "espatd.conf").write_text(bench.config(tunnel(server)))
    result = bench.run("--forget", "identity:gateway")
    assert result.returncode == 0 and "Nothing is kept of identity:gateway" in result.stdout
    assert not kept_of(bench, "identity-gateway") and kept_of(bench, "authority-corp")
    daemon = bench.up(tunnel(server))
    assert not daemon.matching("--forget")
    assert works(daemon)


@pytest.mark.parametrize("what", ["corp", "", "identity", "authority:", "identity:../x", "identity:a b"])
def test_forget_nothing(bench, what):
    (bench.dir / "espatd.conf").write_text(bench.config(tunnel(7)))
    result = bench.run("--forget", what)
    assert result.returncode and not result.stdout, result
    assert "--forget" in result.stderr or "cannot forget" in result.stderr

def test_orphan(bench, serve):
    """A name that has gone from the configuration: what it had stays, and is told."""
    server = serve(echo)
    assert bench.up(tunnel(server, identity="gateway")).end() == 0
    before = places(bench.chip)
    told = bench.chip.mark()
    for _ in range(2):
        daemon = bench.espatd(tunnel(server)).await_tunnels()
        for name in "client_cert", "client_key":
            assert len(daemon.matching(rf"^esp0: {name}\.2 is an orphan.*generation 1")) == 1
        assert not daemon.matching("client_ca.* is an orphan")
        assert works(daemon)
        reloaded(bench)
        assert works(daemon)
        assert daemon.end() == 0
    assert places(bench.chip) == before
    assert not bench.chip.commands("+SYSMFG=2", told) and not bench.chip.commands("+SYSMFG=0", told)
    done = bench.provision(options=["--erase-orphans"]).good(writes=4)
    assert done["esp0"]["orphans"] == []
    assert places(bench.chip) == {**before, "client_cert": {}, "client_key": {}}
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    assert not daemon.matching("orphan") and works(daemon)


def test_name_that_comes_back(bench, serve):
    """The orphan is its own again; nothing is written."""
    server = serve(echo, client_ca="ca")
    there = tunnel(server, identity="gateway")
    assert bench.up(there).end() == 0
    assert bench.espatd(tunnel(server)).await_tunnels().end() == 0
    told = bench.chip.mark()
    daemon = bench.espatd(there).await_tunnels()
    assert works(daemon) and not daemon.matching("orphan")
    assert not bench.chip.commands("+SYSMFG=2", told)


def test_same_material_under_two_names(bench, serve, stream):
    """It is stored once, and parts when one of them changes."""
    bench.more["authorities"] = [{"name": "twin", "file": f"{bench.pki}/ca.pem"}]
    bench.more["identities"] = [{"name": "double", "cert": f"{bench.pki}/client.pem",
                                 "key": f"{bench.pki}/client.key"}]
    server = serve(echo, client_ca="ca")
    daemon = bench.up(tunnel(server, "one", identity="gateway"),
                      tunnel(server, "two", authority="twin", identity="double"))
    assert len(bench.chip.commands("+SYSMFG=2,")) == 4
    assert all(len(slots) == 1 for slots in places(bench.chip).values())
    assert works(daemon, "one") and works(daemon, "two")
    client = stream(daemon, "two")
    bench.replace(cert="ecclient", key="ecclient")
    seen = reloaded(bench)
    daemon.await_line("identity gateway is generation 2 now", seen)
    assert works(daemon, "one") and works(daemon, "two") and client.goes_on()
    assert [subject(server, n) for n in range(5)] == [OLD, OLD, OLD, NEW, OLD]
    assert all(len(places(bench.chip)[x]) == 2 for x in ("client_cert", "client_key"))
    assert not daemon.matching("erased")
    client.close()
    bench.replace(cert="client", key="client")
    seen = reloaded(bench)
    daemon.await_line("erased client_key", seen)
    assert works(daemon, "one") and works(daemon, "two")
    assert [subject(server, n) for n in (5, 6)] == [OLD, OLD]
    assert all(len(slots) == 1 for slots in places(bench.chip).values())


def test_state_folder_that_is_lost(bench, serve):
    """The chip knows by itself what is ours: no orphan is forgotten and nothing is written anew."""
    server = serve(echo, client_ca="ca")
    there = tunnel(server, identity="gateway")
    bench.more["nvs"] = [{"namespace": "mqtt_ca", "file": f"{bench.pki}/ca2.pem"}]
    assert bench.up(there).end() == 0
    before = bench.chip.flash()
    bench.more["nvs"] = []
    shutil.rmtree(bench.dir / "state")
    told = bench.chip.mark()
    daemon = bench.espatd(there).await_tunnels()
    daemon.await_line("^esp0: mqtt_ca is an orphan")
    assert works(daemon)
    assert bench.chip.flash() == before and not bench.chip.commands("+SYSMFG=2", told)
    # Nor is what changes then: the old one goes, as it is known to be ours.
    assert daemon.end() == 0
    shutil.rmtree(bench.dir / "state")
    bench.replace(cert="ecclient", key="ecclient")
    daemon = bench.espatd(there).await_tunnels()
    assert works(daemon)
    assert len(places(bench.chip)["client_cert"]) == len(places(bench.chip)["client_key"]) == 1


def test_chip_that_has_moved_to_another_host(bench, serve):
    """There the same names are of other generations: what counts is the content."""
    server = serve(echo, client_ca="ca")
    there = tunnel(server, identity="gateway")
    assert bench.up(there).end() == 0
    before = bench.chip.flash()
    shutil.move(bench.dir / "state", bench.dir / "here")
    # The other host has had others, and no chip so far.
    nowhere = bench.config(there).replace("/tty", "/nowhere")
    for material in ({"ca": "ca2", "cert": "ecclient", "key": "ecclient"}, {"ca": "both"},
                     {"ca": "ca", "cert": "client", "key": "client"}):
        bench.replace(**material)
        done = bench.provision(text=nowhere, options=["--timeout", "1"])
        assert done.status == 1 and "there is no" in done.chips["esp0"]["error"]
    told = bench.chip.mark()
    daemon = bench.espatd(there).await_tunnels()
    assert works(daemon) and not daemon.matching("orphan|erased|wrote")
    assert bench.chip.flash() == before and not bench.chip.commands("+SYSMFG=2", told)
    bench.replace(ca="both", cert="ecclient", key="ecclient")
    seen = reloaded(bench)
    daemon.await_line("authority corp is generation 4 now", seen)
    daemon.await_line("identity gateway is generation 3 now", seen)
    daemon.await_line("erased client_key", seen)
    assert works(daemon) and subject(server, 1) == NEW
    # And back again, where the files are still the old ones.
    assert daemon.end() == 0
    shutil.rmtree(bench.dir / "state")
    shutil.move(bench.dir / "here", bench.dir / "state")
    bench.replace(ca="ca", cert="client", key="client")
    daemon = bench.espatd(there).await_tunnels()
    assert works(daemon) and subject(server, 2) == OLD
    assert not daemon.matching("orphan")
    assert all(len(slots) == 1 for slots in places(bench.chip).values())
