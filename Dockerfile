# The simulator and the Ray nodes that run its actors: one image, so that all have the same versions.
FROM python:3.11-slim-bookworm AS versions

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    RAY_USAGE_STATS_ENABLED=0

RUN useradd --create-home --uid 1000 --user-group simulator \
    && install --directory --owner simulator --group simulator /study /study/runs

# The versions first: they change less often than the source, so this layer is built once.
WORKDIR /source
COPY constraints.txt ./
RUN pip install --constraint constraints.txt \
    msgpack numpy pandas prometheus-client pyarrow pydantic pyyaml pyzmq ray rich typer
# KubeRay submits its jobs through Ray's dashboard: docker build --build-arg RAY_EXTRA=default
ARG RAY_EXTRA=
RUN test -z "$RAY_EXTRA" || pip install --constraint constraints.txt "ray[$RAY_EXTRA]"

# The compiler of the step loop stays behind; the image gets the wheel that it makes.
FROM versions AS kernel
RUN apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev \
    && pip install --constraint constraints.txt mypy setuptools types-pyyaml
COPY pyproject.toml README.md LICENSE ./
COPY cluster_sim cluster_sim
COPY actors actors
COPY conf conf
COPY scripts/build_kernel.py scripts/kernel_copy.py scripts/build_wheels.py scripts/
RUN python scripts/build_kernel.py && python scripts/build_wheels.py --out /wheels && rm /wheels/*-none-any.whl

FROM versions
COPY --from=kernel /wheels /wheels
RUN pip install --constraint constraints.txt /wheels/*.whl

COPY conf/*.yaml /study/conf/
# By number, so that orchestrators can see that it is not root.
USER 1000:1000
WORKDIR /study
ENTRYPOINT ["cluster-sim"]
CMD ["--help"]
