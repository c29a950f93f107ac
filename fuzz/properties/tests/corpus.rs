//! Tries every property on its corpus and on mutations of it, where there is no fuzzer. A fuzzer would find more.
//!
//! `FUZZ_SEED` repeats a run. If it is not set, each of the long runs uses another seed. A long run takes
//! `FUZZ_SECONDS`.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use fastrand::Rng;
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes at which parsers of numbers or lines often go wrong.
const TOKENS: [&[u8]; 12] = [
    b"\0",
    b"\n",
    b" ",
    b"=",
    b"*",
    b"@",
    b"-1",
    b"0",
    b"65536",
    b"18446744073709551615",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\r\n",
];

/// The number of mutations in a quick run.
const FEW: u64 = 1000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    files(&folder().join("corpus").join(name)).iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Tries a property. If it fails, prints the input and the command that repeats the run.
fn check(name: &str, data: &[u8], again: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| properties::check(name, data))) {
        println!("{name} fails on b\"{}\"", data.escape_ascii());
        println!("again: {again}{name}");
        println!("or keep it: printf '{}' >fuzz/corpus/{name}/NAME", for_printf(data));
        std::panic::resume_unwind(panic);
    }
}

fn for_printf(data: &[u8]) -> String {
    let escaped = |byte: &u8| match byte {
        b'%' | b'\\' | b'\'' => format!("\\{byte:03o}"),
        b' '..=b'~' => char::from(*byte).into(),
        _ => format!("\\{byte:03o}"),
    };
    data.iter().map(escaped).collect()
}

/// Removes, repeats or replaces one piece of `data`.
fn mutate(data: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let piece = some_piece(data, rng);
    let replacement = match rng.u8(..8) {
        0 => Vec::new(),
        1 => data[piece.clone()].repeat(2),
        2 => TOKENS[rng.usize(..TOKENS.len())].to_vec(),
        3 => vec![rng.u8(..)],
        4 => data[piece.clone()].iter().map(|byte| byte ^ (1 << rng.u8(..8))).collect(),
        5 => data[piece.clone()].iter().map(|byte| byte.wrapping_add(1)).collect(),
        6 => corpus[rng.usize(..corpus.len())].clone(),
        _ => {
            let other = &corpus[rng.usize(..corpus.len())];
            other[some_piece(other, rng)].to_vec()
        }
    };
    data.splice(piece, replacement);
    data.truncate(4096);
}

fn some_piece(data: &[u8], rng: &mut Rng) -> Range<usize> {
    let start = rng.usize(..=data.len());
    let longest = data.len() - start;
    // Most pieces are short.
    let length = if rng.bool() { longest.min(1) } else { rng.usize(..=longest) };
    start..start + length
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().unwrap())
}

/// Tries mutations until `enough`, which is given their number so far, returns true.
fn run(name: &str, seed: u64, again: &str, enough: impl Fn(u64) -> bool) {
    let corpus = corpus(name);
    corpus.iter().for_each(|data| check(name, data, again));
    let mut rng = Rng::with_seed(seed);
    let mut tried = 0;
    while !enough(tried) {
        let mut data = corpus[rng.usize(..corpus.len())].clone();
        (0..rng.u8(1..8)).for_each(|_| mutate(&mut data, &corpus, &mut rng));
        check(name, &data, again);
        tried += 1;
    }
    println!("{name}: FUZZ_SEED={seed}, {} of its corpus, {tried} mutations", corpus.len());
}

fn briefly(name: &str) {
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let again = format!("FUZZ_SEED={seed} cargo test -p properties -- --exact briefly::");
    run(name, seed, &again, |tried| tried >= FEW);
}

/// A slow property gets at least as many mutations as in a quick run.
fn at_length(name: &str) {
    let seed = number("FUZZ_SEED").unwrap_or_else(|| Rng::new().u64(1..1 << 32));
    let seconds = number("FUZZ_SECONDS").unwrap_or(10);
    let again =
        format!("FUZZ_SEED={seed} FUZZ_SECONDS={seconds} cargo test -p properties -- --ignored --exact at_length::");
    let begun = Instant::now();
    run(name, seed, &again, |tried| tried >= FEW && begun.elapsed() >= Duration::from_secs(seconds));
}

macro_rules! properties {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        mod briefly {
            $(#[test] fn $name() { super::briefly(stringify!($name)); })*
        }
        mod at_length {
            $(#[test] #[ignore = "takes FUZZ_SECONDS, 10 if not set"] fn $name() { super::at_length(stringify!($name)); })*
        }
    };
}

properties! { control envdir journal notify pattern recovery retention route schedule script settings state status svlog tai64nlocal }

/// A property without a test or a corpus would prove nothing.
#[test]
fn every_property_has_a_test_a_corpus_and_a_target() {
    let all: Vec<_> = properties::ALL.map(|(name, _)| name).to_vec();
    assert_eq!(TESTED, all);
    let stems = |folder: PathBuf| -> Vec<_> {
        files(&folder).iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(stems(folder().join("corpus")), all);
    assert_eq!(stems(folder().join("fuzz_targets")), all);
    for name in all {
        let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let target = fs::read_to_string(folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("\"{name}\"")), "{name}");
        assert!(corpus(name).len() >= 3, "{name}");
    }
}

/// Mutations must reach inputs that the corpus does not contain.
#[test]
fn a_mutation_reaches_what_the_corpus_does_not() {
    let corpus = [b"READY=1".to_vec(), b"STATUS=x".to_vec()];
    let mut rng = Rng::with_seed(1);
    let found = (0..10_000).any(|_| {
        let mut data = corpus[rng.usize(..2)].clone();
        (0..3).for_each(|_| mutate(&mut data, &corpus, &mut rng));
        data.starts_with(b"STATUS=READY")
    });
    assert!(found);
}
