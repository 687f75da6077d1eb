"""The vendor's driver, held to what we may rely on: TLS that was asked for, passwords that are not told, files that are
none.

Left to itself the driver goes on without TLS where the server offers none, opens whatever file of this machine the
server asks for, and sends the end of a file behind one that broke off in its middle, so that its half is taken for all
of it.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from singlestoredb.exceptions import Error
from singlestoredb.mysql import connection as driver
from singlestoredb.mysql.constants import CLIENT, COMMAND, SERVER_STATUS

from whimbrel.connectors.protocols import Buffer
from whimbrel.errors import LoaderFailed, TlsFailed

if TYPE_CHECKING:
    _Connection = Any
else:
    _Connection = driver.Connection

CONNECT_SECONDS: Final = 15  # for an address to be reached, and for each answer until we are in
BLOCK_BYTES: Final = 256 * 1024
STREAM_NAME: Final = "whimbrel-rows"  # what the server may ask for; no file of that name is ever opened
# When a peer that answers nothing counts as lost, in seconds; the system's own patience is two hours.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
_INFO: Final = re.compile(r"Records: (\d+)\s+Deleted: (\d+)\s+Skipped: (\d+)\s+Warnings: (\d+)")
_PROOF: Final = "mysql_native_password"  # a way to log in that shows that the password is known, and not the password


@dataclass(frozen=True)
class Loaded:
    """What the server says it did with a file: rows, and whether it was silent about none."""

    rows: int
    doubts: int


class Link(_Connection):  # type: ignore[misc]
    """A connection that may be closed twice."""

    _sock: socket.socket
    _auth_plugin_name: str

    def __init__(self, parameters: Mapping[str, Any], program: str) -> None:
        self.tls_required = parameters["ssl_mode"] not in ("disabled", "preferred")
        super().__init__(
            host=parameters["host"],
            port=int(parameters.get("port", 3306)),
            user=parameters["user"],
            password=parameters["password"].encode(),
            charset="utf8mb4",
            autocommit=True,
            client_flag=CLIENT.LOCAL_FILES,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=CONNECT_SECONDS,
            write_timeout=CONNECT_SECONDS,
            program_name=program,
            ssl=_tls(parameters),
            ssl_disabled=parameters["ssl_mode"] == "disabled",
            auth_plugin_map={name: _refusing(name) for name in _TELLING},
            pure_python=True,
            parse_json=False,
            enable_extended_data_types=False,
            defer_connect=True,
        )

    def _request_authentication(self) -> None:
        if self.tls_required and not self.server_capabilities & CLIENT.SSL:
            raise TlsFailed(
                "the server offers no TLS, and nothing is sent to it",
                remedy="Turn TLS on at the server, or set ssl_mode to disabled if the line is safe.",
            )
        # Whatever way the server names first, the driver would take it without asking anybody, and some send the
        # password itself. So we begin with a proof, and the server must ask for another way, which _refusing judges.
        announced, self._auth_plugin_name = self._auth_plugin_name, _PROOF
        try:
            super()._request_authentication()
        except Error as e:
            if e.args and isinstance(e.args[0], int):  # the server's, or of the line
                raise
            raise _unsafe(announced) from e  # it goes on with a way of its own, without asking for one

    def opened(self) -> None:
        """Bound no answer from now on: a load takes as long as it takes."""
        self._read_timeout = self._write_timeout = None
        self._sock.settimeout(None)
        for option, seconds in _KEEPALIVE.items():
            if hasattr(socket, option):  # not on every system
                self._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)

    def query(self, sql: Any, unbuffered: bool = False, infile_stream: Any = None) -> int:
        """As it is to the server, without the driver's own language in between."""
        text = sql.encode("utf-8", "surrogateescape") if isinstance(sql, str) else sql
        self._execute_command(COMMAND.COM_QUERY, text)
        self._affected_rows = self._read_query_result(unbuffered=unbuffered)
        return int(self._affected_rows)

    def load(self, sql: str, blocks: Iterable[Buffer]) -> Loaded:
        """Run one LOAD DATA LOCAL of ``STREAM_NAME`` and send ``blocks`` as its file.

        If ``blocks`` raises, or the server asks for any other file, the connection is closed, so that a half-sent file
        is rolled back and never taken for a whole one.
        """
        self._execute_command(COMMAND.COM_QUERY, sql.encode())
        packet = self._read_packet()
        if not packet.is_load_local_packet():
            self.close()
            raise LoaderFailed("the target server answered LOAD DATA LOCAL without asking for the rows")
        if packet.get_all_data()[1:] != STREAM_NAME.encode():
            self.close()
            raise LoaderFailed("the target server asked for a file of this machine, which was refused")
        try:
            for block in blocks:
                for at in range(0, len(block), BLOCK_BYTES):
                    self.write_packet(bytes(block[at : at + BLOCK_BYTES]))
        except BaseException:
            self._force_close()
            raise
        self.write_packet(b"")
        result = driver.MySQLResult(self)  # type: ignore[attr-defined]
        result.read()
        self.server_status = result.server_status or 0
        message = result.message.decode("ascii", "replace") if isinstance(result.message, bytes) else result.message
        found = _INFO.search(message or "")
        if found is None:
            return Loaded(int(result.affected_rows), int(result.warning_count or 0))
        records, _, skipped, warnings = (int(n) for n in found.groups())
        return Loaded(records, skipped + warnings)

    @property
    def in_transaction(self) -> bool:
        """What the server said of it with its last answer that was no rows."""
        return bool(self.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    # what the server asks for outside of ``load`` is refused
    @property
    def _local_infile(self) -> bool:
        return False

    @_local_infile.setter
    def _local_infile(self, value: bool) -> None:
        pass

    def close(self) -> None:
        if self.open:
            super().close()

    def cut(self) -> None:
        """End it from another thread, whatever waits for an answer here."""
        if self.open:
            self._sock.shutdown(socket.SHUT_RDWR)


def _tls(parameters: Mapping[str, Any]) -> ssl.SSLContext | None:
    mode = parameters["ssl_mode"]
    if mode == "disabled":
        return None
    try:
        context = ssl.create_default_context(cafile=parameters.get("ssl_ca"))
    except (OSError, ssl.SSLError) as e:
        raise TlsFailed(f"parameters.ssl_ca: {parameters.get('ssl_ca')} cannot be used: {e}") from e
    context.check_hostname = mode == "verify_identity"
    if mode in ("preferred", "required"):
        context.verify_mode = ssl.CERT_NONE
    return context


# --- ways to log in that tell the server, or who plays it, the password itself ----------------------------------------

_TELLING: Final = ("mysql_clear_password", "dialog", "mysql_old_password", "sha256_password", "caching_sha2_password")


def _refusing(plugin: str) -> Callable[[Any], Any]:
    class Handler:
        def __init__(self, link: Any) -> None:
            self.link = link

        def authenticate(self, packet: Any) -> Any:
            verified = self.link.tls_required and self.link.ctx.verify_mode == ssl.CERT_REQUIRED
            if not (self.link._secure and verified):
                raise _unsafe(plugin)
            data = self.link.password + b"\0"
            if plugin not in ("mysql_clear_password",):
                raise _unsafe(plugin)
            self.link.write_packet(data)
            answer = self.link._read_packet()
            answer.check_error()
            return answer

    return Handler


def _unsafe(plugin: str) -> TlsFailed:
    return TlsFailed(
        f"the server asks for the password itself ({plugin}), which it is not given",
        remedy="Use ssl_mode verify_ca or verify_identity, and an account that logs in with mysql_native_password.",
    )
