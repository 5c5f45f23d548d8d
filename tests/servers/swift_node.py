# ruff: noqa: E402
# mypy: disable-error-code="import-not-found"
"""A whole Swift cluster with its S3 interface in one process. Run by the Python that has Swift, not by the tests' own.

``python swift_node.py FOLDER PORT ACCESS_KEY SECRET_KEY``: keeps everything in FOLDER, whose file system must have
extended attributes, and serves S3 on 127.0.0.1:PORT. The access key has the form ``account:user``.
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from swift.common import utils

FOLDER = Path(sys.argv[1])
# Swift reads this file while its modules are imported, and has no other way to be told where it is.
utils.SWIFT_CONF_FILE = str(FOLDER / "swift.conf")
(FOLDER / "swift.conf").write_text(
    "[swift-hash]\nswift_hash_path_suffix = winnow\n[storage-policy:0]\nname = single\ndefault = yes\n"
)
utils.monkey_patch()

import eventlet
import eventlet.hubs
import eventlet.wsgi
from swift.common.http_protocol import SwiftHttpProtocol
from swift.common.ring import RingBuilder
from swift.common.wsgi import loadapp

# The timeouts are long because the machine that tests run on may be slow; no test is about them.
COMMON = """[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
user = {user}
log_level = WARNING
recon_cache_path = {folder}/recon
node_timeout = 60
conn_timeout = 10
container_update_timeout = 60
"""
STORAGE = """[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY = """[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
recoverable_node_timeout = 60
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""


def serve(kind: str, pipeline: str, listener: eventlet.greenio.GreenSocket) -> eventlet.greenthread.GreenThread:
    """Serve one of the four parts on ``listener``, from a green thread."""
    path = FOLDER / f"{kind}.conf"
    path.write_text(COMMON.format(folder=FOLDER, user=getpass.getuser()) + pipeline)
    return eventlet.spawn(
        eventlet.wsgi.server,
        listener,
        loadapp(str(path), global_conf={"log_name": kind}),
        utils.NullLogger(),
        protocol=SwiftHttpProtocol,
        capitalize_response_headers=False,  # S3 clients look for "ETag", which this would turn into "Etag"
    )


def make_ring(kind: str, port: int) -> None:
    """Write the map that says where things lie: everything on the one device, whose port is new at each start."""
    ring = RingBuilder(6, 1, 0)
    ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1})
    ring.rebalance(seed=0)
    ring.get_ring().save(str(FOLDER / f"{kind}.ring.gz"))


def main() -> None:
    port, access_key, secret_key = int(sys.argv[2]), sys.argv[3], sys.argv[4]
    eventlet.hubs.use_hub(utils.get_hub())
    for name in ("devices/disk", "recon"):
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
    listeners = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in ("account", "container", "object")}
    for kind, listener in listeners.items():
        make_ring(kind, listener.getsockname()[1])
    servers = [serve(kind, STORAGE.format(kind=kind), listener) for kind, listener in listeners.items()]
    proxy = PROXY.format(user=access_key.replace(":", "_"), secret=secret_key)
    servers.append(serve("proxy", proxy, eventlet.listen(("127.0.0.1", port))))
    for server in servers:
        server.wait()


if __name__ == "__main__":
    main()
