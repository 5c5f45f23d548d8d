"""Taking uploaded images in, whichever door they come through: read as they arrive, checked, stored, written down."""
