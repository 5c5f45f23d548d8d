"""The four services as processes, and the loop over them."""
