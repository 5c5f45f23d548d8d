"""The ``winnow`` command, the local stack, the demo, and a thin Python client."""
