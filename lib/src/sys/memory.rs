//! What a program does when there is no memory: it writes one line, as for everything else that ends it. Rust by itself
//! would abort, with several lines and a core dump.

use crate::report::TEMPORARY;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// The system's allocator. When there is no memory, the program writes this line and exits 111, unless [`may_fail`]
/// allows the failure.
#[derive(Debug)]
pub struct OrExit(pub &'static str);

static MAY_FAIL: AtomicBool = AtomicBool::new(false);

/// Runs code that can handle a failed allocation, such as `Vec::try_reserve`. Only programs with one thread may use it.
pub fn may_fail<T>(act: impl FnOnce() -> T) -> T {
    MAY_FAIL.store(true, Ordering::Relaxed);
    let done = act();
    MAY_FAIL.store(false, Ordering::Relaxed);
    done
}

impl OrExit {
    fn checked(&self, memory: *mut u8) -> *mut u8 {
        if memory.is_null() && !MAY_FAIL.load(Ordering::Relaxed) {
            let _ = super::write_all(super::stderr(), self.0.as_bytes());
            super::exit_now(TEMPORARY);
        }
        memory
    }
}

// SAFETY: all memory comes from the system's allocator and goes back to it, and the caller's promises are passed on.
unsafe impl GlobalAlloc for OrExit {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller makes the same promises.
        self.checked(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller makes the same promises.
        self.checked(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller makes the same promises.
        self.checked(unsafe { System.realloc(memory, layout, size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller makes the same promises.
        unsafe { System.dealloc(memory, layout) }
    }
}
