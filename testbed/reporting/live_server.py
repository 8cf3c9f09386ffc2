"""The live view as a web page: a server on this machine's loopback that is fed while runs go on."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from importlib import resources

import jinja2
import msgspec

from testbed.reporting.live import View
from testbed.reporting.live_metrics import CONTENT_TYPE, metrics

_HOSTS = ("localhost", "127.0.0.1")
"""What a browser may call this server: any other name would be a foreign page's way to read it."""
_MOST_LINKS = 300
_MOST_CONNECTIONS = 32
_ALIVE_EVERY_S = 10.0
_GIVE_UP_AFTER_S = 10.0
_TELL_WITHIN_S = 1.0
"""So long everybody who watches has to be told of the end."""


class LiveServer(http.server.ThreadingHTTPServer):
    """Serves `/` (the page), `/events` (its views, as server-sent events) and `/metrics`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = _MOST_CONNECTIONS

    def __init__(self, port: int) -> None:
        """Listens; 0 takes any free port.

        Raises:
            OSError: the port cannot be had.
        """
        super().__init__(("127.0.0.1", port), _Request)
        self.page, self.policy = _page()
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._news = threading.Condition()
        self._number = 0
        self._view = View()
        self._watching = 0

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def view(self) -> View:
        """What was published last."""
        return self._view

    def publish(self, view: View) -> None:
        """Shows a view to everybody who watches."""
        with self._news:
            self._view = view
            self._number += 1
            self._news.notify_all()

    def views(self) -> Iterator[View | None]:
        """The view now, then each newer one, until the last; None where there was nothing new for long."""
        seen = -1
        with self._news:
            self._watching += 1
        try:
            while True:
                with self._news:
                    fresh = self._news.wait_for(lambda: self._number != seen, _ALIVE_EVERY_S)  # noqa: B023  waits here
                    seen, view = self._number, self._view
                yield view if fresh else None
                if view.over:
                    return
        finally:
            with self._news:
                self._watching -= 1
                self._news.notify_all()

    def end(self) -> None:
        """Tells everybody who watches that this was the last view."""
        self.publish(msgspec.structs.replace(self._view, over=True))
        with self._news:
            self._news.wait_for(lambda: not self._watching, _TELL_WITHIN_S)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Answers in a thread of its own, while there are not too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """The thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever watches may go at any time."""


class _Request(http.server.BaseHTTPRequestHandler):
    server: LiveServer
    timeout = _GIVE_UP_AFTER_S

    def do_GET(self) -> None:
        if self.headers.get("Host", "").split(":")[0] not in _HOSTS:
            self.send_error(403, "Ask for localhost")
        elif self.path == "/":
            self._answer("text/html; charset=utf-8", self.server.page)
        elif self.path == "/metrics":
            self._answer(CONTENT_TYPE, metrics(self.server.view).encode())
        elif self.path == "/events":
            self._stream()
        else:
            self.send_error(404)

    def _answer(self, kind: str, content: bytes) -> None:
        self._head(kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self) -> None:
        self._head("text/event-stream")
        self.end_headers()
        for view in self.server.views():
            self.wfile.write(b": nothing new\n\n" if view is None else b"data: " + _shown(view) + b"\n\n")
            self.wfile.flush()

    def _head(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("X-Content-Type-Options", "nosniff")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def serving(port: int) -> Iterator[LiveServer]:
    """A server for the block; who watches at its end is told so.

    Raises:
        OSError: the port cannot be had.
    """
    server = LiveServer(port)
    thread = threading.Thread(target=server.serve_forever, name="live view", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.end()
        server.shutdown()
        server.server_close()


def _shown(view: View) -> bytes:
    """The view as the page gets it, without the links that are too many to show."""
    return msgspec.json.encode(msgspec.structs.replace(view, links=view.links[:_MOST_LINKS]))


def _page() -> tuple[bytes, str]:
    """The page, and the security policy under which nothing but its own script runs."""
    folder = resources.files("testbed.reporting") / "templates"
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("style.css", "live.js"))
    template = jinja2.Template((folder / "live.html").read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{allowed}'; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return template.render(style=style, script=script).encode(), policy
