//! The types of tensors as files have them: those that can be computed with, those of which only the
//! layout is known, and those of which nothing is. Whoever computes has to ask for a [`GgmlType`] first,
//! so that no kernel ever meets a type that it does not know.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::GgmlType;
use super::types::{UnknownType, ggml_types};

ggml_types! {
    /// A tensor type of ggml that can be listed and copied, because its layout is known, and no more.
    /// Sizes as in `ggml.c` and `ggml-common.h`, build b11434.
    OpaqueType {
        Q8_1 = 9, "q8_1", 32, 36;
        Q8_K = 15, "q8_K", 256, 292;
        I8 = 24, "i8", 1, 1;
        I16 = 25, "i16", 1, 2;
        I32 = 26, "i32", 1, 4;
        I64 = 27, "i64", 1, 8;
        F64 = 28, "f64", 1, 8;
        NVFP4 = 40, "nvfp4", 64, 36;
        Q1_0 = 41, "q1_0", 128, 18;
        Q2_0 = 42, "q2_0", 64, 18;
    }
}

/// The type of a tensor in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoredType {
    /// It can be computed with.
    Computable(GgmlType),
    /// Only its layout is known.
    Opaque(OpaqueType),
    /// An identifier that is newer than this build, or so old that ggml has dropped it: of its layout
    /// nothing is known.
    Unknown(u32),
}

impl StoredType {
    /// The type with this identifier in a GGUF file.
    pub fn from_id(id: u32) -> Self {
        let computable = GgmlType::from_id(id).map(Self::Computable);
        let opaque = || OpaqueType::from_id(id).map(Self::Opaque);
        computable.or_else(opaque).unwrap_or(Self::Unknown(id))
    }

    /// The identifier that a GGUF file stores.
    pub const fn id(self) -> u32 {
        match self {
            Self::Computable(ty) => ty as u32,
            Self::Opaque(ty) => ty as u32,
            Self::Unknown(id) => id,
        }
    }

    /// The name ggml prints, for example `q4_K`, or `type 200` where nothing is known of the type.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Computable(ty) => ty.name().into(),
            Self::Opaque(ty) => ty.name().into(),
            Self::Unknown(id) => format!("{UNKNOWN}{id}").into(),
        }
    }

    /// The type to compute with, where that is possible.
    pub const fn computable(self) -> Option<GgmlType> {
        match self {
            Self::Computable(ty) => Some(ty),
            Self::Opaque(_) | Self::Unknown(_) => None,
        }
    }

    /// Weights in one block; 1 where nothing is known of the type.
    pub const fn block_size(self) -> usize {
        match self {
            Self::Computable(ty) => ty.block_size(),
            Self::Opaque(ty) => ty.block_size(),
            Self::Unknown(_) => 1,
        }
    }

    /// Bytes of one block; 1 where nothing is known of the type.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Computable(ty) => ty.block_bytes(),
            Self::Opaque(ty) => ty.block_bytes(),
            Self::Unknown(_) => 1,
        }
    }
}

impl From<GgmlType> for StoredType {
    fn from(ty: GgmlType) -> Self {
        Self::Computable(ty)
    }
}

impl PartialEq<GgmlType> for StoredType {
    fn eq(&self, other: &GgmlType) -> bool {
        self.computable() == Some(*other)
    }
}

impl PartialEq<StoredType> for GgmlType {
    fn eq(&self, other: &StoredType) -> bool {
        other == self
    }
}

/// What stands before the identifier of a type of which nothing is known.
const UNKNOWN: &str = "type ";

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

impl FromStr for StoredType {
    type Err = UnknownType;

    /// Accepts the name in any case.
    fn from_str(s: &str) -> Result<Self, UnknownType> {
        if let Some(id) = s.strip_prefix(UNKNOWN).and_then(|id| id.parse().ok()) {
            return Ok(Self::from_id(id));
        }
        let named = |ty: &&OpaqueType| ty.name().eq_ignore_ascii_case(s);
        match OpaqueType::ALL.iter().find(named) {
            Some(&ty) => Ok(Self::Opaque(ty)),
            None => s.parse().map(Self::Computable),
        }
    }
}

impl Serialize for StoredType {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for StoredType {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_is_one_type_with_one_name() {
        let mut layouts = 0;
        for id in (0..100).chain([u32::MAX]) {
            let ty = StoredType::from_id(id);
            assert_eq!(ty.id(), id);
            assert_eq!(ty.to_string().to_uppercase().to_lowercase().parse(), Ok(ty), "{ty}");
            layouts += usize::from(!matches!(ty, StoredType::Unknown(_)));
        }
        // Those of ggml.h, b11434, without the eight that it says were removed.
        assert_eq!(layouts, 43 - 8);
        assert_eq!("NVFP4".parse(), Ok(StoredType::Opaque(OpaqueType::NVFP4)));
        assert!("type x".parse::<StoredType>().is_err());
    }
}
