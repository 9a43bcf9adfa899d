# SPDX-License-Identifier: MIT
"""Wi-Fi with all its settings, Enterprise networks, and where the chip gets its time from."""
import ctypes
import os
import socket
import struct
import threading
import time
import tty

import pytest

from bench import tunnel
from clients import works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from harness import PASSWORD
from tlsserver import echo

READY = "^esp0: ready"
FIRST, SECOND = "10:01:00:c4:0a:51", "10:01:00:c4:0a:52"


class UdpServer:
    """Answers what @answer(datagram) returns; None is no answer."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(512)
                self.asked += 1
                answer = self.answer(data)
                if answer:
                    self.socket.sendto(answer, peer)
            except OSError:
                return

    def close(self):
        self.socket.close()


@pytest.fixture
def udp(bench):
    def make(answer):
        bench.parts.append(UdpServer(answer))
        return bench.parts[-1]
    return make


def hosts(bench, *lines):
    with open(bench.dir / "hosts", "a") as f:
        f.writelines(line + "\n" for line in lines)


def sntp_answer(now=time.time):
    """Mode 4 (server), stratum 1, and the time to send; what was sent is given back (RFC 4330)."""
    def answer(query):
        stamp = struct.pack(">II", int(now()) + 2208988800, 0)
        return bytes([0x24, 1, 0, 0]) + bytes(12) + stamp + query[40:48] + stamp + stamp
    return answer


def dns_answer(address):
    """The same address for every name."""
    def answer(query):
        head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0)
        record = struct.pack(">HHHIH", 0xc00c, 1, 1, 60, 4) + socket.inet_aton(address)
        return head + query[12:] + record
    return answer


def by_hand(bench, *commands):
    """What somebody tells the chip before we do."""
    fd = os.open(bench.chip.tty, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(fd)
        for command in commands:
            os.write(fd, command.encode() + b"\r\n")
            got = b""
            while b"\r\nOK\r\n" not in got:
                got += os.read(fd, 1000)
                assert b"ERROR" not in got, (command, got)
    finally:
        os.close(fd)


def again(bench, *tunnels):
    """The daemon is started once more; where the chip's log was by then."""
    assert bench.daemon.end() == 0
    seen = bench.chip.mark()
    bench.espatd(*tunnels).await_line(READY)
    return seen


def order(bench, *commands, after=0):
    """These came, in this order."""
    told = bench.chip.commands(after=after)
    places = [told.index(command) for command in commands]
    assert places == sorted(places), told


# ---- Wi-Fi ----

def test_nothing_more_than_needed(bench, serve):
    there = tunnel(serve(echo))
    bench.up(there)
    bench.chip.await_line(r"AT\+SYSTIMESTAMP\?")
    # What is asked in idle time, from a second after that on, is something else.
    told = [x for x in bench.chip.commands() if x not in ("AT+CWJAP?", "AT+CIPSTA?", "AT+SYSRAM?", "AT+CIPSTATE?")]
    told = told[told.index("AT+CWSTATE?"):]
    assert told[:3] == ["AT+CWSTATE?", "AT+CWDHCP?", f'AT+CWJAP="lab","{PASSWORD}"']
    assert told[3].startswith("AT+SYSTIMESTAMP=") and told[4:] == ["AT+SYSTIMESTAMP?"]
    seen = again(bench, there)
    assert not bench.chip.commands("+CWJAP=", seen)
    assert works(bench.daemon)


def test_settings_before_the_join(bench, serve):
    bench.wifi = {"country": "JP", "hostname": "gate-7", "address": "10.0.2.77",
                  "netmask": "255.255.255.0", "gateway": "10.0.2.2", "dns": ["10.0.2.3"]}
    there = tunnel(serve(echo))
    daemon = bench.up(there)
    assert works(daemon)
    order(bench, 'AT+CWCOUNTRY=1,"JP",1,14', 'AT+CIPSTA="10.0.2.77","10.0.2.2","255.255.255.0"',
          'AT+CIPDNS=1,"10.0.2.3"', 'AT+CWHOSTNAME="gate-7"', f'AT+CWJAP="lab","{PASSWORD}"')
    # All is as it should be: the join is kept.
    seen = again(bench, there)
    assert not bench.chip.commands("+CWJAP=", seen) and not bench.chip.commands("+CIPSTA=", seen)
    # By DHCP again, which needs a new one.
    bench.wifi = {}
    seen = again(bench, there)
    order(bench, "AT+CWDHCP=1,1", "AT+CIPDNS=0", f'AT+CWJAP="lab","{PASSWORD}"', after=seen)
    assert works(bench.daemon)


def test_address_that_somebody_has_left(bench, serve):
    bench.sim()
    bench.chip.await_line("ready")
    by_hand(bench, "AT+CWMODE=1", 'AT+CIPSTA="192.0.2.9","192.0.2.1","255.255.255.0"',
            'AT+CIPDNS=1,"192.0.2.1"')
    daemon = bench.espatd(tunnel(serve(echo))).await_tunnels()
    order(bench, "AT+CWDHCP?", "AT+CWDHCP=1,1", "AT+CIPDNS=0", f'AT+CWJAP="lab","{PASSWORD}"')
    assert works(daemon)
    # It is still in the chip's flash, and comes back with a reset.
    seen, told = daemon.mark(), bench.chip.mark()
    bench.chip.fault("reset")
    daemon.await_line(READY, seen)
    assert bench.chip.commands("+CWDHCP=1,1", told)
    assert works(daemon)


def test_name_servers(bench, serve, udp):
    server = udp(dns_answer("10.9.9.9"))
    (bench.dir / "hosts").write_text(f"10.9.9.9 127.0.0.1\n10.9.9.53:53 127.0.0.1:{server.port}\n")
    bench.wifi = {"dns": ["10.9.9.53"]}
    daemon = bench.up(tunnel(serve(echo)))
    assert works(daemon)
    assert server.asked


def test_access_point_by_its_address(bench, serve):
    bench.wifi = {"bssid": SECOND.upper()}
    there = tunnel(serve(echo))
    daemon = bench.up(there, sim=["--bssid", FIRST, "--ssid", "lab", "--psk", PASSWORD,
                                  "--bssid", SECOND])
    assert works(daemon)
    assert bench.chip.commands(f'+CWJAP="lab","{PASSWORD}","{SECOND.upper()}"')
    seen = again(bench, there)
    assert bench.chip.commands("+CWJAP?", seen) and not bench.chip.commands("+CWJAP=", seen)
    bench.wifi = {"bssid": FIRST}
    seen = again(bench, there)
    assert bench.chip.commands(f'+CWJAP="lab","{PASSWORD}","{FIRST}"', seen)
    assert works(bench.daemon)


def test_hidden_network(bench, serve):
    bench.wifi = {"hidden": True}
    daemon = bench.up(tunnel(serve(echo)), sim=["--hidden"])
    assert bench.chip.commands(f'+CWJAP="lab","{PASSWORD}",,,,,1')
    assert works(daemon)


def test_ipv6_is_on_before_the_join(bench, serve):
    hosts(bench, "fd00::2 127.0.0.1")
    there = tunnel(serve(echo), host="fd00::2", server_name="broker.test")
    assert works(bench.up(there))
    order(bench, "AT+CIPV6=1", f'AT+CWJAP="lab","{PASSWORD}"')
    # The address is there before the clients are let in.
    bench.chip.await_line("WIFI GOT IPv6 GL", timeout=1)
    seen = again(bench, there)
    assert bench.chip.commands("+CIPV6?", seen) and not bench.chip.commands("+CWJAP=", seen)
    assert works(bench.daemon)


@pytest.mark.parametrize("ssid, why", [("nowhere", "no such access point in range"),
                                       ("lab", "wrong password")])
def test_failure_in_words(bench, ssid, why):
    bench.wifi = {"ssid": ssid}
    (bench.dir / "wifi.secret").write_text("not-the-password\n")
    bench.sim("--join-fail-ms", "20")
    daemon = bench.espatd(tunnel(7))
    daemon.await_line(f'cannot join Wi-Fi "{ssid}": {why}')
    if ssid == "lab":
        (bench.dir / "wifi.secret").write_text(PASSWORD + "\n")
        daemon.await_line(READY)


# ---- Enterprise ----

ENTERPRISE = {"ssid": "corp", "password_file": None,
              "enterprise": {"identity": "chip@corp", "credential": "gateway", "authority": "corp"}}


def test_enterprise(bench, serve):
    bench.wifi = ENTERPRISE
    daemon = bench.up(tunnel(serve(echo)), sim=["--with-eap", "--ssid", "corp", "--eap",
                                                "--eap-identity", "chip@corp",
                                                "--eap-ca", f"{bench.pki}/ca.pem"])
    assert works(daemon)
    told = [command.split("=")[0] for command in bench.chip.commands()]
    # By the time of 1970 the chip would not trust anybody.
    assert told.index("AT+SYSTIMESTAMP") < told.index("AT+CWJEAP")
    assert bench.chip.commands('+CWJEAP="corp",0,"chip@corp",,,3')
    seen, mark = daemon.mark(), bench.chip.mark()
    bench.chip.fault("wifi-drop 1")
    daemon.await_line("Wi-Fi is gone", seen)
    daemon.await_line('joined "corp"', seen)
    assert works(daemon)
    assert not bench.chip.commands("+CWJEAP", mark)


def test_enterprise_that_does_not_want_us(bench):
    bench.wifi = ENTERPRISE
    bench.sim("--with-eap", "--join-fail-ms", "20", "--ssid", "corp", "--eap",
              "--eap-identity", "somebody-else")
    daemon = bench.espatd(tunnel(7))
    daemon.await_line('cannot join Wi-Fi "corp": timed out .no such network in range, or a cert')


def test_firmware_without_enterprise(bench):
    bench.wifi = ENTERPRISE
    bench.sim()
    bench.espatd(tunnel(7)).await_line("this firmware has no AT.CWJEAP: enterprise Wi-Fi needs a")
    assert not bench.chip.commands("+SYSMFG")


# ---- time ----

def with_time_server(bench, server):
    hosts(bench, "time.test 10.9.9.123", f"10.9.9.123:123 127.0.0.1:{server.port}")
    bench.device = {"time": "sntp", "ntp_servers": ["time.test"]}


def test_time_server(bench, serve, udp):
    server = udp(sntp_answer())
    with_time_server(bench, server)
    daemon = bench.up(tunnel(serve(echo)))
    assert works(daemon)  # verified, so the clock is right
    assert server.asked == 1
    order(bench, f'AT+CWJAP="lab","{PASSWORD}"', 'AT+CIPSNTPCFG=1,0,"time.test"',
          "AT+SYSTIMESTAMP?")
    assert not bench.chip.commands("+SYSTIMESTAMP=")
    # A reset leaves the chip its clock; it is asked for all the same.
    seen = daemon.mark()
    bench.chip.fault("reset")
    daemon.await_line(READY, seen)
    assert server.asked >= 2
    assert works(daemon)


def test_time_server_that_is_late(bench, serve, udp):
    right = sntp_answer()
    server = udp(lambda query: right(query) if server.asked > 1 else None)
    with_time_server(bench, server)
    bench.sim()
    daemon = bench.espatd(tunnel(serve(echo)))
    daemon.await_line('joined "lab"')
    assert not daemon.matching(READY)
    daemon.await_line(READY, timeout=29)
    assert not daemon.matching("no answer from the time servers")
    assert works(daemon)


def test_time_server_of_another_age(bench, serve, udp):
    server = udp(sntp_answer(lambda: 1600000000))
    with_time_server(bench, server)
    bench.sim()
    daemon = bench.espatd(tunnel(serve(echo)))
    daemon.await_line("the time servers say a time that is long past")
    assert not daemon.matching(READY)
    server.answer = sntp_answer()
    daemon.await_line(READY)
    assert works(daemon)


def test_time_server_that_somebody_has_left(bench, serve, udp):
    """It would go on to set the clock, once an hour, to whatever it likes."""
    server = udp(sntp_answer(lambda: 1600000000))
    hosts(bench, f"10.9.9.123:123 127.0.0.1:{server.port}")
    bench.sim()
    bench.chip.await_line("ready")
    by_hand(bench, "AT+CWMODE=1", 'AT+CIPSNTPCFG=1,0,"10.9.9.123"')
    daemon = bench.espatd(tunnel(serve(echo))).await_tunnels()
    bench.chip.await_line(r"AT\+CIPSNTPCFG=0")
    after = bench.chip.log().index(bench.chip.matching(r"AT\+CIPSNTPCFG=0")[0])
    bench.chip.await_line(r"AT\+SYSTIMESTAMP=", after=after)
    assert works(daemon)


class Timex(ctypes.Structure):
    _fields_ = [("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
                ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long), ("status", ctypes.c_int),
                ("rest", ctypes.c_char * 256)]


def host_is_synchronized():
    timex = Timex()
    return ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) >= 0 and not timex.status & 0x40


def test_host_that_must_be_synchronized(bench, serve):
    """Whichever this host is."""
    bench.device = {"require_synchronized": True}
    bench.sim()
    daemon = bench.espatd(tunnel(serve(echo)))
    if host_is_synchronized():
        daemon.await_line(READY)
        assert works(daemon)
        return
    daemon.await_line("the host's own clock is not synchronized.*waiting")
    assert not bench.chip.commands("+SYSTIMESTAMP")
    assert not daemon.matching(READY)
