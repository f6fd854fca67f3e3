"""The real gateway on this machine: Debian's nginx with the configuration that is shipped (deploy/gateway)."""

import os
from pathlib import Path

import httpx

from llegada_dev.cluster import ROOT
from llegada_dev.infrastructure import say
from llegada_dev.packages import install
from llegada_dev.server import ServerProcess

_NGINX = Path("/usr/sbin/nginx")
TEMPLATE = ROOT / "deploy/gateway/llegada.conf.template"
_MAIN = """\
daemon off;
{user}
worker_processes 2;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/llegada.conf;
}}
"""


def filled(values: dict[str, str]) -> str:
    """The template as `envsubst` fills it: names in braces only, nginx's own variables have none."""
    content = TEMPLATE.read_text()
    for name, value in values.items():
        content = content.replace(f"${{{name}}}", value)
    return content


class Gateway:
    """`url` for everybody, `maintenance` for operators; both on loopback."""

    def __init__(self, folder: Path, port: int, api_port: int, frontend: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.maintenance = f"http://127.0.0.1:{port + 1}"
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        # Workers of a root's nginx would be another user, who may not enter this folder.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))
        values = {
            "LLEGADA_API": f"127.0.0.1:{api_port}",
            "LISTEN": f"127.0.0.1:{port}",
            "SERVER_NAME": "_",
            "FRONTEND_ORIGIN": frontend,
            "GATEWAY_FOLDER": str(folder),
            "MAINTENANCE_LISTEN": f"127.0.0.1:{port + 1}",
            "MAINTENANCE_ALLOW": "127.0.0.1",
        }
        (folder / "llegada.conf").write_text(filled(values))
        command = [str(_NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        self._server = ServerProcess("nginx", command, {}, folder / "nginx.log", self._ready)

    @property
    def pid(self) -> int:
        return self._server.pid

    def start(self) -> None:
        self._server.start(20)

    def stop(self) -> None:
        self._server.stop(10)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/", timeout=2, trust_env=False).status_code == httpx.codes.NOT_FOUND
        except httpx.HTTPError:
            return False


def available() -> bool:
    """There, or installed now; a line says so, or what is missing."""
    if _NGINX.exists():
        return True
    say("gateway: installing the package nginx-light …")
    if install(["nginx-light"]):
        return True
    say("gateway: none. nginx is not installed and cannot be here; the API is reached directly")
    return False
