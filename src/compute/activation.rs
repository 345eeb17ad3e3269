//! The gated activation between the two products of a feed-forward network.

use super::exp::exp;
use crate::simd::{Fused, Kernel, run_best};

/// What a gate lets through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// SwiGLU: `gate * sigmoid(gate) * up`.
    Silu,
    /// The clamped SwiGLU of gpt-oss: `gate * sigmoid(1.702 gate) * (up + 1)`, with the gate at most
    /// `limit` and `up` between `-limit` and `limit`.
    ///
    /// Source: `GptOssExperts` of transformers.
    ClampedSwiglu { limit: f32 },
}

/// Steepness of the clamped gate's sigmoid.
const ALPHA: f32 = 1.702;
/// Where `exp` still is a number; a gate that far below zero lets nothing through.
const MOST: f32 = 88.0;

impl Activation {
    /// What comes of gates and ups. What is no number stays none.
    ///
    /// # Panics
    /// If the slices are not equally long.
    pub(super) fn apply(self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        assert!(
            gate.len() == out.len() && up.len() == out.len(),
            "as many gates and ups as results"
        );
        match self {
            Self::Silu => run_best(Gated { gate, up, out, what: Silu }),
            Self::ClampedSwiglu { limit } => {
                run_best(Gated { gate, up, out, what: ClampedSwiglu { limit } });
            }
        }
    }
}

/// An activation of eight gates and ups.
trait Eight: Copy {
    fn eight<S: Fused>(self, s: S, gate: S::F32, up: S::F32) -> S::F32;
}

#[derive(Clone, Copy)]
struct Silu;

impl Eight for Silu {
    #[inline(always)]
    fn eight<S: Fused>(self, s: S, gate: S::F32, up: S::F32) -> S::F32 {
        s.mul(sigmoid_times(s, gate, 1.0), up)
    }
}

#[derive(Clone, Copy)]
struct ClampedSwiglu {
    limit: f32,
}

impl Eight for ClampedSwiglu {
    #[inline(always)]
    fn eight<S: Fused>(self, s: S, gate: S::F32, up: S::F32) -> S::F32 {
        let (most, least) = (s.splat(self.limit), s.splat(-self.limit));
        let gate = s.min(most, gate);
        let up = s.max(least, s.min(most, up));
        s.mul(sigmoid_times(s, gate, ALPHA), s.add(up, s.splat(1.0)))
    }
}

/// `gate * sigmoid(alpha * gate)`.
#[inline(always)]
fn sigmoid_times<S: Fused>(s: S, gate: S::F32, alpha: f32) -> S::F32 {
    let power = exp(s, s.min(s.splat(MOST), s.mul(gate, s.splat(-alpha))));
    s.div(gate, s.add(s.splat(1.0), power))
}

/// What [`Activation::apply`] is given.
struct Gated<'a, A> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
    what: A,
}

impl<S: Fused, A: Eight> Kernel<S> for Gated<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run(self, set: S) {
        let Self { gate, up, out, what } = self;
        let s = set.eight();
        let ((gates, last_gates), (ups, last_ups)) = (gate.as_chunks(), up.as_chunks());
        let (outs, last_out) = out.as_chunks_mut();
        for ((gate, up), out) in gates.iter().zip(ups).zip(outs) {
            eight(s, what, gate, up, out);
        }
        if !last_out.is_empty() {
            let (mut gate, mut up, mut out) = ([0.0; 8], [0.0; 8], [0.0; 8]);
            gate[..last_gates.len()].copy_from_slice(last_gates);
            up[..last_ups.len()].copy_from_slice(last_ups);
            eight(s, what, &gate, &up, &mut out);
            last_out.copy_from_slice(&out[..last_out.len()]);
        }
    }
}

/// No closure: used twice, one is not inlined, and outside of its caller it has no vectors. Reading a
/// prompt was a quarter slower so.
#[inline(always)]
fn eight<S: Fused>(s: S, what: impl Eight, gate: &[f32; 8], up: &[f32; 8], out: &mut [f32; 8]) {
    s.store(what.eight(s, s.load(gate), s.load(up)), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    const CLAMPED: Activation = Activation::ClampedSwiglu { limit: 7.0 };

    fn one(gate: f32, up: f32) -> f32 {
        let mut out = [0.0];
        CLAMPED.apply(&[gate], &[up], &mut out);
        out[0]
    }

    #[test]
    fn gates_and_ups_are_clamped() {
        assert_eq!(one(100.0, 100.0), one(7.0, 7.0));
        assert_eq!(one(1.0, -100.0), one(1.0, -7.0));
        for gate in [-60.0, -100.0, -1e30] {
            assert!(one(gate, 0.0).abs() < 1e-6, "{gate}");
        }
        assert!(one(f32::NAN, 1.0).is_nan() && one(1.0, f32::NAN).is_nan());
    }

    /// The definitions, in double precision.
    fn exact(activation: Activation, gate: f64, up: f64) -> f64 {
        let gated = |gate: f64, alpha: f64| gate / (1.0 + (-alpha * gate).exp());
        match activation {
            Activation::Silu => gated(gate, 1.0) * up,
            Activation::ClampedSwiglu { limit } => {
                let limit = f64::from(limit);
                gated(gate.min(limit), ALPHA.into()) * (up.clamp(-limit, limit) + 1.0)
            }
        }
    }

    fn check(activation: Activation, apply: impl Fn(&[f32], &[f32], &mut [f32])) {
        for len in [0, 1, 8, 29] {
            let gate: Vec<f32> = (0..len).map(|i| i as f32 * 0.9 - 17.0).collect();
            let up: Vec<f32> = (0..len).map(|i| 9.0 - i as f32 * 0.7).collect();
            let mut out = vec![f32::NAN; len];
            apply(&gate, &up, &mut out);
            for ((gate, up), out) in gate.into_iter().zip(up).zip(out) {
                let exact = exact(activation, gate.into(), up.into());
                let error = (f64::from(out) - exact).abs();
                assert!(error <= 1e-6 * exact.abs(), "{activation:?} {gate} {up}: {out} {exact}");
            }
        }
    }

    #[test]
    fn values_are_close_with_every_set() {
        for activation in [CLAMPED, Activation::Silu] {
            check(activation, |gate, up, out| activation.apply(gate, up, out));
        }
        check(Activation::Silu, |gate, up, out| {
            Gated { gate, up, out, what: Silu }.run(Portable::<8>);
        });
        let what = ClampedSwiglu { limit: 7.0 };
        check(CLAMPED, |gate, up, out| Gated { gate, up, out, what }.run(Portable::<8>));
    }
}
