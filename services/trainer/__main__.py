"""``python -m services.trainer``: a worker for train jobs."""

from __future__ import annotations

from services.trainer.gather import Gatherer
from services.trainer.train import TrainHandler
from shared.running import run_worker
from shared.settings import TrainerSettings, WorkerSettings
from shared.system import from_environment


def main() -> None:
    system = from_environment("trainer")
    settings, training = WorkerSettings(), TrainerSettings()
    gatherer = Gatherer(system.database, system.store, settings.weights_dir, training.unlabelled)
    handler = TrainHandler(system.ledger, system.rounds, system.store, gatherer, training, settings.device)
    run_worker(system, [handler], settings)


if __name__ == "__main__":
    main()
