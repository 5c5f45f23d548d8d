"""The four services. They import ``shared`` and never each other."""
