"""Colours change nothing that is copied."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.web.highlight import highlight
from tests.web.served import ServedPage

LANGUAGES = ["shell", "json", "javascript", "python", "swift"]
PIECES = st.sampled_from([*"\"'\\ \n{}()<>&;:,.-#/", "curl", "import", "-X", "12.5", "a", "ä"])


def page(language: str, code: str) -> str:
    """Return a page with one example."""
    escaped = code.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<pre><code class="language-{language}" data-example="a">{escaped}</code></pre>'


@given(language=st.sampled_from(LANGUAGES), pieces=st.lists(PIECES, max_size=60))
def test_text_stays_what_it_is(language: str, pieces: list[str]) -> None:
    """Whatever the code, its text is the same with and without spans."""
    code = "".join(pieces)
    coloured = ServedPage(highlight(page(language, code)))
    assert coloured.examples == {"a": code}
    assert coloured.elements <= {"pre", "code", "span"}


def test_tokens_have_the_class_of_their_kind() -> None:
    """A keyword, a call, a string and a number."""
    coloured = highlight(page("python", 'return send("a<b", 12)'))
    assert '<span class="k">return</span>' in coloured
    assert '<span class="f">send</span>' in coloured
    assert '<span class="s">"a&lt;b"</span>' in coloured
    assert '<span class="n">12</span>' in coloured
