"""One claimed migration between two databases of a server, for the tests of loading."""

from __future__ import annotations

from pathlib import Path

import psycopg

from tests.servers.postgres import Postgres
from tests.staged import staged
from tests.unit.postgres.test_schema import apply, database, job, reflected, target_of
from whimbrel.connectors.protocols import Ledger, Loader
from whimbrel.connectors.staged import StagedFile
from whimbrel.model.chunk import Chunk, Format

MOVED = """
create table t (
  id bigint generated always as identity primary key, name text, n numeric, j jsonb, b bytea, a int[], ts timestamptz,
  f float8, twice bigint generated always as (id * 2) stored, unique (name));
create index on t (n);
insert into t (name, n, j, b, a, ts, f)
select 'x' || i || E'\\t\\n\\\\"☃', case when i % 7 = 0 then 'NaN' else i / 3.0 end, jsonb_build_object('k', i),
       decode(md5(i::text), 'hex'), array[i, null], timestamptz 'epoch' + i * interval '1.000001 s',
       1 / (i + 0.1::float8)
  from generate_series(1, 3000) i;
insert into t (name) values (null);
create table child (id int references t (id), v text);
insert into child values (1, 'a'), (1, 'a'), (null, '');
"""
COLUMNS = "id, name, n, j, b, a, ts, f"


class Move:
    """A source database, a target with the same empty tables, and one claimed migration between them."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.first, self.second = database(server, MOVED), database(server)
        self.tables = reflected(server, self.first, "public.t", "public.child")
        self.target = target_of(server, self.second)
        apply(self.target, self.tables, {}, "postgres")
        self.target_tables = self.target.target_tables(self.tables, {}, "postgres")
        self.source, self.table = self.tables[0], self.target_tables[0]
        self.ledger: Ledger = self.target.ledger("m")
        self.epoch = self.ledger.claim()
        self.ledger.clear(self.epoch, "op")
        self.loader: Loader = self.target.open_loader(job())

    def plan(self, *wheres: str) -> list[Chunk]:
        chunks = [Chunk(self.source.name, n, {"where": w}, 10, 20) for n, w in enumerate(wheres)]
        self.ledger.save_plan(self.epoch, self.source, chunks)
        return chunks

    def staged(self, chunk: Chunk, format: Format = Format.COPY_BINARY) -> StagedFile:
        """A file as psql writes it, not our reader."""
        file = self.folder / f"{chunk.number}.{format.value}"
        how = "binary" if format is Format.COPY_BINARY else "text"
        where = chunk.bounds["where"]
        self.folder.chmod(0o777)
        with psycopg.connect(self.server.dsn(self.first)) as connection, file.open("wb") as out:
            query = f"copy (select {COLUMNS} from t where {where}) to stdout (format {how})"
            with connection.cursor().copy(query.encode()) as copy:
                for block in copy:
                    out.write(block)
            rows = int(self.server.psql(f"select count(*) from t where {where}", self.first))
        return staged(file, rows)

    def load(self, chunk: Chunk, file: StagedFile, format: Format = Format.COPY_BINARY, *, upsert: bool = False) -> int:
        return self.loader.load(
            self.epoch, self.source, self.table, self.source.loaded_columns, chunk, format, file, upsert=upsert
        )

    def contents(self, name: str) -> str:
        return self.server.psql("select * from t order by id", name)

    def close(self) -> None:
        self.loader.close()
        self.ledger.close()
