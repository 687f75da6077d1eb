"""What must be true before changes are captured is said once: a check fails where the capture refuses, in the same
words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from whimbrel.connectors.mysql.source import capturing
from whimbrel.connectors.postgres.source import capturing as postgres
from whimbrel.connectors.requirements import Requirement, require, results
from whimbrel.errors import LogDisabled, LogFormatRefused, ReplicaIdentityMissing, SourcePermissionDenied, WhimbrelError
from whimbrel.model.names import TableName

GOOD = {"log_bin": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL", "server_id": "7"}
SHOP = [TableName("shop", "item")]


def of_mysql(**changed: str) -> list[Requirement]:
    settings = GOOD | changed
    replica = None if capturing.logs_relayed(settings) else True
    return [
        capturing.logged(settings),
        *capturing.formats(settings),
        capturing.numbered(settings),
        capturing.relayed(settings, replica),
        capturing.unfiltered(("binlog.000001", 4, changed.get("do", ""), changed.get("ignore", "")), SHOP),
        capturing.cascades(settings, []),
        capturing.versioned([]),
    ]


@pytest.mark.parametrize(
    ("requirements", "id", "error"),
    [
        (of_mysql(log_bin="OFF"), "mysql.log_bin", LogDisabled),
        (of_mysql(binlog_format="MIXED"), "mysql.binlog_format", LogFormatRefused),
        (of_mysql(binlog_row_image="MINIMAL"), "mysql.binlog_row_image", LogFormatRefused),
        (of_mysql(binlog_row_value_options="PARTIAL_JSON"), "mysql.binlog_row_value_options", LogFormatRefused),
        (of_mysql(server_id="0"), "mysql.server_id", LogDisabled),
        (of_mysql(log_slave_updates="OFF"), "mysql.log_slave_updates", LogFormatRefused),
        (of_mysql(do="other"), "mysql.binlog_filters", LogFormatRefused),
        (of_mysql(ignore="x,shop"), "mysql.binlog_filters", LogFormatRefused),
        ([postgres.tables(["shop.view"])], "postgres.table_kinds", LogDisabled),
        ([postgres.logged(["shop.fast"])], "postgres.unlogged_tables", LogDisabled),
        ([postgres.identified(["shop.bare"])], "postgres.replica_identity", ReplicaIdentityMissing),
        ([postgres.owned(["shop.theirs"])], "postgres.table_ownership", SourcePermissionDenied),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_check_fails_where_the_capture_refuses(
    requirements: list[Requirement], id: str, error: type[WhimbrelError]
) -> None:
    (failed,) = [found for found in results(requirements) if found.status == "fail"]
    with pytest.raises(error) as caught:
        require(requirements)
    assert (failed.id, failed.message, failed.remedy) == (id, caught.value.message, caught.value.how_to_fix)


def test_what_is_met_or_only_warns_refuses_nothing() -> None:
    warned = capturing.relayed({"log_slave_updates": "OFF"}, None)  # nobody knows whether it is a replica
    assert [r.status for r in results([*of_mysql(), warned])] == ["ok"] * 9 + ["warn"]
    require([*of_mysql(), warned])


def test_what_stands_behind_the_first_refusal_is_not_asked_for() -> None:
    def asked() -> Iterator[Requirement]:
        yield capturing.logged({})
        raise AssertionError("this was to be asked of a server that has no log")

    with pytest.raises(LogDisabled):
        require(asked())
