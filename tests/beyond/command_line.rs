//! What all programs have in common on their command lines.

use std::fs;
use std::path::Path;
use tests::{Scratch, Service, fails, prints};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names in `package/commands`.
fn commands() -> Vec<String> {
    let list = fs::read_to_string(workspace().join("package/commands")).unwrap();
    list.lines().map(String::from).collect()
}

#[test]
fn every_program_says_how_it_is_used_and_which_it_is() {
    let scratch = Scratch::new();
    let commands = commands();
    assert!(commands.len() > 20);
    for name in commands {
        let help = scratch.run(&format!("{name} --help"));
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{name}");
        let (usage, text) = help.stdout.split_once("\n\n").unwrap();
        assert!(usage.starts_with(&format!("usage: {name}")) && !usage.contains('\n'), "{usage}");
        assert!(text.contains("Exit codes") && text.ends_with(&format!("{name}(8) says more.\n")), "{name}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{name}: {text}");
        // The first word alone asks, whatever comes after it.
        assert_eq!(scratch.run(&format!("{name} --help --version web")), help, "{name}");
        let version = prints(&format!("{name} (daemontools) {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(scratch.run(&format!("{name} --version")), version);
        let full = fails(111, &format!("{name}: fatal: unable to write output: out of disk space\n"));
        assert_eq!(scratch.shell(&format!("{name} --version >/dev/full")), full);
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "a program has done something");
}

/// The options that a manual page describes, as they are typed: `-x`, `--long`.
fn documented(name: &str) -> Vec<String> {
    let page = fs::read_to_string(workspace().join(format!("man/{name}.8"))).unwrap();
    let items = page.lines().filter_map(|line| line.strip_prefix(".It Fl "));
    let flags = items.flat_map(|item| item.split(" Fl ")).filter_map(|flag| flag.split([' ', ',']).next());
    flags.map(|flag| format!("-{}", flag.replace("\\-", "-"))).collect()
}

#[test]
fn help_and_the_line_for_wrong_usage_list_all_options_of_the_manual() {
    let scratch = Scratch::new();
    let mut count = 0;
    for name in commands() {
        let help = scratch.run(&format!("{name} --help")).stdout;
        let (usage, text) = help.split_once("\n\n").unwrap();
        for option in documented(&name) {
            count += 1;
            let is_in = |text: &str| text.split([' ', ',', '[', '\n']).any(|word| word == option);
            assert!(is_in(text), "{name} {option}: {text}");
            let [b'-', letter] = option.as_bytes() else { continue };
            let bundles = usage.split(' ').filter_map(|word| word.trim_start_matches('[').strip_prefix('-'));
            assert!(bundles.into_iter().any(|bundle| bundle.contains(char::from(*letter))), "{name} {option}: {usage}");
        }
    }
    assert!(count >= 50, "{count} options found");
}

#[test]
fn a_service_may_be_called_help() {
    let scratch = Scratch::new();
    for name in ["--help", "--version"] {
        let service = Service::new(&scratch, &format!("services/{name}"), "exec sleep 1000");
        let _svscan = tests::Daemon::start(scratch.command("svscan").arg("services"), &scratch);
        let pid = service.up();
        let line = |name: &str, said: &str| format!("{name}: up (pid {pid}) {}", said.rsplit(") ").next().unwrap());
        for name in [name.to_string(), format!("./{name}")] {
            let said = scratch.shell(&format!("cd services && svstat {name}")).stdout;
            assert_eq!(said, line(&name, &said));
        }
        assert_eq!(scratch.shell(&format!("cd services && svc -t -W restarted ./{name}")), prints(""));
        assert_ne!(service.up(), pid);
    }
}
