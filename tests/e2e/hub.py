"""A small hub for tests: lists and gives files as Hugging Face and ModelScope do, and fails on demand."""

import contextlib
import functools
import hashlib
import http.server
import json
import pathlib
import re
import socket
import struct
import threading
import urllib.parse

LFS_BYTES_MIN = 100_000  # from this size on a file is "in LFS": SHA-256, and a redirect to the CDN
PAGE_FILES = 3


@functools.lru_cache
def digest(name: str, data: bytes) -> str:
    if name == "git":
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return hashlib.new(name, data).hexdigest()


class Faults:
    """What goes wrong. Tests set these while the hub runs; each counts for data of LFS files."""

    def __init__(self):
        self.statuses: list[tuple[int, dict]] = []  # taken one by one, before anything is given
        self.reset_after: list[int] = []  # bytes after which a connection is reset, one by one
        self.hold_after: int | None = None  # bytes after which every answer waits for `release`
        self.release = threading.Event()
        self.corrupt: set[str] = set()  # paths with a wrong byte
        self.no_ranges = False
        self.no_checksums = False  # in the listing, as of some mirrors
        self.web_page = False  # a login page instead of everything
        self.loop = False  # redirects without end
        self.token: str | None = None  # what gated repositories want
        self.extra_entries: list[dict] = []  # in the listing
        self.lying_size = 0  # the CDN's files are that much longer than listed


class Hub:
    def __init__(self, repo: str, files: dict[str, bytes]):
        self.repo = repo
        self.files = files
        self.faults = Faults()
        self.log: list[dict] = []  # one dict for each request: server, path, range, token, sent
        self.servers = [self._start("hub"), self._start("cdn")]
        self.url, self.cdn = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)

    def _start(self, name: str) -> http.server.ThreadingHTTPServer:
        handler = type("Handler", (Handler,), {"hub": self, "name": name})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def stop(self) -> None:
        self.faults.release.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    @property
    def commit(self) -> str:
        """Changes with the content, as in Git."""
        content = [(path, digest("sha256", data)) for path, data in sorted(self.files.items())]
        return hashlib.sha1(repr(content).encode()).hexdigest()

    def sent(self, begin: int = 0) -> int:
        """Bytes of files that the CDN has given, since entry `begin` of the log."""
        return sum(entry["sent"] for entry in self.log[begin:] if entry["server"] == "cdn")

    def asked(self, begin: int = 0) -> list[tuple[int, int]]:
        """The ranges that the CDN was asked for, since entry `begin` of the log."""
        return [entry["range"] for entry in self.log[begin:] if entry["server"] == "cdn" and entry["range"]]


def entry_of(path: str, data: bytes) -> dict:
    entry = {"type": "file", "oid": digest("git", data), "size": len(data), "path": path}
    if len(data) >= LFS_BYTES_MIN:
        entry["lfs"] = {"oid": digest("sha256", data), "size": len(data), "pointerSize": 134}
    return entry


class Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    name: str
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        hub = self.hub
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        self.entry = {
            "server": self.name, "path": self.path, "token": self.headers.get("Authorization"), "sent": 0,
            "range": (int(wanted[1]), int(wanted[2]) + 1) if wanted else None,
        }
        hub.log.append(self.entry)
        url = urllib.parse.urlsplit(self.path)
        path, query = urllib.parse.unquote(url.path), urllib.parse.parse_qs(url.query)
        if hub.faults.web_page:
            return self.answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})
        if hub.faults.loop:
            return self.answer(302, b"", {"Location": self.path})
        if hub.faults.token and self.name == "hub":
            if not self.entry["token"]:
                return self.answer(401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
            if self.entry["token"] != f"Bearer {hub.faults.token}":
                return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
        if self.name == "cdn":
            return self.give(path.removeprefix("/blob/"))
        api, modelscope = f"/api/models/{hub.repo}", f"/api/v1/models/{hub.repo}/repo/files"
        if path == modelscope:
            return self.list_modelscope(query)
        if path.startswith("/api/") and not path.startswith(api + "/"):
            return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if path.startswith(api + "/revision/"):
            if path.rsplit("/", 1)[1] not in ("main", hub.commit):
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return self.answer(200, json.dumps({"sha": hub.commit}).encode())
        if path == f"{api}/tree/{hub.commit}":
            return self.list_page(int(query.get("cursor", ["0"])[0]))
        found = re.fullmatch(rf"(?:/models)?/{hub.repo}/resolve/({hub.commit}|master)/(.+)", path)
        if not found or found[2] not in hub.files:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        if len(hub.files[found[2]]) >= LFS_BYTES_MIN:
            return self.answer(302, b"", {"Location": f"{hub.cdn}/blob/{urllib.parse.quote(found[2])}"})
        return self.answer(200, hub.files[found[2]])

    def answer(self, status: int, body: bytes, headers: dict | None = None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # who asked may be gone
            self.wfile.write(body)

    def list_page(self, cursor: int):
        entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "folder"}]
        entries += [entry_of(path, data) for path, data in sorted(self.hub.files.items())]
        if self.hub.faults.no_checksums:
            entries = [{"type": e["type"], "size": e["size"], "path": e["path"]} for e in entries]
        entries += self.hub.faults.extra_entries
        headers = {}
        if cursor + PAGE_FILES < len(entries):
            # As mirrors do: the link still names the hub behind them.
            next_page = f"https://huggingface.co{self.path.split('&')[0]}&cursor={cursor + PAGE_FILES}"
            headers["Link"] = f'<{next_page}>; rel="next"'
        self.answer(200, json.dumps(entries[cursor:cursor + PAGE_FILES]).encode(), headers)

    def list_modelscope(self, query: dict):
        if query.get("Revision") != ["master"]:
            return self.answer(200, json.dumps({"Code": 404, "Message": "no such revision"}).encode())
        files = [{"Path": "folder", "Type": "tree", "Size": 0}]
        files += [{"Path": path, "Type": "blob", "Size": len(data), "Sha256": digest("sha256", data)}
                  for path, data in self.hub.files.items()]
        return self.answer(200, json.dumps({"Code": 200, "Success": True, "Data": {"Files": files}}).encode())

    def give(self, path: str):
        faults, data = self.hub.faults, self.hub.files[path]
        if path in faults.corrupt:
            data = bytes([data[0] ^ 1]) + data[1:]
        if faults.statuses:
            status, headers = faults.statuses.pop(0)
            return self.answer(status, b"not now", headers)
        total = len(data) + faults.lying_size
        begin, end = self.entry["range"] or (0, len(data))
        ranged = self.entry["range"] is not None and not faults.no_ranges
        if not ranged:
            begin, end = 0, len(data)
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{total}")
        self.send_header("Content-Length", str(end - begin if ranged else total))
        self.end_headers()
        reset_after = faults.reset_after.pop(0) if faults.reset_after else None
        for at in range(begin, end, 65536):
            piece = data[at:min(end, at + 65536)]
            if faults.hold_after is not None and self.entry["sent"] + len(piece) > faults.hold_after:
                faults.release.wait(120)
            if reset_after is not None and self.entry["sent"] + len(piece) > reset_after:
                # Linger of zero: the peer sees a reset and no orderly end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                return
            try:
                self.wfile.write(piece)
            except OSError:
                self.close_connection = True
                return
            self.entry["sent"] += len(piece)

    def finish(self):
        with contextlib.suppress(OSError, ValueError):
            super().finish()


def files_of(folder: pathlib.Path) -> dict[str, bytes]:
    """The files of a model folder, by their names."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
