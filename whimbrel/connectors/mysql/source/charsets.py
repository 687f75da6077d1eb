"""Text of the binlog, which stands there in each column's own character set, as UTF-8.

Outside of Unicode, what bytes mean is asked of the server, so that both ways of reading a value agree: no two libraries
have the same tables for the character sets of East Asia. A character set costs its table's 0.1 s when capture begins to
need it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, product

from whimbrel.connectors.mysql.connection import Session, execute, mapped, query
from whimbrel.errors import LogFormatRefused

Convert = Callable[[bytes], bytes | None]  # None for bytes without a meaning

PLAIN = frozenset({"utf8mb4", "utf8mb3", "utf8", "binary"})
UNICODE = {"utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be"}
NO_CHARACTER = (0x3F, 0xFFFD)  # what servers make of bytes without a meaning; gb18030 has U+FFFD itself
# Lead bytes of characters of three bytes: the single shift in front of the third code set.
_THREE_BYTES = {"ujis": 0x8F, "eucjpms": 0x8F}
_FOUR_BYTES = {"gb18030"}
# Python's nearest relatives, which differ from the servers' tables in some characters.
_CODECS = {
    **{"gbk": "gbk", "gb2312": "gb2312", "gb18030": "gb18030", "big5": "big5", "euckr": "cp949"},
    **{"sjis": "shift_jis", "cp932": "cp932", "ujis": "euc_jp", "eucjpms": "euc_jp"},
}
_SHORT_CHARACTERS = 10_000_000  # group_concat_max_len

SECOND_PLANE, LAST = 0x90308130, 0x10FFFF  # gb18030 counts through from here to the last character
REMEDY = "Correct these texts in the source, or make the column a VARBINARY or BLOB there; then load the data again."


class Charsets:
    """Character sets by name, collations by id, as the server has them; conversion functions, made once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: dict[str, Convert] = {}
        with mapped("source"):
            self._names = dict(query(session, "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS"))
            if session.mariadb and session.version >= (10, 10, 1):
                view = "information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
                self._names |= dict(query(session, f"SELECT ID, CHARACTER_SET_NAME FROM {view}"))  # noqa: S608
            sizes = query(session, "SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
        self._sizes = {str(name): int(size) for name, size in sizes}

    def name(self, collation: int) -> str:
        """The character set of a collation id. Raises LogFormatRefused when the server does not list it."""
        found = self._names.get(collation)
        if found is None:
            raise LogFormatRefused(f"the binlog has text in the unknown collation {collation}")
        return str(found)

    def converter(self, charset: str, column: str = "") -> Callable[[bytes], bytes] | None:
        """The function to UTF-8, None where the bytes are it already. Raises LogFormatRefused naming the charset.

        The function raises LogFormatRefused, naming ``column``, for bytes that are no character.
        """
        if charset in PLAIN:
            return None
        if charset not in self._made:
            self._made[charset] = self._make(charset)
        convert = self._made[charset]

        def converted(value: bytes) -> bytes:
            text = convert(value)
            if text is None:
                told = f"{column}: " if column else ""
                raise LogFormatRefused(
                    f"{told}a text in the binlog has bytes that have no meaning in its character set, {charset}",
                    remedy=REMEDY,
                )
            return text

        return converted

    def _make(self, charset: str) -> Convert:
        if charset == "ucs2":
            return _pairs if self._session.mariadb else _unicode("utf-16-be", bytes_each=2)
        if charset in UNICODE:
            lone = self._session.mariadb and charset == "utf32"
            return _unicode(UNICODE[charset], errors="surrogatepass" if lone else "strict")
        size = self._sizes.get(charset, 0)
        if size == 1:
            return _narrow(self._ask(charset, range(256)))
        if size and (size == 2 or charset in _THREE_BYTES or charset in _FOUR_BYTES):
            return _wide(charset, self._characters(charset))
        raise LogFormatRefused(
            f"text in the character set {charset} cannot be read from the binlog",
            remedy="Convert the column to utf8mb4 on the source.",
        )

    def _characters(self, charset: str) -> dict[bytes, int]:
        """Every sequence of bytes that is a character, and which."""
        found = self._ask(charset, range(256))
        leads = [byte for byte in range(256) if bytes([byte]) not in found]
        found |= self._ask(charset, leads, range(256))
        if charset in _THREE_BYTES:
            found |= self._ask(charset, [_THREE_BYTES[charset]], range(0x80, 256), range(0x80, 256))
        if charset in _FOUR_BYTES:
            found |= self._ask(charset, range(0x81, 0x85), range(0x30, 0x3A), range(0x80, 256), range(0x30, 0x3A))
        return found

    def _ask(self, charset: str, *bytes_at: Iterable[int]) -> dict[bytes, int]:
        """Of all sequences with one of these bytes at each place, those that are one character, and which."""
        places = [list(values) for values in bytes_at]
        names = [f"p{n}.n" for n in range(len(places))]
        converted = f"CONVERT(CONVERT(CHAR({', '.join(names)}) USING {charset}) USING utf32)"
        group = ", ".join(names[:-1]) or "0"
        sql = (
            f"SELECT {group}, GROUP_CONCAT(IFNULL(HEX({converted}), '') ORDER BY {names[-1]})"  # noqa: S608 - numbers
            f" FROM {', '.join(f'{_relation(values)} AS p{n}' for n, values in enumerate(places))}"
            + (f" GROUP BY {group}" if len(places) > 1 else "")
        )
        none = NO_CHARACTER[:1] if charset in _FOUR_BYTES else NO_CHARACTER
        found: dict[bytes, int] = {}
        with mapped("source"):
            execute(self._session, f"SET SESSION group_concat_max_len = {_SHORT_CHARACTERS}")
            for *lead, codes in query(self._session, sql):
                front = bytes(int(n) for n in lead[: len(places) - 1])
                for last, code in zip(places[-1], str(codes).split(","), strict=True):
                    sequence = front + bytes([last])
                    if len(code) == 8 and (int(code, 16) not in none or sequence == b"?"):
                        found[sequence] = int(code, 16)
        return found


def _relation(values: Sequence[int]) -> str:
    """A table of these numbers, its column ``n``."""
    return f"(SELECT {values[0]} AS n{''.join(f' UNION ALL SELECT {n}' for n in values[1:])})"


def _unicode(codec: str, errors: str = "strict", bytes_each: int = 0) -> Convert:
    """``bytes_each`` is the size of every character, where it has one."""

    def convert(value: bytes) -> bytes | None:
        try:
            text = value.decode(codec, errors)
            return None if bytes_each and len(text) * bytes_each != len(value) else text.encode("utf-8", errors)
        except UnicodeError:
            return None

    return convert


def _pairs(value: bytes) -> bytes | None:
    """MariaDB's ucs2 takes halves of surrogate pairs for characters, and converts each by itself."""
    if len(value) & 1:
        return None
    text = value.decode("utf-16-be", "surrogatepass")
    if len(text) * 2 != len(value):
        text = "".join(chr(int.from_bytes(value[at : at + 2], "big")) for at in range(0, len(value), 2))
    return text.encode("utf-8", "surrogatepass")


def _narrow(characters: Mapping[bytes, int]) -> Convert:
    table = "".join(chr(characters.get(bytes([byte]), 0xFFFE)) for byte in range(256))  # U+FFFE is an error there
    ascii_is_same = table[:128] == bytes(range(128)).decode()

    def convert(value: bytes) -> bytes | None:
        if ascii_is_same and value.isascii():
            return value
        try:
            return codecs.charmap_decode(value, "strict", table)[0].encode()
        except UnicodeError:
            return None

    return convert


class _Characters(dict[bytes, bytes]):
    """Characters of several bytes as UTF-8; ASCII is what it is."""

    def __missing__(self, sequence: bytes) -> bytes:
        if sequence.isascii():
            return sequence
        raise KeyError(sequence)


class _Linear(_Characters):
    """With gb18030's characters beyond the first plane, which have no table."""

    def __missing__(self, sequence: bytes) -> bytes:
        if len(sequence) == 4 and sequence >= SECOND_PLANE.to_bytes(4, "big"):
            code = 0x10000 + _linear(sequence) - _linear(SECOND_PLANE.to_bytes(4, "big"))
            if code <= LAST:
                return chr(code).encode()
        return super().__missing__(sequence)


def _linear(sequence: bytes) -> int:
    """The number of a gb18030 character of four bytes; the second and the fourth are digits."""
    a, b, c, d = sequence
    if not (0x30 <= b <= 0x39 and 0x81 <= c <= 0xFE and 0x30 <= d <= 0x39):
        raise KeyError(sequence)
    return ((a * 10 + b) * 126 + c) * 10 + d


def _wide(charset: str, characters: Mapping[bytes, int]) -> Convert:
    """By Python's codec, which is twenty times as fast, where the text has only characters on which it and the server
    agree; all others by the server's table."""
    by_table = _by_table(charset, characters)
    if charset not in _CODECS:
        return by_table
    codec = _CODECS[charset]
    doubtful = _doubtful(codec, charset, characters)
    found = re.compile(f"[{re.escape(''.join(sorted(doubtful)))}]").search if doubtful else None

    def convert(value: bytes) -> bytes | None:
        if value.isascii():
            return value
        try:
            text = value.decode(codec)
        except UnicodeError:
            return by_table(value)
        return text.encode() if found is None or found(text) is None else by_table(value)

    return convert


def _doubtful(codec: str, charset: str, characters: Mapping[bytes, int]) -> set[str]:
    """What the codec makes of those sequences of which the server makes something else, or nothing."""
    doubtful: set[str] = set()
    singles = [bytes([byte]) for byte in range(256)]
    alone = {s for s in singles if _decoded(s, codec)}
    leads = [s for s in singles if s not in alone]
    longer: Iterable[bytes] = (lead + s for lead in leads for s in singles)
    if charset in _THREE_BYTES:
        high = singles[0x80:]
        longer = chain(longer, (bytes([_THREE_BYTES[charset]]) + b + c for b, c in product(high, high)))
    if charset in _FOUR_BYTES:  # beyond those the codec counts, as we do
        digits = singles[0x30:0x3A]
        longer = chain(longer, map(b"".join, product(singles[0x81:0x85], digits, singles[0x81:0xFF], digits)))
    for sequence in chain(alone, longer):
        text = _decoded(sequence, codec)
        code = sequence[0] if sequence.isascii() else characters.get(sequence)
        if text and (code is None or text != chr(code)):
            doubtful.update(text)
    return doubtful


def _decoded(sequence: bytes, codec: str) -> str:
    """'' for what is no character."""
    try:
        return sequence.decode(codec)
    except UnicodeError:
        return ""


def _by_table(charset: str, characters: Mapping[bytes, int]) -> Convert:
    """Cut into runs of ASCII and single characters, each looked up: three passes, none of them in Python."""
    table = (_Linear if charset in _FOUR_BYTES else _Characters)(
        {sequence: chr(code).encode() for sequence, code in characters.items() if not sequence.isascii()}
    )
    singles = bytes(byte for byte in range(0x80, 256) if bytes([byte]) in characters)
    longer = b""
    if charset in _THREE_BYTES:
        longer = re.escape(bytes([_THREE_BYTES[charset]])) + b"..|"
    if charset in _FOUR_BYTES:
        longer = b"[\x81-\xfe][0-9]..|"
    alone = b"[" + re.escape(singles) + b"]|" if singles else b""
    split = re.compile(b"[\x00-\x7f]+|" + longer + alone + b"[\x80-\xff].|.", re.DOTALL).findall
    character = table.__getitem__

    def convert(value: bytes) -> bytes | None:
        if value.isascii():
            return value
        try:
            return b"".join(map(character, split(value)))
        except KeyError:
            return None

    return convert
