//! Vectors: decoded, cut, normalised.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_PAD_INDIFFERENT};
use base64::{alphabet, engine::DecodePaddingMode};

use super::Fault;

/// How far a norm may be from 1 to be left alone: single precision rounds more than that away anyway.
const NORM_TOLERANCE: f64 = 1e-6;
/// Norms that a model may give before they are normalised.
const NORMS: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Little-endian floats in base64, padded or not. The URL-safe alphabet is taken too: it differs in two letters only, which the standard
/// one does not have, so nothing can be read two ways.
pub(super) fn from_base64(text: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD_PAD_INDIFFERENT.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()?;
    let (floats, []) = bytes.as_chunks::<4>() else { return None };
    Some(floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
}

/// The one length of all vectors.
pub(super) fn length(vectors: &[Vec<f32>], dimensions: usize) -> Result<usize, Fault> {
    // A `null` in a vector's place stands as one NaN; it has no length of its own.
    let null = |vector: &[f32]| matches!(vector, [value] if value.is_nan());
    let mut lengths = vectors.iter().enumerate().filter(|(_, vector)| !null(vector));
    let Some((_, first)) = lengths.next() else {
        return Err(Fault::NonFinite { at: 0 });
    };
    if let Some((_, other)) = lengths.find(|(_, vector)| vector.len() != first.len()) {
        return Err(Fault::MixedLengths(first.len(), other.len()));
    }
    if first.len() < dimensions {
        return Err(Fault::Short { got: first.len(), expected: dimensions });
    }
    match vectors.iter().position(|vector| null(vector)) {
        Some(at) if first.len() > 1 => Err(Fault::NonFinite { at }),
        _ => Ok(first.len()),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Odd {
    NonFinite,
    Absurd,
}

impl Odd {
    pub(super) fn fault(&self, at: usize) -> Fault {
        match self {
            Self::NonFinite => Fault::NonFinite { at },
            Self::Absurd => Fault::Absurd { at },
        }
    }
}

/// Cuts a vector to `dimensions` and makes its norm 1.
pub(super) fn finish(vector: &mut Vec<f32>, dimensions: usize) -> Result<(), Odd> {
    if !vector.iter().all(|value| value.is_finite()) {
        return Err(Odd::NonFinite);
    }
    vector.truncate(dimensions);
    let norm = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return Err(Odd::NonFinite);
    }
    if !NORMS.contains(&norm) {
        return Err(Odd::Absurd);
    }
    if (norm - 1.0).abs() > NORM_TOLERANCE {
        for value in vector.iter_mut() {
            #[expect(clippy::cast_possible_truncation, reason = "the published precision")]
            let scaled = (f64::from(*value) / norm) as f32;
            *value = scaled;
        }
    }
    Ok(())
}
