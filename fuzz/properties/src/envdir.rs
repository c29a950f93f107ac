/// The first line of a file becomes a value that an environment can hold. The value has the same bytes, except where
/// the manual says otherwise.
pub fn value(data: &[u8]) {
    let line = data.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    let value = chain::variable::value(line.to_vec());
    assert_eq!(value, reference(line));
    assert!(value.is_none_or(|value| !value.contains(&0)));
}

fn reference(line: &[u8]) -> Option<Vec<u8>> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let end = text.iter().rposition(|byte| !b" \t".contains(byte)).map_or(0, |at| at + 1);
    let value = text[..end].iter().map(|byte| if *byte == 0 { b'\n' } else { *byte });
    (!line.is_empty()).then(|| value.collect())
}
