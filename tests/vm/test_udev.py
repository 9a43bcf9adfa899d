# SPDX-License-Identifier: MIT
"""The rule that `espatctl udev` writes: a name of its own, and ModemManager keeps its hands off."""
import vm
from vm import VmTest, opened, sh

# It leaves alone whatever it does not know well, unless it is told what is a modem.
MODEMS = 'ACTION!="remove", SUBSYSTEMS=="usb", ATTRS{idVendor}=="0403", ENV{ID_MM_DEVICE_PROCESS}="1"\n'


def write_rule():
    sh("espatctl udev --write && udevadm control --reload && udevadm trigger --subsystem-match=tty --settle")


class Name(VmTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start()
        write_rule()
        vm.write_config(vm.configuration(cls.server.port, "/dev/espat-esp0"))
        cls.stop()
        cls.start()

    def test_follows_the_adapter(self):
        self.assertWorks()
        self.assertEqual(sh("readlink /dev/espat-esp0").strip(), "ttyUSB0")
        vm.MACHINE.guest.hold("/dev/ttyUSB0")
        self.unplug()
        self.assertEqual(self.recover("pulled out in idle, found by its own name"), "ttyUSB1")
        self.assertEqual(sh("readlink /dev/espat-esp0").strip(), "ttyUSB1")

    def test_the_doctor_sees_it(self):
        self.assertNotIn("ModemManager", sh("espatctl doctor || true"))


class ById(VmTest):
    """udev's own name; the folder that it is in goes with the last adapter."""

    def test_follows_the_adapter(self):
        path = f"/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_{vm.SERIAL}-if00-port0"
        vm.write_config(vm.configuration(self.server.port, path))
        self.start()
        cursor = vm.journal_cursor()
        vm.MACHINE.guest.hold("/dev/ttyUSB0")
        self.unplug()
        vm.await_entry(cursor, f"there is no {path}; waiting for it")
        self.assertEqual(self.recover("pulled out in idle, found by udev's name"), "ttyUSB1")


class ModemManager(VmTest):
    """It is told that these adapters are modems. What it does to one without a rule shows when it is through with both."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start()
        write_rule()
        cls.stop()
        cls.unplug()
        vm.put("/etc/udev/rules.d/60-espat-modems.rules", MODEMS)
        sh("udevadm control --reload")

    def test_does_not_touch_the_port(self):
        self.assertEqual(sh("systemctl is-active ModemManager").strip(), "active")
        other = self.new_chip("other")
        told, cursor = self.chip.mark(), vm.journal_cursor()
        self.plug()
        self.plug("other", "ESPAT02", other)
        # It tries AT with one byte at a time, then QCDM, if it has the time; and tells that neither of them is a modem.
        other.await_line(r"^H>D A", timeout=90)

        def is_through():
            said = sh("journalctl --no-pager -o cat --after-cursor", cursor)
            return other.matching(r"^H>D ~") or said.count("couldn't create modem") >= 2

        vm.wait_for(is_through, "ModemManager is through with both", 90)
        self.assertEqual(self.chip.matching("^H>D", told), [])
        self.start()
        self.assertEqual(opened(), ["/dev/ttyUSB0"])
