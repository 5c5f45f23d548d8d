"""``winnow up``: the local stack in the foreground."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from winnow.local import local_stack, tend_until


def run_up(data: Path, port: int, console: Console) -> None:
    """Run until SIGINT or SIGTERM. Services that die are started again, and that is said."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())

    def restarted(name: str, code: int) -> None:
        console.print(f"[yellow]{name} ended (exit code {code}) and is started again; see {data / 'logs'}[/]")

    with ExitStack() as stopped:
        with console.status("starting Postgres and the four services"):
            stack, processes = stopped.enter_context(local_stack(data, port, restarted))
        console.print(
            Panel(
                f"Label   {stack.ui_url}   user [bold]{stack.username}[/], password [bold]{stack.password}[/]\n"
                f"API     {stack.api_url}   key in {data / 'stack.json'}\n"
                f"Data    {data}\n\nCtrl-C stops it; everything is kept.",
                title="Winnow is up",
                expand=False,
            )
        )
        tend_until(processes, stopping.is_set)
        console.print("stopping; everything is kept")
