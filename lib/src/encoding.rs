//! Values as bytes, for the way from one process of a program to another process of the same program.

use crate::files::Unread;
use crate::service::{After, Record, Status};
use nix::errno::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// A value that can be sent as bytes.
pub trait Encode: Sized {
    /// Adds the bytes that stand for the value.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// Reads a value from the beginning of `bytes`, and removes from there the bytes that stand for it; `None` if
    /// `bytes` does not begin with such a value.
    fn decode(bytes: &mut &[u8]) -> Option<Self>;
}

impl Encode for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: &mut &[u8]) -> Option<()> {
        Some(())
    }
}

impl Encode for bool {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }

    fn decode(bytes: &mut &[u8]) -> Option<bool> {
        u8::decode(bytes).map(|byte| byte != 0)
    }
}

macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl Encode for $number {
            fn encode(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_ne_bytes());
            }

            fn decode(bytes: &mut &[u8]) -> Option<$number> {
                let (first, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(<$number>::from_ne_bytes(*first))
            }
        }
    )* };
}

numbers!(u8, u32, u64, i32);

impl Encode for After {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.names.encode(bytes);
        self.surplus.encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<After> {
        Some(After { names: Vec::<OsString>::decode(bytes)?, surplus: usize::decode(bytes)? })
    }
}

/// The encoding is the length of the string in bytes, as a `u32`, and then these bytes.
impl Encode for OsString {
    fn encode(&self, bytes: &mut Vec<u8>) {
        // No path and no file that is read is that long.
        u32::try_from(self.len()).unwrap_or(u32::MAX).encode(bytes);
        bytes.extend(self.as_bytes());
    }

    fn decode(bytes: &mut &[u8]) -> Option<OsString> {
        let length = usize::try_from(u32::decode(bytes)?).ok()?;
        let (text, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(OsStr::from_bytes(text).to_os_string())
    }
}

/// Implements [`Encode`] for types whose values are converted into values of another type and sent as these.
macro_rules! as_another {
    ($($kind:ty, $other:ty, $to:expr, $from:expr;)*) => { $(
        impl Encode for $kind {
            fn encode(&self, bytes: &mut Vec<u8>) {
                let to: fn(&$kind) -> $other = $to;
                to(self).encode(bytes);
            }

            fn decode(bytes: &mut &[u8]) -> Option<$kind> {
                let from: fn($other) -> Option<$kind> = $from;
                from(<$other>::decode(bytes)?)
            }
        }
    )* };
}

as_another! {
    PathBuf, OsString, |path| path.clone().into_os_string(), |text| Some(PathBuf::from(text));
    Vec<u8>, OsString, |text| OsString::from_vec(text.clone()), |text| Some(text.into_vec());
    Errno, i32, |errno| *errno as i32, |number| Some(Errno::from_raw(number));
    Status, Vec<u8>, |status| status.encode().to_vec(), |bytes| Status::decode(&bytes).ok();
    Record, Vec<u8>, |record| record.encode().into_bytes(), |text| String::from_utf8(text).ok().map(|text| Record::decode(&text));
    usize, u64, |number| u64::try_from(*number).unwrap_or(u64::MAX), |number| usize::try_from(number).ok();
}

impl Encode for Unread {
    fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Unread::System(errno) => (0u8, *errno).encode(bytes),
            Unread::WrongKind => 1u8.encode(bytes),
            Unread::TooLong => 2u8.encode(bytes),
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Unread> {
        match u8::decode(bytes)? {
            0 => Errno::decode(bytes).map(Unread::System),
            1 => Some(Unread::WrongKind),
            2 => Some(Unread::TooLong),
            _ => None,
        }
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.is_some().encode(bytes);
        self.iter().for_each(|value| value.encode(bytes));
    }

    fn decode(bytes: &mut &[u8]) -> Option<Option<T>> {
        if bool::decode(bytes)? { T::decode(bytes).map(Some) } else { Some(None) }
    }
}

impl<T: Encode, E: Encode> Encode for Result<T, E> {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.is_ok().encode(bytes);
        match self {
            Ok(value) => value.encode(bytes),
            Err(error) => error.encode(bytes),
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Result<T, E>> {
        if bool::decode(bytes)? { T::decode(bytes).map(Ok) } else { E::decode(bytes).map(Err) }
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.0.encode(bytes);
        self.1.encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<(A, B)> {
        Some((A::decode(bytes)?, B::decode(bytes)?))
    }
}

macro_rules! lists {
    ($($kind:ty),*) => { $(
        impl Encode for Vec<$kind> {
            fn encode(&self, bytes: &mut Vec<u8>) {
                self.len().encode(bytes);
                self.iter().for_each(|value| value.encode(bytes));
            }

            fn decode(bytes: &mut &[u8]) -> Option<Vec<$kind>> {
                (0..usize::decode(bytes)?).map(|_| <$kind>::decode(bytes)).collect()
            }
        }
    )* };
}

lists!(OsString, PathBuf, i32, (PathBuf, Option<(u64, u64)>));

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_and_comes<T: Encode + PartialEq + std::fmt::Debug>(value: &T) {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(T::decode(&mut rest).as_ref(), Some(value));
        assert!(rest.is_empty(), "{value:?}");
        for length in 0..bytes.len() {
            assert_eq!(T::decode(&mut bytes.get(..length).unwrap_or_default()), None, "{value:?} cut to {length}");
        }
    }

    #[test]
    fn each_value_comes_as_it_went_and_what_is_cut_short_is_no_value() {
        for errno in [Errno::ENOENT, Errno::ETIMEDOUT] {
            goes_and_comes::<Result<bool, Errno>>(&Err(errno));
            goes_and_comes(&Unread::System(errno));
        }
        goes_and_comes::<Result<Vec<u8>, Unread>>(&Ok(b"a\0b\xff".to_vec()));
        goes_and_comes::<Result<Vec<u8>, Unread>>(&Err(Unread::TooLong));
        goes_and_comes(&Unread::WrongKind);
        goes_and_comes(&Some((PathBuf::from("/a b"), u64::MAX)));
        goes_and_comes::<Option<i32>>(&None);
        goes_and_comes(&vec![OsString::new(), OsString::from("x")]);
        goes_and_comes(&Status::of(&Record::blank()));
    }
}
