"""Text of the binlog, which stands there in each column's own character set, as UTF-8.

Tables of single-byte character sets are asked of the server, so that both ways of reading a value agree byte for byte.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

from whimbrel.connectors.mysql.connection import Session, mapped, query
from whimbrel.errors import LogDamaged, LogFormatRefused

Convert = Callable[[bytes], bytes]

PLAIN = frozenset({"utf8mb4", "utf8mb3", "utf8", "ascii", "binary"})
MULTIBYTE = {
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "gbk": "gbk",
    "gb2312": "gb2312",
    "gb18030": "gb18030",
    "big5": "big5",
    "sjis": "shift_jis",
    "cp932": "cp932",
    "ujis": "euc_jp",
    "eucjpms": "euc_jp",
    "euckr": "cp949",
}


class Charsets:
    """Character sets by name, collations by id, as the server has them; conversion functions, made once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: dict[str, Convert | None] = {}
        with mapped("source"):
            self._names = dict(query(session, "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS"))
            if session.mariadb and session.version >= (10, 10, 1):
                view = "information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
                self._names |= dict(query(session, f"SELECT ID, CHARACTER_SET_NAME FROM {view}"))  # noqa: S608
            sizes = query(session, "SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
        self._narrow = {str(name) for name, size in sizes if size == 1}

    def name(self, collation: int) -> str:
        """The character set of a collation id. Raises LogFormatRefused when the server does not list it."""
        found = self._names.get(collation)
        if found is None:
            raise LogFormatRefused(f"the binlog has text in the unknown collation {collation}")
        return str(found)

    def converter(self, charset: str) -> Convert | None:
        """The function to UTF-8, None where the bytes are it already. Raises LogFormatRefused naming the charset."""
        if charset in PLAIN:
            return None
        if charset not in self._made:
            self._made[charset] = self._make(charset)
        return self._made[charset]

    def _make(self, charset: str) -> Convert:
        if charset in self._narrow:
            return _narrow(charset, self._table(charset))
        if charset in MULTIBYTE:
            return _wide(charset, MULTIBYTE[charset])
        raise LogFormatRefused(
            f"text in the character set {charset} cannot be read from the binlog",
            remedy="Convert the column to utf8mb4 on the source.",
        )

    def _table(self, charset: str) -> str:
        """The character of each of the 256 bytes; U+FFFE, which is none, where the server makes up a question mark."""
        parts = ", ".join(f"HEX(CONVERT(CONVERT(0x{byte:02X} USING {charset}) USING utf32))" for byte in range(256))
        with mapped("source"):
            row = query(self._session, f"SELECT {parts}")[0]
        codes = ("FFFE" if int(code, 16) == ord("?") != byte else code for byte, code in enumerate(row))
        return "".join(chr(int(code, 16)) for code in codes)


def _narrow(charset: str, table: str) -> Convert:
    def convert(value: bytes) -> bytes:
        try:
            return codecs.charmap_decode(value, "strict", table)[0].encode()
        except UnicodeError:
            raise LogDamaged(f"text in the binlog has bytes without a meaning in {charset}") from None

    return convert


def _wide(charset: str, codec: str) -> Convert:
    def convert(value: bytes) -> bytes:
        try:
            return value.decode(codec).encode()
        except UnicodeError:
            raise LogDamaged(f"text in the binlog is not valid {charset}") from None

    return convert
