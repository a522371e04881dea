//! What pages become.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn base() -> Url {
    Url::parse("https://example.org/a/b?c").unwrap()
}

fn text(html: &str) -> String {
    from_html(html, &base()).text
}

#[test]
fn blocks_become_markdown() {
    let html = "<!doctype html><html><head><title>A &amp; B</title><style>p { color: red }</style>
        <script>if (a < b) { document.write('<p>no</p>') }</script></head>
        <body><h2>Two</h2><p>Some   <b>bold</b>\n text,<br>a line.</p><hr>
        <ul><li>one<li>two<ol><li>x</li><li>y</li></ol></li></ul>
        <blockquote><p>said</p><p>again</p></blockquote>
        <pre>  let x = 1;\n  x</pre><p>Call <code>f()</code> now.</p></body></html>";
    assert_eq!(
        text(html),
        "# A & B\n\n## Two\n\nSome bold text,\na line.\n\n---\n\n- one\n- two\n  1. x\n  2. y\n\n> said\n>\n> again\n\n\
         ```\n  let x = 1;\n  x\n```\n\nCall `f()` now."
    );
    assert_eq!(text("<blockquote>a<blockquote>b</blockquote>c</blockquote>"), "> a\n>\n> > b\n>\n> c");
    assert_eq!(text("<ul><li><p>a</p><p>b</p></li><li></li><li><div>c</div></li></ul>"), "- a\n\nb\n\n- \n- c");
}

#[test]
fn links_are_kept_and_made_whole_and_images_go() {
    assert_eq!(text("<a href='/x y'>to <b>x</b></a>."), "[to x](https://example.org/x%20y).");
    assert_eq!(
        text("<a href=\"d#e\">d</a> <a href='mailto:a@b.c'>mail</a>"),
        "[d](https://example.org/a/d#e) [mail](mailto:a@b.c)"
    );
    assert_eq!(text("<a href='javascript:alert(1)'>js</a> <a name=x>anchor</a>"), "js anchor");
    assert_eq!(text("<a href='/img'><img src='i.png' alt='I'></a>text"), "text");
    assert_eq!(text("<base href='https://other.example/q/'><a href='r'>r</a>"), "[r](https://other.example/q/r)");
    assert_eq!(text("<a href=1>one <a href=2>two"), "[one](https://example.org/a/1) [two](https://example.org/a/2)");
}

#[test]
fn tables_have_rows_and_a_head() {
    let html = "<table><tr><th>A</th><th>B</th></tr><tr><td><p>1</p></td><td>2<br>3</td></tr></table>after";
    assert_eq!(text(html), "| A | B |\n| --- | --- |\n| 1 | 2 3 |\n\nafter");
    let nested = "<table><tr><td>a<table><tr><td>b</td></tr></table></td></tr></table>";
    assert_eq!(text(nested), "| a b |\n| --- |");
}

#[test]
fn what_is_not_for_readers_is_left_out() {
    assert_eq!(text("a<svg class='i'/>b<svg><svg/></svg>c"), "abc");
    assert_eq!(text("a<svg><path/><text>no</text><svg></svg></svg>b<template><p>no</p></template>c"), "abc");
    assert_eq!(text("a<!-- no --><iframe src=x><p>no</iframe>b"), "ab");
    assert_eq!(text("x &lt;b&gt; y"), "x <b> y");
}

#[test]
fn hostile_pages_cost_little() {
    let many = |piece: &str| piece.repeat(102_400 / piece.len());
    let numbered = |before: &str, after: &str, count: usize| {
        (0..count).flat_map(|n| [before.to_owned(), n.to_string(), after.to_owned()]).collect::<String>()
    };
    let pages = [
        many("<div>"),
        many("<ul><li>x"),
        many("<blockquote>x"),
        many("<table><tr><td>x"),
        many("<a href=b>x"),
        many("<a href=b>x</a>"),
        many("<pre>x"),
        many("</p>"),
        format!("<p {}>", numbered("a", " ", 20_000)),
        numbered("<b a", ">", 5000) + &many("<p>x"),
    ];
    let long = Url::parse(&format!("https://example.org/{}/x", "p".repeat(4000))).unwrap();
    for page in pages {
        let began = Instant::now();
        let converted = from_html(&page, &long);
        assert!(converted.text.len() <= MAX_BYTES);
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?} for {}",
            began.elapsed(),
            page.chars().take(40).collect::<String>()
        );
    }
}

proptest! {
    #[test]
    fn any_page_has_a_text(html in "(<[/!]?(a|p|td|tr|table|pre|ul|li|h1|svg|script|blockquote|code)( href=x)?>|[ a&<é\n`]){0,60}") {
        let converted = from_html(&html, &base());
        prop_assert!(!converted.is_cut);
        prop_assert!(!converted.text.contains("<svg>"));
    }
}
