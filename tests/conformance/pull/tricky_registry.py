"""A registry on loopback that behaves badly on request. It serves OCI layout directories, read only.

The first part of the repository's name says how: `plain/busybox`, or
  token     401 with a Bearer challenge; /token gives tokens to user:secret (or to nobody in particular for `anon`)
  basic     401 with a Basic challenge
  guarded   both: token for the first server, blobs on the second
  moved     blobs answer 307 to a second server, which refuses any request that carries an Authorization header
  cut       each blob breaks off after a third on its first two requests, ranges are honoured
  norange   the same, but ranges are ignored
  wrong     layers have one byte changed
  short     layers end early, on every request
  busy      each blob answers 503 once
  slow503   manifests answer 429 twice
`log` collects "METHOD PATH AUTH" of every request.
"""
import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Tricky:
    def __init__(self, layouts):
        self.layouts = layouts  # name -> directory
        self.log, self.seen, self.lock = [], {}, threading.Lock()
        self.main = self.serve(Front, "127.0.0.1")
        self.second = self.serve(Second, "127.0.0.2")  # another host: containerd's HTTP library looks at the name only
        self.address = f"127.0.0.1:{self.main.server_port}"

    def serve(self, handler, host):
        server = Server((host, 0), type(handler.__name__, (handler,), {"tricky": self}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def times(self, key):
        with self.lock:
            self.seen[key] = self.seen.get(key, 0) + 1
            return self.seen[key]

    def blob(self, name, digest):
        path = os.path.join(self.layouts[name], "blobs", *digest.split(":"))
        if not os.path.exists(path):
            return None
        with open(path, "rb") as f:
            return f.read()

    def manifest(self, name, reference):
        if ":" not in reference:
            with open(os.path.join(self.layouts[name], "index.json"), "rb") as f:
                entries = json.load(f)["manifests"]
            reference = next((e["digest"] for e in entries if e["annotations"]["org.opencontainers.image.ref.name"] == reference), None)
        return reference and (self.blob(name, reference), reference)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that hangs up


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def note(self):
        kind = (self.headers.get("Authorization") or "-").split(" ")[0]
        with self.tricky.lock:
            self.tricky.log.append(f"{self.command} {self.path} {kind}")

    def do_HEAD(self):
        self.do_GET()


class Second(Handler):
    def do_GET(self):
        self.note()
        if self.headers.get("Authorization"):
            return self.answer(400, b"credentials came along")
        name, digest = self.path.strip("/").split("/", 1)
        self.answer(200, self.tricky.blob(name, digest))


class Front(Handler):
    def do_POST(self):
        self.note()
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if (form.get("username"), form.get("password")) != (["user"], ["secret"]):
            return self.answer(401, b"{}")
        self.answer(200, json.dumps({"access_token": "good", "expires_in": 60}).encode())

    def do_GET(self):
        self.note()
        parts = urlsplit(self.path)
        if parts.path == "/token":
            if "anon" not in parts.query:
                return self.answer(401, b"{}")
            return self.answer(200, b'{"token":"good"}')
        words = parts.path.split("/")
        if len(words) != 6 or words[1] != "v2" or words[3] not in self.tricky.layouts:
            return self.answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"who"}]}')
        mode, name, kind, what = words[2:]
        if not self.allowed(mode):
            return None
        if kind == "manifests":
            return self.manifest(mode, name, what)
        return self.blob(mode, name, what)

    def allowed(self, mode):
        given = self.headers.get("Authorization") or ""
        if mode in ("token", "anon", "guarded") and given != "Bearer good":
            realm = f"http://{self.tricky.address}/token"
            self.answer(401, b"{}", WWW_Authenticate=f'Bearer realm="{realm}",service="tricky",scope="repository:{mode}/x:pull"')
        elif mode == "basic" and given != "Basic " + base64.b64encode(b"user:secret").decode():
            self.answer(401, b"{}", WWW_Authenticate='Basic realm="tricky"')
        elif mode == "denied":
            self.answer(403, b'{"errors":[{"code":"DENIED","message":"not for you"}]}')
        else:
            return True
        return False

    def manifest(self, mode, name, reference):
        found = self.tricky.manifest(name, reference)
        if mode == "slow503" and self.tricky.times(("m", name)) < 3:
            return self.answer(429)
        if not found:
            return self.answer(404, b"{}")
        data, digest = found
        self.answer(200, data, Content_Type=json.loads(data)["mediaType"], Docker_Content_Digest=digest)

    def blob(self, mode, name, digest):
        data = self.tricky.blob(name, digest)
        if data is None:
            return self.answer(404)
        if mode in ("moved", "guarded"):
            return self.answer(307, Location=f"http://127.0.0.2:{self.tricky.second.server_port}/{name}/{digest}")
        if mode == "busy" and self.tricky.times(digest) == 1:
            return self.answer(503)
        if len(data) > 1000 and mode == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = 0
        if self.headers.get("Range") and mode != "norange":
            start = int(self.headers["Range"][6:-1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = len(data)
        if len(data) > 1000 and (mode == "short" or (mode in ("cut", "norange") and self.tricky.times((mode, digest)) < 3)):
            end = start + (len(data) - start) // 3
        if self.command != "HEAD":
            self.wfile.write(data[start:end])
        if end < len(data):
            self.close_connection = True
        return None
