//! Random scripts for the embedded model, and what it must say to each.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

/// The tool that writes a file.
pub const WRITES: &str = "write_workspace_file";

/// How a script wants to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// With everything said.
    Complete,
    /// Never, until somebody stops it.
    Hang,
    /// With an error of the provider.
    Fail,
}

/// A message, and what its answer must be.
#[derive(Debug, Clone)]
pub struct Script {
    pub message: String,
    pub steps: Vec<Step>,
    pub wish: Wish,
}

/// What one model call says and asks for.
#[derive(Debug, Clone, Default)]
pub struct Step {
    pub thought: String,
    pub text: String,
    pub calls: Vec<Call>,
}

/// A tool call with its expected outcome, where it can be known.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: &'static str,
    pub arguments: String,
    /// The `result` of its answer.
    pub output: Option<Value>,
}

impl Step {
    /// The output tokens that the model reports for it: four characters each.
    pub fn completion_tokens(&self) -> i64 {
        let calls: usize = self.calls.iter().map(|call| call.name.len() + call.arguments.len()).sum();
        i64::try_from((self.thought.len() + self.text.len() + calls).div_ceil(4)).unwrap()
    }
}

impl Script {
    pub fn random(rng: &mut impl Rng) -> Self {
        match rng.random_range(0..100) {
            0..40 => Self::talk(rng, Wish::Complete, ""),
            40..70 => Self::tools(rng),
            70..80 => Self::talk(rng, Wish::Hang, " demo:hang"),
            80..90 => Self::transient(rng),
            90..95 => Self::talk(rng, Wish::Fail, " demo:error=fatal"),
            _ => Self::talk(rng, Wish::Fail, " demo:error=broken"),
        }
    }

    /// A few words, and now and then a tool: thousands of these can be answered in minutes.
    pub fn small(rng: &mut impl Rng) -> Self {
        match rng.random_range(0..100) {
            0..80 => Self::few_words(rng),
            80..97 => {
                let call = Call::random(rng);
                let message = format!("demo:tool={},args={}", call.name, call.arguments);
                let steps = vec![Step { calls: vec![call], ..Step::default() }];
                let end = Self::few_words(rng);
                Self {
                    message: format!("{message} {}", end.message),
                    steps: steps.into_iter().chain(end.steps).collect(),
                    wish: Wish::Complete,
                }
            }
            // A call that says nothing leaves no answer.
            _ => Self { message: "demo:error=fatal".into(), steps: Vec::new(), wish: Wish::Fail },
        }
    }

    fn few_words(rng: &mut impl Rng) -> Self {
        let (count, bytes) = (rng.random_range(1..12), rng.random_range(3..14));
        let rate = if rng.random_bool(0.2) { 20 } else { 0 };
        Self {
            message: format!("demo:tokens={count},rate={rate},bytes={bytes}"),
            steps: vec![Step { text: pieces(count, bytes), ..Step::default() }],
            wish: Wish::Complete,
        }
    }

    /// One that ends by itself.
    pub fn ending(rng: &mut impl Rng) -> Self {
        loop {
            let script = Self::random(rng);
            if script.wish != Wish::Hang {
                return script;
            }
        }
    }

    fn talk(rng: &mut impl Rng, wish: Wish, end: &str) -> Self {
        let (message, step) = spoken(rng);
        Self { message: message + end, steps: vec![step], wish }
    }

    fn transient(rng: &mut impl Rng) -> Self {
        let (message, step) = spoken(rng);
        Self { message: format!("demo:error=transient {message}"), steps: vec![step], wish: Wish::Complete }
    }

    fn tools(rng: &mut impl Rng) -> Self {
        let mut words = Vec::new();
        let mut steps = Vec::new();
        for _ in 0..rng.random_range(1..=3) {
            let (word, mut step) = if rng.random_bool(0.6) { spoken(rng) } else { (String::new(), Step::default()) };
            let calls: Vec<Call> = (0..rng.random_range(1..=3)).map(|_| Call::random(rng)).collect();
            let asked: Vec<String> =
                calls.iter().map(|call| format!("tool={},args={}", call.name, call.arguments)).collect();
            words.push(format!("{word} demo:{}", asked.join("&")));
            step.calls = calls;
            steps.push(step);
        }
        let (word, step) = spoken(rng);
        words.push(word);
        steps.push(step);
        Self { message: words.join(" ").trim().to_owned(), steps, wish: Wish::Complete }
    }
}

impl Call {
    fn random(rng: &mut impl Rng) -> Self {
        if rng.random_bool(0.2) {
            return Self { name: "get_current_time", arguments: "{}".into(), output: None };
        }
        if rng.random_bool(0.2) {
            // The one of them that must never be repeated. Each name is another one.
            let (name, words) = (rng.random::<u64>(), rng.random_range(1..100));
            let file = json!({ "filename": format!("{name:016x}.txt"), "content": pieces(words, 7) });
            return Self { name: WRITES, arguments: file.to_string(), output: None };
        }
        let (a, b) = (rng.random_range(1..1000), rng.random_range(1..1000));
        let expression = format!("{a}*{b}");
        Self {
            name: "calculator",
            arguments: json!({ "expression": expression }).to_string(),
            output: Some(json!(a * b)),
        }
    }
}

/// Words that make the model say something, slowly or fast, and what it says.
fn spoken(rng: &mut impl Rng) -> (String, Step) {
    let (count, bytes) = (rng.random_range(1..120), rng.random_range(3..14));
    let rate = *[0, 30, 60, 120, 400].choose(rng).expect("rates");
    let mut step = Step { text: pieces(count, bytes), ..Step::default() };
    let mut message = format!("demo:tokens={count},rate={rate},bytes={bytes}");
    if rng.random_bool(0.2) {
        let thoughts = rng.random_range(1..20);
        step.thought = pieces(thoughts, bytes);
        message = format!("demo:reasoning={thoughts},rate=50,bytes={bytes} {message}");
    }
    (message, step)
}

/// What the embedded model emits for `tokens=count,bytes=bytes`: each piece begins with its number.
fn pieces(count: u32, bytes: usize) -> String {
    const FILLER: &str = "the quick brown fox jumps over the lazy dog ";
    (0..count)
        .flat_map(|n| {
            let number = format!("{n} ");
            let skipped = number.len().saturating_sub(bytes);
            let piece: String = number.chars().skip(skipped).chain(FILLER.chars().cycle()).take(bytes).collect();
            piece.chars().collect::<Vec<_>>()
        })
        .collect()
}
