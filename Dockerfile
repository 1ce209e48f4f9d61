# The image in three stages. It is built from the repository alone and by BuildKit and Buildah alike, so nothing
# here is used that only one of them has (heredocs, COPY --link).

# builder: the dependencies in a virtual environment, and what the interpreter needs besides.
FROM python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91 AS builder
# The virtual environment gives every base image's Python the same path, /venv/bin/python.
RUN python -m venv --without-pip /venv
# Dependencies come before any code, so that they are installed again only when they change.
COPY app/requirements.txt /build/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /venv/bin/python install --disable-pip-version-check --no-compile --only-binary :all: \
        --no-deps --require-hashes --requirement /build/requirements.txt
# A fifth of the dependencies are their own tests. Byte-code without time stamps depends on the source only, and
# nothing is checked at start.
RUN find /venv -type d -name tests -prune -exec rm -r {} + \
    && /venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /venv/lib
COPY ci/package_record.py ci/runtime_tree.py /build/
# The loader's cache goes along: it knows libraries outside the default folders, such as /usr/local/lib.
RUN /venv/bin/python /build/runtime_tree.py /tree \
    && mkdir /tree/etc && cp -r /etc/ld.so.conf /etc/ld.so.conf.d /tree/etc/ && ldconfig -r /tree \
    && /venv/bin/python /build/package_record.py /tree \
    && /venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /tree -p / /tree

# model: trained with the very libraries that will serve it, on what pyproject.toml names.
FROM builder AS model
WORKDIR /app
COPY . .
RUN /venv/bin/python -B train_model.py \
    && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash app

# runtime: nothing but the interpreter, the dependencies, the service and its model.
FROM scratch
COPY --from=builder /tree /
COPY --from=builder /venv /venv
WORKDIR /app
COPY --from=model /app/app app
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
