# SPDX-License-Identifier: MIT
"""The service in the machine, a chip and a server outside of it; main.py fills in the names in capitals."""
import shutil
import unittest

import harness
import tlsserver
from harness import wait_for
from machine import Chip

MACHINE = PKI = WORK = None
# What was measured: lines to be printed at the end.
RECOVERIES = []

UNIT = "espatd.service"
SERIAL = "ESPAT01"
SOCKET = "/run/espat/broker.sock"
# Seconds from the port's appearance to the next client that is served; the simulator's join of 1 s and handshake
# of 0.5 s are in it. What an emulated processor works is not: a real one does that in a small part of the time.
REPLUG_BOUND = 3
TIMING = ("--join-ms", "1000", "--handshake-ms", "500")


# ---- inside ----

def run(*command, **how):
    """[status, output, errors]"""
    return MACHINE.guest.run([str(word) for word in command], *how.values())


def sh(command, *args):
    """The output of a command line, which must not fail; @args are quoted behind it."""
    status, out, errors = run("sh", "-c", command + "".join(f' "${n + 1}"' for n in range(len(args))), "sh", *args)
    assert status == 0, (command, args, status, out, errors)
    return out


def put(path, text, owner="root:root", mode="0644"):
    user, group = owner.split(":")
    status, _, errors = run("install", "-D", "-m", mode, "-o", user, "-g", group, "/dev/stdin", path, input=text)
    assert status == 0, (path, errors)


def prop(name):
    return sh("systemctl show --value --property", name, UNIT).strip()


def journal_cursor():
    return sh("journalctl -n 0 --show-cursor").rsplit("-- cursor: ", 1)[-1].strip()


def await_entry(cursor, part, timeout=60):
    """The first message behind @cursor that has @part in it. With matches of its own, journalctl loses the first one."""
    def find():
        said = sh("journalctl --no-pager -o cat --after-cursor", cursor)
        return next((line for line in said.splitlines() if part in line), None)

    return wait_for(find, f"an entry of the journal with {part!r}", timeout)


def configuration(server_port, port=f"usb:0403:6001:{SERIAL}", more=""):
    return f"""
devices = ( {{ name = "esp0"; port = "{port}"; {more}
              wifi = {{ ssid = "lab"; password_file = "wifi.secret"; }}; }} );
authorities = ( {{ name = "corp"; file = "pki/ca.pem"; }} );
identities = ( {{ name = "gateway"; cert = "pki/client.pem"; key = "pki/client.key"; }} );
tunnels = ( {{ name = "broker"; host = "broker.test"; port = {server_port};
              authority = "corp"; identity = "gateway"; }} );
drain_timeout = 1;
"""


def write_config(text):
    put("/etc/espat/espatd.conf", text, "root:espat", "0640")


def ports():
    """Terminals of USB adapters that are there."""
    return sh("cd /dev && ls -d ttyUSB* 2>/dev/null || true").split()


def opened():
    """The terminals that the service has open."""
    return sh(f"cd /proc/{prop('MainPID')}/fd && for fd in *; do readlink $fd; done | grep ^/dev/tty || true").split()


class VmTest(unittest.TestCase):
    """A chip that is plugged in, a server, and a service that is not started yet; new ones for each class."""

    maxDiff = None
    handler = staticmethod(tlsserver.echo)
    chip_options = TIMING

    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(cls.clean)
        cls.plugged = {}
        cls.chips = []
        cls.server = tlsserver.TlsServer(PKI, cls.handler, client_ca="ca")
        for name in "ca.pem", "client.pem":
            put(f"/etc/espat/pki/{name}", (PKI / name).read_text())
        put("/etc/espat/pki/client.key", (PKI / "client.key").read_text(), "espat:espat", "0600")
        put("/etc/espat/wifi.secret", harness.PASSWORD + "\n", "espat:espat", "0600")
        write_config(configuration(cls.server.port))
        cls.chip = cls.new_chip("chip", *cls.chip_options)
        cls.plug()

    @classmethod
    def clean(cls):
        sh(f"systemctl stop {UNIT}; systemctl reset-failed; find /var/lib/espat /run/espat -mindepth 1 -delete; "
           "rm -f /etc/udev/rules.d/*espat*; udevadm control --reload")
        MACHINE.guest.release()
        for name in list(cls.plugged):
            cls.unplug(name)
        for chip in cls.chips:
            chip.end()
        wait_for(lambda: not ports(), "the end of all ports")
        cls.server.close()

    @classmethod
    def new_chip(cls, name, *options):
        shutil.rmtree(WORK / name, ignore_errors=True)
        chip = Chip(WORK / name, *options)
        cls.chips.append(chip)
        return chip

    @classmethod
    def plug(cls, name="chip", serial=SERIAL, chip=None, wait=True):
        """The name of its port, when that is there."""
        if wait:
            MACHINE.guest.watch("plug")
        MACHINE.plug(name, serial, (chip or cls.chip).line)
        cls.plugged[name] = serial
        return MACHINE.guest.next_port("plug", serial) if wait else None

    @classmethod
    def unplug(cls, name="chip"):
        MACHINE.unplug(name)
        del cls.plugged[name]

    @classmethod
    def start(cls):
        sh("systemctl start", UNIT)
        wait_for(lambda: MACHINE.guest.exchange(SOCKET), "the first client", 90)

    @classmethod
    def stop(cls):
        sh("systemctl stop", UNIT)

    def assertWorks(self):
        self.assertTrue(MACHINE.guest.exchange(SOCKET))

    def recover(self, what, bound=REPLUG_BOUND):
        """Puts it in again; the name of its port, when clients are served in time."""
        MACHINE.guest.watch("recovery")
        call = MACHINE.guest.start("recovery", "recovery", SERIAL, SOCKET)
        self.plug(wait=False)
        found = call.result(90)
        waited = found["seconds"] - found["busy"]
        RECOVERIES.append(f"{what}: {found['seconds']:.2f} s from {found['port']} to the next client, {waited:.2f} s "
                          f"without the processor's work (at most {bound})")
        self.assertEqual(opened(), ["/dev/" + found["port"]])
        self.assertLessEqual(waited, bound, what)
        return found["port"]
