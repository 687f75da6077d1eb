"""Every error that Whimbrel raises on purpose, in one tree.

    WhimbrelError
    ├── RequestError                 the caller must change something
    │   ├── AuthFailed               AUTH_FAILED 401
    │   ├── InvalidRequest           INVALID_REQUEST 400
    │   │   └── NotExtracted
    │   ├── NotFound                 NOT_FOUND 404
    │   ├── MethodNotAllowed         METHOD_NOT_ALLOWED 405
    │   ├── MigrationNotFound        MIGRATION_NOT_FOUND 404
    │   ├── SourceNotFound           SOURCE_NOT_FOUND 404 (400 when named in a body)
    │   ├── TargetNotFound           TARGET_NOT_FOUND 404 (400 when named in a body)
    │   ├── OperationNotFound        OPERATION_NOT_FOUND 404
    │   ├── OperationConflict        OPERATION_CONFLICT 409
    │   └── FireboltSchemaPublicOnly FIREBOLT_SCHEMA_PUBLIC_ONLY 400
    ├── ConnectionRefused            CONNECTION_REFUSED 500 (200 from a /test that worked)
    │   ├── HostUnreachable          retryable
    │   ├── AuthenticationFailed
    │   ├── DatabaseMissing
    │   ├── TlsFailed
    │   ├── TopicMissing
    │   └── DriverMissing
    ├── SchemaFailed                 SCHEMA_APPLY_FAILED 500
    │   ├── TableMissing
    │   ├── DefinitionRefused
    │   ├── TypeRefused
    │   ├── IdentifierRefused
    │   └── SchemaMismatch
    ├── ObjectsFailed                OBJECTS_APPLY_FAILED 500
    ├── ExtractorFailed              EXTRACTOR_FAILED 500
    │   ├── SourcePermissionDenied
    │   ├── SourceInterrupted        retryable
    │   ├── SnapshotLost             retryable
    │   ├── StagingFull              retryable
    │   └── StagingDamaged           retryable
    ├── LoaderFailed                 LOADER_FAILED 500
    │   ├── TargetPermissionDenied
    │   ├── TargetInterrupted        retryable
    │   ├── TargetFull               retryable
    │   ├── TargetNotEmpty
    │   ├── ValueRefused
    │   └── Fenced
    ├── DataFailed                   DATA_FAILED 500
    │   └── LaneLost                 retryable
    ├── ReplicationFailed            REPLICATION_FAILED 500
    │   ├── LogDisabled
    │   ├── LogFormatRefused
    │   ├── LogDamaged
    │   ├── ReplicaIdentityMissing
    │   ├── SlotsExhausted           retryable
    │   ├── SlotBlocked              retryable
    │   ├── PositionLost
    │   ├── PositionForeign
    │   ├── TableNotLoaded
    │   └── LayoutChanged
    ├── ResetFailed                  RESET_FAILED 500
    ├── ValidateFailed               VALIDATE_FAILED 500
    ├── OrchestratorFailed           ORCHESTRATOR_FAILED 500, retryable
    ├── OperationTimeout             OPERATION_TIMEOUT 504
    └── InternalError                INTERNAL_ERROR 500
        ├── CatalogUnreachable       retryable
        ├── CatalogDiffers           retryable
        └── SecretsUnreadable

``code`` is what clients of the REST API branch on; several leaves share one. ``reason`` is the leaf's own stable id
and travels in ``details["reason"]``. ``retryable`` decides whether Temporal tries the step again. ``remedy`` says what
a person can do and travels in ``details["remedy"]``. Messages and details must never hold a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def printable(text: str, keep: str = "") -> str:
    """The text with control characters as escapes, so that it moves no cursor and begins no line of its own."""
    return _CONTROL.sub(lambda c: c[0] if c[0] in keep else c[0].encode("unicode_escape").decode(), text)


class WhimbrelError(Exception):
    """The root: an error with a registered code, a reason and a remedy.

    ``message`` names the thing that failed (a table, a host, a setting). ``details`` must be JSON values.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    keeps: ClassVar[str] = "\n\t"  # what servers and drivers write is laid out in lines
    remedy: ClassVar[str] = "Read the log of the operation; if it does not explain itself, report the error id."

    def __init__(self, message: str, *, remedy: str | None = None, **details: Any) -> None:
        message = printable(message, keep=self.keeps)
        super().__init__(message)
        self.message = message
        self.how_to_fix = remedy or type(self).remedy
        self.extra = details

    @classmethod
    def reason(cls) -> str:
        """The leaf's stable id: the class name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @property
    def details(self) -> dict[str, Any]:
        """What the API puts into ``error.details``."""
        return {"reason": self.reason(), "remedy": self.how_to_fix, **self.extra}

    def to_json(self) -> dict[str, Any]:
        """The ``error`` object of the envelope; ``from_json`` reads it back."""
        return {"code": self.code, "message": self.message, "details": self.details}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.how_to_fix, self.extra))


def _rebuild(cls: type[WhimbrelError], message: str, remedy: str, details: dict[str, Any]) -> WhimbrelError:
    return cls(message, remedy=remedy, **details)


# --- the caller must change something -------------------------------------------------------------------------------


class RequestError(WhimbrelError):
    """The request itself cannot be served as it stands."""

    keeps = ""  # what a client wrote stands in one line
    code, status = "INVALID_REQUEST", 400
    remedy = "Correct the request and send it again."


class AuthFailed(RequestError):
    """No bearer token, or one that is not in the key file."""

    code, status = "AUTH_FAILED", 401
    remedy = "Send 'Authorization: Bearer <key>'; 'whimbrel keys create' makes a key."


class InvalidRequest(RequestError):
    """A body, query or name that breaks the contract; the message names the field."""


class NotExtracted(InvalidRequest):
    """What was asked for works with the extracted schema, and nothing was extracted for this migration yet."""

    remedy = "POST schema/extract of the migration first."


class NotFound(RequestError):
    """No such path."""

    code, status = "NOT_FOUND", 404
    remedy = "See /docs for the paths."


class MethodNotAllowed(RequestError):
    """The path exists, the method does not."""

    code, status = "METHOD_NOT_ALLOWED", 405
    remedy = "See /docs for the methods of this path."


class MigrationNotFound(RequestError):
    """No migration of that name."""

    code, status = "MIGRATION_NOT_FOUND", 404
    remedy = "Create it with PUT /v1/migrations/<name>."


class SourceNotFound(RequestError):
    """No source of that name."""

    code, status = "SOURCE_NOT_FOUND", 404
    remedy = "Create it with PUT /v1/sources/<name>."


class TargetNotFound(RequestError):
    """No target of that name."""

    code, status = "TARGET_NOT_FOUND", 404
    remedy = "Create it with PUT /v1/targets/<name>."


class OperationNotFound(RequestError):
    """No operation of that id, or none running."""

    code, status = "OPERATION_NOT_FOUND", 404
    remedy = "GET /v1/operations lists the operations that exist."


class OperationConflict(RequestError):
    """Another operation runs on this migration."""

    code, status = "OPERATION_CONFLICT", 409
    remedy = "Wait for the running operation, or cancel it with POST /v1/operations/<id>/cancel."


class FireboltSchemaPublicOnly(RequestError):
    """A Firebolt target whose schemas do not end up as public."""

    code, status = "FIREBOLT_SCHEMA_PUBLIC_ONLY", 400
    remedy = (
        "Map every schema to public with schema_rename, or give the target schemas=any where its account has others."
    )


# --- connections ----------------------------------------------------------------------------------------------------


class ConnectionRefused(WhimbrelError):
    """A server did not let us in."""

    code, status = "CONNECTION_REFUSED", 500
    remedy = "Check host, port, user, password and network from the machine the worker runs on."


class HostUnreachable(ConnectionRefused):
    """Unknown host, closed port, or no answer in time."""

    retryable = True
    remedy = "Check that host and port are right, the server runs, and no firewall stands between."


class AuthenticationFailed(ConnectionRefused):
    """Wrong user or password."""

    remedy = "Correct user and password in the source or target."


class DatabaseMissing(ConnectionRefused):
    """The server answers, but has no such database."""

    remedy = "Create the database, or correct the 'database' parameter."


class TlsFailed(ConnectionRefused):
    """TLS was asked for and could not be had, or the certificate was not trusted."""

    remedy = "Correct the TLS parameters of the source or target, or give the CA file."


class TopicMissing(ConnectionRefused):
    """The brokers answer, but have no such topic, or do not show it to this account."""

    remedy = "Create the topic, or correct the 'topic' parameter."


class DriverMissing(ConnectionRefused):
    """The driver of this engine is not installed."""

    remedy = "Install the package that the message names."


# --- schema ---------------------------------------------------------------------------------------------------------


class SchemaFailed(WhimbrelError):
    """DDL could not be read, converted or applied."""

    code = "SCHEMA_APPLY_FAILED"
    remedy = "Correct the named object in the source, the SQL file or the target, and run schema/apply again."


class TableMissing(SchemaFailed):
    """A table of the migration does not exist."""

    remedy = "Correct 'tables' of the migration, or create the table."


class DefinitionRefused(SchemaFailed):
    """A table's definition holds words that nobody here understands, so that no one can tell what they mean."""

    remedy = "Leave the table out, or take what the message names out of its definition on the source."


class TypeRefused(SchemaFailed):
    """A column type that this pair cannot carry exactly, and that nobody declared lossy."""

    remedy = "Leave the table out, change the column's type, or cast it in a view."


class IdentifierRefused(SchemaFailed):
    """A name that is too long for the target, or that collides with another there."""

    remedy = "Rename it in the source, or map its schema with schema_rename."


class SchemaMismatch(SchemaFailed):
    """A target object of that name exists with another shape."""

    remedy = "Drop it, or make it match; the details list the differences."


class ObjectsFailed(WhimbrelError):
    """Database objects could not be applied at all."""

    code = "OBJECTS_APPLY_FAILED"
    remedy = "Read the error of each object in the result."


# --- data -----------------------------------------------------------------------------------------------------------


class ExtractorFailed(WhimbrelError):
    """Reading rows from the source failed."""

    code = "EXTRACTOR_FAILED"
    remedy = "Read the message of the source server and correct its cause, then start with resume=true."


class SourcePermissionDenied(ExtractorFailed):
    """A grant is missing on the source."""

    remedy = "Run the source statements that POST /v1/prereqs lists."


class SourceInterrupted(ExtractorFailed):
    """The source's connection broke, or the source restarted."""

    retryable = True
    remedy = "None needed while it is retried; otherwise check the source server."


class SnapshotLost(ExtractorFailed):
    """The source no longer keeps what its rows were when the snapshot was taken."""

    retryable = True
    remedy = (
        "None needed while it is retried, from a new snapshot. If it repeats, let the source keep the past for as long "
        "as the load takes (where it has one: raise UNDO_RETENTION and the size of the undo tablespace)."
    )


class StagingFull(ExtractorFailed):
    """The working directory's disk is full."""

    retryable = True
    remedy = "Free space under the working directory; the operation goes on by itself."


class StagingDamaged(ExtractorFailed):
    """A staged file does not match its checksum."""

    retryable = True
    remedy = "None needed: the chunk is extracted again. If it repeats, check the disk."


class LoaderFailed(WhimbrelError):
    """Writing rows to the target failed."""

    code = "LOADER_FAILED"
    remedy = "Read the message of the target server and correct its cause, then start with resume=true."


class TargetPermissionDenied(LoaderFailed):
    """A grant is missing on the target."""

    remedy = "Run the target statements that POST /v1/prereqs lists."


class TargetInterrupted(LoaderFailed):
    """The target's connection broke, the target restarted, or a deadlock chose us as its victim."""

    retryable = True
    remedy = "None needed while it is retried; otherwise check the target server."


class TargetFull(LoaderFailed):
    """The target's disk is full."""

    retryable = True
    remedy = "Free space on the target; the operation goes on by itself."


class TargetNotEmpty(LoaderFailed):
    """A fresh load found rows that it did not write."""

    remedy = (
        'Empty the tables (POST reset {"mode": "truncate"}, with "force": true where this migration neither made nor '
        "loaded them), or go on with resume=true."
    )


class ValueRefused(LoaderFailed):
    """The target cannot hold a value as it is; the message names table, column and value class."""

    remedy = "Correct the value in the source, or change the target column."


class Fenced(LoaderFailed):
    """Another worker has taken this migration over; this one's writes are refused."""

    remedy = "None needed: the newer worker goes on."


class DataFailed(WhimbrelError):
    """The data phase failed for a reason that is neither the reader's nor the writer's."""

    code = "DATA_FAILED"
    remedy = "Read the message, correct its cause, then start with resume=true."


class LaneLost(DataFailed):
    """A process that copies rows ended without a word (killed, out of memory)."""

    retryable = True
    remedy = "None needed while it is retried; if it repeats, give the worker more memory or lower 'threads'."


# --- replication ----------------------------------------------------------------------------------------------------


class ReplicationFailed(WhimbrelError):
    """Reading or applying changes failed."""

    code = "REPLICATION_FAILED"
    remedy = "Read the message, correct its cause, then start with resume=true."


class LogDisabled(ReplicationFailed):
    """The source does not write the log that changes are read from (wal_level, log_bin)."""

    remedy = "Run the source statements that POST /v1/prereqs lists; this one needs a restart of the source."


class LogFormatRefused(ReplicationFailed):
    """The log is written, but without the row images that are needed."""

    remedy = "Set binlog_format=ROW, binlog_row_image=FULL and no partial JSON on the source."


class LogDamaged(ReplicationFailed):
    """A message of the log does not decode: cut off, corrupt, or of a kind nobody documented."""

    remedy = "Resume; if it repeats at the same position, report it with the server's version."


class ReplicaIdentityMissing(ReplicationFailed):
    """Tables whose updates and deletes the source cannot identify."""

    remedy = "Add a primary key, or run ALTER TABLE ... REPLICA IDENTITY FULL on each table named."


class SlotsExhausted(ReplicationFailed):
    """No replication slot or sender is free on the source."""

    retryable = True
    remedy = "Drop unused slots, or raise max_replication_slots and max_wal_senders."


class SlotBlocked(ReplicationFailed):
    """Making a replication slot waits for transactions on the source that do not end."""

    retryable = True
    remedy = "Commit, roll back or terminate the transactions named; it is tried again by itself."


class PositionLost(ReplicationFailed):
    """The source no longer has the log from our position on (purged binlog, dropped or invalidated slot)."""

    remedy = "The changes in between are gone: load the data again with data-replication and resume=false."


class PositionForeign(ReplicationFailed):
    """The saved position belongs to another server."""

    remedy = "Point the source at the server the position came from, or load the data again."


class TableNotLoaded(ReplicationFailed):
    """A table's rows are not on the target, so its changes alone would not make it whole."""

    remedy = "Run data-replication with resume=true, which copies what is missing; or reset, and load all tables again."


class LayoutChanged(ReplicationFailed):
    """A captured table changed its columns in a way that cannot be followed."""

    remedy = "Make the same change on the target and load the named table again; docs/ddl.md says how."


# --- the rest -------------------------------------------------------------------------------------------------------


class ResetFailed(WhimbrelError):
    """Reset could not reach or change the target."""

    code = "RESET_FAILED"
    remedy = "Read the message of the target server and correct its cause."


class ValidateFailed(WhimbrelError):
    """The comparison itself could not be made (a difference found is a result, not an error)."""

    code = "VALIDATE_FAILED"
    remedy = "Read the message, correct its cause and validate again."


class OrchestratorFailed(WhimbrelError):
    """Temporal could not be reached, or no worker polls."""

    code, retryable = "ORCHESTRATOR_FAILED", True
    remedy = "Start Temporal ('whimbrel up' or temporal-dev/start) and a worker, and try again."


class OperationTimeout(WhimbrelError):
    """A synchronous call passed its 15 minutes; the operation goes on."""

    code, status = "OPERATION_TIMEOUT", 504
    remedy = "Poll GET /v1/operations/<id> with the id in details."


class InternalError(WhimbrelError):
    """A bug of ours; the id in details is also in the log."""


class CatalogUnreachable(InternalError):
    """The catalog's database does not answer, or is of another release."""

    retryable = True
    remedy = "Check the disk of the home folder, or the server that WHIMBREL_CATALOG_URL names."


class CatalogDiffers(InternalError):
    """A worker was given an operation that its catalog does not know: it looks into another one than the API."""

    retryable = True
    remedy = "Start every worker with the WHIMBREL_CATALOG_URL, or on one machine the WHIMBREL_HOME, of the API."


class SecretsUnreadable(InternalError):
    """The stored secrets were encrypted with a key that is not there."""

    remedy = (
        "Restore catalog/secret.key of the home folder or set WHIMBREL_SECRET_KEY. If the key is lost: "
        "'whimbrel keys rotate-secrets --forget-lost', then PUT the sources and targets again."
    )


class Interrupted(Exception):
    """Cancel or stop reached this step: not an error, so outside the tree. Leave at the next safe point."""


def leaves(root: type[WhimbrelError] = WhimbrelError) -> Iterator[type[WhimbrelError]]:
    """Every class of the tree, the root first; docs and tests are made from it."""
    yield root
    for child in root.__subclasses__():
        yield from leaves(child)


def from_json(error: dict[str, Any]) -> WhimbrelError:
    """The error that ``to_json`` wrote, as its own class again (by reason, else by code, else InternalError)."""
    details = dict(error.get("details") or {})
    reason, remedy = details.pop("reason", None), details.pop("remedy", None)
    found = next((c for c in leaves() if c.reason() == reason), None)
    found = found or next((c for c in leaves() if c.code == error.get("code")), InternalError)
    return found(str(error.get("message", "")), remedy=remedy, **details)
