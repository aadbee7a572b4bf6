"""The recipe for a deployment format, as it stands on the page."""

from pathlib import Path

from tests.outside_package import install, recipe, run_command


def test_the_recipe_reads_settings(tmp_path: Path) -> None:
    """The command knows the format of an outside package, makes the pool and lists the unknown key."""
    site = tmp_path / "site"
    install(site, "settings", recipe("deployment_format"), "cluster_sim.deployment_formats")
    file = tmp_path / "service.conf"
    file.write_text("MODEL=Qwen/Qwen3-8B\nCONTEXT=8k\nUSER=me\n", encoding="utf-8")
    done = run_command(site, "import", "settings", file, "--device", "h100-sxm")
    assert (done.returncode, done.stderr) == (0, "")
    assert "    model: qwen3-8b\n" in done.stdout
    assert "      max_model_len: 8000\n" in done.stdout
    assert f"{file}:3: USER: unknown key; known: MODEL, CONTEXT, SEQUENCES" in done.stdout
