"""Writes OCI layouts and archives byte for byte the same on every run, with Python's standard library alone.

A `Layer` collects tar entries; a `Layout` is a directory in the OCI image-layout form to which blobs are added by content.
zstd blobs need the `zstd` command.
"""
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import zlib

EPOCH = 1700000000  # every time stamp that nobody chose otherwise
CREATED = "2023-11-14T22:13:20Z"  # the same moment, as configs spell it

MEDIA = {
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "index": "application/vnd.oci.image.index.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}


def digest_file(path):
    sha = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            sha.update(block)
    return "sha256:" + sha.hexdigest()


def compress_gzip(source, target, level=6):
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)  # 31: gzip header, whose time field zlib leaves at 0
    with open(source, "rb") as f, open(target, "wb") as out:
        while block := f.read(1 << 20):
            out.write(packer.compress(block))
        out.write(packer.flush())


def compress_zstd(source, target, level=3):
    subprocess.run(["zstd", f"-{level}", "-q", "-f", "--single-thread", "-o", target, source], check=True)


class Layer:
    """Tar entries of one layer, written in the order of the calls. `media`: "", "gzip" or "zstd"."""

    def __init__(self, scratch, media="gzip", fmt=tarfile.PAX_FORMAT):
        self.media = media
        self.path = os.path.join(scratch, f"layer-{os.urandom(6).hex()}.tar")
        self._tar = tarfile.open(self.path, "w", format=fmt)

    def _add(self, name, kind, mode, data=None, **more):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime = kind, mode, EPOCH
        for key, value in more.items():
            setattr(info, key, value)
        if data is not None:
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))
        else:
            self._tar.addfile(info)
        return self

    def dir(self, name, mode=0o755, **more):
        return self._add(name.rstrip("/"), tarfile.DIRTYPE, mode, **more)

    def file(self, name, data=b"", mode=0o644, **more):
        return self._add(name, tarfile.REGTYPE, mode, data.encode() if isinstance(data, str) else data, **more)

    def symlink(self, name, target, **more):
        return self._add(name, tarfile.SYMTYPE, 0o777, linkname=target, **more)

    def link(self, name, target, **more):
        return self._add(name, tarfile.LNKTYPE, 0o644, linkname=target, **more)

    def char(self, name, major, minor, mode=0o666):
        return self._add(name, tarfile.CHRTYPE, mode, devmajor=major, devminor=minor)

    def block(self, name, major, minor, mode=0o660):
        return self._add(name, tarfile.BLKTYPE, mode, devmajor=major, devminor=minor)

    def fifo(self, name, mode=0o644):
        return self._add(name, tarfile.FIFOTYPE, mode)

    def zeros(self, name, size):
        """A file of `size` zero bytes, streamed, for bombs."""
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o644, EPOCH

        class Zeros:
            @staticmethod
            def read(n=-1):
                return bytes(n)

        self._tar.addfile(info, Zeros())
        return self

    def close(self):
        self._tar.close()
        return self.path


class Layout:
    """An OCI layout directory. Blobs are addressed by what they contain."""

    def __init__(self, path):
        self.path = path
        self.index = []
        os.makedirs(os.path.join(path, "blobs", "sha256"))

    def blob_path(self, digest):
        return os.path.join(self.path, "blobs", *digest.split(":"))

    def add_bytes(self, data, media_type):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with open(self.blob_path(digest), "wb") as f:
            f.write(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def add_json(self, value, media_type):
        return self.add_bytes(json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), media_type)

    def add_layer(self, layer):
        """Compresses and adds a layer; returns its descriptor and diff id. The layer's scratch file is removed."""
        tar = layer.close()
        diff_id = digest_file(tar)
        packed = tar
        if layer.media:
            packed = tar + "." + layer.media
            (compress_gzip if layer.media == "gzip" else compress_zstd)(tar, packed)
            os.unlink(tar)
        digest = digest_file(packed)
        size = os.path.getsize(packed)
        os.chmod(packed, 0o644)
        shutil.move(packed, self.blob_path(digest))
        return {"mediaType": MEDIA[layer.media], "digest": digest, "size": size}, diff_id

    def add_image(self, layers, config=None, platform=None):
        """Adds config and manifest over (descriptor, diff id) pairs; returns the manifest's descriptor."""
        platform = platform or {"architecture": "amd64", "os": "linux"}
        document = {
            "created": CREATED,
            **platform,
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]},
            "history": [{"created": CREATED, "created_by": f"layer {i}"} for i in range(len(layers))],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MEDIA["manifest"],
            "config": self.add_json(document, MEDIA["config"]),
            "layers": [descriptor for descriptor, _ in layers],
        }
        return self.add_json(manifest, MEDIA["manifest"])

    def add_index(self, entries):
        return self.add_json({"schemaVersion": 2, "mediaType": MEDIA["index"], "manifests": entries}, MEDIA["index"])

    def name(self, descriptor, reference):
        """Lists a manifest or index under its full reference."""
        self.index.append({**descriptor, "annotations": {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference.rsplit(":", 1)[1],
        }})

    def close(self):
        with open(os.path.join(self.path, "oci-layout"), "w") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')
        with open(os.path.join(self.path, "index.json"), "w") as f:
            json.dump({"schemaVersion": 2, "mediaType": MEDIA["index"], "manifests": self.index}, f, sort_keys=True)
        return self.path


def _plain(info):
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = EPOCH
    return info


def archive(layout_dir, target):
    """Packs a layout directory into a tar, entries in sorted order."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for top, dirs, files in os.walk(layout_dir):
            dirs.sort()
            for name in sorted(files):
                path = os.path.join(top, name)
                tar.add(path, os.path.relpath(path, layout_dir), recursive=False, filter=_plain)


def docker_archive(layout_dir, target, tags):
    """Packs a layout's first image in the form of `docker save`: manifest.json, the config, uncompressed layers."""
    def blob(digest):
        with open(os.path.join(layout_dir, "blobs", *digest.split(":")), "rb") as f:
            return f.read()

    with open(os.path.join(layout_dir, "index.json"), encoding="utf-8") as f:
        manifest = json.loads(blob(json.load(f)["manifests"][0]["digest"]))
    config = manifest["config"]["digest"].split(":")[1] + ".json"
    layers = []
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        def put(name, data):
            info = _plain(tarfile.TarInfo(name))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        for descriptor in manifest["layers"]:
            data = blob(descriptor["digest"])
            if descriptor["mediaType"].endswith("+gzip"):
                data = zlib.decompress(data, 31)
            name = hashlib.sha256(data).hexdigest() + "/layer.tar"
            layers.append(name)
            put(name, data)
        put(config, blob(manifest["config"]["digest"]))
        put("manifest.json", json.dumps([{"Config": config, "RepoTags": tags, "Layers": layers}]).encode())
