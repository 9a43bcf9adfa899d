# SPDX-License-Identifier: MIT
"""What the service's sandbox lets through, tried by another program in the daemon's place."""
import grp
import json
import os
import pwd
import stat

import system
from system import SIM, UNIT, SystemTest, dropin, systemctl


class Sandbox(SystemTest):
    """In the unit as it is installed: `ExecStart=` alone is another."""

    @classmethod
    def probe(cls, extra=""):
        dropin("20-probe", "[Service]\nType=oneshot\nWatchdogSec=0\nRestart=no\nExecStart=\n"
               f"ExecStart=/usr/bin/python3 -B {system.HERE}/probe.py {SIM}/tty\n{extra}")
        cursor = system.journal_cursor()
        systemctl("start", UNIT)
        entry = system.await_entry(cursor, '"adjtimex"')
        systemctl("stop", UNIT)
        return json.loads(entry["MESSAGE"])

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.seen = cls.probe()

    def assertSeen(self, **wanted):
        for name, value in wanted.items():
            self.assertEqual(self.seen[name.replace("_", " ")], value, name)

    def test_who_it_is(self):
        groups = sorted(grp.getgrnam(name).gr_gid for name in ("espat", "dialout"))
        self.assertSeen(uid=pwd.getpwnam("espat").pw_uid, groups=groups, capabilities="", no_new_privileges="1",
                        seccomp="2", umask="0077", not_dumpable="ok", random="ok")

    def test_the_clock_is_read_and_never_set(self):
        self.assertSeen(adjtimex="ok", adjtimex_to_set="EPERM", settimeofday="EPERM")

    def test_serial_port(self):
        self.assertSeen(tty="ok", sysfs="ok")

    def test_files(self):
        self.assertSeen(state="ok", lock="ok", config="ok", etc="EROFS", home="EACCES", chown="EPERM")

    def test_sockets_belong_to_the_clients(self):
        self.assertSeen(serve=[grp.getgrnam("espat-clients").gr_gid, 0o660])

    def test_local_services(self):
        self.assertSeen(bus="ok", journal="ok")

    def test_no_network(self):
        self.assertSeen(inet="EAFNOSUPPORT", netlink="EAFNOSUPPORT")
        self.assertNotEqual(self.seen["net"], os.readlink("/proc/self/ns/net"))

    def test_other_processes(self):
        self.assertSeen(others=[], ptrace="EPERM")

    def test_uids_are_true(self):
        """With PrivateUsers= nobody could be told from anybody."""
        self.assertEqual(self.seen["uid map"], open("/proc/self/uid_map").read().split())

    def test_tcp_drop_in(self):
        text = open("/usr/share/doc/espatd/espatd-tcp.conf").read()
        dropin("30-tcp", text.replace("Wants=network-online.target\nAfter=network-online.target\n", ""))
        seen = self.probe()
        self.assertEqual((seen["inet"], seen["net"]), ("ok", os.readlink("/proc/self/ns/net")))
        (system.DROPINS / f"{UNIT}.d" / "30-tcp.conf").unlink()


class Devices(SystemTest):
    """Pseudo-terminals are allowed by systemd itself, so the simulator proves nothing of DeviceAllow=."""

    KMSG = "/dev/espat-kmsg"

    def test_others_are_held_off(self):
        trial = system.run("systemd-run", "--quiet", "--wait", "--property=DevicePolicy=strict",
                           "--property=DeviceAllow=/dev/null rw", "--", "/usr/bin/head", "-c1", "/dev/zero",
                           check=False)
        if trial.returncode == 0:
            self.skipTest("this kernel holds nobody off a device: DeviceAllow= is not tested")
        os.mknod(self.KMSG, 0o666 | stat.S_IFCHR, os.makedev(1, 11))
        self.addCleanup(os.unlink, self.KMSG)
        os.chmod(self.KMSG, 0o666)
        self.assertEqual(Sandbox.probe()["kmsg"], "EPERM")
        self.assertEqual(Sandbox.probe("DeviceAllow=char-1 rw\n")["kmsg"], "ok")
