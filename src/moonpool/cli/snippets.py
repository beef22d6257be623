"""The first lines of code for each SDK, as `moonpool up` prints them: ready to paste into a shell."""

import shutil
import sys
from pathlib import Path

from moonpool.cli.client import Target

DAYTONA = """# Daytona SDK
export DAYTONA_API_URL={url}/api DAYTONA_API_KEY={key}
{uv} run --no-project --with daytona==0.226.1 python - <<'PYTHON'
from daytona import Daytona

sandbox = Daytona().create()
print(sandbox.process.exec("echo hi").result)
sandbox.delete()
PYTHON
"""

WRENN = """# Wrenn SDK, which needs Python 3.13
export WRENN_BASE_URL={url} WRENN_API_KEY={key}
{uv} run --no-project --python 3.13 --with wrenn==0.2.0 python - <<'PYTHON'
from wrenn import Capsule

with Capsule(wait=True) as capsule:
    print(capsule.commands.run("echo hi").stdout)
PYTHON
"""

CODESANDBOX = """# CodeSandbox SDK, which needs Node 20
export CSB_BASE_URL={url} CSB_API_KEY={key}
npm install --silent @codesandbox/sdk@2.4.2
node --input-type=module - <<'JAVASCRIPT'
import {{ CodeSandbox }} from "@codesandbox/sdk";

const sdk = new CodeSandbox();
const sandbox = await sdk.sandboxes.create();
const client = await sandbox.connect();
console.log(await client.commands.run("echo hi"));
await sdk.sandboxes.delete(sandbox.id);
process.exit();
JAVASCRIPT
"""

FREESTYLE = """# Freestyle SDK, which needs Node 20
export FREESTYLE_API_URL={url} FREESTYLE_API_KEY={key}
npm install --silent freestyle@0.1.63
node --input-type=module - <<'JAVASCRIPT'
import {{ freestyle }} from "freestyle";

const {{ vm }} = await freestyle.vms.create();
console.log((await vm.exec("echo hi")).stdout);
await vm.delete();
JAVASCRIPT
"""


def all_snippets(target: Target) -> str:
    """With this server's address and key, and the uv that ./up installed beside its own environment."""
    own = Path(sys.prefix).parent / ".venv-uv" / "bin" / "uv"
    uv = str(own) if own.exists() else shutil.which("uv") or "uv"
    return "\n".join((DAYTONA, WRENN, CODESANDBOX, FREESTYLE)).format(url=target.url, key=target.api_key, uv=uv)
