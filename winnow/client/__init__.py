"""A thin client for Winnow's HTTP interfaces.

``Client`` is for who manages projects through the api, ``Orders`` for who orders batches from vendors there, ``Vendor``
for who works on such batches, and ``Annotator`` for who labels through the ui. Methods raise the errors of
``shared.errors``.
"""

from __future__ import annotations

from winnow.client.annotator import Annotator, LeasedTask
from winnow.client.api import Client
from winnow.client.orders import Orders
from winnow.client.vendor import Answer, BatchTask, Lease, Result, Vendor

__all__ = ["Annotator", "Answer", "BatchTask", "Client", "Lease", "LeasedTask", "Orders", "Result", "Vendor"]
