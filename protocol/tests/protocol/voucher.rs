//! A voucher is genuine for one key, unchanged, and its text says what is wrong with it.

use crate::messages;
use bech32::{Bech32m, ByteIterExt, Fe32, Fe32IterExt, Hrp};
use larder_protocol::{Address, DecodeError, InvalidText, Voucher};

const KEY: [u8; 32] = [7; 32];

fn voucher() -> Voucher {
    Voucher::new(&KEY, [9; 16], 5_000, 1_800_000_000)
}

#[test]
fn a_voucher_is_good_at_one_storage_node_only() {
    assert!(voucher().genuine(&KEY));
    assert!(!voucher().genuine(&[8; 32]));
}

#[test]
fn a_voucher_with_any_bit_flipped_is_not_genuine() {
    let bytes = voucher().encode();
    assert_eq!(bytes.len(), Voucher::LEN);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!Voucher::decode(&flipped).is_ok_and(|voucher| voucher.genuine(&KEY)));
    }
}

#[test]
fn a_voucher_cannot_be_made_worth_more_or_last_longer() {
    let richer = Voucher {
        tokens: 5_001,
        ..voucher()
    };
    let later = Voucher {
        expires: u64::MAX,
        ..voucher()
    };
    assert!(!richer.genuine(&KEY) && !later.genuine(&KEY));
}

#[test]
fn bytes_that_are_no_voucher_are_refused() {
    let bytes = voucher().encode();
    assert_eq!(Voucher::decode(&bytes), Ok(voucher()));
    for len in 0..bytes.len() {
        assert!(matches!(
            Voucher::decode(&bytes[..len]),
            Err(DecodeError::Truncated(_))
        ));
    }
    assert_eq!(
        Voucher::decode(&[&bytes[..], &[0]].concat()),
        Err(DecodeError::Trailing(1))
    );
    assert_eq!(
        Voucher::decode(&[&[2], &bytes[1..]].concat()),
        Err(DecodeError::UnsupportedVersion(2))
    );
}

#[test]
fn any_one_wrong_character_of_a_voucher_is_located() {
    let good = voucher().to_string();
    assert_eq!(good.parse(), Ok(voucher()));
    assert_eq!(good.to_uppercase().parse(), Ok(voucher()));
    for at in "larderv1".len()..good.len() {
        let mut letters: Vec<char> = good.chars().collect();
        letters[at] = if letters[at] == 'q' { 'p' } else { 'q' };
        let found = letters[at];
        let damaged: String = letters.into_iter().collect();
        let position = at + 1;
        assert_eq!(
            damaged.parse::<Voucher>(),
            Err(InvalidText::Typo { position, found })
        );
    }
}

#[test]
fn a_voucher_and_an_address_are_not_taken_for_each_other() {
    let address = Address::new(messages::server_key(1), messages::node(3), vec![]).to_string();
    let no_voucher = address.parse::<Voucher>().expect_err("an address");
    assert_eq!(no_voucher.to_string(), "a voucher begins with `larderv1`");
    let no_address = voucher().to_string().parse::<Address>();
    assert_eq!(
        no_address.expect_err("a voucher").to_string(),
        "an address of a storage node begins with `larder1`"
    );
}

#[test]
fn bits_behind_the_last_byte_of_a_text_cannot_carry_a_mark() {
    let hrp = Hrp::parse("larderv").expect("a prefix");
    let text = |mark: u8| -> String {
        let mut letters: Vec<Fe32> = voucher().encode().into_iter().bytes_to_fes().collect();
        let last = letters.pop().expect("letters").to_u8();
        letters.push(Fe32::try_from(last | mark).expect("five bits"));
        let text = letters.into_iter().with_checksum::<Bech32m>(&hrp);
        text.chars().collect()
    };
    assert_eq!(text(0).parse(), Ok(voucher()));
    for mark in 1..8 {
        assert_eq!(
            text(mark).parse::<Voucher>(),
            Err(InvalidText::Contents(DecodeError::Padding))
        );
    }
}
