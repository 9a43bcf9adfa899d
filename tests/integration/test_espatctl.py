# SPDX-License-Identifier: MIT
"""espatctl: what it calls, what it shows, how it ends."""
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import termios
import time

import pytest

from busdaemon import BusDaemon
from ctlbench import Bench, Terminal, completion_file, interrupt
from harness import DEADLINE, wait_for

pytestmark = pytest.mark.skipif(not shutil.which("dbus-daemon"), reason="no dbus-daemon")

SECRET = "private-4711"
KEY = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def bus(tmp_path_factory):
    daemon = BusDaemon(tmp_path_factory.mktemp("bus"))
    yield daemon.address
    daemon.end()


@pytest.fixture
def ctl(bus, tmp_path):
    bench = Bench(tmp_path, bus)
    yield bench
    bench.end()


# ---- what is shown ----

def test_status(ctl):
    ctl.start("--set", "esp1:Device.State=failed",
              "--set", "esp1:Device.LastError=cannot\x1b[2J join")
    text = ctl.run("status")
    lines = text.splitlines()
    assert "\x1b" not in text
    head = next(line for line in lines if line.startswith("DEVICE"))
    row = next(line for line in lines if line.startswith("esp0"))
    # Columns stand one below the other, also behind a character of two bytes.
    assert row.index("192.168.4.2") == head.index("ADDRESS")
    assert "caf\u00e9" in row and "2/5" in row and "112 kB" in row and "-52 dBm" in row
    assert "  cannot?[2J join" in lines
    assert any(re.match(r"broker +listening +esp0 +broker.example:8883 +yes", x) for x in lines)
    assert any(re.match(r"a\.b-c +listening", x) for x in lines)
    assert any(x.startswith("corp ") and "\u00dcber" in x for x in lines)
    # Nobody is asked for a password by looking.
    assert not ctl.fake.matching("interactive")


def test_status_json(ctl):
    ctl.start("--devices", "1", "--set", 'esp0:Device.LastError=a"b\x01\\')
    status = ctl.json("status")
    assert list(status) == ["version", "log_level", "devices", "tunnels", "authorities",
                            "identities"]
    assert status["devices"] == [{
        "name": "esp0", "port": "/dev/ttyUSB0", "state": "ready", "model": "ESP32",
        "firmware": "v4.1.0.0-dev(WROOM-32)", "core": "3.5.0.0-dev",
        "mac": "24:0a:c4:12:34:56", "baud": 115200, "flow_control": "none",
        "flow_control_error": "", "links": 5, "links_in_use": 2, "free_heap": 112000, "clock": "host", "resets": 1,
        "flash_writes": 2**64 - 1, "last_error": 'a"b\x01\\',
        "wifi": {"ssid": "caf\u00e9", "bssid": "aa:bb:cc:dd:ee:ff", "channel": 6, "rssi": -52,
                 "address": "192.168.4.2", "connected": True}}]
    assert [t["name"] for t in status["tunnels"]] == ["a.b-c", "broker"]
    assert status["tunnels"][1] == {
        "name": "broker", "device": "esp0", "host": "broker.example", "port": 8883,
        "socket_path": "/run/espat/broker.sock", "verified": True, "origin": "configuration",
        "state": "listening", "clients": 2, "waiting": 0, "bytes_sent": 1234567,
        "bytes_received": 42, "connects": 7, "failures": 0, "aborted": 0, "last_error": "",
        "last_error_reason": ""}
    assert status["authorities"] == [{
        "name": "corp", "configured": True, "generation": 3, "previous": True,
        "source": "files", "length": 1234,
        "sha256": "0011223344556677889900112233445566778899001122334455667788990011",
        "subject": "CN=corp,O=\u00dcber", "issuer": "CN=corp", "not_before": 1700000000,
        "not_after": 4000000000, "tunnels": ["broker"], "devices": ["esp0"]}]
    assert [i["name"] for i in status["identities"]] == ["gateway"]


def test_one_of_them(ctl):
    ctl.start()
    assert ctl.json("devices", "esp1")["name"] == "esp1"
    assert [d["name"] for d in ctl.json("devices")] == ["esp0", "esp1"]
    assert ctl.json("tunnels", "a.b-c")["name"] == "a.b-c"
    assert len(ctl.json("tunnels")) == 2
    assert "24:0a:c4:12:34:56" in ctl.run("devices", "esp0")
    assert "1234567" in ctl.run("tunnels", "broker")
    ctl.run("devices", "esp9", status=5)
    ctl.run("tunnels", "esp0", status=5)
    assert ctl.json("log-level") == {"log_level": "info"}


def test_certs(ctl):
    ctl.start("--devices", "1")
    text = ctl.run("certs")
    assert "\x1b" not in text and "CN=root ?[31m" in text and "authority:corp" in text
    values = ctl.json("certs", "list", "esp0")
    assert values[0] == {"device": "esp0", "namespace": "client_ca", "slot": 3, "kind": "ca",
                         "length": 1188, "sha256": "aabbccdd", "subject": "CN=root \x1b[31m",
                         "issuer": "CN=root", "not_before": 1700000000,
                         "not_after": 4000000000, "used_by": ["authority:corp"]}
    assert values[1]["slot"] is None and values[1]["not_after"] is None
    assert ctl.json("certs", "orphans") == [{"device": "esp0", "namespace": "client_ca",
                                             "slot": 5, "generation": 2, "sha256": "ffee"}]
    assert ctl.json("certs", "identities")[0]["name"] == "gateway"
    assert "corp" in ctl.run("certs", "authorities")
    ctl.run("certs", "list", "esp9", status=5)


def test_scan(ctl):
    ctl.start("--devices", "1")
    text = ctl.run("wifi", "scan")
    assert "\x1b" not in text
    head, *rows = text.splitlines()
    # Two columns for a wide character.
    assert [row.index("dBm") for row in rows][0] == head.index("SIGNAL") + 3
    assert ctl.json("wifi", "scan")[0] == {"ssid": "caf\u00e9", "bssid": "aa:bb:cc:dd:ee:ff",
                                           "rssi": -40, "channel": 6, "security": "wpa2"}
    assert ctl.json("wifi") == [{"device": "esp0", "connected": True, "ssid": "caf\u00e9",
                                 "bssid": "aa:bb:cc:dd:ee:ff", "channel": 6, "rssi": -52,
                                 "address": "192.168.4.2"}]


def test_colors(ctl):
    ctl.start()
    for args, env, colored in ((["status"], {}, True), (["status"], {"NO_COLOR": "1"}, False),
                               (["status"], {"TERM": "dumb"}, False),
                               (["status", "--color", "never"], {}, False),
                               (["status", "--color=always"], {"NO_COLOR": "1"}, True)):
        terminal = Terminal(ctl.command(*args), env={"NO_COLOR": "", **env})
        text = terminal.read()
        assert terminal.wait() == 0
        assert (b"\x1b[32mready\x1b[0m" in text) == colored, (args, env)
    assert "\x1b[32mready\x1b[0m" in ctl.run("status", "--color", "always")
    assert "\x1b" not in ctl.run("status")


def test_reader_that_goes(ctl):
    """As `head` does."""
    ctl.start()
    r, w = os.pipe()
    os.close(r)
    done = subprocess.run(ctl.command("metrics"), stdout=w, stderr=subprocess.PIPE,
                          timeout=DEADLINE)
    os.close(w)
    assert done.returncode == 1 and done.stderr == b""


def test_full_disk(ctl):
    ctl.start()
    with open("/dev/full", "wb") as full:
        done = subprocess.run(ctl.command("status"), stdout=full, stderr=subprocess.PIPE,
                              timeout=DEADLINE)
    assert done.returncode == 1 and b"No space left" in done.stderr


# ---- how it ends ----

@pytest.mark.parametrize("name, status", [
    ("org.espat1.Error.NotAuthorized", 4),
    ("org.freedesktop.DBus.Error.AccessDenied", 4),
    ("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", 4),
    ("org.espat1.Error.NotReady", 6),
    ("org.espat1.Error.ChipGone", 6),
    ("org.espat1.Error.Timeout", 6),
    ("org.espat1.Error.Busy", 1),
    ("org.espat1.Error.NoSuchValue", 5),
    ("org.espat1.Error.InvalidArgument", 1),
    ("org.espat1.Error.Stopping", 3),
    ("org.freedesktop.DBus.Error.NoReply", 3),
    ("org.example.Unheard", 1),
])
def test_errors(ctl, name, status):
    ctl.start("--fail", f"Reset={name}:first\x1b line\nsecond line")
    assert ctl.run("reset", "esp0", status=status) == ""
    assert "espatctl: " in ctl.errors and "first? line" in ctl.errors
    assert "\nespatctl: second line\n" in ctl.errors


def test_no_service(ctl):
    ctl.run("status", status=3)
    assert "systemctl" in ctl.errors
    ctl.run("reset", "esp0", status=3)
    ctl.run("certs", "set-authority", "corp", "/dev/null", status=3)
    done = subprocess.run([os.environ["ESPATCTL"], "--bus", "unix:path=/nowhere", "status"],
                          capture_output=True, timeout=DEADLINE)
    assert done.returncode == 3 and b"/nowhere" in done.stderr


@pytest.mark.parametrize("args", [["status"], ["reset"], ["tunnel", "remove", "x"], ["monitor"]])
def test_bus_closes(ctl, args):
    """A bus that takes the connection and ends it: that is said, not what the library calls it."""
    path = ctl.dir / "closing"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        process = subprocess.Popen([os.environ["ESPATCTL"], "--bus", f"unix:path={path}", *args],
                                   stderr=subprocess.PIPE, text=True)
        server.settimeout(DEADLINE)
        server.accept()[0].close()
        errors = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 3, errors
    assert errors == f'espatctl: the bus "unix:path={path}" has closed the connection\n'


@pytest.mark.parametrize("args", [
    [], ["nonsense"], ["--nonsense"], ["status", "x"], ["devices", "a", "b"],
    ["status", "--color", "pink"], ["status", "--persist"], ["reset", "--bytes", "1"],
    ["certs", "nonsense"], ["certs", "load", "client_ca", "3"],
    ["certs", "load", "client_ca", "10", "x"], ["certs", "erase", "client_ca", "-"],
    ["certs", "set-identity", "x", "-", "-"], ["certs", "rollback"], ["wifi", "nonsense"],
    ["tunnel"], ["tunnel", "add"], ["tunnel", "add", "x", "host"], ["tunnel", "remove"],
    ["tunnel", "add", "x", "psk=secret"], ["tunnel", "remove", "x", "--persist"],
    ["disconnect"], ["trace", "a", "b", "c"], ["trace", "--seconds", "0"],
    ["trace", "--bytes", "1x"], ["--timeout", "-1", "reset"], ["metrics", "--listen", "0"],
    ["metrics", "--listen", "192.0.2.1:9100"], ["metrics", "--listen", "0.0.0.0:9100"],
    ["metrics", "--textfile", "a", "--listen", "b"], ["log-level", "a", "b"],
])
def test_usage(ctl, args):
    ctl.start()
    assert ctl.run(*args, status=2) == ""
    assert "espatctl --help" in ctl.errors
    assert not ctl.fake.matching("interactive")


def test_help(ctl):
    text = ctl.run("--help")
    commands = re.findall(r"^  ([a-z-]+) +[a-z]", text.split("--bus")[0], re.M)
    assert len(commands) == 19
    for command in commands:
        for args in ([command, "--help"], ["-h", command]):
            assert ctl.run(*args).startswith(f"Usage: espatctl {command}"), command
    assert re.match(r"espatctl \d", ctl.run("--version"))


def test_device_left_out(ctl):
    ctl.start()
    ctl.run("reset", status=2)
    assert "esp0, esp1" in ctl.errors
    ctl.run("reset", "esp9", status=5)
    ctl.start("--devices", "1")
    ctl.run("reset")
    assert ctl.called("Reset") == "esp0 Reset interactive"
    ctl.start("--devices", "0")
    ctl.run("reset", status=5)


# ---- what is called ----

@pytest.mark.parametrize("args, call", [
    (["reset", "esp1"], "esp1 Reset interactive"),
    (["reprobe", "esp1"], "esp1 Reprobe interactive"),
    (["sync-time", "esp1"], "esp1 SyncTime interactive"),
    (["adopt", "esp1"], "esp1 Adopt interactive"),
    (["reload"], "manager Reload interactive"),
    (["log-level", "debug"], "manager SetLogLevel debug interactive"),
    (["certs", "erase", "esp1", "client_ca", "0"], "esp1 Erase client_ca 0 interactive"),
    (["certs", "erase", "esp1", "mqtt_ca", "none"], "esp1 Erase mqtt_ca 4294967295 interactive"),
    (["wifi", "leave", "esp0"], "esp0 Leave interactive"),
    (["tunnel", "remove", "x"], "manager RemoveTunnel x interactive"),
])
def test_calls(ctl, args, call):
    ctl.start()
    ctl.run(*args)
    assert ctl.called(re.escape(call)) == call


def test_answers(ctl):
    ctl.start()
    assert ctl.run("command", "esp0", "AT+GMR") == "AT version:3.5.0?]0;x?\nOK\n"
    assert ctl.called(" Command") == "esp0 Command AT+GMR interactive"
    assert ctl.json("command", "esp0", "AT+GMR") == ["AT version:3.5.0\x1b]0;x\x07", "OK"]
    assert ctl.run("disconnect", "a.b-c") == "2 clients ended.\n"
    assert ctl.called("Disconnect") == "a.b-c Disconnect interactive"
    assert ctl.run("certs", "verify", "esp0", status=1) == "client_ca.3 is not there\n"
    assert ctl.json("certs", "verify", "esp0", status=1) == ["client_ca.3 is not there"]
    ctl.start("--one")
    assert "as it should be" in ctl.run("certs", "verify", "esp0")
    assert ctl.json("certs", "verify", "esp0") == []


def test_results_of_chips(ctl):
    ctl.start()
    text = ctl.run("certs", "rollback", "corp", status=1)
    assert re.search(r"esp0 +done +written\nesp1 +not done +the chip is not ready\n", text)
    assert ctl.json("certs", "remove-authority", "corp", status=1) == [
        {"device": "esp0", "ok": True, "text": "written"},
        {"device": "esp1", "ok": False, "text": "the chip is not ready"}]
    ctl.start("--one")
    ctl.run("certs", "remove-identity", "gateway")
    assert ctl.called("RemoveIdentity") == "manager RemoveIdentity gateway interactive"


def test_tunnel_add(ctl):
    ctl.start()
    ctl.run("tunnel", "add", "new", "host=10", "port=8883", "insecure=true", "alpn=h2,http/1.1",
            "alpn=x", "allow_uids=1000,1001", "mode=0660", "authority=2026", "--persist")
    assert ctl.called("CreateTunnel") == (
        "manager CreateTunnel new host <s> 10 port <x> 8883 insecure <b> true "
        "alpn <as> h2 http/1.1 x allow_uids <au> 1000 1001 mode <s> 0660 authority <s> 2026 "
        "persist <b> true interactive")
    assert ctl.json("tunnel", "add", "new") == {"path": "/org/espat1/tunnel/new"}
    ctl.run("tunnel", "add", "new", b"host=\xff", status=2)


# ---- secrets ----

def test_load(ctl):
    ctl.start()
    key = ctl.dir / "key.pem"
    key.write_text(KEY)
    ctl.run("certs", "load", "esp1", "client_key", "3", str(key))
    assert ctl.called(" Load ") == "esp1 Load client_key 3 sealed:-----BEGIN PRIVATE KEY-----"
    ctl.called(SECRET)
    ctl.run("certs", "load", "esp1", "mqtt_ca", "none", "-", input=b"standard input")
    assert ctl.called("mqtt_ca") == (
        "esp1 Load mqtt_ca 4294967295 sealed:standard input interactive")
    ctl.run("certs", "load", "esp0", "client_ca", "3", str(ctl.dir / "none"), status=1)
    large = ctl.dir / "large"
    large.write_bytes(bytes(64 * 1024 + 1))
    ctl.run("certs", "load", "esp0", "client_ca", "3", str(large), status=1)
    assert not ctl.fake.matching("esp0 Load")


def test_set_names(ctl):
    ctl.start("--one")
    cert, key = ctl.dir / "cert.pem", ctl.dir / "key.pem"
    cert.write_text(PEM)
    key.write_text(KEY)
    ctl.run("certs", "set-authority", "corp", str(cert))
    assert ctl.called("SetAuthority") == "manager SetAuthority corp -----BEGIN CERTIFICATE-----"
    ctl.run("certs", "set-identity", "gw", str(cert), "-", input=KEY.encode())
    ctl.called("SetIdentity gw -----BEGIN CERT")
    ctl.called("sealed:-----BEGIN PRIVATE KEY-----")
    # Everybody can watch the bus: a key does not go there.
    mark = ctl.fake.mark()
    ctl.run("certs", "set-authority", "corp", str(key), status=1)
    ctl.run("certs", "set-identity", "gw", str(key), str(key), status=1)
    ctl.run("certs", "set-authority", "corp", "-", input=b"\0DER", status=1)
    assert ctl.fake.mark() == mark


def test_set_names_refused(ctl):
    """What is wrong is told of the file, not of what the service got."""
    bad = "org.espat1.Error.BadCertificate"
    ctl.start("--fail", f"SetAuthority={bad}:the argument: is empty\nesp0: the argument: no",
              "--fail", f"SetIdentity={bad}:the certificate: is empty\n"
              "the key: is -in a way old: openssl pkey -in the key -out NEWFILE")
    cert, key = ctl.dir / "cert.pem", ctl.dir / "key.pem"
    cert.write_text(PEM)
    key.write_text(KEY)
    ctl.run("certs", "set-authority", "corp", str(cert), status=1)
    assert ctl.errors == f"espatctl: {cert}: is empty\nespatctl: esp0: the argument: no\n"
    ctl.run("certs", "set-authority", "corp", "-", input=PEM.encode(), status=1)
    assert ctl.errors.startswith("espatctl: standard input: is empty\n")
    ctl.run("certs", "set-identity", "gw", str(cert), str(key), status=1)
    assert ctl.errors == f"espatctl: {cert}: is empty\nespatctl: {key}: is -in a way old: " \
        f"openssl pkey -in {key} -out NEWFILE\n"
    ctl.run("certs", "set-authority", b"\xff", str(cert), status=2)
    assert "UTF-8" in ctl.errors


def test_join(ctl):
    ctl.start("--devices", "1")
    file = ctl.dir / "password"
    file.write_text(f"{SECRET}\r\nsecond line\n")
    ctl.run("wifi", "join", "lab", "--password-file", str(file))
    assert ctl.called(" Join") == f"esp0 Join lab sealed:{SECRET} interactive"
    ctl.run("wifi", "join", "esp0", "open", "--password-file", "-", "--hidden",
            "--bssid", "aa:bb:cc:dd:ee:ff")
    assert ctl.called(" Join open") == (
        "esp0 Join open sealed: bssid <s> aa:bb:cc:dd:ee:ff hidden <b> true interactive")
    # Without a terminal there is nobody to ask.
    ctl.run("wifi", "join", "lab", status=2, start_new_session=True)


def test_prompt(ctl):
    ctl.start("--devices", "1")
    terminal = Terminal(ctl.command("wifi", "join", "lab"))
    terminal.read(until=b"network): ")
    terminal.type(SECRET.encode() + b"\n")
    shown = terminal.read()
    assert terminal.wait() == 0
    assert SECRET.encode() not in shown
    assert ctl.called(" Join") == f"esp0 Join lab sealed:{SECRET} interactive"


def test_prompt_interrupted(ctl):
    """The echo is back, whatever ends it."""
    ctl.start("--devices", "1")
    terminal = Terminal(["/bin/sh", "-c", 'trap : INT; "$@"; echo "status $?"; stty -a', "sh",
                         *ctl.command("wifi", "join", "lab")])
    terminal.read(until=b"network): ")
    assert not termios.tcgetattr(terminal.fd)[3] & termios.ECHO
    terminal.type(b"half\x03")
    shown = terminal.read()
    assert terminal.wait() == 0
    assert b"half" not in shown
    assert b"status 130\r\n" in shown and b" echo " in shown
    assert not ctl.fake.matching(" Join")


# ---- monitor ----

def test_monitor(ctl):
    ctl.start()
    monitor = ctl.go("monitor")
    monitor.await_line(r"^\d\d:\d\d:\d\d\.\d{3}  service espatd: running$")
    ctl.fake.say("set esp0:Device.State=failed")
    monitor.await_line(r"^\S+  device esp0: Device\.State = failed$")
    ctl.fake.say("set esp0:Device.LastError=it\x1b[31m broke")
    monitor.await_line(r"device esp0: Device\.LastError = it\?\[31m broke$")
    ctl.fake.say("set esp0:Wifi.Rssi=-80")
    monitor.await_line(r"device esp0: Wifi\.Rssi = -80$")
    ctl.fake.say("failed a.b-c refused nobody listens there")
    monitor.await_line(r"tunnel a\.b-c: nobody listens there \[refused\]$")
    ctl.fake.say("gone broker")
    monitor.await_line(r"tunnel broker: removed$")
    ctl.fake.kill()
    monitor.await_line(r"service espatd: not running$")
    ctl.start()
    monitor.await_line(r"service espatd: running$", count=2)
    assert interrupt(monitor) == 0


def test_monitor_json(ctl):
    ctl.start()
    monitor = ctl.go("monitor", "--json")
    monitor.await_line('"running":true')
    ctl.fake.say("set esp0:Device.Resets=7")
    ctl.fake.say("failed broker timeout too \"late\"")
    monitor.await_line("timeout")
    assert interrupt(monitor) == 0
    events = [json.loads(line) for line in monitor.log()]
    for event in events:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("time"))
    assert events == [
        {"event": "service", "object": "service", "name": None, "running": True},
        {"event": "changed", "object": "device", "name": "esp0",
         "interface": "org.espat1.Device", "property": "Resets", "value": 7},
        {"event": "failed", "object": "tunnel", "name": "broker", "reason": "timeout",
         "text": 'too "late"'}]


def test_monitor_ends(ctl):
    ctl.start()
    assert "running" in ctl.run("monitor", "--seconds", "1")


# ---- trace ----

def test_trace_file(ctl):
    ctl.start("--devices", "1")
    file = ctl.dir / "trace"
    trace = ctl.go("trace", "esp0", str(file), "--seconds", "60", "--bytes", "5000000000")
    assert ctl.called("StartTrace") == (
        "esp0 StartTrace fd max_bytes <t> 5000000000 max_seconds <u> 60 interactive")
    wait_for(lambda: file.stat().st_size > 0, "the trace")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # The service has reached a limit.
    ctl.fake.say("wire")
    assert trace.wait() == 0
    assert "H>D" in file.read_text()


def test_trace_lone_argument(ctl):
    """With a slash in it, it is the file."""
    ctl.start("--devices", "1")
    file = ctl.dir / "trace"
    trace = ctl.go("trace", str(file))
    ctl.called("esp0 StartTrace")
    ctl.fake.say("wire")
    assert trace.wait() == 0 and "H>D" in file.read_text()
    ctl.run("trace", "trace", status=5)
    ctl.start("--devices", "2")
    ctl.run("trace", str(ctl.dir / "other"), status=2)
    assert "esp0, esp1" in ctl.errors and not (ctl.dir / "other").exists()


@pytest.mark.parametrize("why, told", [("another one begins", True), ("the limit of 1 s", False)])
@pytest.mark.parametrize("to_file", [True, False])
def test_trace_displaced(ctl, why, told, to_file):
    ctl.start("--devices", "1")
    trace = ctl.go("trace", *([str(ctl.dir / "trace")] if to_file else []))
    ctl.called("StartTrace")
    ctl.fake.say(f"wire {why}")
    assert trace.wait() == 0
    message = f"espatctl: the trace has ended: {why}"
    assert (message in trace.log()) == told and (to_file or any(f"# end: {why}" in x for x in trace.log()))


def test_trace_stops(ctl):
    ctl.start("--devices", "1")
    trace = ctl.go("trace")
    trace.await_line("D>H")
    assert interrupt(trace) == 0
    ctl.called("esp0 StopTrace")
    assert trace.log()[1] == '\x1b[31m    0.002 D>H "OK"'


def test_trace_on_terminal(ctl):
    ctl.start("--devices", "1")
    terminal = Terminal(ctl.command("trace", "esp0"))
    terminal.read(until=b"D>H")
    os.kill(terminal.pid, signal.SIGTERM)
    shown = terminal.read()
    assert terminal.wait() == 0
    assert b"\x1b" not in shown and b"?[31m" in shown


def test_trace_of_others(ctl):
    """A file that is there is not written to, nor is one behind a link; nothing is left behind."""
    ctl.start("--devices", "1")
    there, link, new = ctl.dir / "there", ctl.dir / "link", ctl.dir / "new"
    there.write_text("mine")
    link.symlink_to(new)
    for file in (there, link):
        ctl.run("trace", "esp0", str(file), status=1)
    assert there.read_text() == "mine" and not new.exists()
    assert not ctl.fake.matching("StartTrace")
    ctl.start("--devices", "1", "--fail", "StartTrace=org.espat1.Error.NotAuthorized:no")
    ctl.run("trace", "esp0", str(new), status=4)
    assert not new.exists()


# ---- doctor ----

def findings(ctl, *args, **how):
    return {f["id"]: f for f in ctl.json("doctor", "--wait", "0", "--sysfs", str(ctl.dir),
                                         "--udev-data", str(ctl.dir), "--rules",
                                         str(ctl.dir / "rules"), *args, **how)}


def test_doctor(ctl):
    ctl.start("--devices", "1")
    assert set(findings(ctl)) == {"orphans"}
    ctl.start("--devices", "1", "--set", "esp0:Device.State=unknown-chip",
              "--set", "broker:Tunnel.LastError=it\x1b said no",
              "--set", "broker:Tunnel.LastErrorReason=refused",
              "--set", "a.b-c:Tunnel.Verified=false")
    found = findings(ctl, status=1)
    assert set(found) == {"orphans", "unknown-chip", "refused", "insecure"}
    assert found["unknown-chip"]["severity"] == "error"
    assert found["unknown-chip"]["name"] == "esp0"
    assert "espatctl adopt esp0" in found["unknown-chip"]["advice"]
    assert found["insecure"]["name"] == "a.b-c"
    text = ctl.run("doctor", "--wait", "0", status=1)
    assert "\x1b" not in text and "it? said no" in text and "-> " in text


def test_doctor_waits(ctl):
    """It looks for a while at a chip that is on its way."""
    ctl.start("--devices", "1", "--set", "esp0:Device.State=probing")
    found = {f["id"] for f in ctl.json("doctor", "--wait", "1", status=1)}
    assert "no-answer" in found
    doctor = ctl.go("doctor", "--json", "--wait", "60")
    # Its first look is over when it has asked all that it asks at once, so the change comes later.
    ctl.fake.say("set esp0:Device.State=ready")
    assert doctor.wait() == 0
    assert "no-answer" not in doctor.log()[0]


def test_doctor_modem_manager(ctl):
    rules = ctl.dir / "rules"
    ctl.start("--devices", "1", "--own", "org.freedesktop.ModemManager1")
    assert findings(ctl)["modem-manager"]["severity"] == "warning"
    rules.write_text('SYMLINK+="espat-esp0"\n')
    assert "modem-manager" not in findings(ctl)


@pytest.mark.parametrize("state, id", [("failed", "service-failed"),
                                       ("inactive", "service-not-running"),
                                       ("not-found", "service-not-installed")])
def test_doctor_without_service(ctl, state, id):
    ctl.start("--no-service", "--unit", state)
    assert set(findings(ctl, status=3)) == {id}


# ---- udev ----

def plug(root, tty="ttyUSB0", serial="0001"):
    usb = root / "devices/1-1"
    (usb / f"1-1:1.0/{tty}").mkdir(parents=True)
    (usb / "idVendor").write_text("10c4\n")
    (usb / "idProduct").write_text("ea60\n")
    (usb / "serial").write_text(f"{serial}\n")
    (usb / "1-1:1.0/bInterfaceNumber").write_text("00\n")
    (root / f"class/tty/{tty}").mkdir(parents=True)
    (root / f"class/tty/{tty}/dev").write_text("188:0\n")
    (root / f"class/tty/{tty}/device").symlink_to(usb / f"1-1:1.0/{tty}")


def test_udev(ctl):
    root, rules = ctl.dir / "sys", ctl.dir / "70-espat.rules"
    plug(root)
    where = ["--sysfs", str(root), "--udev-data", str(root), "--rules", str(rules)]
    ctl.start("--set", "esp1:Device.Port=tcp:host:1\nRULE")
    text = ctl.run("udev", *where)
    rule = ('SUBSYSTEM=="tty", ATTRS{idVendor}=="10c4", ATTRS{idProduct}=="ea60", '
            'ATTRS{serial}=="0001", ENV{ID_USB_INTERFACE_NUM}=="00", '
            'ENV{ID_MM_PORT_IGNORE}="1", SYMLINK+="espat-esp0"')
    assert [x for x in text.splitlines() if not x.startswith("#")] == [rule]
    assert not rules.exists()
    assert [r["rule"] for r in ctl.json("udev", *where)] == [rule, None]
    ctl.run("udev", "--write", *where)
    assert rules.read_text() == text
    assert stat.S_IMODE(rules.stat().st_mode) == 0o644
    # Unplugged: its rule is not lost.
    shutil.rmtree(root)
    assert "kept" not in ctl.run("udev", "--write", *where) and "kept" in ctl.errors
    assert rule in rules.read_text().splitlines()
    rules.unlink()
    ctl.run("udev", "--write", *where, status=1)
    assert not rules.exists()
    assert "not there" in ctl.errors


def test_udev_nothing_to_write(ctl):
    rules = ctl.dir / "70-espat.rules"
    where = ["--sysfs", str(ctl.dir), "--udev-data", str(ctl.dir), "--rules", str(rules)]
    ctl.start("--set", "esp0:Device.Port=unix:/run/x", "--set", "esp1:Device.Port=tcp:host:1")
    assert len(re.findall("^# esp[01]: .*needs no rule$", ctl.run("udev", *where), re.M)) == 2
    assert ctl.run("udev", "--write", *where) == (
        f"There is no rule to write: {rules} stays as it is.\n")
    assert not rules.exists() and ctl.errors == ""
    # One of before, of a device that needs none any more.
    rules.write_text('# mine\n\nSYMLINK+="espat-esp0"\n')
    ctl.run("udev", "--write", *where)
    assert "SYMLINK" not in rules.read_text()
    before = rules.stat().st_mtime_ns
    ctl.run("udev", "--write", *where)
    assert rules.stat().st_mtime_ns == before


# ---- metrics ----

def ask(path, request=b"GET /metrics HTTP/1.0\r\n\r\n"):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(DEADLINE)
        s.connect(str(path))
        s.sendall(request)
        answer = b""
        while data := s.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def test_metrics(ctl):
    ctl.start()
    text = ctl.run("metrics")
    assert 'espat_device_free_heap_bytes{device="esp1"} 112000\n' in text
    file = ctl.dir / "espat.prom"
    ctl.run("metrics", "--textfile", str(file))
    assert file.read_text() == text
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    ctl.run("metrics", "--textfile", "/nowhere/x", status=1)
    ctl.fake.kill()
    assert ctl.run("metrics", status=3).endswith("espat_up 0\n")
    ctl.run("metrics", "--textfile", str(file), status=3)
    assert file.read_text().endswith("espat_up 0\n")


def test_metrics_served(ctl):
    path = ctl.dir / "metrics.sock"
    # One that a killed one has left.
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    ctl.start()
    server = ctl.go("metrics", "--listen", str(path))
    wait_for(lambda: not socket.socket(socket.AF_UNIX).connect_ex(str(path)), "the server")
    status, body = ask(path)
    assert status == 200 and body == ctl.run("metrics")
    assert ask(path, b"GET /x HTTP/1.0\r\n\r\n")[0] == 404
    assert ask(path, b"PUT / HTTP/1.0\r\n\r\n")[0] == 405
    assert ask(path, b"x" * 10000)[0] == 431
    # Who says nothing is turned away, and the next one served.
    begin = time.monotonic()
    slow = socket.socket(socket.AF_UNIX)
    slow.connect(str(path))
    assert ask(path)[0] == 200
    assert time.monotonic() - begin > 4
    assert slow.recv(100).startswith(b"HTTP/1.0 408 ")
    slow.close()
    # The service goes and comes.
    ctl.fake.kill()
    assert ask(path)[1].endswith("espat_up 0\n")
    ctl.start()
    assert ask(path)[1] == body
    assert server.end() == 0
    assert not path.exists()


def test_metrics_files_of_others(ctl):
    file, path = ctl.dir / "file", ctl.dir / "taken"
    file.write_text("mine")
    ctl.run("metrics", "--listen", str(file), status=1)
    assert file.read_text() == "mine"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        ctl.run("metrics", "--listen", str(path), status=1)
        assert path.exists()


def test_metrics_tcp(ctl):
    ctl.start()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = ctl.go("metrics", "--listen", str(port))

    def connect():
        s = socket.socket()
        if s.connect_ex(("127.0.0.1", port)) == 0:
            return s
        s.close()
        return None

    with wait_for(connect, "the server") as s:
        s.settimeout(DEADLINE)
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.0 200 OK\r\n")
    assert server.end() == 0


# ---- a service that answers nonsense ----

@pytest.mark.parametrize("args", [
    ["status"], ["devices"], ["tunnels"], ["certs"], ["certs", "orphans"],
    ["certs", "authorities"], ["certs", "verify", "esp0"], ["certs", "rollback", "x"],
    ["wifi"], ["wifi", "scan", "esp0"], ["tunnel", "add", "x"], ["command", "esp0", "AT"],
    ["disconnect", "broker"], ["reset"], ["doctor"], ["udev"], ["metrics"], ["log-level"],
])
def test_odd_answers(ctl, args):
    ctl.start("--odd")
    ctl.run(*args, status=1)
    assert "not understood" in ctl.errors
    assert "type" in ctl.errors


# ---- completion ----

def complete(ctl, *words):
    """What bash offers behind the words, the last of which is not finished."""
    script = completion_file() / "espatctl.bash"
    bin = ctl.dir / "bin"
    bin.mkdir(exist_ok=True)
    (bin / "espatctl").unlink(missing_ok=True)
    (bin / "espatctl").symlink_to(os.environ["ESPATCTL"])
    done = subprocess.run(
        ["bash", "--norc", "-uc",
         'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _espatctl; '
         'printf "%s\\n" "${COMPREPLY[@]}"', str(script), "espatctl", *words],
        capture_output=True, timeout=DEADLINE, cwd=ctl.dir,
        env={**os.environ, "PATH": f"{bin}:{os.environ['PATH']}"})
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    return done.stdout.decode().split()


def tunnel_keys():
    """Those that a tunnel may have on the bus."""
    source = (completion_file().parents[1] / "config/tables.c").read_text()
    table = source.split(" tunnel_keys[] = {")[1].split("\n};")[0]
    keys = set(re.findall(r'_KEY\(config_tunnel, (\w+)', table)) - {"family"} | {"address_family"} | set(re.findall(r'\t\.name = "(\w+)"', table))
    assert {"host", "mode", "psk"} <= keys
    return keys - {"name", "psk"}


def test_bash_completion(ctl):
    ctl.start()
    # bash gives the words of an address one by one.
    bus = ["--bus", *re.split("([=:])", ctl.bus)]
    commands = complete(ctl, "")
    help = ctl.run("--help").split("--bus")[0]
    assert sorted(commands) == sorted(re.findall(r"^  ([a-z-]+) +[a-z]", help, re.M))
    assert complete(ctl, "re") == ["reload", "reset", "reprobe"]
    assert complete(ctl, "wifi", "") == ["status", "scan", "join", "leave"]
    assert complete(ctl, "wifi", "--h") == ["--help", "--hidden"]
    assert complete(ctl, "status", "--h") == ["--help"]
    assert complete(ctl, "--color", "a") == ["auto", "always"]
    assert complete(ctl, *bus, "reset", "e") == ["esp0", "esp1"]
    assert complete(ctl, *bus, "--json", "disconnect", "") == ["a.b-c", "broker"]
    assert complete(ctl, *bus, "certs", "rollback", "") == ["corp", "gateway"]
    assert complete(ctl, *bus, "certs", "verify", "esp1") == ["esp1"]
    assert complete(ctl, "tunnel", "add", "x", "au") == ["authority="]
    assert set(complete(ctl, "tunnel", "add", "x", "")) == {f"{key}=" for key in tunnel_keys()}
    (ctl.dir / "some.pem").touch()
    assert complete(ctl, "certs", "load", "client_ca", "3", "so") == ["some.pem"]
    assert complete(ctl, "trace", "./so") == ["./some.pem"]
    assert complete(ctl, *bus, "trace", "e") == ["esp0", "esp1"]
    assert complete(ctl, "certs", "") == [
        "list", "load", "erase", "verify", "rollback", "orphans", "authorities", "identities",
        "set-authority", "set-identity", "remove-authority", "remove-identity"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_zsh_completion(ctl):
    """It is read without a complaint, and knows the same commands and options."""
    script = completion_file() / "_espatctl"
    subprocess.run(["zsh", "-n", str(script)], check=True, timeout=DEADLINE)
    text = script.read_text()
    for key in tunnel_keys():
        assert re.search(rf"\b{key}=", text), key
    for command in complete(ctl, ""):
        assert re.search(rf"""['"]{command}:""", text), command
        for option in complete(ctl, command, "--"):
            assert re.search(rf"{option}\b", text), option


# Each match goes into a file, as what stands on the terminal depends on its width. With -O, -A or -D the completion's
# own functions ask for them, and nobody is shown any.
ZSH = r"""
PS1= PS2= RPS1=
unsetopt beep
unset zle_bracketed_paste
fpath=($COMPLETION $fpath)
autoload -Uz compinit && compinit -u -D
zstyle ':completion:*' insert-tab false
compadd() {
	local -a hits
	if [[ ${@[1,(i)(-|--)]} != *-[OAD]\ * ]]; then
		builtin compadd -A hits "$@"
		print -lr -- $hits >> $HITS
	fi
	builtin compadd "$@"
}
complete() {
	: > $HITS
	zle complete-word
	BUFFER=
	print -r -- "@END@" > /dev/tty
}
zle -N complete
bindkey '^I' complete
print -r -- "@RE""ADY@"
"""


class Zsh(Terminal):
    """A shell in which the words are typed, and a tabulator behind them."""

    def __init__(self, ctl):
        self.hits = ctl.dir / "hits"
        init = ctl.dir / "init.zsh"
        init.write_text(ZSH)
        bin = ctl.dir / "bin"
        bin.mkdir(exist_ok=True)
        (bin / "espatctl").unlink(missing_ok=True)
        (bin / "espatctl").symlink_to(os.environ["ESPATCTL"])
        super().__init__([shutil.which("zsh"), "-f", "-i"], {
            "COMPLETION": str(completion_file()), "HITS": str(self.hits), "ZDOTDIR": str(ctl.dir),
            "PATH": f"{bin}:{os.environ['PATH']}"})
        self.type(f"cd {ctl.dir} && source {init}\n".encode())
        self.read(b"@READY@")

    def complete(self, *words):
        """What it offers behind the words, the last of which is not finished."""
        self.text = b""
        self.type(" ".join(["espatctl", *words]).encode() + b"\t")
        self.read(b"@END@")
        return self.hits.read_text().split()

    def end(self):
        self.type(b"\x15exit\n")
        self.read()
        assert self.wait() == 0


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_zsh_completes(ctl):
    """What is offered, by zsh itself: the same as by bash."""
    ctl.start()
    (ctl.dir / "some.pem").touch()
    zsh = Zsh(ctl)
    bus = "--bus", ctl.bus
    assert sorted(zsh.complete("")) == sorted(complete(ctl, ""))
    assert sorted(zsh.complete("re")) == ["reload", "reprobe", "reset"]
    assert zsh.complete("certs", "") == complete(ctl, "certs", "")
    assert sorted(zsh.complete("wifi", "")) == ["join", "leave", "scan", "status"]
    assert sorted(zsh.complete("tunnel", "")) == ["add", "remove"]
    assert sorted(zsh.complete("log-level", "")) == ["debug", "error", "info", "notice", "warning"]
    assert sorted(zsh.complete("--color", "a")) == ["always", "auto"]
    assert set(zsh.complete("status", "--")) >= {"--bus", "--json", "--help", "--wait", "--textfile"}
    # Names come from the service.
    assert zsh.complete(*bus, "reset", "e") == ["esp0", "esp1"]
    assert zsh.complete(*bus, "--json", "disconnect", "") == ["a.b-c", "broker"]
    assert zsh.complete(*bus, "certs", "rollback", "") == ["corp", "gateway"]
    assert zsh.complete(*bus, "certs", "set-authority", "") == ["corp"]
    assert zsh.complete(*bus, "tunnel", "remove", "") == ["a.b-c", "broker"]
    assert zsh.complete(*bus, "wifi", "scan", "") == ["esp0", "esp1"]
    assert set(zsh.complete("tunnel", "add", "x", "")) == {f"{key}=" for key in tunnel_keys()}
    assert zsh.complete("tunnel", "add", "x", "au") == ["authority="]
    # Files.
    assert zsh.complete("certs", "load", "client_ca", "3", "so") == ["some.pem"]
    assert zsh.complete("metrics", "--textfile", "so") == ["some.pem"]
    assert zsh.complete(*bus, "trace", "./so") == ["some.pem"]
    assert zsh.complete(*bus, "trace", "e") == ["esp0", "esp1"]
    # Options between do not count.
    assert zsh.complete(*bus, "reset", "--json", "e") == ["esp0", "esp1"]
    assert zsh.complete(*bus, "certs", "--json", "set-identity", "") == ["gateway"]
    # What is complete takes nothing more.
    assert zsh.complete(*bus, "reset", "esp0", "") == []
    zsh.end()


# ---- the manual ----

def test_manual(ctl):
    """espatctl(1) has each command, option, finding, and member of JSON."""
    text = (completion_file().parents[2] / "man/espatctl.1").read_text()
    for command in ("doctor", "udev", "metrics", "monitor", "trace"):
        line = re.search(rf"^\.It Cm {command}\b.*", text, re.M)[0]
        own = set(re.findall(r"^ +--([a-z-]+)", ctl.run(command, "--help").split("--bus")[0], re.M))
        assert own == set(re.findall(r"Fl \\-([a-z-]+)", line)), command
    for command in complete(ctl, ""):
        assert re.search(rf"^\.It Cm {command}\b", text, re.M), command
        for option in complete(ctl, command, "--"):
            assert f"Fl \\-{option[2:]}" in text, option
    for what in complete(ctl, "certs", ""):
        assert re.search(rf"\b{what}\b", text.split(".Sh JSON")[0]), what
    source = (completion_file().parent / "doctor.c").read_text()
    ids = re.findall(r'DOCTOR_[A-Z]+, "([a-z-]+)"', source)
    assert len(ids) > 20
    for id in ids:
        assert re.search(rf"^\.It .*\b{id}\b", text, re.M), id
    members = re.findall(r'json_\w+\(&?j, "([a-z_0-9]+)"',
                         "".join(f.read_text() for f in completion_file().parent.glob("*.c")))
    assert len(members) > 40
    for member in members:
        assert re.search(rf"\b{member}\b", text.split(".Sh JSON")[1]), member
