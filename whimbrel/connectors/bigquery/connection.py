"""Jobs of BigQuery, over its vendor's driver.

There is no session on the server. A transaction is one script, sent as one job when it is committed: it is done or not
done as a whole whatever becomes of us or of the network, and nothing can run by itself behind one that was ended. Each
job has an id of our own choosing, so that a request whose answer was lost is never a second job.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import Any, Final, TypeVar

import google.auth
from google.api_core.client_info import ClientInfo
from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound, RetryError
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY
from google.oauth2 import credentials as user_credentials
from google.oauth2 import service_account
from requests.exceptions import RequestException

from whimbrel.connectors.bigquery.config import own_dataset
from whimbrel.connectors.bigquery.refusals import login_refusal, missing_dataset, other_location, server_refusal
from whimbrel.connectors.protocols import ServerInfo
from whimbrel.connectors.sql.session import Session
from whimbrel.errors import TargetInterrupted, WhimbrelError
from whimbrel.model.job import Role, session_name

REQUEST_SECONDS: Final = 60  # for one request to be answered; a statement that takes longer is asked after again
WAIT_SECONDS: Final = 120  # for a throttled service
CONFLICT_SECONDS: Final = 600  # for a table that others change: lanes commit one after the other
BLOCK_ROWS: Final = 5000
RETRY: Final = DEFAULT_RETRY.with_timeout(WAIT_SECONDS)
LOGIN_SECONDS: Final = 10  # for a service that cannot be reached
SOON: Final = DEFAULT_RETRY.with_timeout(LOGIN_SECONDS)
FOUND_SECONDS: Final = 30  # for a job to be found that was said to be there
SCOPES: Final = ("https://www.googleapis.com/auth/bigquery",)
ERRORS: Final = (GoogleAPICallError, RetryError, GoogleAuthError, RequestException, OSError)
T = TypeVar("T")


class BigQuerySession(Session):
    """See ``sql.session.Session``. Inside of a transaction ``execute`` only notes the statement, and tells 0."""

    def __init__(self, parameters: Mapping[str, Any], operation: str, role: Role) -> None:
        self.project, self.dataset = str(parameters["project"]), str(parameters["dataset"])
        self.own_dataset = own_dataset(parameters)
        self.prefix = job_prefix(operation, role)
        self._noted: list[str] = []
        self._declared: list[str] = []
        self._running = ""  # the job at work, for ``cancel``
        try:
            self.client = _client(parameters)
            found = self.client.get_dataset(self.dataset, retry=SOON, timeout=REQUEST_SECONDS)
        except NotFound as e:
            raise missing_dataset(parameters) from e
        except (*ERRORS, ValueError, KeyError) as e:
            raise login_refusal(e, parameters) from e
        self.location = str(found.location or parameters.get("location") or "US")
        wanted = str(parameters.get("location", self.location))
        if wanted.lower() != self.location.lower():
            raise other_location(parameters, self.location)

    def execute(self, sql: str) -> int:
        if self.in_transaction:
            self._noted.append(sql)
            return 0
        return int(self.patiently(lambda: self._done(sql)[0].num_dml_affected_rows) or 0)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Outside of the transaction in hand, always: it has not begun yet."""
        return self.patiently(lambda: [tuple(row.values()) for row in self._done(sql)[1]])

    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        rows = self.patiently(lambda: self._done(sql, page_size=BLOCK_ROWS)[1])
        with mapped():
            for page in rows.pages:
                yield [tuple(row.values()) for row in page]

    def script(
        self, statements: Sequence[str], declared: Sequence[str] = (), answer: str = ""
    ) -> list[tuple[Any, ...]]:
        """Statements in one transaction, with variables before them; ``answer`` is asked behind it."""
        parts = [f"DECLARE {variable}" for variable in declared]
        parts += ["BEGIN TRANSACTION", *statements, "COMMIT TRANSACTION", *([answer] if answer else [])]
        return self.query(";\n".join(parts) + ";")

    def now(self) -> datetime:
        found: datetime = self.query("SELECT CURRENT_TIMESTAMP()")[0][0]
        return found

    def bound_waits(self, seconds: int) -> None:
        """No statement here waits for a lock of ours."""

    def cancel(self) -> None:
        if self._running:
            self.cancel_job(self._running)

    def close(self) -> None:
        self.rollback()
        with suppress(Exception):
            self.client.close()

    # --- transactions -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.rollback()

    def declare(self, variable: str) -> None:
        """A variable of the transaction in hand: its name and type."""
        self._declared.append(variable)

    def commit(self) -> None:
        noted, declared = self._noted, self._declared
        self.rollback()
        if noted:
            self.script(noted, declared)

    def rollback(self) -> None:
        self.in_transaction = False
        self._noted, self._declared = [], []

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def new_job(self) -> str:
        return f"{self.prefix}{uuid.uuid4().hex}"

    def job(self, id: str) -> Any:
        """One that was said to be there already, which may not be found yet. Raises TargetInterrupted."""
        deadline = time.monotonic() + FOUND_SECONDS
        while True:
            try:
                return self.client.get_job(
                    id, project=self.project, location=self.location, retry=RETRY, timeout=REQUEST_SECONDS
                )
            except NotFound as e:
                if time.monotonic() > deadline:
                    raise TargetInterrupted(f"the job {id} was said to be there, and is not found") from e
            time.sleep(0.5)

    def wait(self, job: Any) -> None:
        """Until a job is over, well or not: by questions that each end in time, where a wait for its rows would take
        the failure of a job for one of the question, and ask for minutes again."""
        pause = 0.1
        while not job.done(retry=RETRY, timeout=REQUEST_SECONDS):
            time.sleep(pause)
            pause = min(1.0, pause * 1.5)

    def jobs(self, prefix: str) -> list[str]:
        """Ids of the account's jobs that begin so and are at work or wait. Those that wait are asked for first: one
        that begins between the two questions is in both answers, the other way round it would be in none."""
        with mapped():
            found = [
                job.job_id
                for state in ("pending", "running")
                for job in self.client.list_jobs(state_filter=state, retry=RETRY, timeout=REQUEST_SECONDS)
                if job.job_id.startswith(prefix)
            ]
        return list(dict.fromkeys(found))

    def cancel_job(self, id: str) -> None:
        with suppress(*ERRORS):
            self.client.cancel_job(
                id, project=self.project, location=self.location, retry=SOON, timeout=REQUEST_SECONDS
            )

    def _done(self, sql: str, page_size: int | None = None) -> tuple[Any, Any]:
        """The job of a statement or script, and its rows, once it has ended well."""
        with mapped():
            id = self.new_job()
            try:
                job = self.client.query(
                    sql, job_id=id, location=self.location, retry=RETRY, job_retry=None, timeout=REQUEST_SECONDS
                )
            except Conflict:  # our own request, sent again after its answer was lost
                job = self.job(id)
            self._running = id
            try:
                self.wait(job)
                return job, job.result(page_size=page_size, retry=RETRY, job_retry=None, timeout=REQUEST_SECONDS)
            except ERRORS as e:
                over = self.failed(job)
                if not over:
                    self.cancel_job(id)
                raise server_refusal(e, done_nothing=over) from e
            finally:
                self._running = ""

    def failed(self, job: Any) -> bool:
        """Whether a job is over and has failed, so that nothing of it can come later."""
        with suppress(*ERRORS):
            return job.done(retry=SOON, timeout=REQUEST_SECONDS) and bool(job.error_result)
        return False

    def patiently(self, work: Callable[[], T]) -> T:
        """What was refused for a moment only, and so has done nothing, is sent again as another job for a while."""
        began, pause = time.monotonic(), 0.2
        while True:
            try:
                return work()
            except WhimbrelError as e:
                most = CONFLICT_SECONDS if e.details.get("conflict") else WAIT_SECONDS
                if not e.details.get("for_a_moment") or time.monotonic() + pause > began + most:
                    raise
            time.sleep(pause * (0.5 + random.random()))
            pause = min(10.0, pause * 2)


def connect(parameters: Mapping[str, Any], operation: str, role: Role = "target") -> BigQuerySession:
    """Log in, and see that the dataset is there. Raises a leaf of ConnectionRefused."""
    return BigQuerySession(parameters, operation, role)


def job_prefix(operation: str, role: Role) -> str:
    """What the ids of an operation's jobs begin with: letters, digits, dashes and underscores."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in session_name(operation, role))
    return f"whimbrel-{plain}-"


def _client(parameters: Mapping[str, Any]) -> Any:
    if "credentials_json" not in parameters:
        credentials, _ = google.auth.default(scopes=SCOPES)
    else:
        key = json.loads(parameters["credentials_json"])
        made: Any = (
            user_credentials.Credentials.from_authorized_user_info
            if key.get("type") == "authorized_user"
            else service_account.Credentials.from_service_account_info
        )
        credentials = made(key, scopes=SCOPES)
    options = {"api_endpoint": parameters["endpoint"]} if "endpoint" in parameters else None
    client: Any = bigquery.Client(
        project=parameters["project"],
        credentials=credentials,
        client_options=options,
        client_info=ClientInfo(user_agent="whimbrel"),  # type: ignore[no-untyped-call]
    )
    client._http.request = _bounded(client._http.request)
    return client


def _bounded(request: Callable[..., Any]) -> Callable[..., Any]:
    """The client asks some things without a bound, so that a link which has gone silent is waited for without end."""

    def bounded(*args: Any, timeout: Any = None, **named: Any) -> Any:
        return request(*args, timeout=timeout or REQUEST_SECONDS, **named)

    return bounded


@contextmanager
def mapped() -> Iterator[None]:
    """Turn the driver's errors inside the block into ours."""
    try:
        yield
    except ERRORS as e:
        raise server_refusal(e) from e


def server_info(parameters: Mapping[str, Any]) -> ServerInfo:
    """Log in, run a statement. Raises a ConnectionRefused leaf."""
    with closing(connect(parameters, "test")) as session:
        session.query("SELECT 1")
        return ServerInfo(
            f"BigQuery in {session.location}", (), f"{session.project}.{session.dataset}@{session.location}".lower()
        )
