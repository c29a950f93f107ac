//! The C library's matcher of shell patterns.

use std::ffi::CString;

/// Whether the shell pattern matches the whole of `text`, as fnmatch(3) decides without flags. A NUL byte ends either
/// of them.
pub fn fnmatch(pattern: &[u8], text: &[u8]) -> bool {
    let (pattern, text) = (until_nul(pattern), until_nul(text));
    // SAFETY: both strings end with NUL.
    unsafe { libc::fnmatch(pattern.as_ptr(), text.as_ptr(), 0) == 0 }
}

fn until_nul(bytes: &[u8]) -> CString {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    // The slice contains no NUL any more, so this cannot fail.
    CString::new(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::fnmatch;

    #[test]
    fn shell_patterns() {
        assert!(fnmatch(b"*err[0-9]*", b"an err5 here"));
        assert!(!fnmatch(b"err", b"an err"));
        assert!(fnmatch(b"a\xff*", b"a\xff\xfe"));
    }
}
