"""JSON Web Tokens: parsing, keys, issuers, verification."""
