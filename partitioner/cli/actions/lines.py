"""Says in lines what goes on, where there is no terminal to draw on."""

import time
from collections.abc import Callable

import click

EVERY = 30.0
"""Seconds between two lines about one and the same thing."""


class Lines:
    """Lines about something that is looked at again and again."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._said: tuple[str, str] | None = None  # the subject and the sentence of the last line
        self._said_at = clock()

    def tell(self, subject: str, sentence: str) -> None:
        """Say this, unless something of this subject was said not long ago, or nothing has changed since."""
        now = self._clock()
        is_same_subject = self._said is not None and self._said[0] == subject
        if is_same_subject and (now - self._said_at < EVERY or self._said == (subject, sentence)):
            return
        self._said, self._said_at = (subject, sentence), now
        self._say(sentence)


def say_on_stderr(sentence: str) -> None:
    """Say it with the time of day, beside what a verb prints."""
    click.echo(f"{time.strftime('%H:%M:%S')} {sentence}", err=True)
