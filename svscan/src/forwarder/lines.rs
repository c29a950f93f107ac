//! Which lines go out in one write. No I/O.

/// How many bytes stay in one piece when they are written at once (`PIPE_BUF`).
pub const ATOMIC: usize = 4096;

/// How much of what was seen can be taken, and what is to be written for it: whole lines, as many as fit
/// into one write, one at least. Without any end of line: nothing, or with `cut` all of it as one line.
pub fn some_lines(prefix: &[u8], seen: &[u8], cut: bool) -> (usize, Vec<u8>) {
    let (mut taken, mut lines) = (0, Vec::new());
    for line in seen.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.ends_with(b"\n");
        let fits = lines.len() + prefix.len() + line.len() <= ATOMIC;
        if !(whole || cut && taken == 0) || !(fits || taken == 0) {
            break;
        }
        taken += line.len();
        lines.extend([prefix, line].concat());
        if !whole {
            lines.push(b'\n');
        }
    }
    (taken, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_taken_and_a_cut_one_only_if_need_be() {
        let table: [(&[u8], bool, usize, &[u8]); 7] = [
            (b"one\ntwo\nthr", false, 8, b"a: one\na: two\n"),
            (b"one\ntwo\nthr", true, 8, b"a: one\na: two\n"),
            (b"thr", false, 0, b""),
            (b"thr", true, 3, b"a: thr\n"),
            (b"\n\n", false, 2, b"a: \na: \n"),
            (b"\xff\0\n", false, 3, b"a: \xff\0\n"),
            (b"", true, 0, b""),
        ];
        for (seen, cut, taken, lines) in table {
            assert_eq!(some_lines(b"a: ", seen, cut), (taken, lines.to_vec()), "{seen:?} {cut}");
        }
    }

    #[test]
    fn one_write_is_in_one_piece_unless_a_line_is_longer() {
        let long = [vec![b'x'; 5000], b"\n".to_vec(), b"y\n".to_vec()].concat();
        assert_eq!(some_lines(b"a: ", &long, false).0, 5001);
        let many = b"123456\n".repeat(1000);
        let (taken, lines) = some_lines(b"a: ", &many, false);
        assert_eq!((taken, lines.len()), (7 * 409, 10 * 409));
    }
}
