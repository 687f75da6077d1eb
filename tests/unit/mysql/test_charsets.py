"""Every character set that the server has: the log's converter and the load's, against what the client shows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import product
from typing import Any

import pytest

from tests.servers.mysql import MySQL
from whimbrel.connectors.mysql import rowtext
from whimbrel.connectors.mysql.connection import connect
from whimbrel.connectors.mysql.source import charsets as made
from whimbrel.connectors.mysql.source.charsets import Charsets
from whimbrel.connectors.mysql.types import read_type
from whimbrel.errors import LogFormatRefused
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

BYTE = range(256)
LONGER: dict[str, list[tuple[int, ...]]] = {  # where characters of three and four bytes can be
    "ujis": [(0x8F, b, c) for b, c in product(BYTE, BYTE)],
    "eucjpms": [(0x8F, b, c) for b, c in product(BYTE, BYTE)],
    "gb18030": [
        *product((0x81, 0x82, 0x83, 0x84, 0x85), range(0x30, 0x3A), range(0x81, 0xFF), range(0x30, 0x3A)),
        *product((0x8F, 0x90, 0xA7, 0xE3, 0xE4, 0xFE), (0x30, 0x32, 0x39), (0x81, 0x9A, 0xFE), range(0x30, 0x3A)),
    ],
}


def sequences(charset: str, size: int) -> list[bytes]:
    """All bytes and pairs of them, and what longer characters look like; Unicode's in UTF-32 are drawn."""
    if charset == "utf32":
        drawn = random.Random(1)
        edges = (0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0xFFFE, 0xFFFF, 0x10000, 0x10FFFF)
        return [n.to_bytes(4, "big") for n in (*edges, *(drawn.randrange(0x110000) for _ in range(20_000)))]
    found = [bytes([n]) for n in BYTE]
    if size > 1:
        found += [bytes(pair) for pair in product(BYTE, BYTE)]
    if charset in ("utf16", "utf16le"):
        halves = [0xD800, 0xD83D, 0xDBFF, 0xDC00, 0xDE00, 0xDFFF, 0x41]
        order: Any = "big" if charset == "utf16" else "little"
        found += [a.to_bytes(2, order) + b.to_bytes(2, order) for a, b in product(halves, halves)]
    return found + [bytes(longer) for longer in LONGER.get(charset, ())]


def drawn(values: list[bytes], most: int) -> list[bytes]:
    """All single bytes and so many others, always the same."""
    rest = values[256:]
    return values[:256] + (rest if len(rest) <= most else random.Random(7).sample(rest, most))


def shown(server: MySQL, charset: str, values: list[bytes], condition: str) -> Iterator[tuple[bytes, bytes, bool]]:
    """Those that a column takes: its bytes, as UTF-8, and whether the load would refuse it; all by the client."""
    rows = [",".join(f"(0x{v.hex()})" for v in values[at : at + 20_000]) for at in range(0, len(values), 20_000)]
    script = (
        "drop database if exists characters; create database characters; use characters; set sql_mode = '';"
        f"create table t (id int auto_increment primary key, v varchar(9) character set {charset});"
        + "".join(f"insert ignore into t (v) values {some};" for some in rows)
        + f"select concat(hex(v), ' ', ifnull(hex(convert(v using utf8mb4)), ''), ' ', ifnull({condition}, 0)) from t"
    )
    for line in server.client(script).splitlines():
        raw, text, refused = line.split(" ")
        yield bytes.fromhex(raw), bytes.fromhex(text), refused == "1"


def compare(server: MySQL, parameters: dict[str, Any], most: int) -> None:
    with closing(connect(parameters, "charsets")) as session:
        charsets = Charsets(session)
        query = "select character_set_name, maxlen from information_schema.character_sets order by maxlen, 1"
        for line in server.client(query).splitlines():
            charset, size = line.split("\t")
            if charset in ("binary", "utf8mb3", "utf8mb4"):
                continue
            convert = charsets.converter(charset, "s.t.v")
            assert convert is not None
            column = Column("v", read_type("varchar(9)", f"{charset}_bin"))
            condition = rowtext.unreadable(Table(TableName("characters", "t"), (column,)), [column]).get("v", "0")
            count = 0
            for raw, text, refused in shown(server, charset, drawn(sequences(charset, int(size)), most), condition):
                count += 1
                ours = None
                with suppress(LogFormatRefused):
                    ours = convert(raw)
                assert ours == (None if refused else text), (charset, raw.hex(), text, refused)
                assert refused or text.replace(b"?", b"").count(b"\xef\xbf\xbd") == 0 or charset[:3] in UNICODE, raw
            assert count >= min(most, 128), charset
        assert len(charsets._made) >= 36


UNICODE = ("utf", "ucs", "gb1")


def test_two_thousand_sequences_of_every_character_set(server: MySQL, parameters: dict[str, Any]) -> None:
    compare(server, parameters, 2_000)


@pytest.mark.long
def test_every_sequence_of_every_character_set(server: MySQL, parameters: dict[str, Any]) -> None:
    compare(server, parameters, 1 << 20)


def test_bytes_without_a_meaning_name_the_column(server: MySQL, parameters: dict[str, Any]) -> None:
    with closing(connect(parameters, "charsets")) as session:
        convert = Charsets(session).converter("euckr", "shop.item.name")
        assert convert is not None
        assert convert("한글 ok".encode("euc_kr")) == "한글 ok".encode()
        with pytest.raises(
            LogFormatRefused, match=r"shop\.item\.name: .* no meaning in its character set, euckr"
        ) as found:
            convert(b"ok\xfe\xfe")
        assert "VARBINARY" in found.value.how_to_fix


@pytest.mark.parametrize(("charset", "codec"), [("gbk", "gbk"), ("sjis", "shift_jis"), ("ujis", "euc_jp")])
def test_the_codec_never_has_the_last_word(charset: str, codec: str) -> None:
    """Against a server whose table lacks some of the codec's characters, has others for them, and some of its own."""
    chance = random.Random(3)
    pairs = [bytes([n]) for n in BYTE] + [bytes(pair) for pair in product(range(0x80, 256), BYTE)]
    pairs += [bytes((0x8F, b, c)) for b, c in product(range(0x80, 256), range(0x80, 256)) if charset == "ujis"]
    known = {p: ord(text) for p in pairs if len(text := p.decode(codec, "ignore")) == 1 and text.encode(codec) == p}
    codes = list(known.values())
    longer = [p for p in known if len(p) > 1]
    known |= dict(zip(chance.sample(longer, 40), chance.sample(codes, 40), strict=True))
    known = {p: code for p, code in known.items() if p.isascii() or chance.random() < 0.99}
    by_codec, by_table = made._wide(charset, known), made._by_table(charset, known)
    pool = [*known, *longer]
    agreed = 0
    for _ in range(4_000):
        parts = [chance.choice(pool) if chance.random() < 0.99 else chance.randbytes(1) for _ in range(4)]
        joined = b"".join(parts)
        assert by_codec(joined) == by_table(joined), joined.hex()
        agreed += by_codec(joined) is not None
    assert 2_000 < agreed < 4_000
