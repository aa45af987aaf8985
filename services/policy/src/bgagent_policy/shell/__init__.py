"""A line of shell read into facts: commands, what they write, what cannot be known beforehand."""
