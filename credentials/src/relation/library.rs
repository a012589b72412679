//! A statement as `sigma-proofs` sees it: the library's traits, by what the statement computes.

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use sigma_proofs::codec::ScalarCodec;
use sigma_proofs::errors::{InvalidWitness, VerificationError};
use sigma_proofs::traits::{SigmaProtocol, SigmaProtocolSimulator, Transcript};
use sigma_proofs::{DuplexSpongeInit, NargCodec, PrivateRng};
use spongefish::NargReader;
use zeroize::Zeroizing;

use super::{Commitments, ProverSecrets, Statement};
use crate::group::Point;

impl SigmaProtocol for Statement<'_> {
    type Commitment = Commitments;
    type Challenge = Scalar;
    type Response = Vec<Scalar>;
    type ProverState = ProverSecrets;
    type Witness = [Scalar];

    fn prover_commit(
        &self,
        witness: &[Scalar],
        rng: &mut PrivateRng<impl DuplexSpongeInit<U = u8>>,
    ) -> Result<(Commitments, ProverSecrets), InvalidWitness> {
        if witness.len() != self.shape.scalars {
            return Err(InvalidWitness);
        }
        let nonces = Zeroizing::new(self.simulate_response(rng));
        let commitments = self.map(&nonces);
        let witness = Zeroizing::new(witness.to_vec());
        Ok((commitments, ProverSecrets { nonces, witness }))
    }

    fn prover_response(
        &self,
        secrets: ProverSecrets,
        challenge: &Scalar,
    ) -> Result<Vec<Scalar>, InvalidWitness> {
        let pairs = secrets.nonces.iter().zip(secrets.witness.iter());
        Ok(pairs
            .map(|(nonce, value)| nonce + challenge * value)
            .collect())
    }

    fn verifier(
        &self,
        commitment: &Commitments,
        challenge: &Scalar,
        response: &Vec<Scalar>,
    ) -> Result<(), VerificationError> {
        let expected = self.simulate_commitment(challenge, response)?;
        let encodings = |c: &Commitments| c.0.iter().map(|p| p.encoding).collect::<Vec<_>>();
        if encodings(&expected) == encodings(commitment) {
            Ok(())
        } else {
            Err(VerificationError)
        }
    }
}

impl SigmaProtocolSimulator for Statement<'_> {
    fn simulate_response(
        &self,
        rng: &mut PrivateRng<impl DuplexSpongeInit<U = u8>>,
    ) -> Vec<Scalar> {
        (0..self.shape.scalars)
            .map(|_| Scalar::sample(rng))
            .collect()
    }

    fn simulate_commitment(
        &self,
        challenge: &Scalar,
        response: &Vec<Scalar>,
    ) -> Result<Commitments, VerificationError> {
        if response.len() != self.shape.scalars {
            return Err(VerificationError);
        }
        Ok(self.commitments(challenge, response))
    }

    fn simulate_transcript(
        &self,
        rng: &mut PrivateRng<impl DuplexSpongeInit<U = u8>>,
    ) -> Result<Transcript<Self>, VerificationError> {
        let response = self.simulate_response(rng);
        let challenge = Scalar::sample(rng);
        let commitment = self.simulate_commitment(&challenge, &response)?;
        Ok((commitment, challenge, response))
    }
}

impl NargCodec for Statement<'_> {
    fn encode_instance(&self) -> impl AsRef<[u8]> {
        self.label.as_slice()
    }

    fn serialize_commitment_into(&self, commitment: &Commitments, out: &mut Vec<u8>) {
        for point in &commitment.0 {
            out.extend_from_slice(&point.encoding);
        }
    }

    fn serialize_response_into(&self, response: &Vec<Scalar>, out: &mut Vec<u8>) {
        for scalar in response {
            scalar.serialize_scalar(out);
        }
    }

    fn deserialize_commitment(
        &self,
        reader: &mut NargReader<'_>,
    ) -> Result<Commitments, VerificationError> {
        let points = self.shape.equations.iter().map(|_| {
            let encoding = reader.take_array()?;
            let point = CompressedRistretto(encoding)
                .decompress()
                .ok_or(VerificationError)?;
            Ok(Point { point, encoding })
        });
        points.collect::<Result<_, _>>().map(Commitments)
    }

    fn deserialize_response(
        &self,
        reader: &mut NargReader<'_>,
    ) -> Result<Vec<Scalar>, VerificationError> {
        (0..self.shape.scalars)
            .map(|_| Scalar::deserialize_scalar(reader))
            .collect()
    }
}
