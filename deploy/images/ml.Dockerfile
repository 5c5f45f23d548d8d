# The trainer and the scorer.
# Built from the root of the repository: docker build -f deploy/images/ml.Dockerfile .
#   CPU   the default: PyTorch's CPU wheels on a small Python
#   CUDA  --build-arg ML_BASE=pytorch/pytorch:2.14.1-cuda13.0-cudnn9-runtime: its own PyTorch is used
ARG ML_BASE=python:3.11-slim-bookworm

FROM ${ML_BASE} AS build
# Empty: PyTorch comes from where pip looks anyway.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_BREAK_SYSTEM_PACKAGES=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY pyproject.toml constraints.txt deploy/images/requirements.py ./
# A folder of packages rather than a virtual environment: it lies over whatever Python the base image has.
RUN python -c 'import torch, torchvision' 2>/dev/null \
 || pip install --target /opt/winnow --constraint constraints.txt \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch torchvision
RUN python -c 'import sys; assert sys.version_info >= (3, 11), "Winnow needs Python 3.11 or newer in ML_BASE"' \
 && python requirements.py trainer scorer --without torch torchvision > requirements.txt \
 && pip install --target /opt/winnow --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY shared shared
COPY services services
COPY winnow winnow
COPY benchmarks benchmarks
RUN pip install --target /opt/winnow --no-deps .

FROM ${ML_BASE}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Winnow ml" \
      org.opencontainers.image.description="Winnow's trainer and scorer" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin winnow \
 && install -d -o 10001 -g 10001 /scratch
COPY --from=build /opt/winnow /opt/winnow
# Trainings and downloaded weights go to /scratch, a volume: the root file system may be read-only.
# OMP_WAIT_POLICY: threads of several processes that spin while they wait take each other's cores.
ENV PYTHONPATH=/opt/winnow PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TMPDIR=/scratch TORCH_HOME=/scratch/torch OMP_WAIT_POLICY=PASSIVE
USER 10001:10001
WORKDIR /scratch
CMD ["python", "-m", "services.scorer"]
