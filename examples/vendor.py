"""A vendor at work, with everything going wrong that can: requests sent twice, replies lost, leases that run out.

    python examples/vendor.py --local
    python examples/vendor.py --url https://winnow.example.org:8000 --key wnw_... --vendor Acme --vendor-key wnw_...

A manager (``--key``, with the scope ``manage``) makes a project of real handwritten digits and orders their labels
from a vendor (``--vendor-key``, with the scope ``batch``), who leases tasks, looks at each image, answers in bulk and
is told by webhook what becomes of it. In the end every count is compared. ``--local`` starts a stack of its own in a
temporary folder. At another stack the receiver of webhooks must be reachable (``--listen``) and allowed.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from winnow.client import Answer, BatchTask, Client, Lease, Orders, Result, Vendor

VENDOR = "Example Vendor"
PRICE = {"amount": "0.04", "per": "label", "currency": "EUR"}
EVENTS = ("batch.opened", "batch.completed", "annotation.accepted", "annotation.rejected")
SLOW, REJECTED = 20, 10
"""Tasks whose lease is let run out, and answers that the manager rejects."""
AT_ONCE = 100
PATIENCE_S = 300.0
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the api is, and the keys to it."""

    url: str
    manager_key: str
    vendor: str
    vendor_key: str
    listen: str = "127.0.0.1"


def check(holds: bool, said: str) -> None:
    """End with what is wrong."""
    if not holds:
        raise SystemExit(f"vendor failed: {said}")


def await_(look: Callable[[], Found | None], what: str) -> Found:
    deadline = time.monotonic() + PATIENCE_S
    while (found := look()) is None:
        check(time.monotonic() < deadline, f"{what} did not come within {PATIENCE_S:.0f} seconds")
        time.sleep(0.2)
    return found


# What goes wrong on the way


class Faulty(httpx.BaseTransport):
    """The network as it is at its worst: some requests arrive twice, and some replies don't arrive."""

    def __init__(self, seed: int) -> None:
        self._inner = httpx.HTTPTransport()
        self._random = random.Random(seed)
        self.twice = self.lost = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if request.method != "POST":
            return response
        drawn = self._random.random()
        if drawn < 0.25:
            response.read()
            self.twice += 1
            return self._inner.handle_request(request)
        if drawn < 0.5:
            response.read()
            self.lost += 1
            raise httpx.ReadError("the reply was lost", request=request)
        return response


# Being told by webhook


@dataclass
class Mailbox:
    """What came and was signed as it should be, each message once; ``forged`` counts what wasn't."""

    url: str
    secret: str = ""
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    forged: int = 0

    def take(self, body: bytes, headers: Mapping[str, str]) -> int:
        """The status to answer. A message that comes again has the same id, and changes nothing."""
        try:
            told = Webhook(self.secret).verify(body, dict(headers))
        except WebhookVerificationError:
            self.forged += 1
            return 401
        self.messages[headers["webhook-id"]] = told
        return 204

    def of(self, type_: str, batch_id: int) -> list[dict[str, Any]]:
        return [
            m["data"] for m in list(self.messages.values()) if (m["type"], m["data"]["batch_id"]) == (type_, batch_id)
        ]


@contextmanager
def mailbox(listen: str) -> Iterator[Mailbox]:
    """A receiver of webhooks, at a free port unless ``listen`` names one."""
    host, _, port = listen.partition(":")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status = box.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """What comes is in the mailbox."""

    server = ThreadingHTTPServer((host, int(port or 0)), Handler)
    box = Mailbox(url=f"http://{host}:{server.server_address[1]}/hook")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()


# The manager


def pictures(count: int) -> list[tuple[str, bytes, str]]:
    """Real handwritten digits: name, file, and what they show."""
    digits, made = load_digits(), []
    for at in range(count):
        out = io.BytesIO()
        Image.fromarray(np.rint(digits.images[at] * (255 / 16)).astype(np.uint8)).save(out, "PNG")
        made.append((f"{at}.png", out.getvalue(), str(digits.target[at])))
    return made


def new_project(client: Client, files: Sequence[tuple[str, bytes, str]], tasks: int) -> int:
    """A project that asks for ``tasks`` labels first, started."""
    settings = {"mode": "strict", "initial": tasks, "holdout_size": 0, "channels": 1, "epochs": 2, "image_size": 16}
    name = f"Digits for a vendor {time.strftime('%Y-%m-%d %H:%M:%S')}"
    project = int(client.create_project(name, [str(n) for n in range(10)], settings)["id"])
    for start in range(0, len(files), 200):
        uploaded = client.upload(project, [(name, body) for name, body, _ in files[start : start + 200]])
        check(uploaded["rejected"] == 0, f"the api refused images: {uploaded}")
    client.start(project)
    return project


def order(orders: Orders, vendor: str, tasks: int) -> int:
    """A batch that is open and full."""
    terms = {"instructions": "Which digit is it?", "price": PRICE, "fill": "selection", "external_id": "order-1"}
    batch = int(orders.create("digits", vendor, tasks, **terms)["id"])
    orders.open(batch)

    def full() -> bool | None:
        return orders.get(batch)[0]["counts"]["open"] == tasks or None

    await_(full, f"a batch of {tasks} questions")
    return batch


# The vendor


@dataclass
class Firm:
    """A vendor whose people know what an image shows: ``truth`` by the digest of its bytes."""

    api: Vendor
    batch: int
    truth: Mapping[str, str]
    statuses: Counter[str] = field(default_factory=Counter)

    def look(self, task: BatchTask) -> str:
        return self.truth[hashlib.sha256(self.api.image(task)).hexdigest()]

    def answers(self, lease: Lease) -> list[Answer]:
        token = lease.token or ""
        return [
            Answer(
                task_id=task.task_id,
                lease=token,
                class_name=self.look(task),
                external_id=f"{self.batch}-{task.task_id}",
                duration_ms=800,
            )
            for task in lease.tasks
        ]

    def send(self, answers: Sequence[Answer]) -> list[Result]:
        results = self.api.submit(self.batch, answers)
        self.statuses.update(one.status for one in results)
        return results

    def work(self, annotator: str) -> int:
        """Answer until nothing is left to lease. Whatever was answered is sent once more, and changes nothing."""
        done = 0
        while (lease := self.api.lease(self.batch, AT_ONCE, ttl_s=300, annotator=annotator)).token is not None:
            answers = self.answers(lease)
            accepted = self.send(answers)
            done += len(accepted)
            again = self.send(answers)
            check([one.status for one in again] == ["replayed"] * len(answers), f"sent again, not told: {again}")
            same = [one.annotation_id for one in again] == [one.annotation_id for one in accepted]
            check(same, "what was sent twice was recorded twice")
        return done

    def let_run_out(self) -> list[Answer]:
        """Answers that are ready, but whose lease will have run out when they are sent."""
        lease = self.api.lease(self.batch, SLOW, ttl_s=5, annotator="slow")
        check(len(lease.tasks) == SLOW, f"{len(lease.tasks)} tasks instead of {SLOW}")
        return self.answers(lease)

    def take_over(self, missing: int) -> int:
        """Answer the ``missing`` tasks once their lease has run out, as somebody else."""
        done = 0
        deadline = time.monotonic() + PATIENCE_S
        while done < missing:
            check(time.monotonic() < deadline, f"{missing - done} tasks were not handed out again")
            time.sleep(0.5)
            done += self.work("quick")
        return done


def finished(orders: Orders, batch: int, box: Mailbox, times: int) -> None:
    """The batch is completed, for the ``times``-th time, and the vendor was told."""
    check(orders.get(batch)[0]["state"] == "completed", f"the batch is {orders.get(batch)[0]['state']}")
    await_(lambda: len(box.of("batch.completed", batch)) >= times or None, "the webhook that says so")


def judge(orders: Orders, batch: int, box: Mailbox) -> list[int]:
    """Accept all but a few, reject those; returns the ids of the latter."""
    ids = [int(one["id"]) for one in orders.annotations(batch)]
    accepted, rejected = ids[REJECTED:], ids[:REJECTED]
    results = orders.accept(batch, accepted)
    check(all(one["status"] == "accepted" for one in results), f"not accepted: {results}")
    orders.reject(batch, rejected, "look again")
    told = await_(
        lambda: ((m := box.of("annotation.rejected", batch)) and len(m) == REJECTED and m) or None, "rejections"
    )
    check({one["annotation_id"] for one in told} == set(rejected), "the webhooks name other answers")
    await_(lambda: len(box.of("annotation.accepted", batch)) == len(accepted) or None, "acceptances")
    return rejected


def run(place: Place, tasks: int) -> str:
    """The whole of it; what is to be said of it in the end."""
    files = pictures(min(tasks * 5 // 4, 1797))
    truth = {hashlib.sha256(body).hexdigest(): digit for _, body, digit in files}
    names = {name: digit for name, _, digit in files}
    faulty = Faulty(seed=tasks)
    with (
        Client(place.url, place.manager_key) as client,
        Vendor(place.url, place.vendor_key, transport=faulty, tries=12) as api,
        mailbox(place.listen) as box,
    ):
        project = new_project(client, files, tasks)
        hook = client.create_webhook(box.url, EVENTS, project)
        box.secret = hook["secret"]
        orders = Orders(client, project)
        batch = order(orders, place.vendor, tasks)
        await_(lambda: box.of("batch.opened", batch) or None, "the webhook of the batch's opening")
        print(f"batch {batch} is open: {tasks} tasks; the vendor was told by webhook", flush=True)
        firm = Firm(api, batch, truth)
        late = firm.let_run_out()
        done = firm.work("maria")
        print(f"{done} answered; the leases of {SLOW} run out", flush=True)
        done += firm.take_over(tasks - done)
        stale = firm.send(late)
        check([one.status for one in stale] == ["stale_lease"] * SLOW, f"late answers were not refused: {stale}")
        check(done == tasks, f"{done} answers were accepted instead of {tasks}")
        finished(orders, batch, box, 1)
        rejected = judge(orders, batch, box)
        check(firm.work("tom") == len(rejected), "what was rejected was not asked again")
        finished(orders, batch, box, 2)
        compare(client, orders, project, batch, names, tasks)
        client.delete_webhook(hook["id"])
    check(box.forged == 0, f"{box.forged} webhooks were not signed as they should be")
    cost = orders_cost(tasks)
    return (
        f"vendor ok: {tasks} tasks, {tasks} labels, all right; {faulty.twice} requests sent twice, "
        f"{faulty.lost} replies lost, {SLOW} leases run out, {len(rejected)} rejected and asked again, "
        f"{len(box.messages)} webhooks verified, {cost} EUR"
    )


def orders_cost(tasks: int) -> str:
    return f"{tasks * 0.04:.2f}"


def compare(client: Client, orders: Orders, project: int, batch: int, names: Mapping[str, str], tasks: int) -> None:
    """Every count, and every label."""
    counts = orders.get(batch)[0]["counts"]
    wanted = {
        "open": 0,
        "leased": 0,
        "answered": tasks,
        "passed_on": 0,
        "accepted": tasks - REJECTED,
        "rejected": REJECTED,
    }
    check(counts == wanted, f"the batch has {counts}, not {wanted}")
    known = client.state(project)["labels"]
    check(known["human"] == tasks, f"the project has {known['human']} labels instead of {tasks}")
    standing = [one for one in orders.annotations(batch) if one["verdict"] != "rejected"]
    check(len({one["image_id"] for one in standing}) == len(standing) == tasks, "an image was answered twice")
    wrong = [one for one in standing if one["class"] != names[one["filename"]]]
    check(not wrong, f"labels are wrong: {wrong[:3]}")
    spent = orders.cost(batch)["spent"]
    check(spent == orders_cost(tasks), f"the batch cost {spent} instead of {orders_cost(tasks)}")


# A stack of one's own


def free_ports() -> int:
    """A port that is free, as is the next one."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


@contextmanager
def own_stack() -> Iterator[Place]:
    """``winnow up`` in a temporary folder, with a vendor's key."""
    with ExitStack() as stopped:
        folder = Path(stopped.enter_context(tempfile.TemporaryDirectory(prefix="winnow-vendor-")))
        data, port = folder / "data", free_ports()
        winnow = [sys.executable, "-m", "winnow.cli"]
        # Webhooks go to public addresses only, unless whoever runs the stack allows others.
        env = {**os.environ, "WINNOW_WEBHOOK_ALLOW_NETWORKS": '["127.0.0.0/8"]'}
        log = stopped.enter_context((folder / "up.log").open("wb"))
        up = subprocess.Popen(
            [*winnow, "up", "--data", str(data), "--port", str(port)], env=env, stdout=log, stderr=log
        )
        stopped.callback(_stop, up)
        url = f"http://127.0.0.1:{port + 1}"

        def ready() -> bool | None:
            check(up.poll() is None, f"winnow up ended:\n{(folder / 'up.log').read_text()}")
            try:
                return httpx.get(f"{url}/readyz").is_success or None
            except httpx.TransportError:
                return None

        print(f"starting a stack in {data}", flush=True)
        await_(ready, "the stack")
        made = [*winnow, "keys", "create", "vendor", "--vendor", VENDOR, "--scopes", "batch", "--data", str(data)]
        key = subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
        manager = json.loads((data / "stack.json").read_text())["api_key"]
        yield Place(url=url, manager_key=manager, vendor=VENDOR, vendor_key=key)


def _stop(up: subprocess.Popen[bytes]) -> None:
    up.send_signal(signal.SIGINT)
    try:
        up.wait(30)
    except subprocess.TimeoutExpired:
        up.kill()
        up.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--local", action="store_true", help="start a stack in a temporary folder")
    parser.add_argument("--url", help="of the api of a stack that runs")
    parser.add_argument("--key", help="an API key with the scope manage")
    parser.add_argument("--vendor", default=VENDOR, help="the vendor's name")
    parser.add_argument("--vendor-key", help="the vendor's API key, with the scope batch")
    parser.add_argument("--listen", default="127.0.0.1", help="host, or host:port, at which webhooks are received")
    parser.add_argument("--tasks", type=int, default=500)
    given = parser.parse_args()
    if given.local:
        with own_stack() as place:
            said = run(place, given.tasks)
    elif given.url and given.key and given.vendor_key:
        place = Place(
            url=given.url,
            manager_key=given.key,
            vendor=given.vendor,
            vendor_key=given.vendor_key,
            listen=given.listen,
        )
        said = run(place, given.tasks)
    else:
        parser.error("give --local, or --url with --key and --vendor-key")
    print(said)


if __name__ == "__main__":
    main()
