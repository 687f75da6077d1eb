"""Row and log codecs on byte buffers. Each is one file in Cython's pure-Python mode: compiled where a compiler is at
hand, plain Python otherwise, with the same results."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import pyarrow as pa


class _Absent(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


# With the first value that it converts, pyarrow imports pandas if that is installed, as a warehouse's driver may have
# it: two seconds and 50 MB a process, of which nothing here has any use. Once it found none, it does not look again.
if "pandas" not in sys.modules:
    _absent = _Absent()
    sys.meta_path.insert(0, _absent)
    try:
        pa.scalar(b"")
    finally:
        sys.meta_path.remove(_absent)
