"""Generate the reference pages in docs/, and the list of vLLM's fields; with --check, only compare.

python -m tools.docs [--check]
"""

import argparse
import sys
from pathlib import Path

from tools.docs import metrics_page, settings_page, vllm_fields_page, vllm_models

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def main() -> int:
    """Entry point; exit code 1 when --check finds drift, or a field of vLLM's that is silently ignored."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    is_check = parser.parse_args().check
    models = vllm_models.installed() or vllm_models.committed()
    if not _is_fresh(vllm_models.LIST, vllm_models.text_of(models), is_check=is_check):
        return 1
    pages = {
        "settings.md": settings_page.page(),
        "metrics.md": metrics_page.page(),
        "vllm-fields.md": vllm_fields_page.page(),
    }
    if not all(_is_fresh(DOCS / name, page, is_check=is_check) for name, page in pages.items()):
        return 1
    ignored = vllm_fields_page.ignored(models)
    if ignored:
        print(f"silently ignored: {', '.join(ignored)}; honour them or refuse them", file=sys.stderr)
    return 1 if ignored else 0


def _is_fresh(path: Path, fresh: str, *, is_check: bool) -> bool:
    """Whether a file says what it should; without --check it is made so."""
    if not is_check:
        path.write_text(fresh)
        return True
    if path.exists() and path.read_text() == fresh:
        return True
    print(f"stale: {path.relative_to(ROOT)} (run `make docs`)", file=sys.stderr)
    return False


if __name__ == "__main__":
    sys.exit(main())
