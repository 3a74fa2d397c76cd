"""Archives that a daemon must refuse with a clear error, or unpack without touching anything outside the root.

Each is made from a sound one-layer image by one act of damage, so nothing else can be the reason it is refused.
"""
import json
import os
import shutil

import oci


def _image(out, scratch, name, layer, tweak_diff=None):
    """A sound image of one layer, its layout directory and the layer's descriptor."""
    layout = oci.Layout(os.path.join(scratch, "layout-" + name))
    descriptor, diff_id = layout.add_layer(layer)
    target = layout.add_image([(descriptor, tweak_diff or diff_id)], {"Cmd": ["sh"]})
    layout.name(target, f"corten.test/broken-{name}:1")
    layout.close()
    return layout, descriptor, target


def _plain_layer(scratch):
    return oci.Layer(scratch).dir("etc").file("etc/file", "sound\n" * 4000)


def _damage(path, edit):
    with open(path, "rb") as f:
        data = bytearray(f.read())
    data = edit(data)
    with open(path, "wb") as f:
        f.write(data)


def _flip(data):
    data[len(data) // 2] ^= 0xFF
    return data


def make(out, scratch):
    """Writes out/broken/*.tar. Returns {name: {"reference", "why", "escapes": bool}}."""
    target_dir = os.path.join(out, "broken")
    os.makedirs(target_dir)
    facts = {}

    def finish(name, layout, why, escapes=False):
        oci.archive(layout.path, os.path.join(target_dir, name + ".tar"))
        shutil.rmtree(layout.path)
        facts[name] = {"reference": f"corten.test/broken-{name}:1", "why": why, "escapes": escapes}

    layout, layer, _ = _image(out, scratch, "corrupt-layer", _plain_layer(scratch))
    _damage(layout.blob_path(layer["digest"]), _flip)
    finish("corrupt-layer", layout, "a byte of the layer blob is not what its digest says")

    layout, layer, _ = _image(out, scratch, "truncated-blob", _plain_layer(scratch))
    _damage(layout.blob_path(layer["digest"]), lambda data: data[:len(data) // 2])
    finish("truncated-blob", layout, "the layer blob ends half way")

    layout, layer, target = _image(out, scratch, "missing-blob", _plain_layer(scratch))
    os.unlink(layout.blob_path(layer["digest"]))
    finish("missing-blob", layout, "the manifest names a blob that is not in the archive")

    layout, _, target = _image(out, scratch, "wrong-size", _plain_layer(scratch))
    layout.index[0]["size"] += 1
    layout.close()
    finish("wrong-size", layout, "the index gives the manifest one byte more than it has")

    layout, _, target = _image(out, scratch, "bad-manifest", _plain_layer(scratch))
    bad = layout.add_bytes(b'{"schemaVersion": 2, "layers": [', oci.MEDIA["manifest"])
    layout.index[0].update(bad)
    layout.close()
    finish("bad-manifest", layout, "the manifest is not JSON")

    layout, _, _ = _image(out, scratch, "wrong-diff-id", _plain_layer(scratch), "sha256:" + "0" * 64)
    finish("wrong-diff-id", layout, "the unpacked layer is not what the config's diff id says")

    layer = _plain_layer(scratch)
    layout, descriptor, _ = _image(out, scratch, "bad-gzip", layer)
    with open(layout.blob_path(descriptor["digest"]), "rb") as f:
        data = _flip(bytearray(f.read()))
    _replace_layer(layout, "bad-gzip", bytes(data))
    finish("bad-gzip", layout, "the layer's gzip stream is damaged though its digest is right")

    layout, descriptor, _ = _image(out, scratch, "short-gzip", _plain_layer(scratch))
    with open(layout.blob_path(descriptor["digest"]), "rb") as f:
        data = f.read()
    _replace_layer(layout, "short-gzip", data[:len(data) * 2 // 3])
    finish("short-gzip", layout, "the layer's gzip stream stops early though its digest is right")

    layout, _, _ = _image(out, scratch, "not-tar", _plain_layer(scratch))
    junk = os.path.join(scratch, "junk")
    with open(junk, "wb") as f:
        f.write(b"this is no tar header " * 512)
    oci.compress_gzip(junk, junk + ".gz")
    with open(junk + ".gz", "rb") as f:
        _replace_layer(layout, "not-tar", f.read())
    finish("not-tar", layout, "the layer is sound gzip but no tar")

    for name, build, why in _escapes():
        layout, _, _ = _image(out, scratch, name, build(oci.Layer(scratch).dir("etc").file("etc/sound", "sound\n")))
        finish(name, layout, why, escapes=True)

    layout, _, _ = _image(out, scratch, "gzip-bomb", oci.Layer(scratch).zeros("bomb", 512 << 20))
    finish("gzip-bomb", layout, "half a MiB of gzip that becomes 512 MiB")
    return facts


def _replace_layer(layout, name, data):
    """Points the image at other layer bytes, with right digests all the way."""
    with open(layout.blob_path(layout.index[0]["digest"]), encoding="utf-8") as f:
        manifest = json.load(f)
    manifest["layers"] = [layout.add_bytes(data, oci.MEDIA["gzip"])]
    layout.index = []
    layout.name(layout.add_json(manifest, oci.MEDIA["manifest"]), f"corten.test/broken-{name}:1")
    layout.close()


def _escapes():
    """(name, what is added to the layer, why). /corten-escape is what must not appear on the host."""
    return [
        ("dotdot", lambda l: l.file("../corten-escape", "out").file("etc/../../../corten-escape", "out"),
         "entry names climb out with `..`"),
        ("dotdot-dir", lambda l: l.dir("../../corten-escape-dir").file("../../corten-escape-dir/f", "out"),
         "a directory entry climbs out"),
        ("absolute-link", lambda l: l.symlink("out", "/").file("out/corten-escape", "out"),
         "a file is written through an absolute symbolic link to /"),
        ("relative-link", lambda l: l.symlink("out", "../../../../../../..").file("out/corten-escape", "out"),
         "a file is written through a relative symbolic link that climbs"),
        ("link-chain", lambda l: l.dir("a").symlink("a/b", "../c").symlink("c", "/").file("a/b/corten-escape", "out"),
         "a file is written through two links in a row"),
        ("hardlink-out", lambda l: l.link("passwd", "/etc/passwd").link("shadow", "../../../../../../etc/shadow"),
         "hard links name files outside the root"),
        ("hardlink-through-link", lambda l: l.symlink("out", "/etc").link("stolen", "out/passwd"),
         "a hard link's target goes through a link out of the root"),
        ("whiteout-out", lambda l: l.symlink("out", "/").file("out/.wh.corten-victim").file("../.wh.corten-victim"),
         "whiteouts name things outside the root"),
        ("opaque-out", lambda l: l.symlink("out", "/corten-victim-dir").file("out/.wh..wh..opq"),
         "an opaque marker lies behind a link out of the root"),
        ("whiteout-dotdot", lambda l: l.file(".wh...").file("etc/.wh..").file("etc/.wh."),
         "whiteouts whose names are `..`, `.` and nothing"),
        ("device-dir", lambda l: l.symlink("dev", "/dev").char("dev/corten-escape", 1, 3),
         "a device is made through a link out of the root"),
        ("xattr-out", lambda l: l.symlink("out", "/etc/passwd").file(
            "out", "", pax_headers={"SCHILY.xattr.user.corten-escape": "1"}),
         "an attribute is set through a link out of the root"),
    ]
