"""Colours for the code on the page: spans around its tokens, and not a character more or less."""

import html
import re
from typing import Final

_STRING = r"""(?P<s>"(?:[^"\\\n]|\\.)*"|'[^']*')"""
_NUMBER = r"(?P<n>\b\d[\d.]*\b)"
_CALL = r"(?P<f>\b[A-Za-z_]\w*(?=\())"


def _keywords(words: str) -> str:
    return rf"(?P<k>\b(?:{'|'.join(words.split())})\b)"


def _language(*tokens: str) -> re.Pattern[str]:
    return re.compile("|".join(tokens))


_LANGUAGES: Final = {
    "shell": _language(_STRING, _keywords("curl gzip"), r"(?P<f>(?<=\s)--?[A-Za-z][\w-]*)"),
    "json": _language(r'(?P<f>"[^"\n]*"(?=:))', _STRING, _NUMBER, _keywords("true false null")),
    "javascript": _language(
        _STRING,
        _keywords("async await const function if new return throw true false"),
        _CALL,
        _NUMBER,
    ),
    "python": _language(_STRING, _keywords("def if import not raise return"), _CALL, _NUMBER),
    "swift": _language(
        _STRING,
        _keywords("as async await else func guard import let self throw throws try var"),
        _CALL,
        _NUMBER,
    ),
}
"""What to look for; a token's group is its class in docs.css."""

_CODE: Final = re.compile(r'(<code class="language-(\w+)"[^>]*>)(.*?)(?=</code>)', re.DOTALL)


def highlight(page: str) -> str:
    """Return a page of HTML with spans in every `<code class="language-…">`."""
    return _CODE.sub(lambda found: found[1] + _spans(found[2], html.unescape(found[3])), page)


def _spans(language: str, code: str) -> str:
    pieces = []
    end = 0
    for token in _LANGUAGES[language].finditer(code):
        pieces += [_escape(code[end : token.start()]), _span(token)]
        end = token.end()
    return "".join([*pieces, _escape(code[end:])])


def _span(token: re.Match[str]) -> str:
    return f'<span class="{token.lastgroup}">{_escape(token[0])}</span>'


def _escape(text: str) -> str:
    return html.escape(text, quote=False)
