//! Reads the script words of a user's message: `demo:` and comma-separated settings.
//!
//! | word | does |
//! |---|---|
//! | `demo:tokens=N,rate=R,bytes=B` | says N pieces of B bytes, R a second (0: at once) |
//! | `demo:reasoning=N,rate=R,bytes=B` | the same as a thought |
//! | `demo:slow` | says a story, a word every 300 ms |
//! | `demo:hang` | says a little and waits until it is cancelled |
//! | `demo:tool=NAME,args={…}` | calls a tool; `&tool=NAME,args={…}` after it calls a second one beside it |
//! | `demo:error=transient` | the call fails like a provider's 503, and succeeds when made again |
//! | `demo:error=broken` | the answer breaks off at this point |
//! | `demo:error=fatal` | the call fails for good |
//!
//! Words are played in order. A model call ends with a tool call, an error or the last word; what
//! follows a tool call is played in the next model call, when the tool has answered.

use super::json::split_object;
use super::play::{Act, Call, Failure, Kind, Measured};

const PREFIX: &str = "demo:";
const DEFAULT_BYTES: usize = 4;
const MAX_BYTES: usize = 64 * 1024;
const MAX_PIECES: u32 = 1_000_000;
const MAX_RATE: f64 = 1_000_000.0;

const STORY: &str = "Once upon a time a small crab set out to cross the wide beach. It walked sideways, as crabs do, \
    and it met the tide, a gull and an old boot. When the sun went down it was home again.";

/// The script of a message.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Script {
    acts: Vec<Act>,
    /// What is left of the message without its script words.
    pub(super) rest: String,
}

impl Script {
    /// Reads a message.
    pub(super) fn parse(text: &str) -> Self {
        let mut script = Self::default();
        let mut left = text;
        while let Some(position) = left.find(PREFIX) {
            let (before, word) = left.split_at_checked(position).unwrap_or((left, ""));
            let word = word.strip_prefix(PREFIX).unwrap_or(word);
            script.rest.push_str(before);
            let inside_a_word = before.ends_with(|c: char| c.is_alphanumeric());
            if inside_a_word || !word.starts_with(|c: char| c.is_ascii_lowercase()) {
                script.rest.push_str(PREFIX);
                left = word;
                continue;
            }
            let mut reader = Reader(word);
            script.acts.extend(reader.word());
            left = reader.0;
        }
        script.rest.push_str(left);
        script
    }

    /// The message holds no script word.
    pub(super) fn is_empty(&self) -> bool {
        self.acts.is_empty()
    }

    /// What the `step`-th model call of the turn plays.
    pub(super) fn call(&self, step: usize) -> Option<Vec<Act>> {
        let calls = self.acts.split_inclusive(|act| matches!(act, Act::Call(_)));
        let mut acts = calls.skip(step).map(<[Act]>::to_vec).next()?;
        // Nothing can be said after an error that ends the call.
        let end = acts.iter().position(|act| matches!(act, Act::Fail(Failure::Fatal | Failure::Broken)));
        if let Some(end) = end {
            acts.truncate(end + 1);
        }
        Some(acts)
    }
}

/// The rest of a text behind a `demo:`.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn word(&mut self) -> Vec<Act> {
        let settings = self.settings();
        let Some((key, value)) = settings.first() else { return Vec::new() };
        let number = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        match (*key, *value) {
            ("tokens", _) => vec![measured(Kind::Text, value, number("rate"), number("bytes"))],
            ("reasoning", _) => vec![measured(Kind::Reasoning, value, number("rate"), number("bytes"))],
            ("slow", _) => vec![Act::Say { kind: Kind::Text, text: STORY.into(), slow: true }],
            ("hang", _) => vec![Act::say("Waiting until somebody stops me … "), Act::Hang],
            ("error", "transient") => vec![Act::Fail(Failure::Transient)],
            ("error", "fatal") => vec![Act::Fail(Failure::Fatal)],
            ("error", "broken") => vec![Act::Fail(Failure::Broken)],
            ("tool", name) if !name.is_empty() => {
                let mut calls = vec![call(&settings)];
                while self.eat('&') {
                    calls.push(call(&self.settings()));
                }
                vec![Act::Call(calls)]
            }
            (key, _) => vec![unknown(key)],
        }
    }

    /// `key=value,key=value`; a comma that no key follows belongs to the sentence.
    fn settings(&mut self) -> Vec<(&'a str, &'a str)> {
        let mut settings = Vec::new();
        loop {
            let key = self.take_while(|c| c.is_ascii_lowercase() || c == '_');
            let value = if self.eat('=') { self.value() } else { "" };
            settings.push((key, value));
            let more = self.0.strip_prefix(',').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
            if !more || !self.eat(',') {
                return settings;
            }
        }
    }

    fn value(&mut self) -> &'a str {
        if !self.0.starts_with('{') {
            let value = self.take_while(|c| !c.is_whitespace() && !matches!(c, ',' | '&' | '`' | '"' | '\'' | ')'));
            // A full stop ends the sentence, not the value.
            return value.trim_end_matches(['.', ';', '!', '?']);
        }
        let (object, rest) = split_object(self.0).unwrap_or((self.0, ""));
        self.0 = rest;
        object
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !keep(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        taken
    }

    fn eat(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

fn measured(kind: Kind, count: &str, rate: Option<&str>, bytes: Option<&str>) -> Act {
    let rate = rate.and_then(|rate| rate.parse().ok()).filter(|rate: &f64| rate.is_finite());
    Act::Emit(Measured {
        kind,
        count: count.parse().unwrap_or(0).min(MAX_PIECES),
        rate: rate.unwrap_or(0.0).clamp(0.0, MAX_RATE),
        bytes: bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(DEFAULT_BYTES).clamp(1, MAX_BYTES),
    })
}

fn call(settings: &[(&str, &str)]) -> Call {
    let setting = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Call { name: setting("tool").unwrap_or_default(), arguments: setting("args").unwrap_or_else(|| "{}".into()) }
}

fn unknown(word: &str) -> Act {
    Act::say(format!("I do not know the script word `{PREFIX}{word}`. "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emit(count: u32, rate: f64, bytes: usize) -> Act {
        Act::Emit(Measured { kind: Kind::Text, count, rate, bytes })
    }

    fn tool(name: &str, arguments: &str) -> Act {
        Act::Call(vec![Call { name: name.into(), arguments: arguments.into() }])
    }

    #[test]
    fn settings_are_read_with_their_defaults_and_bounds() {
        let acts = |text| Script::parse(text).acts;
        assert_eq!(acts("demo:tokens=500,rate=50,bytes=4"), [emit(500, 50.0, 4)]);
        assert_eq!(acts("demo:tokens=7"), [emit(7, 0.0, 4)]);
        assert_eq!(acts("demo:tokens=99999999,rate=-1,bytes=0"), [emit(MAX_PIECES, 0.0, 1)]);
        assert_eq!(acts("demo:tokens=1,rate=NaN,bytes=x"), [emit(1, 0.0, 4)]);
    }

    #[test]
    fn arguments_are_read_to_their_closing_brace() {
        let script = Script::parse(
            r#"please demo:tool=write,args={"text":"a } \" demo:hang , b","o":{"x":[1]}} demo:tokens=2 now"#,
        );
        let arguments = r#"{"text":"a } \" demo:hang , b","o":{"x":[1]}}"#;
        assert_eq!(script.acts, [tool("write", arguments), emit(2, 0.0, 4)]);
        assert_eq!(script.rest, "please   now");
    }

    #[test]
    fn bad_arguments_are_passed_on_as_they_are() {
        assert_eq!(Script::parse("demo:tool=t,args={bad: } x").acts, [tool("t", "{bad: }")]);
        assert_eq!(Script::parse("demo:tool=t,args={\"a\": ").acts, [tool("t", "{\"a\": ")]);
    }

    #[test]
    fn words_stand_in_sentences() {
        let script = Script::parse("Try `demo:tokens=2`, then demo:slow, please (demo:tool=t). Not xdemo:hang.");
        let story = Act::Say { kind: Kind::Text, text: STORY.into(), slow: true };
        assert_eq!(script.acts, [emit(2, 0.0, 4), story, tool("t", "{}")]);
        assert_eq!(script.rest, "Try ``, then , please (). Not xdemo:hang.");
    }

    #[test]
    fn each_tool_ends_a_model_call() {
        let script = Script::parse("demo:tokens=1 demo:tool=a demo:tool=b,args={}&tool=c demo:tokens=2");
        let both = Act::Call(vec![
            Call { name: "b".into(), arguments: "{}".into() },
            Call { name: "c".into(), arguments: "{}".into() },
        ]);
        assert_eq!(script.call(0), Some(vec![emit(1, 0.0, 4), tool("a", "{}")]));
        assert_eq!(script.call(1), Some(vec![both]));
        assert_eq!(script.call(2), Some(vec![emit(2, 0.0, 4)]));
        assert_eq!(script.call(3), None);
    }

    #[test]
    fn an_error_ends_its_call() {
        let script = Script::parse("demo:tokens=1 demo:error=fatal demo:tokens=2");
        assert_eq!(script.call(0), Some(vec![emit(1, 0.0, 4), Act::Fail(Failure::Fatal)]));
    }

    #[test]
    fn an_unknown_word_is_told() {
        assert_eq!(Script::parse("demo:tokns=4").acts, [Act::say("I do not know the script word `demo:tokns`. ")]);
    }

    #[test]
    fn a_message_without_script_words_has_no_script() {
        let prose = "The demo: it works, says the Demo:slow demonstration. demo:";
        assert_eq!(Script::parse(prose), Script { acts: Vec::new(), rest: prose.into() });
    }
}
