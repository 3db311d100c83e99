"""Search as data: parse to plan, extract index entries, match in memory."""
