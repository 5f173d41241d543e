"""Each row of the contract has a test that asserts it, or a reason for which it is not offered."""

import re

from tests.contract_coverage import PAGE, Marked, Row, Section, marked, page, sections

KEY = re.compile(r"(?:rest-core|rest-activity|permissions|jobs)(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)+")
ROWS = [row for part in sections() for row in part.rows]


def test_each_row_has_a_test_unless_it_is_not_offered() -> None:
    tests = marked()
    assert [row.key for row in ROWS if not row.reason and row.key not in tests] == []


def test_a_row_that_is_not_offered_has_no_test() -> None:
    tests = marked()
    assert [row.key for row in ROWS if row.reason and row.key in tests] == []


def test_tests_are_marked_with_rows_that_exist_and_once_each() -> None:
    keys = {row.key for row in ROWS}
    tests = marked()
    assert tests.keys() - keys == set()
    assert [key for key, found in tests.items() if len(set(found)) != len(found)] == []


def test_keys_are_unique_and_name_their_part_of_the_contract() -> None:
    keys = [row.key for row in ROWS]
    assert [key for key in keys if keys.count(key) > 1 or not KEY.fullmatch(key)] == []


def test_the_page_lists_the_rows_with_their_tests() -> None:
    assert PAGE.read_text() == page(sections(), marked()), "run: python -m tests.contract_coverage"


def test_a_page_has_a_line_for_each_row() -> None:
    part = Section("to-dos", [Row("a.b", "POST: 201"), Row("a.c", "PATCH", "No client has it.")])
    text = page([part], {"a.b": [Marked("unit/test_x.py", "test_a_to_do_is_made")]})
    assert "2 rows, 1 of them not offered." in text
    assert "| POST: 201. `a.b` | [a to do is made](../tests/unit/test_x.py) |" in text
    assert "| PATCH. `a.c` | not offered: No client has it. |" in text
