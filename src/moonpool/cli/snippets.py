"""The first lines of code for each SDK, as `moonpool up` prints them."""

from moonpool.cli.client import Target

DAYTONA = """# Daytona SDK: pip install daytona
export DAYTONA_API_URL={url}/api DAYTONA_API_KEY={key}
python3 - <<'PYTHON'
from daytona import Daytona
sandbox = Daytona().create()
print(sandbox.process.exec("echo hi").result)
sandbox.delete()
PYTHON
"""

WRENN = """# Wrenn SDK (Python 3.13): pip install wrenn
export WRENN_BASE_URL={url} WRENN_API_KEY={key}
python3 - <<'PYTHON'
from wrenn import Capsule
with Capsule(wait=True) as capsule:
    print(capsule.commands.run("echo hi").stdout)
PYTHON
"""


def all_snippets(target: Target) -> str:
    """Ready to paste, with this server's address and key."""
    parts = (f"Moonpool listens on {target.url}; your key is {target.api_key}\n", DAYTONA, WRENN)
    return "\n".join(parts).format(url=target.url, key=target.api_key)
