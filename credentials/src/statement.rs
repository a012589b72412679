//! The statements that are proved: spending a pair, claiming a purchase, issuing.
//!
//! Each is written down once, as data, in the notation of §4.3 and §5. Fixed points come
//! first, variable points in the order of the functions' arguments.

use std::sync::LazyLock;

use curve25519_dalek::scalar::Scalar;

use crate::generators::GENERATORS;
use crate::group::Point;
use crate::relation::Coefficient::{MinusOne, One, Parameter};
use crate::relation::Element::{Fixed, Variable};
use crate::relation::{Equation, Shape, Statement};

/// The points of a presentation that enter the statement (§4.2). `CV` enters through `Z`.
#[derive(Clone, Copy)]
pub(crate) struct Presented {
    pub(crate) Ca: Point,
    pub(crate) Cx0: Point,
    pub(crate) Cx1: Point,
    pub(crate) S: Point,
    pub(crate) Z: Point,
}

/// Witness: `(z, z0, t, a, r)` for each of two presentations, then `dr`.
///
/// ```text
/// Z_i   = z_i·I
/// Cx1_i = z_i·Gx1 + z0_i·Gx0 + t_i·Cx0_i
/// Ca_i  = z_i·Ga + a_i·Gg + r_i·Gh
/// S_i   = r_i·Gs
/// Σ Ca_i − Σ M'_j − cost·Gg = (Σ z_i)·Ga + dr·Gh
/// ```
pub(crate) fn spend_shape(I: Point) -> Shape {
    let g = &*GENERATORS;
    let fixed = vec![
        I.into(),
        (&g.Gx0).into(),
        (&g.Gx1).into(),
        (&g.Ga).into(),
        (&g.Gg).into(),
        (&g.Gh).into(),
        (&g.Gs).into(),
    ];
    let [I, Gx0, Gx1, Ga, Gg, Gh, Gs] = std::array::from_fn(Fixed);
    let mut equations = Vec::with_capacity(9);
    for i in 0..2 {
        let [z, z0, t, a, r] = std::array::from_fn(|scalar| 5 * i + scalar);
        let [Ca, Cx0, Cx1, S, Z] = std::array::from_fn(|point| Variable(5 * i + point));
        equations.extend([
            Equation {
                image: vec![(Z, One)],
                terms: vec![(z, I, One)],
            },
            Equation {
                image: vec![(Cx1, One)],
                terms: vec![(z, Gx1, One), (z0, Gx0, One), (t, Cx0, One)],
            },
            Equation {
                image: vec![(Ca, One)],
                terms: vec![(z, Ga, One), (a, Gg, One), (r, Gh, One)],
            },
            Equation {
                image: vec![(S, One)],
                terms: vec![(r, Gs, One)],
            },
        ]);
    }
    let [Ca_1, Ca_2, M_1, M_2] = [0, 5, 10, 11].map(Variable);
    equations.push(Equation {
        image: vec![
            (Ca_1, One),
            (Ca_2, One),
            (M_1, MinusOne),
            (M_2, MinusOne),
            (Gg, Parameter(0)),
        ],
        terms: vec![(0, Ga, One), (5, Ga, One), (10, Gh, One)],
    });
    Shape::new(fixed, 12, 11, equations)
}

/// Two presentations and two outputs under a shape made by [`spend_shape`].
pub(crate) fn spend<'a>(
    shape: &'a Shape,
    presented: [Presented; 2],
    outputs: [Point; 2],
    cost: i64,
) -> Statement<'a> {
    let mut points = Vec::with_capacity(12);
    for Presented { Ca, Cx0, Cx1, S, Z } in presented {
        points.extend([Ca, Cx0, Cx1, S, Z]);
    }
    points.extend(outputs);
    Statement::new(shape, points, vec![-signed(cost)])
}

/// Only the balance: `−Σ M'_j − cost·Gg = dr·Gh`, witness `dr`.
static PURCHASE: LazyLock<Shape> = LazyLock::new(|| {
    let g = &*GENERATORS;
    let (Gg, Gh) = (Fixed(0), Fixed(1));
    let balance = Equation {
        image: vec![
            (Variable(0), MinusOne),
            (Variable(1), MinusOne),
            (Gg, Parameter(0)),
        ],
        terms: vec![(0, Gh, One)],
    };
    Shape::new(vec![(&g.Gg).into(), (&g.Gh).into()], 2, 1, vec![balance])
});

/// The statement of a request that presents nothing (`k_in = 0`).
pub(crate) fn purchase(outputs: [Point; 2], cost: i64) -> Statement<'static> {
    Statement::new(&PURCHASE, outputs.to_vec(), vec![-signed(cost)])
}

/// A MAC in the making: what is signed, and what signs it.
#[derive(Clone, Copy)]
pub(crate) struct Issued {
    pub(crate) M: Point,
    pub(crate) t: Scalar,
    pub(crate) U: Point,
    pub(crate) V: Point,
}

/// Witness: `(w, w', x0, x1, ya)`.
///
/// ```text
/// Cw     = w·Gw + w'·Gw'
/// GV − I = x0·Gx0 + x1·Gx1 + ya·Ga
/// V_j    = w·Gw + x0·U_j + x1·(t_j·U_j) + ya·M*_j
/// ```
pub(crate) fn issue_shape(Cw: Point, I: Point) -> Shape {
    let g = &*GENERATORS;
    let fixed = vec![
        Cw.into(),
        I.into(),
        (&g.Gw).into(),
        (&g.Gw_prime).into(),
        (&g.Gx0).into(),
        (&g.Gx1).into(),
        (&g.GV).into(),
        (&g.Ga).into(),
    ];
    let [Cw, I, Gw, Gw_prime, Gx0, Gx1, GV, Ga] = std::array::from_fn(Fixed);
    let [w, w_prime, x0, x1, ya] = std::array::from_fn(|scalar| scalar);
    let mut equations = vec![
        Equation {
            image: vec![(Cw, One)],
            terms: vec![(w, Gw, One), (w_prime, Gw_prime, One)],
        },
        Equation {
            image: vec![(GV, One), (I, MinusOne)],
            terms: vec![(x0, Gx0, One), (x1, Gx1, One), (ya, Ga, One)],
        },
    ];
    for j in 0..2 {
        let [M, U, V] = std::array::from_fn(|point| Variable(3 * j + point));
        equations.push(Equation {
            image: vec![(V, One)],
            terms: vec![
                (w, Gw, One),
                (x0, U, One),
                (x1, U, Parameter(j)),
                (ya, M, One),
            ],
        });
    }
    Shape::new(fixed, 6, 5, equations)
}

/// Two MACs under a shape made by [`issue_shape`].
pub(crate) fn issue<'a>(shape: &'a Shape, issued: [Issued; 2]) -> Statement<'a> {
    let points = issued.iter().flat_map(|i| [i.M, i.U, i.V]).collect();
    Statement::new(shape, points, issued.iter().map(|i| i.t).collect())
}

/// A signed number of tokens as a scalar.
pub(crate) fn signed(cost: i64) -> Scalar {
    let magnitude = Scalar::from(cost.unsigned_abs());
    if cost < 0 { -magnitude } else { magnitude }
}
