"""`python -m tests.bench.planner validate [POINTS.csv] | fit | study`."""

import sys
from pathlib import Path

from tests.bench.planner import fit, study, validation


def main() -> int:
    """Entry point."""
    match sys.argv[1:]:
        case ["validate"]:
            validation.main()
        case ["validate", points]:
            validation.main(Path(points))
        case ["study"]:
            study.main()
        case ["fit"]:
            fit.main()
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
