"""Stored documents out, in the forms that the French document sharing takes: ebRIM metadata and XDM archives."""
