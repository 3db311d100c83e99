"""The coded entries of a CDA body: one handler a kind of clinical statement."""
