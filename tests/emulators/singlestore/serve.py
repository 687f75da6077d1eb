"""The proxy: ``python -m tests.emulators.singlestore.serve settings.json``, with port, socket of MySQL, accounts, and a
certificate and its key for TLS, if any."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from tests.emulators.singlestore import rules, wire
from tests.emulators.singlestore.faults import Fault, Faults
from tests.emulators.singlestore.wire import Channel

QUIT, INIT_DB, QUERY, PING = 0x01, 0x02, 0x03, 0x0E
ORDER = "STAND "  # a statement that is for us: a fault as JSON, or 'clear'
_LONG = 1 << 22  # characters of a statement that is not looked at
_PREPARE = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"


class Cut(Exception):
    """The conversation ends here."""


class Proxy:
    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self.catalog = rules.Catalog()
        self.faults = Faults()
        self._log = Path(settings["statements"]).open("a", buffering=1)  # noqa: SIM115 - as long as we live
        self._threads = 0
        self._tls: ssl.SSLContext | None = None
        if settings.get("certificate"):
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(settings["certificate"], settings["key"])

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", self._settings["port"])) as server:
            server.setblocking(False)
            tasks: set[asyncio.Task[None]] = set()
            while True:
                accepted, _ = await loop.sock_accept(server)
                tasks.add(task := asyncio.create_task(self._client(accepted)))
                task.add_done_callback(tasks.discard)

    async def _client(self, accepted: socket.socket) -> None:
        client: Channel | None = None
        try:
            salt = wire.new_salt()
            client, packet = await self._greeted(accepted, salt)
            asked = await self._welcome(client, packet, salt)
            if asked is not None:
                await Conversation(self, client, *asked).run()
        except (asyncio.IncompleteReadError, ConnectionError, Cut):
            pass
        except Exception:
            traceback.print_exc()  # on which the tests fail at their end
        finally:
            if client is not None:
                client.close()
            else:
                accepted.close()

    async def _greeted(self, accepted: socket.socket, salt: bytes) -> tuple[Channel, bytes]:
        """The client behind its first packet, which is read byte by byte: what follows one that asks for TLS is TLS."""
        loop = asyncio.get_running_loop()
        accepted.setblocking(False)
        self._threads += 1
        greeting = wire.greeting(salt, self._threads, tls=self._tls is not None)
        await loop.sock_sendall(accepted, len(greeting).to_bytes(3, "little") + b"\0" + greeting)
        header = await _exactly(accepted, 4)
        packet = await _exactly(accepted, int.from_bytes(header[:3], "little"))
        secure = len(packet) == 32 and self._tls is not None
        reader = asyncio.StreamReader(limit=1 << 20)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=self._tls if secure else None)
        client = Channel(reader, asyncio.StreamWriter(transport, protocol, reader, loop), (header[3] + 1) % 256)
        return client, await client.packet() if secure else packet

    async def _welcome(self, client: Channel, packet: bytes, salt: bytes) -> tuple[str, str, str, str] | None:
        """User, password, database and program of somebody who knows the password."""
        given = wire.login(packet)
        proof = given.proof
        if given.plugin != wire.PLUGIN:
            await client.send(b"\xfe" + wire.PLUGIN + b"\0" + salt + b"\0")
            proof = await client.packet()
        accounts = json.loads(Path(self._settings["accounts"]).read_text())
        password = accounts.get(given.user)
        if password is None or not wire.proves(proof, password, salt):
            await client.send(wire.error(1045, f"Access denied for user '{given.user}'@'127.0.0.1'"))
            return None
        return given.user, password, given.database, given.program

    def upstream(self, user: str, password: str, database: str) -> pymysql.Connection[Any]:
        link = pymysql.connect(
            unix_socket=self._settings["socket"],
            user=user,
            password=password,
            database=database or None,
            charset="utf8mb4",
            autocommit=None,
            ssl_disabled=True,  # nothing is between us
            sql_mode="STRICT_ALL_TABLES",
            client_flag=CLIENT.LOCAL_FILES | CLIENT.MULTI_STATEMENTS,
        )
        with link.cursor() as cursor:
            cursor.execute(_PREPARE)
        return link

    def note(self, sql: str) -> None:
        self._log.write(json.dumps(sql) + "\n")


async def _exactly(sock: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = await asyncio.get_running_loop().sock_recv(sock, count - len(found))
        if not part:
            raise ConnectionError
        found += part
    return found


class Conversation:
    """One client and its connection to MySQL."""

    def __init__(self, proxy: Proxy, client: Channel, user: str, password: str, database: str, program: str) -> None:
        self._proxy, self._client = proxy, client
        self._who = (user, password, database)
        self._database, self._program = database, program
        self._transaction = rules.Transaction()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            link = await loop.run_in_executor(None, self._proxy.upstream, *self._who)
        except pymysql.MySQLError as e:
            await self._client.send(wire.error(int(e.args[0]), str(e.args[1])))
            return
        sock = link._sock.dup()  # type: ignore[attr-defined]
        sock.setblocking(False)
        self._server = Channel(*await asyncio.open_unix_connection(sock=sock, limit=1 << 20))
        number = link.thread_id()
        try:
            self._proxy.catalog.programs[number] = self._program
            await self._client.send(wire.ok())
            while True:
                await self._command(await self._client.message())
        finally:
            self._proxy.catalog.programs.pop(number, None)
            self._server.close()
            link._force_close()  # type: ignore[attr-defined]

    async def _command(self, message: bytes) -> None:
        kind = message[0] if message else 0
        if kind == QUIT:
            raise Cut
        if kind == INIT_DB:
            self._database = message[1:].decode()
        if kind == QUERY:
            await self._query(message[1:].decode("utf-8", "surrogateescape"))
        elif kind in (INIT_DB, PING):
            await self._pass(message)
        else:
            await self._client.send(wire.error(1295, "This command is not supported yet"))

    async def _query(self, sql: str) -> None:
        if sql.startswith(ORDER):
            self._proxy.faults.order(sql[len(ORDER) :])
            await self._client.send(wire.ok())
            return
        self._proxy.note(sql)
        fault = self._proxy.faults.take(sql)
        if fault and fault.kind == "refuse":
            await self._client.send(wire.error(fault.number, fault.text))
            return
        if fault and fault.kind == "cut":
            raise Cut
        if fault and fault.kind == "lose":
            await self._apart("ROLLBACK")
        if len(sql) > _LONG:  # values, for the most part: it is passed as it is
            await self._pass(bytes([QUERY]) + sql.encode("utf-8", "surrogateescape"), fault)
            return
        try:
            rules.check(sql, self._database, self._proxy.catalog)
            self._transaction.check(sql, self._database)
        except rules.Refusal as e:
            await self._client.send(wire.error(e.number, e.text))
            return
        used = re.match(r"(?i)\s*USE\s+`?([^`;\s]+)", sql)
        if used:
            self._database = used[1]
        if fault and fault.kind == "asks":
            await self._client.send(b"\xfb" + fault.text.encode())
            while await self._client.packet():
                pass
            await self._client.send(wire.ok())
            return
        told = rules.rewritten(sql, self._proxy.catalog)
        await self._pass(bytes([QUERY]) + told.encode("utf-8", "surrogateescape"), fault)

    async def _apart(self, sql: str) -> None:
        """A statement of our own, whose answer the client does not see."""
        self._server.number = 0
        await self._server.send(bytes([QUERY]) + sql.encode())
        await self._server.packet()

    # --- passing on ---------------------------------------------------------------------------------------------------

    async def _pass(self, message: bytes, fault: Fault | None = None) -> None:
        self._server.number = 0
        await self._server.send(message)
        lost = fault is not None and fault.kind == "answered"
        while await self._result(fault, lost=lost):
            pass

    async def _result(self, fault: Fault | None, *, lost: bool) -> bool:
        """One result; whether another follows."""
        first = await self._relayed(lost=lost)
        if first[0] == wire.LOCAL_REQUEST:
            await self._file(fault)
            first = await self._relayed(lost=lost)
        if lost:
            raise Cut
        if first[0] == wire.ERROR:
            return False
        if first[0] == wire.OK:
            return wire.more_results(first)
        for _ in range(2):  # columns, rows
            while not wire.is_eof(packet := await self._relayed()):
                if packet[:1] == b"\xff":
                    return False
        return bool(int.from_bytes(packet[3:5], "little") & wire.MORE_RESULTS)

    async def _relayed(self, *, lost: bool = False) -> bytes:
        packet = await self._server.packet()
        whole = packet
        self._client.number = (self._server.number - 1) % 256
        if not lost or packet[:1] == b"\xfb":
            await self._client.send(packet) if len(packet) < wire.MOST else await self._long(packet)
        while len(packet) == wire.MOST:
            packet = await self._server.packet()
            await self._long(packet)
        return whole

    async def _long(self, packet: bytes) -> None:
        """A part of what comes in several packets."""
        number = (self._server.number - 1) % 256
        self._client.writer.write(len(packet).to_bytes(3, "little") + bytes([number]) + packet)
        await self._client.writer.drain()

    async def _file(self, fault: Fault | None) -> None:
        """What the client sends for LOAD DATA LOCAL, until it sends nothing."""
        sent = 0
        while True:
            packet = await self._client.packet()
            if fault and fault.kind == "mid-load" and (sent := sent + len(packet)) > fault.number:
                raise Cut
            self._server.number = (self._client.number - 1) % 256
            self._server.writer.write(len(packet).to_bytes(3, "little") + bytes([self._server.number]) + packet)
            await self._server.writer.drain()
            if not packet:
                return


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    with suppress(KeyboardInterrupt):
        asyncio.run(Proxy(settings).serve())


if __name__ == "__main__":
    main()
