"""Services of others, over HTTP."""
