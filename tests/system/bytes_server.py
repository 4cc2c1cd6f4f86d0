# SPDX-License-Identifier: BSD-3-Clause
"""Bytes over a TCP port that is nobody's protocol: the server returns what it gets."""
import hashlib
import os
import socket
import sys
import threading

BLOCK = 1 << 16


def exchange(host, port, size):
    """Sends `size` random bytes and reads them back. Returns the digests of both."""
    out, back = hashlib.sha256(), hashlib.sha256()
    sock = socket.create_connection((host, port), 60)

    def send():
        block = os.urandom(BLOCK)
        for number in range(size // BLOCK):
            data = number.to_bytes(8, "big") + block[8:]
            out.update(data)
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    while data := sock.recv(BLOCK):
        back.update(data)
    sender.join()
    return out.hexdigest(), back.hexdigest()


def serve(host, port):
    listener = socket.create_server((host, port))
    print("listening")
    while True:
        sock = listener.accept()[0]
        while data := sock.recv(BLOCK):
            sock.sendall(data)
        sock.close()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
