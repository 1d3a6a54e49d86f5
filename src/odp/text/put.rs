//! Small pieces of text.

use std::fmt::{self, Write};

/// Appends formatted text.
pub(super) fn write(out: &mut String, args: fmt::Arguments<'_>) {
    out.write_fmt(args)
        .expect("writing to a String cannot fail");
}

macro_rules! put {
    ($out:expr, $($arg:tt)+) => { $crate::text::put::write($out, format_args!($($arg)+)) };
}
pub(super) use put;

/// A number as C's `%#x` writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct AltHex(pub(super) u64);

impl fmt::Display for AltHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            n => write!(f, "{n:#x}"),
        }
    }
}

/// Big-endian bytes as one hexadecimal number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.0.iter().position(|&b| b != 0);
        let Some(first) = first else {
            return f.write_str("0x0");
        };
        write!(f, "0x{:x}", self.0[first])?;
        self.0[first + 1..]
            .iter()
            .try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Bytes, two digits each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Removes a trailing comma.
pub(super) fn chomp(out: &mut String) {
    if out.ends_with(',') {
        out.pop();
    }
}
