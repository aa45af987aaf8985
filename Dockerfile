# Every service of the platform, over one base layer:
#
#   docker build --target service --build-arg SERVICE=gateway .
#
# BINARIES=build compiles them here. BINARIES=prebuilt takes what `scripts/images binaries` compiled on a Debian 12
# host. A site with its own certificate authority gives its certificate as the secret `ca`.
ARG SWIFT_IMAGE=swift:6.3-bookworm
ARG BASE_IMAGE=debian:bookworm-slim
ARG BINARIES=build

FROM ${SWIFT_IMAGE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends libcurl4-openssl-dev libmicrohttpd-dev \
    libpcre2-dev libpq-dev librabbitmq-dev libssl-dev pkg-config && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
WORKDIR /src
COPY Package.swift ./
COPY shared shared
COPY services services
COPY cli cli
ENV BGAGENT_WITHOUT_TESTS=1
RUN --mount=type=cache,target=/src/.build \
    swift build -c release --static-swift-stdlib \
    && mkdir /out \
    && find "$(swift build -c release --static-swift-stdlib --show-bin-path)" -maxdepth 1 -type f -executable \
        ! -name '*.*' -exec install -s -t /out {} +

FROM scratch AS prebuilt
ARG PREBUILT=.build/image/release
COPY ${PREBUILT} /out

FROM ${BINARIES} AS binaries

# What all services share.
FROM ${BASE_IMAGE} AS runtime
RUN --mount=type=secret,id=ca,target=/run/secrets/ca \
    apt-get update && apt-get install -y --no-install-recommends ca-certificates libcurl4 libmicrohttpd12 \
    libpcre2-8-0 libpq5 librabbitmq4 libssl3 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && if [ -s /run/secrets/ca ]; then \
        install -m 644 /run/secrets/ca /usr/local/share/ca-certificates/site.crt && update-ca-certificates; fi \
    && useradd --uid 10001 --no-create-home --home-dir /var/lib/bgagent --shell /usr/sbin/nologin bgagent \
    # The user is chosen at the start, so a new volume has to let anybody write; only services of ours are in it.
    && install -d -m 1777 /var/lib/bgagent /var/lib/bgagent-artifacts
COPY --chmod=755 ops/images/probe /usr/local/bin/probe
ENV BGAGENT_HEALTH_HOST=0.0.0.0 BGAGENT_HEALTH_PORT=9090 HOME=/tmp LANG=C.UTF-8
USER 10001:10001
EXPOSE 9090

FROM runtime AS service
ARG SERVICE
COPY --from=binaries /out/${SERVICE} /usr/local/bin/service
ENTRYPOINT ["/usr/local/bin/service"]

# The agent gateway serves git with the real one. Only what serves and pushes: the package brings Perl with it.
FROM runtime AS git
USER root
RUN apt-get update && apt-get install -y --no-install-recommends git \
    && mkdir -p /git/usr/lib/git-core /git/usr/bin /git/usr/share \
    && cp -a /usr/bin/git /git/usr/bin/ && cp -a /usr/share/git-core /git/usr/share/ \
    && cd /usr/lib/git-core && cp -a git git-http-backend git-remote-http git-remote-https /git/usr/lib/git-core/ \
    && find . -maxdepth 1 -type l -lname git -exec cp -a -t /git/usr/lib/git-core {} +

FROM runtime AS git-runtime
USER root
RUN apt-get update && apt-get install -y --no-install-recommends libcurl3-gnutls libexpat1 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=git /git/ /
USER 10001:10001

FROM git-runtime AS git-service
ARG SERVICE
COPY --from=binaries /out/${SERVICE} /usr/local/bin/service
ENTRYPOINT ["/usr/local/bin/service"]

FROM runtime AS cli
COPY --from=binaries /out/bgagent /usr/local/bin/bgagent
COPY --chmod=755 ops/images/bgagent /usr/local/bin/bgagent-in-compose
ENTRYPOINT ["/usr/local/bin/bgagent-in-compose"]
