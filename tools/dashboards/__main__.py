"""Write the Grafana dashboards into deploy/grafana; with --check, only compare.

python -m tools.dashboards [--check]
"""

import argparse
import json
import sys
from pathlib import Path

from tools.dashboards.pages import DASHBOARDS

FOLDER = Path(__file__).resolve().parents[2] / "deploy/grafana"


def main() -> int:
    """Entry point; exit code 1 when --check finds drift."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    is_check = parser.parse_args().check
    for dashboard in DASHBOARDS:
        path = FOLDER / f"{dashboard.uid}.json"
        fresh = json.dumps(dashboard.as_json(), indent=2) + "\n"
        if not is_check:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_text(fresh)
        elif not path.exists() or path.read_text() != fresh:
            print(f"stale: deploy/grafana/{path.name} (run `make docs`)", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
