"""Generate the reference pages in docs/; with --check, only compare.

python -m tools.docs [--check]
"""

import argparse
import sys
from pathlib import Path

from tools.docs import metrics_page, settings_page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> int:
    """Entry point; exit code 1 when --check finds drift."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    is_check = parser.parse_args().check
    pages = {"settings.md": settings_page.page(), "metrics.md": metrics_page.page()}
    for name, fresh in pages.items():
        path = DOCS / name
        if not is_check:
            DOCS.mkdir(exist_ok=True)
            path.write_text(fresh)
        elif not path.exists() or path.read_text() != fresh:
            print(f"stale: docs/{name} (run `make docs`)", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
