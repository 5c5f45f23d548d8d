"""``python -m services.trainer.agent ARGUMENTS OF torchrun``: torchrun, ended when the process that began it ends."""

from __future__ import annotations

import os
import sys
import threading

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.run import main

from services.trainer.order import die_with

if __name__ == "__main__":
    threading.Thread(target=die_with(os.getppid()), daemon=True).start()
    try:
        main(sys.argv[1:])
    except SignalException as told:  # to end: nothing went wrong
        sys.exit(128 + told.sigval)
