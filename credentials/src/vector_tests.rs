//! Golden vectors: every byte that a second implementation has to reproduce.
//!
//! `credentials/vectors/credentials.json` is written by this test when
//! `LARDER_WRITE_VECTORS` is set, and compared otherwise.

use serde_json::{Value, json};

use crate::credential::U;
use crate::generators::GENERATORS;
use crate::group::{Point, decode_scalar};
use crate::holder::zs;
use crate::issuance::{IssuanceContext, adjusted};
use crate::memo;
use crate::request::spend_tag;
use crate::test_scene::{
    EPOCH, MASTER, ROOT, SERVICE, Scene, issuer, plus_order, purchase, root, scene, settle, spend,
};
use crate::{Epoch, InFlight, OpCode, Refusal, Reply, Request, Row, Spending, Status, Unspent};

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

    let first_record = scene.issuer().record().clone();
    let claim = root().claim_secret(0);
    let bought = step(&scene, purchase(&scene, 0, 1_000), [1_000, 0], 0);
    let work = OpCode::of_service(16).unwrap();
    let spending = Spending::on(work, b"parameters", 10).into_outputs([600, 390]);
    let spent = step(
        &scene,
        spend(&scene, &bought.pair, &spending),
        [600, 390],
        4,
    );
    let zs = zs(&bought.pair, &root(), &first_record, &spending).unwrap();
    let shown = spent.request.head.presentations.unwrap();
    for ((z, shown), credential) in zs.iter().zip(shown).zip(bought.pair.credentials()) {
        assert_eq!(shown.Ca, Point::from(&g.Ga * z + credential.M()).encoding);
    }

    // Another operation on the spent pair is answered with the row.
    let other = spend(&scene, &bought.pair, &Spending::transfer(10));
    let Reply::NotPerformed(rows) = scene.process(other.core(), |_, _| unreachable!()).unwrap()
    else {
        panic!("the pair was spent");
    };

    scene.enter(issuer(Epoch(EPOCH.0 + 1))).unwrap();
    let reissue = spend(&scene, &spent.pair, &Spending::reissue());
    let reissued = step(&scene, reissue, [994, 0], 0);
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
            "z": zs.map(|z| hex::encode(z.as_bytes())),
        })),
        "row": {
            "request": hex::encode(other.core()),
            "reply": hex::encode(Reply::NotPerformed(rows.clone()).encode()),
            "row": hex::encode(rows[0].encode()),
            "pair": hex::encode(*rows[0].open(&root(), scene.issuer().record()).unwrap().encode()),
        },
        "reissue": reissued.json(json!({ "epoch": EPOCH.0 + 1 })),
        "refused": refused(&spent.core, &bought.core),
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

struct Step {
    core: Vec<u8>,
    request: Request,
    derived: Value,
    reply: Reply,
    pair: Unspent,
}

fn step(scene: &Scene, in_flight: InFlight, values: [u64; 2], adjust: u64) -> Step {
    let core = in_flight.core().to_vec();
    let request = in_flight.request().clone();
    let (reply, pair) = settle(scene, in_flight, adjust);
    let derived = derived(scene, &request, values, &reply);
    Step {
        core,
        request,
        derived,
        reply,
        pair,
    }
}

/// What lies between the seeds and the bytes that travel.
fn derived(scene: &Scene, request: &Request, values: [u64; 2], reply: &Reply) -> Value {
    let Reply::Performed { status, issuance } = reply else {
        panic!("it was performed");
    };
    let references = request.references();
    let memo = request.head.memo;
    let opened = memo::open(&root(), references, &memo).unwrap();
    assert_eq!(*opened, values);
    let (_, context) = scene.issuer().statement(request).unwrap();
    let signed = IssuanceContext {
        core_hash: request.core_hash(),
        op_digest: request.op_digest(),
        op: request.op(),
        status: *status,
        cost: request.cost(),
        references,
    };
    let parameters = scene.issuer().current_key().parameters();
    let attributes = adjusted(request.outputs().unwrap(), issuance.adjust());
    let Us = issuance.macs.map(|mac| U(&decode_scalar(mac.t).unwrap()));
    json!({
        "blindings": root()
            .blindings(references, &values)
            .map(|blinding| hex::encode(blinding.as_bytes())),
        "memo_key": hex::encode(root().memo_key(references).as_bytes()),
        "memo_plaintext": hex::encode(values.map(u64::to_le_bytes).concat()),
        "memo": hex::encode(memo),
        "context": hex::encode(&context),
        "session_tag": hex::encode(spend_tag(&context, &request.range_proof)),
        "issuance_session_tag": hex::encode(signed.tag(parameters, issuance.adjust())),
        "attributes": attributes.map(|point| hex::encode(point.encoding)),
        "t": issuance.macs.map(|mac| hex::encode(mac.t)),
        "U": Us.map(|U| hex::encode(U.compress().as_bytes())),
        "V": issuance.macs.map(|mac| hex::encode(mac.V)),
    })
}

impl Step {
    fn json(&self, mut inputs: Value) -> Value {
        let [first, second] = self.pair.credentials();
        let outputs = json!({
            "request": hex::encode(&self.core),
            "core_hash": hex::encode(self.request.core_hash()),
            "op_digest": hex::encode(self.request.op_digest()),
            "derived": self.derived,
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
