"""SQL of MySQL and MariaDB cut into words, names, constants and signs, by the rules of their own lexers.

What stands in texts and comments is never taken for a word, and what stands in comments that the server runs
(``/*!50100 ... */``, MariaDB's ``/*M! ... */``) is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

ANSI_QUOTES: Final = 1 << 2  # bits of sql_mode, as the log has them
NO_BACKSLASH_ESCAPES: Final = 1 << 20


class Kind(Enum):
    WORD = "word"  # unquoted: a keyword or a name
    NAME = "name"  # in quotes of names
    TEXT = "text"
    NUMBER = "number"
    HEX = "hex"
    BITS = "bits"
    SIGN = "sign"


class Token(NamedTuple):
    """``value`` is what the token means: a name or text without its quotes, hex digits or bits without their mark.

    ``start`` and ``end`` are where it stands in the text.
    """

    kind: Kind
    value: str
    start: int
    end: int


class NotUnderstood(Exception):
    """SQL that is cut off, or that says what nobody here knows; ``words`` are the ones at fault."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


@dataclass(frozen=True)
class Spelling:
    """How a session wrote its statements: which server it spoke to and what its sql_mode said about quotes."""

    mariadb: bool = False
    ansi_quotes: bool = False
    backslashes: bool = True

    @classmethod
    def of_mode(cls, sql_mode: int, *, mariadb: bool) -> Spelling:
        return cls(mariadb, bool(sql_mode & ANSI_QUOTES), not sql_mode & NO_BACKSLASH_ESCAPES)


_BLANK = r"[\x00\t\n\x0b\x0c\r ]"  # Unicode's other blanks are letters to the servers
_LETTER = r"[0-9A-Za-z_$\x80-\U0010ffff]"
_SKIPPED = re.compile(rf"(?:{_BLANK}++|--(?=[\x00-\x20]|\Z)[^\n]*+|#[^\n]*+)++")
_CODE = {True: re.compile(r"/\*M?!(?:\d{5,6})?"), False: re.compile(r"/\*!(?:\d{5,6})?")}
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_NUMBER = r"(?:\d++\.\d*+|\.\d++|\d++)(?:[eE][-+]?\d++)?"
_TOKEN = re.compile(
    rf"(?P<name>`(?:[^`]|``)*+`)|[xX]'(?P<x>(?:[0-9a-fA-F]{{2}})*+)'|[bB]'(?P<b>[01]*+)'"
    rf"|0x(?P<hex>[0-9a-fA-F]++)(?!{_LETTER})|0b(?P<bits>[01]++)(?!{_LETTER})"
    rf"|(?P<number>{_NUMBER}(?!{_LETTER})|\d++(?!{_LETTER}))|(?P<word>{_LETTER}++)"
    r"|(?P<sign><=>|<=|>=|<>|!=|:=|\|\||&&|<<|>>|->>|->|.)",
    re.S,
)
_WORD = re.compile(rf"{_LETTER}++")
_TEXTS = {
    ("'", True): re.compile(r"'(?:[^'\\]++|\\.|'')*+'", re.S),
    ('"', True): re.compile(r'"(?:[^"\\]++|\\.|"")*+"', re.S),
    ("'", False): re.compile(r"'(?:[^']++|'')*+'"),
    ('"', False): re.compile(r'"(?:[^"]++|"")*+"'),
}
_ESCAPE = re.compile(r"\\(.)", re.S)
_ESCAPED = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}
_SHOWN = 60


def tokens(text: str, spelling: Spelling) -> Iterator[Token]:
    """The tokens in order. Raises NotUnderstood where a text, a name or a comment has no end."""
    at, code, behind_name = 0, False, False
    while True:
        at = _code_begins(text, at, spelling)
        if at >= len(text):
            if code:
                raise NotUnderstood("a comment without an end")
            return
        if text.startswith("/*", at):
            found = _CODE[spelling.mariadb].match(text, at)
            if found is not None:
                code, at = True, found.end()
                continue
            raise NotUnderstood("a comment without an end")
        if code and text.startswith("*/", at):
            code, at = False, at + 2
            continue
        token = _token(text, at, spelling, behind_name)
        yield token
        # Behind ``schema.`` every letter and digit belongs to a name, also in ``schema.1e5``.
        behind_name = token.kind in (Kind.WORD, Kind.NAME) and text.startswith(".", token.end)
        at = token.end
        if behind_name:
            yield Token(Kind.SIGN, ".", at, at + 1)
            at += 1


def _code_begins(text: str, at: int, spelling: Spelling) -> int:
    """The next place that is neither blank nor comment."""
    while True:
        skipped = _SKIPPED.match(text, at)
        if skipped is not None:
            at = skipped.end()
        if not text.startswith("/*", at) or _CODE[spelling.mariadb].match(text, at):
            return at
        comment = _COMMENT.match(text, at)
        if comment is None:
            return at
        at = comment.end()


def _token(text: str, at: int, spelling: Spelling, behind_name: bool) -> Token:
    first = text[at]
    if first in "'\"":
        names = first == '"' and spelling.ansi_quotes
        found = _TEXTS[first, spelling.backslashes and not names].match(text, at)
        if found is None:
            raise NotUnderstood(f"a text without an end: {text[at : at + _SHOWN]}")
        value = found[0][1:-1].replace(first * 2, first)
        if spelling.backslashes and not names and "\\" in value:
            value = _unescaped(found[0][1:-1], first)
        return Token(Kind.NAME if names else Kind.TEXT, value, at, found.end())
    if behind_name and (found := _WORD.match(text, at)) is not None:
        return Token(Kind.WORD, found[0], at, found.end())
    found = _TOKEN.match(text, at)
    if found is None or (found["sign"] == "`"):
        raise NotUnderstood(f"a name without an end: {text[at : at + _SHOWN]}")
    kind, value = _KINDS[found.lastgroup or ""], found[found.lastgroup or 0]
    if kind is Kind.NAME:
        value = value[1:-1].replace("``", "`")
    return Token(kind, value, at, found.end())


_KINDS = {
    "name": Kind.NAME, "x": Kind.HEX, "hex": Kind.HEX, "b": Kind.BITS, "bits": Kind.BITS,
    "number": Kind.NUMBER, "word": Kind.WORD, "sign": Kind.SIGN,
}  # fmt: skip


def _unescaped(text: str, quote: str) -> str:
    parts = []
    at = 0
    for found in _ESCAPE.finditer(text):
        parts.append(text[at : found.start()].replace(quote * 2, quote))
        parts.append(_ESCAPED.get(found[1], found[1]))
        at = found.end()
    return "".join((*parts, text[at:].replace(quote * 2, quote)))


class Reader:
    """Walks over tokens, asking for words and names. Keywords are never quoted and have no case."""

    def __init__(self, text: str, found: Sequence[Token]) -> None:
        self.text = text
        self.found = found
        self.at = 0

    @classmethod
    def of(cls, text: str, spelling: Spelling) -> Reader:
        """Raises NotUnderstood."""
        return cls(text, list(tokens(text, spelling)))

    @property
    def ended(self) -> bool:
        return self.at >= len(self.found)

    def peek(self, ahead: int = 0) -> Token | None:
        place = self.at + ahead
        return self.found[place] if place < len(self.found) else None

    def next(self) -> Token:
        """Raises NotUnderstood at the end."""
        if self.ended:
            raise NotUnderstood("the end of the statement")
        self.at += 1
        return self.found[self.at - 1]

    def sees(self, *words: str) -> bool:
        """Whether these keywords or signs come next; a keyword may be several spellings joined by ``|``."""
        return all(_is(self.peek(n), word) for n, word in enumerate(words))

    def accept(self, *words: str) -> bool:
        """Step over these keywords or signs if all of them come next."""
        if not self.sees(*words):
            return False
        self.at += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Raises NotUnderstood naming what stands there instead."""
        if not self.accept(*words):
            raise self.stuck()

    def name(self) -> str:
        """A name, quoted or not. Raises NotUnderstood."""
        token = self.peek()
        if token is None or token.kind not in (Kind.NAME, Kind.WORD):
            raise self.stuck()
        return self.next().value

    def qualified(self) -> tuple[str | None, str]:
        """(schema or None, table), also spelled with a dot in front. Raises NotUnderstood."""
        if self.accept("."):
            return None, self.name()
        first = self.name()
        return (first, self.name()) if self.accept(".") else (None, first)

    def value(self, kind: Kind) -> str:
        """The value of a token of this kind. Raises NotUnderstood."""
        token = self.peek()
        if token is None or token.kind is not kind:
            raise self.stuck()
        return self.next().value

    def stuck(self) -> NotUnderstood:
        """What to raise about the words that come next."""
        token = self.peek()
        return NotUnderstood("the end of the statement" if token is None else self.text[token.start :][:_SHOWN])

    def skip_group(self) -> None:
        """Step over a bracket and all behind it up to its end. Raises NotUnderstood when it has none."""
        self.expect("(")
        depth = 1
        while depth:
            token = self.next()
            if token.kind is Kind.SIGN:
                depth += (token.value == "(") - (token.value == ")")

    def group(self) -> str:
        """The text inside a bracket, which comes next, as it stands. Raises NotUnderstood."""
        opening = self.peek()
        self.skip_group()
        closing = self.found[self.at - 1]
        assert opening is not None
        return self.text[opening.end : closing.start]


def _is(token: Token | None, word: str) -> bool:
    if token is None:
        return False
    if token.kind is Kind.WORD:
        return token.value.upper() in word.split("|") if "|" in word else token.value.upper() == word
    return token.kind is Kind.SIGN and token.value == word
