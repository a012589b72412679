# What CI runs.
check:
    bash .ci/run

# Licences, bans and sources of all dependencies (needs cargo-deny).
deny:
    cargo deny check bans licenses sources

# Known vulnerabilities; needs the network.
advisories:
    cargo deny check advisories

# All benchmark sets, one after the other.
bench:
    cargo run --release -p larder-bench -- engine
    cargo run --release -p larder-bench -- transport
    cargo run --release -p larder-bench -- credentials

# The whole life of a wallet over real sockets.
demo *FILE:
    cargo run --release --bin larder -- demo {{FILE}}
