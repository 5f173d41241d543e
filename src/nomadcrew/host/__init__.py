"""The machine host: everything the product needs, on one machine and in one data folder."""
