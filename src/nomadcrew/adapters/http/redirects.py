"""Redirects that are not followed."""

import urllib.error
import urllib.request


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Requests go to the configured URL only."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None
