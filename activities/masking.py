"""Secrets that this process has in memory, and how to keep them out of every line it writes."""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections.abc import Iterable

MASK = "***"
SHORT = 6  # a secret below this many characters is masked only where it stands as a word of its own

_lock = threading.Lock()
_secrets: set[str] = set()
_pattern: re.Pattern[str] | None = None


def remember(secrets: Iterable[str]) -> None:
    """From now on mask these values in every log line and error of this process."""
    global _pattern
    with _lock:
        new = {s for s in secrets if s} - _secrets
        if not new:
            return
        _secrets.update(new)
        longest_first = sorted(_secrets, key=len, reverse=True)
        _pattern = re.compile("|".join(_expression(s) for s in longest_first))


def _expression(secret: str) -> str:
    quoted = re.escape(secret)
    return quoted if len(secret) >= SHORT else rf"(?<!\w){quoted}(?!\w)"


def mask(text: str) -> str:
    """The text with every known secret replaced by ``***``."""
    pattern = _pattern
    return pattern.sub(MASK, text) if pattern else text


class MaskingFilter(logging.Filter):
    """Masks a record's message, arguments and traceback before any handler formats it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = mask(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = mask("".join(traceback.format_exception(*record.exc_info)).rstrip())
            record.exc_info = None
        return True
