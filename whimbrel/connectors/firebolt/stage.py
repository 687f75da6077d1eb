"""How files come to Firebolt: with the statement that reads them, or through a bucket."""

from __future__ import annotations

import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

from whimbrel.connectors.firebolt.config import stage_credentials
from whimbrel.connectors.firebolt.connection import FireboltSession
from whimbrel.connectors.firebolt.dialect import DIALECT
from whimbrel.connectors.sql.session import Session
from whimbrel.errors import LoaderFailed, TargetInterrupted, TargetPermissionDenied, WhimbrelError

_BLOCK: Final = 8 << 20


class FireboltStage(ABC):
    """See ``sql.stage.Stage``. Rows are counted before and after, as Firebolt does not say how many it wrote: inside a
    transaction nobody else's are among them."""

    def load(self, session: Session, name: str, table: str, columns: Sequence[str]) -> int:
        assert isinstance(session, FireboltSession)
        count, names = f"SELECT COUNT(*) FROM {table}", DIALECT.identifiers(columns)  # noqa: S608
        before = int(session.query(count)[0][0])
        self._read(session, name, f"INSERT INTO {table} ({names}) SELECT {names} FROM ")  # noqa: S608
        return int(session.query(count)[0][0]) - before

    @abstractmethod
    def put(self, session: Session, file: Path) -> str: ...

    @abstractmethod
    def remove(self, session: Session, name: str) -> None: ...

    @abstractmethod
    def clear(self, session: Session) -> None: ...

    @abstractmethod
    def _read(self, session: FireboltSession, name: str, head: str) -> None:
        """Run ``head`` with the file behind it as a table."""


class UploadStage(FireboltStage):
    """Files are sent along with their statement, and nothing of them stays. An open file can be read after its name is
    gone, which a batch of changes' is by then."""

    def __init__(self) -> None:
        self._open: dict[str, BinaryIO] = {}

    def put(self, session: Session, file: Path) -> str:
        name = uuid.uuid4().hex
        self._open[name] = file.open("rb")
        return name

    def _read(self, session: FireboltSession, name: str, head: str) -> None:
        self._open[name].seek(0)
        session.upload(f"{head}READ_PARQUET('upload://{name}')", {name: self._open[name]})

    def remove(self, session: Session, name: str) -> None:
        file = self._open.pop(name, None)
        if file is not None:
            file.close()

    def clear(self, session: Session) -> None:
        for name in list(self._open):
            self.remove(session, name)


class BucketStage(FireboltStage):
    """Files lie in a bucket that Firebolt reads by a LOCATION of the same address. Each operation has a folder."""

    def __init__(self, parameters: Mapping[str, Any], operation: str) -> None:
        split = urlsplit(parameters["staging"])
        self._root = f"{split.netloc}/{split.path.strip('/')}".rstrip("/")
        self._location, self._folder = str(parameters["staging_location"]), _plain(operation)
        self._parameters = parameters
        self._system: Any = None

    def put(self, session: Session, file: Path) -> str:
        name = f"{self._folder}/{uuid.uuid4().hex}.parquet"
        with (
            _mapped(f"cannot be put into {self._parameters['staging']}"),
            file.open("rb") as source,
            self._files().open_output_stream(f"{self._root}/{name}") as sink,
        ):
            shutil.copyfileobj(source, sink, _BLOCK)
        return name

    def _read(self, session: FireboltSession, name: str, head: str) -> None:
        location, pattern = DIALECT.literal(self._location), DIALECT.literal(name)
        session.execute(f"{head}READ_PARQUET(LOCATION => {location}, PATTERN => {pattern})")

    def remove(self, session: Session, name: str) -> None:
        with suppress(FileNotFoundError), _mapped(f"cannot be removed from {self._parameters['staging']}"):
            self._files().delete_file(f"{self._root}/{name}")

    def clear(self, session: Session) -> None:
        from pyarrow.fs import FileSelector

        with _mapped(f"cannot be removed from {self._parameters['staging']}"):
            folder = FileSelector(f"{self._root}/{self._folder}", allow_not_found=True)
            for found in self._files().get_file_info(folder):
                if found.is_file:
                    with suppress(FileNotFoundError):
                        self._files().delete_file(found.path)

    def _files(self) -> Any:
        if self._system is None:
            from pyarrow.fs import S3FileSystem

            given = stage_credentials(self._parameters)
            arguments: dict[str, Any] = {}
            if "access_key_id" in given:
                arguments |= {"access_key": given["access_key_id"], "secret_key": given["secret_access_key"]}
            if "session_token" in given:
                arguments["session_token"] = given["session_token"]
            if "region" in given:
                arguments["region"] = given["region"]
            if "endpoint" in given:
                scheme, _, address = given["endpoint"].rpartition("://")
                arguments |= {"endpoint_override": address, "scheme": scheme or "https"}
            self._system = S3FileSystem(allow_delayed_open=True, **arguments)
        return self._system


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Turn the file system's errors inside the block into ours; FileNotFoundError stays."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as e:
        raise _refusal(e, what) from e


def _refusal(error: OSError, what: str) -> WhimbrelError:
    text = " ".join(str(error).split())
    if "ACCESS_DENIED" in text or "HTTP status 403" in text:
        return TargetPermissionDenied(
            f"files {what}: access is denied", remedy="Let 'stage_credentials' put, list and delete objects there."
        )
    if "NO_SUCH_BUCKET" in text or "PermanentRedirect" in text or "HTTP status 301" in text:
        return LoaderFailed(
            f"files {what}: there is no such bucket, or it is in another region",
            remedy="Correct 'staging', or name the bucket's region in 'stage_credentials'.",
        )
    return TargetInterrupted(f"files {what}: {text.partition('during')[0][:200]}")


def stage_of(parameters: Mapping[str, Any], operation: str) -> FireboltStage:
    return BucketStage(parameters, operation) if "staging" in parameters else UploadStage()


def _plain(operation: str) -> str:
    """A folder's name of letters, digits and dashes."""
    return "".join(c if c.isascii() and (c.isalnum() or c == "-") else "_" for c in operation)
