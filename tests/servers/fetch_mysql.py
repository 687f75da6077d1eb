"""Unpacks a MySQL server and client privately, from the package mirror this machine already uses.

Run as ``python -m tests.servers.fetch_mysql``. Debian has no MySQL in its stable suites, its unstable suite is asked;
Ubuntu has it in its own. Nothing is installed: packages are downloaded with an apt configuration of our own whose list
of installed packages is empty, so that even the C library comes along, and are unpacked into the cache folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 300
SKIPPED = re.compile(r"^(perl|libperl|debconf|dpkg|tar|init-system-helpers)")  # only maintainer scripts need them


class ServerMissing(Exception):
    """A server that this machine cannot have; the text says why."""


@dataclass(frozen=True)
class Binaries:
    """An unpacked tree. Programs run through its own loader and libraries, never those of the machine."""

    root: Path

    @property
    def libraries(self) -> Path:
        return next(p.parent for p in self.root.glob("usr/lib/*/ld-linux-*.so.*"))

    def command(self, program: str) -> list[str]:
        """How to start ``program``, given below ``usr``: ``sbin/mysqld``."""
        loader = next(self.libraries.glob("ld-linux-*.so.*"))
        return [str(loader), "--library-path", str(self.libraries), str(self.root / "usr" / program)]


@dataclass(frozen=True)
class Mirror:
    uri: str
    keyring: str | None
    suite: str
    components: str


def cache_folder() -> Path:
    """``WHIMBREL_TEST_CACHE``, else ``.cache`` in the checkout; MySQL goes into its subfolder ``mysql``."""
    given = os.environ.get("WHIMBREL_TEST_CACHE")
    return (Path(given) if given else Path(__file__).resolve().parents[2] / ".cache") / "mysql"


def fetch(say: Callable[[str], object] = print) -> Binaries:
    """The unpacked server; downloads it when it is not there yet. Raises ServerMissing."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = folder / "root"
        if not (folder / "complete").exists():
            _unpack_all(folder, root, say)
            (folder / "complete").touch()
    return Binaries(root)


def _unpack_all(folder: Path, root: Path, say: Callable[[str], object]) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ServerMissing(f"MySQL: this machine has no {tool}")
    mirror = _mirror()
    say(f"MySQL: reading the package index of suite {mirror.suite}")
    apt = _private_apt(folder / "apt", mirror)
    _run(["apt-get", *apt, "-q", "update"], "the package index cannot be read")
    packages = _package_names(apt)
    say(f"MySQL: downloading {' and '.join(packages)} with the libraries they need")
    install = ["-q", "install", "-y", "--no-install-recommends", "--download-only", *packages]
    _run(["apt-get", *apt, *install], "the packages cannot be downloaded")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    archives = sorted((folder / "apt" / "archives").glob("*.deb"))
    wanted = [a for a in archives if not SKIPPED.match(a.name)]
    say(f"MySQL: unpacking {len(wanted)} packages into the cache")
    for archive in wanted:
        _run(["dpkg-deb", "-x", str(archive), str(root)], f"{archive.name} cannot be unpacked")
    for archive in archives:
        archive.unlink()
    if not (root / "usr/sbin/mysqld").exists():
        raise ServerMissing("MySQL: the packages hold no usr/sbin/mysqld")


def _private_apt(folder: Path, mirror: Mirror) -> list[str]:
    """Options that make apt-get use nothing but our own folder and one source."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    status, sources = folder / "status", folder / "sources.list"
    status.write_text("")
    signed = f"[signed-by={mirror.keyring}] " if mirror.keyring else ""
    sources.write_text(f"deb {signed}{mirror.uri} {mirror.suite} {mirror.components}\n")
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": status,
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    return [arg for key, value in settings.items() for arg in ("-o", f"{key}={value}")]


def _package_names(apt: Sequence[str]) -> tuple[str, str]:
    """Server and client, under the plain name or the newest that carries a version in its name."""
    found = []
    for name in ("mysql-server-core", "mysql-client-core"):
        names = _run(["apt-cache", *apt, "pkgnames", name], "the package index cannot be searched").split()
        fitting = sorted((n for n in names if re.fullmatch(rf"{name}(-[\d.]+)?", n)), key=len)
        if not fitting:
            raise ServerMissing(f"MySQL: the mirror's suite has no package {name}")
        found.append(fitting[0])
    return found[0], found[1]


def _mirror() -> Mirror:
    """The mirror and keyring of the machine's own sources, with the suite that has MySQL."""
    release = Path("/etc/os-release")
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', release.read_text(), re.M)) if release.exists() else {}
    codename = system.get("VERSION_CODENAME", "")
    listed = _run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(URI) $(SOURCESENTRY)"], "apt has no sources")
    for line in listed.splitlines():
        repository, index, entry = line.split(" ", 2)
        if f"/dists/{codename}/main/" in index:
            keyring = _keyring(Path(entry.rpartition(":")[0]))
            if system.get("ID") == "ubuntu":
                return Mirror(repository, keyring, codename, "main universe")
            return Mirror(repository, keyring, "sid", "main")
    raise ServerMissing(f"MySQL: apt names no mirror for {codename or 'this system'}")


def _keyring(sources: Path) -> str | None:
    found = re.search(r"signed-by\s*[:=]\s*(/[^\s\]]+)", sources.read_text(), re.I) if sources.exists() else None
    return found[1] if found else None


def _run(argv: Sequence[str], failure: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise ServerMissing(f"MySQL: {failure}: {type(e).__name__}") from e
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
        raise ServerMissing(f"MySQL: {failure}: {' '.join(lines[-2:]) or shlex.join(argv[:1])}")
    return done.stdout


if __name__ == "__main__":
    try:
        print(f"MySQL: ready in {fetch().root}")
    except ServerMissing as missing:
        sys.exit(str(missing))
