"""The bus: wake-ups between services. The truth is in Postgres; a wake-up only says "look"."""
