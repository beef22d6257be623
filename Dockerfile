# Moonpool in a container, for `docker build -t moonpool .` and
#
#     docker run --privileged --cgroupns=private -p 8080:8080 -v moonpool:/var/lib/moonpool -e MOONPOOL_API_KEY=YOUR_KEY moonpool
#
# It makes namespaces, mounts, network rules and a loop device, hence --privileged. The base image of sandboxes is made at the
# first start, into the volume; that takes some minutes and the network.
FROM debian:12-slim AS environment
COPY scripts/machine.sh /src/scripts/machine.sh
WORKDIR /src
RUN apt-get update \
    && bash -c '. scripts/machine.sh; offer_runsc' \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        runsc btrfs-progs mmdebstrap skopeo nftables zstd util-linux ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM environment
# What changes seldom first: the environment is made anew only when the lock file changes.
COPY pyproject.toml uv.lock README.md LICENSE /src/
COPY src/moonpool/__init__.py /src/src/moonpool/__init__.py
RUN bash -c '. scripts/machine.sh; sync_environment --no-default-groups --inexact'
COPY src /src/src
RUN .venv/bin/python -m compileall -q src
ENV PATH=/src/.venv/bin:$PATH MOONPOOL_DATA=/var/lib/moonpool
VOLUME /var/lib/moonpool
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["moonpool", "serve", "--listen", "0.0.0.0:8080", "--data", "/var/lib/moonpool"]
