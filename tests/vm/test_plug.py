# SPDX-License-Identifier: MIT
"""The adapter is pulled out, whatever is going on, and put in again: tunnels serve again without help."""
import random

import tlsserver
import vm
from harness import wait_for
from vm import SERIAL, SOCKET, VmTest, await_entry, journal_cursor, prop

SIZE = 3000000


class Plugging(VmTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start()
        cls.pid = prop("MainPID")

    def setUp(self):
        self.cursor = journal_cursor()
        self.addCleanup(vm.MACHINE.guest.release)

    def tearDown(self):
        self.assertEqual((prop("MainPID"), prop("NRestarts")), (self.pid, "0"))


class Idle(Plugging):
    def test_the_chip_stays_on(self):
        self.unplug()
        await_entry(self.cursor, f"the port usb:0403:6001:{SERIAL} is gone")
        self.assertEqual(self.recover("pulled out in idle"), "ttyUSB0")

    def test_the_chip_has_its_power_from_the_plug(self):
        self.unplug()
        self.chip.fault("hang")
        await_entry(self.cursor, "is gone")
        self.chip.fault("reset")
        self.recover("pulled out in idle, the chip without power meanwhile")

    def test_another_number(self):
        vm.MACHINE.guest.hold("/dev/ttyUSB0")
        self.unplug()
        self.assertEqual(self.recover("pulled out in idle, back as another port"), "ttyUSB1")
        vm.MACHINE.guest.release()
        self.unplug()
        self.assertEqual(self.recover("and again, with the old number"), "ttyUSB0")

    def test_a_loose_plug(self):
        for _ in range(5):
            self.unplug()
            self.plug()
        self.unplug()
        self.recover("pulled out six times on end")

    def test_away_for_a_while(self):
        self.unplug()
        await_entry(self.cursor, f"no USB serial port 0403:6001:{SERIAL} is plugged in; waiting for it")
        self.recover("pulled out until it is missed")


class Transfer(Plugging):
    def cut(self, seed):
        """Pulled out in the middle; what goes through the tunnel then: conn, what the server has seen of it."""
        number = self.server.mark()
        call = vm.MACHINE.guest.start("transfer", SOCKET, seed, SIZE)
        conn = self.server.connection(number)
        self.server.handler = tlsserver.echo
        wait_for(lambda: len(conn.received) > 30000, "something to break")
        self.unplug()
        got = call.result(30)
        self.assertTrue(got["right"])
        self.assertLess(got["received"], SIZE)
        await_entry(self.cursor, "aborted: the chip was reset or lost")
        return conn, got["received"]

    def assertRight(self, conn, seed):
        self.assertTrue(conn.ended.wait(30))
        self.assertTrue(random.Random(seed).randbytes(SIZE).startswith(conn.received))

    def test_both_ways(self):
        conn, received = self.cut(1)
        self.assertGreater(received, 0)
        self.recover("pulled out in transfer")
        self.assertRight(conn, 1)

    def test_there_is_always_something_to_write(self):
        self.server.handler = tlsserver.swallow
        conn, _ = self.cut(2)
        self.recover("pulled out while sending")
        self.assertRight(conn, 2)

    def test_another_number(self):
        vm.MACHINE.guest.hold("/dev/ttyUSB0")
        conn, _ = self.cut(3)
        self.assertEqual(self.recover("pulled out in transfer, back as another port"), "ttyUSB1")
        vm.MACHINE.guest.release()
        self.assertRight(conn, 3)

    def test_without_power(self):
        conn, _ = self.cut(4)
        self.chip.fault("reset")
        self.recover("pulled out in transfer, the chip without power meanwhile")
        self.assertRight(conn, 4)


class Provisioning(Plugging):
    chip_options = vm.TIMING + ("--flash-ms", "100")

    @classmethod
    def start(cls):
        vm.sh("systemctl start", vm.UNIT)

    def test_at_one_value_after_the_other(self):
        seen = 0
        for _ in range(3):
            self.chip.await_line(r"^H>D AT\+SYSMFG=2", seen, timeout=60)
            self.unplug()
            seen = self.chip.mark()
            self.plug()
        self.chip.await_line(r"^H>D AT\+SYSMFG=2", seen, timeout=60)
        self.unplug()
        # The chip waits for the rest of a value, as at any stuck prompt: 5 s; and there are values to be written.
        self.recover("pulled out while it is provisioned, with the rest of that", 8)
