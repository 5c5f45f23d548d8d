"""Endpoints, a module per family. Each router carries its whole path, so that metrics show it."""
