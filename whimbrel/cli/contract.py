"""A method for each endpoint, made from /openapi.json by ``python docs/make_client.py``; do not edit.

Every method returns the envelope's ``result`` or raises its error as a class of ``whimbrel.errors``.
"""

from __future__ import annotations

from typing import Literal, cast

from whimbrel.cli import shapes
from whimbrel.cli.client import ApiClient, path


class Contract(ApiClient):
    """The REST API, typed. ``request_id`` makes a start safe to repeat; starts are repeated when the line breaks."""

    def health(self) -> shapes.Health:
        """Whether the API runs, and what it sees of its catalog, of Temporal and of workers."""
        return cast(shapes.Health, self.call("GET", path("health")))

    def put_source(self, name: str, body: shapes.EndpointBody) -> shapes.NameAndType:
        """Create or replace a source."""
        return cast(shapes.NameAndType, self.call("PUT", path("sources", name), body=body))

    def get_source(self, name: str) -> shapes.EndpointView:
        """One source, its secrets masked."""
        return cast(shapes.EndpointView, self.call("GET", path("sources", name)))

    def list_sources(self) -> shapes.Sources:
        """All sources by name, their secrets masked."""
        return cast(shapes.Sources, self.call("GET", path("sources")))

    def delete_source(self, name: str) -> shapes.Deleted:
        """Delete a source that no migration refers to."""
        return cast(shapes.Deleted, self.call("DELETE", path("sources", name)))

    def test_source(self, body: shapes.EndpointBody) -> shapes.Connected:
        """Try a connection without saving it."""
        return cast(shapes.Connected, self.call("POST", path("sources", "test"), body=body))

    def put_target(self, name: str, body: shapes.EndpointBody) -> shapes.NameAndType:
        """Create or replace a target."""
        return cast(shapes.NameAndType, self.call("PUT", path("targets", name), body=body))

    def get_target(self, name: str) -> shapes.EndpointView:
        """One target, its secrets masked."""
        return cast(shapes.EndpointView, self.call("GET", path("targets", name)))

    def list_targets(self) -> shapes.Targets:
        """All targets by name, their secrets masked."""
        return cast(shapes.Targets, self.call("GET", path("targets")))

    def delete_target(self, name: str) -> shapes.Deleted:
        """Delete a target that no migration refers to."""
        return cast(shapes.Deleted, self.call("DELETE", path("targets", name)))

    def test_target(self, body: shapes.EndpointBody) -> shapes.Connected:
        """Try a connection without saving it."""
        return cast(shapes.Connected, self.call("POST", path("targets", "test"), body=body))

    def test_queue(self, body: shapes.EndpointBody) -> shapes.QueueReachable:
        """Try broker and topic of a queue without saving it."""
        return cast(shapes.QueueReachable, self.call("POST", path("queues", "test"), body=body))

    def put_migration(self, name: str, body: shapes.MigrationBody) -> shapes.MigrationSummary:
        """Create or replace a migration: one source, its tables, and a database, a queue or both to feed."""
        return cast(shapes.MigrationSummary, self.call("PUT", path("migrations", name), body=body))

    def get_migration(self, name: str) -> shapes.MigrationView:
        """The whole configuration of one migration."""
        return cast(shapes.MigrationView, self.call("GET", path("migrations", name)))

    def list_migrations(self) -> shapes.Migrations:
        """All migrations by name, their tables counted."""
        return cast(shapes.Migrations, self.call("GET", path("migrations")))

    def delete_migration(self, name: str, *, force: bool | None = None) -> shapes.DeletedMigration:
        """Delete a migration, its operations and files, and what it keeps on the source and in its queue."""
        return cast(shapes.DeletedMigration, self.call("DELETE", path("migrations", name), query={"force": force}))

    def prereqs(self, body: shapes.PrerequisitesBody) -> shapes.Prerequisites:
        """The SQL to run on source and target before a migration works."""
        return cast(shapes.Prerequisites, self.call("POST", path("prereqs"), body=body))

    def check(self, body: shapes.PrerequisitesBody) -> shapes.Validity:
        """Connect to both sides and check every prerequisite, and whether the tables fit the target."""
        return cast(shapes.Validity, self.call("POST", path("validate"), body=body))

    def extract_schema(self, name: str, request_id: str | None = None) -> shapes.SchemaExtracted:
        """Write tables-schema.sql, objects-schema.sql and drop-tables.sql into the migration's working directory."""
        return cast(
            shapes.SchemaExtracted,
            self.call("POST", path("migrations", name, "schema", "extract"), start=True, request_id=request_id),
        )

    def apply_schema(
        self, name: str, body: shapes.SchemaApplyBody | None = None, request_id: str | None = None
    ) -> shapes.SchemaApplied:
        """Create the tables on the target."""
        return cast(
            shapes.SchemaApplied,
            self.call(
                "POST", path("migrations", name, "schema", "apply"), body=body, start=True, request_id=request_id
            ),
        )

    def apply_objects(self, name: str, request_id: str | None = None) -> shapes.ObjectsApplied:
        """Apply objects-schema.sql to the target, statement by statement; failures are reported, not fatal."""
        return cast(
            shapes.ObjectsApplied,
            self.call("POST", path("migrations", name, "objects", "apply"), start=True, request_id=request_id),
        )

    def start_data(
        self, name: str, body: shapes.DataBody | None = None, request_id: str | None = None
    ) -> shapes.Started:
        """Load the tables."""
        return cast(
            shapes.Started,
            self.call("POST", path("migrations", name, "data"), body=body, start=True, request_id=request_id),
        )

    def start_replication(
        self, name: str, body: shapes.ReplicationBody | None = None, request_id: str | None = None
    ) -> shapes.Started:
        """Replicate changes into the target."""
        return cast(
            shapes.Started,
            self.call("POST", path("migrations", name, "replication"), body=body, start=True, request_id=request_id),
        )

    def pause_replication(self, name: str) -> shapes.Paused:
        """Bring the running replication to rest between two transactions; answers once it rests."""
        return cast(shapes.Paused, self.call("POST", path("migrations", name, "replication", "pause")))

    def resume_replication(self, name: str) -> shapes.Paused:
        """Let a paused replication go on; answers once it does."""
        return cast(shapes.Paused, self.call("POST", path("migrations", name, "replication", "resume")))

    def start_replication_queue(
        self, name: str, body: shapes.ReplicationBody | None = None, request_id: str | None = None
    ) -> shapes.StartedQueue:
        """Replicate changes into the queue of a migration that has no database target."""
        return cast(
            shapes.StartedQueue,
            self.call(
                "POST", path("migrations", name, "replication-queue"), body=body, start=True, request_id=request_id
            ),
        )

    def pause_replication_queue(self, name: str) -> shapes.Paused:
        """Bring the running replication to rest between two transactions; answers once it rests."""
        return cast(shapes.Paused, self.call("POST", path("migrations", name, "replication-queue", "pause")))

    def resume_replication_queue(self, name: str) -> shapes.Paused:
        """Let a paused replication go on; answers once it does."""
        return cast(shapes.Paused, self.call("POST", path("migrations", name, "replication-queue", "resume")))

    def start_data_replication(
        self, name: str, body: shapes.ReplicationBody | None = None, request_id: str | None = None
    ) -> shapes.Started:
        """Load the tables, then replicate from where the load began."""
        return cast(
            shapes.Started,
            self.call(
                "POST", path("migrations", name, "data-replication"), body=body, start=True, request_id=request_id
            ),
        )

    def reset(self, name: str, body: shapes.ResetBody | None = None, request_id: str | None = None) -> shapes.ResetDone:
        """Drop or empty the target's tables, or forget only what Whimbrel noted about this migration."""
        return cast(
            shapes.ResetDone,
            self.call("POST", path("migrations", name, "reset"), body=body, start=True, request_id=request_id),
        )

    def validate_data(
        self, name: str, body: shapes.ValidateBody | None = None, request_id: str | None = None
    ) -> shapes.DataValidated:
        """Compare all rows, or a sample of them."""
        return cast(
            shapes.DataValidated,
            self.call("POST", path("migrations", name, "validate"), body=body, start=True, request_id=request_id),
        )

    def status(self, name: str) -> shapes.MigrationStatus:
        """Live progress of the running operation, and the last one that ended."""
        return cast(shapes.MigrationStatus, self.call("GET", path("migrations", name, "status")))

    def list_operations(
        self,
        *,
        migration: str | None = None,
        status: Literal["running", "completed", "failed", "cancelled", "stopped"] | None = None,
        mode: Literal[
            "data",
            "change",
            "change-queue",
            "data-replication",
            "schema-extract",
            "schema-apply",
            "objects-apply",
            "reset",
            "validate",
        ]
        | None = None,
        page_size: int | None = None,
        page_token: str | None = None,
    ) -> shapes.Operations:
        """One page, newest first."""
        return cast(
            shapes.Operations,
            self.call(
                "GET",
                path("operations"),
                query={
                    "migration": migration,
                    "status": status,
                    "mode": mode,
                    "page_size": page_size,
                    "page_token": page_token,
                },
            ),
        )

    def get_operation(self, id: str) -> shapes.Operation:
        """Everything about one operation: every table, result, error and the tails of its logs."""
        return cast(shapes.Operation, self.call("GET", path("operations", id)))

    def cancel_operation(self, id: str, body: shapes.EndBody | None = None) -> shapes.OperationEnded:
        """Let it finish the file or transaction in hand, clean up and end; answers once it has ended."""
        return cast(shapes.OperationEnded, self.call("POST", path("operations", id, "cancel"), body=body))

    def stop_operation(self, id: str, body: shapes.EndBody | None = None) -> shapes.OperationEnded:
        """End it at once and clean up behind it; answers once that is done."""
        return cast(shapes.OperationEnded, self.call("POST", path("operations", id, "stop"), body=body))
