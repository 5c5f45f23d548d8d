"""What goes over HTTP: requests as they are taken, answers as they are given."""
