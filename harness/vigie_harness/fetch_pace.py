"""Paces the answers of noida-db to fetches: python3 -m vigie_harness.fetch_pace PORT BROKER_PORT

noida-db answers a fetch at once also if it has nothing to give, and a client then asks again at once, so that both
keep a core busy at rest; Apache Kafka holds such a fetch. This passes everything on between 127.0.0.1:PORT and a
noida-db at 127.0.0.1:BROKER_PORT, lets a connection ask for messages every 20 ms, and names its own port where the
broker names that one's.
"""

import asyncio
import contextlib
import struct
import sys

PACE = 0.02
FETCH = struct.pack(">h", 1)


async def frame(reader):
    """The next request or answer, without its length."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))


async def send(writer, content):
    writer.write(len(content).to_bytes(4, "big") + content)
    await writer.drain()


class Pace:
    def __init__(self, port, broker):
        self.broker = broker
        self.broker_address = b"127.0.0.1" + struct.pack(">i", broker)
        self.own_address = b"127.0.0.1" + struct.pack(">i", port)

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError):
            from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self.broker)
            ways = [self.requests(reader, to_broker), self.answers(from_broker, writer)]
            # As one side ends, the other does.
            _, rest = await asyncio.wait(map(asyncio.ensure_future, ways), return_when=asyncio.FIRST_COMPLETED)
            for way in rest:
                way.cancel()
            to_broker.close()
        writer.close()

    async def requests(self, reader, writer):
        clock = asyncio.get_running_loop().time
        following = clock()
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                request = await frame(reader)
                if request[:2] == FETCH:
                    # Before it is asked, so that the answer is as new as it can be.
                    await asyncio.sleep(following - clock())
                    following = clock() + PACE
                await send(writer, request)

    async def answers(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                await send(writer, (await frame(reader)).replace(self.broker_address, self.own_address))


async def main(port, broker):
    server = await asyncio.start_server(Pace(port, broker).serve, "127.0.0.1", port, limit=1 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
