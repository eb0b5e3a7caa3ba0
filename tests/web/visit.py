"""One page in a browser: where it went, what it complained of, and its form."""

from playwright.async_api import ConsoleMessage, Error, Page, Request, expect


class Visit:
    """A page; an error, a warning or a breach of its policy is a complaint."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.statuses_expected: set[int] = set()
        """Statuses that a test provokes: Chromium calls each an error."""
        page.on("request", self._note_request)
        page.on("console", self._note_message)
        page.on("pageerror", self._note_error)

    def _note_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def _note_message(self, message: ConsoleMessage) -> None:
        expected = (f"the server responded with a status of {n}" for n in self.statuses_expected)
        if message.type in {"error", "warning"} and not any(n in message.text for n in expected):
            self.complaints.append(message.text)

    def _note_error(self, error: Error) -> None:
        self.complaints.append(str(error))


async def try_it(page: Page, key: str, name: str, params: str) -> str:
    """Fill the form in, send it, and return what is shown then."""
    await page.get_by_label("API key").fill(key)
    await page.get_by_label("Event name").fill(name)
    await page.get_by_label("Parameters").fill(params)
    await page.get_by_role("button", name="Send event").click()
    answer = page.locator("#try-answer")
    await expect(answer).not_to_be_empty()
    await expect(page.get_by_role("button", name="Send event")).not_to_have_attribute(
        "aria-disabled", "true"
    )
    return await answer.inner_text()
