"""Files come to BigQuery by load jobs, each into a table of its own in our dataset, before any transaction reads it."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import uuid
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery

from whimbrel.connectors.bigquery.connection import (
    ERRORS,
    REQUEST_SECONDS,
    RETRY,
    BigQuerySession,
    mapped,
)
from whimbrel.connectors.bigquery.dialect import is_plain, plain
from whimbrel.connectors.bigquery.refusals import server_refusal
from whimbrel.errors import InternalError

_LIFE: Final = datetime.timedelta(days=2)  # after which the server drops what nobody has
_BLOCK: Final = 1 << 20
_FILE: Final = "whimbrel-file"


class BigQueryStage:
    """The tables of one operation. Their names are used once, so a load that comes late finds no table any more, and
    fills none that anybody reads."""

    def __init__(self, operation: str) -> None:
        self._prefix = f"rows_{hashlib.sha256(operation.encode()).hexdigest()[:16]}_"

    def make(self, session: BigQuerySession, columns: Iterable[tuple[str, str]]) -> str:
        """An empty table of these columns and types; its name."""
        name = f"{self._prefix}{uuid.uuid4().hex}"
        table = bigquery.Table(_reference(session, name), schema=[_field(*column) for column in columns])
        table.expires = datetime.datetime.now(datetime.UTC) + _LIFE
        with mapped():
            session.client.create_table(table, exists_ok=True, retry=RETRY, timeout=REQUEST_SECONDS)
        return name

    def load(self, session: BigQuerySession, file: Path, name: str, columns: Iterable[tuple[str, str]]) -> int:
        """Put a Parquet file's rows into a table that was made; how many. The job's id is that of table and file, so
        that a request which is sent again finds the job that is there already. A job that was refused for a moment has
        loaded nothing, and the next one has an id of its own."""
        listed, sum, attempts = list(columns), _checksum(file), itertools.count(1)

        def load() -> int:
            number = next(attempts)
            again = f"-{number}" if number > 1 else ""
            return self._loaded(session, file, name, listed, f"{session.prefix}load-{name}-{sum}{again}", sum)

        return session.patiently(load)

    def _loaded(
        self, session: BigQuerySession, file: Path, name: str, listed: Sequence[tuple[str, str]], id: str, sum: str
    ) -> int:
        settings = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            schema=[_field(*column) for column in listed],
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
            labels={_FILE: sum},
        )
        if not all(is_plain(column) for column, _ in listed):
            settings.column_name_character_map = "V2"
        with mapped():
            try:
                with file.open("rb") as stream:
                    job = session.client.load_table_from_file(
                        stream,
                        _reference(session, name),
                        size=file.stat().st_size,
                        job_id=id,
                        location=session.location,
                        project=session.project,
                        job_config=settings,
                        timeout=REQUEST_SECONDS,
                    )
            except Conflict:
                job = _adopted(session, id, name, sum)
            try:
                session.wait(job)
                job.result(retry=RETRY, timeout=REQUEST_SECONDS)
            except ERRORS as e:
                over = session.failed(job)
                if not over:
                    session.cancel_job(id)
                raise server_refusal(e, done_nothing=over) from e
        return int(job.output_rows or 0)

    def remove(self, session: BigQuerySession, name: str) -> None:
        """No error when it is gone, nor when it cannot be removed now: ``clear`` does it, or the server in time."""
        with suppress(*ERRORS):
            session.client.delete_table(
                _reference(session, name), not_found_ok=True, retry=RETRY, timeout=REQUEST_SECONDS
            )

    def clear(self, session: BigQuerySession) -> None:
        """Drop what the operation has there."""
        with mapped(), suppress(NotFound):
            dataset = f"{session.project}.{session.own_dataset}"
            for table in session.client.list_tables(dataset, retry=RETRY, timeout=REQUEST_SECONDS):
                if table.table_id.startswith(self._prefix):
                    session.client.delete_table(
                        table.reference, not_found_ok=True, retry=RETRY, timeout=REQUEST_SECONDS
                    )


def _adopted(session: BigQuerySession, id: str, name: str, sum: str) -> Any:
    """The job that has the id, if it loads this file into this table."""
    job = session.job(id)
    if job.destination.table_id != name or (job.labels or {}).get(_FILE) != sum:
        raise InternalError(f"the job {id} is there, and is not the load of that file")
    return job


def _reference(session: BigQuerySession, name: str) -> bigquery.TableReference:
    return bigquery.DatasetReference(session.project, session.own_dataset).table(name)


def _field(name: str, type: str) -> bigquery.SchemaField:
    base, _, numbers = type.partition("(")
    if not numbers:
        return bigquery.SchemaField(plain(name), base)
    precision, scale = (int(n) for n in numbers.rstrip(")").split(","))
    if precision == scale:  # which SQL takes, and requests do not; the type alone holds it
        return bigquery.SchemaField(plain(name), base)
    return bigquery.SchemaField(plain(name), base, precision=precision, scale=scale)


def _checksum(file: Path) -> str:
    found = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            found = zlib.crc32(block, found)
    return f"{found:08x}"
