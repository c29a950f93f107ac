//! `svctl completion`: the scripts complete words in real shells.

use tests::{Outcome, Scratch, has, skip};

/// A scan directory with services whose names need quotes, among others.
fn services() -> Scratch {
    let scratch = Scratch::new();
    for name in ["web", "worker-1", "a b", "dead"] {
        scratch.dir(format!("sv/{name}"));
    }
    scratch
}

/// What bash offers for the last word of a line. The words are given as bash has divided them.
fn bash(scratch: &Scratch, words: &[&str]) -> Vec<String> {
    let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let script = format!(
        "source <(svctl completion bash)
        complete -p svctl >/dev/null || exit 1
        COMP_WORDS=({line}) COMP_CWORD={}
        $(complete -p svctl | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.len() - 1
    );
    let outcome = scratch.outcome_of(scratch.command("bash").env("SVDIR", "sv").args(["-c", &script]));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{words:?}");
    outcome.stdout.lines().map(str::to_string).filter(|line| !line.is_empty()).collect()
}

#[test]
fn bash_offers_commands_names_and_options() {
    if !has("bash") {
        return;
    }
    let scratch = services();
    scratch.dir("other/mail");
    for (words, offered) in [
        (&["svctl", "sto"][..], &["stop"][..]),
        (&["svctl", "w"], &["wait", "web", "worker-1"]),
        (&["svctl", "restart", "w"], &["web", "worker-1"]),
        (&["svctl", "to"], &["top"]),
        (&["svctl", "top", "we"], &["web"]),
        (&["svctl", "-T", "5s", "restart", "web", "wo"], &["worker-1"]),
        (&["svctl", "status", "a"], &["a\\ b"]),
        (&["svctl", "wait", "re"], &["ready", "restarted"]),
        (&["svctl", "wait", "ready", "d"], &["dead"]),
        (&["svctl", "kill", "-s", "US"], &["USR1", "USR2"]),
        (&["svctl", "--color", "al"], &["always"]),
        (&["svctl", "completion", ""], &["bash", "zsh", "fish"]),
        (&["svctl", "start", "--no"], &["--no-wait"]),
        (&["svctl", "-d", "other", "stop", ""], &["mail"]),
        (&["svctl", "-d", "oth"], &["other"]),
        (&["svctl", "add", "other/m"], &["other/mail"]),
        (&["svctl", "start", "nothing"], &[]),
    ] {
        assert_eq!(bash(&scratch, words), offered, "{words:?}");
    }
}

/// What a shell answers to a script, which gets what svctl prints for that shell as a file `completion`.
fn asked(scratch: &Scratch, shell: &str, script: &str) -> Outcome {
    assert_eq!(scratch.shell(&format!("svctl completion {shell} >completion")).code, 0);
    let mut command = scratch.command(shell);
    scratch.outcome_of(command.env("SVDIR", "sv").env("HOME", scratch.path()).args(["-c", script]))
}

#[test]
fn fish_offers_commands_names_and_options() {
    if !has("fish") {
        return;
    }
    let scratch = services();
    for (line, offered) in [
        ("svctl sto", "stop\n"),
        ("svctl restart w", "web\nworker-1\n"),
        ("svctl wait re", "ready\nrestarted\n"),
        ("svctl wait ready d", "dead\n"),
        ("svctl kill -s US", "USR1\nUSR2\n"),
        ("svctl start --no", "--no-wait\n"),
        ("svctl completion z", "zsh\n"),
    ] {
        let outcome = asked(&scratch, "fish", &format!("source completion; complete -C '{line}'"));
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, offered), "{line}: {}", outcome.stderr);
    }
}

/// The widget that completes needs a terminal, which zpty gives. Here compadd only writes what it would offer.
#[test]
fn zsh_offers_commands_names_and_options() {
    if !has("zsh") {
        return;
    }
    let scratch = services();
    for (words, offered) in [
        ("svctl restart w", "a b|dead|web|worker-1"),
        ("svctl wait re", "up|ready|down|finished|restarted"),
        ("svctl wait ready d", "a b|dead|web|worker-1"),
        ("svctl completion z", "bash|zsh|fish"),
    ] {
        let script = format!(
            "compdef() {{ }}; compadd() {{ shift; print -r -- ${{(j:|:)@}} }}
            source ./completion; words=({words}); CURRENT=$#words; PREFIX=$words[-1]; _svctl"
        );
        let outcome = asked(&scratch, "zsh", &script);
        assert_eq!((outcome.code, outcome.stdout.trim_end()), (0, offered), "{words}: {}", outcome.stderr);
    }
}

#[test]
fn a_shell_that_is_not_known_is_refused() {
    let scratch = Scratch::new();
    let refused = "svctl: fatal: completion tcsh: not one of bash zsh fish\n";
    assert_eq!(scratch.run("svctl completion tcsh"), tests::fails(100, refused));
}

/// Lays the completions where package/upgrade links them, below `share`.
fn installed(scratch: &Scratch) {
    for (shell, place) in [
        ("bash", "bash-completion/completions/svctl"),
        ("zsh", "zsh/site-functions/_svctl"),
        ("fish", "fish/vendor_completions.d/svctl.fish"),
    ] {
        scratch.file(format!("share/{place}"), scratch.run(&format!("svctl completion {shell}")).stdout);
    }
}

/// What a shell answers that is told nothing of svctl, but only that `share` is a directory as `/usr/local/share` is.
fn asked_as_installed(scratch: &Scratch, shell: &str, options: &[&str], script: &str) -> String {
    let mut command = scratch.command(shell);
    command.env("SVDIR", scratch.path().join("sv")).env("HOME", scratch.path()).env("TERM", "dumb");
    command.env("XDG_DATA_DIRS", scratch.path().join("share")).args(options).args(["-c", script]);
    scratch.outcome_of(&mut command).stdout
}

#[test]
fn each_shell_loads_what_is_installed_by_itself() {
    if !["bash", "fish", "zsh"].into_iter().all(has) {
        return;
    }
    let scratch = services();
    installed(&scratch);
    let fish = asked_as_installed(&scratch, "fish", &[], "complete -C 'svctl restart w'");
    assert_eq!(fish, "web\nworker-1\n");
    // The key for completion is typed on a terminal of zsh's own.
    let zsh = "zmodload zsh/zpty; zpty z 'PS1= zsh -f -i'
        zpty -w z 'fpath=($PWD/share/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -D'
        zpty -w z 'bindkey \"^I\" list-choices; echo rea''dy'; zpty -r z out '*ready*'
        zpty -w -n z $'svctl restart w\\t'; zpty -r z out '*worker-1*'; print -r -- $out";
    let zsh = asked_as_installed(&scratch, "zsh", &["-f"], zsh);
    assert!(zsh.contains("web") && zsh.contains("worker-1"), "{zsh:?}");
    let loader = "/usr/share/bash-completion/bash_completion";
    if !std::path::Path::new(loader).is_file() {
        return skip("bash-completion is not installed");
    }
    let bash = format!(
        "source {loader}; _completion_loader svctl; complete -p svctl
        COMP_WORDS=(svctl restart w) COMP_CWORD=2; _svctl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let bash = asked_as_installed(&scratch, "bash", &[], &bash);
    assert_eq!(bash, "complete -F _svctl svctl\nweb\nworker-1\n");
}
