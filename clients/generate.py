"""Writes the generated modules of the clients from the OpenAPI document: python -m clients.generate"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clients import python_code, typescript_code
from clients.document import models_of, operations_of
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.core.ports import Site
from nomadcrew.web.openapi import document

HERE = Path(__file__).parent
_PYTHON = HERE / "python" / "src" / "nomadcrew_client"
_TYPESCRIPT = HERE / "typescript" / "src"
_SITE = Site(public_url="http://127.0.0.1:8080")


def api() -> dict[str, Any]:
    """The OpenAPI document of the present routes."""
    return document(ALL_ROUTES, site=_SITE)


def texts() -> Mapping[Path, str]:
    """The text of each generated file."""
    description = api()
    models, operations = models_of(description), operations_of(description)
    python = {
        "models.py": python_code.models(models),
        "operations.py": python_code.operations(operations, is_async=False),
        "async_operations.py": python_code.operations(operations, is_async=True),
    }
    typescript = {
        "models.ts": typescript_code.models(models),
        "operations.ts": typescript_code.operations(operations),
    }
    return {_PYTHON / name: _formatted(text) for name, text in python.items()} | {
        _TYPESCRIPT / name: text for name, text in typescript.items()
    }


def _formatted(text: str) -> str:
    ruff = str(Path(sys.executable).with_name("ruff"))
    run = subprocess.run(  # noqa: S603
        [ruff, "format", "--config", HERE.parent / "pyproject.toml", "--stdin-filename", "generated.py", "-"],
        input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return run.stdout


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text)
        print(path.relative_to(HERE))
