"""The mails that events call for."""
