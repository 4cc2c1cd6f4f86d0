# SPDX-License-Identifier: BSD-3-Clause
"""Flows as frames, written as the two pcap files that the ports of a tracker read, and what the
tracker sent read back.

net_pcap reads each port's file as fast as it is asked. The order between the ports is made by
filling: a worker takes at most 64 packets from the outside port and then as many from the inside
port, so the files are laid out in turns of 64 frames each, and what has no place in a turn is a
frame of an EtherType that nobody knows. A pause is some turns of those."""
import random
import socket
import struct

from rawtcp import ACK, FIN, MOD, RST, SYN, checksum

CLIENT, BROKER = 0, 1
TURN = 64
FILL = bytes(12) + b"\x88\xb5" + bytes(46)
MAC = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
HOP_BY_HOP = b"\x3c\0\x01\x04\0\0\0\0"  # padding; then destination options
DESTINATION = b"\x06\0\x01\x04\0\0\0\0"


class Wire:
    """What both ports receive, in order. `seed`: segments are cut, repeated and reordered."""

    def __init__(self, seed=None):
        self.turns = [([], [])]
        self.random = random.Random(seed) if seed is not None else None
        self.broker_spoke = False

    def put(self, side, frame):
        if side == CLIENT and self.broker_spoke or len(self.turns[-1][side]) == TURN:
            self.turns.append(([], []))
            self.broker_spoke = False
        self.turns[-1][side].append(frame)
        self.broker_spoke = side == BROKER

    def pause(self, n=300):
        self.turns += [([], []) for _ in range(n)]
        self.broker_spoke = False

    def write(self, names):
        for side, name in enumerate(names):
            with open(name, "wb") as f:
                f.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
                for turn in self.turns:
                    for frame in turn[side] + [FILL] * (TURN - len(turn[side])):
                        f.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


def read(name):
    """The frames of a pcap file, without the filling."""
    with open(name, "rb") as f:
        data = f.read()
    at, frames = 24, []
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(data[at + 16:at + 16 + length])
        at += 16 + length
    return [frame for frame in frames if frame[12:14] != b"\x88\xb5"]


class Flow:
    """One TCP flow; each of its words puts segments on the wire."""

    def __init__(self, wire, port, broker="192.0.2.11", broker_port=1883, tags=(), ip6=False,
                 mptcp=False, fragment=0):
        self.wire, self.tags, self.ip6, self.mptcp = wire, tags, ip6, mptcp
        self.fragment, self.identity = fragment, port
        self.ports = port, broker_port
        family = socket.AF_INET6 if ip6 else socket.AF_INET
        self.addresses = [socket.inet_pton(family, text) for text in (
            ("2001:db8::1", "2001:db8::11") if ip6 else ("192.0.2.1", broker))]
        self.isn = port * 1000 % MOD, MOD - 20
        self.said, self.fins = [b"", b""], [0, 0]

    def seq(self, side):
        return (self.isn[side] + 1 + len(self.said[side]) + self.fins[side]) % MOD

    def ip(self, side, tcp):
        """The packets that carry a segment."""
        source, target = self.addresses[side], self.addresses[1 - side]
        if self.ip6:
            ext = HOP_BY_HOP + DESTINATION
            yield struct.pack("!IHBB", 6 << 28, len(ext + tcp), 0, 64) + source + target + ext + tcp
            return
        step = self.fragment if self.fragment and side == CLIENT else len(tcp)
        for at in range(0, len(tcp), step):
            more = 0x2000 if at + step < len(tcp) else 0
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp[at:at + step]), self.identity,
                               more | at // 8, 64, 6, 0) + source + target
            yield head[:10] + struct.pack("!H", checksum(head)) + head[12:] + tcp[at:at + step]
        self.identity += 1

    def segment(self, side, flags, data=b"", seq=None, options=b""):
        ports = self.ports[side], self.ports[1 - side]
        ack = self.seq(1 - side) if flags & ACK else 0
        tcp = struct.pack("!HHIIBBHHH", *ports, self.seq(side) if seq is None else seq % MOD, ack,
                          5 + len(options) // 4 << 4, flags, 60000, 0, 0) + options + data
        pseudo = self.addresses[side] + self.addresses[1 - side] + struct.pack("!II", len(tcp), 6)
        tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
        link = MAC[1 - side] + MAC[side] + b"".join(struct.pack("!HH", *tag) for tag in self.tags)
        for packet in self.ip(side, tcp):
            self.wire.put(side, link + (b"\x86\xdd" if self.ip6 else b"\x08\0") + packet)

    def open(self):
        options = b"\x1e\x0c\x00\x81" + bytes(8) if self.mptcp else b""
        self.segment(CLIENT, SYN, seq=self.isn[0], options=options)
        self.segment(BROKER, SYN | ACK, seq=self.isn[1], options=options)
        self.segment(CLIENT, ACK)

    def say(self, side, data):
        start, rng = self.seq(side), self.wire.random
        cuts = [(0, len(data))]
        if rng:
            at = sorted(rng.sample(range(1, len(data)), min(len(data) - 1, rng.randrange(1, 8))))
            cuts = list(zip([0] + at, at + [len(data)]))
            cuts += [tuple(sorted(rng.sample(range(len(data) + 1), 2))) for _ in range(2)]
            rng.shuffle(cuts)
        for low, high in cuts:
            self.segment(side, ACK, data[low:high], start + low)
        self.said[side] += data
        self.segment(1 - side, ACK)

    def end(self, side):
        self.segment(side, FIN | ACK)
        self.fins[side] = 1
        self.segment(1 - side, ACK)

    def reset(self, side):
        self.segment(side, RST | ACK)

    # --- what came out ---

    def parse(self, side, frame):
        """Number from the begin of the stream, flags, payload; None: another flow's, or no whole
        segment of this sender."""
        at = 14 + 4 * len(self.tags)
        if frame[at - 2:at] != (b"\x86\xdd" if self.ip6 else b"\x08\0"):
            return None
        if self.ip6:
            ends, upper = frame[at + 8:at + 40], at + 40
            if frame[at + 6] == 0:  # what the tracker makes itself has no extension headers
                upper += 16
            stop = at + 40 + struct.unpack_from("!H", frame, at + 4)[0]
        else:
            ends, upper = frame[at + 12:at + 20], at + 20
            stop = at + struct.unpack_from("!H", frame, at + 2)[0]
            if struct.unpack_from("!H", frame, at + 6)[0] & 0x3FFF:
                return None
        tcp = frame[upper:stop]
        if ends != self.addresses[side] + self.addresses[1 - side] or \
                struct.unpack_from("!HH", tcp) != (self.ports[side], self.ports[1 - side]):
            return None
        seq = (struct.unpack_from("!I", tcp, 4)[0] - self.isn[side] - 1) % MOD
        return seq, tcp[13], tcp[(tcp[12] >> 4) * 4:]

    def heard(self, side, frames):
        """What a receiver of these frames reads of this sender."""
        stream, parts = b"", [p for p in (self.parse(side, f) for f in frames) if p]
        for seq, _, data in sorted(parts, key=lambda part: part[0]):
            if seq <= len(stream) < seq + len(data):
                stream += data[len(stream) - seq:]
        return stream

    def first(self, side, frames, flags=0, begins=b""):
        """Place of the first of its frames with one of these flags, or that begins so."""
        for place, frame in enumerate(frames):
            found = self.parse(side, frame)
            if found and (found[1] & flags or begins and found[2].startswith(begins)):
                return place
        return None
