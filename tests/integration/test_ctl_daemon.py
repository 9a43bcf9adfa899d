# SPDX-License-Identifier: MIT
"""espatctl against the running daemon, on a bus of its own, with the simulator's chips."""
import fcntl
import json
import os
import pty
import re
import subprocess
import tty

import pytest

dbus = pytest.importorskip("dbus")

from bench import tunnel  # noqa: E402
from clients import exchange, refused, works  # noqa: E402
from ctlbench import Talking, interrupt  # noqa: E402
from fixtures import bench, pki, serve  # noqa: E402,F401 (used by name)
from harness import DEADLINE, PASSWORD, as_nobody, wait_for, why_not_nobody  # noqa: E402
from test_wifi import sntp_answer, udp, with_time_server  # noqa: E402,F401

# Long enough for a Wi-Fi network that is not there, which is tried more than once.
LONG = 40
MAC = "24:0a:c4:99:99:99"


class Ctl:
    def __init__(self, bench):
        self.bench = bench
        self.running = []

    def command(self, *args):
        return [os.environ["ESPATCTL"], "--bus", self.bench.bus.address, *args]

    def run(self, *args, status=0, input="", timeout=LONG, **how):
        """Its standard output; standard error stays in `errors`."""
        done = subprocess.run(self.command(*args), capture_output=True, text=True, input=input,
                              timeout=timeout, **how)
        self.errors = done.stderr
        assert done.returncode == status, (args, done.returncode, done.stdout, done.stderr)
        assert status == 0 or done.stderr or done.stdout, "a failure without a word"
        return done.stdout

    def json(self, *args, **how):
        return json.loads(self.run("--json", *args, **how))

    def doctor(self, wait=0, **how):
        return {f["id"]: f for f in self.json("doctor", "--wait", str(wait), **how)}

    def go(self, *args):
        program = Talking(self.command(*args))
        self.running.append(program)
        return program

    def state(self):
        return self.json("devices", "esp0")["state"]

    def await_state(self, state):
        wait_for(lambda: self.state() == state, f"the state {state}")


@pytest.fixture
def ctl(bench):
    bench.with_bus()
    made = Ctl(bench)
    yield made
    for program in made.running:
        program.kill()


@pytest.fixture
def up(bench, ctl, serve):
    """up(tunnel, ...): the daemon is there, and on the bus."""
    def make(*tunnels, **how):
        daemon = bench.up(*(tunnels or [tunnel(serve())]), **how)
        bench.bus.await_name()
        return daemon
    return make


# ---- what there is ----

def test_what_is_shown(ctl, up, serve):
    server = serve()
    daemon = up(tunnel(server))
    text = ctl.run("status")
    assert re.search(r"^esp0 +ready ", text, re.M) and re.search(r"^broker +listening ", text, re.M)
    assert re.search(r"^corp +1 +file ", text, re.M) and re.search(r"^gateway +1 +file ", text, re.M)
    status = ctl.json("status")
    assert status["version"] and status["log_level"] == "info"
    assert status["devices"] == ctl.json("devices") and status["tunnels"] == ctl.json("tunnels")
    assert status["authorities"] == ctl.json("certs", "authorities")
    assert status["identities"] == ctl.json("certs", "identities")
    chip = ctl.json("devices", "esp0")
    assert (chip["state"], chip["links"], chip["clock"], chip["baud"]) == ("ready", 5, "host", 115200)
    assert chip["last_error"] == "" and chip["wifi"]["ssid"] == "lab" and chip["wifi"]["connected"] is True
    with daemon.connect() as s:
        assert exchange(s, b"hello") == b"hello"
        shown = ctl.json("tunnels", "broker")
        assert (shown["clients"], shown["bytes_sent"], shown["bytes_received"]) == (1, 5, 5)
        assert (shown["host"], shown["port"], shown["verified"]) == ("broker.test", server.port, True)
        assert ctl.run("disconnect", "broker") == "1 client ended.\n"
    (corp,) = status["authorities"]
    assert corp["devices"] == ["esp0"] and corp["tunnels"] == ["broker"] and corp["configured"] is True
    assert "ready" in ctl.run("devices") and "ready" in ctl.run("devices", "esp0")
    assert "listening" in ctl.run("tunnels", "broker")


def test_doctor_of_what_is_well(ctl, up):
    daemon = up()
    assert works(daemon)
    assert "Nothing is wrong with 1 device and 1 tunnel." in ctl.run("doctor")
    assert ctl.doctor() == {}


NUMBER = re.compile(r'([a-z_]+)(\{([a-z0-9_]+="(\\[\\n"]|[^\\"\n])*",?)*\})? -?[0-9.e+]+')


def test_metrics(ctl, bench, up):
    daemon = up()
    assert works(daemon)
    text = ctl.run("metrics")
    samples, described = [], set()
    for line in text.splitlines():
        if line.startswith("#"):
            _, what, name, rest = line.split(" ", 3)
            assert what in ("HELP", "TYPE") and rest
            described.add(name)
            continue
        parsed = NUMBER.fullmatch(line)
        assert parsed and parsed[1] in described, line
        samples.append(line.rpartition(" ")[0])
    assert len(samples) == len(set(samples)), "a number that stands there twice"
    assert "espat_up 1\n" in text and 'espat_device_state{device="esp0",state="ready"} 1\n' in text
    assert 'espat_tunnel_connects_total{tunnel="broker",device="esp0"} 1\n' in text
    file = bench.dir / "espat.prom"
    ctl.run("metrics", "--textfile", file)
    assert file.read_text().startswith("# HELP espat_up ")
    daemon.end()
    assert ctl.run("metrics", status=3).endswith("espat_up 0\n")


# ---- certificates and keys ----

def values(ctl):
    return {(v["namespace"], v["slot"]): v for v in ctl.json("certs", "list", "esp0")}


def test_values(ctl, pki, up):
    daemon = up()
    before = values(ctl)
    ctl.run("certs", "load", "client_ca", "5", pki / "ca2.pem")
    assert values(ctl)["client_ca", 5]["kind"] == "ca"
    key = (pki / "client.key").read_text()
    ctl.run("certs", "load", "esp0", "client_key", "5", "-", input=key)
    assert values(ctl)["client_key", 5]["kind"] == "key"
    assert re.search(r"client_key\.5 +key ", ctl.run("certs"))
    ctl.run("certs", "load", "client_key", "6", pki / "ca.pem", status=1)
    ctl.run("certs", "load", "client_key", "6", pki / "not-there", status=1)
    ctl.run("certs", "load", "wrong", "6", pki / "ca.pem", status=1)
    ((own, slot),) = [key for key, v in before.items() if v["used_by"] == ["authority:corp"]]
    ctl.run("certs", "load", own, str(slot), pki / "ca2.pem", status=1)
    assert "corp" in ctl.errors
    ctl.run("certs", "erase", own, str(slot), status=1)
    for namespace in "client_ca", "client_key":
        ctl.run("certs", "erase", namespace, "5")
        assert (namespace, 5) not in values(ctl)
        ctl.run("certs", "erase", namespace, "5", status=5)
    assert ctl.json("certs", "verify") == []
    assert ctl.run("certs", "verify", "esp0") == "All is there, and as it should be.\n"
    assert ctl.json("certs", "orphans") == []
    assert not daemon.matching("PRIVATE") and works(daemon)


def test_names(ctl, pki, up, serve):
    daemon = up(tunnel(serve(client_ca="ca"), identity="gateway"))
    assert works(daemon)
    ctl.run("certs", "rollback", "corp", status=5)
    ctl.run("certs", "rollback", "nobody", status=5)
    # Both at once: whoever has connected with the old one would still.
    assert ctl.json("certs", "set-authority", "corp", pki / "both.pem") == [
        {"device": "esp0", "ok": True, "text": "it is on the chip"}]
    (corp,) = ctl.json("certs", "authorities")
    assert (corp["generation"], corp["source"], corp["previous"]) == (2, "set", True)
    assert works(daemon)
    assert re.search(r"^esp0 +done ", ctl.run("certs", "rollback", "corp"), re.M)
    assert ctl.json("certs", "authorities")[0]["source"] == "rolled-back"
    assert works(daemon)
    key = (pki / "client.key").read_text()
    ctl.run("certs", "set-identity", "gateway", pki / "client.pem", "-", input=key)
    ctl.run("certs", "set-identity", "gateway", pki / "ca.pem", pki / "client.key", status=1)
    assert "certificate" in ctl.errors
    ctl.run("certs", "set-identity", "gateway", pki / "client.pem", "/dev/null", status=1)
    assert ctl.errors == "espatctl: /dev/null: is empty, expected PEM or DER\n"
    (pki / "broken.pem").write_text("none\n")
    ctl.run("certs", "set-authority", "corp", pki / "broken.pem", status=1)
    assert ctl.errors.startswith(f"espatctl: {pki}/broken.pem: ") and "argument" not in ctl.errors
    ctl.run("certs", "set-authority", "corp", pki / "client.key", status=1)
    assert "private key" in ctl.errors and works(daemon)
    ctl.run("certs", "remove-authority", "corp", status=1)
    assert "configuration" in ctl.errors
    assert ctl.run("certs", "set-authority", "other", pki / "ca2.pem") == "Done; no chip needs it now.\n"
    assert {m["name"] for m in ctl.json("certs", "authorities")} == {"corp", "other"}
    ctl.run("certs", "remove-authority", "other")
    ctl.run("certs", "remove-identity", "other", status=5)
    assert not daemon.matching("PRIVATE")


# ---- Wi-Fi ----

def test_wifi(ctl, bench, up):
    daemon = up()
    (chip,) = ctl.json("wifi", "status")
    assert (chip["device"], chip["ssid"], chip["connected"]) == ("esp0", "lab", True)
    (lab,) = [x for x in ctl.json("wifi", "scan") if x["ssid"] == "lab"]
    assert lab["rssi"] < 0 and lab["channel"] == 1 and lab["security"] == "wpa2"
    assert re.search(r"^lab +-\d+ dBm ", ctl.run("wifi", "scan", "esp0"), re.M)
    ctl.run("wifi", "leave")
    ctl.await_state("offline")
    assert ctl.doctor()["offline"]["severity"] == "note"
    assert "not connected" in ctl.run("wifi")
    ctl.run("wifi", "join", "lab", "--password-file", "-", input="something-else\n", status=1)
    assert "wrong password" in ctl.errors and "something-else" not in ctl.errors
    ctl.await_state("offline")
    ctl.run("wifi", "join", "lab", "--password-file", "-", input=PASSWORD + "\n")
    ctl.await_state("ready")
    ctl.run("wifi", "join", "esp0", "lab", "--bssid", "wrong", "--password-file", bench.dir / "wifi.secret", status=1)
    ctl.run("wifi", "join", "lab", "--password-file", bench.dir / "wifi.secret")
    ctl.await_state("ready")
    assert works(daemon) and not daemon.matching(PASSWORD)


# ---- tunnels ----

def test_tunnels(ctl, bench, up, serve):
    server = serve()
    daemon = up(tunnel(server))
    new = "host=broker.test", f"port={server.port}", "authority=corp"
    ctl.run("tunnel", "add", "two", *new)
    assert works(daemon, "two")
    assert ctl.json("tunnel", "add", "three", *new, "mode=0600", "allow_uids=0,1", "--persist") == {
        "path": "/org/espat1/tunnel/three"}
    assert {t["name"]: t["origin"] for t in ctl.json("tunnels")} == {
        "broker": "configuration", "two": "runtime", "three": "persistent"}
    assert daemon.socket_path("three").stat().st_mode & 0o777 == 0o600
    ctl.run("tunnel", "add", "two", *new, status=1)
    ctl.run("tunnel", "add", "four", "host=broker.test", "port=99999", "authority=corp", status=1)
    assert "port" in ctl.errors and "99999" in ctl.errors
    ctl.run("tunnel", "add", "four", *new[:2], "authority=nobody", status=1)
    assert "nobody" in ctl.errors
    ctl.run("tunnel", "remove", "broker", status=1)
    daemon.end()
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    bench.bus.await_name()
    daemon.await_line("^three: listening")
    assert {t["name"] for t in ctl.json("tunnels")} == {"broker", "three"}
    ctl.run("tunnel", "remove", "three")
    ctl.run("tunnel", "remove", "three", status=5)
    assert {t["name"] for t in ctl.json("tunnels")} == {"broker"} and works(daemon)


# ---- chips ----

def test_command(ctl, up):
    up()
    assert "AT version" in ctl.run("command", "AT+GMR")
    assert any("AT version" in line for line in ctl.json("command", "esp0", "AT+GMR"))
    ctl.run("command", "AT+CWMODE=1", status=1)
    assert "raw_commands" in ctl.errors
    ctl.run("command", "AT+RST", status=1)
    assert "method of its own" in ctl.errors
    ctl.run("command", "AT+CIPSSLCPSK?", status=1)
    assert "secret" in ctl.errors


def test_chip(ctl, up):
    daemon = up()
    resets = ctl.json("devices", "esp0")["resets"]
    ctl.run("reset")
    assert ctl.json("devices", "esp0")["resets"] == resets + 1 and ctl.state() == "ready"
    ctl.run("reprobe", "esp0")
    ctl.run("sync-time")
    ctl.run("adopt")
    ctl.await_state("ready")
    assert ctl.json("log-level") == {"log_level": "info"}
    ctl.run("log-level", "debug")
    assert ctl.json("log-level") == {"log_level": "debug"}
    ctl.run("log-level", "loud", status=1)
    assert "warning" in ctl.errors
    assert works(daemon)


def test_reload(ctl, bench, up, serve):
    server = serve()
    daemon = up(tunnel(server))
    bench.rewrite(text=bench.config(tunnel(server)) + "nonsense = 1;\n")
    lines = (bench.dir / "espatd.conf").read_text().count("\n")
    ctl.run("reload", status=1)
    assert f"espatd.conf:{lines}: " in ctl.errors and "nonsense" in ctl.errors
    bench.rewrite(text="devices = (")
    ctl.run("reload", status=1)
    assert "espatd.conf:1: " in ctl.errors and "expected" in ctl.errors
    assert works(daemon)
    bench.rewrite(tunnel(server), tunnel(server, name="two"))
    ctl.run("reload")
    assert works(daemon, "two")


def test_another_chip(ctl, bench, up):
    daemon = up()
    # Before the terminal is free for somebody else, who would be found by its old name.
    bench.chip.tty.unlink()
    bench.chip.kill()
    daemon.await_line("^esp0: the port .* is gone")
    found = ctl.doctor(status=1)
    assert set(found) == {"port"} and "is gone" in found["port"]["what"] and found["port"]["advice"]
    assert "/tty" in found["port"]["what"]
    for args in ["reset"], ["command", "AT"], ["certs", "verify"], ["wifi", "scan"]:
        ctl.run(*args, status=6)
        assert "absent" in ctl.errors
    # Asked again, it is not there: another word for the same.
    wait_for(lambda: "there is no" in ctl.doctor(status=1)["port"]["what"], "the word")
    assert "plugged in" in ctl.doctor(status=1)["port"]["advice"]
    (bench.dir / "flash").unlink()
    bench.sim("--mac", MAC)
    ctl.await_state("unknown-chip")
    found = ctl.doctor(status=1)
    assert set(found) == {"unknown-chip"} and MAC in found["unknown-chip"]["what"]
    assert "espatctl adopt esp0" in found["unknown-chip"]["advice"]
    ctl.run("adopt", "esp0")
    ctl.await_state("ready")
    assert ctl.doctor() == {} and works(daemon)


def test_wrong_password(ctl, bench, serve):
    (bench.dir / "wifi.secret").write_text("something-else\n")
    bench.sim()
    daemon = bench.espatd(tunnel(serve()))
    bench.bus.await_name()
    daemon.await_line("^esp0: cannot join")
    found = ctl.doctor(status=1)
    assert found["wifi-password"]["severity"] == "error" and "something-else" not in str(found)
    assert "waits" in found or "tunnel" not in {f["object"] for f in found.values()}
    assert "wrong password" in ctl.run("status")
    ctl.run("wifi", "join", "lab", "--password-file", "-", input=PASSWORD + "\n")
    ctl.await_state("ready")
    assert ctl.doctor() == {} and works(daemon)


def test_no_network(ctl, bench, serve):
    bench.wifi["ssid"] = "password-elsewhere"
    bench.sim()
    daemon = bench.espatd(tunnel(serve()))
    bench.bus.await_name()
    daemon.await_line("^esp0: cannot join")
    found = ctl.doctor(status=1)
    assert "wifi-join" in found and "wifi-password" not in found


def test_nobody_answers(ctl, bench, serve):
    """A line that is there, and silent."""
    bench.sim()
    bench.chip.fault("hang")
    bench.espatd(tunnel(serve()))
    bench.bus.await_name()
    assert ctl.doctor(wait=1, status=1)["no-answer"]["severity"] == "error"
    ctl.run("command", "AT", status=6)


def test_another_uart(ctl, bench, serve):
    """What comes from the port is the boot text of a chip whose AT port is another one."""
    chip, port = pty.openpty()
    tty.setraw(port)
    (bench.dir / "tty").symlink_to(os.ttyname(port))
    os.write(chip, b"ets Jun  8 2016 00:22:57\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n")
    try:
        daemon = bench.espatd(tunnel(serve()))
        bench.bus.await_name()
        # Again and again, so that it comes after the port was opened.
        wait_for(lambda: os.write(chip, b"I (27) boot: ESP-IDF v4.3\r\n") and daemon.matching("no answer"), "the error")
        found = ctl.doctor(status=1)
        assert "boot loader or a log" in found["wrong-uart"]["what"] and "UART1" in found["wrong-uart"]["advice"]
        assert "no-answer" not in found and "ESP-IDF" not in str(found)
        assert "boot loader or a log" in bench.bus.chip()["LastError"]
    finally:
        os.close(port)
        os.close(chip)


def test_rts_is_not_wired(ctl, bench, serve):
    """It is in service, at the raised rate; and what was wanted is missed."""
    bench.device.update(max_baud=921600, flow_control="rtscts")
    bench.sim("--baud", "115200", "--no-rts")
    daemon = bench.espatd(tunnel(serve()))
    bench.bus.await_name()
    daemon.await_line("^esp0: ready$")
    no_rts = ctl.doctor()["no-rts"]
    assert no_rts["severity"] == "warning" and "921600 baud" in no_rts["what"] and "came back" in no_rts["what"]
    assert "RTS to CTS" in no_rts["advice"]
    assert ctl.json("devices", "esp0")["flow_control_error"] in no_rts["what"]
    assert re.search(r"^ *flow control +none \(.* came back\)$", ctl.run("devices", "esp0"), re.M)


def test_port_that_somebody_else_has(ctl, bench, serve):
    bench.sim()
    # Or it would be the terminal of these tests, whose end is theirs.
    with os.fdopen(os.open(bench.chip.tty, os.O_RDONLY | os.O_NOCTTY), "rb", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        daemon = bench.espatd(tunnel(serve()))
        bench.bus.await_name()
        daemon.await_line("another program uses it")
        port = ctl.doctor(status=1)["port"]
        assert "another program uses it" in port["what"] and "fuser" in port["advice"]
    ctl.await_state("ready")
    assert ctl.doctor() == {} and works(daemon)


def test_weak_chip(ctl, bench, serve):
    """Little memory and a weak signal."""
    bench.sim()
    bench.chip.fault("heap 20000")
    bench.chip.fault("rssi -80")
    daemon = bench.espatd(tunnel(serve()))
    bench.bus.await_name()
    daemon.await_line("^esp0: ready$")
    wait_for(lambda: bench.bus.chip()["FreeHeap"] > 0, "the sample")
    found = ctl.doctor()
    assert set(found) == {"heap-low", "signal-weak"}
    assert "20 kB" in found["heap-low"]["what"] and "espatctl reset esp0" in found["heap-low"]["advice"]
    assert "-80 dBm from lab" in found["signal-weak"]["what"]


def test_clock_that_is_not_set(ctl, bench, serve, udp):
    """The time servers say nothing, and then what cannot be."""
    server = udp(lambda query: None)
    with_time_server(bench, server)
    bench.sim()
    daemon = bench.espatd(tunnel(serve()))
    bench.bus.await_name()
    daemon.await_line('joined "lab"')
    waits = ctl.doctor(wait=1)["clock-waits"]
    assert waits["severity"] == "warning" and "not set yet" in waits["what"]
    assert ctl.json("devices", "esp0")["clock"] == "unset"
    server.answer = sntp_answer(lambda: 1600000000)
    daemon.await_line("the time servers say a time that is long past", timeout=LONG)
    found = ctl.doctor(status=1)["time-servers"]
    assert "long past" in found["what"] and "ntp_servers" in found["advice"]


def test_server_that_refuses(ctl, bench, up, serve):
    daemon = up(tunnel(1))
    assert refused(daemon)
    found = ctl.doctor()
    assert set(found) == {"refused"} and found["refused"]["severity"] == "warning"


# ---- what comes by and by ----

def lines(program):
    return [json.loads(line) for line in program.log()]


def test_monitor(ctl, bench, up, serve):
    daemon = up(tunnel(1))
    monitor = ctl.go("--json", "monitor")
    monitor.await_line('"running":true')
    assert refused(daemon)
    monitor.await_line('"event":"failed"')
    (failed,) = [x for x in lines(monitor) if x["event"] == "failed"]
    assert (failed["object"], failed["name"], failed["reason"]) == ("tunnel", "broker", "refused")
    assert failed["text"] and failed["time"].endswith("Z")
    ctl.run("tunnel", "add", "two", "host=broker.test", "port=1", "authority=corp")
    monitor.await_line('"event":"added"')
    ctl.run("tunnel", "remove", "two")
    monitor.await_line('"event":"removed"')
    daemon.end()
    monitor.await_line('"running":false')
    assert interrupt(monitor) == 0


def test_all_changes_are_told(ctl, bench, up, serve):
    """What was told one by one is in the end what there is."""
    server = serve()
    daemon = up(tunnel(server), tunnel(1, name="nowhere"), options=("-v",))
    def known():
        found = {}
        for path, interfaces in bench.bus.call(
                "/org/espat1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects").items():
            for interface, properties in interfaces.items():
                for name, value in properties.items():
                    # Counted with each byte, and told to nobody who does not ask.
                    if name not in ("BytesSent", "BytesReceived"):
                        found[path.split("/")[-1], interface, name] = value
        return found

    monitor = ctl.go("--json", "monitor")
    monitor.await_line('"running":true')
    told = known()
    assert works(daemon) and refused(daemon, "nowhere")
    client = daemon.connect()
    assert exchange(client, b"hello") == b"hello"
    bench.chip.fault("reset")
    daemon.await_line("^esp0: ready$", count=2)
    client.close()
    ctl.run("certs", "set-authority", "corp", bench.pki / "both.pem")
    ctl.run("certs", "load", "client_ca", "5", bench.pki / "ca2.pem")
    ctl.run("certs", "erase", "client_ca", "5")
    ctl.run("wifi", "leave")
    ctl.run("wifi", "join", "lab", "--password-file", bench.dir / "wifi.secret")
    ctl.await_state("ready")
    bench.wifi["password_file"] = f"{bench.dir}/wifi.secret"
    bench.rewrite(tunnel(server), tunnel(server, name="nowhere"))
    ctl.run("reload")
    assert works(daemon, "nowhere") and works(daemon)
    ctl.run("reset")

    def complete():
        for line in lines(monitor):
            if line["event"] == "changed":
                told[line["name"], line["interface"], line["property"]] = line["value"]
        now = known()
        # A tunnel that was made anew is told as a whole.
        return {key: (told.get(key), value) for key, value in now.items()
                if told.get(key) != value and key[0] != "nowhere"}

    # The last samples of heap and signal may still be on their way.
    wait_for(lambda: bench.bus.chip()["FreeHeap"] > 0, "the heap")
    wait_for(lambda: not complete(), "what was told is what there is")


# ---- trace ----

def test_trace_into_a_file(ctl, bench, up):
    daemon = up()
    file = bench.dir / "trace"
    trace = ctl.go("trace", "esp0", str(file))
    wait_for(lambda: file.exists() and file.stat().st_size > 0, "the trace")
    assert file.stat().st_mode & 0o777 == 0o600
    ctl.run("command", "AT+GMR")
    assert works(daemon, data=b"nobody-else-reads-this")
    assert interrupt(trace) == 0
    text = file.read_text()
    assert 'H>D "AT+GMR\\r\\n"' in text and "AT version" in text and "nobody-else" not in text
    assert text.splitlines()[-1].split("# ")[1].startswith("end: ")
    ctl.run("trace", "esp0", file, status=1)
    assert file.read_text() == text
    # It was ended by that: another one can begin.
    assert "# end: the limit of 1 s" in ctl.run("trace", "esp0", "--seconds", "1")


def test_trace_displaced(ctl, up):
    up()
    first = ctl.go("trace")
    first.await_line("begun at")
    second = ctl.go("trace")
    second.await_line("begun at")
    assert first.wait() == 0
    assert "espatctl: the trace has ended: another one begins" in first.log()
    assert interrupt(second) == 0 and not any("espatctl:" in line for line in second.log())


def test_trace_to_its_limit(ctl, bench, up):
    daemon = up()
    trace = ctl.go("trace", "--bytes", "4096")
    trace.await_line("begun at")
    while trace.process.poll() is None:
        ctl.run("command", "AT+GMR")
    assert trace.wait() == 0 and sum(len(line) + 1 for line in trace.log()) <= 4096
    assert "limit of 4096 bytes" in trace.log()[-1]
    ctl.run("trace", "--bytes", "1", status=1)
    ctl.run("trace", "esp9", status=5)
    assert works(daemon)


# ---- the ends ----

def test_exit_statuses(ctl, bench, up):
    daemon = up()
    for args in (["devices", "esp9"], ["tunnels", "nowhere"], ["reset", "esp9"], ["disconnect", "nowhere"],
                 ["wifi", "scan", "esp9"], ["certs", "list", "esp9"], ["certs", "verify", "esp9"]):
        ctl.run(*args, status=5)
    daemon.end()
    for args in (["status"], ["devices"], ["tunnels"], ["certs"], ["certs", "verify"], ["wifi"], ["wifi", "scan"],
                 ["reload"], ["reset"], ["command", "AT"], ["trace"], ["log-level"], ["udev"]):
        ctl.run(*args, status=3)
    assert set(ctl.doctor(status=3)) <= {"service-not-running", "service-not-installed", "service-failed"}
    bench.bus.kill()
    ctl.run("status", status=3)
    ctl.run("doctor", status=3)


@pytest.mark.skipif(why_not_nobody() is not None, reason=str(why_not_nobody()))
def test_somebody_else(ctl, bench, up):
    """May look, and change nothing."""
    up()
    bench.dir.chmod(0o755)

    def run(*args):
        return subprocess.run(as_nobody(*ctl.command(*args)), capture_output=True, text=True, timeout=DEADLINE,
                              stdin=subprocess.DEVNULL)
    if "Permission denied" in run("--version").stderr:
        pytest.skip("the binary stands where nobody may go")
    for args in ["status"], ["certs"], ["doctor"], ["metrics"]:
        done = run(*args)
        assert done.returncode == 0, done
    file = bench.dir / "trace"
    for args in (["reload"], ["reset"], ["adopt"], ["sync-time"], ["reprobe"], ["disconnect", "broker"],
                 ["command", "AT+GMR"], ["wifi", "scan"], ["wifi", "leave"], ["log-level", "debug"], ["trace"],
                 ["certs", "verify"], ["certs", "erase", "client_ca", "5"], ["certs", "rollback", "authority:corp"],
                 ["tunnel", "add", "two", "host=broker.test", "port=1", "authority=corp"]):
        done = run(*args)
        assert done.returncode == 4, (args, done)
        assert "espat-admin" in done.stderr
    assert not file.exists() and ctl.json("log-level") == {"log_level": "info"} and ctl.state() == "ready"
