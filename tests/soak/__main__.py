"""``make soak MINUTES=10 SEED=1 PAIR=postgres18-mysql``: ends with 0 only when both ends are equal."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import PAIRS, Settings, Soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pair", choices=PAIRS, default=PAIRS[0])
    parser.add_argument("--rate", type=float, default=700.0, help="rows changed a second")
    parser.add_argument("--report", type=Path, default=None, help="file for the report as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="whimbrel-soak-"))
    folder.chmod(0o711)  # the servers run under accounts of their own when we are root
    report = options.report or Path(".cache/soak") / f"{options.pair}-seed{options.seed}-{options.minutes:g}min.json"
    settings = Settings(options.pair, options.minutes, options.seed, options.rate)
    done = False
    try:
        with Soak(settings, folder) as soak:
            try:
                found = soak.run()
            finally:
                report.parent.mkdir(parents=True, exist_ok=True)
                report.write_text(json.dumps(soak.report.to_json(), indent=1) + "\n")
        done = found.equal and found.valid
        print(json.dumps(found.to_json(), indent=1))
        print(f"report: {report}")
        print("EQUAL" if done else "DIFFERENT")
    finally:
        if options.keep or not done:
            print(f"all logs: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
