//! Boosted trees of two levels: enough to learn which pairs belong together.

/// What is known of a pair.
pub(crate) const FEATURES: usize = 8;

pub(crate) struct Sample {
    pub(crate) features: [f64; FEATURES],
    pub(crate) same: bool,
}

/// Trees, and how far each leaf moves the verdict.
const TREES: usize = 60;
const RATE: f64 = 0.3;

/// Cuts that are tried of each feature.
const CUTS: usize = 24;

/// Samples that a leaf has at least.
const LEAF: usize = 20;

pub(crate) struct Forest {
    trees: Vec<Node>,
    /// Verdicts above it are "same".
    threshold: f64,
}

enum Node {
    Leaf(f64),
    Cut {
        feature: usize,
        at: f64,
        below: Box<Node>,
        above: Box<Node>,
    },
}

impl Forest {
    pub(crate) fn grown(samples: &[Sample]) -> Forest {
        let cuts = cuts(samples);
        let mut verdicts = vec![0.0; samples.len()];
        let mut trees = Vec::new();
        for _ in 0..TREES {
            let errors: Vec<f64> = samples
                .iter()
                .zip(&verdicts)
                .map(|(sample, verdict)| {
                    let truth = f64::from(u8::from(sample.same));
                    truth - 1.0 / (1.0 + f64::exp(-verdict))
                })
                .collect();
            let all: Vec<usize> = (0..samples.len()).collect();
            let tree = Node::grown(samples, &errors, &cuts, &all, 3);
            for (verdict, sample) in verdicts.iter_mut().zip(samples) {
                *verdict += tree.verdict(sample);
            }
            trees.push(tree);
        }
        let mut forest = Forest {
            trees,
            threshold: 0.0,
        };
        // Where it separates best what it has learned from.
        let mut sorted = verdicts;
        sorted.sort_by(f64::total_cmp);
        let tried = (1..40).map(|part| sorted[sorted.len() * part / 40]);
        let best = tried
            .map(|threshold| {
                forest.threshold = threshold;
                (forest.points(samples), threshold)
            })
            .max_by(|one, other| one.0.total_cmp(&other.0));
        forest.threshold = best.map_or(0.0, |(_, threshold)| threshold);
        forest
    }

    fn says_same(&self, sample: &Sample) -> bool {
        let verdicts = self.trees.iter().map(|tree| tree.verdict(sample));
        verdicts.sum::<f64>() > self.threshold
    }

    /// Half of true positives less false positives, in percent.
    pub(crate) fn points(&self, samples: &[Sample]) -> f64 {
        let rate = |same: bool| {
            let of_kind = samples.iter().filter(|sample| sample.same == same);
            let (mut all, mut positive) = (0.0_f64, 0.0);
            for sample in of_kind {
                all += 1.0;
                positive += f64::from(u8::from(self.says_same(sample)));
            }
            positive / all.max(1.0)
        };
        50.0 * (rate(true) - rate(false))
    }
}

/// Values of each feature between which it may be cut.
fn cuts(samples: &[Sample]) -> Vec<Vec<f64>> {
    let feature = |feature: usize| {
        let mut values: Vec<f64> = samples.iter().map(|s| s.features[feature]).collect();
        values.sort_by(f64::total_cmp);
        let mut cuts: Vec<f64> = (1..CUTS)
            .map(|part| values[values.len() * part / CUTS])
            .collect();
        cuts.dedup();
        cuts
    };
    (0..FEATURES).map(feature).collect()
}

impl Node {
    fn grown(
        samples: &[Sample],
        errors: &[f64],
        cuts: &[Vec<f64>],
        here: &[usize],
        levels: u32,
    ) -> Node {
        let sum: f64 = here.iter().map(|&at| errors[at]).sum();
        let leaf = Node::Leaf(RATE * 4.0 * sum / (here.len() as f64 + 1.0));
        if levels == 0 || here.len() < 2 * LEAF {
            return leaf;
        }
        let mut best: Option<(f64, usize, f64)> = None;
        for (feature, cuts) in cuts.iter().enumerate() {
            for &at in cuts {
                let (mut below, mut count) = (0.0, 0);
                for &sample in here {
                    if samples[sample].features[feature] < at {
                        below += errors[sample];
                        count += 1;
                    }
                }
                if count < LEAF || here.len() - count < LEAF {
                    continue;
                }
                let above = sum - below;
                let gain =
                    below * below / count as f64 + above * above / (here.len() - count) as f64;
                if best.is_none_or(|(most, ..)| gain > most) {
                    best = Some((gain, feature, at));
                }
            }
        }
        let Some((_, feature, at)) = best else {
            return leaf;
        };
        let (below, above): (Vec<usize>, Vec<usize>) = here
            .iter()
            .partition(|&&sample| samples[sample].features[feature] < at);
        let grown = |here: &[usize]| Box::new(Node::grown(samples, errors, cuts, here, levels - 1));
        Node::Cut {
            feature,
            at,
            below: grown(&below),
            above: grown(&above),
        }
    }

    fn verdict(&self, sample: &Sample) -> f64 {
        match self {
            Node::Leaf(verdict) => *verdict,
            Node::Cut {
                feature,
                at,
                below,
                above,
            } => match sample.features[*feature] < *at {
                true => below.verdict(sample),
                false => above.verdict(sample),
            },
        }
    }
}
