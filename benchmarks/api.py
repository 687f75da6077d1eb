"""``make bench-api``: how long GET .../status takes beside a running data load, with 20 pollers over HTTPS keep-alive.

Two PostgreSQL 18 servers, Temporal, the API and a worker run as ``whimbrel up`` runs them; the pollers are a process of
their own. All of them share this machine's cores, so the figures are those of a busy machine. Only answers given while
rows were being copied count as "load".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.auth import create_key
from demo.stack import Stack
from tests.servers.postgres import Postgres
from whimbrel.catalog.home import certificate_files
from whimbrel.cli.client import ApiClient, path

RESULTS = Path("benchmarks/results")
PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
TABLES = 12
TABLE = """
create table @table@ (id bigint primary key, name text, made timestamptz, amount numeric(12,2), body text);
insert into @table@ select n, 'name ' || n, now(), n * 0.25, repeat(md5(n::text), 4) from generate_series(1, @rows@) n;
analyze @table@;
"""
MIGRATION = "bench"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-api", description=__doc__)
    parser.add_argument("--pollers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--rows", type=int, default=400_000, help="in each of the source's 12 tables")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="whimbrel-bench-"))
    folder.chmod(0o711)  # the servers run under an account of their own when we are root
    try:
        figures = measure(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"api-status-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    file.write_text(json.dumps({**machine, "pollers": options.pollers, "measurements": figures}) + "\n")
    print(f"raw figures: {file}")


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Idle, then beside a load: each poller four times a second, ten times a second, and without any rest."""
    with ExitStack() as running:
        source, target = (start(running, folder / role) for role in ("source", "target"))
        fill(source, options.rows)
        target.create_database("bench")
        stack = running.enter_context(Stack(folder / "home"))
        api = running.enter_context(stack.start())
        os.environ["WHIMBREL_API_KEY"] = create_key("pollers")
        define(api, source, target)
        found = [one(stack, options, 0.25, "idle")]
        stop = threading.Event()
        loads = threading.Thread(target=keep_loading, args=(api, stop))
        loads.start()
        try:
            wait_for_rows(api)
            found += [one(stack, options, every, "data") for every in (0.25, 0.1, 0.0)]
        finally:
            stop.set()
            loads.join()
        return found


def one(stack: Stack, options: argparse.Namespace, every: float, doing: str) -> dict[str, Any]:
    """One measurement; prints its percentiles in milliseconds."""
    argv = ["--port", str(stack.ports.api), "--ca", str(certificate_files()[0]), "--every", str(every)]
    argv += ["--path", path("migrations", MIGRATION, "status"), "--seconds", str(options.seconds)]
    argv += ["--pollers", str(options.pollers)]
    load, before = os.getloadavg()[0], core_seconds(stack.api_pid)
    done = subprocess.run([sys.executable, "-m", "benchmarks.pollers", *argv], stdout=subprocess.PIPE, check=True)
    busy, waited = (after - b for after, b in zip(core_seconds(stack.api_pid), before, strict=True))
    answer = json.loads(done.stdout)
    answers = max(1, sum(map(len, answer["seconds"].values())))
    of_api = {"core_ms_per_answer": 1000 * busy / answers, "waiting_for_a_core_ms_per_answer": 1000 * waited / answers}
    took = sorted(answer["seconds"].get(doing, []))
    if not took:
        raise RuntimeError(f"no answer while the migration was in {doing!r}: {list(answer['seconds'])}")
    ms = {k: round(1000 * _percentile(took, p), 2) for k, p in PERCENTILES.items()}
    name = "load" if doing == "data" else "idle"
    inside = {k: round(1000 * _percentile(sorted(answer["inside"]), p), 2) for k, p in PERCENTILES.items()}
    rate = len(took) / options.seconds
    rest = f"each every {every:g} s" if every else "without rest"
    print(
        f"{name}, {options.pollers} pollers {rest}: p50 {ms['p50']} ms, p95 {ms['p95']} ms, p99 {ms['p99']} ms, "
        f"most {1000 * took[-1]:.1f} ms (inside the API: p99 {inside['p99']} ms); "
        f"{len(took):,} answers ({rate:,.0f}/s), {answer['wrong']} not HTTP 200; for each the API had a core for "
        f"{of_api['core_ms_per_answer']:.2f} ms and waited for one {of_api['waiting_for_a_core_ms_per_answer']:.2f} ms",
        flush=True,
    )
    raw = [round(1000 * s, 3) for s in took]
    return {
        "beside": name,
        "every_seconds": every,
        "load_average_before": load,
        **ms,
        "max": raw[-1],
        "inside_the_api": inside,
        "answers_per_second": round(rate, 1),
        "api": {name: round(ms, 3) for name, ms in of_api.items()},
        "wrong": answer["wrong"],
        "other_answers": {k: len(v) for k, v in answer["seconds"].items() if k != doing},
        "milliseconds": raw,
    }


def _percentile(ordered: list[float], percent: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def core_seconds(pid: int) -> tuple[float, float]:
    """Seconds that the process's main thread, which answers, has run and has waited for a core (Linux)."""
    ran, waited, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


def start(running: ExitStack, folder: Path) -> Postgres:
    server = Postgres(folder, "18")
    running.callback(server.stop)
    server.start()
    return server


def fill(source: Postgres, rows: int) -> None:
    source.create_database("bench")
    for i in range(TABLES):
        table = TABLE.replace("@table@", f"t{i}").replace("@rows@", str(rows))
        source.psql(table, "bench")


def define(api: ApiClient, source: Postgres, target: Postgres) -> None:
    api.put(path("sources", "bench"), {"type": "postgres", "parameters": source.parameters("bench")})
    api.put(path("targets", "bench"), {"type": "postgres", "parameters": target.parameters("bench")})
    body = {"source": "bench", "fileTarget": "bench", "tables": ["public.*"], "threads": 4, "rows_per_file": 50_000}
    api.put(path("migrations", MIGRATION), body)
    api.post(path("migrations", MIGRATION, "schema", "extract"))
    api.post(path("migrations", MIGRATION, "schema", "apply"))


def keep_loading(api: ApiClient, stop: threading.Event) -> None:
    """Load, empty the target and load again, until told to stop."""
    while not stop.is_set():
        started = api.start(path("migrations", MIGRATION, "data"), {}, None)
        while (ended := api.get(path("operations", started["operation_id"])))["status"] == "running":
            if stop.wait(0.5):
                api.post(path("operations", started["operation_id"], "cancel"))
                return
        if ended["status"] != "completed":
            raise RuntimeError(f"the load ended as {ended['status']}: {ended['error']}")
        api.post(path("migrations", MIGRATION, "reset"), {"mode": "truncate"})


def wait_for_rows(api: ApiClient) -> None:
    """Until rows are being copied. RuntimeError after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = api.get(path("migrations", MIGRATION, "status"))["operation"]
        if found and found["progress"] and found["progress"]["rows_loaded"]:
            return
        time.sleep(0.2)
    raise RuntimeError("the load has not begun within a minute")


if __name__ == "__main__":
    main()
