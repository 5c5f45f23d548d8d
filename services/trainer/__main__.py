"""``python -m services.trainer``: a worker for train jobs."""

from __future__ import annotations

from services.trainer.train import TrainHandler
from shared.settings import WorkerSettings
from shared.system import from_environment
from shared.worker import run_worker


def main() -> None:
    system = from_environment("trainer")
    settings = WorkerSettings()
    run_worker(system, [TrainHandler(system.ledger, system.rounds, system.store, settings.device)], settings)


if __name__ == "__main__":
    main()
