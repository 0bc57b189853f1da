"""Where the compiled files of this distribution lie. How they are made is the build hook's subject."""

from importlib.resources import files
from pathlib import Path


def library() -> Path:
    """Path of `libvgpu.so`, the interposer: to be named in LD_PRELOAD or /etc/ld.so.preload."""
    return compiled("libvgpu.so")


def probe() -> Path:
    """Path of `hami-probe`, a program that shows what it sees of its devices and allocates until it is refused."""
    return compiled("hami-probe")


def compiled(name: str) -> Path:
    """Path of one compiled file. Raises FileNotFoundError when the distribution was never built."""
    path = Path(str(files("hami_native") / name))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: install hami-native with pip or uv, which compile it")
    return path
