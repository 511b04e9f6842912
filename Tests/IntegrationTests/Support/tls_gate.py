"""The TLS listener that the tests' broker lacks: python3 tls_gate.py PORT BROKER CERTIFICATE KEY AUTHORITY PASSWORD_FILE

It shows a certificate, wants one of the client, takes SASL PLAIN with the password of that file only (a line
`user:password`), and passes everything else on to the broker at 127.0.0.1:BROKER. Where the broker names its own
address it names localhost:PORT instead, which has as many letters. SIGTERM ends it and all connections.
"""

import asyncio
import contextlib
import pathlib
import ssl
import struct
import sys

# Keys of the Kafka protocol's requests, and an error code.
SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
SASL_AUTHENTICATION_FAILED = 58


async def frame(reader):
    """The next request or answer, without its length."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))


def send(writer, content):
    writer.write(len(content).to_bytes(4, "big") + content)


def refusal(version, correlation):
    message = b"wrong user or password"
    lifetime = bytes(8) if version == 1 else b""
    head = struct.pack(">ihh", correlation, SASL_AUTHENTICATION_FAILED, len(message))
    return head + message + bytes(4) + lifetime


class Gate:
    def __init__(self, port, broker, token):
        self.broker = broker
        self.token = token
        self.own = b"127.0.0.1" + struct.pack(">i", broker)
        self.shown = b"localhost" + struct.pack(">i", port)

    async def serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self.broker)
            answers = asyncio.create_task(self.pass_answers(from_broker, writer))
            try:
                await self.pass_requests(reader, writer, to_broker)
            finally:
                to_broker.close()
                answers.cancel()
        writer.close()

    async def pass_requests(self, reader, writer, to_broker):
        is_known = False
        while True:
            request = await frame(reader)
            key, version, correlation = struct.unpack_from(">hhi", request)
            if key == SASL_AUTHENTICATE:
                if not request.endswith(self.token):
                    print("refused", flush=True)
                    send(writer, refusal(version, correlation))
                    return await writer.drain()
                is_known = True
            elif not is_known and key not in (SASL_HANDSHAKE, API_VERSIONS):
                return print("not authenticated", flush=True)
            send(to_broker, request)
            await to_broker.drain()

    async def pass_answers(self, from_broker, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                send(writer, (await frame(from_broker)).replace(self.own, self.shown))
                await writer.drain()
        writer.close()


async def main(port, broker, certificate, key, authority, password_file):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    user, password = pathlib.Path(password_file).read_text().strip().split(":")
    gate = Gate(int(port), int(broker), f"\0{user}\0{password}".encode())
    server = await asyncio.start_server(gate.serve, "127.0.0.1", int(port), ssl=context)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
