"""No line of the worker's log shows a secret."""

from __future__ import annotations

import io
import json
import logging

import pytest

from activities.masking import MaskingFilter, mask, remember
from worker.logs import JsonLines


@pytest.fixture
def lines() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(MaskingFilter())
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("test.masking")
    logger.handlers, logger.propagate = [handler], False
    return logger, stream


def test_longer_secrets_go_first() -> None:
    remember(["swordfish", "swordfish-and-more"])
    assert mask("a swordfish-and-more b swordfish") == "a *** b ***"


def test_pattern_characters_are_nothing_special() -> None:
    remember(["p.*(w]rd\\1"])
    assert mask("x p.*(w]rd\\1 y") == "x *** y"


def test_empty_secrets_mask_nothing() -> None:
    remember([""])
    assert mask("ab") == "ab"


def test_arguments_and_tracebacks_are_masked(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = lines
    remember(["open-sesame-42"])
    try:
        raise ValueError("open-sesame-42 was refused")
    except ValueError:
        logger.exception("login as %s with %s", "u", "open-sesame-42", extra={"operation": "op1"})
    line = json.loads(stream.getvalue())
    assert line["message"] == "login as u with ***"
    assert "ValueError: *** was refused" in line["traceback"]
    assert line["operation"] == "op1"
    assert line["level"] == "error"
    assert line["time"].endswith("Z")
    assert "sesame" not in stream.getvalue()
