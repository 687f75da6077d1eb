"""One router per resource, in the order in which the docs show them."""

from api.routes import (
    data,
    health,
    metrics,
    migrations,
    objects,
    operations,
    prereqs,
    queues,
    replication,
    replication_queue,
    reset,
    schema,
    sources,
    status,
    targets,
    validation,
)

ROUTERS = (
    health.router,
    sources.router,
    targets.router,
    queues.router,
    migrations.router,
    prereqs.router,
    schema.router,
    objects.router,
    data.router,
    replication.router,
    replication_queue.router,
    reset.router,
    validation.router,
    status.router,
    operations.router,
    metrics.router,
)

__all__ = ["ROUTERS"]
