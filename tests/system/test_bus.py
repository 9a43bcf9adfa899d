# SPDX-License-Identifier: MIT
"""org.espat1 on the system bus: every method with good and bad arguments, and who may call what."""
import json
import pathlib
import unittest
import xml.etree.ElementTree

import system
from harness import PASSWORD, wait_for
from system import (BUS, DEVICE, PKI, ROOT, SIM, TUNNEL, UNIT, RunningTest, bus_interfaces, busctl, busctl_call, call,
                    call_by_busctl, configuration, get, manager, run, socket_path, systemctl)

MANAGER, DEV, WIFI, CERTS, TUN = ("org.espat1." + name for name in
                                  ("Manager", "Device", "Wifi", "Certificates", "Tunnel"))
PATHS = {MANAGER: ROOT, DEV: DEVICE, WIFI: DEVICE, CERTS: DEVICE, TUN: TUNNEL}
INVALID = "InvalidArgument"
NO_SLOT = 4294967295
TRACE = "/run/espat-trace"


def pem(name):
    return (PKI / name).read_text()


def options(port, /, **more):
    """Of CreateTunnel."""
    made = {"device": ["s", "esp0"], "host": ["s", "broker.test"], "port": ["q", port], "authority": ["s", "corp"]}
    return {**made, **more}


def good(port):
    """(interface, method, signature, arguments, what must be true of the answer), in an order that works."""
    return [
        (MANAGER, "ListDevices", "", (), lambda v: v == [["esp0", DEVICE]]),
        (MANAGER, "GetDevice", "s", ("esp0",), lambda v: v == DEVICE),
        (MANAGER, "ListTunnels", "", (), lambda v: v == [["broker", TUNNEL]]),
        (MANAGER, "GetTunnel", "s", ("broker",), lambda v: v == TUNNEL),
        (MANAGER, "SetLogLevel", "s", ("debug",), None),
        (MANAGER, "SetLogLevel", "s", ("info",), None),
        (MANAGER, "Reload", "", (), None),
        (MANAGER, "SetAuthority", "ss", ("other", pem("ca2.pem")), lambda v: v.keys() <= {"esp0"}),
        (MANAGER, "ListAuthorities", "", (), lambda v: {a["Name"] for a in v} == {"corp", "other"}),
        (MANAGER, "SetIdentity", "ssh", ("spare", pem("ecclient.pem"), {"pipe": pem("ecclient.key")}), None),
        (MANAGER, "SetIdentity", "ssh", ("spare", pem("client.pem"), {"file": pem("client.key")}), None),
        (MANAGER, "ListIdentities", "", (), lambda v: {i["Name"] for i in v} == {"gateway", "spare"}),
        (MANAGER, "CreateTunnel", "sa{sv}", ("made", options(port, identity=["s", "spare"])),
         lambda v: v == ROOT + "/tunnel/made"),
        (MANAGER, "Rollback", "s", ("spare",), lambda v: all(ok for ok, _ in v.values())),
        (MANAGER, "RemoveTunnel", "s", ("made",), None),
        (MANAGER, "RemoveIdentity", "s", ("spare",), None),
        (MANAGER, "RemoveAuthority", "s", ("other",), None),
        (DEV, "SyncTime", "", (), None),
        (DEV, "Command", "s", ("AT+GMR",), lambda v: any("AT version:" in line for line in v)),
        (DEV, "StartTrace", "ha{sv}", ({"new": TRACE}, {}), None),
        (DEV, "StopTrace", "", (), None),
        (DEV, "Adopt", "", (), None),
        (CERTS, "LoadPem", "sus", ("client_ca", 7, pem("ca2.pem")), None),
        (CERTS, "Load", "suh", ("mqtt_ca", NO_SLOT, {"file": pem("ca2.pem")}), None),
        (CERTS, "Load", "suh", ("client_key", 7, {"pipe": pem("ecclient.key")}), None),
        (CERTS, "List", "", (), lambda v: {("client_ca", 7), ("client_key", 7), ("mqtt_ca", NO_SLOT)} <=
         {(entry[0], entry[1]) for entry in v}),
        (CERTS, "Verify", "", (), lambda v: v == []),
        (CERTS, "Erase", "su", ("client_ca", 7), None),
        (CERTS, "Erase", "su", ("client_key", 7), None),
        (CERTS, "ListOrphans", "", (), lambda v: isinstance(v, list)),
        (WIFI, "Scan", "", (), lambda v: any("lab" in network.values() for network in v)),
        (WIFI, "Leave", "", (), None),
        (WIFI, "Join", "sha{sv}", ("lab", {"pipe": PASSWORD}, {}), None),
        # Without a name: back to the configured one.
        (WIFI, "Join", "sha{sv}", ("", {"pipe": ""}, {}), None),
        (TUN, "Disconnect", "", (), lambda v: v == 0),
        (DEV, "Reset", "", (), None),
        (DEV, "Reprobe", "", (), None),
    ]


def bad(port):
    """(interface, method, signature, arguments, names of errors)"""
    ca, key, cert = pem("ca.pem"), pem("client.key"), pem("client.pem")
    return [
        (MANAGER, "GetDevice", "s", ("",), f"{INVALID} NoSuchDevice"),
        (MANAGER, "GetDevice", "s", ("esp9",), "NoSuchDevice"),
        (MANAGER, "GetTunnel", "s", ("a/b\r\n\"",), f"{INVALID} NoSuchTunnel"),
        (MANAGER, "GetTunnel", "s", ("nobody",), "NoSuchTunnel"),
        (MANAGER, "CreateTunnel", "sa{sv}", ("broker", options(port)), "Exists InConfiguration"),
        (MANAGER, "CreateTunnel", "sa{sv}", ("../up", options(port)), INVALID),
        (MANAGER, "CreateTunnel", "sa{sv}", ("new", {}), f"{INVALID} BadConfiguration"),
        (MANAGER, "CreateTunnel", "sa{sv}", ("new", options(port, colour=["s", "red"])),
         f"{INVALID} BadConfiguration"),
        (MANAGER, "CreateTunnel", "sa{sv}", ("new", options(port, authority=["s", "nobody"])),
         "NoSuchAuthority BadConfiguration"),
        (MANAGER, "CreateTunnel", "sa{sv}", ("new", options(port, device=["s", "esp9"])),
         "NoSuchDevice BadConfiguration"),
        (MANAGER, "CreateTunnel", "sa{sv}", ("new", options(port, port=["u", 70000])),
         f"{INVALID} BadConfiguration"),
        (MANAGER, "RemoveTunnel", "s", ("broker",), "InConfiguration"),
        (MANAGER, "RemoveTunnel", "s", ("nobody",), "NoSuchTunnel"),
        (MANAGER, "SetAuthority", "ss", ("", ca), INVALID),
        (MANAGER, "SetAuthority", "ss", ("new", ""), "BadCertificate InvalidArgument"),
        (MANAGER, "SetAuthority", "ss", ("new", "no certificate\r\n"), "BadCertificate"),
        (MANAGER, "SetAuthority", "ss", ("new", key), "SecretInArgument"),
        (MANAGER, "SetIdentity", "ssh", ("new", cert + key, {"file": key}), "SecretInArgument"),
        (MANAGER, "SetIdentity", "ssh", ("new", cert, {"file": pem("ecclient.key")}), "BadKey BadCertificate"),
        (MANAGER, "SetIdentity", "ssh", ("new", cert, {"file": ""}), "BadKey BadFileDescriptor InvalidArgument"),
        (MANAGER, "SetIdentity", "ssh", ("new", cert, {"file": "x" * 70000}), "TooLarge"),
        (MANAGER, "SetIdentity", "ssh", ("new", cert, {"fd": "/etc"}), "BadFileDescriptor"),
        (MANAGER, "SetIdentity", "ssh", ("new", cert, {"fd": "/dev/zero"}), "BadFileDescriptor"),
        (MANAGER, "SetIdentity", "ssh", ("new", cert, {"mute": ""}), "Timeout"),
        (MANAGER, "RemoveAuthority", "s", ("corp",), "InUse InConfiguration"),
        (MANAGER, "RemoveAuthority", "s", ("nobody",), "NoSuchAuthority"),
        (MANAGER, "RemoveIdentity", "s", ("gateway",), "InUse InConfiguration"),
        (MANAGER, "RemoveIdentity", "s", ("nobody",), "NoSuchIdentity"),
        (MANAGER, "Rollback", "s", ("corp",), "NothingKept"),
        (MANAGER, "Rollback", "s", ("nobody",), "NoSuchAuthority NoSuchIdentity"),
        (MANAGER, "SetLogLevel", "s", ("loud",), INVALID),
        (DEV, "Command", "s", ("",), f"{INVALID} CommandNotAllowed"),
        (DEV, "Command", "s", ("AT+RESTORE",), "CommandNotAllowed"),
        (DEV, "Command", "s", ("AT+GMR\r\nAT+RST",), f"{INVALID} CommandNotAllowed"),
        (DEV, "Command", "s", ('AT+SYSMFG=1,"client_key","client_key.0"',), "CommandNotAllowed"),
        (DEV, "StartTrace", "ha{sv}", ({"fd": "/dev/zero"}, {}), "BadFileDescriptor"),
        (DEV, "StartTrace", "ha{sv}", ({"new": TRACE}, {"colour": ["s", "red"]}), INVALID),
        (DEV, "StopTrace", "", (), "NoTrace"),
        (WIFI, "Join", "sha{sv}", ("x" * 33, {"pipe": PASSWORD}, {}), f"{INVALID} TooLarge"),
        (WIFI, "Join", "sha{sv}", ("lab", {"fd": "/etc"}, {}), "BadFileDescriptor"),
        (WIFI, "Join", "sha{sv}", ("lab", {"pipe": PASSWORD}, {"colour": ["s", "red"]}), INVALID),
        (CERTS, "LoadPem", "sus", ("client_key", 7, ca), "SecretInArgument"),
        (CERTS, "LoadPem", "sus", ("client_ca", 7, key), "SecretInArgument"),
        (CERTS, "LoadPem", "sus", ("client_ca", 7, "no certificate"), "BadCertificate"),
        (CERTS, "LoadPem", "sus", ("client_ca", 10, ca), INVALID),
        (CERTS, "LoadPem", "sus", ("factory_param", 0, ca), INVALID),
        (CERTS, "Load", "suh", ("client_ca", 7, {"fd": "/etc"}), "BadFileDescriptor"),
        (CERTS, "Load", "suh", ("client_key", 7, {"pipe": ca}), "BadKey"),
        (CERTS, "Erase", "su", ("client_ca", 9), "NoSuchValue"),
        (CERTS, "Erase", "su", ("espatd", 0), INVALID),
    ]


# What has no argument that could be wrong, and nothing that could be in its way: only a wrong signature.
NOTHING_TO_GET_WRONG = {
    (MANAGER, "ListDevices"), (MANAGER, "ListTunnels"), (MANAGER, "ListAuthorities"), (MANAGER, "ListIdentities"),
    (MANAGER, "Reload"),  # a broken configuration: TestReload
    (DEV, "Reset"), (DEV, "Reprobe"), (DEV, "SyncTime"), (DEV, "Adopt"), (WIFI, "Scan"), (WIFI, "Leave"),
    (CERTS, "List"), (CERTS, "ListOrphans"), (CERTS, "Verify"), (TUN, "Disconnect"),
}

READING = {(MANAGER, name) for name in ("ListDevices", "GetDevice", "ListTunnels", "GetTunnel", "ListAuthorities",
                                        "ListIdentities")} | {(CERTS, "List"), (CERTS, "ListOrphans")}


def methods():
    return {(name, m.get("name")) for name, i in bus_interfaces().items() for m in i.findall("method")}


class Tables(unittest.TestCase):
    def test_every_method_is_tried(self):
        system.make_pki()
        self.assertEqual({case[:2] for case in good(1)}, methods())
        self.assertEqual({case[:2] for case in bad(1)} | NOTHING_TO_GET_WRONG, methods())


def shape(interface):
    """What an interface's XML says, without the order of it."""
    made = set()
    for element in interface:
        if element.tag == "annotation":
            continue
        args = tuple((a.get("type"), a.get("name"), a.get("direction", "")) for a in element.findall("arg"))
        notes = tuple(sorted((a.get("name"), a.get("value")) for a in element.findall("annotation")))
        made.add((element.tag, element.get("name"), element.get("type"), element.get("access"), args, notes))
    return made


class Bus(RunningTest):
    def ready(self):
        wait_for(lambda: get("Device", "State", DEVICE) == "ready", "the chip")

    def setUp(self):
        self.ready()

    def test_introspection_is_the_xml(self):
        wanted = bus_interfaces()
        for name, path in PATHS.items():
            text = call("org.freedesktop.DBus.Introspectable", "Introspect", path=path)
            node = xml.etree.ElementTree.fromstring(text)
            own = {i.get("name"): i for i in node.findall("interface")}
            with self.subTest(interface=name):
                self.assertEqual(shape(own[name]), shape(wanted[name]))
                self.assertIn("org.freedesktop.DBus.Properties", own)

    def test_good(self):
        for interface, method, signature, args, true in good(self.server.port):
            with self.subTest(method=f"{interface}.{method}"):
                # Whoever has left has no network that it could be ready in.
                if method != "Join":
                    self.ready()
                by = call if "h" in signature else call_by_busctl
                value = by(interface, method, signature, *args, path=PATHS[interface])
                self.assertTrue(true is None or true(value), value)
        self.ready()
        self.assertWorks()

    def everything(self):
        """What no refused call may change."""
        return (manager("ListDevices"), manager("ListTunnels"), manager("ListAuthorities"),
                manager("ListIdentities"), sorted(self.sim.flash()), get("Device", "FlashWrites", DEVICE))

    def test_bad(self):
        before = self.everything()
        for interface, method, signature, args, errors in bad(self.server.port):
            with self.subTest(method=f"{interface}.{method}", args=str(args)[:80]):
                text = self.assertFails(errors, call, interface, method, signature, *args, path=PATHS[interface])
                self.assertTrue(text)
        self.assertEqual(self.everything(), before)
        self.assertWorks()

    def test_slots_of_ours(self):
        """Every slot that a name uses, by any way, and who has it."""
        ours = [(e[0], e[1], e[-1]) for e in call(CERTS, "List", path=DEVICE) if e[-1]]
        self.assertEqual({namespace for namespace, _, _ in ours}, {"client_ca", "client_cert", "client_key"})
        for namespace, slot, used_by in ours:
            with self.subTest(namespace=namespace):
                text = self.assertFails("SlotInUse", call, CERTS, "Erase", "su", namespace, slot, path=DEVICE)
                self.assertTrue([name for name in used_by if name.split(":")[-1] in text], (used_by, text))
        slot = next(slot for namespace, slot, _ in ours if namespace == "client_ca")
        self.assertFails("SlotInUse", call, CERTS, "LoadPem", "sus", "client_ca", slot, pem("ca2.pem"), path=DEVICE)
        self.assertWorks()

    def test_wrong_types(self):
        for interface, method in sorted(methods()):
            with self.subTest(method=f"{interface}.{method}"):
                self.assertFails("org.freedesktop.DBus.Error.InvalidArgs", call, interface, method, "d", 1.5,
                                 path=PATHS[interface])

    def test_no_such_object(self):
        for path in ROOT + "/device/esp9", ROOT + "/tunnel/nobody":
            self.assertFails("org.freedesktop.DBus.Error.UnknownObject org.freedesktop.DBus.Error.UnknownMethod",
                             call, DEV, "Reset", path=path)

    def test_properties(self):
        wanted = {"Name": "esp0", "Port": f"{SIM}/tty", "Baud": 115200, "Links": 5, "Mac": "24:0a:c4:12:34:56"}
        self.assertEqual({name: get("Device", name, DEVICE) for name in wanted}, wanted)
        wanted = {"Name": "broker", "Host": "broker.test", "Port": self.server.port, "Verified": True,
                  "SocketPath": str(socket_path()), "Origin": "configuration"}
        self.assertEqual({name: get("Tunnel", name, TUNNEL) for name in wanted}, wanted)
        before = get("Tunnel", "Connects", TUNNEL)
        self.assertWorks()
        self.assertEqual(get("Tunnel", "Connects", TUNNEL), before + 1)
        self.assertEqual(get("Wifi", "Ssid", DEVICE), "lab")

    def test_as_people_type_it(self):
        """The line of the manual, by busctl and a shell; without -- a PEM would be options."""
        run("sh", "-ec", f'busctl call -- org.espat1 {DEVICE} org.espat1.Certificates LoadPem sus client_ca 3 '
            f'"$(cat {PKI}/ca2.pem)"')
        self.assertIn("client_ca/client_ca.3", self.sim.flash())
        busctl_call(DEVICE, CERTS, "Erase", "su", "client_ca", "3")
        self.assertNotIn("client_ca/client_ca.3", self.sim.flash())
        tree = busctl("tree", BUS).stdout
        for path in DEVICE, TUNNEL:
            self.assertIn(path, tree)
        done = busctl("call", BUS, ROOT, MANAGER, "GetDevice", "s", "esp9", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("esp9", done.stderr)

    def test_keys_never_come_back(self):
        secret = "".join((PKI / "client.key").read_text().splitlines()[1:3])
        seen = json.dumps([call(CERTS, "List", path=DEVICE), manager("ListIdentities")])
        self.assertNotIn("PRIVATE", seen)
        self.assertNotIn(secret, seen)


class TestReload(RunningTest):
    def test_broken_configuration_tells_the_caller(self):
        system.write_config(configuration(self.server.port, broker="nonsense = 1;"))
        text = self.assertFails("BadConfiguration", manager, "Reload")
        self.assertRegex(text, r"/etc/espat/espatd\.conf:\d+: .*nonsense")
        self.assertWorks()


class Who(RunningTest):
    """carol is in espat-admin; mallory in nothing."""

    RULES = pathlib.Path("/etc/polkit-1/rules.d/00-espat-test.rules")

    def changes(self):
        return [case for case in good(self.server.port) if case[:2] not in READING]

    def test_reading_is_for_all(self):
        for interface, method, signature, args, _ in good(self.server.port):
            if (interface, method) in READING:
                call(interface, method, signature, *args, path=PATHS[interface], user="mallory")
        self.assertEqual(json.loads(busctl("get-property", BUS, DEVICE, DEV, "Name", user="mallory").stdout)["data"],
                         "esp0")

    def test_changes_are_not(self):
        pid = system.main_pid()
        before = sorted(self.sim.flash())
        for interface, method, signature, args, _ in self.changes():
            if method == "StartTrace":
                args = ({"new": "/tmp/mallory.trace"}, {})
            elif any(isinstance(a, dict) and "file" in a for a in args):
                continue  # the same with a pipe is there, too
            with self.subTest(method=f"{interface}.{method}"):
                self.assertFails("NotAuthorized", call, interface, method, signature, *args,
                                 path=PATHS[interface], user="mallory")
        self.assertEqual((sorted(self.sim.flash()), system.main_pid()), (before, pid))
        self.assertEqual(manager("ListTunnels"), [["broker", TUNNEL]])

    def test_admins(self):
        manager("SetLogLevel", "s", "info", user="carol")
        call(DEV, "SyncTime", path=DEVICE, user="carol")
        call(DEV, "Command", "s", "AT+GMR", path=DEVICE, user="carol")
        manager("SetAuthority", "ss", "other", pem("ca2.pem"), user="carol")
        manager("RemoveAuthority", "s", "other", user="carol")

    def test_polkit_allows_one_action(self):
        self.RULES.write_text('polkit.addRule(function(action, subject) {'
                              ' if (action.id == "org.espat1.manage" && subject.user == "mallory")'
                              ' return polkit.Result.YES; });\n')
        self.RULES.chmod(0o644)
        self.addCleanup(self.forget_rules)
        systemctl("restart", "polkit.service")
        call(DEV, "SyncTime", path=DEVICE, user="mallory")
        self.assertFails("NotAuthorized", call, CERTS, "Erase", "su", "client_ca", 9, path=DEVICE, user="mallory")
        self.assertFails("NotAuthorized", call, DEV, "Command", "s", "AT+GMR", path=DEVICE, user="mallory")
        self.assertFails("NotAuthorized", call, DEV, "SyncTime", path=DEVICE, user="alice")

    def forget_rules(self):
        self.RULES.unlink()
        systemctl("restart", "polkit.service")

    def test_denied_where_there_is_no_polkit(self):
        systemctl("mask", "--runtime", "--quiet", "--now", "polkit.service")
        try:
            self.assertFails("NotAuthorized", call, DEV, "SyncTime", path=DEVICE, user="mallory")
            call(DEV, "SyncTime", path=DEVICE, user="carol")
        finally:
            systemctl("unmask", "--runtime", "--quiet", "polkit.service")


class Kept(RunningTest):
    def test_tunnels_over_a_restart(self):
        """With `persist` it is there again, and without it is not."""
        port = self.server.port
        manager("CreateTunnel", "sa{sv}", "kept", options(port, persist=["b", True]))
        manager("CreateTunnel", "sa{sv}", "gone", options(port))
        self.await_sockets("kept", "gone")
        self.assertEqual({name: get("Tunnel", "Origin", f"{ROOT}/tunnel/{name}") for name in ("kept", "gone")},
                         {"kept": "persistent", "gone": "runtime"})
        systemctl("restart", UNIT)
        self.await_sockets("kept")
        self.assertEqual({name for name, _ in manager("ListTunnels")}, {"broker", "kept"})
        self.assertFalse(socket_path("gone").exists())
        manager("RemoveTunnel", "s", "kept")
        systemctl("restart", UNIT)
        self.assertEqual({name for name, _ in manager("ListTunnels")}, {"broker"})
