"""Swagger UI at /docs, from an installed package: nothing is fetched from the network."""

import hashlib
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]  # the package carries no types

from nomadcrew.web.call import Reply

PAGE_PATH = "/docs"
_ASSETS = Path(str(swagger_ui_path))
_FILES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
# The version is in the path, so browsers may cache the files permanently.
_VERSION = _ASSETS.name.rpartition("-")[2]
_CACHE_PERMANENTLY = "public, max-age=31536000, immutable"

# Our own script: the policy below allows no inline script, and the package's file calls a validator on the network.
_START = b"""window.addEventListener("load", function () {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#docs",
    deepLinking: true,
    displayRequestDuration: true,
    docExpansion: "list",
    persistAuthorization: false,
    validatorUrl: null,
  });
});
"""
_START_NAME = f"start-{hashlib.sha256(_START).hexdigest()[:12]}.js"

_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>NomadCrew API</title>
<link rel="icon" type="image/png" href="{PAGE_PATH}/{_VERSION}/favicon-32x32.png">
<link rel="stylesheet" href="{PAGE_PATH}/{_VERSION}/swagger-ui.css">
</head>
<body>
<noscript><p>This page needs JavaScript; without it, read <a href="/openapi.json">openapi.json</a>.</p></noscript>
<main id="docs"></main>
<script src="{PAGE_PATH}/{_VERSION}/swagger-ui-bundle.js"></script>
<script src="{PAGE_PATH}/{_VERSION}/{_START_NAME}"></script>
</body>
</html>
""".encode()


class Docs:
    """The page and its files, read on first use and cached."""

    def __init__(self, public_url: str) -> None:
        """`public_url`: target of "Try it out", which may have another origin than the page."""
        parts = urlsplit(public_url)
        origin = f" {parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else ""
        # Swagger UI sets style attributes and has icons at data: URLs.
        self._policy = (
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            f"connect-src 'self'{origin}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths that `answer` accepts."""
        return (PAGE_PATH, *(f"{PAGE_PATH}/{_VERSION}/{name}" for name in (*_FILES, _START_NAME)))

    async def answer(self, path: str) -> Reply:
        """The page, or one of its files.

        Raises:
            KeyError: the path is not in `paths`.
        """
        if path == PAGE_PATH:
            headers = {
                "content-type": "text/html; charset=utf-8",
                "content-security-policy": self._policy,
                "cache-control": "no-cache",
            }
            return Reply(200, _PAGE, headers)
        name = path.removeprefix(f"{PAGE_PATH}/{_VERSION}/")
        body, content_type = (_START, "text/javascript; charset=utf-8") if name == _START_NAME else _file(name)
        return Reply(200, body, {"content-type": content_type, "cache-control": _CACHE_PERMANENTLY})


@cache
def _file(name: str) -> tuple[bytes, str]:
    content_type = _FILES[name]
    return (_ASSETS / name).read_bytes(), content_type
