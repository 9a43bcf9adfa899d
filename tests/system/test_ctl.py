# SPDX-License-Identifier: MIT
"""espatctl as an administrator, and as somebody who is none."""
import json
import pathlib
import shutil

import system
from harness import PASSWORD
from system import DEVICE, PKI, RunningTest, SystemTest, call, run

NOT_REACHABLE, NOT_AUTHORIZED, NO_SUCH = 3, 4, 5


class Ctl(RunningTest):
    def ctl(self, *args, user=None):
        done = run("espatctl", *args, user=user, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_everybody_sees(self):
        for user in "mallory", "carol", None:
            status, text = self.ctl("status", user=user)
            self.assertEqual(status, 0, text)
            self.assertIn("esp0", text)
            self.assertIn("broker", text)
        json.loads(run("espatctl", "--json", "devices", user="mallory").stdout)

    def test_not_everybody_changes(self):
        self.assertEqual(self.ctl("sync-time", "esp0", user="mallory")[0], NOT_AUTHORIZED)
        for user in "carol", None:
            self.assertEqual(self.ctl("sync-time", "esp0", user=user), (0, self.ctl("sync-time", "esp0")[1]))

    def test_files(self):
        """What is in files goes to the service by descriptor, whoever can read them."""
        for user in "carol", None:
            mine = pathlib.Path("/run/espat-ctl-test")
            mine.mkdir(mode=0o700)
            self.addCleanup(shutil.rmtree, mine, True)
            for name in "ca2.pem", "ecclient.pem", "ecclient.key":
                shutil.copy(PKI / name, mine)
            (mine / "password").write_text(PASSWORD + "\n")
            for path in mine, *mine.iterdir():
                shutil.chown(path, user or "root")
            for args in (("certs", "load", "esp0", "client_ca", "6", mine / "ca2.pem"),
                         ("certs", "erase", "esp0", "client_ca", "6"),
                         ("certs", "load", "esp0", "client_key", "6", mine / "ecclient.key"),
                         ("certs", "erase", "esp0", "client_key", "6"),
                         ("certs", "set-identity", "spare", mine / "ecclient.pem", mine / "ecclient.key"),
                         ("certs", "remove-identity", "spare"),
                         ("wifi", "join", "esp0", "lab", "--password-file", mine / "password")):
                with self.subTest(user=user, args=args[:2]):
                    status, text = self.ctl(*map(str, args), user=user)
                    self.assertEqual(status, 0, text)
            # Back to the configured network.
            call("org.espat1.Wifi", "Join", "sha{sv}", "", {"pipe": ""}, {}, path=DEVICE)
            shutil.rmtree(mine)
        self.assertEqual(self.ctl("certs", "erase", "esp0", "client_ca", "6", user="mallory")[0], NOT_AUTHORIZED)

    def test_nobody_is_there(self):
        self.assertEqual(self.ctl("sync-time", "esp9")[0], NO_SUCH)

    def test_reload_tells_the_line(self):
        self.assertEqual(self.ctl("reload")[0], 0)
        system.write_config(system.configuration(self.server.port, broker="nonsense = 1;"))
        status, text = self.ctl("reload")
        self.assertNotEqual(status, 0)
        self.assertRegex(text, r"espatd\.conf:\d+: .*nonsense")


class Unreachable(SystemTest):
    def test_status(self):
        """It is disabled, so the call does not start it."""
        system.systemctl("disable", "--quiet", system.UNIT)
        try:
            self.assertEqual(run("espatctl", "status", check=False).returncode, NOT_REACHABLE)
        finally:
            system.systemctl("enable", "--quiet", system.UNIT)
