"""Starts the processes that train: one of our own, or several under torchrun that train one model together."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from services.trainer import child
from services.trainer.order import Order
from services.trainer.rank import ORDER, PIPE
from shared.errors import Invalid
from shared.learning.model import usable_gpus
from shared.settings import TrainerSettings

LEAST_PER_PROCESS = 64
"""Labels for each process, below which several are slower than one."""
_GRACE_S = 5.0


class Training(Protocol):
    """Processes at work. ``pipe`` gives their messages, and ends when they do."""

    pipe: Connection

    @property
    def ended(self) -> bool: ...

    def exit_code(self) -> int | None:
        """How they ended; None while they are at work."""
        ...

    def end(self, *, over: bool = False) -> None:
        """End them, whatever they do; if it is ``over``, let them part from each other first."""
        ...


def processes_here(settings: TrainerSettings, device: str | None) -> int:
    """How many processes train one model on this machine."""
    if settings.processes is not None:
        return settings.processes
    return 1 if device == "cpu" else max(1, len(usable_gpus()))


def is_shared(settings: TrainerSettings, device: str | None, labels: int) -> bool:
    """Whether a training of so many labels is done by several processes."""
    together = processes_here(settings, device) * settings.nodes
    return settings.nodes > 1 or (together > 1 and labels >= LEAST_PER_PROCESS * together)


def torchrun(settings: TrainerSettings, device: str | None, folder: Path | None = None) -> list[str]:
    """The command that starts this machine's share of the processes; ``folder`` has the order, on the first machine."""
    here = processes_here(settings, device)
    arguments = [f"--nnodes={settings.nodes}", f"--nproc-per-node={here}", "--max-restarts=0"]
    if settings.nodes == 1:
        arguments.append("--standalone")
    else:
        host, _, port = (settings.master or "").rpartition(":")
        if not host or not port.isdigit():
            raise Invalid(f"WINNOW_TRAINER_MASTER is {settings.master!r}; it must be host:port")
        arguments += [f"--node-rank={settings.node}", f"--master-addr={host}", f"--master-port={port}"]
    named = [] if folder is None else [str(folder)]
    return [sys.executable, "-m", "services.trainer.agent", *arguments, "-m", "services.trainer.rank", *named]


class Alone:
    """One process, forked from a server that has torch imported and nothing else done: it begins at once."""

    def __init__(self, order: Order) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["services.trainer.child"])
        self.pipe, pipe_end = context.Pipe(duplex=False)
        lifeline_end, self._lifeline = context.Pipe(duplex=False)
        self._process = context.Process(target=child.main, args=(order, pipe_end, lifeline_end), daemon=True)
        self._process.start()
        pipe_end.close()
        lifeline_end.close()

    @property
    def ended(self) -> bool:
        return not self._process.is_alive()

    def exit_code(self) -> int | None:
        self._process.join(timeout=_GRACE_S)
        return self._process.exitcode

    def end(self, *, over: bool = False) -> None:
        self._process.kill()
        self._process.join(timeout=_GRACE_S)
        self.pipe.close()
        self._lifeline.close()


class Together:
    """Several processes under torchrun. The first of them sends its messages through a named pipe in the folder."""

    def __init__(self, order: Order, settings: TrainerSettings) -> None:
        path = order.folder / PIPE
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        (order.folder / ORDER).write_bytes(pickle.dumps(order))
        # Without waiting for the other end, which opens when all have met; from then on reads wait for messages.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(handle, True)
        self.pipe = Connection(handle, writable=False)
        self._process = subprocess.Popen(torchrun(settings, order.device, order.folder))

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def exit_code(self) -> int | None:
        try:
            return self._process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            return None

    def end(self, *, over: bool = False) -> None:
        try:
            if over:
                self._wait()
            # On this signal torchrun ends its processes; they would end without it too, only later.
            self._process.send_signal(signal.SIGTERM)
            self._wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.pipe.close()

    def _wait(self) -> None:
        self._process.wait(timeout=_GRACE_S)
