# SPDX-License-Identifier: MIT
"""Who may connect, and the sockets that systemd keeps."""
import os
import socket
import threading

import clients
import harness
import system
from harness import wait_for
from system import (DROPINS, RUN, SIM, UNIT, RunningTest, SystemTest, await_entry, configuration, dropin,
                    exchange_as, journal_cursor, owner, prop, run, socket_path, state, systemctl, tunnel,
                    write_config)


class Access(RunningTest):
    @classmethod
    def config(cls):
        port = cls.server.port
        return configuration(port, tunnels=", " + ", ".join([
            tunnel("acl", port, 'acl_users = [ "mallory" ]; acl_groups = [ "builders" ]; mode = "0600";'),
            tunnel("uids", port, 'allow_uids = [ "alice" ];'),
            tunnel("numbers", port, "allow_uids = [ 1002 ];"),
            tunnel("gids", port, 'allow_gids = [ "builders" ];'),
            tunnel("open", port, 'mode = "0666";'),
        ]))

    @classmethod
    def start(cls):
        super().start("broker", "acl", "uids", "numbers", "gids", "open")

    def outcome(self, user, name):
        try:
            return {"are you there?": "works", None: "closed"}[exchange_as(user, socket_path(name))]
        except PermissionError:
            return "refused"

    def assertOutcomes(self, name, **wanted):
        self.assertEqual({user: self.outcome(user, name) for user in wanted}, wanted)

    def test_mode(self):
        self.assertEqual(owner(socket_path("open")), "espat:espat-clients 0666")
        self.assertOutcomes("open", alice="works", mallory="works")
        self.assertOutcomes("broker", alice="works", mallory="refused")

    def test_acl(self):
        text = run("getfacl", "--omit-header", "--absolute-names", socket_path("acl")).stdout
        self.assertIn("user:mallory:rw", text)
        self.assertIn("group:builders:rw", text)
        # bob is one of the builders; alice is only of espat-clients, which the mode leaves out.
        self.assertOutcomes("acl", mallory="works", bob="works", alice="refused")

    def test_allow_uids_of_two_users(self):
        """Both may connect by the socket's mode, and one of them is served."""
        cursor = journal_cursor()
        self.assertOutcomes("uids", alice="works", bob="closed")
        self.assertTrue(await_entry(cursor, "uids", "1002"))
        self.assertOutcomes("numbers", alice="closed", bob="works")

    def test_allow_gids(self):
        """By a supplementary group of the client."""
        self.assertOutcomes("gids", alice="closed", bob="works")


class Owner(SystemTest):
    def test_another_owner_is_refused_and_told_how(self):
        write_config(configuration(self.server.port, broker='owner = "alice";'))
        done = run("espatd", "--check", "-c", "/etc/espat/espatd.conf", user="espat", check=False)
        self.assertEqual(done.returncode, system.EXIT_CONFIG)
        self.assertIn("espat-broker.socket", done.stderr)
        self.assertIn("SocketUser=", done.stderr)


class Activated(SystemTest):
    """`espat-broker.socket`, made from the example as its comment says, for another owner and group."""

    UNIT = "espat-broker.socket"
    OWNER = "alice:builders 0660"

    def socket_unit(self, more=""):
        text = open("/usr/share/doc/espatd/espat-example.socket").read()
        text = text.replace("=example", "=broker").replace("/example.sock", "/broker.sock")
        text = text.replace("SocketUser=root", "SocketUser=alice")
        text = text.replace("SocketGroup=espat-clients", "SocketGroup=builders" + more)
        (DROPINS / self.UNIT).write_text(text)
        systemctl("daemon-reload")
        systemctl("start", self.UNIT)

    def tearDown(self):
        units = [path.name for path in DROPINS.glob("espat-*.socket")]
        systemctl("stop", *units, UNIT)
        systemctl("reset-failed", *units, UNIT, check=False)
        system.remove_dropins()
        write_config(self.config())

    def test_a_client_starts_the_service(self):
        self.socket_unit()
        self.assertEqual((state(), owner(socket_path())), ("inactive", self.OWNER))
        # bob by the group.
        self.assertWorks(user="bob")
        self.assertEqual((state(), owner(socket_path())), ("active", self.OWNER))
        with self.assertRaises(PermissionError):
            exchange_as("mallory", socket_path())

    def test_stop_leaves_what_is_systemds(self):
        write_config(configuration(self.server.port, tunnels=", " + tunnel("own", self.server.port)))
        self.socket_unit()
        inode = socket_path().stat().st_ino
        self.start("own")
        self.assertWorks(user="bob")
        systemctl("stop", UNIT)
        self.assertEqual(set(os.listdir(RUN)) - {"espatd.lock"}, {"broker.sock"})
        self.assertEqual((owner(socket_path()), socket_path().stat().st_ino), (self.OWNER, inode))
        self.assertEqual(owner(RUN), "espat:espat-clients 2755")
        systemctl("stop", self.UNIT)
        self.assertFalse(socket_path().exists())

    def test_restarts(self):
        """
        Ten, and in each a client that connects while nobody runs: the new process waits before its start
        until the client has sent its words.
        """
        self.socket_unit()
        self.assertWorks(user="bob")
        inode = socket_path().stat().st_ino
        gate = SIM / "gate"
        os.mkfifo(gate, 0o600)
        os.chown(gate, *[int(run("id", flag, "espat").stdout) for flag in ("-u", "-g")])
        dropin("gate", f"[Service]\nExecStartPre=/bin/cat {gate}\n")
        for number in range(10):
            words = b"restart %d" % number
            before = system.main_pid()
            systemctl("restart", "--no-block", UNIT)
            # Whoever opens it for writing has met the one who waits.
            fd = os.open(gate, os.O_WRONLY)
            self.assertEqual((state(), system.main_pid()), ("activating", 0))
            s = self.connect()
            thread = clients.send_in_background(s, words)
            os.close(fd)
            self.assertEqual(clients.read_exactly(s, len(words)), words)
            thread.join()
            s.close()
            self.assertNotIn(system.main_pid(), (0, before))
            self.assertEqual((owner(socket_path()), socket_path().stat().st_ino), (self.OWNER, inode))

    def test_restarts_at_random_moments(self):
        """Nobody is refused, whoever accepts him; who was with the old process may lose it."""
        self.socket_unit()
        self.assertWorks(user="bob")
        stop, refused, served = threading.Event(), [], []

        def come_and_go():
            while not stop.is_set():
                try:
                    with socket.socket(socket.AF_UNIX) as s:
                        s.settimeout(harness.DEADLINE)
                        s.connect(str(socket_path()))
                        s.sendall(b"x")
                        if s.recv(1) == b"x":
                            served.append(1)
                except (ConnectionRefusedError, FileNotFoundError) as error:
                    refused.append(error)
                except OSError:
                    pass

        thread = threading.Thread(target=come_and_go)
        thread.start()
        try:
            for _ in range(3):
                some = len(served)
                systemctl("restart", UNIT)
                wait_for(lambda: len(served) > some, "a client that is served again")
        finally:
            stop.set()
            thread.join()
        self.assertEqual(refused, [])
        self.assertEqual(owner(socket_path()), self.OWNER)

    def test_loopback(self):
        """The service has no network; systemd's socket has."""
        self.socket_unit("\nListenStream=127.0.0.1:8883")
        with socket.create_connection(("127.0.0.1", 8883), harness.DEADLINE) as s:
            self.assertEchoes(s)
        self.assertWorks(user="bob")
        self.assertEqual(prop("PrivateNetwork"), "yes")

    def test_loopback_with_allow_uids_is_a_mistake(self):
        write_config(configuration(self.server.port, broker='allow_uids = [ "alice" ];'))
        self.socket_unit("\nListenStream=127.0.0.1:8883")
        cursor = journal_cursor()
        self.assertNotEqual(systemctl("start", UNIT, check=False).returncode, 0)
        self.assertEqual(prop("ExecMainStatus"), str(system.EXIT_CONFIG))
        await_entry(cursor, "allow_uids")

    def test_a_socket_of_no_tunnel_is_told(self):
        (DROPINS / "espat-nobody.socket").write_text(
            "[Socket]\nListenStream=/run/espat/nobody.sock\nRemoveOnStop=yes\nFileDescriptorName=nobody\nService=espatd.service\n")
        systemctl("daemon-reload")
        systemctl("start", "espat-nobody.socket")
        cursor = journal_cursor()
        self.start()
        await_entry(cursor, "nobody")
        self.assertWorks()
