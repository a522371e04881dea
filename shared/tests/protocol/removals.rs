//! Each mechanism is taken away once, and some law must break: what proves that the laws can.

use crate::mechanism::{Mechanism, Mechanisms};
use crate::schedule::{Fault, Favour, Scheduler, Violation, Wish};
use crate::schedules::in_parallel;
use Mechanism as M;

/// What is taken away together with a mechanism: what would do its work, too.
const SECOND_LINES: &[(Mechanism, &[Mechanism])] = &[
    // A step that is committed twice brings its calls along.
    (M::UsageKey, &[M::CallKey]),
    (M::CallKey, &[M::UsageKey]),
    (M::Outbox, &[M::ForgottenLook]),
    (M::ForgottenLook, &[M::Outbox]),
    (M::OneAtATimeIndex, &[M::SessionLock]),
    (M::PromoteAtEnd, &[M::StuckLook]),
    (M::StuckLook, &[M::PromoteAtEnd]),
];

const CALM: Favour = Favour { faults: &[], wish: Wish::Any, wishes: 3, slow: 3 };

/// The schedules that some mechanisms are there for.
const FAVOURS: &[(Mechanism, Favour)] = &[
    (M::HoldsBeforeAnew, Favour { faults: &[Fault::Freeze, Fault::Thaw, Fault::LoseStream], wishes: 0, ..CALM }),
    (M::ReachAtEnd, Favour { faults: &[Fault::Freeze, Fault::Kill, Fault::LoseStream], wish: Wish::Cancel, ..CALM }),
    (M::LostStreamJump, Favour { faults: &[Fault::Kill, Fault::LoseStream], ..CALM }),
    (M::OutcomesBeforeSeal, Favour { faults: &[Fault::Freeze, Fault::Thaw], wish: Wish::Cancel, slow: 2, ..CALM }),
    (M::RaiseBeforeRead, Favour { faults: &[Fault::Freeze, Fault::Thaw], slow: 2, ..CALM }),
    (M::EditLock, Favour { wish: Wish::Edit, wishes: 12, slow: 2, ..CALM }),
    (M::SteeringLock, Favour { wish: Wish::Drop, wishes: 12, slow: 2, ..CALM }),
];

/// Seeds after which a mechanism counts as one that nothing needs.
const SEEDS: u64 = 100_000;

#[test]
fn without_any_one_mechanism_a_law_breaks() {
    let found = in_parallel(Mechanism::ALL, |mechanism| (*mechanism, first_violation(*mechanism, SEEDS)));
    for (mechanism, violation) in &found {
        eprintln!("without {mechanism:?}: {violation:?}");
    }
    let needless: Vec<_> = found.iter().filter(|(_, violation)| violation.is_none()).collect();
    assert!(needless.is_empty(), "{SEEDS} seeds do not miss {needless:?}");
}

fn first_violation(mechanism: Mechanism, seeds: u64) -> Option<Violation> {
    let also = SECOND_LINES.iter().find(|(of, _)| *of == mechanism).map_or::<&[_], _>(&[], |(_, also)| also);
    let removed: Vec<Mechanism> = also.iter().copied().chain([mechanism]).collect();
    let favour = FAVOURS.iter().find(|(of, _)| *of == mechanism).map(|(_, favour)| *favour);
    let mut scheduler = Scheduler::favouring(Mechanisms::without(&removed), favour);
    (0..seeds).find_map(|seed| scheduler.run(seed, None).err())
}
