FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY fhir_server fhir_server
COPY importers importers
COPY profiles profiles
COPY terminologies terminologies
RUN python -m venv /opt/fhir-server && /opt/fhir-server/bin/pip install --no-cache-dir .

FROM python:3.11-slim
RUN useradd --system --home-dir /var/lib/fhir-server --create-home fhir
COPY --from=build /opt/fhir-server /opt/fhir-server
USER fhir
VOLUME /var/lib/fhir-server
ENV FHIR_SERVER_STORE=sqlite:/var/lib/fhir-server/record.db FHIR_SERVER_HOST=0.0.0.0 FHIR_SERVER_PORT=8080
EXPOSE 8080
HEALTHCHECK CMD ["/opt/fhir-server/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/ready', timeout=3)"]
ENTRYPOINT ["/opt/fhir-server/bin/fhir-server"]
CMD ["serve"]
