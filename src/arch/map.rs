//! Which tensors a checkpoint holds in a published layout, and which GGUF tensors they become, by the
//! rows of the architecture's table. Knows names and shapes, no files.

use super::parts::{Dim, Kind, Make, Part, Row};
use super::{Architecture, Hyper, Layout};

/// A tensor as the checkpoint must hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub name: String,
    /// Dimensions as safetensors lists them: slowest first.
    pub shape: Vec<u64>,
}

/// Where the rows of a GGUF tensor come from. Row `r` of expert `e` (zero where there is but one
/// matrix) is called `(e, r)`; `step` is 2 where gate (`first` 0) and up (`first` 1) interleave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Row `(e, r)` is row `(e, first + r * step)` of `tensor`.
    Rows { tensor: Stored, first: usize, step: usize },
    /// Column `c` of row `r` is column `first + c * step` of row `r` of `tensor`.
    Columns { tensor: Stored, first: usize, step: usize },
    /// Row `(e, r)` is column `first + r * step` of matrix `e` of `tensor`.
    Transposed { tensor: Stored, first: usize, step: usize },
    /// Row `(e, r)` is row `(e, first + r * step)` of `blocks` (16 bytes of codes for 32 weights)
    /// and `scales`.
    Mxfp4 { blocks: Stored, scales: Stored, first: usize, step: usize },
}

/// A GGUF tensor and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// GGUF name.
    pub name: String,
    /// Dimensions, fastest first.
    pub shape: Vec<u64>,
    /// Always f32, whatever the file's type.
    pub float32: bool,
    pub source: Source,
    /// The tensor of the first layout at which llama.cpp's converter writes this one; it goes through
    /// them by name.
    pub order: String,
}

impl Mapped {
    /// The tensors of the checkpoint that this one is made of.
    pub fn stored(&self) -> impl Iterator<Item = &Stored> {
        self.source.stored()
    }

    /// Whether the weights are stored as MXFP4.
    pub fn is_mxfp4(&self) -> bool {
        matches!(self.source, Source::Mxfp4 { .. })
    }
}

impl Source {
    fn stored(&self) -> impl Iterator<Item = &Stored> {
        let (first, second) = match self {
            Source::Rows { tensor, .. }
            | Source::Columns { tensor, .. }
            | Source::Transposed { tensor, .. } => (tensor, None),
            Source::Mxfp4 { blocks, scales, .. } => (blocks, Some(scales)),
        };
        std::iter::once(first).chain(second)
    }
}

impl Architecture {
    /// Every GGUF tensor of a checkpoint with these hyperparameters in layout number `layout`, in the
    /// order in which llama.cpp's converter writes those of one file: MXFP4 first, then the rest, each
    /// by the name of the first layout. Whether the checkpoint `has` a tensor decides where there is a
    /// choice: of experts in MXFP4, and of parts that a model may do without.
    pub fn map(&self, hyper: &Hyper, layout: usize, has: &dyn Fn(&str) -> bool) -> Vec<Mapped> {
        let mxfp4 = self.mxfp4_probe(layout).is_some_and(|name| has(&name));
        let mut tensors = Vec::new();
        for row in self.rows {
            for layer in row.layers(hyper) {
                for &kind in row.kinds() {
                    let source = |layout| self.source(row, kind, layer, layout, hyper, mxfp4);
                    if row.optional && !source(layout).stored().all(|stored| has(&stored.name)) {
                        continue;
                    }
                    let order = source(0).stored().last().map(|stored| stored.name.clone());
                    tensors.push(Mapped {
                        name: row.name(kind, layer),
                        shape: row.shape(kind, hyper),
                        float32: row.is_float32(kind),
                        source: source(layout),
                        order: order.unwrap_or_default(),
                    });
                }
            }
        }
        // Stable, so gate stays before up.
        tensors.sort_by(|a, b| {
            (!a.is_mxfp4(), a.order.as_str()).cmp(&(!b.is_mxfp4(), b.order.as_str()))
        });
        tensors
    }

    /// The tensor whose presence tells that a checkpoint's experts are MXFP4.
    fn mxfp4_probe(&self, layout: usize) -> Option<String> {
        let experts = |row: &Row| match row.from[layout] {
            Make::Experts(name, names, ..) => {
                Some(self.layouts[layout].name(row.part, 0, &[name, names.blocks]))
            }
            _ => None,
        };
        self.rows.iter().find_map(experts)
    }

    /// What a row's tensor is made of.
    fn source(
        &self,
        row: &Row,
        kind: Kind,
        layer: usize,
        layout: usize,
        hyper: &Hyper,
        mxfp4: bool,
    ) -> Source {
        let shape: Vec<u64> = row.shape(kind, hyper).into_iter().rev().collect();
        let stored = |name: &str, end: &str, shape: Vec<u64>| Stored {
            name: self.layouts[layout].name(row.part, layer, &[name, end]),
            shape,
        };
        let end = if kind == Kind::Bias { ".bias" } else { ".weight" };
        let whole = |tensor| Source::Rows { tensor, first: 0, step: 1 };
        match row.from[layout] {
            Make::Same(name) => whole(stored(name, "", shape)),
            Make::Linear(name) => whole(stored(name, end, shape)),
            Make::Cut(name, before, all) => {
                let sum = |dims: &[Dim]| dims.iter().map(|dim| dim.of(hyper)).sum::<usize>();
                let (first, step) = (sum(before), 1);
                let longer = [&[sum(all) as u64], &shape[1..]].concat();
                let tensor = stored(name, end, longer);
                match kind {
                    Kind::Weight => Source::Rows { tensor, first, step },
                    Kind::Bias => Source::Columns { tensor, first, step },
                }
            }
            Make::Experts(name, names, first, step) => match (kind, &shape[..]) {
                (Kind::Weight, &[experts, rows, columns]) => {
                    let rows = rows * step as u64;
                    if mxfp4 {
                        let blocks = vec![experts, rows, columns / 32, 16];
                        let blocks = stored(name, names.blocks, blocks);
                        let scales = stored(name, names.scales, vec![experts, rows, columns / 32]);
                        Source::Mxfp4 { blocks, scales, first, step }
                    } else if names.transposed {
                        let tensor = stored(name, names.plain, vec![experts, columns, rows]);
                        Source::Transposed { tensor, first, step }
                    } else {
                        let tensor = stored(name, names.plain, vec![experts, rows, columns]);
                        Source::Rows { tensor, first, step }
                    }
                }
                _ => {
                    let shape = vec![shape[0], shape[1] * step as u64];
                    Source::Columns { tensor: stored(name, names.bias, shape), first, step }
                }
            },
        }
    }
}

impl Layout {
    /// The name of a part's tensor, in pieces.
    fn name(&self, part: Part, layer: usize, pieces: &[&str]) -> String {
        let layers = if part.is_of_layers() { self.layer } else { "" };
        layers.replace("{l}", &layer.to_string()) + &pieces.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Decoder;
    use crate::arch::gpt_oss::GPT_OSS;
    use crate::compute::Activation;

    /// Of two tensors, of which one may be missing.
    static TIED: Architecture = Architecture {
        name: "tied",
        keys: &[],
        fixed: &[],
        layouts: &[Layout {
            name: "one",
            model_type: None,
            layer: "",
            fixed: &[],
            prepare: |_| Ok(()),
            finish: |_, _| Ok(()),
        }],
        rows: &[
            Row::new(Part::TokenEmbedding, &[Dim::Vocab], &[Make::Same("embedding")]),
            Row::new(Part::Output, &[Dim::Vocab], &[Make::Same("head")]).optional(),
        ],
        vocabularies: &[],
        decoder: |hyper| Decoder::usual(hyper, Activation::Silu, crate::arch::Pairing::Halves),
    };

    #[test]
    fn what_a_checkpoint_has_decides_where_there_is_a_choice() {
        let hyper = Hyper { layers: 1, hidden: 64, width: 32, experts: 2, ..Hyper::default() };
        let is_mxfp4 = |probe: &str| {
            GPT_OSS.map(&hyper, 1, &|name| name == probe).iter().any(Mapped::is_mxfp4)
        };
        assert!(is_mxfp4("block.0.mlp.mlp1_weight.blocks"));
        assert!(!is_mxfp4("model.layers.0.mlp.experts.gate_up_proj_blocks"));

        let names = |head: bool| -> Vec<String> {
            let map = TIED.map(&hyper, 0, &|name| name == "embedding" || head);
            map.into_iter().map(|mapped| mapped.name).collect()
        };
        assert_eq!(names(true), ["token_embd.weight", "output.weight"]);
        assert_eq!(names(false), ["token_embd.weight"]);
    }
}
