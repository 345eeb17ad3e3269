//! Vocabularies: encode text to token ids and decode them. Knows nothing of models.
