//! The memory of our last argument, which `ps` shows: writing there changes what it shows.

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;
use std::slice;
use std::sync::atomic::{AtomicPtr, Ordering};

static LAST_ARGUMENT: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

/// Notes the last string in `argv`, for [`last_argument`].
pub(super) fn remember(string: *const c_char) {
    LAST_ARGUMENT.store(string.cast_mut(), Ordering::Relaxed);
}

/// The last argument where the kernel put it, without its final NUL: the first time, if the program
/// has arguments; never again.
pub fn last_argument() -> Option<&'static mut [u8]> {
    let string = LAST_ARGUMENT.swap(null_mut(), Ordering::Relaxed);
    if string.is_null() {
        return None;
    }
    // SAFETY: a string in `argv`: it ends with NUL, stays until we end, and is the process's to write.
    // Nobody else holds it: `arguments` copied it, and the pointer is handed out once.
    unsafe {
        let length = CStr::from_ptr(string).count_bytes();
        Some(slice::from_raw_parts_mut(string.cast(), length))
    }
}
