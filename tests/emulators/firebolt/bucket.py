"""Objects of a bucket as far as Arrow's client of S3 asks for them: put, also in parts, listed, looked at, removed."""

from __future__ import annotations

import re
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Bucket:
    def __init__(self, folder: Path) -> None:
        self._folder, self._parts = folder, folder / ".parts"
        self._parts.mkdir(parents=True, exist_ok=True)

    def answer(self, command: str, address: str, headers: dict[str, str], body: bytes) -> Answer:
        """``address``: /bucket/key?query."""
        split = urlsplit(address)
        query = parse_qs(split.query, keep_blank_values=True)
        path = self._folder.joinpath(*unquote(split.path).strip("/").split("/"))
        bucket = unquote(split.path).strip("/").partition("/")[0]
        if command == "GET" and ("list-type" in query or "prefix" in query):
            return self._list(bucket, query)
        if command == "POST" and "delete" in query:
            for key in re.findall(rb"<Key>([^<]*)</Key>", body):
                (self._folder / bucket / key.decode()).unlink(missing_ok=True)
            return Answer(body=f"{_HEAD}<DeleteResult></DeleteResult>".encode())
        if "uploads" in query or "uploadId" in query:
            return self._in_parts(command, path, query, body)
        if command == "PUT":
            if headers.get("Content-Encoding") == "aws-chunked" or "aws-chunked" in headers.get("content-encoding", ""):
                body = _unchunked(body)
            if path.name and not unquote(split.path).endswith("/"):
                _store(path, body)
            return Answer(headers={"ETag": '"e"'})
        if command == "DELETE":
            if path.is_file():
                path.unlink()
            return Answer(204)
        if path.is_file():
            content = path.read_bytes()
            return Answer(200, content, {"ETag": '"e"', "Content-Length": str(len(content))})
        if command == "HEAD" and path.is_dir() and "/" not in unquote(split.path).strip("/"):
            return Answer()
        return Answer(404, f"{_HEAD}<Error><Code>NoSuchKey</Code></Error>".encode() if command != "HEAD" else b"")

    def _in_parts(self, command: str, path: Path, query: dict[str, list[str]], body: bytes) -> Answer:
        if command == "POST" and "uploads" in query:
            id = uuid.uuid4().hex
            (self._parts / id).mkdir()
            text = f"{_HEAD}<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            return Answer(body=text.encode())
        folder = self._parts / query["uploadId"][0]
        if command == "PUT":
            (folder / f"{int(query['partNumber'][0]):06}").write_bytes(body)
            return Answer(headers={"ETag": '"e"'})
        if command == "POST":
            _store(path, b"".join(p.read_bytes() for p in sorted(folder.iterdir())))
            text = f"{_HEAD}<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
            return Answer(body=text.encode())
        shutil.rmtree(folder, ignore_errors=True)
        return Answer(204)

    def _list(self, bucket: str, query: dict[str, list[str]]) -> Answer:
        root, prefix = self._folder / bucket, query.get("prefix", [""])[0]
        keys = sorted(str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()) if root.is_dir() else []
        found = "".join(
            f"<Contents><Key>{key}</Key><Size>{(root / key).stat().st_size}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in keys
            if key.startswith(prefix)
        )
        text = f"{_HEAD}<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        return Answer(body=text.encode())


def _unchunked(body: bytes) -> bytes:
    """The payload of a body in signed chunks."""
    out = b""
    while body:
        head, _, rest = body.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if not size:
            break
        out, body = out + rest[:size], rest[size + 2 :]
    return out


def _store(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f".{path.name}.part")
    whole.write_bytes(content)
    whole.replace(path)
