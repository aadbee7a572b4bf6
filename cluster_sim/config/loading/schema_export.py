"""JSON Schema of study files.

``python -m cluster_sim.config.loading.schema_export`` writes it into a checkout, and the generated tables of the pages.
"""

import json
from typing import Any

from cluster_sim.conf_directory import library_root
from cluster_sim.config.loading.doc_tables import with_tables
from cluster_sim.config.schema.study import Study


def study_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a study file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cluster_sim study",
        **{key: value for key, value in Study.model_json_schema().items() if key != "title"},
    }


def schema_text() -> str:
    """Return the text of ``conf/schema.json``."""
    return json.dumps(study_schema(), indent=2) + "\n"


if __name__ == "__main__":
    (library_root() / "schema.json").write_text(schema_text(), encoding="utf-8")
    for page in (library_root().parent / "docs").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        if (current := with_tables(text)) != text:
            page.write_text(current, encoding="utf-8")
