"""What an operation is called in Temporal's UI: from where to where, and how much."""

from __future__ import annotations

import logging

from whimbrel.catalog.records import REPLICATING, OperationRecord
from whimbrel.catalog.store import Catalog
from whimbrel.errors import WhimbrelError
from workflows.messages import Title

logger = logging.getLogger("api.titles")


def title_of(catalog: Catalog, record: OperationRecord) -> Title | None:
    """Names and types of both ends and the number of tables; None when the catalog does not say: nothing may fail for
    what is only looked at."""
    try:
        migration = catalog.get_migration(record.migration)
        source = catalog.get_source(migration.source)
        fed = migration.queue_target if record.mode in REPLICATING else None
        targets = [catalog.get_target(name) for name in (migration.file_target, fed) if name]
    except WhimbrelError as e:
        logger.warning("operation %s has no title in Temporal's UI: %s", record.id, e.message)
        return None
    ends = " and ".join(f"{target.name} ({target.type})" for target in targets)
    pattern = any(table.endswith(".*") for table in migration.tables)
    count = len(migration.tables)
    kind = "pattern" if pattern else "table"
    tables = f"{count:,} {kind}{'' if count == 1 else 's'}{' of tables' if pattern else ''}"
    text = f"{source.name} ({source.type}) → {ends}, {tables}"
    return Title(text, source.name, targets[0].name if targets else "")
