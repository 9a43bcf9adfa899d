# SPDX-License-Identifier: MIT
"""systemctl start, stop, restart and reload; the watchdog, credentials, and what the journal says."""
import os
import pathlib
import signal

import clients
import harness
import system
from harness import PASSWORD, wait_for
from system import (EXIT_CONFIG, RUN, UNIT, RunningTest, SystemTest, await_entry, configuration, dropin, journal,
                    journal_cursor, main_pid, owner, prop, run, socket_path, state, systemctl, tunnel,
                    write_config)

# A start after a crash comes at once.
SOON = "[Service]\nRestartSec=100ms\n"


class Running(RunningTest):
    def test_who_serves_what(self):
        self.assertEqual(owner(socket_path()), "espat:espat-clients 0660")
        self.assertEqual(owner(system.STATE), "espat:espat 0750")
        for user in "alice", "bob":
            self.assertWorks(user=user)
        with self.assertRaises(PermissionError):
            system.exchange_as("mallory", socket_path())

    def test_status_in_words(self):
        wait_for(lambda: "esp0" in prop("StatusText") and "ready" in prop("StatusText"), "a status of the chip")

    def test_server_saw_the_chips_certificate(self):
        self.assertWorks()
        subject = dict(pair for rdn in self.server.handshakes()[-1].peer["subject"] for pair in rdn)
        self.assertEqual(subject["commonName"], "device-0001")

    def test_a_second_daemon_names_the_first(self):
        done = run("espatd", "-c", "/etc/espat/espatd.conf", "--bus", "none", user="espat", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(main_pid()), done.stderr)
        self.assertWorks()

    def test_journal_fields(self):
        pid = str(main_pid())
        entries = journal(self.began, lambda e: e.get("_PID") == pid and e.get("_TRANSPORT") == "journal")
        self.assertTrue([e for e in entries if e.get("ESPAT_DEVICE") == "esp0"], entries[:3])
        told = [e for e in entries if e.get("ESPAT_TUNNEL") == "broker"]
        self.assertTrue(told)
        for entry in entries:
            self.assertEqual(entry["SYSLOG_IDENTIFIER"], "espatd")
            self.assertIn(entry["PRIORITY"], "0123456")
            # The level is a field of its own, and no prefix of the message.
            self.assertNotRegex(str(entry["MESSAGE"]), r"^<\d>")

    def test_no_secret_in_the_journal(self):
        text = run("journalctl", "--no-pager", "-o", "export", "-a", "--after-cursor", self.began).stdout
        self.assertIn("espatd", text)
        self.assertNotIn(PASSWORD, text)
        self.assertNotIn("PRIVATE KEY", text)

    @classmethod
    def setUpClass(cls):
        cls.began = journal_cursor()
        super().setUpClass()


class Reason(SystemTest):
    @classmethod
    def config(cls):
        return configuration(cls.server.port, tunnels=", " + tunnel("closed", 9))

    def test_reason_is_a_field(self):
        self.start("broker", "closed")
        cursor = journal_cursor()
        self.assertIsNone(system.exchange_as("alice", socket_path("closed")))
        wait_for(lambda: [e for e in journal(cursor) if e.get("ESPAT_TUNNEL") == "closed" and
                          e.get("ESPAT_REASON") == "refused"], "a reason in the journal")


class Stop(SystemTest):
    def test_clean(self):
        self.start()
        self.assertWorks()
        pid = main_pid()
        self.stop()
        self.assertEqual((state(), prop("Result"), prop("ExecMainStatus")), ("inactive", "success", "0"))
        # The file of the lock is no leftover: removing it would be a race.
        self.assertEqual(set(os.listdir(RUN)) - {"espatd.lock"}, set())
        self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())
        self.assertEqual(owner(RUN), "espat:espat-clients 2755")
        self.assertFalse(system.has_owner())
        self.start()
        self.assertWorks()

    def test_open_connections_are_drained(self):
        write_config(configuration(self.server.port, rest="drain_timeout = 30;"))
        self.start()
        s = self.connect()
        self.assertEchoes(s)
        systemctl("stop", "--no-block", UNIT)
        wait_for(lambda: state() == "deactivating", "the end")
        self.assertEchoes(s, b"still there?")
        s.close()
        # Sooner than the drain's own end.
        wait_for(lambda: state() == "inactive", "the end", 10)
        self.assertEqual(prop("Result"), "success")

    def test_draining_has_an_end(self):
        write_config(configuration(self.server.port, rest="drain_timeout = 1;"))
        self.start()
        s = self.connect()
        self.assertEchoes(s)
        systemctl("stop", UNIT, timeout=20)
        self.assertEqual((state(), prop("Result")), ("inactive", "success"))
        self.assertEqual(clients.read_all(s), b"")

    def tearDown(self):
        self.stop()
        write_config(self.config())


class Failing(SystemTest):
    def test_bad_configuration_is_not_tried_again(self):
        write_config(configuration(self.server.port, broker="nonsense = 1;"))
        cursor = journal_cursor()
        done = systemctl("start", UNIT, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual((state(), prop("ExecMainStatus"), prop("NRestarts")), ("failed", str(EXIT_CONFIG), "0"))
        await_entry(cursor, "/etc/espat/espatd.conf:", "nonsense")
        write_config(self.config())
        self.start()
        self.assertWorks()
        self.stop()

    def test_clients_do_not_start_it_for_ever(self):
        """Of an activated socket, with a bad configuration: systemd gives up, and so end the clients."""
        write_config(configuration(self.server.port, broker="nonsense = 1;"))
        (system.DROPINS / "espat-broker.socket").write_text(
            "[Socket]\nListenStream=/run/espat/broker.sock\nFileDescriptorName=broker\nService=espatd.service\n")
        systemctl("daemon-reload")
        systemctl("start", "espat-broker.socket")
        self.connect()
        wait_for(lambda: state("espat-broker.socket") == "failed", "the end of it", 60)
        self.assertEqual(state(), "failed")
        systemctl("reset-failed", "espat-broker.socket", UNIT)
        write_config(self.config())
        systemctl("start", "espat-broker.socket")
        self.assertEchoes(self.connect())

    def test_crash(self):
        dropin("soon", SOON)
        self.start()
        before = main_pid()
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: main_pid() not in (0, before) and state() == "active", "another process")
        self.await_sockets()
        wait_for(self.works, "its service")
        self.assertEqual(prop("NRestarts"), "1")
        self.stop()

    @staticmethod
    def works():
        try:
            return system.exchange_as("alice", socket_path())
        except ConnectionRefusedError:
            return None

    def tearDown(self):
        systemctl("stop", "espat-broker.socket", UNIT, check=False)
        systemctl("reset-failed", UNIT, check=False)
        (system.DROPINS / "espat-broker.socket").unlink(missing_ok=True)
        system.remove_dropins()


class Watchdog(SystemTest):
    def test_a_stopped_loop_is_killed_and_started_again(self):
        dropin("soon", SOON + "WatchdogSec=2\n")
        self.start()
        # It is served: otherwise the next lines would be true of any daemon.
        for _ in range(3):
            last = prop("WatchdogTimestampMonotonic")
            wait_for(lambda: prop("WatchdogTimestampMonotonic") != last, "a sign of life", 4)
        before = main_pid()
        cursor = journal_cursor()
        os.kill(before, signal.SIGSTOP)
        wait_for(lambda: main_pid() not in (0, before) and state() == "active", "another process", 15)
        self.assertTrue(await_entry(cursor, "Watchdog timeout"))
        self.assertEqual(prop("NRestarts"), "1")
        wait_for(Failing.works, "its service")
        self.stop()


class Credentials(SystemTest):
    """What root alone can read."""

    DROPIN = """[Service]
LoadCredential=wifi:/etc/espat/root/wifi.secret
LoadCredential=gateway.key:/etc/espat/root/client.key
"""

    @classmethod
    def config(cls):
        return configuration(cls.server.port, password="credential:wifi", key="credential:gateway.key")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, text in ("wifi.secret", PASSWORD + "\n"), ("client.key", (system.PKI / "client.key").read_text()):
            system.write_private(system.ETC / "root" / name, text, owner="root")
        (system.ETC / "root").chmod(0o700)

    def tearDown(self):
        self.stop()
        systemctl("reset-failed", UNIT, check=False)

    def test_used(self):
        dropin("credentials", self.DROPIN)
        self.start()
        self.assertWorks()

    def test_missing(self):
        system.remove_dropins()
        cursor = journal_cursor()
        self.assertNotEqual(systemctl("start", UNIT, check=False).returncode, 0)
        self.assertEqual(prop("ExecMainStatus"), str(EXIT_CONFIG))
        await_entry(cursor, "/etc/espat/espatd.conf:", "wifi")


class Reload(SystemTest):
    def setUp(self):
        self.start()
        self.cursor = journal_cursor()
        self.pid = main_pid()

    def tearDown(self):
        self.assertEqual(main_pid(), self.pid)
        self.stop()
        for path in (system.ETC / "conf.d").glob("*"):
            path.unlink()
        write_config(self.config())

    def test_another_tunnel(self):
        s = self.connect()
        self.assertEchoes(s)
        write_config(configuration(self.server.port, tunnels=", " + tunnel("second", self.server.port)))
        systemctl("reload", UNIT)
        self.await_sockets("second")
        self.assertWorks("second")
        self.assertEchoes(s, b"not touched")
        write_config(self.config())
        systemctl("reload", UNIT)
        wait_for(lambda: not socket_path("second").exists(), "the end of the second socket")
        self.assertEchoes(s, b"nor now")

    def test_drop_in(self):
        path = system.ETC / "conf.d" / "50-second.conf"
        path.write_text("tunnels = ( " + tunnel("second", self.server.port) + " );\n")
        systemctl("reload", UNIT)
        self.await_sockets("second")
        self.assertWorks("second")

    def test_refused_as_a_whole(self):
        s = self.connect()
        self.assertEchoes(s)
        write_config(configuration(self.server.port, tunnels=", " + tunnel("second", self.server.port) +
                                   ", " + tunnel("third", self.server.port, 'colour = "red";')))
        done = systemctl("reload", UNIT, check=False)
        self.assertNotEqual(done.returncode, 0)
        # The one who asked is told where and why: busctl's own word, besides the daemon's.
        entry = await_entry(self.cursor, "/etc/espat/espatd.conf:", "colour",
                            wanted=lambda e: e.get("SYSLOG_IDENTIFIER") == "busctl")
        self.assertRegex(entry["MESSAGE"], r"espatd\.conf:\d+")
        self.assertEqual(state(), "active")
        self.assertEchoes(s, b"the old one stays")
        self.assertFalse(socket_path("second").exists())
        self.assertWorks()
        write_config(self.config())
        systemctl("reload", UNIT)

    def test_hangup_is_a_reload_too(self):
        write_config(configuration(self.server.port, tunnels=", " + tunnel("second", self.server.port)))
        os.kill(main_pid(), signal.SIGHUP)
        self.await_sockets("second")
        self.assertWorks("second")


class Activation(SystemTest):
    """By D-Bus."""

    def test_a_call_starts_it(self):
        self.assertEqual(state(), "inactive")
        self.assertEqual(system.manager("ListTunnels", user="mallory"), [["broker", system.TUNNEL]])
        self.assertEqual(state(), "active")
        self.await_sockets()
        self.assertWorks()

    def test_systemd_knows_its_name(self):
        self.assertEqual(prop("BusName"), system.BUS)

    def tearDown(self):
        self.stop()


class BusRestart(RunningTest):
    def test_the_bus_comes_back(self):
        """A new bus, a new connection; the tunnels never notice."""
        s = self.connect()
        self.assertEchoes(s)
        pid = main_pid()
        systemctl("restart", "dbus.service")
        wait_for(system.has_owner, "the name on the new bus", harness.DEADLINE)
        self.assertEqual(system.get("Device", "Name", system.DEVICE), "esp0")
        self.assertEchoes(s, b"still there?")
        self.assertEqual(main_pid(), pid)
