"""A base for images where no registry of images can be reached: Debian's own Python, out of its packages."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from twin.container_engine import ContainerEngine, tail
from twin.errors import MissingProgramError, ServerError

SUITE = "bookworm"
"""The Debian that the Dockerfile's own base is made of."""
PACKAGES = ("ca-certificates", "python3", "python3-venv")
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")


def debian_base(engine: ContainerEngine, *, log: Path) -> str:
    """The image's name; made once, kept by the engine.

    It trusts whom this machine trusts, because packages may come through a proxy. Raises MissingProgramError
    where this machine can't make it, ServerError where making it fails.
    """
    image = f"localhost/debian-python:{SUITE}"
    if engine.has(image):
        return image
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise MissingProgramError(
            "the base image can't be pulled, and to make one takes root and debootstrap "
            "(apt-get install debootstrap); or name one that can be pulled: make training-image BASE=image"
        )
    with tempfile.TemporaryDirectory(prefix="debian-base-") as folder, log.open("ab") as output:
        root = Path(folder)
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root],
            stdout=output,
            stderr=output,
            check=False,
        )
        if made.returncode != 0:
            raise ServerError(f"debootstrap failed; {log} ends: {tail(log)}")
        shutil.copyfile(Path("/") / CERTIFICATES, root / CERTIFICATES)
        for waste in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / waste)
        engine.make_image(root, image)
    return image


def pip_settings(folder: Path) -> Path:
    """Settings that let pip trust whom the base trusts: the one in a new environment brings its own list."""
    file = folder / "pip.conf"
    file.write_text(f"[global]\ncert = /{CERTIFICATES}\n")
    return file
