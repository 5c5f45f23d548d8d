"""A training in a process of its own: whatever it does, the worker beside it keeps its lease alive.

Arrays come in and bytes go out through a folder; progress and the outcome go through a pipe. The process ends when
its parent does, however that ends.
"""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing.connection import Connection

from services.trainer.order import Failed, Order
from services.trainer.work import Send, train
from shared.errors import Diverged, Permanent
from shared.learning.distributed import ALONE, Group, local_device
from shared.learning.model import pick_device


def main(order: Order, pipe: Connection, lifeline: Connection) -> None:
    """Entry point of the process. Sends ``Progress`` any number of times, then ``Trained`` or ``Failed``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process itself
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    report(order, pipe.send)


def report(order: Order, send: Send, group: Group = ALONE) -> None:
    """Train, and send how it ended."""
    try:
        device = local_device(pick_device(order.device))
        send(train(order, device, send, group))
    except Exception as error:
        send(
            Failed(
                message=f"{type(error).__name__}: {error}",
                permanent=isinstance(error, Permanent),
                diverged=isinstance(error, Diverged),
            )
        )
        if group.size > 1:
            raise  # so that torchrun ends the others


def _die_with_parent(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
