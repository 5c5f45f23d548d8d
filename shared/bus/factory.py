"""Choosing the bus that the settings name. For composition roots."""

from __future__ import annotations

from shared.bus.amqp import AmqpBus
from shared.bus.base import Bus
from shared.bus.local import LocalBus
from shared.errors import Invalid
from shared.settings import BusSettings


def open_bus(settings: BusSettings, database_url: str) -> Bus:
    """The bus. It connects when it is first used, so a server that is not up yet is met there, as ``Retryable``.

    Raises ``Invalid`` for a URL that can't be one.
    """
    if settings.kind == "local":
        return LocalBus(database_url)
    if settings.url is None:
        raise Invalid("WINNOW_BUS_URL must be set when WINNOW_BUS_KIND is amqp")
    return AmqpBus(settings.url.get_secret_value())
