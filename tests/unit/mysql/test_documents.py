"""Documents with numbers that a JSON text would lose in MySQL arrive with every digit; the client shows both ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.mysql import MySQL
from tests.staged import staged
from tests.unit.mysql.test_apply import Move, move
from whimbrel.codecs.binlog_json import number
from whimbrel.codecs.jsonnumbers import Fate, fate_of
from whimbrel.connectors.mysql.connection import Session, execute, query
from whimbrel.connectors.mysql.source.schema import reflect
from whimbrel.connectors.mysql.target import loading
from whimbrel.connectors.mysql.target.load import loading_of
from whimbrel.connectors.mysql.target.loading import load_rows
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.errors import ValueRefused
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

__all__ = ["move"]  # a fixture

DATABASE = "documents_here"


def test_the_server_keeps_what_we_say_it_keeps(opened: Callable[..., Session], server: MySQL) -> None:
    """Every number of which a text is enough is shown again as it was written."""
    if server.flavor == "mariadb":
        pytest.skip("MariaDB keeps JSON as text")
    drawn = random.Random(5)
    doubles = [drawn.uniform(-1, 1) * 10.0 ** drawn.randint(-30, 25) for _ in range(1000)]
    whole = [drawn.randint(-(2**63), 2**64 - 1) for _ in range(200)]
    decimals = [f"{drawn.randint(0, 10**9)}.{drawn.randint(0, 10**n):0{n}}" for n in range(1, 25) for _ in range(20)]
    texts = [*(number(d) for d in doubles), *map(repr, doubles), *map(str, whole), *decimals]
    kept = [t for t in texts if fate_of(t) is Fate.KEPT]
    (shown,) = query(opened(), "SELECT CAST(CAST(%s AS JSON) AS CHAR)", (f"[{', '.join(kept)}]",))
    plain = [(ours, theirs) for ours, theirs in zip(kept, shown[0][1:-1].split(", "), strict=True) if "e" not in ours]
    assert len(plain) > 500
    assert [pair for pair in plain if pair[0] != pair[1]] == []
    lost = [t for t in decimals if fate_of(t) is not Fate.KEPT]
    assert len(lost) > 100


def _table(server: MySQL, target: MySQLTarget) -> Table:
    server.create_database(DATABASE)
    server.client(
        "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(60) CHARACTER SET latin1, a JSON, b BLOB, c BIT(4), z JSON)",
        DATABASE,
    )
    return reflect(target.session, [TableName(DATABASE, "t")])[0]


def _load(session: Session, table: Table, lines: list[bytes], path: Path) -> int:
    path.write_bytes(b"".join(lines))
    file = staged(path, len(lines))
    execute(session, "SET SESSION foreign_key_checks = 0")
    return load_rows(
        session, loading_of(table, table.loaded_columns), lambda: file.blocks(64, "t"), len(lines), str(table.name)
    )


@pytest.mark.parametrize("most", [loading.INSERT_BYTES, 200])
def test_beside_every_kind_of_value(
    server: MySQL,
    target: MySQLTarget,
    opened: Callable[..., Session],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    """In one file with rows that LOAD DATA takes; what stands beside the document is the same by either way."""
    monkeypatch.setattr(loading, "INSERT_BYTES", most)
    table, session = _table(server, target), opened(local_infile=True)
    beside = [r"it's \\ \t\n\\N \\' é".encode(), rb"\N", b"');--", b"''"]
    awkward = r"""{"it's \\"\\\\ \\u00e9": [[], {"": 2.00}]}"""
    documents = [b'{"k": 1.50}', b'{"k": 1.5}', awkward.encode(), b"3.00"]
    lines = [
        b"\t".join((str(n).encode(), text, document, b"00270A5C", b"0101", b'["1.50", 18446744073709551616]')) + b"\n"
        for n, (text, document) in enumerate((t, d) for t in beside for d in documents)
    ]
    lines.append(b"\t".join((b"99", *[rb"\N"] * 5)) + b"\n")
    assert _load(session, table, lines, tmp_path / "rows") == 17
    shown = server.client("SELECT id, HEX(s), HEX(b), c + 0, z FROM t ORDER BY id", DATABASE).splitlines()
    texts = [r"it's \ " + "\t\n" + r"\N \' é", None, "');--", "''"]
    wide = '["1.50", 18446744073709551616]'
    assert shown[:-1] == [
        f"{n}\t{'NULL' if text is None else text.encode('latin-1').hex().upper()}\t00270A5C\t5\t{wide}"
        for n, text in enumerate(text for text in texts for _ in documents)
    ]
    assert shown[-1] == "99" + "\tNULL" * 4
    found = server.client("SELECT a FROM t WHERE id < 4 ORDER BY id", DATABASE).splitlines()
    assert found == ['{"k": 1.50}', '{"k": 1.5}', found[2], "3.00"]
    assert found[2].endswith('{"": 2.00}]}')
    if server.flavor == "mysql":
        path = """$."it's \\\\"\\\\\\\\ é"[1]."" """.strip()
        sql = f"SELECT JSON_TYPE(JSON_EXTRACT(a, '{path.replace(chr(39), chr(39) * 2)}')) FROM t WHERE id = 2"
        assert server.client(sql, DATABASE) == "DECIMAL\n"


@pytest.mark.parametrize("bad", ["9" * 66, "0." + "1" * 31])
def test_a_number_that_nothing_there_can_hold_is_refused(
    server: MySQL, target: MySQLTarget, opened: Callable[..., Session], tmp_path: Path, bad: str
) -> None:
    table, session = _table(server, target), opened(local_infile=True)
    lines = [b"1\ts\t[1.50]\t\\N\t\\N\t\\N\n", f"2\ts\t1\t\\N\t\\N\t[{bad}]\n".encode()]
    if server.flavor == "mariadb":
        assert _load(session, table, lines, tmp_path / "rows") == 2
        assert server.client("SELECT z FROM t WHERE id = 2", DATABASE) == f"[{bad}]\n"
        return
    execute(session, "START TRANSACTION")
    with pytest.raises(ValueRefused, match=r"documents_here\.t, column z: a number in a document") as caught:
        _load(session, table, lines, tmp_path / "rows")
    assert bad not in str(caught.value.to_json())
    execute(session, "ROLLBACK")
    assert server.client("SELECT COUNT(*) FROM t", DATABASE) == "0\n"


def test_values_that_do_not_fit_are_refused_there_too(
    server: MySQL, target: MySQLTarget, opened: Callable[..., Session], tmp_path: Path
) -> None:
    table, session = _table(server, target), opened(local_infile=True)
    execute(session, "START TRANSACTION")
    for bad in ("漢", "x" * 61):
        with pytest.raises((ValueRefused, Exception), match=r"column 's'|column s"):
            _load(session, table, [f"1\t{bad}\t[1.50]\t\\N\t\\N\t\\N\n".encode()], tmp_path / "rows")
    with pytest.raises(ValueRefused):
        _load(session, table, [b"1\ts\t[1.50]\n"], tmp_path / "rows")


DIGITS = "JSON_OBJECT('price', CAST({} AS DECIMAL(30,10)), 'n', {})".format


@pytest.mark.parametrize("key", [" PRIMARY KEY", ""])
def test_changes_of_them(move: Move, key: str) -> None:
    """Rows are put, changed and found again, with the key and by their images."""
    columns = f"id INT{key}, doc JSON, j JSON, t TEXT"
    array = "JSON_ARRAY(0.10, 12345678901234567890)"
    first = ", ".join(f"({n}, {DIGITS('1.50', n)}, {array}, 'it''s')" for n in range(6))
    move(
        f"CREATE TABLE d ({columns});",
        f"INSERT INTO d VALUES (10, {DIGITS('12345678901234567890.1', 0)}, NULL, NULL), (11, NULL, '[1.5]', '1.50');"
        f"UPDATE d SET doc = {DIGITS('2.5', 9)} WHERE id = 1; UPDATE d SET t = 'x' WHERE id = 2;"
        "DELETE FROM d WHERE id = 3; UPDATE d SET j = JSON_ARRAY(0.0000000000000000000010) WHERE id = 4;"
        "UPDATE d SET doc = JSON_SET(doc, '$.n', 7.70) WHERE id = 5",
        before=f"INSERT INTO d VALUES {first};",
    )
