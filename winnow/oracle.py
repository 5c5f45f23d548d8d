"""An annotator that knows the answers: it labels over the same HTTP interface as people do.

It knows a picture by the digest of its bytes, as the ui serves them; nothing but the image tells it the answer.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Mapping

from shared.errors import Conflict, NotFound, Retryable
from winnow.client import Annotator, LeasedTask

_RETRY_S = 0.3
_WAIT_S = 0.5


class Oracle:
    """Answers one project's tasks until told to stop. ``answered`` counts answers that the server has confirmed."""

    def __init__(
        self, url: str, username: str, password: str, project_id: int, truth: Mapping[str, str], *, ahead: int = 20
    ) -> None:
        """``truth``: class name by the hex SHA-256 of the image's bytes."""
        self.answered = 0
        self.conflicts = 0
        self._url = url
        self._login = (username, password)
        self._project_id = project_id
        self._truth = truth
        self._ahead = ahead

    def run(self, done: Callable[[], bool]) -> None:
        """Work until ``done``. A server that is away is waited for; an answer is sent until it is confirmed."""
        with Annotator(self._url) as annotator:
            self._patiently(lambda: annotator.sign_in(*self._login), done)
            classes: dict[str, int] = {}
            while not done():
                try:
                    classes = classes or {c["name"]: c["id"] for c in annotator.classes(self._project_id)}
                    tasks, waiting = annotator.lease(self._project_id, self._ahead)
                except Retryable:
                    time.sleep(_RETRY_S)
                    continue
                if waiting is not None and not tasks:
                    time.sleep(_WAIT_S)
                for task in tasks:
                    self._answer(annotator, task, classes, done)

    def in_thread(self, done: Callable[[], bool]) -> threading.Thread:
        thread = threading.Thread(target=self.run, args=(done,), name=f"oracle-{self._project_id}", daemon=True)
        thread.start()
        return thread

    def _answer(
        self, annotator: Annotator, task: LeasedTask, classes: Mapping[str, int], done: Callable[[], bool]
    ) -> None:
        key = str(uuid.uuid4())  # one per answer, whatever number of times it is sent

        def send() -> None:
            image = annotator.image(task)
            name = self._truth.get(hashlib.sha256(image).hexdigest())
            if name is None:
                raise NotFound("the served image is not one of those uploaded")
            annotator.submit(self._project_id, task, classes[name], key)
            self.answered += 1

        try:
            self._patiently(send, done)
        except Conflict:  # the lease was lost meanwhile: somebody else has the task
            self.conflicts += 1

    @staticmethod
    def _patiently(call: Callable[[], None], done: Callable[[], bool]) -> None:
        while not done():
            try:
                call()
                return
            except Retryable:
                time.sleep(_RETRY_S)
