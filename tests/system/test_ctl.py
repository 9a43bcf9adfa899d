# SPDX-License-Identifier: MIT
"""espatctl as an administrator, and as somebody who is none."""
import json

import system
from system import RunningTest, SystemTest, run

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
