"""Which images to ask about next: strategies as map and reduce over shards. NumPy, no torch, no I/O."""
