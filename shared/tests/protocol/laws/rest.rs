//! What must hold once everything has come to rest.

use super::{Laws, sessions};
use crate::model::chunk::{Chunk, ErrorCode, Outcome, Said, Status};
use crate::model::database::{Content, Database, MessageRow, TurnRow};
use crate::model::fold::{Fold, Item};
use crate::model::streams::Streams;
use crate::model::windows::Windows;
use crate::model::{CallId, TurnId};
use crate::world::Script;

impl Laws {
    /// Judges rows and streams that nobody changes any more.
    pub fn judge_rest(&mut self, db: &Database, streams: &Streams, scripts: &[Script]) {
        for ((turn, row), script) in (0..).map(TurnId).zip(&db.turns).zip(scripts) {
            if row.deleted {
                continue;
            }
            self.judge_end(turn, row, *script);
            self.judge_usage(db, turn, row);
            self.judge_history(db, turn, row);
            self.judge_stream(db, streams, turn, row);
        }
        self.judge_sessions(db);
        self.judge_keys(db);
    }

    fn judge_end(&mut self, turn: TurnId, row: &TurnRow, script: Script) {
        let fits = match (row.status, row.error) {
            (Status::Completed, None) => row.steps == script.steps && !script.fails,
            (Status::Failed, Some(ErrorCode::ProviderError)) => script.fails,
            (Status::Failed, Some(_)) | (Status::Cancelled, None) => true,
            _ => false,
        };
        if !fits {
            self.violate(|| {
                format!("{turn:?} ended as {:?} {:?} with {} of {script:?}", row.status, row.error, row.steps)
            });
        }
    }

    /// Usage is recorded once for each step, and is what the provider reported.
    fn judge_usage(&mut self, db: &Database, turn: TurnId, row: &TurnRow) {
        let mut sum = 0;
        for (at, step) in db.steps.iter().filter(|step| step.turn == turn).enumerate() {
            sum += step.used;
            if usize::from(step.step) != at + 1 {
                self.violate(|| format!("{turn:?} has step {} in place {}", step.step, at + 1));
            }
            let reported = |(of, report): &(TurnId, crate::model::database::StepCommit)| {
                (*of, report.step, report.used, report.estimated) == (turn, step.step, step.used, step.estimated)
            };
            if !step.estimated && !self.reports.iter().any(reported) {
                self.violate(|| format!("nobody reported {step:?}"));
            }
        }
        let steps = db.steps.iter().filter(|step| step.turn == turn).count();
        if (sum, steps) != (row.used, usize::from(row.steps)) {
            self.violate(|| format!("{turn:?} was charged {} for {} steps, which used {sum}", row.used, row.steps));
        }
    }

    fn judge_history(&mut self, db: &Database, turn: TurnId, row: &TurnRow) {
        let mut open: Vec<CallId> = Vec::new();
        let mut own = None;
        for message in db.turn_messages(turn) {
            match message.content {
                Content::User(text) => own = own.or(Some(text)),
                Content::Assistant(said) => open.extend(said.calls.iter()),
                Content::Tool(call, _) => {
                    let Some(at) = open.iter().position(|asked| *asked == call) else {
                        self.violate(|| format!("{turn:?} has an outcome of {call:?} too many"));
                        continue;
                    };
                    open.swap_remove(at);
                }
            }
        }
        if !open.is_empty() {
            self.violate(|| format!("{turn:?} has no outcome of {open:?}"));
        }
        let wanted = usize::from(!self.dropped.contains(turn));
        let said = db.messages.iter().filter(|m| m.turn == turn && matches!(m.content, Content::User(_)));
        if said.count() < wanted {
            self.violate(|| format!("what the user of {turn:?} said is gone"));
        }
        let read = self.read[turn.at()];
        if row.steps > 0 && read.is_some() && read != own {
            self.violate(|| format!("{turn:?} answers {read:?} and its user said {own:?}"));
        }
    }

    fn judge_stream(&mut self, db: &Database, streams: &Streams, turn: TurnId, row: &TurnRow) {
        self.watch(db, streams, turn);
        let closed = streams.meta(turn).is_some_and(|meta| meta.closed);
        // One that was lost after its end is ended again by whoever wants to see it.
        if !(closed || self.closed.contains(turn)) || !row.sealed {
            self.violate(|| format!("the stream of {turn:?} lacks its last chunk (sealed: {})", row.sealed));
        }
        if self.mistaken.contains(turn) {
            return;
        }
        let late = streams.read_fold(turn).filter(|_| closed);
        if let Some(late) = late {
            self.compare(db, turn, row, "a late client", &late);
        }
        let viewer = &self.viewers[turn.at()];
        let (fold, cursor) = (viewer.fold, viewer.cursor);
        if viewer.ended {
            self.compare(db, turn, row, "a client that was there all the time", &fold);
        } else if late.is_some() {
            self.violate(|| format!("a client of {turn:?} still waits behind {cursor}: {late:?}"));
        }
    }

    /// What a client has is what the history has.
    fn compare(&mut self, db: &Database, turn: TurnId, row: &TurnRow, who: &str, fold: &Fold) {
        let end = match row.status {
            Status::Cancelled => Chunk::Abort,
            status => Chunk::Finish(status),
        };
        if fold.end() != Some(end) {
            self.violate(|| format!("{who} saw {turn:?} end with {:?}, and it is {:?}", fold.end(), row.status));
        }
        if !fold.has_distinct_parts() {
            self.violate(|| format!("{who} of {turn:?} has two parts of one id: {fold:?}"));
        }
        let mut shown = fold.shown();
        let mut outcomes: Vec<(CallId, Outcome)> = Vec::new();
        for message in db.turn_messages(turn) {
            match message.content {
                Content::User(_) => {}
                Content::Assistant(said) => {
                    if let Err(item) = same(&said, &mut shown, &mut outcomes) {
                        self.violate(|| {
                            format!("{who} of {turn:?} has {item:?} where the history has {said:?}; it has {fold:?}")
                        });
                        return;
                    }
                }
                Content::Tool(call, outcome) => {
                    if !outcomes.contains(&(call, outcome)) {
                        self.violate(|| {
                            format!("{who} of {turn:?} has not {outcome:?} of {call:?}, it has {outcomes:?}")
                        });
                    }
                }
            }
        }
        // Calls of a step that was stopped before they were asked for whole are in no history.
        if let Some(item) = shown.find(|item| !matches!(item, Item::Tool(..))) {
            self.violate(|| format!("{who} of {turn:?} has {item:?}, and the history has not"));
        }
    }

    /// Each user was charged what the committed steps used, once, and holds no reservation.
    pub fn judge_counters(&mut self, db: &Database, windows: &Windows) {
        for (at, used) in windows.used.iter().enumerate() {
            let of_user = |turn: TurnId| db.turn(turn).user.is_some_and(|user| usize::from(user.0) == at);
            let charged: u32 = db.steps.iter().filter(|step| of_user(step.turn)).map(|step| step.used).sum();
            let fits = *used == charged || (self.counters_lost && *used < charged);
            if !fits {
                self.violate(|| format!("user-{at} used {charged}, and the counter says {used}"));
            }
        }
    }

    fn judge_sessions(&mut self, db: &Database) {
        for session in sessions() {
            let mut placed: Vec<&MessageRow> =
                db.messages.iter().filter(|m| m.session == session && m.sequence.is_some()).collect();
            placed.sort_by_key(|message| message.sequence);
            if placed.windows(2).any(|pair| pair[0].sequence == pair[1].sequence) {
                self.violate(|| format!("two messages of {session:?} have one place"));
            }
            let mut of: Vec<TurnId> = placed.iter().map(|message| message.turn).collect();
            of.dedup();
            let runs = of.len();
            of.sort_unstable();
            of.dedup();
            if of.len() != runs {
                self.violate(|| format!("two turns of {session:?} are mixed in its history"));
            }
            let used: u32 = db.rows().filter(|(_, row)| row.session == session).map(|(_, row)| row.used).sum();
            if used != db.sessions[session.at()].used {
                self.violate(|| format!("{session:?} was charged {} for {used}", db.sessions[session.at()].used));
            }
        }
    }

    /// The same key is one turn, and what a client was told of is there.
    fn judge_keys(&mut self, db: &Database) {
        for (at, row) in db.keys.iter().enumerate() {
            let again = db
                .keys
                .iter()
                .skip(at + 1)
                .find(|other| (other.key.owner, other.key.word) == (row.key.owner, row.key.word));
            if let Some(again) = again {
                self.violate(|| format!("{:?} and {:?} were accepted under one key", row.turn, again.turn));
            }
        }
        let unknown = self.accepted().find(|turn| turn.at() >= db.turns.len());
        if let Some(turn) = unknown {
            self.violate(|| format!("{turn:?} was accepted and is not there"));
        }
        let said = db.messages.iter().filter(|message| matches!(message.content, Content::User(_))).count();
        let dropped = self.dropped.count();
        if said + dropped != db.turns.len() {
            self.violate(|| {
                format!("{} messages were accepted, {said} are there and {dropped} were dropped", db.turns.len())
            });
        }
    }
}

/// Does the client show what the step said? Notes the outcomes that it shows on the way.
fn same(
    said: &Said,
    shown: &mut impl Iterator<Item = Item>,
    outcomes: &mut Vec<(CallId, Outcome)>,
) -> Result<(), Option<Item>> {
    for piece in said.text.1.iter() {
        match shown.next() {
            Some(Item::Piece(seen)) if seen == piece => {}
            other => return Err(other),
        }
    }
    for call in said.calls.iter() {
        match shown.next() {
            Some(Item::Tool(seen, true, outcome)) if seen == call => {
                outcomes.extend(outcome.map(|outcome| (call, outcome)));
            }
            other => return Err(other),
        }
    }
    Ok(())
}
