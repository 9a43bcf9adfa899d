#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the espat-sim binary: its ways in, its flash file, its TLS server, noise, faults at run time.

  test-espat-sim.py SIM
"""
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench import Line  # noqa: E402

EC = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1')
JOIN = ('ATE0', 'AT+CWMODE=1', 'AT+CWJAP="Espressif",""')


class Sim:
    def __init__(self, sim, *args):
        self.p = subprocess.Popen([sim, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.path = self.p.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.terminate()
        assert self.p.wait(10) == 0, self.p.stderr.read()
        self.p.stdout.close()
        self.p.stderr.close()


class Socket(Line):
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.fd, self.buf = self.sock.fileno(), b''


def eventually(what, check, seconds=5):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def refuses(sim, *args):
    r = subprocess.run([sim, *args], capture_output=True, text=True, timeout=10)
    assert r.returncode in (1, 2) and r.stderr, (args, r)
    return r.stderr


def test_options(sim, tmp):
    bad = os.path.join(tmp, 'bad')
    with open(bad, 'w') as f:
        f.write('broker.test 10.0.2.2\nbroker.test\n')
    assert ':2: expected' in refuses(sim, '--hosts', bad)
    assert 'not a flash' in refuses(sim, '--state', bad)
    assert '--firmware 9' in refuses(sim, '--firmware', '9')
    with open(bad, 'w') as f:
        f.write('cmd AT fly\n')
    assert ':1: no such action' in refuses(sim, '--faults', bad)
    for args in (['--baud', 'x'], ['--psk', 'secret88'], ['--hidden'], ['--bssid', '02:00:00:00:00:01'],
                 ['--eap'], ['--ssid', 'a', '--eap-identity', 'x'], ['--ssid', 'a', '--eap', '--psk', 'secret88'],
                 ['--ssid', 'a', '--psk', 'secret88', '--eap'], ['--ssid', 'a', '--eap', '--eap-ca', bad],
                 ['--ssid', 'a', '--eap', '--eap-ca', os.path.join(tmp, 'nothing')],
                 ['--ssid', 'a', '--bssid', '02:00:00:00:01'], ['--ssid', 'a', '--bssid', '00:00:00:00:00:00'], ['--listen', 'tcp:1'], ['extra'], ['--ssid', 'a,900'], ['--nonsense']):
        refuses(sim, *args)


def test_link_and_flash(sim, tmp):
    link, state = os.path.join(tmp, 'tty'), os.path.join(tmp, 'flash')
    for start in range(2):
        with Sim(sim, '--tty', link, '--state', state, '--ssid', 'lab,6', '--psk', 'secret88') as s:
            assert os.path.realpath(link) == s.path
            line = Line(link, 115200)
            if start:
                line.until(rb'WIFI GOT IP\r\n')
                line.command('ATE0')
                line.command('AT+SYSMFG=1,"client_ca","client_ca.0"', rb'8,5,hello\r\n\r\nOK\r\n')
                continue
            line.until(rb'ready\r\n')
            for c in ('ATE0', 'AT+CWMODE=1', 'AT+CWJAP="lab","secret88"'):
                line.command(c)
            line.command('AT+SYSMFG=2,"client_ca","client_ca.0",8,5', rb'>')
            line.write(b'hello')
            line.until(rb'\r\nOK\r\n')
            os.close(line.fd)
            # Closed and opened again: the chip is the same, and nothing old is read.
            line = Line(link, 115200)
            line.write(b'AT+CWSTATE?\r\n')
            line.until(rb'^\+CWSTATE:2,"lab"\r\n\r\nOK\r\n')
        assert not os.path.lexists(link)


def test_access_points(sim, tmp):
    aps = ['--ssid', 'lab,6', '--psk', 'secret88', '--ssid', 'lab,11', '--psk', 'other-88', '--bssid', '02:00:00:00:00:AB',
           '--ssid', 'cellar', '--hidden']
    with Sim(sim, *aps) as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        for c in ('ATE0', 'AT+CWMODE=1'):
            line.command(c)
        line.command('AT+CWLAP', rb'^\+CWLAP:\(3,"lab",-27,"10:01:00:c4:0a:51",6,[^\n]*\n'
                                 rb'\+CWLAP:\(3,"lab",-33,"02:00:00:00:00:ab",11,[^\n]*\n\r\nOK\r\n')
        line.command('AT+CWJAP="lab","other-88"', rb'^\+CWJAP:2\r\n\r\nERROR\r\n')
        line.command('AT+CWJAP="lab","other-88","02:00:00:00:00:ab"')
        line.command('AT+CWJAP="cellar",""')
        line.buf = b''
        line.command('AT+CWJAP?', rb'^\+CWJAP:"cellar","10:01:00:c4:0a:53",1,')


def signed(tmp, name, ca):
    """A client certificate of that CA (made if it is new): paths without ending, which are .crt and .key."""
    run = lambda *a: subprocess.run(['openssl', *a], check=True, stderr=subprocess.DEVNULL)
    if not os.path.exists(f'{tmp}/{ca}.crt'):
        run('req', '-x509', *EC, '-nodes', '-keyout', f'{tmp}/{ca}.key', '-out', f'{tmp}/{ca}.crt', '-subj', f'/CN={ca}',
            '-days', '2')
    run('req', *EC, '-nodes', '-keyout', f'{tmp}/{name}.key', '-out', f'{tmp}/{name}.csr', '-subj', f'/CN={name}')
    run('x509', '-req', '-in', f'{tmp}/{name}.csr', '-CA', f'{tmp}/{ca}.crt', '-CAkey', f'{tmp}/{ca}.key', '-CAcreateserial', '-out',
        f'{tmp}/{name}.crt', '-days', '2')


def content(path):
    with open(path, 'rb') as f:
        return f.read()


def test_enterprise(sim, tmp):
    """What the access point's server and the chip check: certificate, key, CA, and by whose clock."""
    ok, failed = rb'WIFI GOT IP\r\n\r\nOK\r\n', rb'^\+CWJEAP:Timeout\r\n\r\nERROR\r\n'
    signed(tmp, 'good', 'ca')
    signed(tmp, 'foreign', 'ca2')
    with Sim(sim, '--with-eap', '--join-fail-ms', '20', '--ssid', 'corp,6', '--eap', '--eap-identity', 'chip@corp', '--eap-ca', f'{tmp}/ca.crt',
             '--ssid', 'any', '--eap') as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        for c in ('ATE0', 'AT+CWMODE=1'):
            line.command(c)
        line.command('AT+SYSMFG=1,"wpa2_cert"', rb'^\+SYSMFG:"wpa2_cert","wpa2_cert",8\r\n\r\nOK\r\n')
        # The factory's certificate and key belong together; its CA is not valid in 1970.
        line.command('AT+CWJEAP="any",0,"x",,,1', ok)
        line.command('AT+CWJEAP="corp",0,"chip@corp",,,1', rb'Timeout\r\n\r\nERROR\r\n')
        line.command('AT+CWJEAP="any",0,"x",,,3', failed)
        line.command('AT+SYSTIMESTAMP=%d' % time.time())
        line.command('AT+CWJEAP="any",0,"x",,,3', ok)
        for name, key, good in (('good', 'good', True), ('good', 'foreign', False), ('foreign', 'foreign', False), ('good', 'good', True)):
            write_key(line, 'wpa2_cert', 'wpa2_cert', content(f'{tmp}/{name}.crt'))
            write_key(line, 'wpa2_key', 'wpa2_key', content(f'{tmp}/{key}.key'))
            line.buf = b''
            line.command('AT+CWQAP')
            line.buf = b''
            line.command('AT+CWJEAP="corp",0,"chip@corp",,,1', ok if good else failed)
        line.command('AT+CWJEAP="corp",0,"other@corp",,,1', rb'Timeout\r\n\r\nERROR\r\n')
        write_key(line, 'wpa2_ca', 'wpa2_ca', b'no certificate')
        line.command('AT+CWJEAP="corp",0,"chip@corp",,,1', ok)
        line.command('AT+CWJEAP="corp",0,"chip@corp",,,3', rb'Timeout\r\n\r\nERROR\r\n')
        line.command('AT+CWJAP="corp","secret88"', rb'^\+CWJAP:2\r\n\r\nERROR\r\n')


def test_killed(sim, tmp):
    """SIGKILL among writes: what was answered is there, of the one under way all or nothing; no litter."""
    state, value, done = os.path.join(tmp, 'state'), 0, 0
    for _ in range(4):
        p = subprocess.Popen([sim, '--state', state], stdout=subprocess.PIPE, text=True)
        line = Line(p.stdout.readline().strip(), 115200)
        line.until(rb'ready\r\n')
        line.command('ATE0')
        if value:
            line.write(b'AT+SYSMFG=1,"client_ca","key",0,8\r\n')
            line.until(rb'^\+SYSMFG:"client_ca","key",8,8,')
            line.until(rb'\r\n\r\nOK\r\n')
            line.write(b'AT+SYSMFG=1,"client_ca","key"\r\n')
            eventually('all of it', lambda: line_has(line, 8036))
            assert any(b'%08d' % v * 1000 in line.buf for v in (done, value)), (done, value, line.buf[:60])
            line.buf = b''
        for _ in range(20):
            value += 1
            line.command('AT+SYSMFG=2,"client_ca","key",8,8000', rb'>')
            line.write(b'%08d' % value * 1000)
            if value % 20:
                line.until(rb'\r\nOK\r\n')
                done = value
        p.kill()
        p.wait()
        p.stdout.close()
        os.close(line.fd)
    assert set(os.listdir(tmp)) <= {'state', 'state.tmp'}


def line_has(line, size):
    if select.select([line.fd], [], [], 0)[0]:
        line.buf += os.read(line.fd, 65536)
    return len(line.buf) >= size


def test_host_gone(sim, tmp):
    """A chip that talks to nobody drops what it says, uses no CPU, and answers the next one."""
    with Sim(sim) as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        for _ in range(200):
            line.write(b'AT+CMD?\r\n')      # until both ends' buffers are full of answers that nobody reads
        time.sleep(0.1)
        os.close(line.fd)
        time.sleep(0.1)
        before = cpu(s.p.pid)
        time.sleep(0.5)
        assert cpu(s.p.pid) - before < 0.1
        line = Line(s.path, 115200)
        eventually('the chip answers', lambda: answers(line))
        os.close(line.fd)


def test_opened_again(sim, tmp):
    """A host that goes in the middle of a command, and one that goes on with it at once: it is answered."""
    with Sim(sim) as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        line.command('ATE0')
        unanswered = 0
        for i in range(200):
            line.write(b'AT+CIPST')
            os.close(line.fd)
            # A few microseconds, each time others: the simulator is anywhere between seeing it go and reading that.
            end = time.perf_counter_ns() + i % 40 * 1000
            while time.perf_counter_ns() < end:
                pass
            line.fd = os.open(s.path, os.O_RDWR | os.O_NOCTTY)
            line.write(b'AMAC?\r\n')
            try:
                line.until(rb'^\+CIPSTAMAC:"[^"]*"\r\n\r\nOK\r\n', 3)
            except SystemExit:
                # On a busy host one in some thousand was, and why is not known.
                unanswered += 1
                line.command('AT')
                line.buf = b''
        assert unanswered <= 1, f'{unanswered} of 200 were not answered'
        os.close(line.fd)


def cpu(pid):
    with open(f'/proc/{pid}/stat') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def test_socket(sim, tmp):
    path = os.path.join(tmp, 'sock')
    with Sim(sim, '--listen', f'unix:{path}', '--mac', '24:0a:c4:00:00:07') as s:
        assert s.path == path
        line = Socket(path)
        line.until(rb'ready\r\n')
        line.command('AT+CIPSTAMAC?', rb'"24:0a:c4:00:00:07"\r\n\r\nOK\r\n')


def echo(line, stop):
    """The program behind the chip: echoes what inbound clients send; HTTP requests get a reply and a close."""
    head = re.compile(rb'\r\n\+IPD,(\d),(\d+):')
    while not stop.is_set():
        m = head.search(line.buf)
        if not m or len(line.buf) < m.end() + int(m[2]) + 2:
            if select.select([line.fd], [], [], 0.1)[0]:
                line.buf += os.read(line.fd, 65536)
            continue
        link, data = m[1].decode(), line.buf[m.end():m.end() + int(m[2])]
        line.buf = line.buf[m.end() + int(m[2]) + 2:]
        http = data.startswith(b'GET ')
        if http:
            data = b'HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nespat\n'
        line.command(f'AT+CIPSEND={link},{len(data)}', rb'>')
        line.write(data)
        line.until(rb'SEND OK\r\n')
        if http:
            line.write(f'AT+CIPCLOSE={link}\r\n'.encode())
            line.until(rb'(OK|ERROR)\r\n')


def test_server(sim, tmp):
    port = free_port()
    with Sim(sim) as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        for c in (*JOIN, 'AT+CIPMUX=1', 'AT+CIPSERVERMAXCONN=2', f'AT+CIPSERVER=1,{port},"SSL",0'):
            line.command(c)
        client = subprocess.Popen(['openssl', 's_client', '-quiet', '-tls1_2', '-connect', f'127.0.0.1:{port}'],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line.until(rb'0,CONNECT\r\n')
        client.stdin.write(b'hello chip\n')
        client.stdin.flush()
        line.until(rb'\r\n\+IPD,0,11:hello chip\n\r\n')
        line.command('AT+CIPSEND=0,11', rb'>')
        line.write(b'hello chip\n')
        line.until(rb'SEND OK\r\n')
        assert client.stdout.readline() == b'hello chip\n'
        if shutil.which('curl'):
            stop = threading.Event()
            t = threading.Thread(target=echo, args=(line, stop))
            t.start()
            try:
                r = subprocess.run(['curl', '-sk', '--max-time', '10', f'https://127.0.0.1:{port}/'], capture_output=True)
            finally:
                stop.set()
                t.join()
            assert r.stdout == b'espat\n', r
        # Over the limit: dropped without a word. The first client and one more are the two.
        second = socket.create_connection(('127.0.0.1', port))
        import ssl
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
        second = ctx.wrap_socket(second)
        line.until(rb'1,CONNECT\r\n')
        third = socket.create_connection(('127.0.0.1', port))
        assert third.recv(1) == b''
        second.close()
        line.until(rb'1,CLOSED\r\n')
        # CIPSTO closes an idle one.
        line.command('AT+CIPSTO=1')
        line.until(rb'0,CLOSED\r\n')
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()
        line.command('AT+CIPSERVER=0')
        # With CA, a client that shows no certificate never appears.
        line.command(f'AT+CIPSERVER=1,{port},"SSL",1')
        try:
            with ctx.wrap_socket(socket.create_connection(('127.0.0.1', port))) as c:
                assert c.recv(1) == b''
        except (ssl.SSLError, ConnectionError):
            pass
        line.command('AT+CIPSTATE?', rb'^\r\nOK\r\n')


def test_names(sim, tmp):
    hosts, port = os.path.join(tmp, 'hosts'), free_port()
    with open(hosts, 'w') as f:
        f.write('# names\nbroker.test 10.0.2.2\nslow.test -\n10.0.2.2 127.0.0.1\n')
    with Sim(sim, '--hosts', hosts, '--dns-timeout-ms', '50') as s, socket.create_server(('127.0.0.1', port)) as server:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        for c in JOIN:
            line.command(c)
        line.command('AT+CIPDOMAIN="broker.test"', rb'^\+CIPDOMAIN:"10.0.2.2"\r\n\r\nOK\r\n')
        line.command('AT+CIPDOMAIN="other.test"', rb'^\r\nERROR\r\n')
        line.command('AT+CIPDOMAIN="slow.test"', rb'^\r\nERROR\r\n')
        line.command(f'AT+CIPSTART="TCP","broker.test",{port}', rb'^CONNECT\r\n\r\nOK\r\n')
        server.accept()[0].close()
        line.until(rb'CLOSED\r\n')
        # Nothing leaves loopback that is not told to.
        line.command('AT+CIPSTART="TCP","192.0.2.1",80', rb'^\r\nERROR\r\n')


def has_ipv6():
    try:
        socket.create_server(('::1', 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


def self_signed(tmp, *names):
    """A certificate and its key; names are those of subjectAltName. The certificate's bytes."""
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', f'{tmp}/k', '-out', f'{tmp}/c',
                    '-subj', '/CN=host.test', '-days', '2', *(('-addext', 'subjectAltName=' + ','.join(names)) if names else ())],
                   check=True, stderr=subprocess.DEVNULL)
    with open(f'{tmp}/c', 'rb') as f:
        return f.read()


class TlsServer:
    """Accepts TLS connections, says hello, closes."""

    def __init__(self, tmp, address='127.0.0.1'):
        import ssl
        self.ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ctx.load_cert_chain(f'{tmp}/c', f'{tmp}/k')
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        self.listener = socket.create_server((address, 0), family=family)
        self.port = self.listener.getsockname()[1]
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        while not self.ended.is_set():
            try:
                with self.ctx.wrap_socket(self.listener.accept()[0], server_side=True) as c:
                    c.sendall(b'hello')
            except OSError:
                pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        socket.create_connection(self.listener.getsockname()[:2]).close()
        self.thread.join()
        self.listener.close()


def write_key(line, ns, key, data):
    line.command(f'AT+SYSMFG=2,"{ns}","{key}",8,{len(data)}', rb'>')
    line.write(data)
    line.until(rb'\r\nOK\r\n')


def test_loopback_only(sim, tmp):
    """Whatever routes this host has: where a connection may not go it is not even tried."""
    with Sim(sim, '-v') as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        for c in ('ATE0', 'AT+CWMODE=1', 'AT+CIPV6=1', 'AT+CWJAP="Espressif",""'):
            line.command(c)
        line.until(rb'WIFI GOT IPv6 GL\r\n')
        for kind, address in ('TCP', '192.0.2.1'), ('TCPv6', '2001:db8::1'), ('UDPv6', 'fe80::1'), ('TCP', '127.0.0.1'), ('TCPv6', '::1'):
            line.command(f'AT+CIPSTART="{kind}","{address}",1', rb'ERROR\r\n')
            said = next(x for x in s.p.stderr if x.startswith('link 0: '))
            here = address in ('127.0.0.1', '::1')
            assert said.startswith(f'link 0: {address} port 1 ' + ('opens' if here else 'has no route')), said


def test_ipv6(sim, tmp):
    """Names, literals and the mapping of both families, to a server of either; what is checked is the chip's address."""
    hosts, real = os.path.join(tmp, 'hosts'), '::1' if has_ipv6() else '127.0.0.1'
    ca = self_signed(tmp, 'DNS:six.test', 'IP:fd00::2')
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(('127.0.0.1', 0))
    udp.settimeout(5)
    with TlsServer(tmp, real) as server, socket.create_server(('127.0.0.1', 0)) as plain:
        with open(hosts, 'w') as f:
            f.write(f'six.test fd00:0::2\nboth.test fd00::3\nboth.test 10.0.2.2\nfour.test 10.0.2.2\n'
                    f'[fd00::2]:8443 {"[::1]" if real == "::1" else real}:{server.port}\n'
                    f'fd00::3 127.0.0.1\n10.0.2.2 127.0.0.1\n')
        with Sim(sim, '--hosts', hosts) as s:
            line = Line(s.path, 115200)
            line.until(rb'ready\r\n')
            for c in ('ATE0', 'AT+CWMODE=1', 'AT+CIPV6=1', 'AT+CWJAP="Espressif",""'):
                line.command(c)
            line.until(rb'WIFI GOT IPv6 GL\r\n')
            line.buf = b''
            for name, net, answer in (('six.test', 1, b'FD00::2'), ('six.test', 2, None), ('six.test', 3, b'FD00::2'),
                                      ('both.test', 1, b'10.0.2.2'), ('both.test', 2, b'10.0.2.2'), ('both.test', 3, b'FD00::3'),
                                      ('four.test', 1, b'10.0.2.2'), ('four.test', 3, None), ('no.test', 1, None)):
                line.command(f'AT+CIPDOMAIN="{name}",{net}', rb'^\+CIPDOMAIN:"' + answer + rb'"\r\n\r\nOK\r\n' if answer else
                             rb'^\r\nERROR\r\n')
            for c in ('AT+SYSTIMESTAMP=%d' % (time.time() + 60), 'AT+CIPSSLCCONF=2,0,0'):
                line.command(c)
            write_key(line, 'client_ca', 'client_ca.0', ca)
            for host, name, good in (('six.test', 'six.test', True), ('fd00::2', 'FD00:0:0::2', True), ('fd00::2', 'fd00::9', False),
                                     ('fd00::2', '10.0.2.2', False)):
                line.command(f'AT+CIPSSLCSNI="{name}"')
                line.command(f'AT+CIPSTART="SSLv6","{host}",8443', rb'CONNECT\r\n\r\nOK\r\n' if good else rb'^\r\nERROR\r\n')
                if good:
                    line.until(rb'\+IPD,5:hello\r\nCLOSED\r\n')
            # Other ports of that address are not mapped.
            line.command('AT+CIPSTART="TCPv6","fd00::2",8444', rb'^\r\nERROR\r\n')
            port = plain.getsockname()[1]
            line.command(f'AT+CIPSTART="TCPv6","both.test",{port}', rb'^CONNECT\r\n\r\nOK\r\n')
            plain.accept()[0].close()
            line.until(rb'CLOSED\r\n')
            line.command(f'AT+CIPSTART="UDPv6","fd00::3",{udp.getsockname()[1]}')
            line.command('AT+CIPSEND=4', rb'>')
            line.write(b'ping')
            line.until(rb'SEND OK\r\n')
            data, peer = udp.recvfrom(10)
            udp.sendto(data, peer)
            line.until(rb'\+IPD,4:ping\r\n')
            line.command('AT+CIPSTATE?', rb'^\+CIPSTATE:0,"UDPv6","FD00::3",\d+,\d+,0\r\n\r\nOK\r\n')
            line.command('AT+PING="six.test"', rb'^\+PING:\d+\r\n\r\nOK\r\n')
            line.command('AT+CIPCLOSE')
            if real == '::1':
                port = free_port()
                line.command('AT+CIPMUX=1')
                line.command(f'AT+CIPSERVER=1,{port},"TCPv6"')
                with socket.create_connection(('::1', port)):
                    line.until(rb'^0,CONNECT\r\n')
                    line.command('AT+CIPSTATE?', rb'^\+CIPSTATE:0,"TCPv6","::1",\d+,%d,1\r\n\r\nOK\r\n' % port)
                    line.command('AT+CIPSERVER?', rb'^\+CIPSERVER:1,%d,"TCPv6",0\r\n' % port)
    udp.close()
    for bad in ('fd00::2 10.0.2.2 x', '[fd00::2 ::1', '[fd00::2]:0 ::1', '[10.0.2.2]:80 ::1', 'six.test fd00::2%lo', 'fd00::2:99999 ::1'):
        with open(hosts, 'w') as f:
            f.write(f'{bad}\n')
        assert ':1: expected' in refuses(sim, '--hosts', hosts), bad


def test_ipv6_dns(sim, tmp):
    """The chip's own DNS: AAAA for IPv6; for either, A first."""
    hosts = os.path.join(tmp, 'hosts')
    dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    dns.bind(('127.0.0.1', 0))
    table = {b'six': {28: bytes.fromhex('fd') + bytes(14) + b'\2'}, b'both': {1: bytes([10, 0, 2, 2]), 28: bytes(15) + b'\1'}}
    asked, ended = [], threading.Event()

    def serve():
        while True:
            q, peer = dns.recvfrom(500)
            if ended.is_set():
                return
            name, kind = q[13:13 + q[12]], q[-3]
            asked.append((name, kind))
            data = table.get(name, {}).get(kind)
            answer = b'\xc0\x0c\0' + bytes([kind]) + b'\0\1\0\0\0\x3c\0' + bytes([len(data)]) + data if data else b''
            dns.sendto(q[:2] + (b'\x81\x80' if name in table else b'\x81\x83') + b'\0\1\0' + bytes([bool(data)]) + bytes(4) + q[12:] + answer,
                       peer)
    t = threading.Thread(target=serve)
    t.start()
    with open(hosts, 'w') as f:
        f.write(f'[fd00::53]:53 127.0.0.1:{dns.getsockname()[1]}\n')
    with Sim(sim, '--hosts', hosts) as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        for c in ('ATE0', 'AT+CWMODE=1', 'AT+CIPV6=1', 'AT+CIPDNS=1,"fd00::53"', 'AT+CWJAP="Espressif",""'):
            line.command(c)
        line.until(rb'WIFI GOT IPv6 GL\r\n')
        line.buf = b''
        for name, net, kinds, answer in (('six', 1, (1, 28), b'FD00::2'), ('six', 2, (1,), None), ('six', 3, (28,), b'FD00::2'),
                                         ('both', 1, (1,), b'10.0.2.2'), ('both', 3, (28,), b'::1'), ('none', 1, None, None)):
            del asked[:]
            line.command(f'AT+CIPDOMAIN="{name}.test",{net}', rb'^\+CIPDOMAIN:"' + answer + rb'"\r\n\r\nOK\r\n' if answer else
                         rb'^\r\nERROR\r\n')
            assert kinds is None or asked == [(name.encode(), k) for k in kinds], asked
    ended.set()
    dns.sendto(b'', dns.getsockname())
    t.join()
    dns.close()


def test_sntp(sim, tmp):
    """A name, its address, and where that address' port 123 really is; a server that says nothing changes nothing."""
    hosts = os.path.join(tmp, 'hosts')
    server, silent = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for s in server, silent:
        s.bind(('127.0.0.1', 0))
        s.settimeout(5)
    with open(hosts, 'w') as f:
        f.write(f'time.test 10.0.2.9\nsilent.test 10.0.2.8\nslow.test -\n10.0.2.9:123 127.0.0.1:{server.getsockname()[1]}\n'
                f'10.0.2.8:123 127.0.0.1:{silent.getsockname()[1]}\n')
    with Sim(sim, '--hosts', hosts) as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        for c in JOIN:
            line.command(c)
        line.command('AT+CIPSNTPCFG=1,0,"silent.test"')
        silent.recvfrom(100)
        line.command('AT+SYSTIMESTAMP?', rb'^\+SYSTIMESTAMP:\d\r\nOK\r\n')
        line.command('AT+CIPSNTPCFG=1,0,"slow.test"', rb'^\r\nOK\r\n')
        line.command('AT+CIPSNTPTIME?', rb'^\+CIPSNTPTIME:Thu Jan  1 00:00:0\d 1970\r\nOK\r\n')
        for seconds, text in (1795418726, b'Mon Nov 23 07:25:2\\d 2026'), (2200000000, b'Sun Sep 18 23:06:4\\d 2039'):
            line.command('AT+CIPSNTPCFG=1,0,"time.test"')
            query, peer = server.recvfrom(100)
            assert len(query) == 48 and query[0] == 0x23, query
            server.sendto(b'\x24\1' + bytes(38) + struct.pack('!II', (seconds + 2208988800) & 0xffffffff, 0), peer)
            line.until(rb'^\+TIME_UPDATED\r\n')
            line.command('AT+CIPSNTPTIME?', rb'^\+CIPSNTPTIME:' + text + rb'\r\nOK\r\n')
        # One without a time of its own is not believed.
        line.command('AT+CIPSNTPCFG=1,0,"time.test"')
        query, peer = server.recvfrom(100)
        server.sendto(b'\x24\0' + bytes(46), peer)
        line.command('AT+CIPSNTPCFG?', rb'^\+CIPSNTPCFG:1,0,"time.test"\r\n\r\nOK\r\n')
    server.close()
    silent.close()


def test_udp(sim, tmp):
    """The peer of a UDP link: the given one, the first other one that writes, or whoever wrote last."""
    peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for p in peers:
        p.bind(('127.0.0.1', 0))
        p.settimeout(5)
    port = [p.getsockname()[1] for p in peers]
    for mode, last in (0, 0), (1, 1), (2, 2):
        with Sim(sim) as s:
            line = Line(s.path, 115200)
            line.until(rb'ready\r\n')
            local = free_port(socket.SOCK_DGRAM)
            for c in (*JOIN, f'AT+CIPSTART="UDP","127.0.0.1",{port[0]},{local},{mode}'):
                line.command(c)
            for i, p in enumerate(peers[:mode + 1]):
                p.sendto(b'from %d' % i, ('127.0.0.1', local))
                line.until(rb'^\r\n\+IPD,6:from %d\r\n' % i)
            if mode < 2:
                peers[2].sendto(b'nobody', ('127.0.0.1', local))
            line.command('AT+CIPSEND=4', rb'^\r\nOK\r\n\r\n>')
            line.write(b'%04d' % mode)
            line.until(rb'SEND OK\r\n')
            assert peers[last].recv(10) == b'%04d' % mode
            line.command('AT+CIPSTATE?', rb'^\+CIPSTATE:0,"UDP","127.0.0.1",%d,' % port[last])
    for p in peers:
        p.close()


def test_faults(sim, tmp):
    control, link = os.path.join(tmp, 'control'), os.path.join(tmp, 'tty2')
    script = os.path.join(tmp, 'script')
    with open(script, 'w') as f:
        f.write('cmd AT+GMR 2 busy   # the second one\n')
    with Sim(sim, '--control', control, '--tty', link, '--faults', script) as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        line.command('ATE0')
        line.command('AT+GMR', rb'Bin version[^\r]*\r\n\r\nOK\r\n')
        line.command('AT+GMR', rb'^\r\nbusy p...\r\n')
        c = socket.socket(socket.AF_UNIX)
        c.connect(control)

        def do(text, answer='ok\n'):
            c.sendall(text.encode() + b'\n')
            got = c.recv(200).decode()
            assert got == answer or answer is None, (text, got)
            return got
        do('fly', 'error: no such action\n')
        do('drop in 2')
        line.write(b'xxAT\r\n')
        line.until(rb'^\r\nOK\r\n')
        do('double out')
        line.write(b'AT\r\n')
        line.until(rb'^\r\r\nOK\r\n')
        do('split 1')
        line.write(b'AT\r\n')
        line.until(rb'^\r\nOK\r\n')
        do('split 0')
        assert re.fullmatch(r'in \d+ lost 0\n', do('stats', None))
        do('clock 1795418726')
        line.command('AT+SYSTIMESTAMP?', rb'^\+SYSTIMESTAMP:179541872\d\r\nOK\r\n')
        do('mfg-erase client_ca client_ca.0')
        do('mfg-erase client_ca client_ca.0', 'error: no such key\n')
        line.command('AT+SYSMFG=1,"client_ca"', rb'^\+SYSMFG:"client_ca","client_ca.1",8\r\n\r\nOK\r\n')
        for command in JOIN[1:]:
            line.command(command)
        do('rssi -80')
        line.command('AT+CWJAP?', rb'^\+CWJAP:"Espressif","[0-9a-f:]*",5,-80,[^\r]*\r\n\r\nOK\r\n')
        do('rssi')
        line.command('AT+CWJAP?', rb'^\+CWJAP:"Espressif","[0-9a-f:]*",5,-24,[^\r]*\r\n\r\nOK\r\n')
        do('heap 20000')
        line.command('AT+SYSRAM?', rb'^\+SYSRAM:20000,19260\r\nOK\r\n')
        do('reset-rom')
        line.until(rb'(?s)rst:0xc.*\r\nready\r\n')
        do('hang')
        line.write(b'AT\r\n')
        do('reset')
        line.until(rb'\r\nready\r\n')
        do('unplug 50')
        eventually('hangup', lambda: hung_up(line.fd))
        os.close(line.fd)
        eventually('replugged', lambda: os.path.exists(link))
        line = Line(link, 115200)
        eventually('the chip answers', lambda: answers(line))


def test_psk(sim, tmp):
    """A pre-shared key as text or in hexadecimal, with CIPSSLCCONF=0; a wrong key, and none, fail."""
    key, port = b'espat, key', free_port()
    server = subprocess.Popen(['openssl', 's_server', '-psk', key.hex(), '-psk_identity', 'chip', '-nocert', '-tls1_2', '-quiet', '-accept',
                               f'127.0.0.1:{port}'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        eventually('s_server listens', lambda: listens(port))
        with Sim(sim) as s:
            line = Line(s.path, 115200)
            line.until(rb'ready\r\n')
            for c in (*JOIN, 'AT+CIPSSLCCONF=0'):
                line.command(c)
            start = f'AT+CIPSTART="SSL","127.0.0.1",{port}'
            for setting, query, good in (('PSK="espat\\, key","chip"', b'PSK:0,espat, key,chip', True),
                                         (f'PSKHEX="{key.hex()}","chip"', b'PSKHEX:0,%s,chip' % key.hex().encode(), True),
                                         ('PSK="espat\\, kex","chip"', b'PSK:0,espat, kex,chip', False),
                                         ('PSKHEX="00ff","chip"', b'PSKHEX:0,00ff,chip', False)):
                line.command(f'AT+CIPSSLC{setting}', rb'^\r\nOK\r\n')
                line.command(f'AT+CIPSSLC{setting.split("=")[0]}?', rb'^\+CIPSSLC' + query + rb'\r\n\r\nOK\r\n')
                line.command(start, rb'^CONNECT\r\n\r\nOK\r\n' if good else rb'^\r\nERROR\r\n')
                if good:
                    line.command('AT+CIPSEND=6', rb'>')
                    line.write(b'hello\n')
                    line.until(rb'SEND OK\r\n')
                    assert server.stdout.readline() == b'hello\n'
                    line.command('AT+CIPCLOSE', rb'^CLOSED\r\n\r\nOK\r\n')
                    # The close has taken the key along.
                    line.command('AT+CIPSSLCPSK?', rb'^\r\nOK\r\n')
                    line.command(start, rb'^\r\nERROR\r\n')
    finally:
        server.kill()
        server.communicate()


def listens(port):
    try:
        socket.create_connection(('127.0.0.1', port)).close()
        return True
    except OSError:
        return False


def test_errno(sim, tmp):
    """5.0 says why a handshake failed: by the flags of the certificate."""
    ca = self_signed(tmp)
    with TlsServer(tmp) as server, Sim(sim, '--firmware', '5.0') as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        for c in (*JOIN, 'AT+SYSLOG=1', f'AT+SYSTIMESTAMP={int(time.time()) + 60}', 'AT+CIPSSLCCONF=2,0,0'):
            line.command(c)
        start = f'AT+CIPSTART="SSL","127.0.0.1",{server.port}'
        line.command(start, rb'^\+ERRNO:0x8\r\n\r\nERROR\r\n')
        write_key(line, 'client_ca', 'client_ca.0', ca)
        for now, flag in (0, b'0x200'), (4000000000, b'0x1'):
            line.command(f'AT+SYSTIMESTAMP={now}')
            line.command(start, rb'^\+ERRNO:' + flag + rb'\r\n\r\nERROR\r\n')
        line.command(f'AT+SYSTIMESTAMP={int(time.time()) + 60}')
        line.command('AT+CIPSSLCSNI="other.test"')
        line.command(start, rb'^\+ERRNO:0x4\r\n\r\nERROR\r\n')
        line.command('AT+CIPSSLCSNI="host.test"')
        line.command(start, rb'^CONNECT\r\n\r\nOK\r\n')


def test_out_faults(sim, tmp):
    """Faults in the middle of the output that make the chip speak: nothing is lost but what the fault takes."""
    script = os.path.join(tmp, 'script')
    with open(script, 'w') as f:
        for i in range(50):
            f.write(f'out {2000 + 97 * i} wifi-drop\n')
        f.write('out 60000 reset\nout 60001 wifi-drop\n')
    with Sim(sim, '--faults', script) as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        for c in JOIN:
            line.command(c)
        for _ in range(5):
            line.write(b'AT+CMD?\r\n')
        line.until(rb'WIFI DISCONNECT\r\n')
        while not re.search(rb'\r\nready\r\n', line.buf):
            line.write(b'AT+CMD?\r\n')
            line.buf = line.buf[-100:] + os.read(line.fd, 65536)
        eventually('the chip answers', lambda: answers(line))


def hung_up(fd):
    try:
        return os.read(fd, 100) == b''
    except OSError:
        return True


def answers(line):
    line.write(b'AT\r\n')
    try:
        line.until(rb'OK\r\n', 0.2)
        return True
    except SystemExit:
        return False


def test_rates(sim, tmp):
    """Bytes are noise while the ends disagree, and UART_CUR moves the chip to the host's new rate."""
    with Sim(sim, '--baud', '115200') as s:
        line = Line(s.path, 115200)
        line.until(rb'ready\r\n')
        line.command('ATE0')
        line.command('AT+UART_CUR=921600,8,1,0,0')
        line.write(b'AT\r\n')
        assert not answers(line)
        a = termios.tcgetattr(line.fd)
        a[4] = a[5] = termios.B921600
        termios.tcsetattr(line.fd, termios.TCSANOW, a)
        line.write(b'\r\n')
        line.until(rb'ERROR\r\n')
        line.buf = b''
        line.command('AT', rb'^\r\nOK\r\n')


def main():
    sim = sys.argv[1]
    for name, test in list(globals().items()):
        if name.startswith('test_'):
            with tempfile.TemporaryDirectory() as tmp:
                began = time.monotonic()
                test(sim, tmp)
                print(f'{name[5:]}: ok ({time.monotonic() - began:.1f} s)', flush=True)


if __name__ == '__main__':
    main()
