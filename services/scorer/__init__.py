"""The scorer: pixel packs and features of shards, probabilities over the whole pool, and selection."""
