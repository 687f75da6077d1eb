"""Collations that the other server lacks: what a target takes instead."""

from __future__ import annotations

from collections.abc import Sequence

from tests.servers.mysql import MySQL
from whimbrel.connectors.mysql.target.dialect import Dialect


def test_collations() -> None:
    here = Dialect(True, (10, 11), frozenset({"utf8mb3_general_ci", "utf8mb4_nopad_bin"}))
    assert here.collation("utf8_general_ci") == ("utf8mb3_general_ci", True)
    assert here.collation("utf8mb4_0900_bin") == ("utf8mb4_nopad_bin", False)
    assert here.collation("utf8mb4_nonsense_ci") == ("utf8mb4_nopad_bin", False)


def test_no_fallback_makes_one_of_two_texts(mysql: MySQL, mariadb: MySQL) -> None:
    """For every collation that the other server lacks, of both: texts that only the source tells apart, by weight."""
    texts = ["a", "A", "á", "a ", "", " ", "ß", "ss", "は", "ば", "ハ", "i", "ı"]
    listed = "SELECT COLLATION_NAME FROM information_schema.COLLATIONS"
    full = "SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
    names = {s.flavor: frozenset(s.client(sql).split()) for s, sql in ((mysql, listed), (mariadb, full))}
    versions = {"mysql": (9, 7), "mariadb": (10, 11)}
    for source, target in ((mysql, mariadb), (mariadb, mysql)):
        dialect = Dialect(target is mariadb, versions[target.flavor], names[target.flavor])
        lacking = {name: dialect.collation(name)[0] for name in names[source.flavor] - names[target.flavor]}
        assert len(lacking) > 60
        there = _same(source, sorted(lacking), texts)
        here = _same(target, sorted(set(lacking.values())), texts)
        coarser = {(old, new) for old, new in lacking.items() if here[new] - there[old]}
        assert coarser == set()


def _same(server: MySQL, collations: Sequence[str], texts: Sequence[str]) -> dict[str, set[tuple[int, int]]]:
    """The pairs of texts that are one under each collation; those that its character set lacks are in none."""
    pairs = [(a, b) for a in range(len(texts)) for b in range(a)]
    script = []
    for name in collations:
        charset = name.partition("_")[0]
        held = [(code, f"CONVERT(_utf8mb4 X'{code}' USING {charset})") for code in (t.encode().hex() for t in texts)]
        kept = (
            f"IF(HEX(CONVERT({h} USING utf8mb4)) = '{code}', {h}, NULL) AS t{n}" for n, (code, h) in enumerate(held)
        )
        equal = (f"COALESCE(t{a} COLLATE {name} = t{b}, 0)" for a, b in pairs)
        script.append(f"SELECT CONCAT({', '.join(equal)}) FROM (SELECT {', '.join(kept)}) x")
    lines = server.client(";\n".join(script)).split()
    return {
        name: {pair for pair, same in zip(pairs, line, strict=True) if same == "1"}
        for name, line in zip(collations, lines, strict=True)
    }
