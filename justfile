# What CI runs.
check:
    bash .ci/run

# Licences, bans and sources of all dependencies (needs cargo-deny).
deny:
    cargo deny check bans licenses sources

# Known vulnerabilities; needs the network.
advisories:
    cargo deny check advisories

# All benchmark sets; writes target/benchmarks/benchmarks.md and .svg.
bench:
    cargo build --release -p larder-bench
    { for set in engine transport credentials paid restore anchors privacy; do target/release/larder-bench $set --json; done; } \
        | target/release/larder-bench page

# The whole life of a wallet over real sockets.
demo *FILE:
    cargo run --release --bin larder -- demo {{FILE}}
