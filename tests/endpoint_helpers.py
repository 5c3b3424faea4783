"""A scripted OpenAI-compatible server on 127.0.0.1, faults included."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reaction:
    """What the server does with one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    delay: float = 0.0
    drip: float = 0.0
    """Seconds between the bytes of the body."""
    hang_up: bool = False


def says(text: Any, *, usage: tuple[int, int] | None = (10, 5), finish: str = "stop", **message: Any) -> Reaction:
    """A well-formed chat completion."""
    body: dict[str, Any] = {
        "choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}]
    }
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return Reaction(body=json.dumps(body).encode())


def fails(status: int, *, message: str = "", code: str = "", **headers: str) -> Reaction:
    """An error in OpenAI's form."""
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reaction(status, body, {"Content-Type": "application/json", **named})


@dataclass
class Server:
    """What came in, and where to send it."""

    base_url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0


@contextmanager
def serving(react: Callable[[dict[str, Any], int], Reaction]) -> Iterator[Server]:
    """A running server; `react(request body, number of the request from 0)`."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.requests)
                server.requests.append(body)
                server.headers.append(dict(self.headers.items()))
                server.times.append(time.monotonic())
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                assert self.path == "/v1/chat/completions", self.path
                reaction = react(body, number)
                time.sleep(reaction.delay)
            finally:
                with lock:
                    server.at_once -= 1  # before the answer is out, which lets the client send its next request
            with suppress(OSError):  # the client has gone
                self._do(reaction)

        def _do(self, reaction: Reaction) -> None:
            if reaction.hang_up:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(reaction.status)
            for name, value in reaction.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reaction.body)))
            self.end_headers()
            if not reaction.drip:
                self.wfile.write(reaction.body)
                return
            for place in range(len(reaction.body)):
                self.wfile.write(reaction.body[place : place + 1])
                self.wfile.flush()
                time.sleep(reaction.drip)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    http = Quiet(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
