"""Documents: a user's own wallet, and the wallets of trips."""
