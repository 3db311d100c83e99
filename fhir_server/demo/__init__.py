"""A synthetic French family, their professionals and their software, to see the server at work."""
