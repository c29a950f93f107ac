//! What a program says when there is no memory: one line, like everything else that ends it. By itself Rust would abort,
//! with several lines and a core.

use crate::report::TEMPORARY;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// The system's allocator; without memory the program ends with this line and 111, unless [`may_fail`] says otherwise.
#[derive(Debug)]
pub struct OrExit(pub &'static str);

static MAY_FAIL: AtomicBool = AtomicBool::new(false);

/// Does something that can cope with failure, `Vec::try_reserve` for example. One thread.
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

// SAFETY: all that is handed out and taken back is the system allocator's, with the caller's own promises.
unsafe impl GlobalAlloc for OrExit {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises.
        self.checked(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises.
        self.checked(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises.
        self.checked(unsafe { System.realloc(memory, layout, size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(memory, layout) }
    }
}
