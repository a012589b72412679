//! The golden vectors in `vectors/v1.json`: what a second implementation has to read and write.
//!
//! `LARDER_BLESS=1 cargo test -p larder-protocol --test protocol vectors` writes the file anew; do
//! that only for a new version of the protocol. It takes `pass_path` over as it stands: that is the path
//! of the first pass to the node, which LDK makes, and `onion/src/pass.rs` tests it.

use crate::messages::{blob, cell, key, keypair, record, refusals, server_key};
use larder_credentials::{ClaimSecret, Epoch, IssuerKey, MasterSecret, PARAMETERS_BYTES};
use larder_protocol::delete::Delete;
use larder_protocol::envelope;
use larder_protocol::extension::Extension;
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::record::{Prices, Tariff};
use larder_protocol::{
    Address, BreakglassOpen, BreakglassPut, Call, Done, Earlier, NodeId, Nonce, OpenedCell, Pass,
    Payment, Quote, Quoted, Receipt, Record, RecordHash, Reply, Request, SizeClass, Voucher,
    issuer_commitment,
};
use serde_json::{Value, json};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/v1.json");

/// The parameters of the issuer whose master secret is the byte 0x61, 32 times.
fn issuer(epoch: u32) -> [u8; PARAMETERS_BYTES] {
    let master = MasterSecret::from_bytes([0x61; 32]);
    let service = record(epoch, None).service();
    IssuerKey::derive(&master, &service, Epoch(epoch))
        .parameters()
        .encode()
}

fn voucher() -> Voucher {
    Voucher::new(&[0x71; 32], [0x72; 16], 2_000, 1_800_000_000)
}

/// Two claims of 1,000 tokens, whose secrets are the bytes 0x73 and 0x74, 32 times.
fn quote() -> Quote {
    Quote {
        tokens: 1_000,
        tags: [0x73, 0x74]
            .map(|byte| ClaimSecret::from_bytes([byte; 32]).tag())
            .into(),
        voucher: None,
    }
}

/// Passes of the bytes 0x75 and 0x76, 32 times.
fn passes() -> [Pass; 2] {
    [0x75, 0x76].map(|byte| Pass::from_bytes([byte; 32]))
}

fn tariff() -> Tariff {
    Tariff {
        issuers: vec![issuer(6), issuer(7)],
        next_issuer: issuer_commitment(&issuer(8)),
        passes: Some(passes().map(|pass| pass.commitment())),
        earlier: vec![],
        prices: Prices {
            insert: 8,
            lookup: 1,
            delete: 1,
            breakglass: 4,
            transfer: 1,
        },
        refunds: vec![7, 4, 2],
        denominations: vec![100, 1_000, 10_000],
        breakglass_seconds: 259_200,
        next_takes: 2,
    }
}

fn requests() -> Vec<(&'static str, Request)> {
    let request = |call| Request::unpaid(Nonce([0x11; 32]), call);
    let lookup = || request(Call::Lookup(Lookup { key: key(5) }));
    let paid = |call| Request {
        payment: Payment::Credentials(vec![0x22; 64]),
        ..request(call)
    };
    let delete = Delete::sign(&keypair(5), &server_key(1), blob(0).hash());
    let put = BreakglassPut::sign(&keypair(5), &server_key(1), 0x0007_0001, cell(0));
    let open = BreakglassOpen::sign(&keypair(5), &server_key(1), Nonce([0x11; 32]));
    vec![
        ("info", request(Call::Info)),
        (
            "insert",
            request(Call::Insert(Insert {
                key: key(5),
                blob: blob(0),
            })),
        ),
        ("delete", request(Call::Delete(delete))),
        ("lookup", lookup()),
        (
            "lookup, paid, with a hop token",
            Request {
                payment: Payment::Credentials(vec![0x22; 64]),
                extension: Extension {
                    hop_token: Some(vec![0x33; 40]),
                    passes: None,
                },
                ..lookup()
            },
        ),
        ("transfer", paid(Call::Transfer)),
        ("reissue", paid(Call::Reissue)),
        ("quote", request(Call::Quote(quote()))),
        (
            "quote, with a voucher",
            request(Call::Quote(Quote {
                voucher: Some(voucher().encode()),
                ..quote()
            })),
        ),
        ("purchase", paid(Call::Purchase)),
        ("breakglass put", paid(Call::BreakglassPut(Box::new(put)))),
        ("breakglass open", request(Call::BreakglassOpen(open))),
    ]
}

fn replies(record: &Record) -> Vec<(String, Reply)> {
    let proven = |request: &str, stored, outcome| {
        let (_, request) = requests()
            .into_iter()
            .find(|(name, _)| *name == request)
            .expect("one of them");
        let receipt = Reply::finding(&request.subject(), &outcome, Some(stored))
            .map(|finding| Receipt::sign(&keypair(2), &finding, record.epoch, record.hash()));
        Reply {
            receipt,
            ..Reply::bare(outcome)
        }
    };
    let receipted = |outcome| proven("insert", blob(0).hash(), outcome);
    let opened = OpenedCell {
        sequence: 0x0007_0001,
        cell: cell(0),
        seconds: 259_200,
    };
    let mut replies = vec![
        (
            "info".to_owned(),
            Reply::bare(Ok(Done::Info(Box::new(record.clone().sign(&keypair(1)))))),
        ),
        ("inserted".to_owned(), receipted(Ok(Done::Inserted))),
        ("removed".to_owned(), receipted(Ok(Done::Removed))),
        ("found".to_owned(), receipted(Ok(Done::Found(blob(0))))),
        (
            "inserted, with a replacement".to_owned(),
            Reply {
                replacement: Some(vec![0x44; 100]),
                ..receipted(Ok(Done::Inserted))
            },
        ),
        (
            "inserted, with passes".to_owned(),
            Reply {
                replacement: Some(vec![0x44; 100]),
                extension: Extension {
                    passes: Some(Box::new(passes())),
                    ..Extension::default()
                },
                ..receipted(Ok(Done::Inserted))
            },
        ),
        (
            "quoted".to_owned(),
            Reply::bare(Ok(Done::Quoted(Quoted {
                paid: false,
                expires: 1_800_000_000,
                request: "lno1larder".to_owned(),
            }))),
        ),
        (
            "quoted, paid".to_owned(),
            Reply::bare(Ok(Done::Quoted(Quoted {
                paid: true,
                expires: 1_800_000_000,
                request: String::new(),
            }))),
        ),
        (
            "exchanged".to_owned(),
            Reply {
                replacement: Some(vec![0x44; 330]),
                ..Reply::bare(Ok(Done::Exchanged))
            },
        ),
        (
            "cell stored".to_owned(),
            proven("breakglass put", cell(0).hash(), Ok(Done::CellStored)),
        ),
        (
            "cell".to_owned(),
            proven(
                "breakglass open",
                cell(0).hash(),
                Ok(Done::Cell(Box::new(opened))),
            ),
        ),
    ];
    for refusal in refusals() {
        let outcome = Err(refusal);
        let name = format!("refusal {:#04x}", Reply::code(&outcome));
        replies.push((name, receipted(outcome)));
    }
    replies
}

/// Bodies that are no requests, and why.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let lookup = requests()[3].1.encode();
    let key = 1 + 32 + 3;
    let quoted = Request::unpaid(Nonce([0x11; 32]), Call::Quote(quote())).encode();
    let tags = 1 + 32 + 3 + 8 + 1;
    let with = |at: usize, byte: u8| {
        let mut bytes = lookup.clone();
        bytes[at] = byte;
        bytes
    };
    vec![
        ("empty", vec![]),
        ("cut short", lookup[..lookup.len() - 1].to_vec()),
        ("an unknown op", with(0, 200)),
        ("an unknown payment", with(33, 2)),
        ("no payment, with a length", with(35, 1)),
        ("an uncompressed point", with(key, 4)),
        (
            "a point off the curve",
            [&lookup[..key], &[2], &[0xff; 32]].concat(),
        ),
        ("an unknown even extension", [&lookup[..], &[8, 0]].concat()),
        ("a quote for no claim", {
            let mut bytes = quoted.clone();
            bytes.splice(tags - 1..tags + 64, [0]);
            bytes
        }),
        ("a quote with one claim twice", {
            let mut bytes = quoted.clone();
            bytes.copy_within(tags..tags + 32, tags + 32);
            bytes
        }),
        (
            "a quote with a voucher of 65 bytes",
            [&quoted[..quoted.len() - 2], &[0, 65], &[1; 65]].concat(),
        ),
        (
            "extensions in descending order",
            [&lookup[..], &[9, 0, 7, 0]].concat(),
        ),
        (
            "an extension's type not in its shortest form",
            [&lookup[..], &[0xfd, 0, 7, 0]].concat(),
        ),
        (
            "an extension longer than the body",
            [&lookup[..], &[7, 9, 1]].concat(),
        ),
    ]
}

fn build() -> Value {
    let public = |number: u8| hex::encode(keypair(number).public_key().serialize());
    let body = |name: &str, body: Vec<u8>| json!({ "name": name, "body": hex::encode(body) });
    let free = record(7, None);
    let paid = record(7, Some(tariff()));
    let node = |number| NodeId::from(keypair(number).public_key());
    let envelopes = [(SizeClass::Small, "small"), (SizeClass::Big, "big")].map(|(class, name)| {
        let contents = envelope::wrap(&requests()[0].1.encode(), class).expect("fits");
        json!({ "class": name, "contents": hex::encode(contents) })
    });
    let signed = |name: &str, record: &Record| {
        json!({
            "name": name,
            "signed": hex::encode(record.clone().sign(&keypair(1)).encode()),
            "hash": hex::encode(record.hash().0),
        })
    };
    let without_passes = Tariff {
        passes: None,
        ..tariff()
    };
    let chained = |passes| Tariff {
        passes,
        earlier: [(3, RecordHash([0x33; 32])), (6, free.hash())]
            .map(|(epoch, hash)| Earlier { epoch, hash })
            .to_vec(),
        ..tariff()
    };
    let records = [
        signed("free", &free),
        signed("paid", &paid),
        signed("paid, without passes", &record(7, Some(without_passes))),
        signed(
            "paid, without passes, with earlier records",
            &record(7, Some(chained(None))),
        ),
        signed(
            "paid, with earlier records",
            &record(7, Some(chained(tariff().passes))),
        ),
    ];
    let bindings: Vec<Value> = requests()
        .iter()
        .map(|(name, request)| {
            let paid_as = request.call.op().paid_as().map(|op| op.code());
            let digest = hex::encode(request.call.digest());
            json!({ "request": name, "paid_as": paid_as, "call_digest": digest })
        })
        .collect();
    let refused: Vec<Value> = refused()
        .into_iter()
        .map(|(what, bytes)| json!({ "what": what, "body": hex::encode(bytes) }))
        .collect();
    json!({
        "about": {
            "secrets": "secret key n is the byte n, 32 times",
            "server": { "secret": 1, "key": public(1) },
            "receipt": { "secret": 2, "key": public(2) },
            "node": { "secret": 3, "id": public(3) },
            "key": { "secret": 5, "key": public(5) },
            "blob": "byte i of the blob is i mod 251",
            "blob_sha256": hex::encode(blob(0).hash().0),
            "issuer": "the master secret of the issuer is the byte 0x61, 32 times",
            "cell": "byte i of the cell is i",
            "receipts": "of cells for the requests `breakglass put` and `breakglass open`, all others for `insert`; under the record `free`",
        },
        "envelopes": envelopes,
        "requests": requests()
            .iter()
            .map(|(name, request)| body(name, request.encode()))
            .collect::<Vec<_>>(),
        "replies": replies(&free)
            .iter()
            .map(|(name, reply)| body(name, reply.encode()))
            .collect::<Vec<_>>(),
        "records": records,
        "bindings": bindings,
        "service": hex::encode(paid.service().id()),
        "vouchers": [{
            "key": hex::encode([0x71; 32]),
            "id": hex::encode([0x72; 16]),
            "tokens": 2_000,
            "expires": 1_800_000_000,
            "bytes": hex::encode(voucher().encode()),
            "text": voucher().to_string(),
        }],
        "passes": passes().map(|pass| json!({
            "pass": hex::encode(pass.as_bytes()),
            "commitment": hex::encode(pass.commitment()),
            "path_secret": hex::encode(pass.path_secret()),
            "auth_key": hex::encode(pass.auth_key()),
        })),
        "refused_requests": refused,
        "addresses": [
            Address::new(server_key(1), node(3), vec![]).to_string(),
            Address::new(server_key(1), node(3), vec![node(4), node(5)]).to_string(),
        ],
    })
}

fn golden() -> Value {
    let text = std::fs::read_to_string(FILE).expect("vectors/v1.json is checked in");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_golden_vectors_are_what_this_version_writes_and_reads() {
    if std::env::var_os("LARDER_BLESS").is_some() {
        let mut blessed = build();
        blessed["pass_path"] = golden()["pass_path"].take();
        let text = serde_json::to_string_pretty(&blessed).expect("plain values");
        std::fs::write(FILE, text + "\n").expect("the repository is writable");
    }
    let golden = golden();
    let built = build();
    for part in [
        "about",
        "envelopes",
        "requests",
        "replies",
        "records",
        "bindings",
        "service",
        "vouchers",
        "passes",
        "addresses",
        "refused_requests",
    ] {
        assert!(
            golden[part] == built[part],
            "`{part}` of the golden vectors differs"
        );
    }
    for (golden, (name, request)) in golden["requests"]
        .as_array()
        .expect("a list")
        .iter()
        .zip(requests())
    {
        let bytes = hex::decode(golden["body"].as_str().expect("hex")).expect("hex");
        assert_eq!(Request::decode(&bytes), Ok(request), "{name}");
    }
    for (golden, (name, reply)) in golden["replies"]
        .as_array()
        .expect("a list")
        .iter()
        .zip(replies(&record(7, None)))
    {
        let bytes = hex::decode(golden["body"].as_str().expect("hex")).expect("hex");
        assert_eq!(Reply::decode(&bytes), Ok(reply), "{name}");
    }
    assert_eq!(
        golden["vouchers"][0]["text"].as_str().map(str::parse),
        Some(Ok(voucher()))
    );
    for (what, body) in refused() {
        assert!(Request::decode(&body).is_err(), "{what}");
    }
}
