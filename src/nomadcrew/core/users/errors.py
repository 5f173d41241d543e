"""Refusals around profiles."""

from nomadcrew.core.errors import Forbidden, Invalid


class UsernameTaken(Invalid):
    code = "username_taken"
    text = "This username is taken. Choose another username."


class EmailTaken(Invalid):
    code = "email_taken"
    text = "An account with this email address exists already."


class EmailRequired(Invalid):
    """The caller has no profile yet, and the token has no email address to create one with."""

    code = "email_required"
    text = "A profile needs an email address, and your access token has none."


class InvalidUsername(Invalid):
    code = "invalid_username"
    text = "A username must have 1 to 30 visible characters, without spaces and without @."


class NotSelf(Forbidden):
    code = "not_self"
    text = "You can change only your own profile."


class AdminOnly(Forbidden):
    code = "admin_only"
    text = "Only a system administrator may do that."
