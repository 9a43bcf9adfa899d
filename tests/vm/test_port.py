# SPDX-License-Identifier: MIT
"""The unit as it is installed and a serial port as the kernel makes it: found, permitted, opened, set up."""
import vm
from vm import SERIAL, UNIT, VmTest, await_entry, journal_cursor, opened, prop, run, sh


class Found(VmTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # What a real adapter begins with; QEMU's says 0.
        sh("echo 16 >/sys/bus/usb-serial/devices/ttyUSB0/latency_timer")
        cls.latency_before = cls.latency()
        cls.began = journal_cursor()
        cls.start()

    @staticmethod
    def latency():
        return int(sh("cat /sys/bus/usb-serial/devices/ttyUSB0/latency_timer"))

    def test_by_its_serial_number(self):
        await_entry(self.began, f"esp0: opened usb:0403:6001:{SERIAL} at 115200 baud")
        self.assertEqual(opened(), ["/dev/ttyUSB0"])
        self.assertEqual(sh("readlink -f /sys/class/tty/ttyUSB0/device/driver").strip().rsplit("/", 1)[-1], "ftdi_sio")

    def test_the_unit_is_the_installed_one(self):
        self.assertEqual(prop("FragmentPath"), "/lib/systemd/system/espatd.service")
        self.assertEqual(prop("DropInPaths"), "")

    def test_by_its_group_alone(self):
        self.assertEqual(sh("stat -c '%U:%G %a' /dev/ttyUSB0").strip(), "root:dialout 660")
        status = sh(f"cat /proc/{prop('MainPID')}/status")
        words = {line.split(":")[0]: line.split()[1:] for line in status.splitlines()}
        dialout, espat = (sh("getent group", name).split(":")[2] for name in ("dialout", "espat"))
        self.assertNotIn("0", words["Uid"])
        self.assertEqual(set(words["Groups"]), {dialout, espat})
        self.assertEqual(set(words["CapEff"]), {"0000000000000000"})

    def test_others_are_kept_out(self):
        status, _, errors = run("setpriv", "--reuid=espat", "--regid=espat", "--groups=dialout", "sh", "-c",
                                "exec 3<>/dev/ttyUSB0")
        self.assertNotEqual(status, 0)
        self.assertIn("busy", errors)

    def test_what_has_come_is_handed_out_at_once(self):
        self.assertEqual(self.latency_before, 16)
        self.assertEqual(self.latency(), 1)
        self.assertTrue(vm.MACHINE.guest.low_latency("/dev/ttyUSB0"))

    def test_users_are_served(self):
        self.assertEqual(sh(f"runuser -u alice -- python3 -B /opt/espat/peer.py exchange {vm.SOCKET} hello"), '"hello"')


class Refused(VmTest):
    def tearDown(self):
        self.stop()

    def test_what_is_not_a_usb_adapter(self):
        """DeviceAllow= of the unit."""
        # By its mode the unit's user could open it.
        sh("setpriv --reuid=espat --regid=espat --groups=dialout test -w /dev/ttyS1")
        vm.write_config(vm.configuration(self.server.port, "/dev/ttyS1"))
        cursor = journal_cursor()
        sh("systemctl start", UNIT)
        await_entry(cursor, "cannot open /dev/ttyS1: Operation not permitted (as a service it takes DeviceAllow=")

    def test_what_the_group_may_not_open(self):
        vm.write_config(vm.configuration(self.server.port))
        sh("chgrp root /dev/ttyUSB0")
        cursor = journal_cursor()
        sh("systemctl start", UNIT)
        await_entry(cursor, "cannot open /dev/ttyUSB0: Permission denied")
        self.assertEqual(self.chip.commands(), [])
        sh("chgrp dialout /dev/ttyUSB0")
        await_entry(cursor, "esp0: ready")
        self.assertWorks()


class Two(VmTest):
    """Adapters that differ in their serial numbers alone."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.unplug()
        cls.other = cls.new_chip("other")
        cls.plug("other", "ESPAT02", cls.other)

    def test_the_right_one(self):
        cursor = journal_cursor()
        sh("systemctl start", UNIT)
        await_entry(cursor, f"no USB serial port 0403:6001:{SERIAL} is plugged in")
        self.assertEqual(self.plug(), "ttyUSB1")
        await_entry(cursor, "esp0: ready")
        self.assertWorks()
        self.assertEqual(opened(), ["/dev/ttyUSB1"])
        self.assertEqual(self.other.matching("^H>D"), [])


