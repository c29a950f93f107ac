use multilog::pattern::matches;

/// The input is a pattern, a NUL, and a line. They match exactly if the manual says so.
pub fn as_the_reference(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (pattern, line) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    assert_eq!(matches(pattern, line), reference(pattern, line));
    assert!(matches(line, line) || line.contains(&b'*'));
    assert!(matches(b"*", line));
}

/// Follows the manual's words one after the other: a star matches everything up to the first occurrence of the
/// character after it.
fn reference(pattern: &[u8], line: &[u8]) -> bool {
    let mut at = 0;
    for (index, wanted) in pattern.iter().enumerate() {
        if *wanted == b'*' {
            match pattern.get(index + 1) {
                None => return true,
                Some(next) => match line[at..].iter().position(|byte| byte == next) {
                    None => return false,
                    Some(skipped) => at += skipped,
                },
            }
        } else if line.get(at) == Some(wanted) {
            at += 1;
        } else {
            return false;
        }
    }
    at == line.len()
}
