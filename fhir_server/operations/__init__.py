"""The $operations the server answers."""
