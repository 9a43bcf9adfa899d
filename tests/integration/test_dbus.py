# SPDX-License-Identifier: MIT
"""org.espat1 of the running daemon, on a bus of its own, with the simulator's chips."""
import os
import pathlib
import subprocess
import sys
import threading
import xml.etree.ElementTree as xml

import pytest

dbus = pytest.importorskip("dbus")

from bench import tunnel  # noqa: E402
from clients import exchange, read_all, refused, works  # noqa: E402
from fixtures import TOP, bench, pki, serve  # noqa: E402,F401 (used by name)
from harness import PASSWORD, wait_for, why_not_nobody  # noqa: E402
from privatebus import NAME, ROOT, BusError, fd  # noqa: E402

NO_SLOT = 0xffffffff
IN_SERVICE = "^esp0: ready$"


@pytest.fixture
def bus(bench):
    return bench.with_bus()


@pytest.fixture
def up(bench, bus, serve):
    """up(tunnel, ...): the daemon is there, and on the bus."""
    def make(*tunnels, **how):
        daemon = bench.up(*tunnels, **how)
        bus.await_name()
        return daemon
    return make


def refusal(name, call, *args, **how):
    """The call is refused with this error; what it said."""
    with pytest.raises(BusError) as error:
        call(*args, **how)
    assert error.value.name == name, error.value
    assert error.value.text, "an error without a word"
    return error.value.text


def pem(pki, name):
    return (pki / f"{name}.pem").read_text()


def memfd(data):
    handle = os.memfd_create("key")
    os.write(handle, data)
    return handle


# ---- what is there ----

def test_introspection_is_what_the_files_say(bus, up, serve):
    up(tunnel(serve()))
    for path, names in {ROOT: ["Manager"], bus.manager("GetDevice", "s", "esp0"): ["Device", "Wifi", "Certificates"],
                        bus.manager("GetTunnel", "s", "broker"): ["Tunnel"]}.items():
        told = xml.fromstring(bus.call(path, "org.freedesktop.DBus.Introspectable", "Introspect"))
        for name in names:
            said = xml.parse(TOP / f"include/espatd/dbus/{NAME}.{name}.xml").find("interface")
            mine = next(x for x in told.findall("interface") if x.get("name") == said.get("name"))

            def shape(interface):
                return sorted(
                    (member.tag, member.get("name"), member.get("type"), member.get("access"),
                     [(x.get("type"), x.get("name"), x.get("direction")) for x in member.findall("arg")],
                     [x.get("value") for x in member.findall("annotation")
                      if x.get("name").endswith("EmitsChangedSignal") and x.get("value") != "true"])
                    for member in interface)
            assert shape(mine) == shape(said), name


def test_properties(bus, up, serve):
    server = serve()
    daemon = up(tunnel(server))
    manager = bus.get(ROOT, "Manager")
    assert manager["Version"] and manager["LogLevel"] == "info"
    chip = bus.chip()
    assert chip["Name"] == "esp0" and chip["State"] == "ready" and chip["Port"].endswith("/tty")
    assert chip["Links"] == 5 and chip["LinksInUse"] == 0 and chip["Clock"] == "host"
    assert chip["Mac"].count(":") == 5 and chip["Model"] and chip["Core"] and chip["FlashWrites"] > 0
    assert chip["Baud"] == 115200 and chip["FlowControl"] == "none" and chip["LastError"] == ""
    before = bus.tunnel()
    assert before["State"] == "listening" and before["Verified"] is True and before["Origin"] == "configuration"
    assert (before["Host"], before["Port"], before["Device"]) == ("broker.test", server.port, "esp0")
    assert before["SocketPath"] == str(daemon.socket_path())
    with daemon.connect() as s:
        assert exchange(s, b"hello") == b"hello"
        now = bus.tunnel()
        assert (now["Clients"], now["Connects"], now["BytesSent"], now["BytesReceived"]) == (1, 1, 5, 5)
        assert bus.chip()["LinksInUse"] == 1
    wait_for(lambda: bus.tunnel()["Clients"] == 0, "the client is gone")
    wifi = wait_for(lambda: (lambda w: w["Address"] and w)(bus.chip(interface="Wifi")), "the address")
    assert wifi["Connected"] is True and wifi["Ssid"] == "lab" and wifi["Rssi"] < 0
    wait_for(lambda: bus.chip()["FreeHeap"] > 0, "the heap")


def test_object_manager(bus, up, serve):
    up(tunnel(serve()))
    objects = bus.call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    interfaces = {path: {x for x in what if x.startswith(NAME)} for path, what in objects.items()}
    assert interfaces == {
        "/org/espat1/device/esp0": {f"{NAME}.Device", f"{NAME}.Wifi", f"{NAME}.Certificates"},
        "/org/espat1/tunnel/broker": {f"{NAME}.Tunnel"},
    }


def test_busctl_sees_it(bus, up, serve):
    up(tunnel(serve()))
    done = bus.busctl("tree", NAME, "--list")
    assert "/org/espat1/device/esp0" in done.stdout.split()
    done = bus.busctl("get-property", NAME, "/org/espat1/device/esp0", f"{NAME}.Device", "State")
    assert done.stdout.strip() == 's "ready"', done


@pytest.mark.parametrize("method, error", [("GetDevice", "NoSuchDevice"), ("GetTunnel", "NoSuchTunnel"),
                                           ("RemoveTunnel", "NoSuchTunnel"), ("RemoveAuthority", "NoSuchAuthority"),
                                           ("RemoveIdentity", "NoSuchIdentity")])
def test_unknown_names(bus, up, serve, method, error):
    daemon = up(tunnel(serve()))
    for name in "nobody", "", "../x", "a" * 100000, "a\nb", 'a"b', "broker.sock":
        refusal(error, bus.manager, method, "s", name)
    assert works(daemon)


# ---- tunnels ----

def test_tunnel_moved_into_the_file(bench, bus, up, serve):
    """Removed over D-Bus while the file has it already: its socket has gone, and the reload makes it anew."""
    server = serve()
    daemon = up(tunnel(server))
    bus.manager("CreateTunnel", "sa{sv}", "more",
                {"host": "broker.test", "port": dbus.UInt16(server.port), "authority": "corp"})
    daemon.await_line("^more: listening on")
    bench.rewrite(tunnel(server), tunnel(server, "more"))
    with pytest.raises(BusError):
        bus.manager("Reload")
    bus.manager("RemoveTunnel", "s", "more")
    seen = daemon.mark()
    bus.manager("Reload")
    daemon.await_line("^more: listening on", seen)
    assert works(daemon, "more")
    assert bus.tunnel("more")["Origin"] == "configuration"


def test_tunnel_made_and_removed(bench, bus, up, serve):
    server = serve()
    daemon = up(tunnel(server))
    with daemon.connect() as s:
        assert exchange(s, b"before") == b"before"
        path = bus.manager("CreateTunnel", "sa{sv}", "more",
                           {"host": "broker.test", "port": dbus.UInt16(server.port), "authority": "corp"})
        assert path == "/org/espat1/tunnel/more" and bus.tunnel("more")["Origin"] == "runtime"
        daemon.await_line("^more: listening on")
        assert works(daemon, "more")
        refusal("Exists", bus.manager, "CreateTunnel", "sa{sv}", "more",
                {"host": "broker.test", "port": server.port, "authority": "corp"})
        bus.manager("RemoveTunnel", "s", "more")
        refusal("NoSuchTunnel", bus.manager, "GetTunnel", "s", "more")
        assert exchange(s, b"after") == b"after"
    refusal("InConfiguration", bus.manager, "RemoveTunnel", "s", "broker")
    assert works(daemon) and not daemon.socket_path("more").exists()
    assert not list((bench.dir / "state").glob("tunnels/*"))


def test_tunnel_that_stays(bench, bus, up, serve):
    server = serve()
    up(tunnel(server))
    options = {"host": "broker.test", "port": server.port, "authority": "corp"}
    bus.manager("CreateTunnel", "sa{sv}", "kept", {**options, "persist": True})
    bus.manager("CreateTunnel", "sa{sv}", "gone", options)
    assert bus.tunnel("kept")["Origin"] == "persistent"
    assert bench.daemon.end() == 0
    daemon = bench.espatd(tunnel(server))
    daemon.await_line("^kept: listening on")
    bus.await_name()
    assert works(daemon, "kept")
    refusal("NoSuchTunnel", bus.manager, "GetTunnel", "s", "gone")
    # A reload leaves it there, too.
    seen = bench.reload()
    daemon.await_line("^reloaded the configuration", seen)
    assert works(daemon, "kept")
    bus.manager("RemoveTunnel", "s", "kept")
    assert daemon.end() == 0
    daemon = bench.espatd(tunnel(server)).await_tunnels()
    bus.await_name()
    refusal("NoSuchTunnel", bus.manager, "GetTunnel", "s", "kept")


def test_kept_tunnel_that_does_not_fit_any_more(bench, bus, up, serve):
    """It does not keep the service from running."""
    server = serve()
    up(tunnel(server))
    bus.manager("CreateTunnel", "sa{sv}", "kept",
                {"host": "broker.test", "port": server.port, "authority": "corp", "persist": True})
    assert bench.daemon.end() == 0
    bench.authority["name"] = "other"
    daemon = bench.espatd(tunnel(server, authority="other")).await_tunnels()
    assert daemon.matching(r"kept\.conf:\d+: .*corp.*; the kept tunnel kept is left out")
    bus.await_name()
    assert works(daemon)


    # And it can be got rid of.
    bus.manager("RemoveTunnel", "s", "kept")
    assert not list((bench.dir / "state").glob("tunnels/*"))
    refusal("NoSuchTunnel", bus.manager, "RemoveTunnel", "s", "kept")


def test_kept_tunnel_that_is_in_the_way(bench, bus, up, serve):
    """It needs what is to go: then it can go first, though the files have changed."""
    server = serve()
    daemon = up(tunnel(server))
    bus.manager("CreateTunnel", "sa{sv}", "kept", {"host": "broker.test", "port": server.port, "authority": "corp",
                                                   "identity": "gateway", "persist": True})
    daemon.await_line("^kept: listening on")
    bench.identity["name"] = "other"
    bench.rewrite(tunnel(server))
    assert "kept.conf" in refusal("BadConfiguration", bus.manager, "Reload")
    with daemon.connect() as stays:
        assert exchange(stays, b"before") == b"before"
        bus.manager("RemoveTunnel", "s", "kept")
        assert not daemon.socket_path("kept").exists()
        bus.manager("Reload")
        refusal("NoSuchTunnel", bus.manager, "GetTunnel", "s", "kept")
        assert exchange(stays, b"after") == b"after"


@pytest.mark.parametrize("error, options", [
    ("BadConfiguration", {}),
    ("BadConfiguration", {"host": "broker.test"}),
    ("BadConfiguration", {"host": "broker.test", "port": 70000, "authority": "corp"}),
    ("BadConfiguration", {"host": "broker.test", "port": 443}),
    ("BadConfiguration", {"host": "broker.test", "port": 443, "authority": "nobody"}),
    ("BadConfiguration", {"host": 'x"; insecure = true; y = "', "port": 443, "authority": "corp"}),
    ("BadConfiguration", {"host": "x\r\nAT+RST\r\n", "port": 443, "authority": "corp"}),
    ("BadConfiguration", {"host": "broker.test", "port": 443, "authority": "corp", "colour": "red"}),
    ("BadConfiguration", {"host": "broker.test", "port": "443", "authority": "corp"}),
    ("InvalidArgument", {"host": "broker.test", "port": 443, "psk": "x"}),
    ("InvalidArgument", {"host": "broker.test", "port": 443, "authority": "corp", "name": "other"}),
    ("InvalidArgument", {"host": "broker.test", "port": 443, "authority": dbus.Double(1.5)}),
    ("InvalidArgument", {"host": "broker.test", "port": 443, "authority": "corp", "persist": "yes"}),
])
def test_bad_tunnels(bench, bus, up, serve, error, options):
    server = serve()
    daemon = up(tunnel(server))
    text = refusal(error, bus.manager, "CreateTunnel", "sa{sv}", "more", dbus.Dictionary(options, signature="sv"))
    assert "expected" in text or error == "InvalidArgument", text
    refusal("NoSuchTunnel", bus.manager, "GetTunnel", "s", "more")
    assert works(daemon) and not list((bench.dir / "state").glob("tunnels/*"))


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", ".x", "x" * 49, "ä", "a\nb"])
def test_bad_tunnel_names(bus, up, serve, name):
    up(tunnel(serve()))
    refusal("InvalidArgument", bus.manager, "CreateTunnel", "sa{sv}", name,
            {"host": "broker.test", "port": 443, "authority": "corp"})


def test_files_that_have_changed_are_not_taken_by_the_way(bench, bus, up, serve):
    server = serve()
    daemon = up(tunnel(server))
    bench.rewrite(tunnel(server), tunnel(server, "half-made"))
    options = {"host": "broker.test", "port": server.port, "authority": "corp"}
    text = refusal("BadConfiguration", bus.manager, "CreateTunnel", "sa{sv}", "more", options)
    assert "reload" in text
    refusal("BadConfiguration", bus.manager, "SetAuthority", "ss", "new", pem(bench.pki, "ca2"))
    refusal("NoSuchTunnel", bus.manager, "GetTunnel", "s", "half-made")
    bus.manager("Reload")
    bus.manager("CreateTunnel", "sa{sv}", "more", options)
    daemon.await_line("^more: listening on")
    assert works(daemon, "more") and works(daemon, "half-made")


def test_disconnect(bus, up, serve):
    daemon = up(tunnel(serve()))
    path = bus.manager("GetTunnel", "s", "broker")
    assert bus.call(path, f"{NAME}.Tunnel", "Disconnect") == 0
    with daemon.connect() as a, daemon.connect() as b:
        assert exchange(a, b"a") == b"a" and exchange(b, b"b") == b"b"
        assert bus.call(path, f"{NAME}.Tunnel", "Disconnect") == 2
        assert read_all(a) == b"" and read_all(b) == b""
    assert works(daemon)


def test_failed_connection_is_told(bench, bus, up, serve):
    server = serve(cert="otherca")
    daemon = up(tunnel(server, diagnose=False))
    watch = subprocess.Popen(
        ["busctl", f"--address={bus.address}", "monitor", "--json=short", "--match",
         f"type='signal',interface='{NAME}.Tunnel',member='ConnectionFailed'"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "Monitoring" in watch.stderr.readline()
    assert refused(daemon)
    line = watch.stdout.readline()
    watch.kill()
    watch.communicate()
    assert "ConnectionFailed" in line and '"unexplained"' in line, line
    told = bus.tunnel()
    assert told["Failures"] == 1 and told["LastErrorReason"] == "unexplained" and told["LastError"]


# ---- reload ----

def test_reload_that_is_broken(bench, bus, up, serve):
    server = serve()
    daemon = up(tunnel(server))
    bench.rewrite(tunnel(server, keep_alive=99999))
    text = refusal("BadConfiguration", bus.manager, "Reload")
    assert "espatd.conf:" in text and "`keep_alive` is 99999, expected" in text
    assert works(daemon)


# ---- authorities and identities ----

def test_authority_that_is_set(bench, bus, up, serve):
    """In the place of the configured one, until its file changes; and back."""
    bench.own_files()
    old, new = serve(), serve(cert="otherca")
    daemon = up(tunnel(old, "old"), tunnel(new, "new"))
    assert works(daemon, "old") and refused(daemon, "new")
    assert bus.manager("SetAuthority", "ss", "corp", pem(bench.pki, "ca2")) == {"esp0": (True, "it is on the chip")}
    assert works(daemon, "new") and refused(daemon, "old")
    (told,) = bus.manager("ListAuthorities")
    assert told["Name"] == "corp" and told["Generation"] == 2 and told["Source"] == "set"
    assert told["Configured"] is True and told["Devices"] == ["esp0"] and set(told["Tunnels"]) == {"old", "new"}
    assert "espat other CA" in told["Subject"] and told["NotAfter"] > told["NotBefore"] > 0
    # A reload does not take it back; a change of the file does.
    bus.manager("Reload")
    assert works(daemon, "new")
    assert bus.manager("Rollback", "s", "corp")["esp0"][0] is True
    assert works(daemon, "old") and refused(daemon, "new")


def test_authority_that_is_new(bench, bus, up, serve):
    server = serve(cert="otherca")
    up(tunnel(serve()))
    assert bus.manager("SetAuthority", "ss", "made", pem(bench.pki, "ca2")) == {}
    bus.manager("CreateTunnel", "sa{sv}", "more", {"host": "broker.test", "port": server.port, "authority": "made",
                                                   "persist": True})
    bench.daemon.await_line("^more: listening on")
    wait_for(lambda: works(bench.daemon, "more"), "the authority on the chip")
    refusal("InUse", bus.manager, "RemoveAuthority", "s", "made")
    refusal("InConfiguration", bus.manager, "RemoveAuthority", "s", "corp")
    # It outlasts the daemon.
    assert bench.daemon.end() == 0
    daemon = bench.espatd(tunnel(serve()))
    daemon.await_line("^more: listening on")
    bus.await_name()
    assert works(daemon, "more")
    bus.manager("RemoveTunnel", "s", "more")
    # What a link uses stays until it has closed.
    wait_for(lambda: bus.chip()["LinksInUse"] == 0, "the link closed")
    told = bench.chip.mark()
    assert bus.manager("RemoveAuthority", "s", "made")["esp0"][0] is True
    bench.chip.await_line(r'^H>D AT\+SYSMFG=0,"client_ca"', told)
    assert [x["Name"] for x in bus.manager("ListAuthorities")] == ["corp"]


def test_identity_that_is_set(bench, bus, up, serve):
    server = serve(client_ca="ca")
    daemon = up(tunnel(server, identity="gateway"))
    assert works(daemon)
    key = memfd((bench.pki / "ecclient.key").read_bytes())
    with open(bench.pki / "client.key", "rb") as wrong:
        text = refusal("BadKey", bus.manager, "SetIdentity", "ssh", "gateway",
                       pem(bench.pki, "ecclient"), fd(wrong))
        assert "belong" in text
    assert bus.manager("SetIdentity", "ssh", "gateway", pem(bench.pki, "ecclient"), fd(key))["esp0"][0] is True
    os.close(key)
    assert works(daemon)
    assert server.connection(1).peer["subject"] == ((("commonName", "device-0002"),),)


def test_several_chips_keep_the_old_one_until_all_have_the_new(bench, bus, up, serve):
    bench.own_files()
    server = serve()
    bench.another("esp1")
    daemon = up(tunnel(server, "one", device="esp0"), tunnel(server, "two", device="esp1"))
    daemon.await_line("^esp1: ready$")
    result = bus.manager("SetAuthority", "ss", "corp", pem(bench.pki, "both"))
    assert result == {"esp0": (True, "it is on the chip"), "esp1": (True, "it is on the chip")}
    for name in "esp0", "esp1":
        daemon.await_line(f"^{name}: erased client_ca")
    assert works(daemon, "one") and works(daemon, "two")


def test_chip_that_is_not_there(bench, bus, up, serve):
    """Its result says so; the others get it; and it gets it when it comes."""
    bench.own_files()
    server = serve(cert="otherca")
    second = bench.another("esp1")
    daemon = up(tunnel(server, "one", device="esp0"), tunnel(server, "two", device="esp1"))
    daemon.await_line("^esp1: ready$")
    second.kill()
    daemon.await_line("^esp1: the port .* is gone")
    result = bus.manager("SetAuthority", "ss", "corp", pem(bench.pki, "ca2"))
    assert result["esp0"][0] is True and result["esp1"][0] is False and "absent" in result["esp1"][1]
    seen = daemon.mark()
    bench.another("esp1")
    daemon.await_line("^esp1: ready$", seen)
    assert works(daemon, "one") and works(daemon, "two")


@pytest.mark.parametrize("error, text", [
    ("SecretInArgument", "client.key"), ("SecretInArgument", "both"), ("BadCertificate", "oldca"),
    ("BadCertificate", "server.pem"), ("BadCertificate", "nothing"),
])
def test_bad_authorities(bench, bus, up, serve, error, text):
    daemon = up(tunnel(serve()))
    ca = pem(bench.pki, "ca")
    given = {"client.key": (bench.pki / "client.key").read_text(),
             "both": ca + (bench.pki / "client.key").read_text(),
             "oldca": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
             "server.pem": pem(bench.pki, "server"), "nothing": ""}[text]
    refusal(error, bus.manager, "SetAuthority", "ss", "corp", given)
    assert works(daemon) and bus.manager("ListAuthorities")[0]["Generation"] == 1
    assert not daemon.matching("PRIVATE KEY")


# ---- values of the chip ----

def certificates(bus):
    return {(x[0], x[1]): x for x in bus.device("Certificates", "List")}


def test_load_pem(bench, bus, up, serve):
    """The command of the manual; `--`, since busctl would take the PEM's first line for an option."""
    daemon = up(tunnel(serve()))
    done = bus.busctl("call", "--", NAME, "/org/espat1/device/esp0", f"{NAME}.Certificates", "LoadPem", "sus",
                      "client_ca", "3", pem(bench.pki, "ca2"))
    assert done.returncode == 0, done.stderr
    assert bench.chip.flash()["client_ca/client_ca.3"].startswith(b"-----BEGIN CERTIFICATE-----")
    told = certificates(bus)["client_ca", 3]
    assert told[2] == "ca" and told[3] > 0 and len(told[4]) == 64 and "espat other CA" in told[5]
    assert told[9] == []
    # The same again writes nothing.
    seen = bench.chip.mark()
    bus.device("Certificates", "LoadPem", "sus", "client_ca", 3, pem(bench.pki, "ca2"))
    assert not bench.chip.commands("+SYSMFG=2", seen)
    bus.device("Certificates", "Erase", "su", "client_ca", 3)
    assert "client_ca/client_ca.3" not in bench.chip.flash()
    refusal("NoSuchValue", bus.device, "Certificates", "Erase", "su", "client_ca", 3)
    assert works(daemon)


def test_load_by_descriptor(bench, bus, up, serve):
    up(tunnel(serve()))
    key = (bench.pki / "ecclient.key").read_bytes()
    handle = memfd(key)
    bus.device("Certificates", "Load", "suh", "mqtt_key", NO_SLOT, fd(handle))
    os.close(handle)
    assert bench.chip.flash()["mqtt_key/mqtt_key"].startswith(b"-----BEGIN")
    reader, writer = os.pipe()
    os.write(writer, pem(bench.pki, "ca").encode())
    os.close(writer)
    bus.device("Certificates", "Load", "suh", "mqtt_ca", 0, fd(reader))
    os.close(reader)
    with open(bench.pki / "client.pem", "rb") as file:
        bus.device("Certificates", "Load", "suh", "https_cert", 1, fd(file))
    there = bench.chip.flash()
    assert "mqtt_ca/mqtt_ca.0" in there and "https_cert/https_cert.1" in there
    assert certificates(bus)["mqtt_key", NO_SLOT][5] == ""


def test_slot_in_use(bench, bus, up, serve):
    daemon = up(tunnel(serve()))
    (slot,) = [x[1] for x in certificates(bus).values() if "authority:corp" in x[9]]
    text = refusal("SlotInUse", bus.device, "Certificates", "LoadPem", "sus", "client_ca", slot, pem(bench.pki, "ca2"))
    assert "corp" in text
    refusal("SlotInUse", bus.device, "Certificates", "Erase", "su", "client_ca", slot)
    assert works(daemon)


@pytest.mark.parametrize("error, namespace, slot, what", [
    ("SecretInArgument", "client_key", 3, "ca.pem"),
    ("SecretInArgument", "client_ca", 3, "client.key"),
    ("BadCertificate", "client_ca", 3, "nothing"),
    ("BadCertificate", "client_cert", 3, "garbage"),
    ("InvalidArgument", "client_ca", 10, "ca.pem"),
    ("InvalidArgument", "nowhere_ca", 3, "ca.pem"),
    ("InvalidArgument", "espatd", NO_SLOT, "ca.pem"),
    ("InvalidArgument", "", 3, "ca.pem"),
    ("InvalidArgument", 'client_ca","x', 3, "ca.pem"),
])
def test_bad_loads(bench, bus, up, serve, error, namespace, slot, what):
    up(tunnel(serve()))
    seen = bench.chip.mark()
    text = {"nothing": "", "garbage": "x" * 70000}.get(what) or (
        (bench.pki / what).read_text() if what != "nothing" else "")
    refusal(error, bus.device, "Certificates", "LoadPem", "sus", namespace, dbus.UInt32(slot), text)
    assert not bench.chip.commands("+SYSMFG=2", seen)


def test_verify(bench, bus, up, serve):
    daemon = up(tunnel(serve(client_ca="ca"), identity="gateway"))
    assert bus.device("Certificates", "Verify", timeout=60) == []
    there = certificates(bus)
    # The factory's are known now, too; keys by their digest only.
    assert there["client_cert", 0][5] and there["client_key", 0][2] == "key" and there["client_key", 0][5] == ""
    assert works(daemon)


# ---- the chip ----

def test_commands(bench, bus, up, serve):
    daemon = up(tunnel(serve()))
    assert any("AT version" in line for line in bus.device("Device", "Command", "s", "AT+GMR"))
    refusal("CommandNotAllowed", bus.device, "Device", "Command", "s", "AT+CWMODE=1")
    for line in ('AT+SYSMFG=1,"client_key","client_key.0"', "AT+SYSFLASH?", "AT+CIPSSLCPSK?", "AT+GMR\r\nAT+RST", "",
                 "hello", "AT" + "x" * 300, "at+sysmfg?", "+++"):
        refusal("CommandNotAllowed", bus.device, "Device", "Command", "s", line)
    assert "a method of its own" in refusal("CommandNotAllowed", bus.device, "Device", "Command", "s", "AT+RST")
    assert works(daemon)


def test_raw_commands(bench, bus, up, serve):
    bench.root["raw_commands"] = True
    daemon = up(tunnel(serve()))
    assert bus.device("Device", "Command", "s", "AT+CWMODE=1") == []
    refusal("CommandNotAllowed", bus.device, "Device", "Command", "s", 'AT+SYSMFG=1,"client_key","client_key.0"')
    refusal("ChipRefused", bus.device, "Device", "Command", "s", "AT+NOSUCH")
    assert works(daemon)


def test_reset(bus, up, serve):
    daemon = up(tunnel(serve()))
    with daemon.connect() as s:
        assert exchange(s, b"hello") == b"hello"
        resets = bus.chip()["Resets"]
        bus.device("Device", "Reset", timeout=60)
        assert read_all(s) == b""
    assert bus.chip()["Resets"] == resets + 1 and bus.chip()["State"] == "ready"
    assert works(daemon)


def test_reprobe_and_clock(bus, up, serve):
    daemon = up(tunnel(serve()))
    bus.device("Device", "SyncTime")
    bus.device("Device", "Reprobe", timeout=60)
    assert works(daemon)


def test_chip_that_is_gone(bench, bus, up, serve):
    daemon = up(tunnel(serve()))
    bench.chip.kill()
    daemon.await_line("^esp0: the port .* is gone")
    for method in "Reset", "Reprobe", "SyncTime":
        refusal("NotReady", bus.device, "Device", method)
    refusal("NotReady", bus.device, "Wifi", "Scan")
    refusal("NotReady", bus.device, "Device", "Command", "s", "AT+GMR")
    refusal("NotReady", bus.device, "Certificates", "Verify")
    assert bus.chip()["State"] == "absent" and "tty" in bus.chip()["LastError"]


def test_chip_that_goes_in_the_middle(bench, bus, up, serve):
    """The call ends with an error, once."""
    up(tunnel(serve()), sim=("--flash-ms", "700"))
    done = []
    thread = threading.Thread(target=lambda: done.append(
        refusal("ChipGone", bus.device, "Certificates", "LoadPem", "sus", "mqtt_ca", 5, pem(bench.pki, "ca"))))
    seen = bench.chip.mark()
    thread.start()
    bench.chip.await_line(r"AT\+SYSMFG=2", seen)
    bench.chip.kill()
    thread.join(20)
    assert len(done) == 1


def test_adopt(bench, bus, up, serve):
    daemon = up(tunnel(serve()))
    bench.chip.kill()
    daemon.await_line("^esp0: the port .* is gone")
    (bench.dir / "flash").unlink()
    bench.sim("--mac", "24:0a:c4:99:99:99")
    daemon.await_line("is not the one of this device")
    wait_for(lambda: bus.chip()["State"] == "unknown-chip", "the state")
    seen = daemon.mark()
    bus.device("Device", "Adopt")
    daemon.await_line("^esp0: ready$", seen)
    assert works(daemon)


# ---- Wi-Fi ----

def test_scan(bus, up, serve):
    daemon = up(tunnel(serve()))
    networks = bus.device("Wifi", "Scan", timeout=60)
    (lab,) = [x for x in networks if x["Ssid"] == "lab"]
    assert lab["Rssi"] < 0 and lab["Channel"] > 0 and lab["Bssid"].count(":") == 5 and lab["Security"]
    assert works(daemon)


def test_leave_and_join(bench, bus, up, serve):
    daemon = up(tunnel(serve()))
    bus.device("Wifi", "Leave", timeout=60)
    wait_for(lambda: bus.chip()["State"] == "offline", "offline")
    assert bus.chip(interface="Wifi")["Connected"] is False
    handle = memfd(PASSWORD.encode() + b"\n")
    bus.device("Wifi", "Join", "sha{sv}", "lab", fd(handle), dbus.Dictionary({}, signature="sv"), timeout=60)
    os.close(handle)
    wait_for(lambda: bus.chip()["State"] == "ready", "ready")
    assert works(daemon)
    assert not daemon.matching(PASSWORD)


def test_join_with_a_wrong_password(bench, bus, up, serve):
    """Does not leave the host without a network."""
    daemon = up(tunnel(serve()))
    handle = memfd(b"something-else\n")
    refusal("ChipRefused", bus.device, "Wifi", "Join", "sha{sv}", "lab", fd(handle),
            dbus.Dictionary({}, signature="sv"), timeout=60)
    os.close(handle)
    wait_for(lambda: bus.chip()["State"] == "ready", "ready")
    assert works(daemon)


# ---- trace ----

def test_trace(bench, bus, up, serve):
    daemon = up(tunnel(serve()))
    path = bench.dir / "trace"
    refusal("NoTrace", bus.device, "Device", "StopTrace")
    with open(path, "wb") as file:
        bus.device("Device", "StartTrace", "ha{sv}", fd(file), dbus.Dictionary({}, signature="sv"))
    assert works(daemon, data=b"nobody-else-reads-this")
    bus.device("Device", "Command", "s", "AT+GMR")
    bus.device("Device", "StopTrace")
    text = path.read_text()
    assert 'H>D "AT+GMR\\r\\n"' in text and 'D>H "' in text and "AT version" in text
    assert "nobody-else" not in text and "PRIVATE" not in text


def test_trace_of_all_from_the_start(bench, serve):
    bench.sim()
    daemon = bench.espatd(tunnel(serve(client_ca="ca"), identity="gateway"),
                          options=("--trace", str(bench.dir / "trace"))).await_tunnels()
    assert works(daemon)
    assert daemon.end() == 0
    path = bench.dir / "trace"
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in text and "BEGIN" not in text and "AT+CWJAP" in text
    # It is never written over.
    daemon = bench.espatd(tunnel(serve()), options=("--trace", str(path)))
    assert daemon.wait() == 1 and path.read_text() == text


# ---- who may ----

MANY = r"""
import dbus, dbus.bus, sys
bus = dbus.bus.BusConnection(sys.argv[1])
name, root = "org.espat1", "/org/espat1"
for path, interface, method, signature, args in [
        (root, "Manager", "Reload", "", ()), (root, "Manager", "SetLogLevel", "s", ("debug",)),
        (root, "Manager", "CreateTunnel", "sa{sv}", ("x", dbus.Dictionary({"host": "a"}, signature="sv"))),
        (root, "Manager", "RemoveTunnel", "s", ("broker",)), (root, "Manager", "SetAuthority", "ss", ("corp", "x")),
        (root, "Manager", "RemoveAuthority", "s", ("corp",)), (root, "Manager", "Rollback", "s", ("corp",)),
        (root + "/device/esp0", "Device", "Reset", "", ()), (root + "/device/esp0", "Device", "Command", "s", ("AT",)),
        (root + "/device/esp0", "Device", "Adopt", "", ()), (root + "/device/esp0", "Wifi", "Scan", "", ()),
        (root + "/device/esp0", "Wifi", "Leave", "", ()),
        (root + "/device/esp0", "Certificates", "LoadPem", "sus", ("client_ca", dbus.UInt32(3), "x")),
        (root + "/device/esp0", "Certificates", "Erase", "su", ("client_ca", dbus.UInt32(3))),
        (root + "/device/esp0", "Certificates", "Verify", "", ()),
        (root + "/tunnel/broker", "Tunnel", "Disconnect", "", ())]:
    try:
        bus.call_blocking(name, path, f"{name}.{interface}", method, signature, args, timeout=20)
        print(method, "was done")
    except dbus.DBusException as error:
        print(method, error.get_dbus_name())
bus.call_blocking(name, root, "org.freedesktop.DBus.Properties", "GetAll", "s", (f"{name}.Manager",))
print(bus.call_blocking(name, root + "/device/esp0", "org.freedesktop.DBus.Properties", "Get", "ss",
                        (f"{name}.Device", "State")))
"""


@pytest.mark.skipif(why_not_nobody() is not None, reason=str(why_not_nobody()))
def test_nobody_may_change_anything(bench, bus, up, serve):
    daemon = up(tunnel(serve()))
    bench.dir.chmod(0o755)
    done = subprocess.run(["/usr/bin/python3", "-c", MANY, bus.address], user=65534, group=65534, extra_groups=[],
                          capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert len(lines) == 17 and lines[-1] == "ready", done
    assert {line.split()[1] for line in lines[:-1]} == {f"{NAME}.Error.NotAuthorized"}, lines
    assert works(daemon)


# ---- the bus itself ----

def test_bus_that_is_started_anew(bench, bus, up, serve):
    daemon = up(tunnel(serve()))
    with daemon.connect() as s:
        assert exchange(s, b"before") == b"before"
        bus.close()
        bench.parts.remove(bus)
        again = bench.with_bus()
        again.await_name()
        assert again.chip()["State"] == "ready"
        assert exchange(s, b"after") == b"after"


def test_without_a_bus_at_the_start(bench, serve):
    bus = bench.with_bus()
    bus.close()
    bench.parts.remove(bus)
    daemon = bench.up(tunnel(serve()))
    assert works(daemon)
    again = bench.with_bus()
    again.await_name()
    assert again.chip()["State"] == "ready"


def test_many_calls_at_once(bench, bus, up, serve):
    """200 calls are answered, each once."""
    daemon = up(tunnel(serve()))
    results = []

    def one(connection):
        try:
            results.append(connection.call_blocking(NAME, "/org/espat1/device/esp0", f"{NAME}.Device", "Command", "s",
                                                    ("AT+GMR",), timeout=60))
        except dbus.DBusException as error:
            results.append(error.get_dbus_name())
        connection.close()

    threads = [threading.Thread(target=one, args=(bus.connect(),)) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 200
    good = [x for x in results if not isinstance(x, str)]
    assert len(good) >= 60 and {x for x in results if isinstance(x, str)} <= {f"{NAME}.Error.Busy"}
    assert works(daemon)


def test_caller_that_goes_away(bench, bus, up, serve):
    up(tunnel(serve()), sim=("--flash-ms", "500"))
    seen = bench.chip.mark()
    child = subprocess.Popen([sys.executable, "-c",
                              "import dbus.bus, sys\n"
                              "b = dbus.bus.BusConnection(sys.argv[1])\n"
                              "b.call_blocking('org.espat1', '/org/espat1/device/esp0', 'org.espat1.Certificates',\n"
                              "                'LoadPem', 'sus', ('mqtt_ca', dbus.UInt32(5), open(sys.argv[2]).read()))",
                              bus.address, str(pathlib.Path(bench.pki) / "ca.pem")])
    bench.chip.await_line(r"AT\+SYSMFG=2", seen)
    child.kill()
    child.wait()
    # What was begun is brought to its end, and the next call is served.
    assert bus.device("Device", "Command", "s", "AT+GMR", timeout=30)
    assert "mqtt_ca/mqtt_ca.5" in bench.chip.flash()


def test_log_level(bus, up, serve):
    daemon = up(tunnel(serve()))
    refusal("InvalidArgument", bus.manager, "SetLogLevel", "s", "loud")
    bus.manager("SetLogLevel", "s", "debug")
    assert bus.get(ROOT, "Manager")["LogLevel"] == "debug"
    seen = daemon.mark()
    bus.device("Device", "Command", "s", "AT+GMR")
    daemon.await_line(r"esp0: > AT\+GMR", seen)
    bus.manager("SetLogLevel", "s", "info")
