# What one does here: `just NAME`, of https://just.systems. Each is a line that can be typed as well.

[private]
default:
    @just --list --unsorted

# Format and lints: a minute
quick:
    cargo fmt --all --check
    cargo clippy --quiet --workspace --all-targets -- -D warnings

# The tests, or those whose names have a word: just test svc
test *words:
    cargo test --workspace {{ words }}

# All that must hold before a change counts, or some steps of it: half an hour
ci *steps:
    .ci/run {{ steps }}

# Measure beside daemontools, runit and s6: just bench log
bench *names="log control footprint boot recover query":
    cargo run --release --package bench -- {{ names }}

# See it at work, for some seconds or until ^C
try *seconds:
    package/try {{ seconds }}
