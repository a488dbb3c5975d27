//! The printable stand-ins for bytes in byte-level BPE vocabularies.
//!
//! Every byte is written as one character: bytes that print in Latin-1 as themselves, the 68 others as
//! U+0100, U+0101, … in order of their value. So "Ġ" (U+0120) is the space and "Ċ" (U+010A) the line feed.

/// The character that stands for each byte.
pub(crate) const BYTE_TO_CHAR: [char; 256] = byte_to_char();

const FIRST_STAND_IN: u32 = 0x100;
const NUM_STAND_INS: usize = 68;
const STAND_IN_TO_BYTE: [u8; NUM_STAND_INS] = stand_in_to_byte();

const fn prints_in_latin_1(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF)
}

const fn stand_in_to_byte() -> [u8; NUM_STAND_INS] {
    let mut table = [0; NUM_STAND_INS];
    let mut filled = 0;
    let mut byte = 0;
    while byte < 256 {
        if !prints_in_latin_1(byte as u8) {
            table[filled] = byte as u8;
            filled += 1;
        }
        byte += 1;
    }
    assert!(filled == NUM_STAND_INS);
    table
}

const fn byte_to_char() -> [char; 256] {
    let mut table = ['\0'; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte as u8 as char;
        byte += 1;
    }
    let mut index = 0;
    while index < NUM_STAND_INS {
        if let Some(stand_in) = char::from_u32(FIRST_STAND_IN + index as u32) {
            table[STAND_IN_TO_BYTE[index] as usize] = stand_in;
        }
        index += 1;
    }
    table
}

/// The byte that a character stands for, if it stands for one.
pub(crate) fn char_to_byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => prints_in_latin_1(byte).then_some(byte),
        Err(_) => STAND_IN_TO_BYTE
            .get((code - FIRST_STAND_IN) as usize)
            .copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for byte in 0..=255_u8 {
            assert_eq!(char_to_byte(BYTE_TO_CHAR[byte as usize]), Some(byte));
        }
    }

    #[test]
    fn known_stand_ins() {
        assert_eq!(BYTE_TO_CHAR[b' ' as usize], 'Ġ');
        assert_eq!(BYTE_TO_CHAR[b'\n' as usize], 'Ċ');
        assert_eq!(BYTE_TO_CHAR[0xAD], '\u{143}');
        for character in [' ', '\n', '\u{AD}', '\u{144}', '日'] {
            assert_eq!(char_to_byte(character), None);
        }
    }
}
