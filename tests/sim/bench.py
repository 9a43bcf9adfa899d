#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures espat-sim: one TLS link, down and up, unpaced and at given rates of the line.

  bench.py SIM [--baud N]... [--mb N] [--check]

--check fails when it is slower than 20 MB/s down or 10 MB/s up unpaced, or a paced line is faster than nominal or more
than 0.5 % slower.
"""
import argparse
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import termios
import threading
import time
import tty

RATES = {115200: termios.B115200, 921600: termios.B921600, 3000000: termios.B3000000}


class Line:
    """The host's end of the chip's serial line."""
    def __init__(self, path, baud):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd)
        a = termios.tcgetattr(self.fd)
        a[4] = a[5] = RATES[baud]
        termios.tcsetattr(self.fd, termios.TCSANOW, a)
        self.buf = b''

    def until(self, pattern, seconds=20):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.buf):
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise SystemExit(f'no {pattern!r} in {self.buf[-200:]!r}')
            data = os.read(self.fd, 65536)
            if not data:
                raise SystemExit(f'hung up before {pattern!r}')
            self.buf += data
        m = re.search(pattern, self.buf)
        self.buf = self.buf[m.end():]

    def write(self, data):
        data = memoryview(data)
        while data:
            data = data[os.write(self.fd, data):]

    def command(self, text, pattern=rb'OK\r\n'):
        self.write(text.encode() + b'\r\n')
        self.until(pattern)


def server(tmp):
    """A TLS server: sends as many bytes as a decimal first line asks for, and counts what else it gets."""
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', f'{tmp}/k', '-out', f'{tmp}/c',
                    '-subj', '/CN=bench', '-days', '2'], check=True, stderr=subprocess.DEVNULL)
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(f'{tmp}/c', f'{tmp}/k')
    listener = socket.create_server(('127.0.0.1', 0))
    state = {'got': 0}

    def loop():
        c = ctx.wrap_socket(listener.accept()[0], server_side=True)
        n = int(c.recv(100))
        block = bytes(range(256)) * 256
        while n > 0:
            c.sendall(block[:min(n, len(block))])
            n -= len(block)
        while True:
            b = c.recv(65536)
            if not b:
                return
            state['got'] += len(b)
    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1], state


def measure(sim, baud, down, up):
    with tempfile.TemporaryDirectory() as tmp:
        port, state = server(tmp)
        args = ['--baud', str(baud)] if baud else []
        p = subprocess.Popen([sim, *args], stdout=subprocess.PIPE, text=True)
        try:
            line = Line(p.stdout.readline().strip(), baud or 115200)
            line.until(rb'ready\r\n')
            line.command('ATE0')
            line.command('AT+CWMODE=1')
            line.command('AT+CWJAP="Espressif",""')
            line.command(f'AT+CIPSTART="SSL","127.0.0.1",{port}')
            want = str(down).encode()
            line.command(f'AT+CIPSEND={len(want)}', rb'>')
            line.write(want)
            line.until(rb'SEND OK\r\n')
            # Down: count every byte of the line; the frame around 2920 bytes is "\r\n+IPD,2920:" and "\r\n".
            raw, payload, first = 0, 0, None
            tail = line.buf
            while payload < down:
                data = os.read(line.fd, 65536)
                if first is None:
                    first, raw = time.monotonic(), -len(data)
                raw += len(data)
                tail += data
                while True:
                    m = re.match(rb'\r\n\+IPD,(\d+):', tail)
                    if not m or len(tail) < m.end() + int(m[1]) + 2:
                        break
                    payload += int(m[1])
                    tail = tail[m.end() + int(m[1]) + 2:]
            t = time.monotonic() - first
            down_rate, down_raw = payload / t, raw / t
            line.buf = b''
            sent, block = 0, b'z' * 8192
            t = time.monotonic()
            while sent < up:
                line.command('AT+CIPSEND=8192', rb'>')
                line.write(block)
                line.until(rb'SEND OK\r\n')
                sent += len(block)
            t = time.monotonic() - t
            end = time.monotonic() + 5
            while state['got'] < sent and time.monotonic() < end:
                select.select([], [], [], 0.01)
            if state['got'] != sent:
                raise SystemExit(f'{sent} bytes sent, {state["got"]} arrived')
            return down_rate, down_raw, sent / t
        finally:
            p.terminate()
            p.wait()


def main():
    p = argparse.ArgumentParser()
    p.add_argument('sim')
    p.add_argument('--baud', type=int, action='append', default=[])
    p.add_argument('--mb', type=float, default=32)
    p.add_argument('--check', action='store_true')
    a = p.parse_args()
    failed = False
    down, _, up = measure(a.sim, 0, int(a.mb * 1e6), int(a.mb * 1e6))
    print(f'unpaced: {down / 1e6:.1f} MB/s down, {up / 1e6:.1f} MB/s up', flush=True)
    failed |= down < 20e6 or up < 10e6
    for baud in a.baud:
        amount = baud // 10 * 4
        down, raw, up = measure(a.sim, baud, amount, amount)
        share = 100 * raw * 10 / baud
        print(f'{baud}: {down:.0f} bytes/s down (line {share:.2f} % of nominal), {up:.0f} bytes/s up in blocks of 8192',
              flush=True)
        failed |= not 99.5 <= share <= 100.01
    return a.check and failed


if __name__ == '__main__':
    sys.exit(main())
