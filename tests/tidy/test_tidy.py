"""The repository obeys its own style; every failure says what to do instead."""

import json
import subprocess
import sys

import pytest

from services.common.settings import SERVICES
from tests.tidy import banned, commands, imports, links, sizes, texts
from tests.tidy.imports import CLIENT
from tests.tidy.source import ROOT, Source, sources, tracked
from tools.docs import metrics_page, settings_page

TEXT_SUFFIXES = {".py", ".md", ".toml", ".sh", ".yaml", ".yml", ".proto", ".json", ".txt", ".cfg", ""}
SIZE_MAX_BYTES = 2_000_000

SERVED = list(sources("services", CLIENT))
ALL = list(sources("services", CLIENT, "tools", "tests"))


def each(all_sources: list[Source]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("source", all_sources, ids=lambda s: s.path)


@each(SERVED)
def test_imports_point_one_way(source: Source) -> None:
    assert imports.violations(source) == []


@each(SERVED)
def test_nothing_banned_is_used(source: Source) -> None:
    assert banned.violations(source) == []


@each(ALL)
def test_files_and_functions_fit(source: Source) -> None:
    assert sizes.violations(source) == []


def test_the_usual_function_and_file_are_short() -> None:
    assert sizes.overall(SERVED) == []


def test_no_file_names_a_registry_or_a_machine() -> None:
    wrong = []
    for name in tracked():
        if name.suffix in TEXT_SUFFIXES and (ROOT / name).stat().st_size < SIZE_MAX_BYTES:
            text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
            wrong += texts.violations(name.as_posix(), text)
    assert wrong == []


@pytest.mark.parametrize("module", ["tools.stubs", "tools.docs", "tools.dashboards"])
def test_generated_files_are_fresh(module: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", module, "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


README_WORDS_MAX = 900
PAGES = ["README.md", "ARCHITECTURE.md", "deploy/README.md"]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert links.violations(ROOT, page) == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= README_WORDS_MAX


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_the_page_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert commands.violations(page, (ROOT / page).read_text(), makefile) == []


@pytest.mark.parametrize("manifest", ["tests/clients/package.json", "tests/wire/node/package.json"])
def test_clients_are_documented_with_the_versions_that_are_tested(manifest: str) -> None:
    page = (ROOT / "docs/clients.md").read_text()
    packages = json.loads((ROOT / manifest).read_text())["dependencies"]
    assert [name for name, version in packages.items() if f"| {version} |" not in page] == []


def test_every_settings_class_has_a_section() -> None:
    assert set(settings_page.settings_classes()) == set(SERVICES)


def test_every_metric_is_declared_with_a_meaning_on_the_page() -> None:
    page = metrics_page.page()
    for source in SERVED:
        for word in set(metric_names(source)):
            assert f"`{word}`" in page, (
                f"{source.path}: {word} is declared where docs/metrics.md does not see it"
            )


def metric_names(source: Source) -> list[str]:
    """First arguments of prometheus_client's constructors."""
    return [name for name, _, _ in metrics_page.metrics(source.text)]
