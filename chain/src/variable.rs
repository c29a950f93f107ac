//! The meaning of a file that envdir has read. No I/O.

/// The value that the first line of a file gives to the variable, or `None` if envdir removes the variable.
pub fn value(mut line: Vec<u8>) -> Option<Vec<u8>> {
    if line.is_empty() {
        return None;
    }
    line.pop_if(|last| *last == b'\n');
    while line.pop_if(|last| matches!(last, b' ' | b'\t')).is_some() {}
    line.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b'\n');
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_the_line_without_its_end() {
        for (line, expected) in [
            (&b""[..], None),
            (b"\n", Some(&b""[..])),
            (b"v", Some(b"v")),
            (b"v\n", Some(b"v")),
            (b" v w \t \n", Some(b" v w")),
            (b" \t", Some(b"")),
            (b"v\r\n", Some(b"v\r")),
            (b"v\0w\n", Some(b"v\nw")),
            (b"v\0\n", Some(b"v\n")),
            (b"v \0 \t\n", Some(b"v \n")),
            (b"\0", Some(b"\n")),
            (b"\xff=\xfe\n", Some(b"\xff=\xfe")),
        ] {
            assert_eq!(value(line.to_vec()).as_deref(), expected, "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn a_value_holds_what_an_environment_can(
            // Most of these bytes have a special meaning.
            line in vec(prop_oneof![Just(0), Just(b' '), Just(b'\t'), any::<u8>()], 0..40),
            end in prop_oneof![Just(""), Just("\n")],
        ) {
            let text: Vec<u8> = line.into_iter().filter(|byte| *byte != b'\n').collect();
            let value = value([&text, end.as_bytes()].concat());
            prop_assert_eq!(value.is_none(), text.is_empty() && end.is_empty());
            let value = value.unwrap_or_default();
            prop_assert!(!value.contains(&0) && !value.ends_with(b" ") && !value.ends_with(b"\t"));
            // The value is the line byte for byte, except for NUL bytes and the blanks that were cut off.
            let (kept, cut) = text.split_at(value.len());
            prop_assert!(kept.iter().zip(&value).all(|(from, to)| from == to || (*from, *to) == (0, b'\n')));
            prop_assert!(cut.iter().all(|byte| b" \t".contains(byte)));
        }
    }
}
