"""The one page. Everything that a visitor wrote is escaped before it comes here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template

from .database import LONGEST, Entry

STYLE = """
:root { color-scheme: light dark; --ink: #22303c; --soft: #66788a; --card: #fff; --paper: #f3f5f7; --line: #dde3e9;
  --accent: #0b6e6e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #93a4b5; --card: #1b232c; --paper: #12181f;
  --line: #2c3844; --accent: #4fc3b7; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 44rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { margin: 0 0 .25rem; font-size: 2rem; letter-spacing: -.02em; }
.count { margin: 0 0 1.75rem; color: var(--soft); }
form, article { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1.25rem; }
form { display: grid; grid-template-columns: 1fr 1fr; gap: .9rem; margin-bottom: 2rem; }
label { display: grid; gap: .3rem; font-size: .875rem; color: var(--soft); }
.wide { grid-column: 1 / -1; }
input, textarea { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line);
  border-radius: .5rem; padding: .55rem .7rem; width: 100%; }
textarea { min-height: 6rem; resize: vertical; }
input:focus, textarea:focus, button:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
button { justify-self: start; font: inherit; font-weight: 600; color: #fff; background: #0b6e6e; border: 0;
  border-radius: .5rem; padding: .6rem 1.2rem; cursor: pointer; }
article { margin-bottom: .9rem; }
article p { margin: 0 0 .6rem; white-space: pre-wrap; overflow-wrap: anywhere; }
article footer { color: var(--soft); font-size: .875rem; }
article strong { color: var(--ink); }
.problem { grid-column: 1 / -1; margin: 0; color: #b3261e; }
"""

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<main>
<h1>$title</h1>
<p class="count">$count</p>
<form method="post" action="/">
$problem<label>Your name<input name="author" required maxlength="$author" value="$was_author"></label>
<label>From<input name="place" maxlength="$place" value="$was_place"></label>
<label class="wide">Your message<textarea name="message" required maxlength="$message">$was_message</textarea></label>
<button>Sign the guestbook</button>
</form>
$entries
</main>
</body>
</html>
""")


def page(title: str, entries: Sequence[Entry], problem: str = "", was: dict[str, str] | None = None) -> str:
    """The page with these entries; `problem` and `was` say what was wrong with a form and what it held."""
    written = {name: escape((was or {}).get(name, "")) for name in LONGEST}
    return PAGE.substitute(
        LONGEST,
        title=escape(title),
        count={0: "Nobody has signed yet.", 1: "One entry."}.get(
            len(entries), f"{len(entries)} entries, newest first."
        ),
        problem=f'<p class="problem" role="alert">{escape(problem)}</p>\n' if problem else "",
        entries="\n".join(map(_article, entries)),
        **{f"was_{name}": value for name, value in written.items()},
    )


def sorry(title: str) -> str:
    """The page for when the database is away."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<link rel="stylesheet" href="/style.css"><main><h1>{escape(title)}</h1>'
        "<p>The guestbook cannot reach its database just now. Please come back in a moment.</p></main></html>"
    )


def _article(entry: Entry) -> str:
    place = f", {escape(entry.place)}" if entry.place else ""
    when = f'<time datetime="{entry.written_at.isoformat()}">{entry.written_at:%-d %B %Y, %H:%M}</time>'
    return (
        f"<article><p>{escape(entry.message)}</p>"
        f"<footer><strong>{escape(entry.author)}</strong>{place} · {when}</footer></article>"
    )
