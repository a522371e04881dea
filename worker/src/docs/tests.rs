//! Pages, their sections, and what a search finds.

use super::*;

const GUIDE: &str = "---\ntitle: no\n---\nBefore.\n\n# The *guide*\n\nHello, **world**.\n\n```sh\n# no heading\nls\n```\n\n\
    ## Rate limits & `caps`\n\nA user may use tokens.\n\n### Details\n\n| a | b |\n|---|---|\n| one | two |\n\n## Details\n\nLast.\n";

fn docs(pages: &[(&str, &str)]) -> Docs {
    let url = Some("https://docs.example.org/base/".parse().unwrap());
    Docs::new(pages.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())), url)
}

#[test]
fn headings_make_sections_and_code_makes_none() {
    let page = Page::read("guide.md".into(), GUIDE.into());
    assert_eq!(page.title, "The guide");
    let sections: Vec<(&str, Option<&str>)> =
        page.sections.iter().map(|section| (section.heading.as_str(), section.anchor())).collect();
    assert_eq!(
        sections,
        [
            ("The guide", None),
            ("The guide", Some("the-guide")),
            ("Rate limits & caps", Some("rate-limits--caps")),
            ("Details", Some("details")),
            ("Details", Some("details-1")),
        ]
    );
    assert_eq!(page.sections[1].text.trim(), "Hello, world. # no heading\nls");
    assert_eq!(page.sections[3].text.trim(), "a b one two");
}

#[test]
fn a_part_of_a_page_ends_with_the_next_heading_of_its_level() {
    let page = Page::read("guide.md".into(), GUIDE.into());
    let part = page.part("rate-limits--caps").unwrap();
    assert!(part.starts_with("## Rate") && part.ends_with("| one | two |\n\n"), "{part}");
    assert_eq!(page.part("details-1"), Some("## Details\n\nLast.\n"));
    assert_eq!(page.part("nowhere"), None);
    let titled = Page::read("t.md".into(), "# T\n\n## A\n\nb\n".into());
    assert_eq!((titled.sections.len(), titled.sections[0].anchor()), (2, None));
    assert_eq!(titled.part("t"), Some(titled.source.as_str()));
    assert_eq!(Page::read("a/b.md".into(), "Only text.".into()).title, "a/b.md");
    assert_eq!(Page::read("empty.md".into(), String::new()).sections.len(), 1);
}

#[test]
fn the_best_section_of_each_page_is_found() {
    let docs = docs(&[
        ("a.md", "# Cooking\n\nSalt and pepper.\n\n## Limits of salt\n\nNot too much salt, whatever the salt.\n"),
        ("b.md", "# Streams\n\nA stream is resumed with a cursor.\n"),
        ("sub/c.md", "# Cursors\n\nWhere a client stopped reading; salt.\n"),
    ]);
    let found = docs.search("salts");
    let places: Vec<(&str, Option<&str>)> =
        found.iter().map(|found| (found.page.path.as_str(), found.section.anchor())).collect();
    assert_eq!(places, [("a.md", Some("limits-of-salt")), ("sub/c.md", None)], "once a page, in any form of the word");
    assert!(found[0].score > found[1].score);
    assert_eq!(docs.search("resuming")[0].page.path, "b.md");
    assert!(docs.search("helicopter").is_empty());
    assert!(docs.search("the ??? and").is_empty());
}

#[test]
fn people_read_a_page_at_its_url() {
    let docs = docs(&[("sub/a b.md", "# A")]);
    let page = docs.page("sub/a b").unwrap();
    assert_eq!(docs.url_of(page, Some("x")).unwrap(), "https://docs.example.org/base/sub/a%20b#x");
    assert_eq!(Docs::open(None, None).unwrap().url_of(page, None), None);
}

#[test]
fn the_projects_own_pages_are_there_without_a_setting() {
    let docs = Docs::open(None, None).unwrap();
    for path in ["README.md", "shared/ARCHITECTURE.md", "deploy/RELIABILITY.md", "deploy/BENCHMARKS"] {
        assert!(docs.page(path).is_some(), "{path}");
    }
    assert_eq!(docs.search("how to add a tool")[0].page.path, "shared/ARCHITECTURE.md");
}

#[test]
fn a_directory_is_read_and_nothing_outside_it() {
    let root = std::env::temp_dir().join(format!("copilot-docs-{}", uuid::Uuid::new_v4()));
    let docs = root.join("docs");
    std::fs::create_dir_all(docs.join("sub/.hidden")).unwrap();
    std::fs::write(root.join("secret.md"), "# Secret").unwrap();
    std::os::unix::fs::symlink(root.join("secret.md"), docs.join("link.md")).unwrap();
    std::os::unix::fs::symlink(&root, docs.join("up")).unwrap();
    for (path, text) in [
        ("sub/a.MD", b"# A".as_slice()),
        ("b.txt", b"no"),
        ("sub/.hidden/c.md", b"no"),
        ("bad.md", b"\xff"),
        ("d.md", b"# D"),
    ] {
        std::fs::write(docs.join(path), text).unwrap();
    }
    std::fs::write(docs.join("long.md"), vec![b'a'; (1 << 20) + 1]).unwrap();
    let read = Docs::open(Some(&docs), None).unwrap();
    assert_eq!(read.pages.keys().collect::<Vec<_>>(), ["d.md", "sub/a.MD"]);
    std::fs::remove_dir_all(&docs).unwrap();
    assert!(matches!(Docs::open(Some(&docs), None), Err(DocsError::Read(path, _)) if path == docs));
    assert!(matches!(Docs::open(Some(&root.join("none")), None), Err(DocsError::Read(..))));
    std::fs::create_dir(&docs).unwrap();
    assert!(matches!(Docs::open(Some(&docs), None), Err(DocsError::Empty(_))));
    std::fs::remove_dir_all(&root).unwrap();
}
