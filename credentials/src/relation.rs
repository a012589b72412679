//! Linear relations between points, proved with one challenge (§4.3, §5).
//!
//! `sigma-proofs` supplies the protocol: transcript, challenge, compact form, checks of
//! lengths and canonicity. Its general [`Instance`](sigma_proofs::Instance) computes with
//! points it knows nothing about. An issuer sees the same few generators in every
//! request and has received most encodings already, so this module implements the
//! library's traits for a [`Statement`] that keeps tables for fixed points and never
//! compresses a point twice. Transcripts and proofs are byte for byte those of the
//! library's own instance; the tests hold the two against each other.
//!
//! Provers work in constant time: which points enter an equation is public, the scalars
//! are not. Verifiers work in variable time, on values that are public with one exception:
//! for a presentation that is *not* valid the issuer's `Z` is secret, since `CV − Z` is then a
//! MAC on points its sender chose. How much of it the verifier's time tells has not been
//! measured. It is never printed, and a statement erases its points and their encoding when
//! it is dropped.

mod library;

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::ristretto::{RistrettoBasepointTable, VartimeRistrettoPrecomputation};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, MultiscalarMul, VartimePrecomputedMultiscalarMul};
use sigma_proofs::codec::ScalarCodec;
use sigma_proofs::errors::{InvalidWitness, VerificationError};
use sigma_proofs::{DefaultHash, PrivateRng};
use zeroize::Zeroizing;

use crate::generators::Generator;
use crate::group::Point;

/// What the encoding of the longest statement, spending a pair, fits in, in bytes.
const LABEL_CAPACITY: usize = 2_400;

/// A point of a statement, by its place among the fixed or the variable ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Fixed(usize),
    Variable(usize),
}

/// A public factor in an equation.
#[derive(Clone, Copy)]
pub(crate) enum Coefficient {
    One,
    MinusOne,
    /// Given with each statement, by its place among the parameters.
    Parameter(usize),
}

/// `Σ coefficient·image = Σ coefficient·scalar·element`.
pub(crate) struct Equation {
    pub(crate) image: Vec<(Element, Coefficient)>,
    pub(crate) terms: Vec<(usize, Element, Coefficient)>,
}

/// A point that is the same in every statement of a shape.
pub(crate) struct Fixed {
    at: Point,
    table: Option<&'static RistrettoBasepointTable>,
}

impl From<&'static Generator> for Fixed {
    fn from(generator: &'static Generator) -> Self {
        Fixed {
            at: generator.at,
            table: Some(&generator.table),
        }
    }
}

impl From<Point> for Fixed {
    fn from(at: Point) -> Self {
        Fixed { at, table: None }
    }
}

/// Everything about a statement that does not change from one request to the next.
pub(crate) struct Shape {
    fixed: Vec<Fixed>,
    variables: usize,
    scalars: usize,
    equations: Vec<Prepared>,
}

/// An equation, and tables of the fixed points that occur in it.
struct Prepared {
    equation: Equation,
    fixed: Vec<usize>,
    tables: VartimeRistrettoPrecomputation,
}

impl Shape {
    pub(crate) fn new(
        fixed: Vec<Fixed>,
        variables: usize,
        scalars: usize,
        equations: Vec<Equation>,
    ) -> Self {
        let prepare = |equation: Equation| {
            let terms = equation.terms.iter().map(|(_, element, _)| element);
            let mut used = Vec::new();
            for element in terms.chain(equation.image.iter().map(|(element, _)| element)) {
                if let Element::Fixed(place) = element
                    && !used.contains(place)
                {
                    used.push(*place);
                }
            }
            Prepared {
                tables: VartimeRistrettoPrecomputation::new(
                    used.iter().map(|place| fixed[*place].at.point),
                ),
                equation,
                fixed: used,
            }
        };
        let equations = equations.into_iter().map(prepare).collect();
        Shape {
            fixed,
            variables,
            scalars,
            equations,
        }
    }
}

/// One statement: a shape, its variable points and its parameters.
pub(crate) struct Statement<'a> {
    shape: &'a Shape,
    variables: Zeroizing<Vec<Point>>,
    parameters: Vec<Scalar>,
    /// The statement as the library's instance encodes it.
    label: Zeroizing<Vec<u8>>,
}

/// Encoded nonce commitments, one an equation.
pub(crate) struct Commitments(Vec<Point>);

/// Nonces and witness between the two moves of a prover. Erased when dropped.
pub(crate) struct ProverSecrets {
    nonces: Zeroizing<Vec<Scalar>>,
    witness: Zeroizing<Vec<Scalar>>,
}

impl<'a> Statement<'a> {
    pub(crate) fn new(shape: &'a Shape, variables: Vec<Point>, parameters: Vec<Scalar>) -> Self {
        debug_assert_eq!(variables.len(), shape.variables);
        let mut statement = Statement {
            shape,
            variables: Zeroizing::new(variables),
            parameters,
            label: Zeroizing::default(),
        };
        statement.label = statement.encode();
        statement
    }

    /// The encoded statement, which is what the challenge depends on first.
    pub(crate) fn label(&self) -> &[u8] {
        &self.label
    }

    /// A compact proof under a session tag.
    pub(crate) fn prove(
        &self,
        tag: &[u8],
        witness: &[Scalar],
        nonces: &mut PrivateRng,
    ) -> Result<Vec<u8>, InvalidWitness> {
        let session = sigma_proofs::derive_session_id::<DefaultHash>(tag);
        sigma_proofs::prove_compact_with::<DefaultHash, _>(&session, self, witness, nonces)
    }

    /// Checks a compact proof made under the same tag.
    pub(crate) fn verify(&self, tag: &[u8], proof: &[u8]) -> Result<(), VerificationError> {
        let session = sigma_proofs::derive_session_id::<DefaultHash>(tag);
        sigma_proofs::verify_compact_with::<DefaultHash, _>(&session, self, proof)
    }

    fn coefficient(&self, coefficient: Coefficient) -> Scalar {
        match coefficient {
            Coefficient::One => Scalar::ONE,
            Coefficient::MinusOne => -Scalar::ONE,
            Coefficient::Parameter(place) => self.parameters[place],
        }
    }

    fn times(&self, coefficient: Coefficient, scalar: &Scalar) -> Scalar {
        match coefficient {
            Coefficient::One => *scalar,
            Coefficient::MinusOne => -scalar,
            Coefficient::Parameter(place) => self.parameters[place] * scalar,
        }
    }

    /// The bytes of the library's `SerializeLinearRelation`: counts and indices LE32,
    /// scalars big-endian; elements count from 2, after the identity and the base point.
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let fixed = self.shape.fixed.len();
        // More than any statement takes: growing would leave a copy behind.
        let mut out = Zeroizing::new(Vec::with_capacity(LABEL_CAPACITY));
        let count = |out: &mut Vec<u8>, n: usize| out.extend_from_slice(&(n as u32).to_le_bytes());
        let index = |element: Element| match element {
            Element::Fixed(place) => 2 + place,
            Element::Variable(place) => 2 + fixed + place,
        };
        count(&mut out, self.shape.equations.len());
        for Prepared { equation, .. } in &self.shape.equations {
            count(&mut out, equation.image.len());
            for (element, coefficient) in &equation.image {
                count(&mut out, index(*element));
                self.coefficient(*coefficient).serialize_scalar(&mut out);
            }
            count(&mut out, equation.terms.len());
            for (scalar, element, coefficient) in &equation.terms {
                count(&mut out, *scalar);
                count(&mut out, index(*element));
                self.coefficient(*coefficient).serialize_scalar(&mut out);
            }
        }
        let fixed = self.shape.fixed.iter().map(|fixed| &fixed.at);
        for point in fixed.chain(self.variables.iter()) {
            out.extend_from_slice(&point.encoding);
        }
        debug_assert!(out.len() <= LABEL_CAPACITY);
        out
    }

    /// The right-hand sides at secret scalars, in constant time.
    fn map(&self, scalars: &[Scalar]) -> Commitments {
        // Halves, because compression doubles; see `Point::from_halves`.
        let halves: Zeroizing<Vec<Scalar>> =
            Zeroizing::new(scalars.iter().map(Scalar::div_by_2).collect());
        // `w·Gw` occurs in three equations of an issuance: each product is made once.
        // Its length is bounded in advance: growing would leave a copy of secrets behind.
        let equations = self.shape.equations.iter();
        let most = equations
            .map(|prepared| prepared.equation.terms.len())
            .sum();
        let mut products: Zeroizing<Vec<((usize, usize), RistrettoPoint)>> =
            Zeroizing::new(Vec::with_capacity(most));
        let mut sums = Vec::with_capacity(self.shape.equations.len());
        for Prepared { equation, .. } in &self.shape.equations {
            let mut sum = RistrettoPoint::identity();
            let mut points: Vec<RistrettoPoint> = Vec::new();
            let mut factors: Zeroizing<Vec<Scalar>> =
                Zeroizing::new(Vec::with_capacity(equation.terms.len()));
            let mut elements: Vec<Element> = Vec::new();
            for (scalar, element, coefficient) in &equation.terms {
                let factor = Zeroizing::new(self.times(*coefficient, &halves[*scalar]));
                let point = match element {
                    Element::Variable(place) => self.variables[*place].point,
                    Element::Fixed(place) => {
                        let fixed = &self.shape.fixed[*place];
                        if let (Some(table), Coefficient::One) = (fixed.table, coefficient) {
                            let key = (*scalar, *place);
                            let known = products.iter().find(|(of, _)| *of == key);
                            sum += if let Some((_, product)) = known {
                                *product
                            } else {
                                let product = table * &*factor;
                                products.push((key, product));
                                product
                            };
                            continue;
                        }
                        fixed.at.point
                    }
                };
                if let Some(place) = elements.iter().position(|known| known == element) {
                    factors[place] += *factor;
                } else {
                    elements.push(*element);
                    factors.push(*factor);
                    points.push(point);
                }
            }
            if !points.is_empty() {
                sum += RistrettoPoint::multiscalar_mul(factors.iter(), &points);
            }
            sums.push(sum);
        }
        Commitments(Point::from_halves(&sums))
    }

    /// `map(response) − challenge·image`, in variable time.
    fn commitments(&self, challenge: &Scalar, response: &[Scalar]) -> Commitments {
        let challenge = -challenge.div_by_2();
        let response: Vec<Scalar> = response.iter().map(Scalar::div_by_2).collect();
        let mut sums = Vec::with_capacity(self.shape.equations.len());
        for prepared in &self.shape.equations {
            let mut fixed = vec![Scalar::ZERO; prepared.fixed.len()];
            let mut variable: Vec<(usize, Scalar)> = Vec::new();
            let mut add = |element: Element, factor: Scalar| match element {
                Element::Fixed(place) => {
                    if let Some(slot) = prepared.fixed.iter().position(|known| *known == place) {
                        fixed[slot] += factor;
                    }
                }
                Element::Variable(place) => {
                    match variable.iter_mut().find(|(known, _)| *known == place) {
                        Some((_, sum)) => *sum += factor,
                        None => variable.push((place, factor)),
                    }
                }
            };
            for (scalar, element, coefficient) in &prepared.equation.terms {
                add(*element, self.times(*coefficient, &response[*scalar]));
            }
            // The variable points of an image share the challenge, so their sum needs
            // one multiplication only.
            let mut image = None;
            for (element, coefficient) in &prepared.equation.image {
                match (element, coefficient) {
                    (Element::Variable(place), Coefficient::One) => {
                        let point = self.variables[*place].point;
                        image = Some(image.map_or(point, |sum: RistrettoPoint| sum + point));
                    }
                    (Element::Variable(place), Coefficient::MinusOne) => {
                        let point = self.variables[*place].point;
                        image = Some(image.map_or(-point, |sum: RistrettoPoint| sum - point));
                    }
                    _ => add(*element, self.times(*coefficient, &challenge)),
                }
            }
            let scalars = variable.iter().map(|(_, factor)| *factor);
            let points = variable
                .iter()
                .map(|(place, _)| self.variables[*place].point);
            sums.push(prepared.tables.vartime_mixed_multiscalar_mul(
                &fixed,
                scalars.chain(image.map(|_| challenge)),
                points.chain(image),
            ));
        }
        Commitments(Point::from_halves(&sums))
    }
}
