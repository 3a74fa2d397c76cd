#!/usr/bin/env python3
"""Metrics and proxy plugins: the same questions to containerd and to Corten. Usage: CORTEN_BUILD=DIR against_containerd.py

Prints `ok NAME` or `not ok NAME: why` for each step and ends with `done`.
"""
import contextlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from process import LONG, eventually, fetch, samples  # noqa: E402

BUILD = os.path.abspath(os.environ["CORTEN_BUILD"])
PEERS = subprocess.run([f"{HERE}/../peers/build.sh", "--print-bin"], check=True, capture_output=True, text=True).stdout.strip()
IMAGE = "corten.test/busybox:1"
CRI = ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
       "io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.nri.v1.nri")
failed = 0


def step(name, check):
    global failed
    try:
        check()
        print(f"ok {name}", flush=True)
    except Exception as error:  # pylint: disable=broad-except
        failed += 1
        print(f"not ok {name}: {type(error).__name__}: {str(error)[:3000]}", flush=True)


def free_port():
    import socket
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Side:
    """One of the two daemons, with scratch directories and the real ctr."""

    def __init__(self, kind, disabled=(), extra=""):
        self.kind = kind
        self.top = tempfile.mkdtemp(prefix=f"corten-{kind}-")
        self.port = free_port()
        off = list(disabled) + (list(CRI) if kind == "containerd" else [])
        self.config = f"""version = 4
root = '{self.top}/root'
state = '{self.top}/state'
disabled_plugins = [{', '.join(f"'{uri}'" for uri in off)}]
[plugins.'io.containerd.server.v1.grpc']
  address = '{self.top}/c.sock'
[plugins.'io.containerd.server.v1.ttrpc']
  address = '{self.top}/c.sock.ttrpc'
[plugins.'io.containerd.server.v1.metrics']
  address = '127.0.0.1:{self.port}'
[plugins.'io.containerd.metrics.v1.grpc-prometheus']
  grpc_histogram = true
[plugins.'io.containerd.shim.v1.manager']
  socket_dir = '{self.top}/s'
""" + (f"[plugins.'io.containerd.internal.v1.opt']\n  path = '{self.top}/opt'\n" if kind == "containerd" else "")
        self.config += extra.replace("{top}", self.top)
        with open(f"{self.top}/config.toml", "w", encoding="utf-8") as f:
            f.write(self.config)
        program = f"{PEERS}/containerd" if kind == "containerd" else f"{BUILD}/src/daemon/cortend"
        self.log = f"{self.top}/log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([program, "--config", f"{self.top}/config.toml"], stdout=log, stderr=log,
                                            env=dict(os.environ, PATH=f"{PEERS}:{os.environ['PATH']}"))

    def booted(self):
        def look():
            with open(self.log, encoding="utf-8") as f:
                text = f.read()
            assert self.process.poll() is None, text
            return "successfully booted" in text
        eventually(look, f"the start of {self.kind}")
        return self

    def ctr(self, *args, check=True):
        done = subprocess.run([f"{PEERS}/ctr", "--address", f"{self.top}/c.sock", *args], capture_output=True, text=True, timeout=LONG,
                              env=dict(os.environ, CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS="1"), check=False)
        assert not check or done.returncode == 0, (self.kind, args, done.returncode, done.stdout, done.stderr)
        return done

    def page(self):
        return fetch(http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG), "/v1/metrics")[2]

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(LONG)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.top, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Proxy:
    """Snapshots, content and diffs served by containerd's own libraries."""

    def __init__(self, top):
        self.socket, self.directory, self.process = f"{top}/proxy.sock", f"{top}/proxy", None
        os.makedirs(self.directory, exist_ok=True)

    def start(self):
        self.process = subprocess.Popen([f"{PEERS}/proxy", self.socket, self.directory], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "serving\n"

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


OUTSIDE_CONTENT = {
    "disabled": ("io.containerd.content.v1.content",),
    "extra": "\n[proxy_plugins.outside]\n  type = 'content'\n  address = '{top}/proxy.sock'\n",
}


@contextlib.contextmanager
def served(kind, disabled=(), extra=""):
    """A daemon that has booted with its proxy there already."""
    with Side(kind, disabled=disabled, extra=extra) as side, Proxy(side.top) as proxy:
        proxy.start()
        yield side.booted(), proxy


def run_hello(side, images):
    """Imports an image and runs it; what it says."""
    side.ctr("images", "import", "--local", f"{images}/busybox.tar")
    return side.ctr("run", "--rm", IMAGE, "p1", "echo", "hello").stdout


def families(page):
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.M))


def end_container(side, name):
    side.ctr("tasks", "kill", "-s", "9", name, check=False)
    eventually(lambda: side.ctr("tasks", "rm", name, check=False).returncode == 0, f"the end of {name}")
    side.ctr("containers", "rm", name)


def metrics(images):
    pages = {}
    for kind in ("containerd", "corten"):
        with Side(kind) as side:
            side.booted()
            side.ctr("images", "import", "--local", f"{images}/busybox.tar")
            side.ctr("run", "-d", IMAGE, "m1", "sleep", "1000")
            try:
                pages[kind] = side.page()
            finally:
                end_container(side, "m1")
    theirs, ours = samples(pages["containerd"]), samples(pages["corten"])
    their_types, our_types = families(pages["containerd"]), families(pages["corten"])

    def of(all_samples, prefix):
        return {key for key in all_samples if key.startswith(prefix)}

    def containers():
        missing = of(theirs, "container_") - of(ours, "container_")
        more = of(ours, "container_") - of(theirs, "container_")
        assert not missing and not more, f"missing: {sorted(missing)}; more: {sorted(more)}"
        assert len(of(ours, "container_")) > 5, sorted(of(ours, "container_"))

    def daemon():
        # process_threads is a name of other client libraries than Go's. The version differs by nature.
        more = {key for key in set(ours) - set(theirs)
                if not key.startswith(("container_", "process_threads", "containerd_build_info_total"))
                and key != 'containerd_gc_collections_total{status="fail"}'}
        assert not more, f"not in containerd: {sorted(more)[:20]}"
        assert of(ours, "containerd_build_info_total{revision="), sorted(of(ours, "containerd_"))

    def calls():
        services = {re.search(r'grpc_service="([^"]*)"', key).group(1) for key in of(ours, "grpc_server_started_total")}
        assert len(services) == 14, services
        for name in ("started", "handled", "msg_received", "msg_sent", "handling_seconds_bucket"):
            prefix = f"grpc_server_{name}" + ("_total" if name != "handling_seconds_bucket" else "")
            expected = {key for key in of(theirs, prefix) if re.search(r'grpc_service="([^"]*)"', key).group(1) in services}
            missing = expected - of(ours, prefix)
            assert expected and not missing, f"{prefix}: missing {sorted(missing)[:10]}"

    def kinds():
        different = {name: (kind, our_types[name]) for name, kind in their_types.items() if our_types.get(name, kind) != kind}
        assert not different, different

    step("metrics: a container's series are containerd's", containers)
    step("metrics: the daemon's series are among containerd's", daemon)
    step("metrics: every method of a service has its series", calls)
    step("metrics: families are of the same kind", kinds)


def proxies(images):
    told = {}
    for kind in ("containerd", "corten"):
        extra = """
[proxy_plugins.outside]
  type = 'snapshot'
  address = '{top}/proxy.sock'
  capabilities = ['remap-ids']
  [proxy_plugins.outside.exports]
    root = '/some/where'
"""
        if kind == "corten":  # containerd 2.3.4 panics over it
            extra += "[proxy_plugins.elsewhere]\n  type = 'nonsense'\n  address = '{top}/proxy.sock'\n"
        with Side(kind, extra=extra) as side, Proxy(side.top) as proxy:
            told[kind] = snapshots_through(side, proxy, images)
    for question in told["containerd"]:
        def same(question=question):
            assert told["corten"].get(question) == told["containerd"][question], \
                f"containerd: {told['containerd'][question]!r}, corten: {told['corten'].get(question)!r}"
        step(f"proxy snapshotter: {question}", same)


def snapshots_through(side, proxy, images):
    out = {}
    side.booted()  # although nobody serves yet
    chosen = ("--snapshotter", "outside")
    out["the daemon starts while it is away"] = True
    away = side.ctr("snapshots", *chosen, "prepare", "early", check=False)
    out["a call fails while it is away"] = (away.returncode, "Unavailable" in away.stderr or "connect" in away.stderr)
    proxy.start()
    eventually(lambda: side.ctr("snapshots", *chosen, "prepare", "warm", check=False).returncode == 0, "the connection")
    side.ctr("snapshots", *chosen, "rm", "warm")
    listed = side.ctr("plugins", "ls", "-d", "id==outside").stdout
    out["it is listed"] = sorted(re.sub(re.escape(side.top), "TOP", listed).splitlines())  # exports come in any order
    out["what is no plugin type is not listed"] = "elsewhere" in side.ctr("plugins", "ls").stdout
    side.ctr("images", "import", "--local", *chosen, f"{images}/busybox.tar")
    out["layers are committed"] = re.findall(r"^(sha256:\w+) +(\S*) *(\w+)", side.ctr("snapshots", *chosen, "ls").stdout, re.M)
    ran = side.ctr("run", "--rm", *chosen, IMAGE, "p1", "echo", "hello")
    out["a container runs on it"] = ran.stdout
    side.ctr("snapshots", *chosen, "prepare", "active")
    usage = side.ctr("snapshots", *chosen, "usage", "active")
    out["usage is told"] = (usage.returncode, len(usage.stdout.splitlines()))
    out["mounts are told"] = re.sub(r"/\d+$|/\d+ ", "/N ", re.sub(re.escape(side.top), "TOP",
                                    side.ctr("snapshots", *chosen, "mounts", "/there", "active").stdout))
    wrong = side.ctr("snapshots", *chosen, "prepare", "orphan", "no-parent", check=False)
    out["a missing parent is not found"] = (wrong.returncode, "not found" in wrong.stderr)
    # containerd's native snapshotter, which the proxy serves, forgets a directory for good if it is killed while it removes it.
    eventually(lambda: len(os.listdir(f"{proxy.directory}/snapshots/snapshots")) ==
               len(side.ctr("snapshots", *chosen, "ls").stdout.splitlines()) - 1, "the end of collections under way")
    proxy.stop()
    gone = side.ctr("snapshots", *chosen, "mounts", "/there", "active", check=False)
    out["a call fails when it has gone"] = gone.returncode
    proxy.start()
    eventually(lambda: side.ctr("snapshots", *chosen, "mounts", "/there", "active", check=False).returncode == 0, "a new connection")
    out["it is found again"] = True
    side.ctr("snapshots", *chosen, "rm", "active")
    side.ctr("images", "rm", "--sync", IMAGE)
    eventually(lambda: not os.listdir(f"{proxy.directory}/snapshots/snapshots"), "the collection of its snapshots")
    out["what nobody needs is collected in it"] = True
    return out


def content(images):
    told = {}
    for kind in ("containerd", "corten"):
        with served(kind, **OUTSIDE_CONTENT) as (side, proxy):
            ran = run_hello(side, images)
            target = re.search(r"sha256:(\w+)", side.ctr("images", "ls").stdout).group(1)
            read = side.ctr("content", "get", f"sha256:{target}").stdout
            told[kind] = (ran, target, read, os.path.exists(f"{proxy.directory}/content/blobs/sha256/{target}"))

    def same():
        assert told["corten"] == told["containerd"], told
        assert told["corten"][0] == "hello\n" and told["corten"][3], told
    step("proxy content: an image lives in it", same)


def differ(images):
    """Layers are applied and compared by another process: from the content it has, and from no other."""
    told = {}
    extra = """
[proxy_plugins.faraway]
  type = 'diff'
  address = '{top}/proxy.sock'
[plugins.'io.containerd.service.v1.diff-service']
  default = ['faraway']
"""
    both = dict(OUTSIDE_CONTENT, extra=extra + OUTSIDE_CONTENT["extra"])
    for kind in ("containerd", "corten"):
        with served(kind, **both) as (side, _):
            ran = run_hello(side, images)
            side.ctr("snapshots", "prepare", "empty")
            # The proxy's plain store keeps no labels, and its differ wants to set one: an answer that nobody else gives.
            compared = side.ctr("snapshots", "diff", "empty", check=False)
        with served(kind, extra=extra) as (side, _):
            alone = side.ctr("images", "import", "--local", f"{images}/busybox.tar", check=False)
        told[kind] = (ran, compared.returncode, "immutable content store" in compared.stderr,
                      alone.returncode, "not found" in alone.stderr)

    def same():
        assert told["corten"] == told["containerd"], told
        assert told["corten"] == ("hello\n", 1, True, 1, True), told
    step("proxy differ: it is asked to apply and to compare", same)


def main():
    images = subprocess.run([f"{HERE}/../images/make.sh", "small"], check=True, capture_output=True, text=True).stdout.strip()
    for part in (metrics, proxies, content, differ):
        try:
            part(images)
        except Exception as error:  # pylint: disable=broad-except
            step(part.__name__, lambda error=error: (_ for _ in ()).throw(error))
    print("done")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
