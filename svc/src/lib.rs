//! The part that svc and svwait share: waiting until services have reached a goal.

#![forbid(unsafe_code)]

pub mod wait;
