"""Pages of the documentation site that are made from other files: a hook of mkdocs, used by ``make docs``.

The start page, the guide for contributors and the changelog are the files at the root of the repository, with their
links rewritten.  The API reference has a page for each package with all its modules, so that it is never out of date.
"""

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
ROOT_PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
PACKAGES = ("cluster_sim", "actors")
ROOT_LINK = re.compile(r"\]\((?!https?:|#)(?P<path>[^)#]+)(?P<anchor>#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of ``docs/``."""
    pages = {name: _with_links_of_the_site((ROOT / source).read_text("utf-8")) for name, source in ROOT_PAGES.items()}
    pages |= _api_pages()
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def _with_links_of_the_site(text: str) -> str:
    """Rewrite links of a file at the root: into ``docs/`` as seen from there, to a generated page by its name."""
    names = {source: name for name, source in ROOT_PAGES.items()}

    def link(match: re.Match[str]) -> str:
        path, anchor = match["path"], match["anchor"] or ""
        return f"]({names.get(path, path.removeprefix('docs/'))}{anchor})"

    return ROOT_LINK.sub(link, text)


def _api_pages() -> dict[str, str]:
    """Return the index of the API reference and a page for each package, by name."""
    pages, rows = {}, []
    folders = [folder for name in PACKAGES for folder in (ROOT / name, *sorted((ROOT / name).rglob("*/")))]
    for folder in folders:
        modules = sorted(path for path in folder.glob("*.py") if path.name not in ("__init__.py", "__main__.py"))
        if not modules:
            continue
        package = ".".join(folder.relative_to(ROOT).parts)
        title = _title(folder / "__init__.py")
        entries = "\n\n".join(f"::: {package}.{path.stem}" for path in modules)
        pages[f"api/{package}.md"] = f"# {package}\n\n{title}\n\n{entries}\n"
        rows.append(f"| [`{package}`]({package}.md) | {title} |")
    pages["api/index.md"] = (
        "# API reference\n\nEvery module with what it makes public. [Structure](../structure.md) says how they work"
        " together, [Extending](../extend.md) which of them are meant to be extended.\n\n| package | |\n|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )
    return pages


def _title(path: Path) -> str:
    text = path.read_text("utf-8") if path.is_file() else ""
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0].replace("\n", " ")
