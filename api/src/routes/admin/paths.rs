//! What an admin's path names, whoever's it is. What is no id at all names nothing.

use copilot_shared::id::{DeadLetterId, TurnId};
use poem::Request;

use crate::extractor::{extractor, part_of_path};
use crate::problem::Problem;

/// A turn.
pub(super) struct AnyTurnPath(pub(super) TurnId);

/// A dead letter.
pub(super) struct DeadLetterPath(pub(super) DeadLetterId);

extractor!(AnyTurnPath at path, async |request: &Request| {
    let text = part_of_path(request, 0);
    text.parse().map(AnyTurnPath).map_err(|_| Problem::no_turn(text))
});
extractor!(DeadLetterPath at path, async |request: &Request| {
    let text = part_of_path(request, 0);
    text.parse().map(DeadLetterPath).map_err(|_| Problem::no_dead_letter(text))
});
