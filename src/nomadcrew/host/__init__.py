"""The one-machine host: everything the product needs, in one process and one data folder."""
