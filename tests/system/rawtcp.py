# SPDX-License-Identifier: BSD-3-Clause
"""One TCP connection made of crafted segments, from an address that the clients' kernel does not
have, so that it does not answer. What a stack would never send can be sent: other bytes under the
same numbers, old timestamps, wrong checksums, urgent data. Over IPv4 or IPv6, and VLAN tags."""
import os
import socket
import struct
import time

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
IP4, IP6, VLAN, ETH_P_ALL = 0x0800, 0x86DD, 0x8100, 3
INTERFACE = "c0"
MOD = 1 << 32
TIMEOUT = 10.0


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def address(text):
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return socket.inet_pton(family, text)


class RawTcp:
    """`mac` is the broker's, `vlans` the ids of the tags, outer first. Numbers of send() count from
    the first byte of the stream."""

    def __init__(self, source, port, host, mac, host_port=1883, vlans=()):
        self.source, self.host = address(source), address(host)
        self.port, self.host_port = port, host_port
        self.isn = int.from_bytes(os.urandom(4), "big")
        self.base = (self.isn + 1) % MOD
        self.ack = 0  # what of the broker's stream has come
        self.acked = 0  # what of ours the broker has acknowledged
        self.received = b""
        self.ended = None
        self.clock, self.echo = 100000, 0
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.bind((INTERFACE, 0))
        own = self.sock.getsockname()[4]
        tags = b"".join(struct.pack("!HH", VLAN, vlan) for vlan in vlans)
        self.link = mac + own + tags + struct.pack("!H", IP6 if len(self.host) == 16 else IP4)

    def segment(self, seq, data=b"", flags=ACK, ack=None, age=0, urgent=0, damaged=False, lost=False,
                window=60000, wait=0.02, ttl=64):
        """`age` makes the timestamp older by so much; what is `lost` carries an MD5
        signature that the host does not expect, and so discards (RFC 2385 §2.0)."""
        ack = self.ack if ack is None else ack
        options = b"\x01\x01\x08\x0a" + struct.pack("!II", self.clock - age, self.echo)
        self.clock += 1
        if lost:
            options += b"\x01\x01\x13\x12" + bytes(16)
        tcp = struct.pack("!HHIIBBHHH", self.port, self.host_port, seq % MOD, ack % MOD,
                          5 + len(options) // 4 << 4, flags, window, 0, urgent) + options + data
        pseudo = self.source + self.host + struct.pack("!LL", len(tcp), 6)
        right = checksum(pseudo + tcp) ^ (0x5555 if damaged else 0)
        tcp = tcp[:16] + struct.pack("!H", right) + tcp[18:]
        self.sock.send(self.link + self._ip(len(tcp), ttl) + tcp)
        time.sleep(wait)  # what comes later is taken in later: no answer is judged without a fence
        self.receive(0)

    def _ip(self, length, ttl):
        ends = self.source + self.host
        if len(self.host) == 16:
            return struct.pack("!LHBB", 6 << 28, length, 6, ttl) + ends
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, ttl, 6, 0) + ends
        return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]

    def send(self, at, data=b"", flags=ACK | PSH, **options):
        self.segment(self.base + at, data, flags, **options)

    def receive(self, timeout):
        """Takes in what has come within so long."""
        end = time.monotonic() + timeout
        while True:
            self.sock.settimeout(max(0.0005, end - time.monotonic()))
            try:
                frame, sender = self.sock.recvfrom(65536)
            except (TimeoutError, BlockingIOError):
                return
            if sender[2] != socket.PACKET_OUTGOING:
                self._take(frame)

    def _segment_of(self, frame):
        """The TCP segment from the host to this end in a frame; the kernel has taken off the outer
        tag, if there is one. None: it has no such segment."""
        at = 12
        while frame[at:at + 2] == struct.pack("!H", VLAN):
            at += 4
        kind, ip = int.from_bytes(frame[at:at + 2], "big"), frame[at + 2:]
        if kind == IP4 and ip[9:10] == b"\6" and ip[12:20] == self.host + self.source:
            return ip[(ip[0] & 15) * 4:struct.unpack_from("!H", ip, 2)[0]]
        if kind == IP6 and ip[6:7] == b"\6" and ip[8:40] == self.host + self.source:
            return ip[40:40 + struct.unpack_from("!H", ip, 4)[0]]
        return None

    def _take(self, frame):
        tcp = self._segment_of(frame)
        if not tcp or struct.unpack_from("!HH", tcp) != (self.host_port, self.port):
            return
        seq, ack = struct.unpack_from("!II", tcp, 4)
        flags, length = tcp[13], (tcp[12] >> 4) * 4
        if length >= 32 and b"\x08\x0a" in tcp[20:length]:
            at = tcp.index(b"\x08\x0a", 20)
            self.echo = struct.unpack_from("!I", tcp, at + 2)[0]
        if flags & SYN:
            self.ack = (seq + 1) % MOD
        elif seq == self.ack and not flags & RST:
            self.received += tcp[length:]
            self.ack = (seq + len(tcp) - length + (flags & FIN)) % MOD
        if flags & ACK:
            self.acked = max(self.acked, (ack - self.base + 1) % MOD - 1)
        if flags & (FIN | RST) and not self.ended:
            self.ended = "reset" if flags & RST else "fin"

    def open(self, data=b""):
        """The handshake; `data` goes with the SYN."""
        self.segment(self.isn, data, SYN, ack=0)
        end = time.monotonic() + TIMEOUT
        while not self.ack:
            if time.monotonic() > end:
                raise TimeoutError("no SYN/ACK")
            self.receive(0.05)
        self.send(self.acked, b"", ACK)

    def close(self):
        self.receive(0)
        self.send(self.acked, b"", RST | ACK)
        self.sock.close()
