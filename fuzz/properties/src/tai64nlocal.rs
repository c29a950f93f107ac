use multilog::calendar::Reader;

/// The seconds since 1970 that this test's calendar can name.
const KNOWN: std::ops::Range<i64> = -5..1 << 33;

/// Only a label at the beginning of a line is changed, and only if it is well formed. It does not matter how the input
/// is cut.
pub fn labels_only(data: &[u8]) {
    let expected: Vec<u8> = data.split_inclusive(|byte| *byte == b'\n').flat_map(reference).collect();
    let whole = shown([data]);
    assert_eq!(whole, expected, "{}", data.escape_ascii());
    let at = usize::from(data.first().copied().unwrap_or(0)).min(data.len());
    let (front, back) = data.split_at(at);
    assert_eq!(shown([front, back]), expected);
    assert_eq!(shown(data.chunks(1)), expected);
}

fn shown<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut reader = Reader::new(calendar);
    pieces.into_iter().for_each(|piece| reader.take(piece));
    reader.end();
    reader.output
}

fn calendar(second: i64) -> Option<Vec<u8>> {
    KNOWN.contains(&second).then(|| format!("<{second}>").into_bytes())
}

fn reference(line: &[u8]) -> Vec<u8> {
    let digits = line.iter().skip(1).take_while(|byte| b"0123456789abcdef".contains(byte)).count();
    let time = (line.starts_with(b"@") && digits == 24).then(|| time_of(&line[1..25])).flatten();
    match time {
        Some(time) => [time.as_bytes(), &line[25..]].concat(),
        None => line.to_vec(),
    }
}

fn time_of(label: &[u8]) -> Option<String> {
    let number = |digits: &[u8]| u64::from_str_radix(&String::from_utf8_lossy(digits), 16).ok();
    let (seconds, nanoseconds) = (number(&label[..16])?, number(&label[16..])?);
    let second = i64::try_from(i128::from(seconds) - (1 << 62) - 10).ok()?;
    // TAI64 has no labels beyond 2^63.
    let exists = seconds < 1 << 63 && nanoseconds < 1_000_000_000 && KNOWN.contains(&second);
    exists.then(|| format!("<{second}>.{nanoseconds:09}"))
}
