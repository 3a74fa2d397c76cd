#!/usr/bin/env python3
"""Cuts the power of the disk under a real cortend and looks at what the next one finds.

Usage: power_loss.py [--rounds N] [--seed N]      needs root, /dev/fuse and a loop device; CORTEN_BUILD names the build directory.

The root lies on ext4 on a loop device on `lossy_disk`, which forgets, reorders and tears (512 bytes) what was not flushed. ext4 itself
flushes only when asked (commit=3600), so a rename or a row that nobody flushed is lost with the journal. Each round: clients import,
pull, tag and remove images, prepare, commit and remove snapshots, ingest, label and delete blobs, and collect garbage; at a seeded
write or flush the power goes. Then ext4 is repaired, and
  bbolt finds every database sound, and the daemon starts on them;
  every blob row has its file with the right bytes (I1, I3), every snapshot row its directories;
  what a client was told is done is done: nothing acknowledged is lost, nothing removed comes back;
  after a collection no blob file and no snapshot directory is there without a row (I4).
"""
import argparse
import hashlib
import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import scratch  # noqa: E402
from scratch import BUILD, TOP, check  # noqa: E402

DISK_BYTES = 512 << 20
MOST_SECONDS = 8  # of work in a round; if the power has not gone by then it goes


def run(*command, good=(0,)):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in good:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}: {(done.stdout + done.stderr).strip()[-400:]}")
    return done.stdout.strip()


class Disk:
    """ext4 at `at` on a disk whose power can be cut."""

    def __init__(self, directory):
        self.image, self.fuse, self.at = f"{directory}/image", f"{directory}/fuse", f"{directory}/mount"
        self.server, self.loop = None, None
        for path in (self.fuse, self.at):
            os.makedirs(path)
        with open(self.image, "wb") as f:
            f.truncate(DISK_BYTES)
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)

    def on(self):
        self.server = subprocess.Popen([f"{BUILD}/tests/crash/lossy_disk/lossy_disk", self.image, self.fuse, "-f"], stdin=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while not os.path.exists(f"{self.fuse}/control"):
            if time.monotonic() > end or self.server.poll() is not None:
                raise RuntimeError("lossy_disk does not serve")
            time.sleep(0.02)
        self.loop = run("losetup", "-f", "--show", f"{self.fuse}/disk")
        repaired = run("e2fsck", "-p", self.loop, good=(0, 1))
        run("mount", "-t", "ext4", "-o", "commit=3600", self.loop, self.at)
        return repaired

    def control(self, command):
        with open(f"{self.fuse}/control", "w", encoding="utf-8") as f:
            f.write(command)

    def status(self):
        with open(f"{self.fuse}/control", encoding="utf-8") as f:
            return f.read().split()

    def is_cut(self):
        return self.status()[3] == "cut"

    def off(self):
        """After a cut, or cleanly."""
        for step in (["umount", self.at], ["losetup", "-d", self.loop], ["fusermount3", "-u", self.fuse]):
            end = time.monotonic() + 20
            while None not in step and subprocess.run(step, capture_output=True, check=False).returncode != 0:
                if time.monotonic() > end:  # a mount that something holds must not stay for ever
                    subprocess.run([step[0], "-l" if step[0] == "umount" else "-z", *step[1:]], capture_output=True, check=False)
                    break
                time.sleep(0.1)
        if self.server is not None:
            try:
                self.server.wait(10)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
        self.server = self.loop = None


class Ledger:
    """What clients were told. A thing whose last change was not answered may be either way: it is unknown."""

    def __init__(self):
        self.lock = threading.Lock()
        self.things = {}  # (kind, name) -> True (is there), False (is gone), None (nobody knows)
        self.told = 0

    def change(self, kind, name, act, there):
        """Runs `act`, which answers whether it succeeded; afterwards the thing is `there` (or not), or unknown."""
        with self.lock:
            self.things[kind, name] = None
        if not act():
            return False
        with self.lock:
            self.things[kind, name] = there
            self.told += 1
        return True

    def set(self, kind, name, there):
        with self.lock:
            self.things[kind, name] = there

    def wrong(self, kind, present):
        with self.lock:
            mine = {name: there for (of, name), there in self.things.items() if of == kind}
        lost = [f"{kind} {name} was acknowledged and is lost" for name, there in mine.items() if there is True and name not in present]
        return lost + [f"{kind} {name} was removed and is back" for name, there in mine.items() if there is False and name in present]

    def settle(self, kind, present):
        """After a look, what was unknown is known; but a blob that is there without its label may yet be collected."""
        with self.lock:
            for of, name in list(self.things):
                if of != kind or self.things[of, name] is not None:
                    continue
                if kind == "blob":
                    del self.things[of, name]
                else:
                    self.things[of, name] = name in present


class Clients:
    """Three clients, each at its own kind of thing until the power goes."""

    def __init__(self, stage, ledger, seed, registry, images):
        self.stage, self.ledger, self.registry, self.images = stage, ledger, registry, images
        self.seed, self.stop = seed, threading.Event()
        self.serial = 0

    def good(self, *args, stdin=subprocess.DEVNULL):
        return self.stage.corten(*args, timeout=30, stdin=stdin).returncode == 0

    def image(self, chance, turn):
        archive, name = chance.choice([("many-gzip.tar", "corten.test/many-gzip:1"), ("busybox.tar", "corten.test/busybox:1")])
        pulled = f"{self.registry}/busybox:1"
        act = chance.randrange(5)
        if act < 2:
            self.ledger.change("image", name, lambda: self.good("import", f"{self.images}/{archive}"), True)
        elif act == 2:
            self.ledger.change("image", pulled, lambda: self.good("pull", "--plain-http", pulled), True)
        elif act == 3:
            name = chance.choice([name, pulled])
            self.ledger.change("image", name, lambda: self.good("images", "rm", "--sync", name), False)
        else:
            self.ledger.change("lease", f"lease-{turn}", lambda: self.good("leases", "create", "--id", f"lease-{turn}"), True)
            self.ledger.change("lease", f"lease-{turn}", lambda: self.good("leases", "rm", "--sync", f"lease-{turn}"), False)

    def snapshot(self, chance, turn):
        key, name = f"active-{turn}", f"committed-{turn}"
        with self.ledger.lock:
            parents = [n for (kind, n), there in self.ledger.things.items() if kind == "snapshot" and there and n.startswith("committed")]
        if parents and chance.randrange(3) == 0:  # refused if another was made on it
            gone = chance.choice(parents)
            self.ledger.change("snapshot", gone, lambda: self.good("snapshots", "rm", gone), False)
            parents.remove(gone)
        parent = [chance.choice(parents)] if parents and chance.randrange(2) else []
        if not self.ledger.change("snapshot", key, lambda: self.good("snapshots", "prepare", key, *parent), True):
            return
        if chance.randrange(3) > 0:
            self.ledger.set("snapshot", key, None)
            if self.ledger.change("snapshot", name, lambda: self.good("snapshots", "commit", name, key), True):
                self.ledger.set("snapshot", key, False)
        elif chance.randrange(2):
            self.ledger.change("snapshot", key, lambda: self.good("snapshots", "rm", key), False)

    def blob(self, chance, turn):
        path = f"{self.stage.dir}/blob-{turn}"
        data = chance.randbytes(chance.choice([10, 5000, 200000, 1500000]))
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with open(path, "wb") as f:
            f.write(data)
        with open(path, "rb") as f:
            ingested = self.good("content", "ingest", "--expected-digest", digest, f"ref-{turn}", stdin=f)
        os.unlink(path)
        # Until it has a label the collector may take it.
        if not ingested or not self.ledger.change("blob", digest, lambda: self.good("content", "label", digest, "containerd.io/gc.root=test"), True):
            return
        if chance.randrange(3) == 0:
            self.ledger.change("blob", digest, lambda: self.good("content", "rm", digest), False)

    def loop(self, act, number):
        chance, turn = random.Random(f"{self.seed}/{number}"), 0
        while not self.stop.is_set():
            turn += 1
            act(chance, f"{self.seed}-{turn}")

    def work(self, disk):
        threads = [threading.Thread(target=self.loop, args=(act, n)) for n, act in enumerate((self.image, self.snapshot, self.blob))]
        for thread in threads:
            thread.start()
        end = time.monotonic() + MOST_SECONDS
        while time.monotonic() < end and not disk.is_cut():
            time.sleep(0.02)
        if not disk.is_cut():
            disk.control(f"cut {self.seed}")
        self.stop.set()
        self.stage.kill()
        for thread in threads:
            thread.join()


def snapshot_rows(stage):
    """Kinds by key. The key of a layer under way has a blank in it, so columns are found by the header."""
    header, *lines = stage.corten("snapshots", "ls").stdout.splitlines() or [""]
    return {line[:header.find("PARENT")].rstrip(): line.split()[-1] for line in lines if line.strip()}


def wrong_blobs(stage, digests):
    wrong = []
    for digest in digests:
        try:
            with open(f"{stage.root}/io.containerd.content.v1.content/blobs/sha256/{digest.split(':')[1]}", "rb") as f:
                if hashlib.sha256(f.read()).hexdigest() != digest.split(":")[1]:
                    wrong.append(f"{digest}: wrong bytes")
        except OSError as error:
            if digest not in stage.corten("content", "ls", "-q").stdout:
                continue  # collected just now; what must not be is in the ledger
            wrong.append(f"{digest}: row without file: {error.strerror}")
    return wrong


def wrong_snapshots(stage, kinds):
    wrong = []
    for name, kind in kinds.items():
        # A committed one shows its directories through a view.
        key = name if kind != "Committed" else "probe"
        made = [] if key == name else [stage.corten("snapshots", "view", key, name)]
        done = stage.corten("snapshots", "mounts", "/mnt", key)
        words = done.stdout.replace(",", " ").replace(":", " ").replace("=", " ").split()
        places = [word for word in words if word.startswith(stage.root)]
        wrong += [f"snapshot {name}: row without directory {place}" for place in places if not os.path.isdir(place)]
        if done.returncode != 0 and name not in snapshot_rows(stage):
            continue  # collected just now; what must not be is in the ledger
        if done.returncode != 0 or not places:
            wrong.append(f"snapshot {name}: no mounts: {[m.stderr.strip()[-200:] for m in [*made, done]]}")
        if made:
            stage.corten("snapshots", "rm", key)
    return wrong


def look(stage, ledger):
    """What is wrong on the disk and in the rows of the running daemon."""
    kinds = snapshot_rows(stage)
    present = {"image": set(stage.corten("images", "-q").stdout.split()), "blob": set(stage.corten("content", "ls", "-q").stdout.split()),
               "snapshot": set(kinds), "lease": set(stage.corten("leases", "ls", "-q").stdout.split())}
    wrong = wrong_blobs(stage, present["blob"]) + wrong_snapshots(stage, kinds)
    for kind, names in present.items():
        wrong += ledger.wrong(kind, names)
        ledger.settle(kind, names)
    for image in present["image"]:
        if "complete" not in stage.corten("images", "check", f"name=={image}").stdout:
            wrong.append(f"image {image}: named, but not complete")
    return wrong


def litter(stage, ledger):
    """Files without rows, after a collection. Takes the leases too."""
    if not stage.drop_leases():
        return ["the collection fails"]
    for kind, name in list(ledger.things):
        if kind == "lease":
            ledger.set(kind, name, False)
    blobs = set(stage.corten("content", "ls", "-q").stdout.split())
    content = f"{stage.root}/io.containerd.content.v1.content/blobs/sha256"
    files = {f"sha256:{name}" for name in (os.listdir(content) if os.path.isdir(content) else [])}
    trees = f"{stage.root}/io.containerd.snapshotter.v1.overlayfs/snapshots"
    directories = os.listdir(trees) if os.path.isdir(trees) else []
    snapshots = snapshot_rows(stage)
    wrong = [f"blob file without row: {name}" for name in files - blobs]
    if len(directories) != len(snapshots):
        wrong.append(f"{len(directories)} snapshot directories for {len(snapshots)} rows")
    return wrong


class Play:
    def __init__(self, disk, stage, registry, images, chance):
        self.disk, self.stage, self.registry, self.images, self.chance = disk, stage, registry, images, chance
        self.ledger, self.operations = Ledger(), 800

    def round(self, turn):
        seed = self.chance.randrange(1 << 32)
        # Now and then while the daemon starts.
        at = self.chance.randrange(1, 60) if turn % 5 == 4 else self.chance.randrange(60, self.operations)
        begun = int(self.disk.status()[0]) + int(self.disk.status()[1])
        self.disk.control(f"arm {at} {seed}")
        told = self.ledger.told
        if self.stage.start(seconds=30):
            Clients(self.stage, self.ledger, seed, self.registry, self.images).work(self.disk)
        else:
            self.stage.kill()
        done = int(self.disk.status()[0]) + int(self.disk.status()[1]) - begun
        unflushed = self.disk.status()[2]
        # Where rounds come to their end before the power goes, it must go earlier.
        self.operations = max(100, done) if done < at - 1 else min(3000, self.operations + 200)
        if not self.disk.is_cut():
            self.disk.control(f"cut {seed}")
        self.disk.off()
        name = f"round {turn}: power gone after {done} operations, {unflushed} writes unflushed, {self.ledger.told - told} answers given"
        try:
            self.disk.on()
        except RuntimeError as error:
            check(False, name, f"the file system does not come back: {error}")
            return False
        wrong = [f"bbolt: {problem}" for problem in self.stage.bbolt_problems()]
        if not self.stage.start():
            return check(False, name, "; ".join([*wrong, "the daemon does not start"]))
        wrong += look(self.stage, self.ledger)
        wrong += litter(self.stage, self.ledger)
        wrong += look(self.stage, self.ledger)
        if self.stage.stop() != 0:
            wrong.append("SIGTERM does not end the daemon")
        return check(not wrong, name, "; ".join(wrong[:6]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100 if os.environ.get("LONG") else 6)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    began = time.monotonic()
    print(f"seed {chosen.seed}, {chosen.rounds} rounds", flush=True)
    images = scratch.test_images()
    stage = scratch.Scratch("power")
    disk = Disk(stage.dir)
    stage.root = f"{disk.at}/root"
    registry = [f"{TOP}/tests/peers/registry.sh"]
    play = None
    try:
        address = subprocess.run([*registry, "start", f"{stage.dir}/registry", f"{images}/layout/busybox"], capture_output=True, text=True,
                                 check=True).stdout.strip()
        disk.on()
        play = Play(disk, stage, address, images, random.Random(chosen.seed))
        for turn in range(1, chosen.rounds + 1):
            if not play.round(turn):
                break  # what comes after would only repeat it
        check(play.ledger.told > 0, f"{play.ledger.told} answers were kept", "none was given")
    finally:
        subprocess.run([*registry, "stop", f"{stage.dir}/registry"], check=False)
        if stage.alive():
            stage.kill()
        disk.off()
        stage.close()
    print(f"took {time.monotonic() - began:.0f} s", flush=True)
    print("done", flush=True)
    sys.exit(scratch.failures != 0)


main()
