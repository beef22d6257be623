"""A picture of the screen, smaller: ``picture.py FORMAT QUALITY SCALE COMMAND...``, where COMMAND takes it."""

import importlib
import io
import subprocess
import sys


def main(kind: str, quality: str, scale: str, *command: str) -> None:
    taken = subprocess.run([*command, "--format=png", "--quality=1"], check=True, stdout=subprocess.PIPE)
    image = importlib.import_module("PIL.Image")
    picture = image.open(io.BytesIO(taken.stdout)).convert("RGB")
    if float(scale) != 1:
        size = (max(1, round(picture.width * float(scale))), max(1, round(picture.height * float(scale))))
        picture = picture.resize(size, image.BILINEAR)
    picture.save(sys.stdout.buffer, kind.upper(), quality=int(quality))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
