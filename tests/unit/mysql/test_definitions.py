"""SHOW CREATE TABLE read, rendered for the same server, applied, and shown again by the server's own client."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.mysql import MySQL
from whimbrel.connectors.mysql.connection import Session
from whimbrel.connectors.mysql.source.constants import spelled
from whimbrel.connectors.mysql.source.definitions import Definition, definition
from whimbrel.connectors.mysql.source.schema import reflect, resolve
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.errors import DefinitionRefused
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

ORIGIN, COPY = "defined_origin", "defined_copy"
T = TableName("shop", "t")

MYSQL_TEXT = r"""CREATE TABLE `t` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT /*!80023 INVISIBLE */,
  `a` varchar(40) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT 'o''x\\y\n?' COMMENT 'it''s "a", b\n) KEY',
  `b` varbinary(4) DEFAULT 0xFF00,
  `c` binary(4) DEFAULT 'A\0',
  `d` datetime(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  `e` enum('a','b''c','x\\y','n\nl','d,e)') DEFAULT 'a',
  `f` text DEFAULT (concat(_utf8mb4'é',_utf8mb4'it\'s',_latin1'x')),
  `g` int GENERATED ALWAYS AS (if((`a` = _utf8mb4'é)'),1,2)) STORED NOT NULL COMMENT 'c',
  `p` point NOT NULL /*!80003 SRID 4326 */,
  `y` decimal(10,2) unsigned zerofill DEFAULT '0000001.50',
  `z` int /*!50606 STORAGE DISK */ /*!50606 COLUMN_FORMAT FIXED */ DEFAULT NULL,
  `n``q` bit(3) DEFAULT b'101',
  PRIMARY KEY (`id`) COMMENT 'x',
  UNIQUE KEY `u` (`a`(5) DESC,`y`) USING BTREE /*!80000 INVISIBLE */,
  KEY `fx` ((lower(`a`)) DESC,`id`),
  FULLTEXT KEY `ft` (`f`) /*!50100 WITH PARSER `ngram` */ ,
  SPATIAL KEY `sp` (`p`),
  CONSTRAINT `fk` FOREIGN KEY (`y`, `z`) REFERENCES `other`.`par` (`a`, `b`) ON DELETE SET NULL ON UPDATE CASCADE,
  CONSTRAINT `ck` CHECK ((`y` > 0)),
  CONSTRAINT `off` CHECK ((`z` > 0)) /*!80016 NOT ENFORCED */
) /*!50100 TABLESPACE `innodb_system` */ ENGINE=InnoDB AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb3 ROW_FORMAT=DYNAMIC"""
MYSQL_TEXT += r""" COMMENT='par''ent\n"x"\\' COMPRESSION='zlib'
/*!50100 PARTITION BY RANGE (`id`)
(PARTITION p0 VALUES LESS THAN (10) COMMENT = 'x)y' ENGINE = InnoDB) */"""
MARIADB_TEXT = r"""CREATE TABLE `t` (
  `id` int(11) NOT NULL DEFAULT nextval(`shop`.`sq`),
  `v` varchar(20) /*M!100301 COMPRESSED*/ DEFAULT NULL,
  `w` varchar(9) DEFAULT NULL WITHOUT SYSTEM VERSIONING,
  `h` int(11) INVISIBLE DEFAULT -5 CHECK (`h` < 0),
  `j` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT '[]' CHECK (json_valid(`j`)),
  `c` datetime /* mariadb-5.3 */ DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  `x` varchar(36) DEFAULT uuid(),
  `s` timestamp(6) GENERATED ALWAYS AS ROW START INVISIBLE,
  `e` timestamp(6) GENERATED ALWAYS AS ROW END INVISIBLE,
  `b` date NOT NULL,
  `d` date NOT NULL,
  PERIOD FOR SYSTEM_TIME (`s`, `e`),
  PERIOD FOR `app` (`b`, `d`),
  PRIMARY KEY (`id`),
  UNIQUE KEY `u` (`w`,`app` WITHOUT OVERLAPS),
  KEY `i` (`h`) IGNORED,
  UNIQUE KEY `long` (`j`) USING HASH,
  CONSTRAINT `CONSTRAINT_1` CHECK (`v` <> 'é\n')
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci `page_compressed`=1 WITH SYSTEM VERSIONING
 PARTITION BY SYSTEM_TIME
(PARTITION `p0` HISTORY ENGINE = InnoDB)"""


def test_what_mysql_shows() -> None:
    found = definition(T, MYSQL_TEXT, mariadb=False)
    columns = {c.name: c for c in found.columns}
    assert [*columns] == ["id", "a", "b", "c", "d", "e", "f", "g", "p", "y", "z", "n`q"]
    assert {name: c.default for name, c in columns.items() if c.default is not None} == {
        "a": "'o''x\\\\y\n?'",
        "b": "0xff00",
        "c": "0x41000000",
        "d": "CURRENT_TIMESTAMP(3)",
        "e": "'a'",
        "f": "(concat('é','it''s',_latin1'x'))",
        "y": "0000001.50",
        "n`q": "b'101'",
    }
    assert (columns["a"].comment, columns["a"].collation) == ('it\'s "a", b\n) KEY', "latin1_bin")
    assert columns["e"].native == "enum('a','b''c','x\\\\y','n\nl','d,e)')"
    assert (columns["g"].generated, columns["g"].stored, columns["g"].nullable) == ("if((`a` = 'é)'),1,2)", True, False)
    assert (columns["p"].srid, columns["y"].native) == (4326, "decimal(10,2) unsigned zerofill")
    assert columns["id"].invisible
    assert columns["id"].numbered
    assert columns["d"].on_update == "CURRENT_TIMESTAMP(3)"
    indexes = {i.name: i for i in found.indexes}
    assert [(p.sql, p.column) for p in indexes["fx"].parts] == [("(lower(`a`)) DESC", None), ("`id`", "id")]
    assert [(p.prefix, p.descending) for p in indexes["u"].parts] == [(5, True), (None, False)]
    assert [indexes[n].kind for n in ("PRIMARY", "u", "fx", "ft", "sp")] == [
        *("primary", "unique", "", "fulltext", "spatial")
    ]
    assert indexes["u"].hidden
    assert [(c.name, c.expression, c.enforced) for c in found.checks] == [
        ("ck", "(`y` > 0)", True),
        ("off", "(`z` > 0)", False),
    ]
    key = found.foreign_keys[0]
    assert (key.parent, key.parent_columns, key.on_delete, key.on_update) == (
        *(("other", "par"), ("a", "b"), "SET NULL", "CASCADE"),
    )
    assert (found.engine, found.charset, found.collation, found.next_number) == ("InnoDB", "utf8mb3", None, 77)
    assert (found.comment, found.partitioned, found.versioned) == ('par\'ent\n"x"\\', True, False)


def test_what_mariadb_shows() -> None:
    found = definition(T, MARIADB_TEXT, mariadb=True)
    columns = {c.name: c for c in found.columns}
    assert {name: c.default for name, c in columns.items() if c.default is not None} == {
        "id": "nextval(`shop`.`sq`)",
        "h": "-5",
        "j": "'[]'",
        "c": "current_timestamp()",
        "x": "uuid()",
    }
    assert (columns["h"].check, columns["j"].check) == ("`h` < 0", "json_valid(`j`)")
    assert [n for n, c in columns.items() if c.compressed] == ["v"]
    assert [n for n, c in columns.items() if c.unversioned] == ["w"]
    assert [columns[n].generated for n in "se"] == ["ROW START", "ROW END"]
    assert found.periods == {"app": ("b", "d")}
    assert found.versioned
    assert found.partitioned
    assert found.checks[0].expression == "`v` <> 'é\n'"
    assert [(p.column, p.without_overlaps) for i in found.indexes if i.name == "u" for p in i.parts] == [
        ("w", False),
        ("app", True),
    ]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("NOT NULL AUTO_INCREMENT", "NOT NULL MASKED WITH x", r"shop\.t, column id: .*: MASKED WITH x"),
        ("DEFAULT b'101'", "DEFAULT b'101' REALLY", r"column n`q: .* at: REALLY"),
        ("STORED NOT NULL", "SOMEWHERE", r"column g: .* at: SOMEWHERE"),
        ("SPATIAL KEY", "ORBITAL KEY", r"a key or constraint: .* at: ORBITAL KEY `sp`"),
        ("USING BTREE", "ONLY ON SUNDAYS", r"a key or constraint: .* at: ONLY ON SUNDAYS"),
        ("ON DELETE SET NULL", "ON DELETE PERHAPS", r"at: PERHAPS"),
        ("ROW_FORMAT=DYNAMIC", "ROW_ORDER=RANDOM", r"its options: .* at: ROW_ORDER=RANDOM"),
        ("CREATE TABLE", "CREATE VIEW", r"shop\.t: .* at: CREATE VIEW"),
        ("COMMENT 'c'", "COMMENT 'c", "not understood"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(old: str, new: str, named: str) -> None:
    assert old in MYSQL_TEXT
    with pytest.raises(DefinitionRefused, match=named) as caught:
        definition(T, MYSQL_TEXT.replace(old, new, 1), mariadb=False)
    assert caught.value.details["tables"] == ["shop.t"]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([MYSQL_TEXT, MARIADB_TEXT]), st.booleans())
def test_damaged_definitions_are_read_or_refused(data: st.DataObject, text: str, mariadb: bool) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    new = data.draw(st.sampled_from(["", ")", "(", ",", "'", "`", "/*", "*/", "DEFAULT", "CHECK (", "-", "0x", "x"]))
    with suppress(DefinitionRefused):
        assert isinstance(definition(T, text[:start] + new + text[end:], mariadb=mariadb), Definition)


def test_constants_are_spelled_for_every_session() -> None:
    shown = {
        r"concat(_utf8mb4'é',_utf8mb3 'it\'s',_latin1'x',_latin1'é',_utf16'a')": "concat('é','it''s',_latin1'x',"
        "_latin1 X'c3a9',_utf16 X'61')",
        "(`a` <> _binary'\udcff\\0')": "(`a` <> _binary X'ff00')",
        "`a` <> '\udce9'": "`a` <> X'e9'",
        "if(`_x` = _latin1 0x41,`b'c`,b'1')": "if(`_x` = _latin1 0x41,`b'c`,b'1')",
        "json_extract(`t`,_utf8mb4'$[*]')": "json_extract(`t`,'$[*]')",
    }
    assert {text: spelled(text) for text in shown} == shown


# --- against the servers ----------------------------------------------------------------------------------------------

_WORDS = ["x", "it's", 'say "so"', "a\\b", "two\nlines", "é漢", "1", "tab\t", "?", "", "😀 ok", "--", "/* c */", "`q`"]


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"


class _Drawn:
    """Definitions drawn by a seeded generator."""

    def __init__(self, seed: int, *, mariadb: bool) -> None:
        self.random = random.Random(seed)
        self.mariadb = mariadb

    def one(self, *choices: str) -> str:
        return self.random.choice(choices)

    def text(self, most: int = 40) -> str:
        return _literal(self.random.choice(_WORDS)[:most])

    def table(self, name: str) -> str:
        columns = [self.column(f"c{n}") for n in range(self.random.randint(1, 9))]
        keys = ["PRIMARY KEY (id)", "KEY `a ``b` (k(3), id DESC)", f"CHECK (k <> {self.text()})"]
        keys += [f"UNIQUE KEY u (k, id) COMMENT {self.text()}"] * self.random.randint(0, 1)
        keys += [f"CONSTRAINT `{name}_named` CHECK (concat(k, {self.text()}) <> 'x')"] * self.random.randint(0, 1)
        if not self.mariadb:
            keys += [f"KEY fx ((concat(k, {self.text()})) DESC, id)"] * self.random.randint(0, 1)
        body = ", ".join(
            ("id INT NOT NULL", f"k VARCHAR(20) COLLATE utf8mb4_bin NOT NULL COMMENT {self.text()}", *columns, *keys)
        )
        latin = "" if self.mariadb else "DEFAULT CHARSET=latin1"  # there it is the checks' character set too
        tail = self.one("", latin, "COLLATE=utf8mb4_bin", f"COMMENT={_literal('it is x')}")
        return f"CREATE TABLE `{name}` ({body}) {tail}"

    def column(self, name: str) -> str:
        drawn = self.random.choice([self.number, self.text_column, self.bytes_column, self.time, self.label, self.made])
        comment = f" COMMENT {self.text()}" if self.random.random() < 0.3 else ""
        return f"{name} {drawn()}{comment}"

    def number(self) -> str:
        kind = self.one(
            "TINYINT", "INT", "BIGINT UNSIGNED", "DECIMAL(10,3)", "DOUBLE", "INT(5) UNSIGNED ZEROFILL", "YEAR"
        )
        default = self.one("", "DEFAULT 5", "NOT NULL", "NOT NULL DEFAULT 7", "DEFAULT NULL", "DEFAULT (1 + 2)")
        hidden = self.one("", "", "INVISIBLE") if "DEFAULT" in default else ""
        return f"{kind} {'DEFAULT 2020' if kind == 'YEAR' else default} {'' if kind == 'YEAR' else hidden}"

    def text_column(self) -> str:
        kind = self.one(
            "VARCHAR(40) CHARACTER SET utf8mb4",
            "CHAR(20) COLLATE utf8mb4_unicode_ci",
            "VARCHAR(30) CHARACTER SET latin1",
            "VARCHAR(9) COLLATE utf8mb4_bin",
        )
        shown = self.random.choice([w for w in _WORDS if w.isascii() or "latin1" not in kind])[:9]
        return f"{kind} {self.one(f'DEFAULT {_literal(shown)}', f'NOT NULL DEFAULT {_literal(shown)}', 'NOT NULL', '')}"

    def bytes_column(self) -> str:
        kind = self.one("BINARY(6)", "VARBINARY(6)", "BIT(9)")
        if kind == "BIT(9)":
            return f"{kind} {self.one('', 'DEFAULT 5', 'NOT NULL')}"
        value = bytes(self.random.choice(b"\0'\\A\xff\xe9\n\x1a") for _ in range(self.random.randint(0, 6)))
        return f"{kind} DEFAULT {f'0x{value.hex()}' if value else repr('')}"

    def time(self) -> str:
        digits = self.one("", "(3)", "(6)")
        return self.one(
            f"DATETIME{digits} DEFAULT CURRENT_TIMESTAMP{digits} ON UPDATE CURRENT_TIMESTAMP{digits}",
            f"TIMESTAMP{digits} NULL DEFAULT NULL",
            f"TIMESTAMP{digits} NOT NULL DEFAULT CURRENT_TIMESTAMP{digits}",
            f"DATETIME{digits} NOT NULL DEFAULT '2020-01-02 03:04:05'",
            f"TIME{digits} DEFAULT '-12:00:00'",
            "DATE DEFAULT '2020-01-01'",
            "DATE DEFAULT (CURRENT_DATE)",
        )

    def label(self) -> str:
        labels = self.random.sample(["a", "b'c", "x\\y", "n\nl", "d,e", "é", "(f)", '"'], 4)
        listed = ",".join(map(_literal, labels))
        default = self.one("", f"DEFAULT {_literal(labels[2])}")
        return f"{self.one('ENUM', 'SET') if 'd,e' not in labels else 'ENUM'}({listed}) {default}"

    def made(self) -> str:
        kept = self.one("STORED", "VIRTUAL")
        return self.one(
            f"VARCHAR(60) CHARACTER SET utf8mb4 GENERATED ALWAYS AS (concat(k, {self.text()})) {kept}",
            f"INT AS (if(k = {self.text()}, 1, id * 2)) {kept}",
            f"VARCHAR(60) CHARACTER SET utf8mb4 DEFAULT (concat({self.text()}, {self.text()}))",
            "VARCHAR(60) DEFAULT (UUID())",
            f"TEXT CHARACTER SET utf8mb4 DEFAULT ({self.text()})",
            "JSON DEFAULT ('[1]')",
            "POINT",
        )


@pytest.mark.parametrize("seed", [1])
def test_drawn_tables_come_back_as_they_were(server: MySQL, target: MySQLTarget, seed: int) -> None:
    _round_trip(server, target, seed, 30)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 30))
def test_many_drawn_tables_come_back_as_they_were(server: MySQL, target: MySQLTarget, seed: int) -> None:
    _round_trip(server, target, seed, 60)


def _round_trip(server: MySQL, target: MySQLTarget, seed: int, tables: int) -> None:
    drawn = _Drawn(seed, mariadb=server.flavor == "mariadb")
    for name in (ORIGIN, COPY):
        server.create_database(name)
    names = [f"t{n}" for n in range(tables)]
    server.client(";\n".join(drawn.table(name) for name in names), ORIGIN)
    found = reflect(target.session, [TableName(ORIGIN, name) for name in names])
    rendered = target.render(found, {ORIGIN: COPY}, server.flavor)
    assert [note for note in rendered.notes if "?" not in note] == []
    target.execute_script(";\n".join((*rendered.tables, *rendered.objects)))
    shown = {name: [_shown(server, database, name) for database in (ORIGIN, COPY)] for name in names}
    for name, (theirs, ours) in shown.items():
        assert ours == theirs, name
    copies = reflect(target.session, [TableName(COPY, name) for name in names])
    assert [(c.columns, c.checks, c.indexes) for c in copies] == [(c.columns, c.checks, c.indexes) for c in found]


def _shown(server: MySQL, database: str, table: str) -> list[str]:
    """SHOW CREATE TABLE's lines, as the client prints them, in no order and without the comments of indexes. MySQL says
    a character set and collation where somebody once said them, also the table's own."""
    shown = server.client(f"SHOW CREATE TABLE `{table}`", database)
    collation = "latin1_swedish_ci" if "COLLATE=" not in shown else shown.rpartition("COLLATE=")[2].split()[0]
    shown = re.sub(rf" CHARACTER SET \w+ COLLATE {collation}\b| COLLATE {collation}\b", "", shown)
    lines = (line.strip().rstrip(",") for line in shown.splitlines())
    return sorted(line.partition(" COMMENT ")[0] if "KEY `u`" in line else line for line in lines)


def read(opened: Callable[..., Session], *tables: str) -> tuple[Table, ...]:
    session = opened()
    return reflect(session, resolve(session, [TableName(ORIGIN, t) for t in tables] or [TableName(ORIGIN, "*")]))


def test_expressions_with_any_characters_mean_the_same(server: MySQL, target: MySQLTarget) -> None:
    """By what the copies do: defaults, checks and computed columns."""
    for name in (ORIGIN, COPY):
        server.create_database(name)
    server.client(
        "CREATE TABLE x (id INT PRIMARY KEY, a VARCHAR(40) DEFAULT (concat('é','漢', '😀')), c VARCHAR(20),"
        " CONSTRAINT ck CHECK (c <> 'é漢😀'), p VARCHAR(9) DEFAULT '😀?',"
        " u VARCHAR(9) CHARACTER SET utf16 DEFAULT 'é😀',"
        " g VARCHAR(60) GENERATED ALWAYS AS (if(c='é','ja','nein')) STORED,"
        " s VARCHAR(9) CHARACTER SET sjis DEFAULT 'ー')",
        ORIGIN,
    )
    rendered = target.render(reflect(target.session, [TableName(ORIGIN, "x")]), {ORIGIN: COPY}, server.flavor)
    target.execute_script(";\n".join((*rendered.tables, *rendered.objects)))
    rows = []
    for name in (ORIGIN, COPY):
        server.client("INSERT INTO x (id, c) VALUES (1, 'é'), (2, 'e')", name)
        with pytest.raises(Exception, match="ck"):
            server.client("INSERT INTO x (id, c) VALUES (3, 'é漢😀')", name)
        rows.append(server.client("SELECT * FROM x ORDER BY id", name))
    assert rows[0] == rows[1]
    assert "é漢😀\té\t😀?\té😀\tja\tー" in rows[0]


def test_bytes_are_padded_as_binary_pads(opened: Callable[..., Session], server: MySQL) -> None:
    server.create_database(ORIGIN)
    server.client(
        "CREATE TABLE d (a VARBINARY(4) DEFAULT 0xff00, b BINARY(2) DEFAULT 0x41, c BINARY(16) DEFAULT "
        "0x00000000000000000000000000000000, e VARBINARY(3) DEFAULT '', f BINARY(3) DEFAULT 'é',"
        " g BINARY(2) DEFAULT '')",
        ORIGIN,
    )
    found = {c.name: str(c.default) for c in read(opened, "d")[0].columns}
    assert found == {"a": "0xff00", "b": "0x4100", "c": "0x" + "00" * 16, "e": "''", "f": "0xc3a900", "g": "0x0000"}


def test_what_no_definition_of_ours_can_keep_is_named(opened: Callable[..., Session], server: MySQL) -> None:
    server.create_database(ORIGIN)
    wanted: dict[str, Any]
    if server.flavor == "mysql":
        server.client(
            "CREATE TABLE n (id INT, CONSTRAINT nn CHECK (id < 5) NOT ENFORCED, KEY hid (id) INVISIBLE);"
            "SET SESSION sql_generate_invisible_primary_key = 1; CREATE TABLE g (a INT)",
            ORIGIN,
        )
        generated, plain = read(opened)
        assert (generated.primary_key, generated.column("my_row_id").invisible) == (("my_row_id",), True)
        assert [(c.name, str(c.expression), c.enforced) for c in plain.checks] == [("nn", "(`id` < 5)", False)]
        assert plain.lost == ("index hid is hidden from the optimizer on the source, used here",)
        return
    server.client(
        "CREATE TABLE v (id INT PRIMARY KEY, x INT) WITH SYSTEM VERSIONING; CREATE TABLE c (id INT PRIMARY KEY, x TEXT "
        "COMPRESSED, y INT CHECK (y > 1)) PAGE_COMPRESSED=1; CREATE TABLE p (id INT, s DATE, e DATE, PERIOD FOR app "
        "(s, e), UNIQUE (id, app WITHOUT OVERLAPS)); CREATE SEQUENCE sq",
        ORIGIN,
    )
    compressed, period, versioned = read(opened)
    assert [t.versioned for t in (compressed, period, versioned)] == [False, False, True]
    assert [(c.name, str(c.expression)) for c in compressed.checks] == [("y", "`y` > 1")]
    assert [i.columns for i in period.indexes] == [("id", "s", "e")]
    wanted = {"c": 1, "p": 1, "v": 1}
    assert {t.name.table: len(t.lost) for t in (compressed, period, versioned)} == wanted
