//! softlimit: options, numbers, hard limits.

use tests::{Outcome, Scratch, differs, fails, prints};

/// Runs `softlimit OPTIONS` with a soft limit of 40 and a hard limit of 50 open files, and returns the two limits that
/// the program sees.
fn open_files(options: &str) -> Outcome {
    let show = "prlimit --nofile -o SOFT,HARD --noheadings --raw";
    Scratch::new().shell(&format!("prlimit --nofile=40:50 softlimit {options} {show}"))
}

/// The limits of newer systems are ours.
fn usage() -> String {
    let more = differs("[-e nice] [-i signals] [-q queuebytes] [-R rtprio] [-y rtusecs] ", "");
    format!(
        "softlimit: usage: softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] \
         [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] {more}child\n"
    )
}

#[test]
fn the_soft_limit_becomes_the_number_or_the_hard_limit_whichever_is_lower() {
    for (options, shown) in [
        ("", "40 50\n"),
        ("-o45", "45 50\n"),
        ("-o 45", "45 50\n"),
        ("-o 030", "30 50\n"),
        ("-o 50", "50 50\n"),
        ("-o 51", "50 50\n"),
        ("-o =", "50 50\n"),
        ("-o=", "50 50\n"),
        ("-o 18446744073709551615", "50 50\n"),
        ("-o30 -o35", "35 50\n"),
        ("-o30 -o =", "50 50\n"),
        ("-c5 -o30 --", "30 50\n"),
    ] {
        assert_eq!(open_files(options), prints(shown), "{options}");
    }
}

#[test]
fn more_than_fits_into_a_number_is_no_limit() {
    // The original overflows: it takes 2^64 + 45 for 45.
    assert_eq!(open_files("-o 18446744073709551661"), prints(differs("50 50\n", "45 50\n")));
}

#[test]
fn no_digits_are_zero() {
    let shown = Scratch::new().shell("softlimit -c '' prlimit --core -o SOFT --noheadings --raw");
    assert_eq!(shown, prints("0\n"));
}

/// Our softlimit names what it refuses, and then prints the original's usage.
fn no_limit(refused: &str) -> Outcome {
    let ways = match refused.as_bytes()[1] {
        b'o' | b'p' | b't' => "say a number without a unit, or =",
        _ => "say a number of bytes, with or without k, M or G, or =",
    };
    fails(100, &differs(format!("softlimit: {refused} is no limit: {ways}\n{}", usage()), usage()))
}

#[test]
fn what_is_not_a_number_is_misuse_and_named() {
    for options in [
        "-o 12x", "-o x12", "-o -5", "-o +5", "-o ' 5'", "-o =x", "-o '= '", "-o ==", "-o --", "-o 0x10",
        // Only numbers of bytes have units, and none of these.
        "-o 1k", "-p 1k", "-t 1M", "-c 1m", "-c 1K", "-c 1kB", "-c k", "-c 1.5G",
    ] {
        assert_eq!(open_files(options), no_limit(&options.replace('\'', "")), "{options}");
    }
    // There must be nothing between an option and its value.
    for (options, refused) in
        [("-c0o64", "-c 0o64"), ("-o=45", "-o =45"), ("-o==", "-o =="), ("-m=1", "-m =1"), ("-m=1M", "-m =1M")]
    {
        assert_eq!(open_files(options), no_limit(refused), "{options}");
    }
}

#[test]
fn bytes_may_have_a_unit() {
    // The original refuses each of these as misuse.
    for (size, bytes) in [("64k", "65536"), ("100M", "104857600"), ("2G", "2147483648")] {
        for option in ["-f", "-f "] {
            let show = format!("softlimit {option}{size} prlimit --fsize -o SOFT --noheadings --raw");
            let limited = prints(&format!("{bytes}\n"));
            assert_eq!(Scratch::new().shell(&show), differs(limited, fails(100, &usage())), "{option}{size}");
        }
    }
    let memory = Scratch::new().shell("softlimit -m 100M prlimit --as --data --stack -o SOFT --noheadings --raw");
    assert_eq!(memory, differs(prints(&"104857600\n".repeat(3)), fails(100, &usage())));
}

#[test]
fn unknown_options_are_misuse() {
    for (options, complaint) in [
        ("-z", "illegal option -- z"),
        ("-z5", "illegal option -- z"),
        ("-=", "illegal option -- ="),
        ("-o45 -Z", "illegal option -- Z"),
        ("-o45 -\u{1}", "illegal option -- \u{1}"),
    ] {
        assert_eq!(open_files(options), fails(100, &format!("softlimit: {complaint}\n{}", usage())), "{options}");
    }
    let unfinished = Scratch::new().run("softlimit -o45 -c");
    assert_eq!(unfinished, fails(100, &format!("softlimit: option requires an argument -- c\n{}", usage())));
    // In the original, any word that begins with two dashes ends the options.
    for options in ["--foo", "--foo=5", "--o45"] {
        let name = options.split('=').next().expect("a name");
        let illegal = fails(100, &format!("softlimit: illegal option {name}\n{}", usage()));
        assert_eq!(open_files(options), differs(illegal, prints("40 50\n")), "{options}");
    }
}

#[test]
fn options_end_at_the_program() {
    let scratch = Scratch::new();
    assert_eq!(scratch.run("softlimit echo -c 5 -- -z"), prints("-c 5 -- -z\n"));
    assert_eq!(scratch.run("softlimit -c5 -- echo -c"), prints("-c\n"));
    assert_eq!(scratch.run("softlimit -c5 -").stderr, "softlimit: fatal: unable to run -: file does not exist\n");
    let cause = differs(": a program is expected here, not an option", "");
    let refused = format!("softlimit: fatal: unable to run -c: file does not exist{cause}\n");
    assert_eq!(scratch.run("softlimit -- -c").stderr, refused);
}

#[test]
fn each_option_has_its_limits() {
    for (option, limits) in [
        ("-a", "AS"),
        ("-c", "CORE"),
        ("-d", "DATA"),
        ("-f", "FSIZE"),
        ("-l", "MEMLOCK"),
        ("-m", "AS DATA MEMLOCK STACK"),
        ("-o", "NOFILE"),
        ("-p", "NPROC"),
        ("-r", "RSS"),
        ("-s", "STACK"),
        ("-t", "CPU"),
    ] {
        // A limit that lets the program run.
        let number: u64 = match option {
            "-o" | "-p" => 234,
            "-l" | "-c" | "-f" | "-r" | "-t" => 12_345,
            _ => 123_456_789,
        };
        let before = all_limits("");
        let after = all_limits(&format!("softlimit {option} {number}"));
        for ((name, soft, hard), (_, soft_after, hard_after)) in before.iter().zip(&after) {
            let is_meant = limits.split(' ').any(|limit| limit == name);
            let expected = if is_meant { number.min(*hard) } else { *soft };
            assert_eq!((soft_after, hard_after), (&expected, hard), "{option} {name}");
        }
        assert_eq!(before.len(), after.len());
    }
}

/// The name, soft limit and hard limit of every resource, as a program sees them that `prefix` runs.
fn all_limits(prefix: &str) -> Vec<(String, u64, u64)> {
    let list = "prlimit -o RESOURCE,SOFT,HARD --noheadings --raw";
    let outcome = Scratch::new().shell(&format!("{prefix} {list}"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    let number = |word: &str| if word == "unlimited" { u64::MAX } else { word.parse().expect("a number") };
    let limit = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].to_string(), number(words[1]), number(words[2]))
    };
    let limits: Vec<_> = outcome.stdout.lines().map(limit).collect();
    assert!(limits.len() >= 11, "{limits:?}");
    limits
}

#[test]
fn a_limit_below_what_it_takes_to_start_kills_the_program_and_not_softlimit() {
    // A large environment needs memory to be passed on.
    let large = "V=$(head -c 100000 /dev/zero | tr '\\0' v); export V; W=$V; X=$V; export W X";
    let scratch = Scratch::new();
    for option in ["-m 1000", "-d 1000", "-a 1000", "-s 1000"] {
        let doubt = "is 1000 bytes, with which no program can start: did you mean 1000M?";
        let doubt = differs(format!("softlimit: warning: {option} {doubt}\n"), String::new());
        let missing = fails(111, &format!("{doubt}softlimit: fatal: unable to run nosuch: file does not exist\n"));
        assert_eq!(scratch.shell(&format!("{large}; softlimit {option} nosuch")), missing, "{option}");
    }
}

/// The system kills a program with such a limit when it starts, without a word.
#[test]
fn memory_with_which_no_program_can_start_is_doubted() {
    let scratch = Scratch::new();
    for option in ["-m", "-a", "-s", "-d"] {
        let words = "is 100 bytes, with which no program can start: did you mean 100M?";
        let warning = differs(format!("softlimit: warning: {option} 100 {words}\n"), String::new());
        let outcome = scratch.run(&format!("softlimit {option} 100 true"));
        assert_eq!((outcome.code, outcome.stderr), (128 + 11, warning), "{option}");
        assert_eq!(scratch.run(&format!("softlimit {option} 104857600 echo ran")), prints("ran\n"), "{option}");
    }
    // Of other limits, such a number may be meant.
    assert_eq!(scratch.run("softlimit -c 100 -f 100 -l 100 -o 100 echo ran"), prints("ran\n"));
}
