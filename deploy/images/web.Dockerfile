# The api, the ui and the `winnow` command. No torch.
# Built from the root of the repository: docker build -f deploy/images/web.Dockerfile --target web .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
RUN python -m venv /opt/winnow
COPY pyproject.toml constraints.txt deploy/images/requirements.py ./
RUN python requirements.py api ui cli > requirements.txt \
 && /opt/winnow/bin/pip install --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY shared shared
COPY services services
COPY winnow winnow
RUN /opt/winnow/bin/pip install --no-deps . \
 && /opt/winnow/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON_IMAGE} AS web
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Winnow web" \
      org.opencontainers.image.description="Winnow's api, ui and command line" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin winnow
COPY --from=build /opt/winnow /opt/winnow
ENV PATH=/opt/winnow/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
CMD ["winnow", "--help"]

# Adds the handwritten digits that the demo labels.
FROM build AS build-demo
RUN python -m pip install --constraint constraints.txt --target /opt/demo-packages scikit-learn

FROM web AS demo
COPY --from=build-demo /opt/demo-packages /opt/demo-packages
ENV PYTHONPATH=/opt/demo-packages
