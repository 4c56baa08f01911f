# The source as a custom connector of Airbyte's. docs/airbyte.md says how to build and add it, and how
# far it is checked.
FROM python:3.12.13-slim-bookworm AS build
WORKDIR /build
COPY constraints.txt ./
RUN awk '/^[^ ]/ {is_uv = /^uv==/} is_uv' constraints.txt > uv.txt \
    && pip install --no-cache-dir --disable-pip-version-check --require-hashes --requirement uv.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY tap_nexudus_usage tap_nexudus_usage
# The hashes of what is installed are verified, too: uv takes them from the constraints.
RUN uv build --wheel --build-constraints constraints.txt --require-hashes --out-dir dist \
    && uv venv --python "$(command -v python)" /opt/source \
    && uv pip install --python /opt/source --constraints constraints.txt --only-binary :all: \
       --compile-bytecode dist/*.whl

FROM python:3.12.13-slim-bookworm
LABEL io.airbyte.name="REPLACE-ON-PUBLISHING/source-nexudus-usage" \
      io.airbyte.version="0.1.0"
RUN groupadd --gid 1000 airbyte \
    && useradd --uid 1000 --gid airbyte --create-home airbyte \
    && install --directory --owner airbyte --group airbyte /airbyte
COPY --from=build /opt/source /opt/source
WORKDIR /airbyte
# hadolint ignore=DL3066 # the name that Airbyte's images have
USER airbyte
# Airbyte runs what the variable says, everybody else the entry point.
ENV AIRBYTE_ENTRYPOINT="/opt/source/bin/source-nexudus-usage"
ENTRYPOINT ["/opt/source/bin/source-nexudus-usage"]
