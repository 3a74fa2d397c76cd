"""A cortend of a test's own, and small things around it."""
import http.client
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

LONG = 60  # seconds; nothing here takes long on an idle machine


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=LONG)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LONG)
        self.sock.connect(self.path)


def fetch(connection, path):
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Content-Type"), body


def eventually(check, what):
    end = time.monotonic() + LONG
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.02)


class Daemon:
    """cortend over scratch directories. `config` may hold {top}, the scratch directory."""

    def __init__(self, build, config="", env=None, start=True, top=None):
        self.build = build
        self.top = top or tempfile.mkdtemp(prefix="corten-daemon-")
        self.own_top = top is None
        self.env = dict(os.environ, **(env or {}))
        self.socket = f"{self.top}/c.sock"
        self.config = f"{self.top}/config.toml"
        self.write_config(config)
        self.process = None
        if start:
            self.start()

    def write_config(self, text):
        shims = f"[plugins.'io.containerd.shim.v1.manager']\nsocket_dir = '{self.top}/s'\n"
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("version = 4\n" + text.replace("{top}", self.top) + "\n" + shims)

    def start(self, wait=True):
        self.log_path = f"{self.top}/log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [f"{self.build}/src/daemon/cortend", "--root", f"{self.top}/root", "--state", f"{self.top}/state",
                 "--address", self.socket, "--config", self.config], stdout=log, stderr=log, env=self.env)
        if wait:
            eventually(lambda: "successfully booted" in self.log() or self.process.poll() is not None, "the start")
            assert self.process.poll() is None, self.log()

    def log(self):
        with open(self.log_path, encoding="utf-8") as f:
            return f.read()

    def logged(self, pattern):
        return eventually(lambda: re.search(pattern, self.log()), f"{pattern!r} in the log")

    def corten(self, *args, check=True):
        done = subprocess.run([f"{self.build}/src/cli/corten", "--address", self.socket, *args], capture_output=True, text=True,
                              timeout=LONG, check=False)
        assert not check or done.returncode == 0, (args, done)
        return done.stdout

    def metrics(self, path="/v1/metrics"):
        host, port = self.logged(r'serving metrics" address="?([\d.]+):(\d+)').groups()
        return fetch(http.client.HTTPConnection(host, int(port), timeout=LONG), path)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(LONG) == 0, self.log()
        self.process = None

    def close(self):
        try:
            self.stop()
        finally:
            if self.process is not None:
                self.process.kill()
                self.process.wait()
            if self.own_top:
                shutil.rmtree(self.top, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def samples(page):
    """The page as {name{labels}: value}; fails on a line that is none."""
    out = {}
    for line in page.splitlines():
        if line.startswith("#") or not line:
            continue
        found = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+\})?) (\S+)', line)
        assert found, f"not a sample: {line}"
        assert found.group(1) not in out, f"twice: {line}"
        out[found.group(1)] = float(found.group(2))
    return out
