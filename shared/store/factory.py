"""Choosing the store that the settings name. For composition roots."""

from __future__ import annotations

from shared.errors import Invalid
from shared.settings import StoreSettings
from shared.store.base import Store
from shared.store.disk import DiskStore
from shared.store.s3 import S3Store


def open_store(settings: StoreSettings) -> Store:
    """The store. An S3 server is first spoken to when the store is first used.

    Raises ``Invalid`` for settings that can't be right, ``Permanent`` or ``Retryable`` for a folder that can't be made.
    """
    if settings.kind == "disk":
        if settings.path is None:
            raise Invalid("WINNOW_STORE_PATH must be set when WINNOW_STORE_KIND is disk")
        return DiskStore(settings.path)
    if settings.endpoint is None or settings.access_key is None or settings.secret_key is None:
        raise Invalid("WINNOW_STORE_ENDPOINT, _ACCESS_KEY and _SECRET_KEY must be set when WINNOW_STORE_KIND is s3")
    return S3Store(
        endpoint=settings.endpoint,
        access_key=settings.access_key.get_secret_value(),
        secret_key=settings.secret_key.get_secret_value(),
        bucket=settings.bucket,
        region=settings.region,
        public_endpoint=settings.public_endpoint,
    )
