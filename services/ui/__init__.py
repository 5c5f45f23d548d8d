"""What annotators see: sign-in, the project page and the labelling page, and the HTTP calls these make."""
