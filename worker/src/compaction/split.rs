//! Where the summary ends and the conversation goes on word for word.

use copilot_shared::message::Role;

/// The index of the first message that is kept: `keep` from the end, or a little earlier, so that no
/// tool result loses its call. The newest message of the user is always kept. 0: nothing to sum up.
pub fn split(roles: &[Role], keep: usize) -> usize {
    let newest_of_user = roles.iter().rposition(|role| *role == Role::User).unwrap_or(0);
    let mut index = roles.len().saturating_sub(keep).min(newest_of_user);
    while index > 0 && roles.get(index).is_some_and(|role| *role == Role::Tool) {
        index -= 1;
    }
    // A summary alone is nothing to sum up.
    if roles.get(..index).is_some_and(|older| older.iter().all(|role| *role == Role::System)) { 0 } else { index }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const U: Role = Role::User;
    const A: Role = Role::Assistant;
    const T: Role = Role::Tool;
    const S: Role = Role::System;

    #[test]
    fn the_newest_are_kept() {
        assert_eq!(split(&[U, A, U, A, U], 2), 3);
        assert_eq!(split(&[U, A, U, A, U], 15), 0);
        assert_eq!(split(&[], 2), 0);
    }

    #[test]
    fn results_stay_with_their_call() {
        assert_eq!(split(&[U, A, U, A, T, T, A, U], 3), 3);
    }

    #[test]
    fn the_users_newest_message_is_kept_however_far_back() {
        assert_eq!(split(&[U, A, U, A, T, A, T, A, T], 2), 2);
    }

    #[test]
    fn a_summary_is_not_summed_up_alone() {
        assert_eq!(split(&[S, U, A, U], 3), 0);
        assert_eq!(split(&[S, U, A, U], 1), 3);
    }

    proptest! {
        #[test]
        fn what_is_kept_never_begins_with_a_result(picks in prop::collection::vec(0..4_u8, 0..40), keep in 0..20_usize) {
            let roles: Vec<Role> = picks.iter().map(|pick| [U, A, T, S][usize::from(*pick)]).collect();
            let index = split(&roles, keep);
            prop_assert!(index <= roles.len());
            prop_assert!(index == 0 || roles.get(index) != Some(&T));
            prop_assert!(roles.iter().rposition(|role| *role == U).is_none_or(|newest| index <= newest));
        }
    }
}
