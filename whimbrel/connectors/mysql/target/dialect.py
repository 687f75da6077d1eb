"""What the target server at hand is and knows, so that DDL can be rendered without asking it again."""

from __future__ import annotations

from dataclasses import dataclass, field

from whimbrel.connectors.mysql.connection import Session, query

# What one flavor calls what the other calls differently, nearest first. Tried when a collation does not exist.
_COUNTERPARTS = {
    "utf8mb4_0900_ai_ci": ("utf8mb4_uca1400_nopad_ai_ci", "utf8mb4_unicode_520_nopad_ci"),
    "utf8mb4_0900_as_ci": ("utf8mb4_uca1400_nopad_as_ci",),
    "utf8mb4_0900_as_cs": ("utf8mb4_uca1400_nopad_as_cs",),
    "utf8mb4_0900_bin": ("utf8mb4_nopad_bin",),
    "utf8mb4_nopad_bin": ("utf8mb4_0900_bin",),
    "utf8mb4_uca1400_ai_ci": ("utf8mb4_0900_ai_ci",),
    "utf8mb4_uca1400_as_ci": ("utf8mb4_0900_as_ci",),
    "utf8mb4_uca1400_as_cs": ("utf8mb4_0900_as_cs",),
    "utf8mb4_uca1400_nopad_ai_ci": ("utf8mb4_0900_ai_ci",),
    "utf8mb4_uca1400_nopad_as_cs": ("utf8mb4_0900_as_cs",),
}


@dataclass(frozen=True)
class Dialect:
    """``collations`` are all the server has; an empty set means that they were not asked for and all are taken."""

    mariadb: bool
    version: tuple[int, ...]
    collations: frozenset[str] = field(default=frozenset(), repr=False)
    folds_names: bool = False  # lower_case_table_names is not 0

    @property
    def has_uuid(self) -> bool:
        return self.mariadb and self.version >= (10, 7)

    @property
    def exact_collation(self) -> str:
        """Where 'a', 'A' and 'a ' are three texts. Before MySQL 8.0.17 'a' and 'a ' could only be one."""
        if self.mariadb:
            return "utf8mb4_nopad_bin"
        return "utf8mb4_0900_bin" if self.version >= (8, 0, 17) else "utf8mb4_bin"

    def collation(self, wanted: str) -> tuple[str, bool]:
        """The collation to use, and whether it is the one wanted (under whichever name)."""
        if not self.collations or wanted in self.collations:
            return wanted, True
        for old, new in (("utf8_", "utf8mb3_"), ("utf8mb3_", "utf8_")):
            if wanted.startswith(old) and new + wanted.removeprefix(old) in self.collations:
                return new + wanted.removeprefix(old), True
        nearest = next((c for c in _COUNTERPARTS.get(wanted, ()) if c in self.collations), None)
        return nearest or self._no_coarser(wanted), False

    def _no_coarser(self, wanted: str) -> str:
        """A collation where no two texts are one that were two: byte by byte, and blanks at the end count where they
        did. Few character sets have such a one, so the text may become utf8mb4."""
        charset = wanted.partition("_")[0]
        if "_nopad_" in wanted or "_0900_" in wanted:
            found = f"{charset}_nopad_bin"
        else:
            found = f"{charset}_bin"
        return found if found in self.collations else self.exact_collation


def dialect_of(session: Session) -> Dialect:
    """Ask the server."""
    view, column = "COLLATIONS", "COLLATION_NAME"
    if session.mariadb and session.version >= (10, 10, 1):
        view, column = "COLLATION_CHARACTER_SET_APPLICABILITY", "FULL_COLLATION_NAME"
    collations = query(session, f"SELECT {column} FROM information_schema.{view}")  # noqa: S608 - both are constants
    folds = query(session, "SELECT @@lower_case_table_names")[0][0]
    return Dialect(session.mariadb, session.version, frozenset(str(c[0]) for c in collations), bool(int(folds)))
