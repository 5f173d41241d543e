"""The two hosts: one machine, and AWS. Neither imports the other."""
