"""``python -m shared.healthcheck URL``: exit code 0 if the URL answers 200 within three seconds, else 1 and why.

For the health checks of containers that have no curl. Standard library only, so that it starts at once.
"""

from __future__ import annotations

import sys
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

TIMEOUT_S = 3.0


def trouble(url: str) -> str | None:
    """Why ``url`` is not well; None if it is. It is asked directly, whatever proxy the environment names."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=TIMEOUT_S) as answer:
            return None if answer.status == 200 else f"{url} answered {answer.status}"
    except HTTPError as error:
        body = error.read(500).decode(errors="replace").strip()
        return f"{url} answered {error.code}: {body}"
    except (OSError, HTTPException, ValueError) as error:
        return f"{url} can't be asked: {error}"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m shared.healthcheck URL", file=sys.stderr)
        return 2
    reason = trouble(arguments[0])
    if reason is not None:
        print(reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
