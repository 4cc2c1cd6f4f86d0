# SPDX-License-Identifier: BSD-3-Clause
"""One TCP connection made of crafted segments, from an address that the clients' kernel does not
have, so that it does not answer. What a stack would never send can be sent: other bytes under the
same numbers, old timestamps, wrong checksums, urgent data."""
import os
import socket
import struct
import time

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
INTERFACE = "c0"
MOD = 1 << 32


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class RawTcp:
    """`mac` is the broker's. Numbers of send() count from the first byte of the stream."""

    def __init__(self, source, port, host, mac, host_port=1883):
        self.source, self.host = socket.inet_aton(source), socket.inet_aton(host)
        self.port, self.host_port = port, host_port
        self.isn = int.from_bytes(os.urandom(4), "big")
        self.base = (self.isn + 1) % MOD
        self.ack = 0  # what of the broker's stream has come
        self.acked = 0  # what of ours the broker has acknowledged
        self.received = b""
        self.ended = None
        self.clock, self.echo = 100000, 0
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.sock.bind((INTERFACE, 0))
        own = self.sock.getsockname()[4]
        self.link = mac + own + b"\x08\x00"

    def segment(self, seq, data=b"", flags=ACK, ack=None, age=0, urgent=0, damaged=False, lost=False,
                window=60000, wait=0.02):
        """`age` makes the timestamp older by so much; what is `lost` carries an MD5
        signature that the host does not expect, and so discards (RFC 2385 §2.0)."""
        ack = self.ack if ack is None else ack
        options = b"\x01\x01\x08\x0a" + struct.pack("!II", self.clock - age, self.echo)
        self.clock += 1
        if lost:
            options += b"\x01\x01\x13\x12" + bytes(16)
        tcp = struct.pack("!HHIIBBHHH", self.port, self.host_port, seq % MOD, ack % MOD,
                          5 + len(options) // 4 << 4, flags, window, 0, urgent) + options + data
        pseudo = self.source + self.host + struct.pack("!BBH", 0, 6, len(tcp))
        right = checksum(pseudo + tcp) ^ (0x5555 if damaged else 0)
        tcp = tcp[:16] + struct.pack("!H", right) + tcp[18:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0)
        ip += self.source + self.host
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        self.sock.send(self.link + ip + tcp)
        time.sleep(wait)
        self.receive(0)

    def send(self, at, data=b"", flags=ACK | PSH, **options):
        self.segment(self.base + at, data, flags, **options)

    def receive(self, timeout):
        """Takes in what has come within so long."""
        end = time.monotonic() + timeout
        while True:
            self.sock.settimeout(max(0.0005, end - time.monotonic()))
            try:
                self._take(self.sock.recv(2048)[14:])
            except (TimeoutError, BlockingIOError):
                return

    def _take(self, ip):
        tcp = ip[(ip[0] & 15) * 4:struct.unpack_from("!H", ip, 2)[0]]
        if ip[9] != 6 or ip[12:16] != self.host or ip[16:20] != self.source:
            return
        ports = struct.unpack_from("!HH", tcp)
        if ports != (self.host_port, self.port):
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
        end = time.monotonic() + 5
        while not self.ack:
            if time.monotonic() > end:
                raise TimeoutError("no SYN/ACK")
            self.receive(0.05)
        self.send(self.acked, b"", ACK)

    def close(self):
        self.send(self.acked, b"", RST | ACK)
        self.sock.close()
