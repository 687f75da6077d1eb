"""The search attributes by which the Temporal UI filters operations."""

from __future__ import annotations

import logging

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError

logger = logging.getLogger(__name__)

SEARCH_ATTRIBUTES = ("WhimbrelMigration", "WhimbrelMode", "WhimbrelStatus", "WhimbrelSource", "WhimbrelTarget")


async def register_search_attributes(client: Client) -> bool:
    """Register what is missing; whether all are there. Without them everything works but the UI's filter."""
    try:
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
        missing = [name for name in SEARCH_ATTRIBUTES if name not in listed.custom_attributes]
        if missing:
            keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(
                    namespace=client.namespace, search_attributes=dict.fromkeys(missing, keyword)
                )
            )
    except RPCError as e:
        logger.warning("search attributes %s cannot be registered: %s", ", ".join(SEARCH_ATTRIBUTES), e.message)
        return False
    return True
