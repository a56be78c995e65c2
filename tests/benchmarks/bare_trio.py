"""A floor: SMTP's replies under trio, and nothing else.

``python -m tests.benchmarks.bare_trio PORT [CERTIFICATE KEY]``. No checks, no limits, no deadlines, no hooks,
no log: what trio alone costs. Nobody could run it as a server.
"""

from __future__ import annotations

import ssl
import sys

import trio

REPLIES = {
    b"EHLO": b"250-bare\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 SIZE 0\r\n",
    b"DATA": b"354 go ahead\r\n",
    b"QUIT": b"221 bye\r\n",
    b"STAR": b"220 begin TLS\r\n",
}


async def serve(stream: trio.abc.Stream, tls: ssl.SSLContext | None) -> None:
    """One connection, until the client quits or goes away."""
    await stream.send_all(b"220 bare\r\n")
    buffer = bytearray()
    in_data = False
    searched = 0
    while received := await stream.receive_some(65536):
        buffer += received
        replies = b""
        while True:
            if in_data:
                end = buffer.find(b"\r\n.\r\n", max(0, searched - 4))
                if end < 0:
                    searched = len(buffer)
                    break
                del buffer[: end + 5]
                in_data, searched = False, 0
                replies += b"250 ok\r\n"
                continue
            end = buffer.find(b"\r\n")
            if end < 0:
                break
            verb = bytes(buffer[:4]).upper()
            del buffer[: end + 2]
            in_data = verb == b"DATA"
            replies += REPLIES.get(verb, b"250 ok\r\n")
            if verb == b"QUIT":
                await stream.send_all(replies)
                return
            if verb == b"STAR" and tls:
                await stream.send_all(replies)
                replies = b""
                stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        if replies:
            await stream.send_all(replies)


async def main(port: int, pair: list[str]) -> None:
    """Serve for ever."""
    tls = None
    if pair:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*pair)

    async def handle(stream: trio.abc.Stream) -> None:
        try:
            async with stream:
                await serve(stream, tls)
        except (trio.BrokenResourceError, ssl.SSLError):
            pass

    await trio.serve_tcp(handle, port, host="127.0.0.1")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2:])
