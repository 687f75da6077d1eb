"""``make bench``: the demo's main job again and again without faults; raw figures as JSON in benchmarks/results/."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from demo.__main__ import SOURCES, run
from demo.screen import Screen

RESULTS = Path("benchmarks/results")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--source", choices=SOURCES, default="postgres")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    console = Console(highlight=False)
    figures = [one(options.source, options.scale, number) for number in range(1, options.runs + 1)]
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"main-job-{options.source}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    file.write_text(json.dumps({"source": options.source, **machine, "runs": figures}, indent=2) + "\n")
    rates = [figure["rows_per_second"] for figure in figures]
    console.print(
        f"{options.source}: {min(rates):,.0f} / {statistics.median(rates):,.0f} / {max(rates):,.0f} rows/s "
        f"(least, median, most of {options.runs} runs while being written to), in {file}",
        soft_wrap=True,
    )


def one(source: str, scale: float, number: int) -> dict[str, float]:
    """Figures of one run. Raises RuntimeError unless both sides are equal at its end."""
    folder = Path(tempfile.mkdtemp(prefix="whimbrel-bench-"))
    folder.chmod(0o711)
    options = argparse.Namespace(source=source, scale=scale, no_faults=True, keep=False, picture=None)
    begun = time.monotonic()
    try:
        with Screen(Console(highlight=False)) as screen:
            screen.say(f"run {number}")
            moved = run(options, folder, screen)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if moved.unequal:
        raise RuntimeError(f"source and target differ in {', '.join(moved.unequal)}")
    rows = moved.progress["rows_loaded"] or 0
    return {
        "rows": rows,
        "load_seconds": round(moved.load_seconds, 3),
        "rows_per_second": round(rows / moved.load_seconds, 1),
        "catch_up_seconds": round(moved.catch_up_seconds, 3),
        "all_seconds": round(time.monotonic() - begun, 3),
    }


if __name__ == "__main__":
    main()
