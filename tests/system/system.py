# SPDX-License-Identifier: MIT
"""The service as an administrator and his users see it, and what it needs around it."""
import grp
import json
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys
import unittest
import xml.etree.ElementTree

import clients
import harness
import tlsserver
from harness import PASSWORD, wait_for

HERE = pathlib.Path(__file__).parent
UNIT = "espatd.service"
ETC = pathlib.Path("/etc/espat")
RUN = pathlib.Path("/run/espat")
STATE = pathlib.Path("/var/lib/espat")
DROPINS = pathlib.Path("/run/systemd/system")
SIM = pathlib.Path("/run/espat-sim")
PKI = pathlib.Path("/run/espat-pki")
EXIT_CONFIG = 78

BUS, ROOT = "org.espat1", "/org/espat1"
DEVICE, TUNNEL = ROOT + "/device/esp0", ROOT + "/tunnel/broker"

EXAMPLE = (ETC / "espatd.conf").read_text()

os.environ["ESPAT_SIM"] = "/usr/bin/espat-sim"


# ---- programs ----

def identity(user):
    """How subprocess becomes somebody."""
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}


def run(*command, user=None, check=True, timeout=60, **how):
    """The ended process with its text; @check: its failure is the test's."""
    if user:
        how.update(identity(user))
    done = subprocess.run([str(x) for x in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, **how)
    assert not check or done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
    return done


def systemctl(*args, check=True, timeout=120):
    return run("systemctl", *args, check=check, timeout=timeout)


def prop(name, unit=UNIT):
    return systemctl("show", "--property", name, "--value", unit).stdout.strip()


def state(unit=UNIT):
    return prop("ActiveState", unit)


def main_pid():
    return int(prop("MainPID"))


# ---- the journal ----

def journal_cursor():
    out = subprocess.run(["journalctl", "-n", "0", "--show-cursor"], capture_output=True, text=True).stdout
    return out.rsplit("-- cursor: ", 1)[-1].strip()


def of_unit(entry):
    """What the service, or systemd about it, has said."""
    return UNIT in (entry.get("_SYSTEMD_UNIT"), entry.get("UNIT"))


def journal(cursor, wanted=of_unit):
    """The @wanted entries behind @cursor, as dicts. With matches of its own, journalctl loses the first one."""
    out = run("journalctl", "--no-pager", "-o", "json", "--after-cursor", cursor).stdout
    return [entry for entry in map(json.loads, out.splitlines()) if wanted(entry)]


def await_entry(cursor, *parts, wanted=of_unit, timeout=harness.DEADLINE):
    """The first entry whose message has all of @parts."""
    def find():
        for entry in journal(cursor, wanted):
            message = entry.get("MESSAGE")
            if isinstance(message, str) and all(part in message for part in parts):
                return entry
        return None

    return wait_for(find, f"an entry of the journal with {parts}", timeout)


# ---- D-Bus ----

class Failed(Exception):
    """A call's error."""

    def __init__(self, name, text):
        super().__init__(f"{name}: {text}")
        self.name, self.text = name, text


def call(interface, method, signature="", *args, path=ROOT, user=None, bus=BUS, timeout=60):
    """Its answer, as JSON has it, from a process of @user. A dict {"fd": PATH} or {"pipe": TEXT} is a descriptor."""
    request = {"bus": bus, "path": path, "interface": interface, "method": method, "signature": signature,
               "args": args, "timeout": timeout}
    how = identity(user) if user else {}
    done = subprocess.run([sys.executable, "-B", HERE / "peer.py", "call"], input=json.dumps(request),
                          capture_output=True, text=True, timeout=timeout + 20, **how)
    assert done.returncode == 0, (request, done.stderr)
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise Failed(answer["error"], answer["text"])
    return answer["value"]


def manager(method, signature="", *args, **how):
    return call("org.espat1.Manager", method, signature, *args, **how)


def busctl(*args, user=None, check=True):
    """`busctl ... call org.espat1 ...` as people type it."""
    return run("busctl", "--json=short", *args, user=user, check=check)


def busctl_call(path, interface, method, *args, **how):
    out = busctl("--timeout=60", "call", "--", BUS, path, interface, method, *args, **how).stdout
    return json.loads(out)["data"] if out.strip() else None


def busctl_words(signature, args):
    """Arguments as busctl wants them: the members of a{sv} one by one, behind their number."""
    words = []
    for arg in args:
        if isinstance(arg, dict):
            words += [str(len(arg)), *(str(x) for key, (type, value) in arg.items() for x in (key, type, value))]
        else:
            words.append(str(arg))
    return [signature, *words] if signature else []


def without_types(value):
    """busctl tells the type of each variant."""
    if isinstance(value, dict):
        if value.keys() == {"type", "data"}:
            return without_types(value["data"])
        return {key: without_types(item) for key, item in value.items()}
    return [without_types(item) for item in value] if isinstance(value, list) else value


def call_by_busctl(interface, method, signature="", *args, path=ROOT):
    """As call(), by the program that people use. It can pass no descriptors, and tells no names of errors."""
    values = without_types(busctl_call(path, interface, method, *busctl_words(signature, args)) or [])
    return values[0] if len(values) == 1 else values or None


def get(interface, name, path):
    out = busctl("get-property", BUS, path, "org.espat1." + interface, name).stdout
    return json.loads(out)["data"]


def bus_interfaces():
    """{"org.espat1.Manager": its element}, as the tree's XML says it."""
    return {i.get("name"): i for path in sorted((HERE / "interfaces").glob("*.xml"))
            for i in xml.etree.ElementTree.parse(path).getroot().findall("interface")}


def has_owner(name=BUS):
    return call("org.freedesktop.DBus", "NameHasOwner", "s", name, bus="org.freedesktop.DBus",
                path="/org/freedesktop/DBus")


# ---- users of a tunnel ----

def exchange_as(user, path, text="are you there?"):
    """What came back: the same text through an echoing server, or None if the connection just ended."""
    done = subprocess.run([sys.executable, "-B", HERE / "peer.py", "exchange", str(path), text],
                          capture_output=True, text=True, timeout=60, **identity(user))
    if done.returncode == 13:
        raise PermissionError(path)
    if done.returncode == 111:
        raise ConnectionRefusedError(path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- the service ----

def write_private(path, text, owner="espat", mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    shutil.chown(path, owner, owner)
    path.chmod(mode)


def dropin(name, text, unit=UNIT):
    path = DROPINS / f"{unit}.d" / f"{name}.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    systemctl("daemon-reload")


def remove_dropins():
    for path in DROPINS.glob("espat*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    systemctl("daemon-reload")


def make_pki():
    if not PKI.exists():
        run(HERE / "mkpki", "--host", "broker.test", PKI)


class Line(harness.Sim):
    """A chip on a pseudo-terminal that, like a serial port, belongs to the group dialout."""

    def __init__(self, *options, dir=SIM):
        dir.mkdir(parents=True, exist_ok=True)
        dir.chmod(0o755)
        (dir / "hosts").write_text("broker.test 10.0.2.2\n10.0.2.2 127.0.0.1\n")
        super().__init__(dir, *options)
        pts = os.path.realpath(self.tty)
        shutil.chown(pts, "root", "dialout")
        os.chmod(pts, 0o660)


def configuration(port, broker="", rest="drain_timeout = 1;", tunnels="", password="wifi.secret", key="pki/client.key"):
    """One chip and the tunnel `broker` to @port; @broker, @tunnels, @rest: more of it, of others, of anything."""
    return f"""
devices = ( {{ name = "esp0"; port = "{SIM}/tty"; baud = 115200;
              wifi = {{ ssid = "lab"; password_file = "{password}"; }}; }} );
authorities = ( {{ name = "corp"; file = "pki/ca.pem"; }} );
identities = ( {{ name = "gateway"; cert = "pki/client.pem"; key = "{key}"; }} );
tunnels = ( {{ name = "broker"; host = "broker.test"; port = {port};
              authority = "corp"; identity = "gateway"; {broker} }}{tunnels} );
{rest}
"""


def tunnel(name, port, more=""):
    return (f'{{ name = "{name}"; host = "broker.test"; port = {port}; authority = "corp"; '
            f'identity = "gateway"; {more} }}')


def write_config(text):
    path = ETC / "espatd.conf"
    path.write_text(text)
    shutil.chown(path, "root", "espat")
    path.chmod(0o640)


def socket_path(name="broker"):
    return RUN / f"{name}.sock"


class SystemTest(unittest.TestCase):
    """A chip, a server, and a service that is not started yet; a new one for each class."""

    maxDiff = None
    sim_options = ()

    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(cls.clean)
        cls.clean()
        make_pki()
        (ETC / "pki").mkdir(exist_ok=True)
        for name in "ca.pem", "ca2.pem", "client.pem", "client2.pem", "ecclient.pem":
            shutil.copy(PKI / name, ETC / "pki")
        for name in "client.key", "ecclient.key":
            write_private(ETC / "pki" / name, (PKI / name).read_text())
        write_private(ETC / "wifi.secret", PASSWORD + "\n")
        cls.server = tlsserver.TlsServer(PKI, client_ca="ca")
        cls.sim = Line(*cls.sim_options)
        write_config(cls.config())

    @classmethod
    def clean(cls):
        """As after the installation, whatever the last one has left."""
        if getattr(cls, "sim", None):
            cls.sim.end()
            cls.sim = None
        units = [path.name for path in DROPINS.glob("espat-*.socket")]
        systemctl("stop", *units, UNIT)
        systemctl("reset-failed", *units, UNIT, check=False)
        remove_dropins()
        for path in STATE.glob("*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (ETC / "conf.d").glob("*"):
            path.unlink()
        # Of a daemon that was killed.
        for path in RUN.glob("*.sock"):
            path.unlink()
        shutil.rmtree(SIM, ignore_errors=True)
        shutil.rmtree(ETC / "pki", ignore_errors=True)
        write_config(EXAMPLE)

    @classmethod
    def config(cls):
        return configuration(cls.server.port)

    @classmethod
    def start(cls, *tunnels):
        systemctl("start", UNIT)
        cls.await_sockets(*tunnels)

    @classmethod
    def await_sockets(cls, *tunnels):
        for name in tunnels or ("broker",):
            wait_for(socket_path(name).exists, f"the socket of {name}")

    @classmethod
    def stop(cls):
        systemctl("stop", UNIT)

    def connect(self, name="broker"):
        """As root, whom nothing stops."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(harness.DEADLINE)
        s.connect(str(socket_path(name)))
        self.addCleanup(s.close)
        return s

    def assertEchoes(self, s, data=b"are you there?"):
        self.assertEqual(clients.exchange(s, data), data)

    def assertWorks(self, name="broker", user="alice"):
        self.assertEqual(exchange_as(user, socket_path(name)), "are you there?")

    def assertFails(self, errors, function, *args, **how):
        """@errors: names behind org.espat1.Error., or whole ones with a dot."""
        with self.assertRaises(Failed) as caught:
            function(*args, **how)
        wanted = [e if "." in e else "org.espat1.Error." + e for e in errors.split()]
        self.assertIn(caught.exception.name, wanted, caught.exception.text)
        return caught.exception.text


class RunningTest(SystemTest):
    """The service has been started and serves."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start()


def owner(path):
    st = os.lstat(path)
    return f"{pwd.getpwuid(st.st_uid).pw_name}:{grp.getgrgid(st.st_gid).gr_name} {st.st_mode & 0o7777:04o}"
