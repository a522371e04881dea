//! Making a long conversation fit into the model's window (`usage-tools.md` §8.4): the older
//! messages become a summary, and what is still too long is cut where it hurts least.
//!
//! Everything here is pure; the summary's model call is in [`crate::turn`].

mod split;
mod tokens;
mod transcript;
mod truncate;

pub use split::split;
pub use tokens::{Gauge, bytes, length, tokens_in};
pub use transcript::transcript;
pub use truncate::truncate;

/// Tokens that a request may have at most, and messages that are never summed up.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Tokens of the system prompt, the tools and the messages together.
    pub tokens: usize,
    /// The newest messages, kept word for word.
    pub keep: usize,
}
