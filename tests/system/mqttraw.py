# SPDX-License-Identifier: BSD-3-Clause
"""MQTT 3.1, 3.1.1 and 5.0 over a plain socket, for tests that must see each packet and each end of
a connection. It hides nothing and reconnects never."""
import select
import socket
import struct
import time

V31, V311, V5 = 3, 4, 5
CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14
TIMEOUT = 10.0


class Closed(Exception):
    """The other side has ended the connection; how is "fin" or "reset"."""

    def __init__(self, how):
        super().__init__(how)
        self.how = how


def varint(n):
    out = bytearray()
    while True:
        n, low = n >> 7, n & 0x7F
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!H", len(raw)) + raw


def packet(kind, body=b"", flags=0):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def connect_packet(clientid, version=V311, clean=True, keepalive=60, username=None, expiry=None,
                   will=None):
    """`will` is topic and payload, sent with QoS 0."""
    flags = (2 if clean else 0) | (0x80 if username is not None else 0) | (4 if will else 0)
    body = text("MQIsdp" if version == V31 else "MQTT") + bytes([version, flags])
    body += struct.pack("!H", keepalive)
    if version == V5:
        props = b"" if expiry is None else b"\x11" + struct.pack("!I", expiry)
        body += varint(len(props)) + props
    body += text(clientid)
    if will:
        body += (b"\0" if version == V5 else b"") + text(will[0]) + text(will[1])
    if username is not None:
        body += text(username)
    return packet(CONNECT, body)


class Client:
    """One TCP connection; connect() sends CONNECT and waits for CONNACK."""

    def __init__(self, host, port=1883, clientid="", version=V311, source=None, rcvbuf=None,
                 **options):
        self.version = version
        self.hello = connect_packet(clientid, version, **options)
        self.buffer = bytearray()
        self.kept = []  # packets that came while another was waited for
        self.ids = 0
        self.ended = None  # how, once the other side has ended it
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect((host, port))
        self.port = self.sock.getsockname()[1]

    def connect(self, piece=None):
        """Sends CONNECT, in segments of `piece` bytes where given. Returns CONNACK's code."""
        for start in range(0, len(self.hello), piece or len(self.hello)):
            self.sock.sendall(self.hello[start:start + (piece or len(self.hello))])
            if piece:
                time.sleep(0.002)  # so that most are; nothing depends on it
        kind, _, body = self.receive()
        assert kind == CONNACK, f"packet {kind} before CONNACK"
        self.session_present = body[0] & 1
        return body[1]

    def _fill(self, deadline):
        if self.ended:
            raise Closed(self.ended)
        try:
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            self.ended = "reset"
            raise Closed(self.ended) from None
        if not data:
            self.ended = "fin"
            raise Closed(self.ended)
        self.buffer += data

    def receive(self, timeout=TIMEOUT):
        """The next packet, as type, flags, body. Raises Closed, or TimeoutError."""
        if self.kept:
            return self.kept.pop(0)
        deadline = time.monotonic() + timeout
        while True:
            found = self._take()
            if found:
                return found
            self._fill(deadline)

    def _take(self):
        length = shift = 0
        for at in range(1, min(len(self.buffer), 5)):
            length |= (self.buffer[at] & 0x7F) << shift
            shift += 7
            if not self.buffer[at] & 0x80:
                end = at + 1 + length
                if len(self.buffer) < end:
                    return None
                first, body = self.buffer[0], bytes(self.buffer[at + 1:end])
                del self.buffer[:end]
                return first >> 4, first & 15, body
        return None

    def send(self, raw):
        self.sock.settimeout(TIMEOUT)
        try:
            self.sock.sendall(raw)
        except (ConnectionResetError, BrokenPipeError):
            self.ended = self.ended or "reset"
            raise Closed(self.ended) from None

    def wait_for(self, kind):
        """The body of the next packet of this type; the others are kept for receive()."""
        kept = []
        while True:
            found = self.receive()
            if found[0] == kind:
                self.kept = kept + self.kept
                return found[2]
            kept.append(found)

    def next_id(self):
        self.ids = self.ids % 65535 + 1
        return self.ids

    def subscribe(self, topic, qos=0):
        props = b"\0" if self.version == V5 else b""
        self.send(packet(SUBSCRIBE, struct.pack("!H", self.next_id()) + props + text(topic)
                         + bytes([qos]), 2))
        body = self.wait_for(SUBACK)
        assert body[-1] <= 2, body

    def publish(self, topic, payload, qos=0):
        """Sends, and waits for the acknowledgement of QoS 1."""
        raw = payload if isinstance(payload, bytes) else payload.encode()
        props = b"\0" if self.version == V5 else b""
        number = struct.pack("!H", self.next_id()) if qos else b""
        self.send(packet(PUBLISH, text(topic) + number + props + raw, qos << 1))
        if qos:
            self.wait_for(PUBACK)

    def message(self, timeout=TIMEOUT):
        """The next PUBLISH, as topic and payload; QoS 1 is acknowledged."""
        while True:
            kind, flags, body = self.receive(timeout)
            if kind == PUBLISH:
                break
        at = 2 + struct.unpack_from("!H", body)[0]
        topic = body[2:at].decode()
        if flags & 6:
            self.send(packet(PUBACK, body[at:at + 2]))
            at += 2
        if self.version == V5:
            at += 1 + body[at]
        return topic, body[at:]

    def ping(self):
        self.send(packet(PINGREQ))
        self.wait_for(PINGRESP)

    def disconnect(self, expiry=None):
        """Leaves; 5.0 may say how long its session is to live after all."""
        props = b"" if expiry is None else b"\0\x05\x11" + struct.pack("!I", expiry)
        self.send(packet(DISCONNECT, props))
        self.sock.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def open(self):
        """Whether nothing has ended it so far."""
        try:
            while select.select([self.sock], [], [], 0)[0]:
                self._fill(time.monotonic() + TIMEOUT)
        except Closed:
            return False
        return True

    def end(self, timeout=TIMEOUT):
        """Waits until the other side ends it. Returns "fin" or "reset", and the reason code of a
        DISCONNECT received before, or None. Other packets are passed over."""
        reason = None
        deadline = time.monotonic() + timeout
        while True:
            try:
                kind, _, body = self.receive(max(0.001, deadline - time.monotonic()))
            except Closed as closed:
                return closed.how, reason
            if kind == DISCONNECT:
                reason = body[0] if body else 0


def client(*args, **options):
    """A Client that is connected: CONNACK with success."""
    made = Client(*args, **options)
    code = made.connect()
    assert code == 0, f"CONNACK {code}"
    return made
