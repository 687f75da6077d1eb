"""What happens to one statement: read, mended, given to the session as reading, writing or defining, and to DuckDB."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import fakesnow.cursor as fake
from fakesnow.dialect import parse_one
from fakesnow.transforms import stage
from snowflake.connector.errors import Error, ProgrammingError
from sqlglot import Expr, exp
from sqlglot.errors import ParseError

from tests.emulators.snowflake import dropping, keys, names
from tests.emulators.snowflake.locks import Table
from tests.emulators.snowflake.merge import merge
from tests.emulators.snowflake.sessions import Session

DONE = "SELECT 'Statement executed successfully.' AS \"status\""
EXCLUSIVE = (exp.Update, exp.Delete, exp.Merge)
APPENDING = (exp.Insert, exp.Copy)
DEFINING = (exp.Create, exp.Drop, exp.Alter, exp.Comment, exp.TruncateTable)
START = re.compile(r"\s*START\s+TRANSACTION\b", re.IGNORECASE)
NAMED = re.compile(r"\bNAME\s+(\w+)\s*;?\s*$", re.IGNORECASE)
SHOW_TRANSACTIONS = re.compile(r"\s*SHOW\s+TRANSACTIONS\b", re.IGNORECASE)
REMOVE = re.compile(r"""\s*(?:REMOVE|RM)\s+'?@([^\s';]+)'?\s*;?\s*$""", re.IGNORECASE)
# Parameters of a session that change nothing here; AUTOCOMMIT and LOCK_TIMEOUT are obeyed.
PARAMETERS = {
    "ABORT_DETACHED_QUERY",
    "BINARY_INPUT_FORMAT",
    "BINARY_OUTPUT_FORMAT",
    "CLIENT_SESSION_KEEP_ALIVE",
    "ERROR_ON_NONDETERMINISTIC_MERGE",
    "QUERY_TAG",
    "QUOTED_IDENTIFIERS_IGNORE_CASE",
    "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS",
    "STATEMENT_TIMEOUT_IN_SECONDS",
    "TIMESTAMP_INPUT_FORMAT",
    "TIMESTAMP_TYPE_MAPPING",
    "TIMEZONE",
    "TRANSACTION_ABORT_ON_ERROR",
    "TRANSACTION_DEFAULT_ISOLATION_LEVEL",
    "USE_CACHED_RESULT",
    "WEEK_START",
}
KINDS_OF_ERRORS: tuple[tuple[type[duckdb.Error], int, str], ...] = (
    (duckdb.InterruptException, 604, "57014"),
    (duckdb.ConstraintException, 100072, "22000"),
    (duckdb.ConversionException, 100038, "22018"),
    (duckdb.OutOfRangeException, 100132, "22003"),
    (duckdb.InvalidInputException, 100038, "22018"),
    (duckdb.CatalogException, 2003, "42S02"),
)


def execute(cursor: Any, command: str, params: Any = None, *_: Any, **options: Any) -> Any:
    """In the place of fakesnow's ``FakeSnowflakeCursor.execute``."""
    session: Session = cursor._conn.stand
    given = options.get("binding_params") or params
    parameters = list(given) if isinstance(given, tuple) else given
    with session.working:
        session.begins()
        try:
            _run(cursor, session, command, parameters)
        except ParseError as e:
            raise fake.syntax_error(e) from None
        except Error:
            raise
        except (duckdb.Error, NotImplementedError) as e:
            raise as_snowflake(e) from e
        finally:
            session.ended()
    return cursor


def as_snowflake(error: Exception) -> ProgrammingError:
    first = str(error).split("\n")[0]
    for kind, number, state in KINDS_OF_ERRORS:
        if isinstance(error, kind):
            return ProgrammingError(msg=first, errno=number, sqlstate=state)
    return ProgrammingError(msg=f"The stand-in cannot do this: {error!r}", errno=603, sqlstate="XX000")


def _run(cursor: Any, session: Session, command: str, parameters: Any) -> None:
    if START.match(command):
        command = "BEGIN"
    statement: Expr = parse_one(command)
    session.check_not_aborted(ends=isinstance(statement, exp.Rollback))
    if isinstance(statement, exp.Transaction):
        name = NAMED.search(command)
        session.begin(name[1].upper() if name else None)
        _say(cursor, DONE)
    elif isinstance(statement, (exp.Commit, exp.Rollback)):
        (session.commit if isinstance(statement, exp.Commit) else session.roll_back)()
        _say(cursor, DONE)
    elif SHOW_TRANSACTIONS.match(command):
        _say(cursor, _transactions(session))
    elif isinstance(statement, exp.Alter) and statement.args.get("kind") == "SESSION":
        _set(session, statement)
        _say(cursor, DONE)
    elif isinstance(statement, exp.Use) and str(statement.args.get("kind")).upper() in ("ROLE", "WAREHOUSE"):
        session.use(str(statement.args["kind"]).upper(), names.normal(statement.this.this))
        _say(cursor, DONE)
    elif found := REMOVE.match(command):
        _say(cursor, _remove(found[1], cursor._conn))
    elif isinstance(statement, exp.Show) and keys.shown(statement):
        session.read((), lambda: _say(cursor, keys.listing(statement, cursor._conn)))
    else:
        _with_tables(cursor, session, command, statement, parameters)


def _with_tables(cursor: Any, session: Session, command: str, statement: Expr, parameters: Any) -> None:
    connection = cursor._conn
    named = [names.full(table, connection) for table in names.tables(statement)]
    target = _target(statement, connection)
    if target in session.temporary:
        target = None

    def work() -> None:
        _perform(cursor, session, command, list(parameters) if isinstance(parameters, list) else parameters)

    if isinstance(statement, (*EXCLUSIVE, *APPENDING)):
        session.check_warehouse()
        session.write(target, named, isinstance(statement, EXCLUSIVE), work)
    elif isinstance(statement, DEFINING):
        session.define(target, work)
    else:
        if named and isinstance(statement, exp.Query):
            session.check_warehouse()
        session.read(named, work)


def _target(statement: Expr, connection: Any) -> Table | None:
    """The table that it changes."""
    if isinstance(statement, exp.TruncateTable):
        return names.full(statement.expressions[0], connection)
    if isinstance(statement, (exp.Create, exp.Drop, exp.Alter)) and statement.args.get("kind") != "TABLE":
        return None
    this = statement.args["tables"][0] if isinstance(statement, exp.Drop) else statement.args.get("this")
    this = this.this if isinstance(this, exp.Schema) else this
    return names.full(this, connection) if isinstance(this, exp.Table) else None


def _perform(cursor: Any, session: Session, command: str, parameters: Any) -> None:
    """Have DuckDB do it, by what fakesnow makes of it."""
    connection = cursor._conn
    statement = _read(command, session)
    kept: Callable[[], None] = lambda: None  # noqa: E731
    if isinstance(statement, exp.Create):
        _own_namespace(statement, session)
        kept = keys.taken_out(statement, connection)
    elif isinstance(statement, exp.Alter) and keys.added(statement, connection):
        _say(cursor, DONE)
        return
    names.check_case(statement, connection)
    if isinstance(statement, exp.Drop) and dropping.done(statement, connection):
        _say(cursor, DONE)
        return
    cursor.check_db_and_schema(statement)
    for table in names.tables(statement):
        if names.full(table, connection) in session.temporary:
            table.set("this", exp.to_identifier(session.private(names.normal(table.this)), quoted=True))
    if isinstance(statement, exp.Merge):
        merge(cursor, statement, parameters)
        return
    for part in cursor._transform_explode(statement):
        changed = cursor._transform(part, parameters)
        cursor._execute(changed, parameters if changed.find(exp.Placeholder) else None)
    kept()
    if isinstance(statement, exp.Create) and statement.args.get("kind") == "DATABASE":
        cursor._duck_conn.execute(f'CREATE SCHEMA IF NOT EXISTS "{names.normal(statement.this.this)}"."PUBLIC"')
    if isinstance(statement, exp.Drop):
        _forget(statement, session)


def _own_namespace(statement: exp.Create, session: Session) -> None:
    """DuckDB keeps temporary tables in no schema, and COPY INTO looks for them in one: they are made as tables under a
    name that no other session knows."""
    temporary = statement.find(exp.TemporaryProperty)
    if statement.args.get("kind") == "TABLE" and temporary:
        table = statement.find(exp.Table)
        assert table is not None
        session.temporary.add(names.full(table, session.connection))
        temporary.pop()


def _forget(statement: exp.Drop, session: Session) -> None:
    if statement.args.get("kind") == "TABLE":
        gone = names.full(statement.args["tables"][0], session.connection)
        session.temporary.discard(gone)
        keys.forget(gone, session.connection)


def _read(command: str, session: Session) -> Expr:
    """The statement, with what fakesnow does not know in words that it does."""
    return _all_mended(parse_one(command), session)


def _all_mended(part: Expr, session: Session) -> Expr:
    mended: Expr = part.transform(lambda node: _mended(node, session), copy=False)
    return mended


def _mended(node: Expr, session: Session) -> Expr:
    text: str | None
    if isinstance(node, exp.ToNumber) and _is_hexadecimal(node.args.get("format")):
        inside = _all_mended(node.this.copy(), session)  # what takes the node's place is not looked at again
        digits = exp.Concat(expressions=[exp.Literal.string("0x"), inside], safe=True, coalesce=False)
        return exp.cast(exp.cast(digits, "bigint"), "decimal(38, 0)")
    if isinstance(node, exp.ByteLength) or (isinstance(node, exp.Anonymous) and node.name.upper() == "OCTET_LENGTH"):
        of = node.this if isinstance(node, exp.ByteLength) else node.expressions[0]
        return exp.Anonymous(
            this="STRLEN", expressions=[_all_mended(of.copy(), session)]
        )  # which counts bytes in DuckDB
    if isinstance(node, exp.CurrentSession):
        text = str(session.id)
    elif isinstance(node, exp.CurrentTransaction):
        text = str(session.transaction.id) if session.transaction else None
    elif isinstance(node, exp.CurrentWarehouse):
        text = session.warehouse
    elif isinstance(node, exp.CurrentRole):
        text = session.role
    elif isinstance(node, exp.CurrentDatabase):
        text = session.connection.database if session.connection.database_set else None
    elif isinstance(node, exp.CurrentSchema):
        text = session.connection.schema if session.connection.schema_set else None
    elif isinstance(node, exp.CurrentUser):
        text = session.user
    elif isinstance(node, (exp.CurrentAccount, exp.CurrentAccountName)):
        text = "WHIMBREL"
    elif isinstance(node, exp.Anonymous) and node.name.upper() in SYSTEM:
        text = SYSTEM[node.name.upper()](session, int(node.expressions[0].name))
    else:
        return node
    value = exp.null() if text is None else exp.Literal.string(text)
    return value if not isinstance(node.parent, exp.Select) else exp.alias_(value, node.sql("snowflake"), quoted=True)


def _abort_session(session: Session, number: int) -> str:
    if not session.sessions.end(number):
        raise ProgrammingError(msg=f"Session {number} does not exist.", errno=100081, sqlstate="22000")
    return f"Session {number} aborted."


def _abort_transaction(session: Session, number: int) -> str:
    if not session.sessions.abort_transaction(number):
        raise ProgrammingError(msg=f"Transaction {number} does not exist.", errno=100081, sqlstate="22000")
    return f"Transaction {number} rolled back."


def _cancel_all(session: Session, number: int) -> str:
    other = session.sessions.numbered(number)
    if other is not None:
        other.cancel()
    return "queries cancelled"


SYSTEM: dict[str, Callable[[Session, int], str]] = {
    "SYSTEM$ABORT_SESSION": _abort_session,
    "SYSTEM$ABORT_TRANSACTION": _abort_transaction,
    "SYSTEM$CANCEL_ALL_QUERIES": _cancel_all,
}


def _is_hexadecimal(model: Expr | None) -> bool:
    return isinstance(model, exp.Literal) and set(model.name.upper()) == {"X"}


def _set(session: Session, statement: exp.Alter) -> None:
    for item in statement.find_all(exp.SetItem):
        if not isinstance(item.this, exp.EQ):
            continue
        name, value = item.this.this.name.upper(), item.this.expression.name or item.this.expression.sql()
        if name == "AUTOCOMMIT":
            session.commit()
            session.autocommit = value.upper() in ("TRUE", "1")
        elif name == "LOCK_TIMEOUT":
            session.lock_timeout = float(value)
        elif name not in PARAMETERS or (name == "TIMEZONE" and value.upper() not in ("UTC", "ETC/UTC")):
            raise ProgrammingError(msg=f"invalid value [{value}] for parameter '{name}'", errno=1006, sqlstate="22023")


def _transactions(session: Session) -> str:
    """SHOW TRANSACTIONS: those of this user's sessions."""
    rows = ", ".join(
        f"({t.id}, '{s.user}', {s.id}, '{t.name}', to_timestamp({t.began}), 'running', 0)"
        for s, t in session.sessions.open_transactions()
        if s.user == session.user
    )
    columns = '"id", "user", "session", "name", "started_on", "state", "scope"'
    none = "" if rows else " WHERE false"
    return f"SELECT * FROM (VALUES {rows or '(0, NULL, 0, NULL, now(), NULL, 0)'}) AS t({columns}){none}"


def _remove(place: str, connection: Any) -> str:
    """REMOVE @stage/path: the files whose path begins so."""
    name, _, path = place.partition("/")
    root = Path(stage.internal_dir(".".join(stage.parts_from_var(name, connection.database, connection.schema))))
    gone = [file for file in root.rglob("*") if file.is_file() and str(file.relative_to(root)).startswith(path)]
    for file in gone:
        file.unlink()
    for folder in sorted((f for f in root.rglob("*") if f.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            shutil.rmtree(folder)
    if not gone:
        return 'SELECT NULL::VARCHAR AS "name", NULL::VARCHAR AS "result" WHERE false'
    rows = ", ".join(f"('{str(file.relative_to(root)).replace(chr(39), chr(39) * 2)}', 'removed')" for file in gone)
    return f'SELECT * FROM (VALUES {rows}) AS t("name", "result")'


def _say(cursor: Any, sql: str) -> None:
    """Make this the statement's result."""
    cursor._execute(fake.sqlglot.parse_one(sql, read="duckdb"))
