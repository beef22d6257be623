"""Files: text, bytes, folders, streams."""

import hashlib

from expectations import raised
from wrenn import Capsule
from wrenn.exceptions import WrennNotFoundError, WrennValidationError

MEGABYTE = 1024 * 1024

with Capsule(wait=True) as capsule:
    files = capsule.files

    files.write("/tmp/deep/er/hello.txt", "grüße\n")
    assert files.read("/tmp/deep/er/hello.txt") == "grüße\n"
    files.write("/tmp/deep/er/hello.txt", "short")
    assert files.read("/tmp/deep/er/hello.txt") == "short"
    everything = bytes(range(256)) * 1000
    files.write("/tmp/all.bin", everything)
    assert files.read_bytes("/tmp/all.bin") == everything
    files.write("/tmp/empty", b"")
    assert files.read_bytes("/tmp/empty") == b""
    files.write("/tmp/tricky", b"\r\n--boundary\r\n--\r\n")
    assert files.read_bytes("/tmp/tricky") == b"\r\n--boundary\r\n--\r\n"
    files.write("/tmp/a name with 'quotes' and ünïcode", "x")
    assert files.read("/tmp/a name with 'quotes' and ünïcode") == "x"

    # What is written belongs to the user, and where the user may not write it is written all the same.
    files.write("/home/wrenn-user/mine", "x")
    assert capsule.commands.run("stat -c %U mine").stdout == "wrenn-user\n"
    files.write("/opt/app/main.py", "print('hi')")
    assert capsule.commands.run("python3 /opt/app/main.py").stdout == "hi\n"
    files.write("/opt/app/large.bin", everything * 40)
    assert capsule.commands.run("stat -c %s /opt/app/large.bin").stdout == f"{len(everything) * 40}\n"

    listed = {entry.name: entry for entry in files.list("/tmp/deep")}
    assert listed["er"].type == "directory"
    assert listed["er"].path == "/tmp/deep/er"
    assert "hello.txt" not in listed
    assert "hello.txt" in [entry.name for entry in files.list("/tmp/deep", depth=2)]
    capsule.commands.run("ln -s /tmp/all.bin /tmp/deep/link; chmod 640 /tmp/deep/er/hello.txt")
    link = next(entry for entry in files.list("/tmp/deep") if entry.name == "link")
    assert (link.type, link.symlink_target) == ("symlink", "/tmp/all.bin")
    (text,) = files.list("/tmp/deep/er")
    assert (text.type, text.size, text.permissions, text.owner) == ("file", 5, "-rw-r-----", "wrenn-user")

    assert files.exists("/tmp/all.bin")
    assert not files.exists("/tmp/nothing")
    assert not files.exists("/no/such/folder/file")
    assert files.make_dir("/tmp/made/by/us").type == "directory"
    assert files.make_dir("/tmp/made/by/us").name == "us"  # there already: answered all the same
    files.write("/tmp/made/by/us/file", "x")
    files.remove("/tmp/made")
    assert not files.exists("/tmp/made")
    files.remove("/tmp/empty")
    assert not files.exists("/tmp/empty")

    raised(WrennNotFoundError, lambda: files.read("/no/such"), 404)
    raised(WrennNotFoundError, lambda: files.remove("/no/such"), 404)
    raised(WrennNotFoundError, lambda: files.list("/no/such"), 404)
    raised(WrennValidationError, lambda: files.read("/tmp"), 400)
    raised(WrennValidationError, lambda: files.read("/tmp/nul\0byte"), 400)
    raised(WrennValidationError, lambda: files.write("/tmp/nul\0byte", "x"), 400)

    raised(WrennValidationError, lambda: files.remove("/"), 400)
    assert capsule.commands.run("ls -d /dev/ptmx /etc/passwd").exit_code == 0

    chunk = hashlib.sha512(b"seed").digest() * (MEGABYTE // 64)
    files.upload_stream("/tmp/stream.bin", (chunk for _ in range(64)))
    digest = hashlib.sha256()
    size = 0
    for part in files.download_stream("/tmp/stream.bin"):
        digest.update(part)
        size += len(part)
    assert size == 64 * MEGABYTE
    inside = capsule.commands.run("sha256sum /tmp/stream.bin").stdout.split()[0]
    assert inside == digest.hexdigest() == hashlib.sha256(chunk * 64).hexdigest()
    assert len(files.read_bytes("/proc/cpuinfo")) > 0  # a file whose size says 0
