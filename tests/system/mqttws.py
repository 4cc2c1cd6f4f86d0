# SPDX-License-Identifier: BSD-3-Clause
"""mqttraw's Client over WebSocket: a socket that speaks frames, and hides nothing either."""
import os
import struct

import mqttraw

BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


def mask(data, key):
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(data))


def frame(opcode, data, fin=True):
    key = os.urandom(4)
    size = bytes([0x80 | len(data)]) if len(data) < 126 else \
        bytes([0x80 | 126]) + struct.pack("!H", len(data))
    return bytes([(0x80 if fin else 0) | opcode]) + size + key + mask(data, key)


class WsSocket:
    """A connected socket behind its upgrade; recv() gives payload, `status` is that of Close."""

    def __init__(self, sock, piece=None):
        self.sock, self.piece = sock, piece
        self.raw, self.status = bytearray(), None
        sock.sendall(b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\n"
                     b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")
        while b"\r\n\r\n" not in self.raw:
            data = sock.recv(4096)
            assert data, self.raw
            self.raw += data
        head, _, rest = bytes(self.raw).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self.raw = bytearray(rest)

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def sendall(self, data):
        """One message; of fragments where `piece` says so, with a ping between them."""
        piece = self.piece or len(data)
        for at in range(0, len(data), piece):
            part = data[at:at + piece]
            self.sock.sendall(frame(0 if at else BINARY, part, at + piece >= len(data)))
            if self.piece:
                self.sock.sendall(frame(PING, b"?"))

    def recv(self, size):
        while True:
            payload = self._take()
            if payload:
                return payload
            data = self.sock.recv(size)
            if not data:
                return b""
            self.raw += data

    def _take(self):
        payload = b""
        while len(self.raw) >= 2:
            length, at = self.raw[1] & 0x7F, 2
            if length == 126:
                if len(self.raw) < 4:
                    break
                length, at = struct.unpack_from("!H", self.raw, 2)[0], 4
            if len(self.raw) < at + length:
                break
            opcode, data = self.raw[0] & 15, bytes(self.raw[at:at + length])
            del self.raw[:at + length]
            if opcode == CLOSE:
                self.status = struct.unpack("!H", data[:2])[0] if data else 1005
                try:
                    self.sock.sendall(frame(CLOSE, data[:2]))
                except OSError:
                    pass
            elif opcode < CLOSE:
                payload += data
        return payload


class WsClient(mqttraw.Client):
    def __init__(self, host, port, piece=None, **options):
        super().__init__(host, port, **options)
        self.sock = WsSocket(self.sock, piece)


def client(*args, **options):
    """A WsClient that is connected."""
    made = WsClient(*args, **options)
    code = made.connect()
    assert code == 0, f"CONNACK {code}"
    return made
