//! The gated activation between an expert's two products.

use super::exp::exp;
use crate::simd::{Fused, Kernel, run_best};

/// Steepness of the gate's sigmoid.
const ALPHA: f32 = 1.702;
/// Where `exp` still is a number; a gate that far below zero lets nothing through.
const MOST: f32 = 88.0;

/// The clamped SwiGLU of gpt-oss: `gate * sigmoid(1.702 gate) * (up + 1)`, with the gate at most
/// `limit` and `up` between `-limit` and `limit`. What is no number stays none.
///
/// Source: `GptOssExperts` of transformers.
///
/// # Panics
/// If the slices are not equally long.
pub(super) fn swiglu(gate: &[f32], up: &[f32], limit: f32, out: &mut [f32]) {
    assert!(gate.len() == out.len() && up.len() == out.len(), "as many gates and ups as results");
    run_best(Swiglu { gate, up, limit, out });
}

/// What [`swiglu`] is given.
struct Swiglu<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    limit: f32,
    out: &'a mut [f32],
}

impl<S: Fused> Kernel<S> for Swiglu<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, set: S) {
        let Self { gate, up, limit, out } = self;
        let s = set.eight();
        let ((gates, last_gates), (ups, last_ups)) = (gate.as_chunks(), up.as_chunks());
        let (outs, last_out) = out.as_chunks_mut();
        for ((gate, up), out) in gates.iter().zip(ups).zip(outs) {
            vector(s, gate, up, limit, out);
        }
        if !last_out.is_empty() {
            let (mut gate, mut up, mut out) = ([0.0; 8], [0.0; 8], [0.0; 8]);
            gate[..last_gates.len()].copy_from_slice(last_gates);
            up[..last_ups.len()].copy_from_slice(last_ups);
            vector(s, &gate, &up, limit, &mut out);
            last_out.copy_from_slice(&out[..last_out.len()]);
        }
    }
}

#[inline(always)]
fn vector<S: Fused>(s: S, gate: &[f32; 8], up: &[f32; 8], limit: f32, out: &mut [f32; 8]) {
    let (one, most, least) = (s.splat(1.0), s.splat(limit), s.splat(-limit));
    let gate = s.min(most, s.load(gate));
    let up = s.max(least, s.min(most, s.load(up)));
    let power = exp(s, s.min(s.splat(MOST), s.mul(gate, s.splat(-ALPHA))));
    s.store(s.mul(s.div(gate, s.add(one, power)), s.add(up, one)), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    fn one(gate: f32, up: f32) -> f32 {
        let mut out = [0.0];
        swiglu(&[gate], &[up], 7.0, &mut out);
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

    fn check(swiglu: impl Fn(&[f32], &[f32], &mut [f32])) {
        for len in [0, 1, 8, 29] {
            let gate: Vec<f32> = (0..len).map(|i| i as f32 * 0.9 - 17.0).collect();
            let up: Vec<f32> = (0..len).map(|i| 9.0 - i as f32 * 0.7).collect();
            let mut out = vec![f32::NAN; len];
            swiglu(&gate, &up, &mut out);
            for ((gate, up), out) in gate.into_iter().zip(up).zip(out) {
                let (g, u) = (f64::from(gate.min(7.0)), f64::from(up.clamp(-7.0, 7.0)));
                let exact = g / (1.0 + (-f64::from(ALPHA) * g).exp()) * (u + 1.0);
                let error = (f64::from(out) - exact).abs();
                assert!(error <= 1e-6 * exact.abs(), "{gate} {up}: {out} {exact}");
            }
        }
    }

    #[test]
    fn values_are_close_with_every_set() {
        check(|gate, up, out| Swiglu { gate, up, limit: 7.0, out }.run(Portable::<8>));
        check(|gate, up, out| swiglu(gate, up, 7.0, out));
    }
}
