"""Accounts, tokens and their keys in a Cognito user pool."""
