"""How busy the GPUs are and how full, read from NVIDIA's management library, which comes with the driver.

Not through torch: that would open a CUDA context, and so take some hundred MiB of every GPU, in a process that only
looks on. Without the library, or without a GPU, there is nothing to read and no metric.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_LIBRARY = "libnvidia-ml.so.1"
_NAME_BYTES = 96


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU now. A value is None where the GPU doesn't tell (utilisation of a slice of one, say)."""

    index: int
    name: str
    busy_ratio: float | None
    used_bytes: int | None
    total_bytes: int | None


class Gpus:
    """The GPUs that this process may see. Raises ``OSError`` where there is no NVIDIA driver."""

    def __init__(self) -> None:
        self._nvml = ctypes.CDLL(_LIBRARY)
        if self._nvml.nvmlInit_v2() != 0:
            raise OSError("the NVIDIA driver is installed but does not answer")

    def read(self) -> Iterator[Gpu]:
        count = ctypes.c_uint()
        if self._nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return
        for index in range(count.value):
            device = ctypes.c_void_p()
            if self._nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) == 0:
                yield self._one(index, device)

    def _one(self, index: int, device: ctypes.c_void_p) -> Gpu:
        name = ctypes.create_string_buffer(_NAME_BYTES)
        busy, memory = _Utilization(), _Memory()
        named = self._nvml.nvmlDeviceGetName(device, name, _NAME_BYTES) == 0
        timed = self._nvml.nvmlDeviceGetUtilizationRates(device, ctypes.byref(busy)) == 0
        filled = self._nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0
        return Gpu(
            index=index,
            name=name.value.decode(errors="replace") if named else "",
            busy_ratio=busy.gpu / 100 if timed else None,
            used_bytes=memory.used if filled else None,
            total_bytes=memory.total if filled else None,
        )


class GpuGauges(Collector):
    """Read at each scrape. Workers that share a GPU all show it: take the ``max``."""

    def __init__(self) -> None:
        try:
            self._gpus: Gpus | None = Gpus()
        except OSError:
            self._gpus = None

    def collect(self) -> Iterator[Metric]:
        labels = ["gpu", "name"]
        busy = GaugeMetricFamily("winnow_gpu_busy_ratio", "Share of the last moment that the GPU worked.", None, labels)
        used = GaugeMetricFamily("winnow_gpu_memory_used_bytes", "GPU memory in use, by anybody.", None, labels)
        total = GaugeMetricFamily("winnow_gpu_memory_total_bytes", "GPU memory that there is.", None, labels)
        for gpu in self._gpus.read() if self._gpus is not None else ():
            values = ((busy, gpu.busy_ratio), (used, gpu.used_bytes), (total, gpu.total_bytes))
            for family, value in values:
                if value is not None:
                    family.add_metric([str(gpu.index), gpu.name], value)
        yield from (busy, used, total)
