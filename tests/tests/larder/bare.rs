//! A client that keeps its pairs itself and can misuse them: what a purse would never send.

use larder_credentials::{
    AdjustRule, InFlight, Record as Terms, Replaced, Reply as Replacement, Root, Settled, Spending,
    Unspent,
};
use larder_protocol::{
    Call, Done, Nonce, Payment, Quote, Refusal, Reply, Request, SizeClass, Voucher, envelope,
};

use crate::wallet::Client;

/// A client without a purse.
pub(crate) struct Bare<'c> {
    pub(crate) client: &'c Client,
    pub(crate) root: Root,
    pub(crate) terms: Terms,
    claims: u64,
}

impl<'c> Bare<'c> {
    pub(crate) fn new(client: &'c Client, root: u8) -> Self {
        let terms = client.provider.record().credentials();
        Bare {
            client,
            root: Root::from_bytes([root; 32]),
            terms: terms.expect("a node that sells").expect("its keys"),
            claims: 0,
        }
    }

    /// A quote for one claim of its own.
    pub(crate) fn quote(&mut self, tokens: u64, voucher: Option<&Voucher>) -> Call {
        self.claims += 1;
        Call::Quote(Quote {
            tokens,
            tags: vec![self.root.claim_secret(self.claims).tag()],
            voucher: voucher.map(Voucher::encode),
        })
    }

    /// The purchase of what was quoted last.
    pub(crate) fn purchase(&self, tokens: u64) -> InFlight {
        let secret = self.root.claim_secret(self.claims);
        InFlight::purchase(&self.root, &self.terms, &secret, tokens, None).expect("a purchase")
    }

    pub(crate) async fn buy(&mut self, tokens: u64, voucher: Option<&Voucher>) -> Unspent {
        let quote = self.quote(tokens, voucher);
        let quoted = ask(self.client, quote, Payment::None).await.outcome;
        assert!(
            matches!(&quoted, Ok(Done::Quoted(quoted)) if quoted.paid),
            "{quoted:?}"
        );
        let in_flight = self.purchase(tokens);
        let reply = ask(self.client, Call::Purchase, paid(&in_flight)).await;
        assert_eq!(reply.outcome, Ok(Done::Exchanged));
        self.accept(in_flight, &reply)
    }

    /// Pays so much for a call with a pair, which it does not forget.
    pub(crate) fn pay(&self, pair: &Unspent, call: &Call, price: u64) -> InFlight {
        let digest = call.digest();
        let op = call.op().paid_as().expect("a paid operation");
        copy(pair)
            .spend(&self.root, &self.terms, &Spending::on(op, &digest, price))
            .expect("enough tokens")
    }

    /// The pair that an answer holds.
    pub(crate) fn accept(&self, in_flight: InFlight, reply: &Reply) -> Unspent {
        let bytes = reply.replacement.as_ref().expect("a replacement");
        let replacement = Replacement::decode(bytes).expect("a replacement");
        let any = AdjustRule::AtMost(u64::MAX);
        match in_flight.accept(&self.root, &self.terms, replacement, any) {
            Ok(Settled::Performed(Replaced { pair, .. })) => pair,
            other => panic!("not performed: {other:?}"),
        }
    }
}

/// A pair that can be spent again and again.
fn copy(pair: &Unspent) -> Unspent {
    Unspent::decode(&*pair.encode()).expect("a pair")
}

pub(crate) fn paid(in_flight: &InFlight) -> Payment {
    Payment::Credentials(in_flight.core().to_vec())
}

/// The same with the last byte of its proofs changed. Behind them are the length of the
/// parameters, 4 bytes, and the parameters.
pub(crate) fn forged(in_flight: &InFlight) -> Payment {
    let mut core = in_flight.core().to_vec();
    let behind = 4 + in_flight.request().parameters().len();
    let last = core.len() - behind - 1;
    core[last] ^= 1;
    Payment::Credentials(core)
}

pub(crate) fn contents(call: Call, payment: Payment) -> Vec<u8> {
    let request = Request {
        payment,
        ..Request::unpaid(Nonce([9; 32]), call)
    };
    envelope::wrap(&request.encode(), SizeClass::Big).expect("it fits")
}

pub(crate) async fn ask(client: &Client, call: Call, payment: Payment) -> Reply {
    client.send_raw(&contents(call, payment)).await
}

pub(crate) async fn refusal(client: &Client, call: Call, payment: Payment) -> Refusal {
    let reply = ask(client, call, payment).await;
    assert_eq!(reply.replacement, None);
    reply.outcome.expect_err("a refusal")
}
