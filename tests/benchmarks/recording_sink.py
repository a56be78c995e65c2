"""A next hop that knows which messages have arrived, by the number in their header."""

from __future__ import annotations

import contextlib
import re
import socketserver
import threading
import time
from collections import Counter

MARK = re.compile(rb"^X-Benchmark: (\d+)\r\n", re.M)
REPLIES = {b"DATA": b"354 go ahead\r\n", b"QUIT": b"221 bye\r\n"}


class RecordingSink(socketserver.ThreadingTCPServer):
    """Serves in threads while the context is open; ``arrived`` counts each message by its number."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.arrived: Counter[int] = Counter()
        self.last = time.monotonic()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def record(self, content: bytes) -> None:
        """A message has arrived."""
        if found := MARK.search(content):
            with self._lock:
                self.arrived[int(found[1])] += 1
                self.last = time.monotonic()

    def server_close(self) -> None:
        """Stop serving first."""
        self.shutdown()
        super().server_close()


class _Connection(socketserver.StreamRequestHandler):
    server: RecordingSink

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the server under test was killed
            self._converse()

    def _converse(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            self.wfile.write(REPLIES.get(verb, b"250 ok\r\n"))
            if verb == b"DATA":
                content = b""
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    content += line
                if line:
                    self.server.record(content)
                    self.wfile.write(b"250 ok\r\n")
            elif verb == b"QUIT":
                return
