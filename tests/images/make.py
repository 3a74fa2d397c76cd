#!/usr/bin/env python3
"""Makes the test images. Usage: make.py OUT demo|small|bench      (make.sh calls it and keeps the results)

OUT gets one OCI archive per image (NAME.tar), busybox.docker.tar, the layout directories (layout/NAME, for pushing to a
registry), broken/NAME.tar, and images.json: for each good image its reference, manifest digest, layers and diff ids.
Everything is made from Debian's busybox-static and from generated text; nothing is downloaded.
"""
import json
import os
import random
import sys
import tarfile
import tempfile

import broken
import oci

BUSYBOX = "/bin/busybox"
PREFIX = "corten.test/"


def busybox_layer(scratch, media="gzip"):
    with open(BUSYBOX, "rb") as f:
        binary = f.read()
    applets = os.popen(f"{BUSYBOX} --list").read().split()
    layer = oci.Layer(scratch, media)
    for name in ("bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "var"):
        layer.dir(name)
    layer.dir("root", 0o700).dir("tmp", 0o1777)
    layer.dir("home/worker", 0o755, uid=1000, gid=1000)
    layer.file("bin/busybox", binary, 0o755)
    for applet in sorted(set(applets) - {"busybox"}):
        layer.symlink("bin/" + applet, "busybox")
    layer.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1000::/home/worker:/bin/sh\n"
               "nobody:x:65534:65534::/:/bin/false\n")
    layer.file("etc/group", "root:x:0:\nworker:x:1000:\naudio:x:29:worker\nvideo:x:44:worker\nnogroup:x:65534:\n")
    layer.file("etc/hostname", "corten\n")
    return layer


BUSYBOX_CONFIG = {
    "Env": ["PATH=/bin:/usr/bin", "CORTEN_TEST=1"],
    "Cmd": ["sh"],
    "Labels": {"org.corten.test": "busybox"},
    "StopSignal": "SIGKILL",
}


def busybox(layout, scratch):
    return layout.add_image([layout.add_layer(busybox_layer(scratch))], BUSYBOX_CONFIG)


def odd(layout, scratch):
    """Everything a layer may hold that a plain file is not; the second and third layer take things away again."""
    first = busybox_layer(scratch)
    first.dir("gone").file("gone/file", "x").file("gone/stays", "y").dir("removed-dir").file("removed-dir/in", "z")
    first.dir("opaque").file("opaque/old1", "1").file("opaque/old2", "2").dir("opaque/sub").file("opaque/sub/old", "3")
    first.dir("links").file("links/a", "linked\n").link("links/b", "links/a").symlink("links/abs", "/etc/passwd")
    first.symlink("links/rel", "../etc/group").symlink("links/dangling", "nowhere").symlink("links/up", "../../../etc/hostname")
    first.file("swap-file", "was a file").dir("swap-dir").file("swap-dir/in", "x").symlink("swap-link", "etc")
    first.file("chmod-me", "mode changes later", 0o600)
    first.dir("modes").file("modes/setuid", "u", 0o4755).file("modes/setgid", "g", 0o2755).dir("modes/sticky", 0o1777)
    first.file("modes/none", "n", 0o000).dir("modes/setgid-dir", 0o2775, gid=29)
    first.dir("dev-test").char("dev-test/null", 1, 3).block("dev-test/loop", 7, 200).fifo("dev-test/fifo")
    first.file("empty")

    second = oci.Layer(scratch, "zstd")
    second.dir("gone").file("gone/.wh.file").file(".wh.removed-dir")
    second.dir("opaque").file("opaque/.wh..wh..opq").file("opaque/new", "n")
    second.file(".wh.swap-file").dir("swap-file").file("swap-file/now-a-dir", "d")
    second.file("swap-dir", "now a file").dir("swap-link").file("swap-link/now-a-dir", "d")
    second.file("links/a", "linked again\n").link("links/c", "links/a").file("chmod-me", "mode changes later", 0o755)
    second.file(".wh.never-there").file(".wh..wh.aufs").dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2")

    third = oci.Layer(scratch, "")
    deep = "/".join(["deep-directory-name-number-%02d" % i for i in range(12)])
    parts = deep.split("/")
    for i in range(1, len(parts) + 1):
        third.dir("/".join(parts[:i]))
    third.file(deep + "/leaf", "a path of more than 256 bytes").file("n" * 255, "the longest name")
    third.file("unicode-ä-漢-🦀", "names are bytes").file("space and\ttab", "s").file("new\nline", "n")
    third.dir("xattr").file("xattr/user", "x", pax_headers={"SCHILY.xattr.user.corten": "value"})
    third.file("xattr/caps", "x", 0o755, pax_headers={
        "SCHILY.xattr.security.capability": b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".decode()})
    third.file("owner-big", "o", uid=3000000, gid=2000001).file("owner-user", "o", uid=1000, gid=1000)
    third.file("time-ns", "t", mtime=1234567890.123456).file("time-old", "t", mtime=0)
    third.file("./dot-slash", "d").file("/leading-slash", "a root-relative name stays in the root")

    fourth = oci.Layer(scratch, "gzip", tarfile.GNU_FORMAT)
    fourth.dir("gnu").file("gnu/" + "g" * 200, "GNU long name").symlink("gnu/" + "s" * 120, "t" * 180)
    fourth.link("gnu/hard", "gnu/" + "g" * 200)
    return layout.add_image([layout.add_layer(each) for each in (first, second, third, fourth)],
                            {"Cmd": ["sh"], "Env": ["PATH=/bin"], "User": "worker", "WorkingDir": "/home/worker"})


def multi(layout, scratch):
    """One index, three platforms; only amd64 has a program that runs here."""
    entries = []
    base = layout.add_layer(busybox_layer(scratch))
    for platform in ({"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux", "variant": "v8"},
                     {"architecture": "arm", "os": "linux", "variant": "v7"}):
        name = "/".join(platform[k] for k in ("os", "architecture", "variant") if k in platform)
        own = layout.add_layer(oci.Layer(scratch).dir("etc").file("etc/platform", name + "\n"))
        layers = [base, own] if platform["architecture"] == "amd64" else [own]
        entries.append({**layout.add_image(layers, {"Cmd": ["cat", "/etc/platform"]}, platform), "platform": platform})
    return layout.add_index(entries)


class Text:
    """Deterministic file contents that compress about as well as the files of a distribution."""

    def __init__(self, seed, size):
        self.random = random.Random(seed)
        words = ["".join(self.random.choices("etaoinshrdlucmfwypvbgkjqxz", k=self.random.randint(2, 11))) for _ in range(1500)]
        self.pool = " ".join(self.random.choices(words, [1 / rank for rank in range(1, 1501)], k=size // 6)).encode()
        self.noise = self.random.randbytes(size // 8)

    def piece(self, size):
        part = size * 19 // 20
        start = self.random.randrange(max(1, len(self.pool) - part))
        begin = self.random.randrange(max(1, len(self.noise) - (size - part)))
        return self.pool[start:start + part] + self.noise[begin:begin + size - part]


def many(media, layers, entries, total):
    """`entries` directories, files and links over `layers` layers, about `total` bytes of file contents in all."""
    def build(layout, scratch):
        text = Text(20231114, min(total, 48 << 20))
        done = [layout.add_layer(busybox_layer(scratch, media))]
        per_layer = entries // (layers - 1)
        mean = total // ((layers - 1) * per_layer * 9 // 10)
        for number in range(1, layers):
            layer = oci.Layer(scratch, media)
            top = f"usr/share/part{number}"
            for path in ("usr", "usr/share", top):
                layer.dir(path)
            where, last = top, None
            for i in range(per_layer):
                if i % 20 == 0:
                    where = f"{top}/d{i // 200}" if i % 200 == 0 else f"{top}/d{i // 200}/s{i // 20 % 10}"
                    layer.dir(where)
                elif i % 50 == 7 and last:
                    layer.symlink(f"{where}/l{i}", os.path.basename(last))
                elif i % 100 == 13 and last:
                    layer.link(f"{where}/h{i}", last)
                else:
                    last = f"{where}/f{i}"
                    size = min(int(text.random.lognormvariate(0, 1.2) / 2.054 * mean), 64 * mean)
                    layer.file(last, text.piece(size), 0o755 if i % 9 == 0 else 0o644)
            done.append(layout.add_layer(layer))
        return layout.add_image(done, BUSYBOX_CONFIG)
    return build


def big(layout, scratch):
    text = Text(1, 48 << 20)
    data = b"".join(text.piece(16 << 20) for _ in range(16))
    return layout.add_image([layout.add_layer(oci.Layer(scratch).file("big", data))], BUSYBOX_CONFIG)


SHAPES = {
    "demo": {"busybox": busybox},
    "small": {
        "busybox": busybox, "odd": odd, "multi": multi,
        "many-gzip": many("gzip", 10, 1500, 12 << 20), "many-zstd": many("zstd", 10, 1500, 12 << 20),
    },
    "bench": {
        "busybox": busybox, "big": big,
        "many-gzip": many("gzip", 10, 24300, 552 << 20), "many-zstd": many("zstd", 10, 24300, 552 << 20),
    },
}


def describe(layout, reference, target):
    """The facts of an image that tests compare with, read back from the layout."""
    def load(digest):
        with open(layout.blob_path(digest), encoding="utf-8") as f:
            return json.load(f)

    fact = {"reference": reference, "target": target, "manifests": []}
    document = load(target["digest"])
    for descriptor in document.get("manifests", [target]):
        manifest = load(descriptor["digest"])
        config = load(manifest["config"]["digest"])
        fact["manifests"].append({"digest": descriptor["digest"], "config": manifest["config"]["digest"],
                                  "platform": {k: config[k] for k in ("os", "architecture", "variant") if k in config},
                                  "layers": manifest["layers"], "diff_ids": config["rootfs"]["diff_ids"]})
    return fact


def main():
    out, shape = sys.argv[1:]
    facts = {}
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        for name, build in SHAPES[shape].items():
            layout = oci.Layout(os.path.join(out, "layout", name))
            reference = f"{PREFIX}{name}:1"
            target = build(layout, scratch)
            layout.name(target, reference)
            layout.close()
            facts[name] = describe(layout, reference, target)
            oci.archive(layout.path, os.path.join(out, name + ".tar"))
        oci.docker_archive(os.path.join(out, "layout", "busybox"), os.path.join(out, "busybox.docker.tar"),
                           [PREFIX + "busybox:docker"])
        if shape == "small":
            facts["broken"] = broken.make(out, scratch)
    with open(os.path.join(out, "images.json"), "w", encoding="utf-8") as f:
        json.dump(facts, f, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
