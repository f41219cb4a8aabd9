# The daemon. Build from the project's root:  docker build -t cxmld .
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY sipua sipua
COPY cxml cxml
RUN python -m venv /opt/cxmld \
    && /opt/cxmld/bin/pip install --no-cache-dir --only-binary :all: --constraint constraints.txt .

FROM python:3.12-slim
COPY --from=build /opt/cxmld /opt/cxmld
RUN useradd --system --home-dir /var/lib/cxmld --create-home cxmld
USER cxmld
WORKDIR /var/lib/cxmld
ENV PATH=/opt/cxmld/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 5060/udp 5060/tcp 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://' + os.environ.get('CXMLD_HTTP__LISTEN', '127.0.0.1:8080').replace('0.0.0.0', '127.0.0.1') + '/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["cxmld"]
CMD ["serve", "--config", "/etc/cxmld/cxmld.toml"]
