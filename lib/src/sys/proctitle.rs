//! The memory of our last argument. `ps` shows it, so a program that writes there changes what `ps` shows.

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;
use std::slice;
use std::sync::atomic::{AtomicPtr, Ordering};

static LAST_ARGUMENT: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

/// Stores the pointer to the last string in `argv` for [`last_argument`].
pub(super) fn remember(string: *const c_char) {
    LAST_ARGUMENT.store(string.cast_mut(), Ordering::Relaxed);
}

/// The last argument where the kernel put it, without its final NUL. The first call returns it if the program has
/// arguments; every later call returns `None`.
pub fn last_argument() -> Option<&'static mut [u8]> {
    let string = LAST_ARGUMENT.swap(null_mut(), Ordering::Relaxed);
    if string.is_null() {
        return None;
    }
    // SAFETY: this is a string in `argv`. It ends with NUL, stays valid until the process ends, and the process may
    // write to it. No other reference exists: `arguments` copied the string, and the pointer is handed out once.
    unsafe {
        let length = CStr::from_ptr(string).count_bytes();
        Some(slice::from_raw_parts_mut(string.cast(), length))
    }
}
