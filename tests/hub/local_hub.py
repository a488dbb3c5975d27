"""The few endpoints of the Hugging Face Hub that a download needs, on this machine."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import unquote, urlsplit


def commit_of(repo_id: str) -> str:
    """The one commit of a repository; no two repositories share one."""
    return hashlib.sha1(repo_id.encode()).hexdigest()


class LocalHub:
    """Serves `repos`: repository id to file name to bytes. `requests` tells what was asked."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.gated: set[str] = set()
        self.damaged: set[str] = set()
        self.requests: list[str] = []
        self.stopped = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "LocalHub":
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    def stop(self) -> None:
        """From now on, nobody answers."""
        self.stopped = True

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if self.stopped:
            request.close_connection = True
            return
        path = unquote(urlsplit(request.path).path)
        self.requests.append(f"{request.command} {path}")
        parts = path.strip("/").split("/")
        repo_id = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        files = self.repos.get(repo_id)
        if files is None:
            self._send(
                request, 401 if repo_id == "org/private" else 404, b"", {"X-Error-Code": "RepoNotFound"}
            )
        elif repo_id in self.gated:
            self._send(request, 403, b"", {"X-Error-Code": "GatedRepo"})
        elif parts[0] == "api":
            self._api(request, repo_id, files, parts[4:])
        else:
            self._file(request, repo_id, "/".join(parts[4:]))

    def _api(
        self, request: BaseHTTPRequestHandler, repo_id: str, files: dict[str, bytes], rest: list[str]
    ) -> None:
        if len(rest) > 1 and rest[1] not in ("main", commit_of(repo_id)):
            return self._send(request, 404, b"", {"X-Error-Code": "RevisionNotFound"})
        if rest[:1] == ["tree"]:
            body: object = [
                {"type": "file", "path": name, "size": len(data), "oid": _oid(data)} | _lfs(data)
                for name, data in files.items()
            ]
        else:
            siblings: list[dict[str, object]] = [{"rfilename": name} for name in files]
            if "blobs=true" in urlsplit(request.path).query.lower():
                siblings = [
                    {"rfilename": name, "size": len(data), "blobId": _oid(data)} | _lfs_of_sibling(data)
                    for name, data in files.items()
                ]
            body = {
                "id": repo_id,
                "sha": commit_of(repo_id),
                "private": False,
                "siblings": siblings,
                "tags": [],
            }
        return self._send(request, 200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _file(self, request: BaseHTTPRequestHandler, repo_id: str, name: str) -> None:
        commit = commit_of(repo_id)
        data = self.repos[repo_id].get(name)
        if data is None:
            return self._send(request, 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        headers = {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": commit}
        if name in self.damaged:
            data = bytes(len(data))
        return self._send(request, 200, data, headers)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)


def _oid(data: bytes) -> str:
    # Like the Hub: SHA-256 for large files, which are "large" here from 100 bytes on, and SHA-1 for others.
    return (hashlib.sha256 if len(data) >= 100 else hashlib.sha1)(data).hexdigest()


def _lfs_of_sibling(data: bytes) -> dict[str, object]:
    if len(data) < 100:
        return {}
    return {"lfs": {"sha256": _oid(data), "size": len(data), "pointerSize": 134}}


def _lfs(data: bytes) -> dict[str, object]:
    if len(data) < 100:
        return {}
    return {"lfs": {"oid": _oid(data), "size": len(data), "pointerSize": 134}}
