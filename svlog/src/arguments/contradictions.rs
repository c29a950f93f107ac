//! Options that contradict each other. svlog refuses them in words, as to obey one and forget the other would show lines
//! that the user does not expect. No I/O.

use lexopt::Arg;

/// Two options that contradict each other, and why. The short name stands for the long one too.
const CONTRADICTIONS: [(&str, &str, &str); 35] = [
    ("--head", "-n", "the first lines are not the last ones"),
    ("--count", "-f", "the number of lines is known only when there are no more"),
    ("--count", "-n", "all lines that match are counted"),
    ("--count", "--head", "all lines that match are counted"),
    ("--count", "-A", "only lines that match are counted"),
    ("--count", "-B", "only lines that match are counted"),
    ("--count", "-C", "only lines that match are counted"),
    ("--cursor-file", "-n", "what is shown begins where the svlog before has ended"),
    ("--cursor-file", "--until", "the next svlog would not show the lines after it"),
    ("--cursor-file", "--count", "lines that are only counted were not shown"),
    ("--cursor-file", "-A", "the next svlog would not show the lines around"),
    ("--cursor-file", "-B", "the next svlog would not show the lines around"),
    ("--cursor-file", "-C", "the next svlog would not show the lines around"),
    ("-r", "-f", "lines that come later would stand after older ones"),
    ("-r", "--head", "the first lines are the last ones then: say -n"),
    ("-r", "--count", "a number has no order"),
    ("-r", "--cursor-file", "the next svlog goes on after the newest line"),
    ("-r", "-A", "the lines around would stand in front of it, or in the wrong order"),
    ("-r", "-B", "the lines around would stand behind it, or in the wrong order"),
    ("-r", "-C", "the lines around would stand in the wrong order"),
    ("--histogram", "-f", "the numbers are known only when there are no more lines"),
    ("--histogram", "-n", "all lines that match are counted"),
    ("--histogram", "--head", "all lines that match are counted"),
    ("--histogram", "--count", "these are two ways to count"),
    ("--histogram", "-r", "the numbers stand in the order of time"),
    ("--histogram", "--cursor-file", "lines that are only counted were not shown"),
    ("--histogram", "-A", "only lines that match are counted"),
    ("--histogram", "-B", "only lines that match are counted"),
    ("--histogram", "-C", "only lines that match are counted"),
    ("--histogram", OTHER_FORM, "numbers are shown as text or by --json"),
    ("--run", "-f", "the lines that come later may be of the next run"),
    ("--run", "--cursor-file", "the next svlog would not show the lines of other runs"),
    (ALL_RUNS, "-r", "the end of a run would stand before its lines"),
    ("--json", OTHER_FORM, "these are two forms"),
    ("--count", OTHER_FORM, "a number is shown as text or by --json"),
];

/// The name for an option `-o` with another form than JSON.
pub const OTHER_FORM: &str = "-o";

/// The name for an option `--run` that asks for all runs.
pub const ALL_RUNS: &str = "--run all";

/// The options that occur in the table: by their short names, where they have one.
const NAMES: [(Option<char>, &str, &str); 13] = [
    (Some('f'), "follow", "-f"),
    (Some('n'), "lines", "-n"),
    (None, "head", "--head"),
    (None, "count", "--count"),
    (Some('r'), "reverse", "-r"),
    (None, "histogram", "--histogram"),
    (None, "json", "--json"),
    (None, "cursor-file", "--cursor-file"),
    (None, "until", "--until"),
    (None, "run", "--run"),
    (Some('A'), "after-context", "-A"),
    (Some('B'), "before-context", "-B"),
    (Some('C'), "context", "-C"),
];

/// The name of an option in the table.
pub fn name(argument: &Arg) -> Option<&'static str> {
    let is_it = |(short, long, _): &&(Option<char>, &str, &str)| match argument {
        Arg::Short(letter) => *short == Some(*letter),
        Arg::Long(word) => word == long,
        Arg::Value(_) => false,
    };
    NAMES.iter().find(is_it).map(|(_, _, name)| *name)
}

/// The refusal of the first contradiction among these options.
pub fn first(given: &[&str]) -> Option<String> {
    let is_given = |(one, other, _): &&(&str, &str, &str)| given.contains(one) && given.contains(other);
    CONTRADICTIONS.iter().find(is_given).map(|(one, other, why)| format!("{one} contradicts {other}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_contradiction_is_refused_whichever_option_comes_first_and_names_options_that_exist() {
        for (one, other, why) in CONTRADICTIONS {
            let expected = Some(format!("{one} contradicts {other}: {why}"));
            assert_eq!((first(&[one, other]), first(&["-x", other, one])), (expected.clone(), expected));
            assert_eq!(first(&[one, one]), None);
            for option in [one, other] {
                assert!(
                    option == OTHER_FORM || option == ALL_RUNS || NAMES.iter().any(|(_, _, name)| *name == option),
                    "{option}"
                );
            }
        }
    }

    #[test]
    fn an_option_has_one_name_in_the_table() {
        for (argument, expected) in [
            (Arg::Short('f'), Some("-f")),
            (Arg::Long("follow"), Some("-f")),
            (Arg::Long("head"), Some("--head")),
            (Arg::Long("utc"), None),
            (Arg::Value("head".into()), None),
        ] {
            assert_eq!(name(&argument), expected, "{argument:?}");
        }
    }
}
