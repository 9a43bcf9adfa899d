# SPDX-License-Identifier: MIT
"""Both ways at once over one connection, of either end, in one thread."""
import dataclasses
import math
import select
import socket
import ssl
import threading
import time

from ledger import Inbox

TICK = 0.05  # how soon a stop is noticed
WAIT = ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError


@dataclasses.dataclass
class Plan:
    """What one end does."""
    size: int = 0             # bytes that it writes in all
    piece: int = 16384        # so many at once,
    pause: float = 0          # and then nothing for so many seconds
    answer: int = 0           # not before so many bytes have come for each of the pieces before
    shut: bool = False        # then it says that it has no more: a client half-closes, a server closes
    gulp: int = 65536         # reads so many bytes at once,
    slow: float = 0           # and then not for so many seconds
    leave: int = None         # goes when so many bytes have come,
    last: float = None        # or after so many seconds
    abort: bool = False       # goes by a reset
    gate: threading.Event = None  # writes nothing before that


class Talk:
    """@sock is an SSLSocket or a Unix socket; what comes is @inbox's, what goes is @stream's."""

    def __init__(self, sock, inbox, stream, plan, stop):
        self.sock, self.inbox, self.stream, self.plan, self.stop = sock, inbox, stream, plan, stop
        self.due = self.next_read = 0
        self.end_at = math.inf if plan.last is None else time.monotonic() + plan.last
        self.shut = False
        self.ended = None  # why

    def _may_write(self, now):
        plan, sent = self.plan, self.stream.offered
        if sent >= plan.size or now < self.due or (plan.gate and not plan.gate.is_set()):
            return False
        return not plan.answer or self.inbox.size >= sent // plan.piece * plan.answer

    def _write(self, now):
        data = self.stream.piece(min(self.plan.piece, self.plan.size - self.stream.offered))
        # Whatever of it is accepted may arrive before this is known.
        before, self.stream.offered = self.stream.offered, self.stream.offered + len(data)
        sent = 0
        try:
            sent = self.sock.send(data)
        except WAIT:
            pass
        finally:
            self.stream.offered = before + sent
        if self.stream.offered // self.plan.piece != before // self.plan.piece:
            self.due = now + self.plan.pause

    def _in_tls(self):
        return isinstance(self.sock, ssl.SSLSocket)

    def _read(self, now):
        try:
            data = self.sock.recv(self.plan.gulp)
        except WAIT:
            return
        if not data:
            self.ended = "closed"
            return
        self.inbox.take(data)
        self.next_read = now + self.plan.slow
        if self.plan.leave is not None and self.inbox.size >= self.plan.leave:
            self.ended = "left"

    def run(self):
        """Until the other end closes, or the plan or @stop says so; returns why."""
        self.sock.setblocking(False)
        try:
            while not self.ended:
                self._turn()
        except (OSError, ValueError) as error:
            self.ended = type(error).__name__
        return self.ended

    def _turn(self):
        now = time.monotonic()
        if self.stop.is_set() or now >= self.end_at:
            self.ended = "stopped"
            return
        reads, writes = now >= self.next_read, self._may_write(now)
        if self.plan.shut and not self.shut and self.stream.offered >= self.plan.size:
            self.shut = True
            if self._in_tls():
                self.ended = "all said"
                return
            self.sock.shutdown(socket.SHUT_WR)
        if not (reads and self._in_tls() and self.sock.pending()):
            ready = select.select([self.sock] if reads else [], [self.sock] if writes else [], [], TICK)
        else:
            ready = [self.sock], [self.sock] if writes else []
        if ready[0]:
            self._read(now)
        if ready[1] and not self.ended:
            self._write(now)


def answering(rig, tunnel, plan):
    """A handler of a TlsServer that talks by @plan, or by what @plan() gives for each connection."""
    def handler(conn):
        stream = rig.ledger.stream(tunnel, "server", rig.make.get(tunnel, {}).get("server"))
        inbox = Inbox(rig.ledger, tunnel, "client", rig.keep)
        rig.inboxes.append(inbox)
        mine = plan() if callable(plan) else plan
        Talk(conn.tls, inbox, stream, mine, rig.stop).run()
        conn.tls.setblocking(True)
        if mine.abort:
            conn.abort()
    return handler


def in_background(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread
