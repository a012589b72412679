//! Golden vectors: every byte that a second implementation has to reproduce.
//!
//! `credentials/vectors/credentials.json` is written by this test when
//! `LARDER_WRITE_VECTORS` is set, and compared otherwise.

use serde_json::{Value, json};

use crate::generators::GENERATORS;
use crate::test_scene::{
    EPOCH, MASTER, ROOT, SERVICE, issuer, purchase, root, scene, settle, spend,
};
use crate::{Epoch, InFlight, OpCode, Reply, Row, Spending, Status, Unspent};

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
    let bought = step(&scene, purchase(&scene, 0, 1_000), 0);
    let work = OpCode::of_service(16).unwrap();
    let spending = Spending::on(work, b"parameters", 10).into_outputs([600, 390]);
    let spent = step(&scene, spend(&scene, &bought.pair, &spending), 4);

    // Another operation on the spent pair is answered with the row.
    let other = spend(&scene, &bought.pair, &Spending::transfer(10));
    let Reply::NotPerformed(rows) = scene.process(other.core(), |_, _| unreachable!()).unwrap()
    else {
        panic!("the pair was spent");
    };

    scene.enter(issuer(Epoch(EPOCH.0 + 1))).unwrap();
    let reissued = step(&scene, spend(&scene, &spent.pair, &Spending::reissue()), 0);
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
        "reissue": reissued.json(json!({ "epoch": EPOCH.0 + 1 })),
    })
}

struct Step {
    core: Vec<u8>,
    core_hash: [u8; 32],
    op_digest: [u8; 32],
    reply: Reply,
    pair: Unspent,
}

fn step(scene: &crate::test_scene::Scene, in_flight: InFlight, adjust: u64) -> Step {
    let core = in_flight.core().to_vec();
    let core_hash = *in_flight.request().core_hash();
    let op_digest = *in_flight.request().op_digest();
    let (reply, pair) = settle(scene, in_flight, adjust);
    Step {
        core,
        core_hash,
        op_digest,
        reply,
        pair,
    }
}

impl Step {
    fn json(&self, mut inputs: Value) -> Value {
        let [first, second] = self.pair.credentials();
        let outputs = json!({
            "request": hex::encode(&self.core),
            "core_hash": hex::encode(self.core_hash),
            "op_digest": hex::encode(self.op_digest),
            "reply": hex::encode(self.reply.encode()),
            "pair": hex::encode(*self.pair.encode()),
            "serials": [hex::encode(first.serial().0), hex::encode(second.serial().0)],
        });
        if let (Some(inputs), Value::Object(outputs)) = (inputs.as_object_mut(), outputs) {
            inputs.extend(outputs);
        }
        inputs
    }
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
