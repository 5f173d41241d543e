"""Names that docstrings quote exist in the code, so that a rename cannot leave one behind."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# A component of the monolith's health check, and OpenSSL's variable.
FOREIGN = {"redis", "SSL_CERT_FILE"}


def without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


def words_of_the_code() -> set[str]:
    files = [*(ROOT / "migrations").rglob("*.sql"), *(ROOT / "src").rglob("*.sql")]
    python = [*SOURCES, *(path for path in (ROOT / "infrastructure").glob("*.py"))]
    python += [*(ROOT / "infrastructure" / "stacks").glob("*.py")]
    texts = [path.read_text() for path in files] + [without_docstrings(path.read_text()) for path in python]
    return set(re.findall(r"\w+", "\n".join(texts))) | {path.stem for path in SOURCES}


WORDS = words_of_the_code()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_docstrings_exist(path: Path) -> None:
    docstrings = [
        ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, DOCUMENTED)
    ]
    quoted = re.findall(r"`([A-Za-z_]\w*(?:\.\w+)*)`", "\n".join(docstrings))
    assert {name for name in quoted if name.rpartition(".")[2] not in WORDS | FOREIGN} == set()
