//! The transcript of the original WabiSabi (Appendix A): STROBE-128, and how it frames messages.

use group::GroupEncoding;
use group::ff::PrimeField;
use k256::{ProjectivePoint, Scalar};

/// STROBE-128: associated data, plain and meta, and pseudo-random bytes.
#[derive(Clone)]
struct Strobe {
    state: [u8; 200],
    at: usize,
    begun: u8,
}

impl Strobe {
    const RATE: usize = 166;

    fn new(protocol: &[u8]) -> Self {
        let mut state = [0; 200];
        state[..6].copy_from_slice(&[1, Self::RATE as u8 + 2, 1, 0, 1, 96]);
        state[6..18].copy_from_slice(b"STROBEv1.0.2");
        let (at, begun) = (0, 0);
        let mut strobe = Strobe { state, at, begun };
        strobe.permute();
        strobe.meta(&[protocol]);
        strobe
    }

    fn permute(&mut self) {
        let mut lanes = [0; 25];
        for (lane, bytes) in lanes.iter_mut().zip(self.state.as_chunks().0) {
            *lane = u64::from_le_bytes(*bytes);
        }
        keccak::f1600(&mut lanes);
        self.state
            .copy_from_slice(lanes.map(u64::to_le_bytes).as_flattened());
    }

    fn end_block(&mut self) {
        self.state[self.at] ^= self.begun;
        self.state[self.at + 1] ^= 0x04;
        self.state[Self::RATE + 1] ^= 0x80;
        self.permute();
        (self.at, self.begun) = (0, 0);
    }

    fn duplex(&mut self, mut step: impl FnMut(&mut u8)) {
        step(&mut self.state[self.at]);
        self.at += 1;
        if self.at == Self::RATE {
            self.end_block();
        }
    }

    fn begin(&mut self, flags: u8) {
        let before = std::mem::replace(&mut self.begun, self.at as u8 + 1);
        self.absorb(&[before, flags]);
    }

    fn absorb(&mut self, data: &[u8]) {
        data.iter()
            .for_each(|byte| self.duplex(|state| *state ^= byte));
    }

    fn meta(&mut self, parts: &[&[u8]]) {
        self.begin(0b1_0010);
        parts.iter().for_each(|part| self.absorb(part));
    }

    fn data(&mut self, data: &[u8]) {
        self.begin(0b0010);
        self.absorb(data);
    }

    fn random(&mut self) -> [u8; 32] {
        self.begin(0b0111);
        if self.at != 0 {
            self.end_block();
        }
        let mut bytes = [0; 32];
        bytes
            .iter_mut()
            .for_each(|byte| self.duplex(|state| *byte = std::mem::take(state)));
        bytes
    }
}

/// What both sides of the original hash.
#[derive(Clone)]
pub(super) struct Transcript(Strobe);

impl Transcript {
    /// Of a unified registration of two credentials.
    pub(super) fn registration(null: &str) -> Self {
        let mut transcript = Transcript(Strobe::new(b"WabiSabi_v1.0"));
        let label = format!("UnifiedRegistration/2/{null}");
        transcript.message(b"domain-separator", label.as_bytes());
        transcript
    }

    fn message(&mut self, label: &[u8], message: &[u8]) {
        let length = (message.len() as u32).to_le_bytes();
        self.0.meta(&[label, &length]);
        self.0.data(message);
    }

    pub(super) fn points<'a>(
        &mut self,
        label: &[u8],
        points: impl IntoIterator<Item = &'a ProjectivePoint>,
    ) {
        let points: Vec<_> = points.into_iter().collect();
        self.0.meta(&[label, &(points.len() as u32).to_le_bytes()]);
        for (index, point) in points.into_iter().enumerate() {
            self.message(&(index as u32).to_le_bytes(), point.to_bytes().as_ref());
        }
    }

    pub(super) fn challenge(&mut self) -> Scalar {
        loop {
            self.0.meta(&[b"challenge"]);
            let challenge = Scalar::from_repr(self.0.random().into());
            if let Some(challenge) = Option::from(challenge) {
                return challenge;
            }
        }
    }
}
