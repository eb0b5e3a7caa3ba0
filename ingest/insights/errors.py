"""What a question can be refused for: by type, with a message for the one who asks."""

from datetime import timedelta


class BadQuestion(ValueError):  # noqa: N818 - it is an answer, not a failure of ours
    """The question has no answer as it stands: the message says what is wrong with it."""


class TooDear(BadQuestion):
    """The question's range is too long for its interval: the message names one that fits."""

    def __init__(self, message: str, longest: timedelta) -> None:
        """Keep the longest range that fits."""
        super().__init__(message)
        self.longest = longest
