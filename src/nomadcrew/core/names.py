"""Display names."""


def display_name(first_name: str, last_name: str, username: str) -> str:
    """First and last name, or the one that is set, or the username."""
    return f"{first_name} {last_name}".strip() or username
