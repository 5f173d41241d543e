"""What people are called."""


def display_name(first_name: str, last_name: str, username: str) -> str:
    """First and last name, or the one there is, or the username."""
    return f"{first_name} {last_name}".strip() or username
