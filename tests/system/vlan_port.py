# SPDX-License-Identifier: BSD-3-Clause
"""An 802.1Q port in user space, for kernels without one: frames of a TAP device go out of an
interface with a tag or two, frames that come in with these tags go to the TAP device.

usage: vlan_port.py INTERFACE TAP [OUTER-VLAN-ID.]VLAN-ID
"""
import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
ETH_P_ALL, ETH_P_8021Q = 3, 0x8100
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 0x10
AUXDATA = struct.Struct("IIIHHHH")


def outer_tag(ancillary):
    """The tag that the kernel has taken off a received frame, as it was; empty: none."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, *_, tci, _ = AUXDATA.unpack(data[:AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:
                return struct.pack("!HH", ETH_P_8021Q, tci & 0xFFF)
    return b""


def main(interface, tap_name, vlans):
    tags = b"".join(struct.pack("!HH", ETH_P_8021Q, int(vlan)) for vlan in vlans.split("."))
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", tap_name.encode(), IFF_TAP | IFF_NO_PI))
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    wire.bind((interface, ETH_P_ALL))
    print("ready", flush=True)
    while True:
        ready = select.select([tap, wire], [], [])[0]
        if tap in ready:
            frame = os.read(tap, 65536)
            try:
                wire.send(frame[:12] + tags + frame[12:])
            except OSError:
                pass  # the interface is down, or the frame too long: lost, as on a wire
        if wire in ready:
            frame, ancillary, _, sender = wire.recvmsg(65536, 256)
            tagged = outer_tag(ancillary) + frame[12:]
            rest = tagged[len(tags):]
            if (sender[2] != socket.PACKET_OUTGOING and tagged.startswith(tags)
                    and not rest.startswith(struct.pack("!H", ETH_P_8021Q))):
                try:
                    os.write(tap, frame[:12] + rest)
                except OSError:
                    pass  # not up yet


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
