"""The scenario format and how one scenario is played. See README.md for the format."""
import os
import pty
import re
import select
import signal
import subprocess
import time

STEP_LIMIT = 20  # seconds, for any one command or wait
LINE = re.compile(r"^(?:@(?P<only>[\d.]+) )?(?P<kind>\$|~|tty|\?|&\w+|join|stop|==)(?: (?P<text>.*))?$")


class Step:
    def __init__(self, number, only, kind, text):
        self.number, self.only, self.kind, self.text = number, only, kind, text or ""
        self.typed = []

    @property
    def name(self):
        return f"{self.number} {self.kind} {self.text}"


def parse(path):
    """Reads a scenario file. Raises ValueError naming the line that is not understood."""
    steps = []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith("< "):
                steps[-1].typed.append(line[2:])
                continue
            match = LINE.match(line)
            if not match:
                raise ValueError(f"{path}:{number}: not understood: {line}")
            steps.append(Step(number, match["only"], match["kind"], match["text"]))
    return steps


class Player:
    """Plays steps in one directory with one environment. `records` gets {name, out, err, code} for each that counts."""

    def __init__(self, directory, environment):
        self.directory, self.environment = directory, environment
        self.background = {}
        self.records = []
        self.since = time.monotonic()

    def play(self, steps, version):
        for step in steps:
            if step.kind == "==" or (step.only and step.only != version):
                continue
            try:
                getattr(self, self._method(step.kind))(step)
            except TimeoutError as late:
                self._record(step, "", f"not done within {STEP_LIMIT} s: {late}", "late")

    @staticmethod
    def _method(kind):
        return {"$": "run", "~": "run_quiet", "tty": "run_tty", "?": "wait_for", "join": "join", "stop": "stop"}.get(kind, "spawn")

    def _record(self, step, out, err, code):
        now = time.monotonic()
        self.records.append({"name": step.name, "out": out, "err": err, "code": code, "seconds": round(now - self.since, 2)})
        self.since = now

    def _start(self, step, tag):
        paths = [os.path.join(self.directory, f"{tag}.{end}") for end in ("out", "err")]
        with open(paths[0], "wb") as out, open(paths[1], "wb") as err:
            process = subprocess.Popen(["bash", "-c", "set -o pipefail; " + step.text], stdin=subprocess.PIPE, stdout=out,
                                       stderr=err, cwd=self.directory, env=self.environment, start_new_session=True)
        return process, paths

    def _finish(self, process, paths, typed):
        """Feeds stdin, waits; returns (out, err, code)."""
        try:
            process.communicate("".join(line + "\n" for line in typed).encode(), timeout=STEP_LIMIT)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = "late"
        texts = []
        for path in paths:
            with open(path, encoding="utf-8", errors="replace") as f:
                texts.append(f.read())
        return texts[0], texts[1], code

    def run(self, step):
        self._record(step, *self._finish(*self._start(step, "step"), step.typed))

    def run_quiet(self, step):
        """Only the exit code counts; the output is kept for a reader if it is not 0."""
        out, err, code = self._finish(*self._start(step, "step"), step.typed)
        self._record(step, out if code else "", err if code else "", code)

    def wait_for(self, step):
        """Repeats a command until it succeeds. Counts as a step, so one that never does is seen."""
        end = time.monotonic() + STEP_LIMIT
        while True:
            out, err, code = self._finish(*self._start(step, "wait"), [])
            if code == 0 or time.monotonic() > end:
                return self._record(step, "" if code == 0 else out, "" if code == 0 else err, code)
            time.sleep(0.05)

    def spawn(self, step):
        name = step.kind[1:]
        self.background[name] = (*self._start(step, name), step.typed)

    def join(self, step):
        process, paths, typed = self.background.pop(step.text)
        self._record(step, *self._finish(process, paths, typed))

    def stop(self, step):
        """Interrupts a background command; what it wrote after the last line with the word `probe` counts."""
        process, paths, _ = self.background.pop(step.text)
        os.killpg(process.pid, signal.SIGINT)
        out, err, _ = self._finish(process, paths, [])
        lines = out.splitlines(keepends=True)
        probes = [i for i, line in enumerate(lines) if "probe" in line]
        self._record(step, "".join(lines[probes[-1] + 1 if probes else 0:]), err, 0)

    def run_tty(self, step):
        """Runs on a terminal of 80x24. Each typed line is `PATTERN => text`: the text is typed once the pattern was seen."""
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.directory)
            os.execvpe("bash", ["bash", "-c", f"stty cols 80 rows 24; exec {step.text}"], self.environment)
        seen, position, typed = b"", 0, [line.split(" => ", 1) for line in step.typed]
        end, late = time.monotonic() + STEP_LIMIT, False
        while True:
            if time.monotonic() > end and not late:
                os.kill(pid, signal.SIGKILL)
                late = True
            if select.select([fd], [], [], 0.2)[0]:
                try:
                    block = os.read(fd, 4096)
                except OSError:  # EIO: the last writer is gone
                    block = b""
                if not block:
                    break
                seen += block
            if typed and (found := re.search(typed[0][0].encode(), seen[position:])):
                position += found.end()
                os.write(fd, typed.pop(0)[1].encode().decode("unicode_escape").encode("latin-1"))
        os.close(fd)
        _, status = os.waitpid(pid, 0)
        self._record(step, seen.decode(errors="replace"), "", "late" if late else os.waitstatus_to_exitcode(status))

    def close(self):
        for process, _, _ in self.background.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
