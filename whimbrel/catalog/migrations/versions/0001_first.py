"""The first shape of the catalog."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _big(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=False)


def _operation_key() -> "sa.Column[str]":
    return sa.Column("operation", sa.String(64), sa.ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    op.create_table(
        "endpoint",
        sa.Column("role", sa.String(8), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("secrets", sa.Text, nullable=False),
    )
    op.create_table(
        "migration",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("source", sa.String(64), nullable=False, index=True),
        sa.Column("file_target", sa.String(64), index=True),
        sa.Column("queue_target", sa.String(64), index=True),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("retiring", sa.Boolean, nullable=False),
    )
    op.create_table(
        "operation",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("migration", sa.String(64), nullable=False),
        sa.Column("mode", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        _big("started_us"),
        sa.Column("finished_us", sa.BigInteger),
        sa.Column("phase", sa.String(64)),
        sa.Column("pause_wanted", sa.Boolean, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("workflow_started", sa.Boolean, nullable=False),
        sa.Column("run_id", sa.String(128)),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.JSON),
    )
    op.create_index("operation_newest", "operation", ["started_us", "id"])
    op.create_index("operation_of_migration", "operation", ["migration", "started_us"])
    running = sa.text("status = 'running' and mode <> 'validate'")
    op.create_index(
        "one_running_operation",
        "operation",
        ["migration"],
        unique=True,
        sqlite_where=running,
        postgresql_where=running,
    )
    op.create_table(
        "load_totals",
        _operation_key(),
        *(_big(n) for n in ("tables_total", "tables_done", "rows_total", "rows_extracted", "rows_loaded")),
        *(_big(n) for n in ("bytes_extracted", "rows_credited")),
        sa.Column("percent", sa.Float, nullable=False),
        sa.Column("rows_per_second", sa.Float, nullable=False),
        *(_big(n) for n in ("sampled_us", "sampled_rows")),
    )
    op.create_table(
        "table_load",
        _operation_key(),
        sa.Column("table", sa.Text, primary_key=True),
        sa.Column("status", sa.String(16), nullable=False),
        *(_big(n) for n in ("rows_total", "rows_extracted", "rows_loaded", "bytes_extracted")),
        *(_big(n) for n in ("files_done", "files_total")),
    )
    op.create_table(
        "table_change",
        _operation_key(),
        sa.Column("table", sa.Text, primary_key=True),
        *(_big(n) for n in ("inserts", "updates", "deletes", "truncates", "errors")),
    )
    op.create_table(
        "change_state", _operation_key(), sa.Column("figures", sa.JSON, nullable=False), _big("recorded_us")
    )
    op.create_table(
        "log_tail",
        _operation_key(),
        sa.Column("role", sa.String(32), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )
