# SPDX-License-Identifier: MIT
"""Lines and chips that are not as they should be, that come late, or that there are two of."""
import os
import select
import shutil
import socket
import subprocess
import threading
import tty

import pytest

from bench import settings, tunnel
from clients import exchange, read_all, refused, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import PASSWORD, Espatd, Program, Sim


def test_port_appears_later(bench, serve):
    daemon = bench.espatd(tunnel(serve()))
    line = daemon.await_line("esp0: .*waiting for it")
    assert str(bench.dir / "tty") in line
    assert not daemon.socket_path().exists()
    bench.sim()
    daemon.await_tunnels()
    assert works(daemon)
    assert len(daemon.matching("waiting for it")) == 1


def test_line_is_pulled_out_and_comes_back(bench, serve):
    daemon = bench.up(tunnel(serve()))
    with daemon.connect() as s:
        assert exchange(s, b"hello") == b"hello"
        seen, at_chip = daemon.mark(), bench.chip.mark()
        bench.chip.fault("unplug 200")
        assert read_all(s) == b""
    daemon.await_line("esp0: ready", seen)
    assert works(daemon)
    assert not bench.chip.commands("+SYSMFG=2,", at_chip)


class SerialServer:
    """A serial line on TCP, one caller at a time, as ser2net does it; who calls before listen() is refused."""

    def __init__(self, dir, address):
        self.tty = dir / "tty"
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.socket.bind((address, 0))
        self.port = self.socket.getsockname()[1]
        self.caller = None

    def listen(self):
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                self.caller = self.socket.accept()[0]
            except OSError:
                return
            line = os.open(self.tty, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(line)
            with self.caller:
                self.carry(line)
            os.close(line)

    def carry(self, line):
        while True:
            ready = select.select([line, self.caller], [], [])[0]
            if line in ready:
                self.caller.sendall(os.read(line, 4096))
            if self.caller in ready:
                data = self.caller.recv(4096)
                if not data:
                    return
                os.write(line, data)

    def hang_up(self):
        self.caller.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.mark.parametrize("name, address", [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("[::1]", "::1")])
def test_port_on_tcp(bench, serve, name, address):
    bench.sim()
    try:
        server = SerialServer(bench.dir, address)
    except OSError:
        pytest.skip(f"no {address} here")
    bench.parts.append(server)
    bench.device["port"] = f"tcp:{name}:{server.port}"
    daemon = bench.espatd(tunnel(serve()))
    assert "refused" in daemon.await_line("esp0: .*waiting for it")
    server.listen()
    daemon.await_tunnels()
    with daemon.connect() as s:
        assert exchange(s, b"hello") == b"hello"
        seen = daemon.mark()
        server.hang_up()
        assert read_all(s) == b""
    daemon.await_line("esp0: ready", seen)
    assert works(daemon)
    assert len(daemon.matching("refused")) == 1


class Unprivileged(Espatd):
    """espatd as nobody, who may read the configuration but not use the line."""

    def __init__(self, dir, text):
        self.dir = dir
        self.tunnels = []
        (dir / "espatd.conf").write_text(text)
        os.chmod(dir, 0o777)
        Program.__init__(self, [
            shutil.which("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups",
            os.environ["ESPATD"], "-c", str(dir / "espatd.conf"), "--bus", "none",
            "--runtime-dir", str(dir / "run"), "--state-dir", str(dir / "state")])


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"),
                    reason="needs root, to become somebody else")
def test_port_is_not_permitted(bench):
    bench.sim()
    tty = os.path.realpath(bench.dir / "tty")
    os.chmod(tty, 0o600)
    here = os.environ["ESPATD"]
    probe = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", here,
                            "--version"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("the binary stands where nobody may go")
    daemon = Unprivileged(bench.dir, (
        f'devices = ( {{ name = "esp0"; port = "{bench.dir}/tty"; }} );\n'
        'tunnels = ( { name = "t"; host = "broker.test"; port = 1; insecure = true; } );\n'))
    bench.parts.append(daemon)
    line = daemon.await_line("esp0: .*waiting for it")
    assert "ermi" in line and "tty" in line, line
    assert not bench.chip.matching("^H>D")
    seen = daemon.mark()
    os.chmod(tty, 0o666)
    daemon.await_line("esp0: found ESP32", seen)
    assert daemon.end() == 0


def test_nobody_answers(bench, serve):
    """What was tried is said; and the chip is found when it answers at last."""
    chip = bench.sim()
    chip.fault("hang")
    daemon = bench.espatd(tunnel(serve()))
    line = daemon.await_line("esp0: .*answer", timeout=40)
    assert "115200" in line, line
    assert not daemon.matching("found")
    chip.fault("reset")
    daemon.await_line("broker: listening", timeout=40)
    assert works(daemon)


def test_wrong_wifi_password(bench, serve):
    secret = bench.dir / "wifi.secret"
    secret.write_text("something else\n")
    bench.sim("--join-fail-ms", "20")
    daemon = bench.espatd(tunnel(serve()), options=["-v"])
    line = daemon.await_line("esp0: .*(wrong password|cannot join|not join)")
    assert '"lab"' in line, line
    assert not daemon.socket_path().exists()
    secret.write_text(PASSWORD + "\n")
    daemon.await_line("broker: listening", timeout=40)
    assert works(daemon)
    assert "something else" not in "\n".join(daemon.log())


@pytest.mark.parametrize("firmware", ["3.2", "3.4", "4.2", "5.0"])
def test_other_firmware(bench, serve, firmware):
    """What was verified, sent and kept with one firmware is with each."""
    good, wrong = serve(client_ca="ca"), serve(cert="wrongname")
    daemon = bench.up(tunnel(good, "good", identity="gateway"), tunnel(wrong, "wrong"),
                      sim=["--firmware", firmware])
    data = bytes(range(256)) * 100 + b"+++" * 100
    for _ in range(2):
        with daemon.connect("good") as s:
            assert exchange(s, data) == data
        assert refused(daemon, "wrong")
    assert not any(conn.received for conn in wrong.connections)
    assert good.connection().peer["subject"] == ((("commonName", "device-0001"),),)


def test_two_chips(bench, serve):
    """The end of one is nothing to the other."""
    server = serve()
    other = bench.dir / "other"
    other.mkdir()
    shutil.copyfile(bench.dir / "hosts", other / "hosts")
    one, two = bench.sim(), Sim(other, "--mac", "24:0a:c4:00:00:02")
    bench.parts.append(two)
    wifi = {"ssid": "lab", "password_file": f"{bench.dir}/wifi.secret"}
    second = "{ " + settings({"name": "esp1", "port": str(two.tty), "wifi": wifi}) + " } );\nauthorities"
    text = bench.config(tunnel(server, "first", device="esp0"), tunnel(server, "second", device="esp1"))
    daemon = bench.espatd(text=text.replace(" );\nauthorities", ", " + second, 1)).await_tunnels()
    assert works(daemon, "first")
    with daemon.connect("second") as s:
        assert exchange(s, b"hello") == b"hello"
        one.fault("unplug")
        daemon.await_line("esp0: .*waiting for it")
        assert exchange(s, b"still here") == b"still here"
        assert works(daemon, "second")
    assert [x for x in two.commands("+CIPSTART")] and len(one.commands("+CIPSTART")) == 1
