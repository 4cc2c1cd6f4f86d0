# SPDX-License-Identifier: BSD-3-Clause
"""Stands before a broker that does not know the PROXY protocol: takes the header off and relays.
usage: proxy_stub.py ADDRESS PORT BROKER-PORT"""
import socket
import struct
import sys
import threading

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header(sock):
    """Reads a header, no byte more."""
    data = sock.recv(6, socket.MSG_WAITALL)
    if data == SIGNATURE[:6]:
        data += sock.recv(10, socket.MSG_WAITALL)
        return data + sock.recv(struct.unpack("!H", data[14:])[0], socket.MSG_WAITALL)
    while not data.endswith(b"\r\n"):
        byte = sock.recv(1)
        if not byte:
            break
        data += byte
    return data


def relay(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for sock in source, target:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client, address, port):
    try:
        print("header", header(client).hex(), flush=True)
        broker = socket.create_connection((address, port))
    except OSError:
        client.close()
        return
    threading.Thread(target=relay, args=(broker, client), daemon=True).start()
    relay(client, broker)


address, port, broker_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
server = socket.create_server((address, port))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    threading.Thread(target=serve, args=(connection, address, broker_port), daemon=True).start()
