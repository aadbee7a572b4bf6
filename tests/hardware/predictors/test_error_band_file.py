"""The learnt error bands: the shipped file is consistent, and says nothing where no left-out run was."""

import pytest

from cluster_sim.hardware.predictors.error_band import BandCase, ErrorBand
from cluster_sim.hardware.predictors.error_band_file import NEAR_SATURATION, error_band, load_error_bands
from cluster_sim.metrics.verdicts import BANDED_FIGURES
from tests.hardware.replicas import hardware


def test_the_shipped_file_is_consistent() -> None:
    """Known cases and figures; of all values the bands hold 85 to 95 %, and 85 % or more in each case of 8 and more."""
    learnt = load_error_bands()
    assert set(learnt.cases) <= {NEAR_SATURATION, *(case.value for case in BandCase)}
    held = total = 0
    for figures in learnt.cases.values():
        assert set(figures) <= set(BANDED_FIGURES)
        for band in figures.values():
            assert band.held <= band.values
        own_held, own = sum(band.held for band in figures.values()), sum(band.values for band in figures.values())
        assert own < 8 or own_held / own >= 0.85
        held, total = held + own_held, total + own
    assert 0.85 <= held / total <= 0.95


def test_a_case_has_the_bands_of_the_file() -> None:
    """The bands of a case and those near saturation are the file's, a figure that it lacks is unknown."""
    learnt = load_error_bands()
    band = error_band(BandCase.MODEL_OR_TP_UNSEEN, hardware())
    figures, full = learnt.cases["model_or_tp_unseen"], learnt.cases[NEAR_SATURATION]
    assert band.error_of("ttft_p99", is_near_saturation=False) == figures["ttft_p99"].error_percent
    widest = max(figures["ttft_mean"].error_percent, full["ttft_mean"].error_percent)
    assert band.error_of("ttft_mean", is_near_saturation=True) == widest
    assert band.error_of("ttft_p10", is_near_saturation=False) is None


@pytest.mark.parametrize(
    ("device", "kernels", "dtype", "case"),
    [
        ("h100-sxm", "sglang", None, BandCase.ENGINE_UNSEEN),
        ("b200", "trtllm", "fp4", BandCase.ENGINE_UNSEEN),
        ("h100-sxm", "vllm", "fp4", BandCase.NONE_KNOWN),
        ("l40s", "sglang", None, BandCase.NONE_KNOWN),
        ("h100-sxm", "", None, BandCase.NONE_KNOWN),
    ],
)
def test_an_unseen_engine_has_bands_where_it_was_shown(
    device: str, kernels: str, dtype: str | None, case: BandCase
) -> None:
    """SGLang on Hopper and fp4 on Blackwell were measured; fp4 on Hopper, SGLang on L40S and unknown kernels not."""
    band = error_band(BandCase.ENGINE_UNSEEN, hardware("llama-3-8b", device, kernels=kernels, weight_dtype=dtype))
    assert band.case is case
    assert (band.error_of("tpot_mean", is_near_saturation=False) is None) == (case is BandCase.NONE_KNOWN)


def test_a_band_is_no_narrower_than_what_a_fit_misses() -> None:
    """TPOT missed by 12 % widens TPOT and ITL; TTFT missed by 131 % leaves its figures without a band, E2E stays."""
    band = ErrorBand(
        BandCase.SEEN, {"ttft_mean": 9.0, "ttft_p99": 20.0, "tpot_mean": 4.0, "tpot_p99": 15.0, "e2e_p50": 5.0}
    )
    wider = band.at_least({"tpot": 12.0, "ttft": 131.0})
    assert wider.error_percent == {"tpot_mean": 12.0, "tpot_p99": 15.0, "e2e_p50": 5.0}
    assert wider.error_of("itl_mean", is_near_saturation=False) == 12.0
    assert wider.error_of("ttft_mean", is_near_saturation=False) is None
    assert band.at_least({"step": 6.0}).error_percent["tpot_mean"] == 6.0
