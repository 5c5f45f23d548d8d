"""The HTTP API: projects, images, labels and exports, for programs."""
