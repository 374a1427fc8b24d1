"""Recognises answers; those that come again and again are looked up whole."""

from partitioner.protocol.ordinary import AnswerFrame, recognise_answer

_SHORT = 256  # bytes: an answer without content
_MOST_REMEMBERED = 64


class AnswerRecogniser:
    """Recognises successes of backends."""

    def __init__(self) -> None:
        self._empty_answers: dict[bytes, AnswerFrame] = {}  # those without content or numbers, whole

    def recognise(self, data: bytes) -> AnswerFrame | None:
        """The frame of a success; None if this is something else, or not its whole head."""
        if len(data) >= _SHORT:
            return recognise_answer(data)
        answer = self._empty_answers.get(data)
        if answer is None:
            answer = recognise_answer(data)
            if answer is not None and _is_empty(answer, data) and len(self._empty_answers) < _MOST_REMEMBERED:
                self._empty_answers[data] = answer
        return answer

    def is_empty_success(self, data: bytes) -> bool:
        """Whether this is a whole success that says nothing more."""
        return len(data) < _SHORT and _is_empty(self.recognise(data), data)


def _is_empty(answer: AnswerFrame | None, data: bytes) -> bool:
    """Whether this is a success without content or numbers, and nothing comes after it."""
    return answer == (len(data), 0, None, None)
