//! What a model call weighs against its user's limits.

use super::TokenUsage;

/// What one token written to the provider's cache costs, in input tokens (`usage-tools.md` §1.3).
const CACHE_CREATION: f64 = 0.25;
/// What one token read from the provider's cache costs, in input tokens.
const CACHE_READ: f64 = 0.1;

/// No call weighs more: a provider that reports nonsense is believed, and the counters stay in the
/// range in which every part of the system counts exactly (2⁵³, Lua's numbers).
pub const HEAVIEST: i64 = 1_000_000_000_000_000;

impl TokenUsage {
    /// Weighted tokens: what counts against the limits. Each term is rounded by itself, halves to
    /// the even neighbour; what is negative counts as nothing.
    pub fn weighted(&self) -> i64 {
        let terms = [
            self.prompt.clamp(0, HEAVIEST),
            weigh(self.cache_creation, CACHE_CREATION),
            weigh(self.cache_read, CACHE_READ),
            self.completion.clamp(0, HEAVIEST),
        ];
        terms.iter().sum::<i64>().min(HEAVIEST)
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the factor was bounded to what a double holds exactly, and the product is smaller"
)]
fn weigh(tokens: i64, factor: f64) -> i64 {
    (tokens.clamp(0, HEAVIEST) as f64 * factor).round_ties_even() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weighted(prompt: i64, completion: i64, cache_read: i64, cache_creation: i64) -> i64 {
        TokenUsage { prompt, completion, cache_read, cache_creation, estimated: false }.weighted()
    }

    #[test]
    fn totals_are_those_of_the_reference() {
        // Appendix A2.
        for (prompt, completion, read, creation, total) in [
            (100, 50, 10_000, 400, 1250),
            (0, 0, 5, 2, 0),
            (0, 0, 15, 6, 4),
            (1, 0, 35, 10, 7),
            (0, 0, 4, 1, 0),
            (0, 0, 45, 14, 8),
        ] {
            assert_eq!(weighted(prompt, completion, read, creation), total, "{prompt} {completion} {read} {creation}");
        }
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (creation, weight) in [(2, 0), (6, 2), (10, 2), (14, 4), (18, 4), (22, 6)] {
            assert_eq!(weighted(0, 0, 0, creation), weight, "creation {creation}");
        }
        for (read, weight) in [(5, 0), (15, 2), (25, 2), (35, 4), (45, 4)] {
            assert_eq!(weighted(0, 0, read, 0), weight, "read {read}");
        }
    }

    #[test]
    fn cached_tokens_of_a_prompt_weigh_a_tenth() {
        // 1,000 prompt tokens of which 400 came from the cache, 25 said (usage.md).
        assert_eq!(weighted(600, 25, 400, 0), 665);
    }

    #[test]
    fn what_is_negative_counts_as_nothing() {
        assert_eq!(weighted(-1, -2, -3, -4), 0);
        assert_eq!(weighted(i64::MIN, 7, i64::MIN, i64::MIN), 7);
    }

    #[test]
    fn what_is_huge_is_bounded() {
        assert_eq!(weighted(i64::MAX, i64::MAX, i64::MAX, i64::MAX), HEAVIEST);
    }

    proptest! {
        #[test]
        fn more_tokens_never_weigh_less(a: [i64; 4], more: [u32; 4]) {
            let [p, c, r, w] = a;
            let heavier = weighted(
                p.saturating_add(more[0].into()),
                c.saturating_add(more[1].into()),
                r.saturating_add(more[2].into()),
                w.saturating_add(more[3].into()),
            );
            prop_assert!(heavier >= weighted(p, c, r, w));
            prop_assert!((0..=HEAVIEST).contains(&heavier));
        }
    }
}
