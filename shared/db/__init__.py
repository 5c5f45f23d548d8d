"""Postgres, where the truth is. Nothing outside this folder speaks SQL, or knows the driver."""
