"""Every row of every bolt file under a stopped daemon's root, as the real bbolt reads it."""
import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
import stage  # noqa: E402


def snapshot(judge):
    """Asks bbolt to check each database, one test each; returns {file: [row]}. No daemon may be running."""
    found = {}
    for path in sorted(glob.glob(f"{stage.BASE}/root/*/*.db")):
        name = os.path.relpath(path, f"{stage.BASE}/root")
        check = subprocess.run([os.path.join(stage.PEERS, "bbolt"), "check", path], capture_output=True, text=True, check=False)
        judge.say(check.returncode == 0, f"bbolt check {name}", check.stdout + check.stderr)
        dump = subprocess.run([os.path.join(stage.PEERS, "bolt-dump"), path], capture_output=True, text=True, check=False)
        if judge.say(dump.returncode == 0, f"every row of {name} can be read", dump.stderr):
            found[name] = dump.stdout.splitlines()
    judge.say(any(name.endswith("meta.db") for name in found), "the metadata is among them", str(list(found)))
    return found


def compare(judge, before, after, touched):
    """Rows that nobody touched are still there, byte for byte."""
    for name, lines in before.items():
        now = set(after.get(name, []))
        if name.endswith("meta.db"):
            kept = [row for row in lines if not any(word in row for word in touched)]
        else:
            # A snapshotter numbers its rows by keys that only it knows: those of removed snapshots may go, none may change.
            keys = {row.rsplit("\t", 1)[0] for row in now}
            kept = [row for row in lines if row.rsplit("\t", 1)[0] in keys and "\tsequence\t" not in row]
        lost = [row for row in kept if row not in now and "\tsequence\t" not in row]
        judge.say(bool(kept) and not lost, f"{len(kept)} untouched rows of {name} are byte-identical", "\n".join(lost[:20]))
