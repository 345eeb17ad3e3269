//! The one-to-one map between bytes and printable characters that byte-level vocabularies are
//! written in (`bytes_to_unicode` of GPT-2's `encoder.py`).

/// The character that stands for `byte`.
pub fn char_of(byte: u8) -> char {
    let shifted = |n: u32| char::from_u32(256 + n).unwrap_or(char::REPLACEMENT_CHARACTER);
    match byte {
        // Bytes that are no printable Latin-1 character, numbered from 256 in their order.
        0..=32 => shifted(byte.into()),
        127..=160 => shifted(u32::from(byte) - 127 + 33),
        173 => shifted(67),
        _ => char::from(byte),
    }
}

/// The byte that `c` stands for, if it stands for one.
fn byte_of(c: char) -> Option<u8> {
    match u32::from(c) {
        n @ 256..=288 => Some((n - 256) as u8),
        n @ 289..=322 => Some((n - 289 + 127) as u8),
        323 => Some(173),
        n @ (33..=126 | 161..=172 | 174..=255) => Some(n as u8),
        _ => None,
    }
}

/// `bytes` as a byte-level vocabulary writes them.
pub fn from_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char_of(b)).collect()
}

/// The bytes that `token` stands for. A token with a character that stands for no byte is taken as
/// the text that it is.
pub fn to_bytes(token: &str) -> Vec<u8> {
    token
        .chars()
        .map(byte_of)
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| token.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let mut seen = std::collections::BTreeSet::new();
        for byte in 0..=255 {
            assert!(seen.insert(char_of(byte)));
            assert_eq!(byte_of(char_of(byte)), Some(byte));
        }
    }

    #[test]
    fn the_well_known_ones() {
        assert_eq!(from_bytes(b" \n\ta"), "ĠĊĉa");
        assert_eq!(from_bytes(&[0x7f, 0xa0, 0xad, 0xff]), "ġłŃÿ");
    }
}
