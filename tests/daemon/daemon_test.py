#!/usr/bin/env python3
"""The daemon as a process. Usage: daemon_test.py BUILD_DIR [TestName...]"""
import glob
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from process import LONG, Daemon, Unix, eventually, fetch, samples  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(sys.argv.pop(1))
METRICS = "[plugins.'io.containerd.server.v1.metrics']\naddress = '127.0.0.1:0'\n"


def rpc(name, method, service, kind="unary", **more):
    labels = [f'{key}="{value}"' for key, value in
              sorted({**more, "grpc_method": method, "grpc_service": service, "grpc_type": kind}.items())]
    return name + "{" + ",".join(labels) + "}"


class Metrics(unittest.TestCase):
    def test_nothing_listens_unless_it_is_asked_for(self):
        with Daemon(BUILD) as daemon:
            self.assertNotIn("serving metrics", daemon.log())
            self.assertNotIn("serving debug", daemon.log())

    def test_calls_are_counted_and_other_paths_are_not_there(self):
        version = ("Version", "containerd.services.version.v1.Version")
        with Daemon(BUILD, METRICS) as daemon:
            before = samples(daemon.metrics()[2])
            self.assertEqual(before[rpc("grpc_server_started_total", *version)], 0)
            for _ in range(3):
                daemon.corten("version")
            daemon.corten("inspect", "there-is-no-such-container", check=False)
            status, kind, page = daemon.metrics()
            after = samples(page)
            self.assertEqual(status, 200)
            self.assertTrue(kind.startswith("text/plain; version=0.0.4"), kind)
            self.assertEqual(after[rpc("grpc_server_started_total", *version)], 3)
            self.assertEqual(after[rpc("grpc_server_handled_total", *version, grpc_code="OK")], 3)
            self.assertEqual(after[rpc("grpc_server_msg_received_total", *version)], 3)
            self.assertEqual(after[rpc("grpc_server_msg_sent_total", *version)], 3)
            not_found = rpc("grpc_server_handled_total", "Get", "containerd.services.containers.v1.Containers", grpc_code="NotFound")
            self.assertGreaterEqual(after[not_found], 1)
            self.assertNotIn("grpc_server_handling_seconds", page)
            self.assertGreater(after["process_resident_memory_bytes"], 1e6)
            self.assertGreater(after["process_open_fds"], 5)
            self.assertEqual(len([s for s in after if s.startswith("containerd_build_info_total{")]), 1)
            self.assertEqual(after["promhttp_metric_handler_requests_in_flight"], 1)
            self.assertEqual(daemon.metrics("/")[0], 404)
            self.assertEqual(daemon.metrics("/v1/metrics/x")[0], 404)

    def test_the_histogram_is_an_option(self):
        text = METRICS + "[plugins.'io.containerd.metrics.v1.grpc-prometheus']\ngrpc_histogram = true\n"
        with Daemon(BUILD, text) as daemon:
            daemon.corten("version")
            found = samples(daemon.metrics()[2])
            key = rpc("grpc_server_handling_seconds_count", "Version", "containerd.services.version.v1.Version")
            self.assertEqual(found[key], 1)

    def test_a_collection_is_counted(self):
        with Daemon(BUILD, METRICS) as daemon:
            key = 'containerd_gc_collections_total{status="success"}'
            eventually(lambda: samples(daemon.metrics()[2])[key] >= 1, "the first collection")
            self.assertGreaterEqual(samples(daemon.metrics()[2])["containerd_gc_gc_seconds_count"], 1)

    def test_a_container_has_figures_while_it_lives(self):
        images = subprocess.run([f"{HERE}/../images/make.sh", "demo"], check=True, capture_output=True, text=True).stdout.strip()
        with Daemon(BUILD, METRICS) as daemon:
            daemon.corten("import", f"{images}/busybox.tar")
            daemon.corten("run", "-d", "--name", "m1", "corten.test/busybox:1", "sleep", "1000")
            try:
                labels = 'container_id="m1",namespace="default",runtime="io.containerd.runc.v2"'
                found = samples(daemon.metrics()[2])
                self.assertEqual(found[f"container_pids_current{{{labels}}}"], 1)
                # v1 machines call it one way, unified ones another.
                memory = [v for k, v in found.items() if re.match(r"container_memory_usage(_usage)?_bytes\{", k)]
                self.assertEqual(len(memory), 1, sorted(found))
                self.assertGreater(memory[0], 0)
            finally:
                daemon.corten("rm", "-f", "m1")
            self.assertFalse([k for k in samples(daemon.metrics()[2]) if k.startswith("container_")])

    def test_no_prometheus_leaves_containers_out(self):
        text = METRICS + "[plugins.'io.containerd.monitor.task.v1.cgroups']\nno_prometheus = true\n"
        with Daemon(BUILD, text) as daemon:
            self.assertFalse([k for k in samples(daemon.metrics()[2]) if k.startswith("container_")])

    def test_an_address_that_is_taken_stops_the_start_with_its_name(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            text = f"[plugins.'io.containerd.server.v1.metrics']\naddress = '127.0.0.1:{port}'\n"
            with Daemon(BUILD, text, start=False) as daemon:
                daemon.start(wait=False)
                self.assertEqual(daemon.process.wait(LONG), 1)
                self.assertIn(f"127.0.0.1:{port}", daemon.log())


class Collector(unittest.TestCase):
    def test_what_could_not_be_deleted_is_tried_again_by_itself(self):
        native = ("snapshots", "--snapshotter", "native")
        # No first run by itself: one that is under way when the snapshot goes would be followed by another anyhow.
        with Daemon(BUILD, "[plugins.'io.containerd.gc.v1.scheduler']\nstartup_delay = '0s'\n") as daemon:
            trees = f"{daemon.top}/root/io.containerd.snapshotter.v1.native/snapshots"
            daemon.corten(*native, "prepare", "busy")
            tree, = os.listdir(trees)
            point = f"{trees}/{tree}/mounted"
            os.mkdir(point)
            subprocess.run(["mount", "-t", "tmpfs", "corten-test", point], check=True)
            try:
                daemon.corten(*native, "rm", "busy")
                daemon.logged(r'(?s)(left something behind" where="snapshotter native".*){2}')
                self.assertEqual(os.listdir(trees), [tree])
            finally:
                subprocess.run(["umount", point], check=True)
            eventually(lambda: not os.listdir(trees), "a collection that nobody asked for")


class Debug(unittest.TestCase):
    def test_the_socket_tells_what_is_known_and_no_more(self):
        text = "[plugins.'io.containerd.server.v1.debug']\naddress = '{top}/debug.sock'\n"
        with Daemon(BUILD, text) as daemon:
            path = f"{daemon.top}/debug.sock"
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o660)
            status, kind, body = fetch(Unix(path), "/debug/vars")
            self.assertEqual((status, kind), (200, "application/json; charset=utf-8"))
            told = json.loads(body)
            self.assertEqual(told["cmdline"][0], f"{BUILD}/src/daemon/cortend")
            self.assertEqual(told["cmdline"][-1], daemon.config)
            self.assertGreater(told["process"]["threads"], 1)
            self.assertEqual(fetch(Unix(path), "/debug/pprof/cmdline")[2].split("\0"), told["cmdline"])
            status, _, body = fetch(Unix(path), "/debug/pprof/heap")
            self.assertEqual(status, 404)
            self.assertIn("not in this build", body)
            self.assertEqual(fetch(Unix(path), "/v1/metrics")[0], 404)


class Cgroup(unittest.TestCase):
    def setUp(self):
        self.name = f"/corten-test-{os.getpid()}"
        self.unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        self.roots = ["/sys/fs/cgroup"] if self.unified else [
            path for path in glob.glob("/sys/fs/cgroup/*") if os.path.isfile(f"{path}/cgroup.procs") and not os.path.islink(path)]
        self.addCleanup(self.remove)

    def remove(self):
        for root in self.roots:
            if os.path.isdir(root + self.name):
                eventually(lambda path=root + self.name: self.try_remove(path), f"the end of {root}{self.name}")

    @staticmethod
    def try_remove(path):
        try:
            os.rmdir(path)
            return True
        except OSError:
            return False

    def test_the_daemon_enters_its_group(self):
        if self.unified:
            os.mkdir(self.roots[0] + self.name)
        with Daemon(BUILD, f"[cgroup]\npath = '{self.name}'\n") as daemon:
            with open(f"/proc/{daemon.process.pid}/cgroup", encoding="utf-8") as f:
                places = [line.rstrip("\n").split(":", 2) for line in f]
            entered = [controllers for _, controllers, path in places if path == self.name]
            if self.unified:
                self.assertEqual(entered, [""])
            else:
                self.assertEqual(sorted(entered), sorted(c for _, c, _ in places if c), places)

    def test_a_group_that_cannot_be_entered_stops_the_start(self):
        with Daemon(BUILD, "[cgroup]\npath = '/../escape'\n", start=False) as daemon:
            daemon.start(wait=False)
            self.assertEqual(daemon.process.wait(LONG), 1)
            self.assertIn("cgroup.path", daemon.log())


class Config(unittest.TestCase):
    """`config check`, wherever the file is named."""

    def check(self, text, *words):
        with tempfile.TemporaryDirectory() as top:
            path = f"{top}/c.toml"
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            words = [path if word == "FILE" else word for word in words]
            done = subprocess.run([f"{BUILD}/src/daemon/cortend", *words], capture_output=True, text=True, timeout=LONG, check=False)
            return done.returncode, done.stdout.replace(path, "FILE"), done.stderr

    def test_the_file_that_was_named_is_the_one_that_is_checked(self):
        for words in (["-c", "FILE", "config", "check"], ["config", "check", "-c", "FILE"], ["config", "check", "FILE"]):
            code, out, error = self.check("version = 4\nstat = 'x'\n", *words)
            self.assertEqual((code, out), (1, "configuration has parts without effect, see above: FILE\n"), words)
            self.assertRegex(error, r'did you mean \W*state')
            self.assertEqual(self.check("version = 4\n", *words)[:2], (0, "configuration is good: FILE\n"))

    def test_an_older_version_is_good(self):
        code, out, error = self.check("version = 2\n[grpc]\naddress = '/run/a.sock'\n", "config", "check", "FILE")
        self.assertEqual((code, out), (0, "configuration is good: FILE\n"))
        self.assertIn("migrated from version 2", error)

    def test_the_manual_page_knows_every_flag_and_command(self):
        with open(f"{HERE}/../../packaging/cortend.8", encoding="utf-8") as f:
            manual = f.read()
        told = subprocess.run([f"{BUILD}/src/daemon/cortend", "--help"], capture_output=True, text=True, check=True).stdout
        flags = re.findall(r"--([a-z-]+)", told)
        commands = re.findall(r"^   (config [a-z]+|[a-z-]+) .*", told.split("COMMANDS:")[1].split("GLOBAL")[0], re.M)
        self.assertGreater(min(len(flags), len(commands)), 5)
        for word in [f"Fl -{flag}" for flag in flags] + [f"Cm {command}" for command in commands]:
            self.assertIn(word, manual.replace(", -", " , Fl -"), word)

    def test_what_is_too_much_is_told(self):
        code, _, error = self.check("", "config", "dump", "extra")
        self.assertEqual((code, error), (1, 'cortend: config dump: unexpected argument "extra"; name the file with --config FILE\n'))


class Life(unittest.TestCase):
    def test_hup_reloads_what_can_be_reloaded_and_never_kills(self):
        with Daemon(BUILD, "[debug]\nlevel = 'info'\n") as daemon:
            daemon.write_config("[debug]\nlevel = 'debug'\nformat = 'json'\n")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.logged(r'"msg":"configuration reloaded"')
            daemon.write_config("[debug\n")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.logged(r"configuration not reloaded, the old one stays in force")
            daemon.corten("version")
            for _ in range(20):
                daemon.process.send_signal(signal.SIGHUP)
            daemon.corten("version")
            self.assertIsNone(daemon.process.poll())
            self.assertTrue(json.loads(daemon.log().splitlines()[-1]), "still as the last good file said")

    def test_the_supervisor_is_told(self):
        with tempfile.TemporaryDirectory() as top, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(f"{top}/notify")
            told.settimeout(LONG)
            with Daemon(BUILD, env={"NOTIFY_SOCKET": f"{top}/notify"}) as daemon:
                self.assertEqual(told.recv(4096).decode().splitlines()[0], "READY=1")
                daemon.corten("version")
                daemon.process.send_signal(signal.SIGHUP)
                reloading = told.recv(4096).decode().splitlines()
                self.assertEqual(reloading[0], "RELOADING=1")
                self.assertEqual(told.recv(4096).decode().splitlines()[0], "READY=1")
                daemon.stop()
                self.assertEqual(told.recv(4096).decode().splitlines()[0], "STOPPING=1")

    def test_the_hook_becomes_another_program(self):
        with tempfile.TemporaryDirectory() as bundle:
            with open(f"{bundle}/config.json", "w", encoding="utf-8") as f:
                json.dump({"root": {"path": "rootfs"}}, f)
            state = json.dumps({"ociVersion": "1.0.2", "id": "c1", "pid": 7, "status": "created", "bundle": bundle,
                                "annotations": {"key": "value"}})
            hook = [f"{BUILD}/src/daemon/cortend", "oci-hook"]
            done = subprocess.run(
                hook + ["/bin/sh", "-c", 'echo "$0 $1 $PLACE"', "{{id}}", '{{annotation "key"}}'], input=state, text=True,
                capture_output=True, env=dict(os.environ, PLACE="{{rootfs}}"), timeout=LONG, check=True)
            self.assertEqual(done.stdout, f"c1 value {bundle}/rootfs\n")
            wrong = subprocess.run(hook + ["/bin/true", "{{what}}"], input=state, text=True, capture_output=True, timeout=LONG,
                                   check=False)
            self.assertEqual(wrong.returncode, 1)
            self.assertIn("{{what}}", wrong.stderr)


class Installation(unittest.TestCase):
    def test_what_is_installed_works_and_the_unit_keeps_its_promises(self):
        with tempfile.TemporaryDirectory() as top:
            subprocess.run(["cmake", "--install", BUILD], check=True, capture_output=True, timeout=LONG * 2,
                           env=dict(os.environ, DESTDIR=top))
            units = glob.glob(f"{top}/**/lib/systemd/system/cortend.service", recursive=True)
            self.assertEqual(len(units), 1)
            with open(units[0], encoding="utf-8") as f:
                unit = f.read()
            for line in ("Type=notify", "Delegate=yes", "KillMode=process", "Restart=always", "OOMScoreAdjust=-999"):
                self.assertIn(f"\n{line}\n", unit)
            started = re.search(r"^ExecStart=(\S+)", unit, re.M).group(1)
            daemon = top + started
            told = subprocess.run([daemon, "--version"], check=True, capture_output=True, text=True, timeout=LONG).stdout
            self.assertEqual(len(told.split()), 4, told)
            shim = os.path.join(os.path.dirname(os.path.dirname(daemon)), "libexec/corten/containerd-shim-runc-v2")
            self.assertTrue(os.access(shim, os.X_OK), shim)
            self.assertTrue(os.access(os.path.join(os.path.dirname(daemon), "corten"), os.X_OK))
            reload = re.search(r"^ExecReload=(.*)$", unit, re.M).group(1)
            self.assertIn("-HUP $MAINPID", reload)


if __name__ == "__main__":
    unittest.main(verbosity=2)
