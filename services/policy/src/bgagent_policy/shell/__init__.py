"""A line of shell, read into facts: which commands it runs, what they write, what cannot be known beforehand."""
