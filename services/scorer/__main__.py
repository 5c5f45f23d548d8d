"""``python -m services.scorer``: a worker for embed, score, select and predict jobs, and beside it one for maps."""

from __future__ import annotations

from services.scorer.embed import EmbedHandler
from services.scorer.map import MapHandler
from services.scorer.models import Models
from services.scorer.predict import PredictHandler
from services.scorer.score import ScoreHandler
from services.scorer.select import SelectHandler
from shared.learning.predict import pick_device
from shared.running import run_worker
from shared.settings import WorkerSettings
from shared.system import from_environment
from shared.worker import Handler


def main() -> None:
    system = from_environment("scorer")
    settings = WorkerSettings()
    models = Models(system.store, pick_device(settings.device), settings.weights_dir)
    parts = (system.ledger, system.rounds, system.store)
    handlers: list[Handler] = [
        EmbedHandler(*parts, models),
        ScoreHandler(*parts, models),
        SelectHandler(*parts),
        PredictHandler(system.ledger, system.store, models),
    ]
    run_worker(system, handlers, settings, beside=[MapHandler(system.ledger, system.store)])


if __name__ == "__main__":
    main()
