//! What a model call cost, in tokens, and what that means for its user's limits.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

pub mod limits;
pub mod weight;
pub mod window;

/// Tokens of one model call, or the sum over a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Uncached input tokens: what a provider reports as cached is taken out.
    pub prompt: i64,
    /// Output tokens.
    pub completion: i64,
    /// Input tokens that came from the provider's cache.
    pub cache_read: i64,
    /// Input tokens that were written to the provider's cache.
    pub cache_creation: i64,
    /// True if the provider reported nothing and the figures are an estimate of ours.
    pub estimated: bool,
}

impl TokenUsage {
    /// Prompt and completion; the cache is kept apart (`usage-tools.md` §1.3).
    pub fn total(&self) -> i64 {
        self.prompt.saturating_add(self.completion)
    }

    /// Nothing was used.
    pub fn is_zero(&self) -> bool {
        self.prompt == 0 && self.completion == 0 && self.cache_read == 0 && self.cache_creation == 0
    }

    /// A guess where the provider gave no figures: four characters a token, as its own
    /// documentation suggests for English text.
    pub fn estimate(prompt_chars: usize, completion_chars: usize) -> Self {
        let tokens = |chars: usize| i64::try_from(chars.div_ceil(4)).unwrap_or(i64::MAX);
        Self { prompt: tokens(prompt_chars), completion: tokens(completion_chars), estimated: true, ..Self::default() }
    }
}

impl AddAssign for TokenUsage {
    fn add_assign(&mut self, other: Self) {
        self.prompt = self.prompt.saturating_add(other.prompt);
        self.completion = self.completion.saturating_add(other.completion);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_creation = self.cache_creation.saturating_add(other.cache_creation);
        self.estimated = self.estimated || other.estimated;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_estimated_if_any_of_it_is() {
        let mut sum = TokenUsage { prompt: 3, completion: 4, ..TokenUsage::default() };
        sum += TokenUsage::estimate(8, 5);
        assert_eq!(sum.total(), 3 + 4 + 2 + 2);
        assert!(sum.estimated);
    }
}
