# syntax=docker/dockerfile:1

# Wheels are built where compilers may be; the image that runs has neither them nor pip's cache.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY ingest ingest
RUN python -m venv /opt/nonito && /opt/nonito/bin/pip install --no-cache-dir '.[insights]'

FROM python:3.11-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin nonito \
    && install --directory --owner=nonito --group=nonito --mode=700 \
        /var/lib/nonito /var/lib/nonito-archive
COPY --from=build /opt/nonito /opt/nonito
ENV PATH=/opt/nonito/bin:$PATH PYTHONUNBUFFERED=1 NONITO_SERVER_HOST=0.0.0.0 \
    NONITO_SERVER_DRAIN_S=5
USER nonito
# data/spool is in here: events that wait for Postgres must outlive the container. So is data/archive,
# which can be made anew; servers that share one have it on a volume at /var/lib/nonito-archive. Where
# questions are answered (8081) is open within the container alone, until NONITO_DASHBOARD_HOST says
# otherwise.
WORKDIR /var/lib/nonito
VOLUME /var/lib/nonito
EXPOSE 8080
# At the port that NONITO_SERVER_PORT or config.toml says.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s CMD ["nonito", "health"]
# SIGTERM is docker stop's; give it `server.drain_s` (5 s), `server.shutdown_timeout_s` (20 s) and a
# little more: docker stop --time 30.
STOPSIGNAL SIGTERM
ENTRYPOINT ["nonito"]
CMD ["serve"]
