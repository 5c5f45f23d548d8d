"""``python -m services.trainer.rank [FOLDER]``: one of the processes that torchrun starts to train a model together.

The first of all has the order, in the folder that is named; the others, here and on other machines, get from it all
that they need. Each ends when its torchrun does.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from services.trainer.child import report
from services.trainer.order import Order, die_with
from services.trainer.work import help_train
from shared.learning.distributed import joined, local_device
from shared.learning.model import pick_device

ORDER, PIPE = "order.pickle", "pipe"


def main(folder: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with(os.getppid()), daemon=True).start()
    device = local_device(pick_device(os.environ.get("WINNOW_WORKER_DEVICE")))
    with joined(device) as group:
        if not group.first:
            help_train(device, group)
            return
        if folder is None:
            raise SystemExit("the first process has no order: WINNOW_TRAINER_NODE must be 1 or above for a member")
        order: Order = pickle.loads((folder / ORDER).read_bytes())  # written by the trainer that started this
        with Connection(os.open(folder / PIPE, os.O_WRONLY), readable=False) as pipe:
            report(order, pipe.send, group)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
