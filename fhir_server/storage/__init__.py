"""Where resources are kept, behind one contract."""
