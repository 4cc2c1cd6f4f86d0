# SPDX-License-Identifier: BSD-3-Clause
"""An 802.1Q port in user space, for kernels without one: frames of a TAP device go out of an
interface with a tag, frames that come in with that tag go to the TAP device.

usage: vlan_port.py INTERFACE TAP VLAN-ID
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


def tag_of(ancillary):
    """VLAN id of a received frame (the kernel takes the tag off the frame itself), or None."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, *_, tci, _ = AUXDATA.unpack(data[:AUXDATA.size])
            return tci & 0xFFF if status & TP_STATUS_VLAN_VALID else None
    return None


def main(interface, tap_name, vlan):
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
                wire.send(frame[:12] + struct.pack("!HH", ETH_P_8021Q, vlan) + frame[12:])
            except OSError:
                pass  # the interface is down, or the frame too long: lost, as on a wire
        if wire in ready:
            frame, ancillary, _, sender = wire.recvmsg(65536, 256)
            if sender[2] != socket.PACKET_OUTGOING and tag_of(ancillary) == vlan:
                try:
                    os.write(tap, frame)
                except OSError:
                    pass  # not up yet


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
