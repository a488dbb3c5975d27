"""What pip would leave of a package that brings a backend: its entry point, on the path."""

from pathlib import Path

__all__ = ["installed"]


def installed(folder: Path, **backends: str) -> Path:
    """A folder for `sys.path` with backends by their names."""
    info = folder / "outside-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n", encoding="utf-8")
    lines = "".join(f"{name} = {place}\n" for name, place in backends.items())
    (info / "entry_points.txt").write_text(f"[ruvllm.backends]\n{lines}", encoding="utf-8")
    return folder
