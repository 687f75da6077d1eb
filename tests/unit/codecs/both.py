"""Compiled codecs as plain Python too: the same file must do the same without a compiler."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import whimbrel.codecs


def interpreted(name: str) -> ModuleType:
    """The module ``whimbrel.codecs.<name>`` from its source, under a name of its own."""
    [folder] = whimbrel.codecs.__path__
    spec = importlib.util.spec_from_file_location(f"interpreted_{name}", f"{folder}/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
