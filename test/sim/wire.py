"""Questions and answers between processes: lines of JSON on Unix sockets."""

import json
import os
import socket
import threading


class Talk:
    """One side of a connection; ask() is for one thread at a time."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rwb")

    def send(self, thing):
        self.file.write(json.dumps(thing).encode() + b"\n")
        self.file.flush()

    def receive(self):
        line = self.file.readline()
        return json.loads(line) if line else None

    def ask(self, thing):
        self.send(thing)
        answer = self.receive()
        if answer is None:
            raise ConnectionError("no answer")
        return answer

    def close(self):
        for thing in (self.file, self.sock):
            try:
                thing.close()
            except OSError:
                pass


def dial(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return Talk(sock)


def serve(path, handle):
    """Answers each line of each connection with handle(question, talk)."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path + ".new")
    server.listen(64)
    os.rename(path + ".new", path)      # there once it answers

    def accept():
        while True:
            sock, _ = server.accept()
            threading.Thread(target=answer, args=(Talk(sock),),
                             daemon=True).start()

    def answer(talk):
        try:
            while (question := talk.receive()) is not None:
                reply = handle(question, talk)
                if reply is not None:
                    talk.send(reply)
        except (OSError, ValueError):
            pass
        finally:
            talk.close()

    threading.Thread(target=accept, daemon=True).start()
