#!/usr/bin/env python3
"""Pushes OCI layout directories to a plain-http registry, byte for byte. Usage: push.py ADDRESS LAYOUT...

The repository is the layout's directory name, the tag is what its index.json says. Blobs go up as they are, so digests and
media types stay (a copying tool may recompress). Only loopback addresses are accepted.
"""
import http.client
import json
import os
import sys
from urllib.parse import urlsplit


class Registry:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        if not host.startswith("127."):
            raise SystemExit(f"push: {address} is not on loopback")
        self.http = http.client.HTTPConnection(host, int(port), timeout=30)

    def call(self, method, path, body=None, headers=None):
        self.http.request(method, path, body=body, headers=headers or {})
        answer = self.http.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def blob(self, repository, digest, path):
        if self.call("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == 200:
            return
        status, headers, text = self.call("POST", f"/v2/{repository}/blobs/uploads/")
        if status != 202:
            raise SystemExit(f"push: upload to {repository} refused: {status} {text[:200]!r}")
        where = urlsplit(headers["Location"])
        query = where.query + ("&" if where.query else "") + "digest=" + digest
        with open(path, "rb") as f:
            status, _, text = self.call("PUT", f"{where.path}?{query}", f,
                                        {"Content-Type": "application/octet-stream",
                                         "Content-Length": str(os.path.getsize(path))})
        if status != 201:
            raise SystemExit(f"push: blob {digest}: {status} {text[:200]!r}")

    def manifest(self, repository, tag, data, media_type):
        status, _, text = self.call("PUT", f"/v2/{repository}/manifests/{tag}", data, {"Content-Type": media_type})
        if status != 201:
            raise SystemExit(f"push: manifest {repository}:{tag}: {status} {text[:200]!r}")


def push(registry, layout):
    repository = os.path.basename(layout.rstrip("/"))

    def path(digest):
        return os.path.join(layout, "blobs", *digest.split(":"))

    def tree(descriptor, tag):
        with open(path(descriptor["digest"]), "rb") as f:
            data = f.read()
        document = json.loads(data)
        for child in document.get("manifests", []):
            tree(child, child["digest"])
        for blob in [document[k] for k in ("config",) if k in document] + document.get("layers", []):
            registry.blob(repository, blob["digest"], path(blob["digest"]))
        registry.manifest(repository, tag, data, descriptor["mediaType"])

    with open(os.path.join(layout, "index.json"), encoding="utf-8") as f:
        for descriptor in json.load(f)["manifests"]:
            tree(descriptor, descriptor["annotations"]["org.opencontainers.image.ref.name"])


def main():
    registry = Registry(sys.argv[1])
    for layout in sys.argv[2:]:
        push(registry, layout)


if __name__ == "__main__":
    main()
