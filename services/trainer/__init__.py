"""The trainer: what is labelled goes in, a checkpoint comes out."""
