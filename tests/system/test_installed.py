# SPDX-License-Identifier: MIT
"""What the installation has put where, and what systemd, D-Bus, polkit and udev think of it."""
import pathlib
import subprocess
import unittest

import system
from system import DROPINS, ETC, RUN, STATE, UNIT, Failed, call, owner, prop, run, systemctl

UNITS = pathlib.Path("/usr/lib/systemd/system")
DOC = pathlib.Path("/usr/share/doc/espatd")


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        system.SystemTest.clean()

    def verify(self, *paths):
        done = run("systemd-analyze", "verify", "--man=no", *paths, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_verify(self):
        self.verify(UNITS / UNIT)

    def test_verify_can_fail(self):
        broken = pathlib.Path("/run/broken.service")
        broken.write_text((UNITS / UNIT).read_text().replace("Restart=on-failure", "Restart=sometimes"))
        self.addCleanup(broken.unlink)
        with self.assertRaises(AssertionError):
            self.verify(broken)

    def test_verify_examples(self):
        socket = DROPINS / "espat-example.socket"
        socket.write_text((DOC / "espat-example.socket").read_text())
        system.dropin("tcp", (DOC / "espatd-tcp.conf").read_text())
        self.addCleanup(system.remove_dropins)
        self.verify(socket, UNITS / UNIT)
        self.assertEqual(prop("PrivateNetwork"), "no")
        self.assertEqual(set(prop("RestrictAddressFamilies").split()), {"AF_UNIX", "AF_INET", "AF_INET6"})
        self.assertEqual(set(prop("IPAddressAllow").split()), {"127.0.0.0/8", "::1/128"})
        self.assertEqual(set(prop("IPAddressDeny").split()), {"0.0.0.0/0", "::/0"})

    def test_commented_choices(self):
        """What is commented in the unit works when somebody takes it."""
        text = (UNITS / UNIT).read_text()
        changed = text.replace("#LoadCredential=", "LoadCredential=")
        self.assertNotEqual(text, changed)
        copy = pathlib.Path("/run/espatd.service")
        copy.write_text(changed)
        self.addCleanup(copy.unlink)
        self.verify(copy)

    def test_security(self):
        """By the file, and by what systemd has made of it."""
        for how in ["--offline=true", UNITS / UNIT], [UNIT]:
            done = run("systemd-analyze", "security", "--no-pager", "--threshold=10", *how, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)
        self.assertNotEqual(run("systemd-analyze", "security", "--threshold=9", UNIT, check=False).returncode, 0,
                            "it is better than it is said to be: lower the threshold")

    def test_limits(self):
        self.assertIn("\nWatchdogSec=20\n", (UNITS / UNIT).read_text())
        self.assertEqual(prop("TimeoutStopUSec"), "1min 15s")
        self.assertGreaterEqual(int(prop("LimitNOFILE")), 64 + 1000 + 256)
        self.assertEqual(prop("RuntimeDirectory"), "")
        self.assertEqual(prop("RestartPreventExitStatus"), "2 78")

    def test_folders(self):
        self.assertEqual(owner(RUN), "espat:espat-clients 2755")
        self.assertEqual(owner(ETC), "root:root 0755")
        self.assertEqual(owner(ETC / "conf.d"), "root:root 0755")
        self.assertEqual(owner(ETC / "espatd.conf"), "root:espat 0640")

    def test_state_folder(self):
        done = run("systemd-run", "--quiet", "--wait", "--property=User=espat", "--property=StateDirectory=espat",
                   "--property=StateDirectoryMode=0750", "true")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(owner(STATE), "espat:espat 0750")

    def test_groups(self):
        self.assertEqual(set(run("id", "-nG", "espat").stdout.split()), {"espat", "dialout"})

    def test_the_example_configuration_is_read(self):
        """As it stands it has no device, and espatd says so."""
        done = run("espatd", "--check", "-c", ETC / "espatd.conf", user="espat", check=False)
        self.assertEqual(done.returncode, system.EXIT_CONFIG)
        self.assertIn("devices", done.stderr)


class Bus(unittest.TestCase):
    def request_name(self, user):
        return call("org.freedesktop.DBus", "RequestName", "su", system.BUS, 4, bus="org.freedesktop.DBus",
                    path="/org/freedesktop/DBus", user=user)

    def test_who_may_own_the_name(self):
        system.SystemTest.clean()
        for user in "espat", None:
            self.assertEqual(self.request_name(user), 1)
        for user in "mallory", "carol":
            with self.assertRaises(Failed) as caught:
                self.request_name(user)
            self.assertEqual(caught.exception.name, "org.freedesktop.DBus.Error.AccessDenied")

    def test_nobody_starts_what_is_disabled(self):
        system.SystemTest.clean()
        systemctl("disable", "--quiet", UNIT)
        try:
            with self.assertRaises(Failed):
                system.manager("ListDevices", user="mallory")
            self.assertEqual(system.state(), "inactive")
        finally:
            systemctl("enable", "--quiet", UNIT)

    def test_no_complaint_about_our_files(self):
        cursor = system.journal_cursor()
        systemctl("reload", "dbus.service")
        said = [e["MESSAGE"] for e in system.journal(cursor, lambda e: "dbus.service" in (
            e.get("_SYSTEMD_UNIT"), e.get("UNIT")))]
        self.assertTrue(said)
        self.assertEqual([m for m in said if "espat" in m], [])


class Polkit(unittest.TestCase):
    def test_actions(self):
        for action in "manage", "trust", "raw":
            text = run("pkaction", "--verbose", "--action-id", "org.espat1." + action).stdout
            values = dict(line.strip().split(":", 1) for line in text.splitlines() if ":" in line.strip()[:-1])
            values = {k: v.strip() for k, v in values.items()}
            self.assertEqual(values["implicit any"], "auth_admin")
            self.assertEqual(values["implicit inactive"], "auth_admin")
            self.assertEqual(values["implicit active"], "auth_admin_keep")
            self.assertTrue(values["message"])


class Udev(unittest.TestCase):
    RULE = pathlib.Path("/run/udev/rules.d/70-espat.rules")

    def complaints(self, text):
        """udevadm reads all rules, whatever it is asked."""
        self.RULE.parent.mkdir(parents=True, exist_ok=True)
        self.RULE.write_text(text)
        self.addCleanup(self.RULE.unlink, missing_ok=True)
        done = subprocess.run(["udevadm", "test", "/sys/class/mem/null"], capture_output=True, text=True)
        return [line for line in done.stderr.splitlines() if line.startswith(str(self.RULE) + ":")]

    def test_the_example_is_right(self):
        text = (DOC / "espat-example.rules").read_text()
        # What is commented out must be right, too.
        text = text.replace("\n#ACTION", "\nACTION")
        self.assertEqual(len([line for line in text.splitlines() if line.startswith("ACTION")]), 2)
        self.assertEqual(self.complaints(text), [])
        self.assertNotEqual(self.complaints(text.replace("SYMLINK+=", "SYMLUNK+=")), [])
