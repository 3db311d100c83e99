"""The pages on which people log in, let applications in, and put them out again."""
