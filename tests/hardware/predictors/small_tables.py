"""Small files of the predictors that look their times up: Vidur's tables and Splitwise's performance model."""

from pathlib import Path

from cluster_sim.hardware.predictors.vidur_files import DENSE_OPS

SPLITWISE_HEADER = "model,hardware,prompt_size,batch_size,token_size,prompt_time,token_time,tensor_parallel\n"


def splitwise_rows(tensor_parallel: int) -> str:
    """Return rows of one prompt size: prompts of 12 ms in the median and tokens of 22, four at once 40 and 30."""
    rows = ("100,1,8,10,20", "100,1,8,12,22", "100,1,8,99,24", "100,4,8,40,30")
    return "".join(f"m,h,{row},{tensor_parallel}\n" for row in rows)


def write_vidur_tables(folder: Path, prefix: str) -> None:
    """Write tables of every operator at 1 ms up to 16 tokens, two decodes and chunks of two tokens, behind 0 or 64."""
    header = ",".join(("num_tokens", *DENSE_OPS))
    rows = "".join(f"{tokens}{',1' * len(DENSE_OPS)}\n" for tokens in range(1, 17))
    (folder / f"{prefix}.ops_by_num_tokens.csv").write_text(f"{header}\n{rows}")
    (folder / f"{prefix}.attn_decode.csv").write_text(
        "batch_size,kv_cache_size,attn_decode_ms\n1,0,1\n2,0,1\n1,64,2\n2,64,2\n"
    )
    (folder / f"{prefix}.attn_prefill.csv").write_text("chunk_tokens,kv0_ms,kv64_ms\n1,1,2\n2,3,4\n")
