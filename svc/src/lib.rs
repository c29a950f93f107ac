//! What svc and svwait share: waiting until services have come to where they are wanted.

pub mod wait;
