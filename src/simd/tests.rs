//! Every instruction set against plain arrays, operation by operation.

#[cfg(target_arch = "x86_64")]
use std::collections::BTreeMap;

use super::{Fused, MAX_LANES, Portable, Simd};

/// Without the sets a build says of the processor that it has none, too: what it measures is not
/// what another build measures.
#[cfg(feature = "portable")]
#[test]
fn a_portable_build_has_no_set() {
    assert!(super::features().is_empty());
    #[cfg(target_arch = "x86_64")]
    {
        assert!(super::Avx2::detect().is_none());
        assert!(super::Avx512::detect().is_none());
        assert!(super::Vnni::detect().is_none());
    }
}

/// Every set has those that it is made of.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_set_comes_with_the_smaller_ones() {
    use super::{Avx2, Avx512, Vnni};
    let all = [Avx2::detect().is_some(), Avx512::detect().is_some(), Vnni::detect().is_some()];
    assert!(all.is_sorted_by(|a, b| a >= b), "{all:?}");
    let named = |name| super::features().contains(&name);
    assert!(!all[0] || named("avx2") && named("fma") && named("f16c"));
    assert!(!all[2] || named("avx512vnni") && named("avx512bw"));
}

/// Floats of all kinds.
#[cfg(target_arch = "x86_64")]
const VALUES: [f32; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    2.5,
    -2.5,
    1e-42,
    f32::MIN_POSITIVE,
    3e38,
    -3e38,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    4_194_303.5,
    0.499_999_97,
    -127.0,
];

/// What the operations give, as bits, by the operation's number and the indices of both values.
#[cfg(target_arch = "x86_64")]
type Results = BTreeMap<(usize, usize, usize), u32>;

/// The results of every operation for all pairs of values.
#[cfg(target_arch = "x86_64")]
fn results<S: Simd>(s: S) -> Results {
    let mut results = Results::new();
    for shift in 0..16 {
        let other: [f32; 16] = std::array::from_fn(|i| VALUES[(i + shift) % 16]);
        let halves = other.map(|x| half::f16::from_f32(x).to_le_bytes());
        for start in (0..16).step_by(S::LANES) {
            let (a, b) = (s.load(&VALUES[start..]), s.load(&other[start..]));
            let (i, j) = (s.to_bits(a), s.truncate(b));
            let both = s.and(s.le(a, b), s.le(b, a));
            let floats = [
                s.add(a, b),
                s.sub(a, b),
                s.mul(a, b),
                s.div(a, b),
                s.sqrt(a),
                s.abs(a),
                s.min(a, b),
                s.max(a, b),
                s.nearest(a),
                s.select(s.lt(a, b), a, b),
                s.select(s.eq(a, b), a, b),
                s.select(both, a, b),
                s.select(s.lt_where(s.le(s.abs(b), s.splat(2.0)), a, b), a, b),
                s.select(s.differ_where(s.lt(a, b), s.min(a, b), s.splat(0.0)), a, b),
                s.select(s.and_not(s.le(a, b), s.eq(a, b)), a, b),
                s.clear(s.lt(a, b), a),
                s.times_power_of_two(a, s.nearest(b)),
                s.load_f16(&halves[start..]),
                s.load_bf16(&halves[start..]),
                s.to_f32(j),
                s.lookup(&VALUES, s.and_i32(i, s.splat_i32(15))),
                s.lookup(&VALUES, s.and_i32(j, s.splat_i32(15))),
                s.lookup_lane(a, s.and_i32(s.to_bits(b), s.splat_i32(-9))),
            ];
            let integers = [
                s.sub_i32(i, j),
                s.and_i32(i, j),
                s.min_i32(i, j),
                s.max_i32(i, j),
                s.keep_i32(s.lt(a, b), i),
                s.nearest_int(a),
                s.round_away(a),
                s.shift_nibble(i),
                s.load_bits(&VALUES.map(f32::to_bits)[start..]),
                s.splat_i32(i32::from(s.any(s.lt(a, b)))),
            ];
            let mut note = |operation: usize, lane: usize, bits: u32| {
                results.insert((operation, start + lane, shift), bits);
            };
            for (operation, vector) in floats.into_iter().enumerate() {
                let mut lanes = [0.0; MAX_LANES];
                s.store(vector, &mut lanes);
                for (lane, x) in lanes[..S::LANES].iter().enumerate() {
                    // Which NaN it is does not matter to anybody.
                    note(operation, lane, if x.is_nan() { u32::MAX } else { x.to_bits() });
                }
            }
            for (operation, vector) in integers.into_iter().enumerate() {
                let mut lanes = [0; MAX_LANES];
                s.store_i32(vector, &mut lanes);
                for (lane, &x) in lanes[..S::LANES].iter().enumerate() {
                    note(100 + operation, lane, x as u32);
                }
            }
        }
    }
    results
}

#[cfg(target_arch = "x86_64")]
#[test]
fn every_set_computes_what_arrays_do() {
    use super::{Avx2, Avx512};
    let (avx2, avx512) = (Avx2::detect(), Avx512::detect());
    println!("compared: AVX2 {}, AVX-512 {}", avx2.is_some(), avx512.is_some());
    if let Some(set) = avx2 {
        assert_eq!(results(set), results(Portable::<8>));
    }
    if let Some(set) = avx512 {
        assert_eq!(results(set), results(Portable::<16>));
    }
}

/// Numbers between two results of narrowing, and around them.
fn borders() -> Vec<f32> {
    let edges = [0.5f32, 1.5, 126.5, 2048.0, 65504.0, 65520.0, 6e-8, 3e-8, 6.1e-5, 1.0005, 3e38];
    edges
        .into_iter()
        .flat_map(|x| {
            (-3i32..=3).map(move |step| f32::from_bits((x.to_bits() as i32 + step) as u32))
        })
        .chain((0..190).map(|i| (i as f32 - 31.7) * 1e7))
        .flat_map(|x| [x, -x])
        .collect()
}

/// Half-precision floats, bytes and the bytes' highest bits of every 32 of the numbers.
fn narrowed<S: Simd>(s: S) -> Vec<([[u8; 2]; 32], [u8; 32], u32)> {
    let narrow = |x: &[f32; 32]| {
        let (mut halves, mut parts) = ([[0; 2]; 32], [s.splat_i32(0); 4]);
        let vectors = x.chunks_exact(S::LANES).zip(halves.chunks_exact_mut(S::LANES));
        for ((x, halves), part) in vectors.zip(&mut parts) {
            s.store_f16(s.load(x), halves);
            *part = s.round_away(s.load(x));
        }
        let bytes = s.low_bytes(&parts[..32 / S::LANES]);
        (halves, bytes, s.top_bits(&bytes))
    };
    borders().as_chunks().0.iter().map(narrow).collect()
}

/// The extremes of vectors that hold the numbers one after the other.
#[cfg(target_arch = "x86_64")]
fn extremes<S: Simd>(s: S) -> Vec<f32> {
    let numbers = borders();
    let mut found = Vec::new();
    for numbers in numbers.chunks_exact(S::LANES * S::LANES) {
        let vectors: Vec<S::F32> = numbers.chunks_exact(S::LANES).map(|x| s.load(x)).collect();
        for extremes in [s.smallest_of_each(&vectors), s.largest_of_each(&vectors)] {
            let mut lanes = [0.0; MAX_LANES];
            s.store(extremes, &mut lanes);
            found.extend(&lanes[..S::LANES]);
        }
    }
    assert!(!found.is_empty());
    found
}

/// Sums of products whose lanes are integers, so that no rounding tells the sets apart.
fn products<S: Fused>(s: S) -> Vec<f32> {
    let x: [f32; 16] = std::array::from_fn(|i| i as f32 - 5.0);
    let (low, high) = x.split_first_chunk::<8>().expect("eight of them");
    let high: &[f32; 8] = high.first_chunk().expect("eight more");
    let vector = s.load_eights([low, high]);
    let fused = s.fused(vector, s.splat(3.0), vector);
    let mut lanes = [0.0; MAX_LANES];
    s.store(fused, &mut lanes);
    let eight = s.eight();
    let eights = s.load_eights([low, high]);
    let mut found = lanes[..S::LANES].to_vec();
    found.extend([s.sum(eights), eight.sum(eight.load(high)), S::EIGHTS as f32]);
    found
}

#[test]
fn products_are_fused_and_summed_in_every_set() {
    let expected = |lanes: usize| {
        let x = (0..lanes).map(|i| i as f32 - 5.0);
        let mut found: Vec<f32> = x.clone().map(|x| 4.0 * x).collect();
        found.extend([x.sum(), (8..16).map(|i| i as f32 - 5.0).sum(), lanes as f32 / 8.0]);
        found
    };
    assert_eq!(products(Portable::<8>), expected(8));
    #[cfg(target_arch = "x86_64")]
    {
        use super::{Avx2, Avx512};
        let _ = Avx2::detect().map(|set| assert_eq!(products(set), expected(8)));
        let _ = Avx512::detect().map(|set| assert_eq!(products(set), expected(16)));
    }
}

#[test]
fn every_set_narrows_and_finds_extremes_as_arrays_do() {
    assert_eq!(narrowed(Portable::<8>), narrowed(Portable::<16>));
    #[cfg(target_arch = "x86_64")]
    {
        use super::{Avx2, Avx512};
        if let Some(set) = Avx2::detect() {
            assert_eq!(narrowed(set), narrowed(Portable::<8>));
            assert_eq!(extremes(set), extremes(Portable::<8>));
        }
        if let Some(set) = Avx512::detect() {
            assert_eq!(narrowed(set), narrowed(Portable::<16>));
            assert_eq!(extremes(set), extremes(Portable::<16>));
        }
    }
}

/// Looks up every entry of a table.
fn look_up<S: Simd>(s: S) {
    let table: [f32; 16] = std::array::from_fn(|i| i as f32 * 1.5);
    for (i, entry) in table.iter().enumerate() {
        let mut found = [0.0; MAX_LANES];
        s.store(s.lookup(&table, s.splat_i32(i as i32)), &mut found);
        assert_eq!(found[..S::LANES], vec![*entry; S::LANES]);
    }
}

#[test]
fn lookups_find_every_entry() {
    look_up(Portable::<8>);
    look_up(Portable::<16>);
    #[cfg(target_arch = "x86_64")]
    {
        use super::{Avx2, Avx512};
        let _ = Avx2::detect().map(look_up);
        let _ = Avx512::detect().map(look_up);
    }
}

/// Rows of other numbers of columns than there are lanes, as columns and back.
fn there_and_back<S: Simd>(s: S) {
    let rows: Vec<[f32; 20]> =
        (0..5).map(|i| std::array::from_fn(|j| (40 * i + j) as f32)).collect();
    let columns = s.load_columns(&rows);
    for (j, column) in columns.into_iter().enumerate() {
        let mut lanes = [0.0; MAX_LANES];
        s.store(column, &mut lanes);
        for (lane, &value) in lanes[..S::LANES].iter().enumerate() {
            assert_eq!(value, rows[lane.min(4)][j], "column {j}, lane {lane}");
        }
    }
    let mut back = [[0; 20]; 5];
    s.store_columns(&columns, &mut back);
    assert_eq!(back.map(|row| row.map(f32::from)).to_vec(), rows);
}

#[test]
fn columns_come_back_as_rows() {
    there_and_back(Portable::<8>);
    there_and_back(Portable::<16>);
    #[cfg(target_arch = "x86_64")]
    {
        use super::{Avx2, Avx512};
        let _ = Avx2::detect().map(there_and_back);
        let _ = Avx512::detect().map(there_and_back);
    }
}
