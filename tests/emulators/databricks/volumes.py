"""Volumes as folders: ``/Volumes/catalog/schema/volume/…``."""

from __future__ import annotations

from pathlib import Path

from tests.emulators.databricks.errors import Refused


class Volumes:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def make(self, catalog: str, schema: str, name: str, *, quiet: bool) -> None:
        path = self._folder / catalog / schema / name
        if path.exists() and not quiet:
            raise Refused("RESOURCE_ALREADY_EXISTS", f"volume {name} already exists", "42710")
        path.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where a file of a volume lies. Raises Refused where there is no such volume."""
        parts = name.split("/")
        if len(parts) < 5 or parts[:2] != ["", "Volumes"] or ".." in parts:
            raise Refused("INVALID_PARAMETER_VALUE.PATH", f"{name} is no path of a volume", "22023")
        root = self._folder.joinpath(*(p.lower() for p in parts[2:5]))
        if not root.is_dir():
            raise Refused("UC_VOLUME_NOT_FOUND", f"Volume {'.'.join(parts[2:5])} does not exist", "42704")
        return root.joinpath(*parts[5:])

    def listed(self, name: str) -> list[tuple[str, str, int]]:
        folder = self.path(name)
        if not folder.is_dir():
            raise Refused("PATH_NOT_FOUND", f"Path does not exist: {name}", "42K03")
        return [(f"{name.rstrip('/')}/{f.name}", f.name, f.stat().st_size) for f in sorted(folder.iterdir())]

    def store(self, name: str, content: bytes) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.with_name(f".{path.name}.part")
        whole.write_bytes(content)
        whole.replace(path)  # as an object store does: whole or not at all
