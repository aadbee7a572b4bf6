"""Check the model library: parameter counts derived from shapes against the published ones.

Run ``python scripts/check_models.py``: prints a table and exits with 1 where a count is off by more than 1 %.
"""

import sys

from cluster_sim.hardware.model import load_model, model_names

LIMIT = 0.01


def main() -> int:
    """Print one line a model; return 1 when any count is off by more than the limit."""
    is_good = True
    print(f"{'model':<22}{'derived':>12}{'published':>12}{'error':>9}{'active':>12}  weights")
    for name in model_names():
        model = load_model(name)
        error = model.total_parameters / model.published_parameters - 1 if model.published_parameters else float("inf")
        is_good = is_good and abs(error) <= LIMIT
        print(
            f"{name:<22}{model.total_parameters / 1e9:>10.3f} B{model.published_parameters / 1e9:>10.3f} B"
            f"{error:>+9.3%}{model.active_parameters / 1e9:>10.3f} B  {model.projection_dtype}"
            + (f", experts {model.expert_dtype}" if model.expert_dtype != model.projection_dtype else "")
        )
    print("all within 1 %" if is_good else "NOT all within 1 %")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
