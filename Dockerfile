# The image, as the target `runtime` (a portable model, without scikit-learn) or `runtime-full` (any model, with
# scikit-learn). It is built from the repository alone and by BuildKit and Buildah alike, so nothing here is used
# that only one of them has (heredocs, COPY --link).

# interpreter: the base image.
FROM python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91 AS interpreter

# base: with uv, which installs packages.
FROM interpreter AS base
COPY requirements-uv.txt /build/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --disable-pip-version-check --root-user-action ignore --no-compile --only-binary :all: \
        --no-deps --require-hashes --requirement /build/requirements-uv.txt

# packages: what every image needs, in a virtual environment.
FROM base AS packages
# Dependencies come before any code, so that they are installed again only when they change.
COPY app/requirements.txt /build/
# The virtual environment gives every base image's Python the same path, /venv/bin/python. Of the base image's own,
# beside which uv lies, only the standard library goes on.
RUN --mount=type=cache,target=/root/.cache/uv \
    python -m venv --without-pip /venv \
    && uv pip install --python /venv/bin/python --system-certs --link-mode copy --only-binary :all: \
        --no-deps --require-hashes --requirement /build/requirements.txt

# packages-full: with scikit-learn and the team's libraries, too; training and the team's tests run here.
FROM packages AS packages-full
COPY app/requirements-full.txt docker/runtime_tree.py docker/shared_libraries.py /build/
COPY features/requirements.txt /build/requirements-team.txt
# What a package of the team's is linked with and the base image lacks, a wheel may bring: libgomp.so.1, for example.
# The import leaves the byte-code that every training and test needs; that of all packages takes ten times as long.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /venv/bin/python --system-certs --link-mode copy --only-binary :all: \
        --no-deps --require-hashes --requirement /build/requirements-full.txt --requirement /build/requirements-team.txt \
    && uv pip check --python /venv/bin/python \
    && /venv/bin/python -B /build/shared_libraries.py /build/requirements-team.txt \
    && /venv/bin/python -c "import pandas, sklearn.ensemble, sklearn.inspection"

# scorer: the native scorer of portable models.
FROM interpreter AS scorer
COPY docker/compile_scorer.py docker/requirements.txt /build/docker/
COPY app/modelling/portable/*.c /build/app/modelling/portable/
# Of the compiler's wheel, a tenth of a gigabyte, little is unpacked; uv, which unpacks all, is not waited for.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip download --disable-pip-version-check --only-binary :all: --no-deps --require-hashes \
        --dest /wheels --requirement /build/docker/requirements.txt \
    && python -B /build/docker/compile_scorer.py /libscorer.so /wheels \
    && rm -r /wheels

# builder: the packages without what is never run, and what the interpreter needs besides.
FROM packages AS builder
COPY docker /build/
RUN /venv/bin/python -B /build/assemble.py /tree

# builder-full: as builder, with scikit-learn.
FROM packages-full AS builder-full
COPY docker /build/
RUN /venv/bin/python -B /build/assemble.py /tree

# model: trained with the very libraries that may serve it, on what pyproject.toml names.
FROM packages-full AS model
WORKDIR /app
COPY . .
COPY --from=scorer /libscorer.so app/modelling/portable/libscorer.so
RUN /venv/bin/python -B train_model.py \
    && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash app features

# portable: the model as plain numbers; a pickle has no use, and no place, where scikit-learn is missing.
FROM model AS portable
RUN test -f model/model.json || test -f model/model.bin \
    || { echo "the model is not portable: build the target runtime-full" >&2; exit 1; }
RUN rm model/model.joblib

# runtime-full: nothing but the interpreter, the libraries with scikit-learn, the service, the team's code, its model.
FROM scratch AS runtime-full
COPY --from=builder-full /tree /
COPY --from=builder-full /venv /venv
WORKDIR /app
COPY --from=model /app/app app
COPY --from=model /app/features features
COPY --from=model /app/model model
USER 65532:65532
EXPOSE 8080
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/venv/bin/python", "-m", "app"]
# Declared last: what depends on the version rebuilds no layer, and an ARG before a RUN would stay in the environment.
ARG NAME=milestone2
ARG VERSION=v0.0.0-dev
ENV MODEL_VERSION=$VERSION
LABEL org.opencontainers.image.title=$NAME org.opencontainers.image.version=$VERSION

# runtime: the same without scikit-learn and the team's code.
FROM scratch AS runtime
COPY --from=builder /tree /
COPY --from=builder /venv /venv
WORKDIR /app
COPY --from=model /app/app app
COPY --from=portable /app/model model
USER 65532:65532
EXPOSE 8080
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/venv/bin/python", "-m", "app"]
ARG NAME=milestone2
ARG VERSION=v0.0.0-dev
ENV MODEL_VERSION=$VERSION
LABEL org.opencontainers.image.title=$NAME org.opencontainers.image.version=$VERSION
