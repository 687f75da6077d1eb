"""What clients may send. Unknown fields and wrong types are refused; nothing is converted behind their back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic.config import JsonDict

from whimbrel.catalog.home import NAME
from whimbrel.catalog.records import Mode, Status
from whimbrel.model.job import Case, ValuePolicy

Name = Annotated[str, Path(pattern=f"^{NAME}$", description="Letters, digits, '_', '.', '-'; at most 64.")]
OperationId = Annotated[str, Path(description="An operation's id, a UUID.", json_schema_extra={"format": "uuid"})]

_POSTGRES: JsonDict = {
    "type": "postgres",
    "parameters": {"host": "db1.example.com", "port": 5432, "user": "mover", "password": "…", "database": "shop"},
}
_MARIADB: JsonDict = {
    "type": "mariadb",
    "parameters": {"host": "db2.example.com", "port": 3306, "user": "mover", "password": "…", "database": "shop"},
}
_KAFKA: JsonDict = {
    "type": "kafka",
    "parameters": {"brokers": "b1.example.com:9092", "topic": "shop-changes", "batchSize": 500, "compression": "zstd"},
}


class Body(BaseModel):
    """Strict: ``"5"`` is not ``5``."""

    model_config = ConfigDict(extra="forbid", strict=True)


class EmptyBody(Body):
    """``{}`` or nothing at all."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{}]})


class EndBody(Body):
    """``release``: also let go of what the source keeps for a later operation that goes on (``held``). On an operation
    that has ended, only that is done."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"release": True}]})

    release: bool = False


class EndpointBody(Body):
    """A source or target. A secret sent as '***' keeps the stored one."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [_POSTGRES, _MARIADB, _KAFKA]}
    )

    type: Annotated[str, Field(min_length=1, max_length=32)]
    parameters: dict[str, Any]


class MigrationBody(Body):
    """``tables`` are ``schema.table`` or ``schema.*``; ``schema_rename`` an object or ``"src:dst,src2:dst2"``.

    ``case`` is what becomes of the case of names, ``value_policy`` of values that the target cannot hold;
    ``column_types`` are for ``schema.table.column`` the type on the target, of which none can be chosen yet.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"source": "shop-old", "fileTarget": "shop-new", "tables": ["public.*"], "threads": 4},
                {
                    "source": "shop-old",
                    "fileTarget": "shop-new",
                    "tables": ["shop.orders", "shop.customers"],
                    "schema_rename": {"shop": "public"},
                },
            ]
        },
    )

    source: Annotated[str, Field(pattern=f"^{NAME}$")]
    tables: Annotated[list[Annotated[str, Field(min_length=3, max_length=512)]], Field(min_length=1, max_length=50_000)]
    fileTarget: Annotated[str, Field(pattern=f"^{NAME}$")] | None = None
    queueTarget: Annotated[str, Field(pattern=f"^{NAME}$")] | None = None
    threads: Annotated[int, Field(ge=1, le=256)] = 5
    rows_per_file: Annotated[int, Field(ge=1, le=2_000_000_000)] = 200_000
    schema_rename: dict[str, str] | str | None = None
    case: Case = "keep"
    column_types: dict[str, str] = {}
    value_policy: ValuePolicy = "refuse"
    logDetail: Literal["basic", "verbose"] = "basic"


def _kind(value: Any) -> str:
    return "saved" if isinstance(value, str) else "inline"


EndpointChoice = Annotated[
    Annotated[str, Field(pattern=f"^{NAME}$"), Tag("saved")] | Annotated[EndpointBody, Tag("inline")],
    Discriminator(_kind),
    Field(description="The name of a saved one, or its whole definition."),
]


class PrerequisitesBody(Body):
    """For whom to list or check prerequisites. ``tables`` narrows grants and table checks; ``schema_rename`` is the
    migration's."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"source": "shop-old", "target": "shop-new", "mode": "data+replication", "tables": ["public.*"]},
                {"source": _POSTGRES, "target": _MARIADB, "mode": "data", "schema_rename": {"public": "shop"}},
            ]
        },
    )

    source: EndpointChoice
    target: EndpointChoice
    mode: Literal["data", "replication", "data+replication"]
    tables: Annotated[list[str], Field(max_length=50_000)] = []
    schema_rename: dict[str, str] | str | None = None


class SchemaApplyBody(Body):
    """``sql_file`` defaults to the extracted ``tables-schema.sql``."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{}]})

    sql_file: Annotated[str, Field(min_length=1, max_length=4096)] | None = None


class DataBody(Body):
    """``resume``: keep what an earlier load has brought in and go on from there."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"resume": False}]})

    resume: bool = False


class ReplicationBody(Body):
    """``position`` is where in the source's log to begin: ``0/16B3748``, ``binlog.000042:1234``, a GTID set.

    It is not used with ``resume``, nor by data-replication, which begins where its load stands.
    """

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"resume": False}]})

    resume: bool = False
    position: Annotated[str, Field(min_length=1, max_length=4096)] | None = None


class ResetBody(Body):
    """``force``: also tables of that name that this migration neither made nor loaded."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"mode": "truncate"}]})

    mode: Literal["drop", "truncate", "metadata"] = "drop"
    force: bool = False


class ValidateBody(Body):
    """``sample_percent``: 0 or 100 for all rows, 1 to 99 for a sample that is the same on both sides.

    ``repair``: instead of comparing, put right the rows that the last comparison has named.
    """

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"sample_percent": 100}]})

    sample_percent: Annotated[int, Field(ge=0, le=100)] = 100
    repair: bool = False


class OperationFilter(BaseModel):
    """Query parameters; they come as text, so numbers are read from it."""

    model_config = ConfigDict(extra="forbid")

    migration: Annotated[str, Field(pattern=f"^{NAME}$")] | None = None
    status: Status | None = None
    mode: Mode | None = None
    page_size: Annotated[int, Field(ge=1, le=200)] = 50
    page_token: Annotated[
        str,
        Field(pattern=r"^[0-9]{1,9}$", description="The page's offset: the ``next_page_token`` of the page before."),
    ] = "0"
