"""Every Python block of the README and docs/*.md runs, links lead somewhere, the index lists every page.

The blocks of a page are one program, in order.  A block with prompts is a doctest; others are executed.  A
page that imports what is not installed is skipped.
"""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

import fastconv

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # for what an example writes
    threads = fastconv.get_num_threads()
    text = page.read_text()
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        for match in BLOCK.finditer(text):
            line = text[: match.start()].count("\n") + 2
            run_block(match[1], names, page, line)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] == "fastconv":
            raise
        pytest.skip(f"{page.name} needs {error.name}")
    finally:
        fastconv.set_num_threads(threads)
        fastconv.set_exact(False)


def run_block(block: str, names: dict[str, Any], page: Path, line: int) -> None:
    """Run one block, so that errors name its lines in the page."""
    if not block.lstrip().startswith(">>>"):
        exec(compile("\n" * (line - 1) + block, str(page), "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(block, names, page.name, str(page), line - 1)
    report: list[str] = []
    runner = doctest.DocTestRunner()
    runner.run(test, out=report.append, clear_globs=False)
    assert runner.failures == 0, "".join(report)
    names.update(test.globs)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target, _ in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_index_lists_every_page() -> None:
    listed = {target for target, _ in LINK.findall((ROOT / "docs" / "index.md").read_text())}
    assert {page.name for page in PAGES} - {"index.md"} <= listed


def test_a_wrong_block_fails() -> None:
    with pytest.raises(AssertionError, match="Got"):
        run_block(">>> 1 + 1\n3\n", {}, ROOT, 1)
    with pytest.raises(ZeroDivisionError):
        run_block("1 / 0\n", {}, ROOT, 1)
