"""What `make bench` measures: every figure beside a raw ASGI server of the same run."""
