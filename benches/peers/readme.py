"""Puts what compare.py saved into the README, between its marks.

python -m benches.peers.readme .bench/peers-native-avx512-2t.md [MORE.md...]
"""

import argparse
import re
from pathlib import Path

from benches.files import ROOT

__all__ = ["replaced"]

BEGIN, END = "<!-- bench-peers -->", "<!-- /bench-peers -->"


def replaced(page: str, sections: list[str]) -> str:
    """The page with the sections between the marks, instead of what stood there."""
    block = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    if len(block.findall(page)) != 1:
        raise SystemExit(f"the page must have {BEGIN} and {END} once")
    inside = "\n".join(f"{section.strip()}\n" for section in sections)
    return block.sub(lambda _: f"{BEGIN}\n{inside}{END}", page)


def main() -> None:
    """Read the files, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="+", type=Path, help="Markdown that compare.py saved")
    parser.add_argument("--page", type=Path, default=ROOT / "README.md")
    options = parser.parse_args()
    sections = [path.read_text(encoding="utf-8") for path in options.sections]
    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(replaced(page, sections), encoding="utf-8")


if __name__ == "__main__":
    main()
