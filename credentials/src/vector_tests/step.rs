//! One request and its answer, with what lies between the seeds and the bytes.

use curve25519_dalek::scalar::Scalar;
use serde_json::{Value, json};
use sigma_proofs::PrivateRng;

use crate::holder::zs;
use crate::issuance::IssuanceContext;
use crate::request::spend_tag;
use crate::test_scene::{Scene, issued, nonce_commitments, purchase, root, settle, spend};
use crate::{InFlight, Reply, Request, Spending, Unspent, memo, range_proof, statement};

/// One request and its answer.
pub(super) struct Step {
    pub(super) core: Vec<u8>,
    request: Request,
    derived: Value,
    reply: Reply,
    pub(super) pair: Unspent,
}

/// Tokens bought with the first claim, all in one output.
pub(super) fn bought(scene: &Scene, amount: u64) -> Step {
    let values = [amount, 0];
    let in_flight = purchase(scene, 0, amount);
    let [r_1, r_2] = *root().blindings(in_flight.request().references(), &values);
    step(scene, in_flight, values, vec![-(r_1 + r_2)], 0)
}

/// The next pair.
pub(super) fn spent(
    scene: &Scene,
    pair: &Unspent,
    spending: &Spending<'_>,
    values: [u64; 2],
    adjust: u64,
) -> Step {
    let in_flight = spend(scene, pair, spending);
    let zs = zs(pair, &root(), scene.issuer().record(), spending).unwrap();
    let [r_1, r_2] = *root().blindings(in_flight.request().references(), &values);
    let mut witness = Vec::new();
    let mut dr = -(r_1 + r_2);
    for (z, credential) in zs.iter().zip(pair.credentials()) {
        let (t, a, r) = (
            credential.t(),
            credential.amount().into(),
            credential.blinding(),
        );
        witness.extend([*z, -(t * z), *t, a, *r]);
        dr += r;
    }
    witness.push(dr);
    step(scene, in_flight, values, witness, adjust)
}

/// `witness` is that of the request's Σ-proof.
fn step(
    scene: &Scene,
    in_flight: InFlight,
    values: [u64; 2],
    witness: Vec<Scalar>,
    adjust: u64,
) -> Step {
    let core = in_flight.core().to_vec();
    let request = in_flight.request().clone();
    let (reply, pair) = settle(scene, in_flight, adjust);
    let derived = derived(scene, &request, values, &witness, &reply);
    Step {
        core,
        request,
        derived,
        reply,
        pair,
    }
}

/// What lies between the seeds and the bytes that travel.
fn derived(
    scene: &Scene,
    request: &Request,
    values: [u64; 2],
    witness: &[Scalar],
    reply: &Reply,
) -> Value {
    let Reply::Performed { status, issuance } = reply else {
        panic!("it was performed");
    };
    let references = request.references();
    let memo = request.head.memo;
    let opened = memo::open(&root(), references, &memo).unwrap();
    assert_eq!(*opened, values);
    let blindings = root().blindings(references, &values);
    let (statement, context) = scene.issuer().statement(request).unwrap();
    let tag = spend_tag(&context, &request.range_proof);

    // The seeds of the proofs' randomness, and that they are these.
    let openings = values.iter().zip(blindings.iter());
    let openings = openings.map(|(v, r)| [v.to_le_bytes().as_slice(), r.as_bytes()].concat());
    let openings = openings.collect::<Vec<_>>().concat();
    let seed = |label: &str, parts: &[&[u8]]| root().prf().bytes32(label, parts);
    let range_seed = seed("range-proof", &[&context, &openings]);
    let secret = witness.iter().flat_map(|w| *w.as_bytes());
    let secret: Vec<u8> = secret.collect();
    let proof_seed = seed("proof", &[&tag, statement.label(), &secret]);
    let outputs = request.outputs().unwrap();
    let width = request.service().range();
    let mut randomness = PrivateRng::from_seed(range_seed);
    let again = range_proof::prove(
        width,
        &context,
        &outputs,
        values,
        &blindings,
        &mut randomness,
    );
    assert_eq!(again.unwrap(), request.range_proof);
    let again = statement.prove(&tag, witness, &mut PrivateRng::from_seed(proof_seed));
    assert_eq!(again.unwrap(), request.proof);
    let challenges = range_proof::challenges(width, &context, outputs, &request.range_proof);

    let signed = IssuanceContext {
        core_hash: request.core_hash(),
        op_digest: request.op_digest(),
        op: request.op(),
        status: *status,
        cost: request.cost(),
        references,
    };
    let parameters = scene.issuer().current_key().parameters();
    let issued = issued(outputs, issuance);
    let signing = statement::issue(parameters.issue(), issued);
    json!({
        "blindings": blindings.map(|blinding| hex::encode(blinding.as_bytes())),
        "memo_key": hex::encode(root().memo_key(references).as_bytes()),
        "memo_plaintext": hex::encode(values.map(u64::to_le_bytes).concat()),
        "memo": hex::encode(memo),
        "context": hex::encode(&context),
        "range_proof": {
            "seed": hex::encode(range_seed),
            "challenges y z e_k e": scalars(&challenges.unwrap()),
        },
        "proof": {
            "session_tag": hex::encode(&tag),
            "statement": hex::encode(statement.label()),
            "witness": scalars(witness),
            "seed": hex::encode(proof_seed),
            "nonce_commitments": points(nonce_commitments(&statement, &request.proof)),
        },
        "issuance": {
            "attributes": points(issued.map(|mac| mac.M.encoding)),
            "t": issuance.macs.map(|mac| hex::encode(mac.t)),
            "U": points(issued.map(|mac| mac.U.encoding)),
            "V": issuance.macs.map(|mac| hex::encode(mac.V)),
            "session_tag": hex::encode(signed.tag(parameters, issuance.adjust())),
            "statement": hex::encode(signing.label()),
            "nonce_commitments": points(nonce_commitments(&signing, &issuance.proof)),
        },
    })
}

fn scalars(scalars: &[Scalar]) -> Vec<String> {
    scalars.iter().map(|s| hex::encode(s.as_bytes())).collect()
}

fn points(points: impl IntoIterator<Item = [u8; 32]>) -> Vec<String> {
    points.into_iter().map(hex::encode).collect()
}

impl Step {
    pub(super) fn json(&self, mut inputs: Value) -> Value {
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
