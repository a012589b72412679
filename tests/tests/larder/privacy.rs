//! Finds bytes in a text, in whichever form a program may have printed them.

/// The alphabets in which bytes are printed, with the bits of one letter.
const ALPHABETS: [(&str, u32, &str); 4] = [
    ("hexadecimal", 4, "0123456789abcdef"),
    (
        "base64",
        6,
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    ),
    (
        "base64 for addresses",
        6,
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    ),
    ("bech32", 5, "qpzry9x8gf2tvdw0s3jn54khce6mua7l"),
];

/// As many bytes from either end are enough to know a value by, also when it was cut short or
/// something stood in front of it.
const ENOUGH: usize = 12;

/// The form in which the text gives `value` away, if it does.
pub(crate) fn form_found(text: &str, value: &[u8]) -> Option<&'static str> {
    assert!(value.len() >= ENOUGH, "too short to be told from chance");
    let lower = text.to_lowercase();
    let dense: String = text.split_whitespace().collect();
    for part in [&value[..ENOUGH], &value[value.len() - ENOUGH..]] {
        let list: Vec<String> = part.iter().map(u8::to_string).collect();
        if dense.contains(&list.join(",")) || text.contains(&list.join(" ")) {
            return Some("decimal");
        }
        for (name, bits, alphabet) in ALPHABETS {
            // Other bytes may stand in front of it, so its letters may begin at any bit.
            let ahead = 0..bits as usize;
            let letters = ahead.map(|ahead| letters(part, bits, alphabet, ahead));
            // In capitals bech32 and hexadecimal mean the same.
            let text = if bits == 6 { text } else { &lower };
            if letters.into_iter().any(|letters| text.contains(&letters)) {
                return Some(name);
            }
        }
    }
    None
}

/// The letters that depend on `bytes` and on nothing else when `ahead` bytes stand in front.
fn letters(bytes: &[u8], bits: u32, alphabet: &str, ahead: usize) -> String {
    let bits = bits as usize;
    let bit = |at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    let first = (bits - ahead * 8 % bits) % bits;
    let whole = (bytes.len() * 8 - first) / bits;
    (0..whole)
        .map(|letter| {
            let start = first + letter * bits;
            let number = (start..start + bits).fold(0, |number, at| number << 1 | bit(at));
            char::from(alphabet.as_bytes()[usize::from(number)])
        })
        .collect()
}

#[test]
fn bytes_are_found_in_every_form_wherever_they_stand() {
    let value: Vec<u8> = (0..33_u8)
        .map(|at| at.wrapping_mul(37).wrapping_add(11))
        .collect();
    let hexadecimal: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    // What other programs make of these bytes, alone and behind some others.
    let known = [
        ("hexadecimal", hexadecimal.clone()),
        ("hexadecimal", hexadecimal.to_uppercase()),
        ("hexadecimal", format!("0{}..", &hexadecimal[..24])),
        (
            "hexadecimal",
            format!("..{}", &hexadecimal[hexadecimal.len() - 24..]),
        ),
        ("decimal", format!("{value:?}")),
        ("decimal", format!("{value:#?}")),
        ("decimal", format!("{:?}", &value[..13])),
        (
            "base64",
            "CzBVep/E6Q4zWH2ix+wRNluApcrvFDleg6jN8hc8YYar".to_owned(),
        ),
        (
            "base64",
            "/gswVXqfxOkOM1h9osfsETZbgKXK7xQ5XoOozfIXPGGGqw==".to_owned(),
        ),
        (
            "base64",
            "/v4LMFV6n8TpDjNYfaLH7BE2W4Clyu8UOV6DqM3yFzxhhqs=".to_owned(),
        ),
        (
            "base64 for addresses",
            "CzBVep_E6Q4zWH2ix-wRNluApcrvFDleg6jN8hc8YYar".to_owned(),
        ),
        (
            "bech32",
            "npub1pvc9275lcn5suv6c0k3v0mq3xedcpfw2au2rjh5r4rxly9euvxr2k".to_owned(),
        ),
        (
            "bech32",
            "npub1lc9nq4t6nlzwjr3ntp7693lvzym9hq99eth3gw27sw5vmush83scd2c".to_owned(),
        ),
        (
            "bech32",
            "npub1lmlqkvz4020uf6gwxdv8mgk8asgnvkuq5h9w79pet6p63n0jzu7xrp4t".to_owned(),
        ),
        (
            "bech32",
            "npub1lml0uzes24afl38fpce4sldzclkpzdjmszju4mc5890g82xd7gtnccvx4v".to_owned(),
        ),
        (
            "bech32",
            "npub1lml0alstxp2h487yay8rxkra5tr7cyfktwq2tjh0zsu4aqagehepw0rps64s".to_owned(),
        ),
    ];
    for (form, text) in known {
        let log = format!("INFO something={text} more");
        assert_eq!(form_found(&log, &value), Some(form), "{text}");
    }
    let nothing = "INFO stopped arrived=5708 dropped=0 listens 127.0.0.1:38412";
    assert_eq!(form_found(nothing, &value), None);
}
