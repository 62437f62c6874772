//! Turns bytes into text in place. This has nothing to do with the operating system: it is here because it needs `unsafe`, and all
//! `unsafe` code of the host is in this folder.
#![expect(
    unsafe_code,
    reason = "the standard library checks at a fifth of the speed, and a copy costs more than the check"
)]

/// `bytes` as text; the same bytes if they are not UTF-8.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, Vec<u8>> {
    if simdutf8::basic::from_utf8(&bytes).is_err() {
        return Err(bytes);
    }
    // SAFETY: they are UTF-8, as was just checked, and no other code has them.
    Ok(unsafe { String::from_utf8_unchecked(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_the_standard_library_says_is_text() {
        for bytes in [
            &b""[..],
            b"ascii",
            "größer; строка; 行; 🦀".as_bytes(),
            b"\xC3",
            b"\xC0\x80",
            b"\xED\xA0\x80",
            b"\xF4\x90\x80\x80",
            b"a\xFFb",
        ] {
            let expected = String::from_utf8(bytes.to_vec()).map_err(|error| error.into_bytes());
            assert_eq!(text(bytes.to_vec()), expected);
        }
    }
}
