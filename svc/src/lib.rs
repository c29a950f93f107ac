//! What svc and svwait share: waiting until services have come to where they are wanted.

#![forbid(unsafe_code)]

pub mod wait;
