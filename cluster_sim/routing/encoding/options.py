"""Options of encoders that stand apart from the replicas."""

from pydantic import Field

from cluster_sim.options import MOST_GPUS, MS_PER_DAY, ConfigModel


class EncoderOptions(ConfigModel):
    """Instances that encode images and other media before a prompt is computed."""

    instances: int = Field(1, ge=1, le=MOST_GPUS, description="Encoders, each of which takes one request at a time.")
    tokens_per_s: float = Field(
        gt=0, le=1e9, description="Encoder tokens (traits.multimodal) of one encoder per second."
    )
    overhead_ms: float = Field(
        0.0, ge=0, le=MS_PER_DAY, description="Time per request beside that: decoding and preprocessing of its media."
    )
    transfer_ms: float = Field(
        0.0, ge=0, le=MS_PER_DAY, description="Time until the embeddings are where prompts are computed."
    )
    gpus: int = Field(1, ge=1, le=MOST_GPUS, description="GPUs of one encoder.")
    usd_per_gpu_hour: float = Field(0.0, ge=0, le=1e6, description="Price of each; 0 leaves encoders out of the cost.")
    idle_w: float = Field(0.0, ge=0, le=1e6, description="Power of one encoder that waits, in watts.")
    busy_w: float = Field(0.0, ge=0, le=1e6, description="Power of one encoder that encodes, in watts.")
