"""SQL text taken apart: what hides a semicolon, and which line a statement begins on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ikoma_play.platform.sql_statements import split

ATOMIC = "CREATE FUNCTION f(i int) RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN i = 1 THEN 2 ELSE 3 END; END"


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" \n-- nothing\n/* at all */;;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';';SELECT 2", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s;';SELECT 2", ["SELECT 'it''s;'", "SELECT 2"]),
        (r"SELECT E'\';';SELECT 2", [r"SELECT E'\';'", "SELECT 2"]),
        (r"SELECT '\';SELECT 2", [r"SELECT '\'", "SELECT 2"]),
        ('SELECT 1 AS ";" ; SELECT 2', ['SELECT 1 AS ";"', "SELECT 2"]),
        ("SELECT $$;$$; SELECT $a$ $b$ ; $$ $a$; x", ["SELECT $$;$$", "SELECT $a$ $b$ ; $$ $a$", "x"]),
        ("SELECT a$1; SELECT $1; x", ["SELECT a$1", "SELECT $1", "x"]),
        ("SELECT 1 -- ;\n; x", ["SELECT 1 -- ;", "x"]),
        ("SELECT 1 /* ; /* ; */ ; */; x", ["SELECT 1 /* ; /* ; */ ; */", "x"]),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); x", [
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "x",
        ]),
        (f"{ATOMIC}; x", [ATOMIC, "x"]),
        ("SELECT 'never closed; x", ["SELECT 'never closed; x"]),
        ("SELECT $$ never closed; x", ["SELECT $$ never closed; x"]),
        ("SELECT 1 /* never closed; x", ["SELECT 1 /* never closed; x"]),
        ("é; ñ", ["é", "ñ"]),
    ],
)  # fmt: skip
def test_statements(text: str, statements: list[str]) -> None:
    assert [statement.text for statement in split(text)] == statements


def test_lines_and_words() -> None:
    first, second = split("\n-- about\ncreate table\n  a();\n\n  Insert\ninto a\nvalues (1)")
    assert (first.line, first.words) == (3, ("CREATE", "TABLE"))
    assert (second.line, second.words) == (6, ("INSERT", "INTO"))
    assert second.line_at(1) == 6 and second.line_at(second.text.index("values") + 1) == 8


@given(some.text(alphabet="a'\"$;-/*\n()eE\\ 1é", max_size=60))
def test_no_text_is_lost_or_hangs(text: str) -> None:
    """What is left out is semicolons, blanks and comments between statements, never part of one."""
    at = 0
    for statement in split(text):
        at = text.index(statement.text, at) + len(statement.text)
        assert statement.text.strip() == statement.text or statement.text.lstrip() == statement.text
