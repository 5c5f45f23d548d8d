"""Networks, training, prediction, checkpoints and metrics: arrays and bytes in, arrays and bytes out, no I/O.

Nothing is imported here, so that ``shared.learning.metrics`` and ``shared.learning.config`` serve processes that
have no torch.
"""

import os

# Threads of OpenMP, which torch and faiss work with, spin while they wait for each other. Where two workers share the
# cores of one machine they spin the other's time away: two small trainings at once on two cores took 55 s each, and
# 5 s when they wait asleep. It is read when torch is loaded, so it is set in the package that everybody enters by.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
