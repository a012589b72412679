//! Golden vectors: every byte that a second implementation has to reproduce.
//!
//! `credentials/vectors/credentials.json` is written by this test when
//! `LARDER_WRITE_VECTORS` is set, and compared otherwise.

use serde_json::{Value, json};

use crate::generators::GENERATORS;
use crate::test_scene::{
    EPOCH, MASTER, ROOT, SERVICE, Scene, issuer, plus_order, purchase, root, scene, scene_of,
    settle, spend,
};
use crate::{Epoch, OpCode, Refusal, Reply, Request, Row, Service, Spending, Status, Unspent};

mod step;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/credentials.json");

fn vectors() -> Value {
    let mut scene = scene();
    let g = &*GENERATORS;
    let generators = [
        ("Gw", &g.Gw),
        ("Gw'", &g.Gw_prime),
        ("Gx0", &g.Gx0),
        ("Gx1", &g.Gx1),
        ("GV", &g.GV),
        ("Ga", &g.Ga),
        ("Gg", &g.Gg),
        ("Gh", &g.Gh),
        ("Gs", &g.Gs),
    ];
    let generators: serde_json::Map<_, _> = generators
        .into_iter()
        .map(|(name, generator)| (name.to_owned(), hex::encode(generator.at.encoding).into()))
        .collect();
    let key = scene.issuer().current_key();
    let [w, w_prime, x0, x1, ya] = key.witness().map(|scalar| hex::encode(scalar.to_bytes()));
    let parameters = hex::encode(key.parameters().encode());

    let claim = root().claim_secret(0);
    let bought = step::bought(&scene, 1_000);
    let work = OpCode::of_service(16).unwrap();
    let spending = Spending::on(work, b"parameters", 10).into_outputs([600, 390]);
    let spent = step::spent(&scene, &bought.pair, &spending, [600, 390], 4);

    // Another operation on the spent pair is answered with the row.
    let other = spend(&scene, &bought.pair, &Spending::transfer(10));
    let Reply::NotPerformed(rows) = scene.process(other.core(), |_, _| unreachable!()).unwrap()
    else {
        panic!("the pair was spent");
    };

    let two_rows = two_rows(&scene);
    scene.enter(issuer(Epoch(EPOCH.0 + 1))).unwrap();
    let reissued = step::spent(&scene, &spent.pair, &Spending::reissue(), [994, 0], 0);
    json!({
        "protocol": crate::PROTOCOL,
        "encoding": "hexadecimal; integers in JSON are decimal",
        "seeds": {
            "service_id": hex::encode(SERVICE.id()),
            "range_bits": SERVICE.range().bits(),
            "master_secret": hex::encode(MASTER),
            "root": hex::encode(ROOT),
            "epoch": EPOCH.0,
        },
        "generators": generators,
        "key": {
            "w": w, "w'": w_prime, "x0": x0, "x1": x1, "ya": ya,
            "parameters": parameters,
            "next_parameters": hex::encode(
                scene.issuer().current_key().parameters().encode()
            ),
        },
        "purchase": bought.json(json!({
            "amount": 1_000,
            "claim_index": 0,
            "claim_secret": hex::encode(claim.as_bytes()),
            "claim_tag": hex::encode(claim.tag().0),
        })),
        "spend": spent.json(json!({
            "op_code": work.code(),
            "parameters": hex::encode(b"parameters"),
            "cost": 10,
            "outputs": [600, 390],
            "status": Status::DONE.0,
            "adjust": 4,
        })),
        "row": {
            "request": hex::encode(other.core()),
            "reply": hex::encode(Reply::NotPerformed(rows.clone()).encode()),
            "row": hex::encode(rows[0].encode()),
            "pair": hex::encode(*rows[0].open(&root(), scene.issuer().record()).unwrap().encode()),
        },
        "two_rows": two_rows,
        "reissue": reissued.json(json!({ "epoch": EPOCH.0 + 1 })),
        "wide": wide(),
        "refused": refused(&spent.core, &bought.core),
    })
}

/// A pair whose halves were spent apart is answered with both rows.
fn two_rows(scene: &Scene) -> Value {
    let sources = [(1, 300), (2, 200)].map(|(index, amount)| {
        let purchase = purchase(scene, index, amount);
        let request = hex::encode(purchase.core());
        let (_, pair) = settle(scene, purchase, 0);
        let transfer = spend(scene, &pair, &Spending::transfer(10));
        let json = json!({
            "claim_index": index,
            "amount": amount,
            "purchase": request,
            "pair": hex::encode(*pair.encode()),
            "transfer": hex::encode(transfer.core()),
        });
        settle(scene, transfer, 0);
        (pair, json)
    });
    let [(one, first), (two, second)] = sources;
    let ([one, _], [two, _]) = (one.into_credentials(), two.into_credentials());
    let mixed = Unspent::new([one, two]).unwrap();
    let other = spend(scene, &mixed, &Spending::transfer(10));
    let reply = scene.process(other.core(), |_, _| unreachable!()).unwrap();
    let Reply::NotPerformed(rows) = &reply else {
        panic!("both halves were spent");
    };
    assert_eq!(rows.len(), 2);
    let opened = rows
        .iter()
        .map(|row| row.open(&root(), scene.issuer().record()).unwrap());
    json!({
        "sources": [first, second],
        "mixed_pair": hex::encode(*mixed.encode()),
        "request": hex::encode(other.core()),
        "reply": hex::encode(reply.encode()),
        "pairs": opened.map(|pair| hex::encode(*pair.encode())).collect::<Vec<_>>(),
    })
}

/// Amounts of 64 bits: another key, longer range proofs.
fn wide() -> Value {
    let scene = scene_of(Service::wide(*SERVICE.id()));
    let amount = i64::MAX as u64;
    let bought = step::bought(&scene, amount);
    let outputs = [1 << 32, amount - 10 - (1 << 32)];
    let spending = Spending::transfer(10).into_outputs(outputs);
    let spent = step::spent(&scene, &bought.pair, &spending, outputs, 0);
    json!({
        "range_bits": 64,
        "parameters": hex::encode(scene.issuer().current_key().parameters().encode()),
        "purchase": bought.json(json!({ "amount": amount, "claim_index": 0 })),
        "spend": spent.json(json!({ "cost": 10, "outputs": outputs })),
    })
}

/// Changed requests that an issuer has to refuse: which bytes to write where, and why it
/// refuses then. Offsets count from the start of the core.
fn refused(spend: &[u8], purchase: &[u8]) -> Value {
    // Epoch 5 is current again, so that nothing but the change can be wrong.
    let issuer = issuer(EPOCH);
    let (identity, none) = ([0; 32], [0xff; 32]);
    let d1 = plus_order(spend[448..480].try_into().unwrap());
    let r1 = plus_order(spend[576..608].try_into().unwrap());
    let s1 = plus_order(spend[608..640].try_into().unwrap());
    let serial = &spend[19 + 128..19 + 160];
    let refuse = |(of, core): (&str, &[u8]), what: &str, at: usize, bytes: &[u8]| {
        let mut changed = core.to_vec();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        let refusal = Request::decode(&SERVICE, &changed)
            .map_err(Refusal::from)
            .and_then(|request| issuer.verify(&request))
            .unwrap_err();
        json!({
            "what": what,
            "of": of,
            "at": at,
            "bytes": hex::encode(bytes),
            "refusal": format!("{refusal:?}"),
        })
    };
    let [of_spend, of_purchase] = [("spend", spend), ("purchase", purchase)];
    let refused = vec![
        refuse(of_spend, "version 2", 0, &[2]),
        refuse(of_spend, "operation code 4", 1, &[4]),
        refuse(of_spend, "another operation code", 1, &[17]),
        refuse(of_spend, "cost one too low", 10, &[9]),
        refuse(of_spend, "one presentation", 18, &[1]),
        refuse(of_spend, "Ca is the identity", 19, &identity),
        refuse(of_spend, "CV is no point", 19 + 96, &none),
        refuse(of_spend, "one serial twice", 19 + 288, serial),
        refuse(of_spend, "M'_2 is the identity", 371, &identity),
        refuse(of_spend, "another memo", 403, &[spend[403] ^ 1]),
        refuse(of_spend, "d1 above the order", 448, &d1),
        refuse(of_spend, "r1 above the order", 576, &r1),
        refuse(of_spend, "s1 above the order", 608, &s1),
        refuse(of_spend, "challenge above the order", 1_024, &none),
        refuse(of_purchase, "input epoch of a purchase", 2, &[5]),
    ];
    refused.into()
}

#[test]
fn golden_vectors_are_reproduced_byte_for_byte() {
    let text = serde_json::to_string_pretty(&vectors()).unwrap() + "\n";
    if std::env::var_os("LARDER_WRITE_VECTORS").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    let stored = std::fs::read_to_string(FILE).unwrap();
    assert_eq!(text, stored);
}

#[test]
fn the_row_of_the_vectors_opens_with_its_root_alone() {
    let stored: Value = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    let field = |part: &str, name: &str| hex::decode(stored[part][name].as_str().unwrap()).unwrap();
    let row = Row::decode(&field("row", "row")).unwrap();
    let root = crate::Root::from_bytes(field("seeds", "root").try_into().unwrap());
    let parameters = crate::Parameters::decode(&field("key", "parameters")).unwrap();
    let record = crate::Record::new(SERVICE, EPOCH, [parameters]).unwrap();
    let pair = row.open(&root, &record).unwrap();
    assert_eq!(pair.encode().as_slice(), field("spend", "pair"));
    assert_eq!(pair.total(), 994);
}
