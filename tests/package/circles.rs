//! No circles of imports: where one file of a crate uses another, that one does not use the first, neither directly nor by
//! way of other files.
//!
//! A path that begins with `crate::` or `super::` is a use of the file in which the module lies that it leads to. It does
//! not count that a module uses the modules inside it. The crate's root, which declares all modules, does not count
//! either, nor do tests.

use crate::architecture::all_sources;
use std::collections::{BTreeMap, BTreeSet};

/// A module, by the names on the way to it from the root of its crate.
type Module<'a> = Vec<&'a str>;
/// The modules of a crate that are files, each with the modules that it uses.
type Uses<'a> = BTreeMap<Module<'a>, BTreeSet<Module<'a>>>;

/// The crate of a source file, and its module. Only the library of a crate counts, or its program if it has no library.
fn module(path: &str) -> Option<(&str, Module<'_>)> {
    let (package, file) = path.split_once("/src/")?;
    let mut module: Module = file.strip_suffix(".rs")?.split('/').collect();
    match module.last() {
        Some(&"mod") => drop(module.pop()),
        Some(&"tests") => return None,
        _ => {}
    }
    let is_root = matches!(module.as_slice(), ["lib" | "main"] | ["bin", ..]);
    (!is_root && !module.contains(&"tests")).then_some((package, module))
}

/// The code of a file, without its comments and without the tests at its end.
fn code(source: &str) -> String {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    code.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Adds the path at the beginning of `text`, or the paths where it branches by braces, and returns what follows it.
fn read_paths<'a>(text: &'a str, prefix: &[&'a str], paths: &mut Vec<Module<'a>>) -> &'a str {
    let (mut path, mut rest) = (prefix.to_vec(), text.trim_start());
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            rest = list.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let after = read_paths(rest, &path, paths);
                // The new name that `as` gives a path is skipped.
                rest = &after[after.find([',', '}']).unwrap_or(after.len())..];
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
        path.extend((end > 0).then_some(&rest[..end]));
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) if end > 0 => rest = next,
            Some(_) | None => break,
        }
    }
    paths.push(path);
    rest
}

/// The paths in a code that begin with `crate` or `super`.
fn paths(code: &str) -> Vec<Module<'_>> {
    let mut paths = Vec::new();
    for word in ["crate::", "super::"] {
        for (at, _) in code.match_indices(word) {
            let is_start = !code[..at].ends_with(|letter: char| letter.is_alphanumeric() || "_:".contains(letter));
            if is_start {
                read_paths(&code[at..], &[], &mut paths);
            }
        }
    }
    paths
}

/// The module from the root of the crate to which a path leads in this module.
fn resolve<'a>(path: &[&'a str], from: &[&'a str]) -> Module<'a> {
    let mut module: Module = if path.first() == Some(&"crate") { Vec::new() } else { from.to_vec() };
    for name in path {
        match *name {
            "crate" => {}
            "super" => drop(module.pop()),
            name => module.push(name),
        }
    }
    module
}

fn uses<'a>(files: &'a BTreeMap<Module<'a>, String>) -> Uses<'a> {
    let of = |from: &Module<'a>, code: &'a String| {
        let leads_to = paths(code).into_iter().filter_map(|path| {
            let mut module = resolve(&path, from);
            while !module.is_empty() && !files.contains_key(&module) {
                module.pop();
            }
            (!module.is_empty() && !module.starts_with(from)).then_some(module)
        });
        leads_to.collect()
    };
    files.iter().map(|(module, code)| (module.clone(), of(module, code))).collect()
}

/// The modules that a module uses, directly and by way of others.
fn reached<'a>(from: &Module<'a>, uses: &Uses<'a>) -> BTreeSet<Module<'a>> {
    let mut reached = BTreeSet::new();
    let mut todo: Vec<&Module> = uses[from].iter().collect();
    while let Some(module) = todo.pop() {
        if reached.insert(module.clone()) {
            todo.extend(&uses[module]);
        }
    }
    reached
}

/// The files of a crate that are in a circle, each with what it uses of them.
fn circles(sources: &BTreeMap<&str, String>) -> Vec<String> {
    let mut crates: BTreeMap<&str, BTreeMap<Module, String>> = BTreeMap::new();
    for (path, code) in sources {
        if let Some((package, module)) = module(path) {
            crates.entry(package).or_default().insert(module, code.clone());
        }
    }
    let mut found = Vec::new();
    for (package, files) in &crates {
        let uses = uses(files);
        let reached: BTreeMap<&Module, _> = uses.keys().map(|module| (module, reached(module, &uses))).collect();
        for (module, used) in &uses {
            let closing = used.iter().filter(|used| reached[used].contains(module));
            found.extend(closing.map(|used| format!("{package}: {} uses {}", module.join("/"), used.join("/"))));
        }
    }
    found
}

#[test]
fn no_files_of_a_crate_use_each_other_in_a_circle() {
    let sources = all_sources();
    let code = sources.iter().map(|(path, source)| (path.as_str(), code(source))).collect();
    assert_eq!(circles(&code), [""; 0]);
}

#[test]
fn a_circle_of_files_is_found_and_a_module_may_use_those_inside_it() {
    let circles =
        |files: &[(&'static str, &str)]| circles(&files.iter().map(|(path, source)| (*path, code(source))).collect());
    let two = [("a/src/one.rs", "use crate::two::Two;"), ("a/src/two.rs", "fn f() -> super::one::One {}")];
    assert_eq!(circles(&two), ["a: one uses two", "a: two uses one"]);
    let by_child = [
        ("a/src/one.rs", "use crate::{\n    Root,\n    two::{child::{self, Child as Other}, B},\n};"),
        ("a/src/two/child.rs", "use super::Two;"),
        ("a/src/two.rs", "use crate::three;"),
        ("a/src/three/mod.rs", "use super::one::*;"),
    ];
    assert_eq!(circles(&by_child).len(), 5, "{:?}", circles(&by_child));
    let inside = [("a/src/one.rs", "use crate::one::child::Child;"), ("a/src/one/child.rs", "use super::One;")];
    assert_eq!(circles(&inside), [""; 0]);
    let other_crates = [("a/src/one.rs", "use crate::two::Two;"), ("b/src/two.rs", "use crate::one::One;")];
    assert_eq!(circles(&other_crates), [""; 0]);
    for harmless in
        ["// crate::one", "#[cfg(test)]\nmod tests {\n    use crate::one::One;\n}", "use crate::three::one;"]
    {
        let files = [("a/src/one.rs", "use crate::two;"), ("a/src/two.rs", harmless), ("a/src/three.rs", "")];
        assert_eq!(circles(&files), [""; 0], "{harmless}");
    }
}
