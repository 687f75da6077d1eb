"""TCLIService, as the vendor's client calls it; every statement is done when it is answered."""

from __future__ import annotations

import re
import traceback
import uuid
from typing import Any

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes as t

from tests.emulators.databricks.errors import Refused
from tests.emulators.databricks.warehouse import Warehouse
from tests.emulators.faults import Faults
from tests.emulators.log import Log

_PUT = re.compile(r"PUT\s+'([^']+)'\s+INTO\s+'([^']+)'(\s+OVERWRITE)?\s*\Z", re.IGNORECASE)
_REMOVE = re.compile(r"REMOVE\s+'([^']+)'\s*\Z", re.IGNORECASE)
_FIRST_ROWS = 10_000  # that come with the answer to a statement
_TYPES = (
    (pa.types.is_boolean, t.TTypeId.BOOLEAN_TYPE),
    (pa.types.is_int8, t.TTypeId.TINYINT_TYPE),
    (pa.types.is_int16, t.TTypeId.SMALLINT_TYPE),
    (pa.types.is_int32, t.TTypeId.INT_TYPE),
    (pa.types.is_integer, t.TTypeId.BIGINT_TYPE),
    (pa.types.is_float32, t.TTypeId.FLOAT_TYPE),
    (pa.types.is_floating, t.TTypeId.DOUBLE_TYPE),
    (pa.types.is_timestamp, t.TTypeId.TIMESTAMP_TYPE),
    (pa.types.is_date, t.TTypeId.DATE_TYPE),
    (pa.types.is_binary, t.TTypeId.BINARY_TYPE),
)


class LostLink(BaseException):  # which Thrift does not make an answer of
    """The answer is not to reach the client."""


class Operation:
    def __init__(self, table: pa.Table, *, staging: bool = False) -> None:
        self.table, self.staging, self.at = table, staging, 0


class Service:
    def __init__(self, warehouse: Warehouse, faults: Faults, log: Log, base: str) -> None:
        self._warehouse, self._faults, self._log, self._base = warehouse, faults, log, base
        self._sessions: dict[bytes, Any] = {}
        self._operations: dict[bytes, Operation] = {}
        self.client = ""  # who sent the request in hand

    # --- sessions -----------------------------------------------------------------------------------------------------

    def OpenSession(self, req: Any) -> Any:
        namespace = req.initialNamespace
        try:
            session = self._warehouse.session(namespace.catalogName if namespace else None)
        except Refused as e:
            return t.TOpenSessionResp(status=_refused(e), serverProtocolVersion=_VERSION)
        handle = t.TSessionHandle(sessionId=_identifier())
        self._sessions[handle.sessionId.guid] = session
        return t.TOpenSessionResp(
            status=_ok(),
            serverProtocolVersion=_VERSION,
            sessionHandle=handle,
            configuration={},
            initialNamespace=namespace,
            canUseMultipleCatalogs=True,
        )

    def CloseSession(self, req: Any) -> Any:
        session = self._sessions.pop(req.sessionHandle.sessionId.guid, None)
        if session is not None:
            session.close()
        return t.TCloseSessionResp(status=_ok())

    # --- statements ---------------------------------------------------------------------------------------------------

    def ExecuteStatement(self, req: Any) -> Any:
        sql = req.statement.strip()
        self._log.add(self.client, sql)
        try:
            if fault := self._faults.take("statement", sql):
                raise Refused(*fault.error.split("|", 2))
            lost = self._faults.take("answered", sql)
            operation = self._done(req.sessionHandle.sessionId.guid, sql)
            if lost:
                raise LostLink
        except Refused as e:
            return t.TExecuteStatementResp(status=_refused(e))
        except Exception as e:
            traceback.print_exc()
            return t.TExecuteStatementResp(status=_refused(Refused("INTERNAL_ERROR", f"the stand-in: {e}", "XX000")))
        handle = t.TOperationHandle(
            operationId=_identifier(), operationType=t.TOperationType.EXECUTE_STATEMENT, hasResultSet=True
        )
        rows = _fetched(operation, _FIRST_ROWS)
        if rows.hasMoreRows:
            self._operations[handle.operationId.guid] = operation
        direct = t.TSparkDirectResults(
            operationStatus=self.GetOperationStatus(None),
            resultSetMetadata=_metadata(operation),
            resultSet=rows,
            closeOperation=None if rows.hasMoreRows else t.TCloseOperationResp(status=_ok()),
        )
        return t.TExecuteStatementResp(status=_ok(), operationHandle=handle, directResults=direct)

    def _done(self, guid: bytes, sql: str) -> Operation:
        session = self._sessions.get(guid)
        if session is None:
            raise Refused("INVALID_HANDLE.SESSION_NOT_FOUND", "The session was not found", "HY000")
        if found := _PUT.match(sql):
            path = self._warehouse.volumes.path(found[2])
            if path.exists() and not found[3]:
                raise Refused("FILE_ALREADY_EXISTS", f"{found[2]} already exists", "42710")
            return self._staging("PUT", found[1], found[2])
        if found := _REMOVE.match(sql):
            self._warehouse.volumes.path(found[1])
            return self._staging("REMOVE", None, found[1])
        return Operation(self._warehouse.run(session, sql))

    def _staging(self, verb: str, local: str | None, name: str) -> Operation:
        row = {
            "operation": [verb],
            "localFile": pa.array([local], pa.string()),
            "presignedUrl": [f"{self._base}/_volume{name}"],
            "headers": ["{}"],
        }
        return Operation(pa.table(row), staging=True)

    def GetOperationStatus(self, req: Any) -> Any:
        return t.TGetOperationStatusResp(status=_ok(), operationState=t.TOperationState.FINISHED_STATE)

    def CancelOperation(self, req: Any) -> Any:
        return t.TCancelOperationResp(status=_ok())

    def CloseOperation(self, req: Any) -> Any:
        self._operations.pop(req.operationHandle.operationId.guid, None)
        return t.TCloseOperationResp(status=_ok())

    def GetResultSetMetadata(self, req: Any) -> Any:
        return _metadata(self._operations[req.operationHandle.operationId.guid])

    def FetchResults(self, req: Any) -> Any:
        operation = self._operations[req.operationHandle.operationId.guid]
        answer = _fetched(operation, req.maxRows)
        answer.resultSetMetadata = _metadata(operation)
        return answer


_VERSION = t.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V8


def _ok() -> Any:
    return t.TStatus(statusCode=t.TStatusCode.SUCCESS_STATUS)


def _refused(e: Refused) -> Any:
    text = str(e)
    return t.TStatus(
        statusCode=t.TStatusCode.ERROR_STATUS, errorMessage=text, displayMessage=text, sqlState=e.state, errorCode=0
    )


def _identifier() -> Any:
    return t.THandleIdentifier(guid=uuid.uuid4().bytes, secret=uuid.uuid4().bytes)


def _metadata(operation: Operation) -> Any:
    schema = operation.table.schema
    columns = [
        t.TColumnDesc(columnName=field.name, typeDesc=_described(field.type), position=at + 1)
        for at, field in enumerate(schema)
    ]
    return t.TGetResultSetMetadataResp(
        status=_ok(),
        schema=t.TTableSchema(columns),
        resultFormat=t.TSparkRowSetType.ARROW_BASED_SET,
        lz4Compressed=False,
        arrowSchema=schema.serialize().to_pybytes(),
        isStagingOperation=operation.staging,
    )


def _described(type: pa.DataType) -> Any:
    found, qualifiers = next((id for test, id in _TYPES if test(type)), t.TTypeId.STRING_TYPE), None
    if pa.types.is_decimal(type):
        found = t.TTypeId.DECIMAL_TYPE
        values = {"precision": type.precision, "scale": type.scale}
        qualifiers = t.TTypeQualifiers({name: t.TTypeQualifierValue(i32Value=n) for name, n in values.items()})
    entry = t.TPrimitiveTypeEntry(type=found, typeQualifiers=qualifiers)
    return t.TTypeDesc([t.TTypeEntry(primitiveEntry=entry)])


def _fetched(operation: Operation, most: int) -> Any:
    at = operation.at
    part = operation.table.slice(at, most)
    operation.at += part.num_rows
    batches = [
        t.TSparkArrowBatch(batch=batch.serialize().to_pybytes(), rowCount=batch.num_rows)
        for batch in part.combine_chunks().to_batches()
    ]
    return t.TFetchResultsResp(
        status=_ok(),
        hasMoreRows=operation.at < operation.table.num_rows,
        results=t.TRowSet(startRowOffset=at, rows=[], arrowBatches=batches),
    )
