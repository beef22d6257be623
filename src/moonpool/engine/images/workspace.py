"""The image ``workspace``: the base image with a small project in /project/workspace, for Node and for Python."""

import hashlib
import json
from pathlib import Path

from moonpool.engine.images.model import Image, find_image, publish
from moonpool.engine.storage import Kind, Pool

WORKSPACE = "workspace"
FOLDER = "project/workspace"

PACKAGE = {
    "name": "workspace",
    "version": "1.0.0",
    "private": True,
    "scripts": {"start": "node index.js"},
}
TASKS = {"setupTasks": [], "tasks": {"start": {"name": "Start the server", "command": "npm start"}}}

NODE_SERVER = """\
const http = require("node:http");

const port = Number(process.env.PORT || 3000);

http
  .createServer((request, response) => {
    response.setHeader("content-type", "text/plain");
    response.end("Hello from Node\\n");
  })
  .listen(port, "0.0.0.0", () => console.log(`Listening on port ${port}`));
"""
PYTHON_SERVER = """\
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.end_headers()
        self.wfile.write(b"Hello from Python\\n")


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"Listening on port {port}", flush=True)
    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
"""
README = """\
# Workspace

    npm start           a server in JavaScript, on port 3000
    python3 main.py     a server in Python, on port 8000
"""
FILES = {
    ".codesandbox/tasks.json": json.dumps(TASKS, indent=2) + "\n",
    ".gitignore": "node_modules/\n__pycache__/\n.venv/\n",
    "README.md": README,
    "index.js": NODE_SERVER,
    "main.py": PYTHON_SERVER,
    "package.json": json.dumps(PACKAGE, indent=2) + "\n",
}


def ensure_workspace(pool: Pool, base: Image) -> Image:
    """Made from ``base`` where the pool has none of this one; a crash at any step leaves the old image or the new."""
    digest = hashlib.sha256(json.dumps([base.hash, FOLDER, FILES]).encode()).hexdigest()
    present = find_image(pool, WORKSPACE)
    if present is not None and present.hash == digest:
        return present
    pool.delete(Kind.STAGING, WORKSPACE)
    _fill(pool.snapshot(base.path, Kind.STAGING, WORKSPACE) / FOLDER)
    return publish(pool, WORKSPACE, WORKSPACE, digest)


def _fill(folder: Path) -> None:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
    for path in (folder.parent, folder, *(entry for entry in folder.rglob("*") if entry.is_dir())):
        path.chmod(0o755)
