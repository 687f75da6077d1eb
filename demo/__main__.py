"""``python -m demo [--source postgres|mariadb|mysql]``, which is what ``make demo`` runs. Exit 0 only when equal."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

from rich.console import Console

from demo.result import last_words
from demo.screen import Screen
from demo.shop import DATABASE, make_shop
from demo.stack import Stack
from demo.story import MIGRATION, DemoFailed, Moved, Story
from tests.servers.fleet import Missing, Server, server
from tests.servers.mysql import ClientFailed, MySQL
from tests.servers.postgres import Postgres
from whimbrel.errors import WhimbrelError

PLAIN_WIDTH = 120  # where there is no terminal to ask
SOURCES = {"postgres": "postgres18", "mariadb": "mariadb", "mysql": "mysql"}
TITLES = {
    "postgres": "PostgreSQL 18 → PostgreSQL 18",
    "mariadb": "MariaDB → PostgreSQL 18",
    "mysql": "MySQL → PostgreSQL 18",
}


def main() -> int:
    options = parse()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    signal.signal(signal.SIGTERM, _interrupt)
    # Servers run under accounts of their own when we are root, so the way to their folders must be open.
    folder = Path(tempfile.mkdtemp(prefix="whimbrel-demo-"))
    folder.chmod(0o711)
    ok = False
    try:
        with Screen(console) as screen:
            moved = run(options, folder, screen)
        ok = not moved.unequal and moved.valid
    except (DemoFailed, Missing, ClientFailed, WhimbrelError, RuntimeError, OSError) as e:
        console.print(f"the demo failed: {e}", style="bold red", markup=False, soft_wrap=True)
        if isinstance(e, WhimbrelError):
            console.print(f"remedy: {e.how_to_fix}", markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print("interrupted; everything that was started is stopped")
    finally:
        if not ok:
            keep_logs(folder, console)
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if ok else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--source", choices=SOURCES, default="postgres")
    parser.add_argument("--scale", type=float, default=1.0, help="of the shop's size; 1 is 1.16 million rows")
    parser.add_argument("--no-faults", action="store_true", help="neither kill the worker nor pause")
    parser.add_argument("--keep", action="store_true", help="leave all of it running at the end, until Ctrl-C")
    parser.add_argument("--picture", type=Path, help="save the README's picture here")
    return parser.parse_args()


def run(options: argparse.Namespace, folder: Path, screen: Screen) -> Moved:
    """Start all in ``folder``, tell the story, print the last table, stop all."""
    begun = time.monotonic()
    with ExitStack() as running:
        screen.say(f"{TITLES[options.source]}: starting both servers in {folder}", "bold")
        source, target = (start(running, name, folder / role) for role, name in roles(options.source))
        if not isinstance(target, Postgres) or not isinstance(source, Postgres | MySQL):
            raise TypeError("the target is PostgreSQL, and a warehouse is no source")
        target.create_database(DATABASE)
        shop = make_shop(source, options.source, options.scale)
        screen.say(f"the shop: {shop.rows:,} rows in {len(shop.tables)} tables, awkward on purpose")
        stack = running.enter_context(Stack(folder / "home"))
        api = running.enter_context(stack.start())
        screen.say(f"started Temporal, the API and a worker: {stack.url}/docs")
        screen.say(f"Temporal's web UI, this migration only: {stack.ui_url(MIGRATION)}")
        moved = Story(api, stack, shop, target, screen).tell(faults=not options.no_faults)
        result = last_words(moved, TITLES[options.source], time.monotonic() - begun, stack)
        screen.console.print(result, soft_wrap=not screen.console.is_terminal)
        if options.picture:
            screen.save_picture(options.picture, result)
        if options.keep:
            screen.say("look around; Ctrl-C stops everything")
            wait_for_interrupt()
    screen.say("stopped everything that was started")
    return moved


def roles(source: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("source", SOURCES[source]), ("target", "postgres18")


def start(running: ExitStack, name: str, folder: Path) -> Server:
    """A server that is stopped when ``running`` closes. Raises Missing."""
    new = server(name, folder)
    running.callback(new.stop)
    new.start()
    return new


def wait_for_interrupt() -> None:
    with suppress(KeyboardInterrupt):
        signal.pause()


def keep_logs(folder: Path, console: Console) -> None:
    """Save what a person needs to see why it failed."""
    kept = Path(".cache/demo-logs")
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for log in (*folder.glob("*/*.log"), *folder.glob("home/logs/*")):
        shutil.copy(log, kept / f"{log.parent.name}-{log.name}")
    console.print(f"logs are in {kept}/")


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the demo as Ctrl-C does, so that nothing is left running."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
