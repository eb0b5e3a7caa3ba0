"""The documentation page as it is served: its code examples, its links, its text."""

from html.parser import HTMLParser

from tests.support.server import Server

PLACEHOLDER = "your-api-key"


class ServedPage(HTMLParser):
    """What a test wants to know of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.examples: dict[str, str] = {}
        """The text of each `<code data-example="NAME">`, by name."""
        self.codes: list[str] = []
        """The text of every `<code>`."""
        self.ids: list[str] = []
        self.links: list[str] = []
        """Every href and src."""
        self.attributes: set[str] = set()
        self.elements: set[str] = set()
        self._example: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        found = {name: value or "" for name, value in attrs}
        self.elements.add(tag)
        self.attributes.update(found)
        self.links += [found[name] for name in ("href", "src") if name in found]
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "code":
            self.codes.append("")
            self._example = found.get("data-example")
            if self._example is not None:
                assert self._example not in self.examples, "two examples of one name"
                self.examples[self._example] = ""
            self._in_code = True

    def handle_endtag(self, tag: str) -> None:
        """Note its end."""
        if tag == "code":
            self._in_code = False

    def handle_data(self, data: str) -> None:
        """Note text."""
        if not self._in_code:
            return
        self.codes[-1] += data
        if self._example is not None:
            self.examples[self._example] += data

    _in_code = False


def served_page(server: Server) -> ServedPage:
    """Fetch the page from a server."""
    return ServedPage(server.get("/").text)


def example(server: Server, name: str) -> str:
    """Return a code example as served, with the server's key put in."""
    code = served_page(server).examples[name]
    return code.replace(PLACEHOLDER, server.key)
