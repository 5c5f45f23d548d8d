"""``python -m services.trainer.member``: lends this machine's GPUs to a trainer on another, for one model together.

``WINNOW_TRAINER_NODES``, ``_NODE`` (1 and up) and ``_MASTER`` say whom to join. It waits for a training to begin, takes
part, and waits for the next. It needs neither the database nor the store: what it trains on comes from the trainer.
"""

from __future__ import annotations

import signal
import subprocess
import threading

from services.trainer.launch import torchrun
from shared.settings import TelemetrySettings, TrainerSettings, WorkerSettings
from shared.telemetry import configure, logger

log = logger(__name__)
_PAUSE_S = 2.0


def main() -> None:
    configure("trainer", TelemetrySettings())
    settings, device = TrainerSettings(), WorkerSettings().device
    if settings.node == 0:
        raise SystemExit("a member's WINNOW_TRAINER_NODE is 1 or above; 0 is the trainer's")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("member.started", master=settings.master, node=settings.node, nodes=settings.nodes)
    while not stop.is_set():
        process = subprocess.Popen(torchrun(settings, device))
        while process.poll() is None and not stop.wait(0.5):
            pass
        if stop.is_set():
            process.terminate()
        code = process.wait()
        log.info("member.training_ended", exit_code=code)
        stop.wait(_PAUSE_S)


if __name__ == "__main__":
    main()
