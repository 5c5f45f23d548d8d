"""What more than one Winnow service needs. Imports no service."""
