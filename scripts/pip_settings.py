"""Print what pip is configured with as arguments for uv, one a line; exit with 1 where uv knows no such setting.

uv installs in a quarter of pip's time and reads none of pip's configuration, where a mirror or an index of a company is
named. Run by the interpreter whose pip is asked.
"""

from __future__ import annotations

import ast
import subprocess
import sys

LISTS = {
    "extra-index-url": "--extra-index-url",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
}
ONE = {"index-url": "--default-index"}
OTHERS = ("proxy", "client-cert", "no-index", "no-binary", "only-binary", "prefer-binary", "pre", "require-hashes")


def main() -> int:
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    settings: dict[str, str] = {}
    for line in listing.splitlines():  # global.key='value', install.key='value', :env:.key='value'; later ones win
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    if any(key in settings for key in OTHERS):
        return 1
    for key, argument in LISTS.items():
        for value in settings.get(key, "").split():
            print(argument, value, sep="\n")
    for key, argument in ONE.items():
        if key in settings:
            print(argument, settings[key], sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
