"""The catalog's tables. A change here needs a new file in ``migrations/versions``. Times are microseconds, UTC."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

endpoint = Table(
    "endpoint",
    metadata,
    Column("role", String(8), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("type", String(32), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("secrets", Text, nullable=False),
)

sealing_key = Table(  # one row: the id of the key that all of endpoint.secrets is sealed with
    "sealing_key",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("key", String(12), nullable=False),
)

migration = Table(
    "migration",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("source", String(64), nullable=False, index=True),
    Column("file_target", String(64), index=True),
    Column("queue_target", String(64), index=True),
    Column("settings", JSON, nullable=False),
    Column("retiring", Boolean, nullable=False, default=False),
)

held = Table(  # what a source keeps of its log for a migration: when last seen, and whether it was let go by itself
    "held",
    metadata,
    Column("migration", String(64), ForeignKey("migration.name", ondelete="CASCADE"), primary_key=True),
    Column("slot", String(128), nullable=False),
    Column("retained_bytes", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("let_go_us", BigInteger),
)

operation = Table(
    "operation",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("migration", String(64), nullable=False),
    Column("mode", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("body", JSON, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger),
    Column("phase", String(64)),
    Column("pause_wanted", Boolean, nullable=False, default=False),
    Column("paused", Boolean, nullable=False, default=False),
    Column("workflow_started", Boolean, nullable=False, default=False),
    Column("run_id", String(128)),
    Column("retained_bytes", BigInteger),  # of its source's log, by its slot; null where nothing was seen
    Column("result", JSON),
    Column("error", JSON),
    Index("operation_newest", "started_us", "id"),
    Index("operation_of_migration", "migration", "started_us"),
    Index(
        "one_running_operation",
        "migration",
        unique=True,
        sqlite_where=text("status = 'running' and mode <> 'validate'"),
        postgresql_where=text("status = 'running' and mode <> 'validate'"),
    ),
)


def _operation_key() -> Column[str]:
    return Column("operation", String(64), ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True)


load_totals = Table(  # sums over table_load, kept with it, so that nobody has to add up 50,000 rows
    "load_totals",
    metadata,
    _operation_key(),
    Column("tables_total", BigInteger, nullable=False),
    Column("tables_done", BigInteger, nullable=False),
    Column("rows_total", BigInteger, nullable=False),
    Column("rows_extracted", BigInteger, nullable=False),
    Column("rows_loaded", BigInteger, nullable=False),
    Column("bytes_extracted", BigInteger, nullable=False),
    Column("rows_credited", BigInteger, nullable=False),
    Column("percent", Float, nullable=False),
    Column("rows_per_second", Float, nullable=False),
    Column("sampled_us", BigInteger, nullable=False),
    Column("sampled_rows", BigInteger, nullable=False),
)

table_load = Table(
    "table_load",
    metadata,
    _operation_key(),
    Column("table", Text, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("rows_total", BigInteger, nullable=False),
    Column("rows_extracted", BigInteger, nullable=False),
    Column("rows_loaded", BigInteger, nullable=False),
    Column("bytes_extracted", BigInteger, nullable=False),
    Column("files_done", BigInteger, nullable=False),
    Column("files_total", BigInteger, nullable=False),
)

table_change = Table(
    "table_change",
    metadata,
    _operation_key(),
    Column("table", Text, primary_key=True),
    Column("inserts", BigInteger, nullable=False),
    Column("updates", BigInteger, nullable=False),
    Column("deletes", BigInteger, nullable=False),
    Column("truncates", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
)

change_state = Table(
    "change_state",
    metadata,
    _operation_key(),
    Column("figures", JSON, nullable=False),
    Column("recorded_us", BigInteger, nullable=False),
)

log_tail = Table(
    "log_tail",
    metadata,
    _operation_key(),
    Column("role", String(32), primary_key=True),
    Column("text", Text, nullable=False),
)
