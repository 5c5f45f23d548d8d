"""The object store: images, pixel packs, features, checkpoints."""
