# The image of pyaction. Explained in docs/image.md.
#
#   docker build -t pyaction .                              Python 3.11, the standard library
#   docker build -t pyaction --build-arg DEBIAN=trixie .    Python 3.13; bullseye: Python 3.9
#   docker build -t pyaction-lambda --target lambda .       with boto3; also scf, digitalocean
ARG DEBIAN=bookworm

FROM debian:${DEBIAN}-slim AS compiler
WORKDIR /src
COPY scripts/install-packages scripts/
RUN scripts/install-packages build

# --- the programs -------------------------------------------------------------------------------------------
FROM compiler AS build
COPY Makefile ./
COPY common common
COPY proxy proxy
COPY pyrunner pyrunner
RUN make install DESTDIR=/out PREFIX=/usr/local CFLAGS=-O2 LDFLAGS=-s
# The Debian packages of the libraries they are linked with, whatever this release calls them.
RUN find /out -type f -exec ldd {} + 2>/dev/null | awk '$2 == "=>" { print $1 }' | sort -u | sed 's:^:*/:' \
  | xargs dpkg-query -S | cut -d: -f1 | sort -u >/debian-packages
COPY images/pip images/pip
RUN images/pip/install /out && mkdir /out/function
COPY LICENSE NOTICE scripts/make-sbom images/check-imports /out/usr/local/share/pyaction/

# --- what all targets have in common ------------------------------------------------------------------------
FROM debian:${DEBIAN}-slim AS runtime
COPY --from=build /debian-packages /usr/local/share/pyaction/
# python3 is a function's sys.executable; ca-certificates are for its https; distutils is part of Python up to 3.11.
# Removed: what differs from build to build, and bytecode that no function needs.
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      ca-certificates python3 '^python3?-(distutils|pip-whl)$' \
      $(cat /usr/local/share/pyaction/debian-packages) >/dev/null \
 && rm -rf /usr/lib/python3.*/lib2to3/__pycache__ /usr/lib/python3.*/pydoc_data/__pycache__ \
      /var/cache/apt /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/lib/apt/lists/* \
      /var/lib/dpkg/*-old /var/log/alternatives.log /var/log/apt /var/log/dpkg.log
COPY --from=build /out/ /
RUN cd /usr/local/share/pyaction && ./make-sbom >sbom.cdx.json

# Any user will do, and the root file system may be read-only: only /tmp is written to.
ENV HOME=/tmp
WORKDIR /function
EXPOSE 8080 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=2s --start-period=2s --retries=3 \
  CMD ["pyaction", "--health"]
ENTRYPOINT ["pyaction"]

ARG DEBIAN
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="pyaction" \
      org.opencontainers.image.description="Runs functions of OpenWhisk, DigitalOcean, AWS Lambda and Tencent SCF" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="debian:${DEBIAN}-slim"

# --- with the packages that a platform has ------------------------------------------------------------------
# Where a proxy inspects TLS: --secret id=ca-certificates,src=FILE gives pip the certificates to trust.
FROM compiler AS packages
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends g++ python3-pip python3-setuptools python3-wheel >/dev/null
COPY images/install /images/

FROM packages AS digitalocean-packages
COPY images/digitalocean /images/digitalocean
RUN --mount=type=secret,id=ca-certificates /images/install digitalocean /packages
FROM packages AS lambda-packages
COPY images/lambda /images/lambda
RUN --mount=type=secret,id=ca-certificates /images/install lambda /packages
FROM packages AS scf-packages
COPY images/scf /images/scf
RUN --mount=type=secret,id=ca-certificates /images/install scf /packages

FROM runtime AS digitalocean
COPY --from=digitalocean-packages /packages/ /
RUN cd /usr/local/share/pyaction && ./check-imports && ./make-sbom >sbom.cdx.json
USER 65534:65534

FROM runtime AS lambda
COPY --from=lambda-packages /packages/ /
RUN cd /usr/local/share/pyaction && ./check-imports && ./make-sbom >sbom.cdx.json
USER 65534:65534

FROM runtime AS scf
COPY --from=scf-packages /packages/ /
RUN cd /usr/local/share/pyaction && ./check-imports && ./make-sbom >sbom.cdx.json
USER 65534:65534

# --- without: the default -----------------------------------------------------------------------------------
FROM runtime AS slim
USER 65534:65534
